"""A table as DuckDB reads it: its columns, its files, and the times that a statement asks for."""

from __future__ import annotations

from collections.abc import Sequence

from embedded.gateway.nested import quoted
from embedded.gateway.relations import Bound
from embedded.gateway.snapshots import Snapshot, StoredColumn
from embedded.gateway.sources import duckdb_type
from embedded.gateway.values import time_us

_TIMES = ("timestamptz", "timestamp")


def read_item(column: StoredColumn) -> str:
    name = quoted(column.name)
    if column.type in _TIMES:
        return f"make_timestamp_ms(epoch_ms({name})) AS {name}"
    return name


def parquet(paths: Sequence[str], snapshot: Snapshot) -> str:
    """The table expression that reads Parquet files with the snapshot's columns."""
    schema = ""
    if snapshot.by_id:
        named = [(column.id, text_sql(column.name), text_sql(_stored_type(column))) for column in snapshot.columns]
        columns = ", ".join(f"{id}: {{name: {name}, type: {kind}, default_value: NULL}}" for id, name, kind in named)
        schema = f", schema = MAP {{{columns}}}"
    return f"read_parquet([{', '.join(map(text_sql, paths))}], hive_partitioning = false{schema})"


def _stored_type(column: StoredColumn) -> str:
    """DuckDB's type of a column as it stands in a file; `read_item` makes of it what Dremio has."""
    return "TIMESTAMP WITH TIME ZONE" if column.type == "timestamptz" else duckdb_type(column)


def ranges_of(
    snapshot: Snapshot, bounds: tuple[Bound, ...], times: tuple[str, ...]
) -> dict[str, tuple[int | None, int | None]]:
    """By column: from (included) and to (excluded), us since the epoch. Too wide by 1 ms at most."""
    ranges: dict[str, tuple[int | None, int | None]] = {}
    names = {column.name.lower(): column.name for column in snapshot.columns if column.type in _TIMES}
    for bound in bounds:
        name = names.get(bound.column)
        if name is None:
            continue
        low, high = ranges.get(name, (None, None))
        moment = time_us(times[bound.time])
        if bound.op in (">", ">=", "="):
            low = moment if low is None else max(low, moment)
        if bound.op in ("<", "<=", "="):
            # Cut to milliseconds, .123999 is .123 too.
            end = moment if bound.op == "<" else moment + 1000
            high = end if high is None else min(high, end)
        ranges[name] = (low, high)
    return ranges


def where_of(ranges: dict[str, tuple[int | None, int | None]], snapshot: Snapshot) -> str:
    zoned = {column.name for column in snapshot.columns if column.type == "timestamptz"}
    conditions: list[str] = []
    for name, (low, high) in ranges.items():
        for op, moment in ((">=", low), ("<", high)):
            if moment is not None:
                time = f"make_timestamp({moment}::BIGINT)"
                # A constant of the column's own type, so that it is compared with the statistics in the files.
                constant = f"CAST({time} AS TIMESTAMPTZ)" if name in zoned else time
                conditions.append(f"{quoted(name)} {op} {constant}")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def text_sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
