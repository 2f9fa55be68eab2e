"""Whether the queries of KPI tables give what their headers declare: run by DuckDB over empty tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from lakehouse.kpis.kpi import Kpi
from lakehouse.schema import UPDATED, arrow_schema, arrow_type
from lakehouse.user_error import UserError

_LINE = re.compile(r"LINE (\d+):")


def check_queries(kpis: Iterable[Kpi], counted_statuses: Sequence[str]) -> None:
    """Raises UserError, naming file, line, column and what would do, for the first that is wrong. Some ms each."""
    import duckdb  # readers of declarations do without it

    with duckdb.connect() as db:
        for kpi in kpis:
            where = kpi.table.declared_in
            raw = arrow_schema(kpi.declared.table)
            # Times without a zone, and only what the query is given when it runs.
            sources = {kpi.declared.table.name: _empty(raw.field(name) for name in kpi.reads)}
            if kpi.window > 1:
                sources["window_ends"] = _empty([pa.field("window_end", pa.timestamp("us", "UTC"))])
            for name, rows in sources.items():
                db.register(name, rows)
            try:
                statements = duckdb.extract_statements(kpi.sql(counted_statuses))
                if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                    raise UserError(f"{where}: below the comment stands no single SELECT; write the one query there.")
                answer = db.execute(kpi.sql(counted_statuses)).to_arrow_table().schema
            except duckdb.Error as error:
                raise UserError(_refused(kpi, str(error), sources)) from None
            finally:
                for name in sources:
                    db.unregister(name)
            _compare(kpi, answer, where)


def _compare(kpi: Kpi, answer: pa.Schema, where: str) -> None:
    line = 1 + len(kpi.query) - len(kpi.query.lstrip("\n"))
    wanted = {column.name: column.type for column in kpi.table.columns if column not in UPDATED}
    for name, kind in wanted.items():
        if answer.names.count(name) != 1:
            what = "gives no column" if name not in answer.names else "gives twice the column"
            raise UserError(f"{where}, line {line}: the query {what} '{name}', which its header declares; correct one.")
        if not _fits(answer.field(name).type, arrow_type(kind)):
            raise UserError(
                f"{where}, line {line}: the query gives '{name}' as {answer.field(name).type}, its header declares "
                f"{kind}; correct one, or use CAST."
            )
    for name in answer.names:
        if name not in wanted:
            raise UserError(
                f"{where}, line {line}: the query gives the column '{name}', which its header does not declare; "
                "declare it there or leave it out."
            )


def _fits(given: pa.DataType, declared: pa.DataType) -> bool:
    """Whether any value of the one type is a value of the other, or DuckDB only took a wider type for a count."""
    fits: bool = given == declared
    whole: bool = pa.types.is_integer(given) or (pa.types.is_decimal(given) and given.scale == 0)
    if pa.types.is_integer(declared):
        # DuckDB sums counts into 128 bits; a long holds them.
        fits = whole and (declared.bit_width == 64 or given.bit_width <= declared.bit_width)
    elif pa.types.is_decimal(declared) and pa.types.is_decimal(given):
        before_the_point = declared.precision - declared.scale
        fits = given.scale <= declared.scale and given.precision - given.scale <= before_the_point
    elif pa.types.is_decimal(declared):
        fits = whole
    elif pa.types.is_floating(declared):
        fits = whole or pa.types.is_floating(given) or pa.types.is_decimal(given)
    elif pa.types.is_timestamp(declared):
        fits = pa.types.is_timestamp(given)
    return fits


def _refused(kpi: Kpi, error: str, sources: Iterable[str]) -> str:
    found = _LINE.search(error)
    line = int(found[1]) if found else 1 + len(kpi.query) - len(kpi.query.lstrip("\n"))
    reason = " ".join(error.partition("LINE ")[0].split())
    return (
        f"{kpi.table.declared_in}, line {line}: DuckDB refuses the query: {reason} It may read {' and '.join(sources)} "
        "alone; correct it."
    )


def _empty(fields: Iterable[pa.Field]) -> pa.Table:
    return pa.schema(
        [pa.field(field.name, pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in fields]
    ).empty_table()
