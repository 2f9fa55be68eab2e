"""Rows in memory, before they are files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import pyarrow as pa
from msgspec.structs import astuple, fields

from lakehouse.decode import Event, Rejected
from lakehouse.tables import TABLES, Table
from lakehouse.user_error import UserError
from pipeline.batch.log import Record
from pipeline.batch.times import micros
from pipeline.storage.files import row_schema

_OF_THE_LOG = frozenset(("ingested_at", "source_partition", "source_offset"))
DEAD_LETTERS = TABLES["dead_letters"]


def table_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a small table from mappings with all its columns."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=row_schema(table))


def raw_rows(table: Table, events: Sequence[Event], records: Sequence[Record], ingested_at: datetime) -> pa.Table:
    """Rows of a raw table from its topic's events and the records they came in."""
    schema = row_schema(table)
    columns: list[pa.Array] = []
    # All columns of an event in one go: by column, each would be found by its name again.
    values_of = (
        dict(zip(_names(type(events[0])), zip(*map(astuple, events), strict=True), strict=True)) if events else {}
    )
    for column in schema:
        match column.name:
            case "ingested_at":
                values: Any = pa.repeat(pa.scalar(ingested_at, column.type), len(events))
            case "source_partition":
                values = pa.array([record.partition for record in records], column.type)
            case "source_offset":
                values = pa.array([record.offset for record in records], column.type)
            case name if pa.types.is_timestamp(column.type):
                values = _times(values_of.get(name, ()), column.type)
            case name:
                values = pa.array(values_of.get(name, ()), column.type)
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=schema)


@cache
def _names(kind: type[Event]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _times(values: Sequence[datetime | None], kind: pa.DataType) -> pa.Array:
    """A column of times. Arrow asks each for its zone; of those that stand many times, each is asked once."""
    known: dict[datetime | None, int | None] = dict.fromkeys(values)
    if 4 * len(known) > len(values):
        return pa.array(values, kind)
    for value in known:
        known[value] = None if value is None else micros(value)
    return pa.array([known[value] for value in values], pa.int64()).cast(kind)


def dead_letter(record: Record, rejected: Rejected, ingested_at: datetime) -> dict[str, Any]:
    """A row of dead_letters."""
    return {
        "topic": record.topic,
        "source_partition": record.partition,
        "source_offset": record.offset,
        "received_at": record.received_at,
        "reason": str(rejected.reason),
        "detail": rejected.detail,
        "payload": record.value if rejected.kept is None else rejected.kept,
        "ingested_at": ingested_at,
    }


def kpi_rows(table: Table, answer: pa.Table, updated_at: datetime) -> pa.Table:
    """Rows of a KPI table from the answer to its query, which has all columns but updated_at. Raises UserError."""
    schema = row_schema(table)
    stamp = pa.scalar(updated_at, pa.timestamp("us", "UTC"))
    stamped = answer.append_column("updated_at", pa.repeat(stamp, len(answer))).select(schema.names)
    columns = [_cast(table, column, f) for column, f in zip(stamped.columns, schema, strict=True)]
    for column in table.columns:
        if column.required and stamped[column.name].null_count:
            raise no_value(table, column.name)
    return pa.Table.from_arrays(columns, schema=schema)


def no_value(table: Table, column: str) -> UserError:
    """Why rows of a KPI table are refused, of which some lack a value."""
    return UserError(
        f"{table.declared_in}: the query gives '{column}' without a value for some minute; declare it "
        "`required: false`, or use COALESCE."
    )


def too_many_groups(table: Table, rows: int, most: int) -> UserError:
    """Why they are refused where a minute has more than `most` of them."""
    return UserError(
        f"{table.declared_in}: the query gives {rows} rows for one minute, over kpis.most_groups ({most}), and no one "
        "row can stand for the rest; group by less, or raise that."
    )


def _cast(table: Table, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        # DuckDB sums into 128 bits, and what is declared as a long takes that until a sum is too large.
        raise UserError(
            f"{table.declared_in}: the query gives '{field.name}' a value that its type, {field.type}, does not hold: "
            f"{str(error).rstrip('.')}."
        ) from None
