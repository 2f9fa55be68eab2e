"""Whether the queries of KPI tables give what their headers declare: run by DuckDB over no rows, then over a few."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Timer
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.kpis.kpi import Counting, Kpi
from lakehouse.schema import UPDATED, arrow_schema, arrow_type
from lakehouse.user_error import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LINE = re.compile(r"LINE (\d+):")
NO_FILES: Mapping[str, Any] = {"enable_external_access": False, "python_enable_replacements": False}
"""DuckDB's settings for the queries of KPI tables: they read what they are given, and no file, address or variable."""
_SOON_S = 5.0
_TIME = pa.timestamp("us")
_A_MINUTE = timedelta(minutes=1)
_FIRST = datetime(2026, 1, 1, 10, 7, tzinfo=UTC)  # of the rows that are made up; not the start of an hour


def check_queries(kpis: Iterable[Kpi], counting: Counting) -> None:
    """Raises UserError, naming file, line, column and what would do, for the first that is wrong. Some ms each."""
    import duckdb  # readers of declarations do without it

    with duckdb.connect(config=dict(NO_FILES)) as db:
        for kpi in kpis:
            where = kpi.table.declared_in
            query = kpi.sql(counting)
            sources = _samples(kpi)
            _check_select(kpi, query)
            try:
                answer = _asked_soon(db, query, {name: rows.slice(0, 0) for name, rows in sources.items()})
            except duckdb.InterruptException:
                raise UserError(
                    f"{where}, line {kpi.line}: the query takes over {_SOON_S:g} s over no rows; make it cheaper."
                ) from None
            except duckdb.Error as error:
                raise UserError(_refused(kpi, str(error), sources)) from None
            _compare(kpi, answer.schema, where)
            # A text that is made up may be none that the query can read: what it says of it says nothing.
            with suppress(duckdb.Error):
                _compare_rows(kpi, _asked_soon(db, query, sources), sources, where)


def types_given(kpi: Kpi) -> dict[str, str]:
    """The columns that a query gives and their types, in DuckDB's words, as planned: nothing is run. `kpi`: its table
    need say nothing of them. Raises UserError where DuckDB refuses the query.
    """
    import duckdb

    query, sources = kpi.sql(Counting(("",))), _samples(kpi)
    _check_select(kpi, query)
    with duckdb.connect(config=dict(NO_FILES)) as db:
        for name, rows in sources.items():
            db.register(name, rows)
        try:
            return {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {query}").fetchall()}
        except duckdb.Error as error:
            raise UserError(_refused(kpi, str(error), sources)) from None


def _check_select(kpi: Kpi, query: str) -> None:
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise UserError(_refused(kpi, str(error), _samples(kpi))) from None
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise UserError(
            f"{kpi.table.declared_in}, line {kpi.line}: here must stand one SELECT and nothing else; write it."
        )


def _asked_soon(db: DuckDBPyConnection, query: str, sources: Mapping[str, pa.Table]) -> pa.Table:
    """The answer; duckdb.InterruptException where it takes too long, whatever the rows."""
    limit = Timer(_SOON_S, db.interrupt)
    limit.daemon = True
    limit.start()
    try:
        return asked(db, query, sources)
    finally:
        limit.cancel()


def asked(db: DuckDBPyConnection, query: str, sources: Mapping[str, pa.Table]) -> pa.Table:
    """The answer to a query over tables of Arrow."""
    for name, rows in sources.items():
        db.register(name, rows)
    try:
        return db.execute(query).to_arrow_table()
    finally:
        for name in sources:
            db.unregister(name)


def _compare(kpi: Kpi, answer: pa.Schema, where: str) -> None:
    line = kpi.line
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


def _compare_rows(kpi: Kpi, answer: pa.Table, sources: Mapping[str, pa.Table], where: str) -> None:
    """Whether a required column is empty, or a row of a minute that was not asked for, where all events are good."""
    line = kpi.line
    for column in kpi.table.columns:
        if column not in UPDATED and column.required and answer[column.name].null_count:
            raise UserError(
                f"{where}, line {line}: the query gives '{column.name}' without a value for some minutes; declare it "
                "`required: false`, or use COALESCE."
            )
    by = str(kpi.table.partition_by)
    events = sources[kpi.declared.table.name][str(kpi.declared.table.event_time)].to_pylist()
    wanted = (
        sources["window_ends"]["window_end"].to_pylist()
        if kpi.window > 1
        else [at.replace(second=0, microsecond=0) for at in events]
    )
    for found in answer[by].cast(_TIME).to_pylist():
        if found not in wanted:
            raise UserError(
                f"{where}, line {line}: the query gives a row whose {by} is {found:%H:%M:%S} of events in the minutes "
                f"{', '.join(sorted({f'{at:%H:%M}' for at in events}))}; let it group by minutes of the event's time."
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
    line = int(found[1]) if found else kpi.line
    reason = " ".join(error.partition("LINE ")[0].split()).rstrip(".") + "."
    return (
        f"{kpi.table.declared_in}, line {line}: DuckDB refuses the query: {reason} It may read {' and '.join(sources)} "
        "alone; correct it."
    )


def _samples(kpi: Kpi) -> dict[str, pa.Table]:
    """What the query is given when it runs: events that are made up, one a minute, each choice in a minute of its own.

    Every other event has nothing but what it must have. Times have no zone, as in a query that runs.
    """
    choices = {field.column: field.choices for field in kpi.declared.fields}
    count = max(2, *(len(values) for values in choices.values()))
    table = kpi.declared.table
    columns: dict[str, pa.Array] = {}
    for field in arrow_schema(table):
        if field.name in kpi.reads:
            required = table.column(field.name).required
            values = [
                _value(field, choices.get(field.name, ()), n) if required or n % 2 else None for n in range(count)
            ]
            columns[field.name] = pa.array(values, _TIME if pa.types.is_timestamp(field.type) else field.type)
    sources = {table.name: pa.table(columns)}
    if kpi.window > 1:
        ends = [_FIRST + _A_MINUTE * n for n in range(1, count + kpi.window)]
        sources["window_ends"] = pa.table({"window_end": pa.array(ends, _TIME)})
    return sources


def _value(field: pa.Field, choices: Sequence[str], number: int) -> Any:
    if choices:
        return choices[number % len(choices)]
    if pa.types.is_timestamp(field.type):
        return _FIRST + _A_MINUTE * number + timedelta(seconds=7)
    if pa.types.is_decimal(field.type):
        return Decimal(1)
    return "a" if pa.types.is_string(field.type) else 1
