"""Catalogs, schemas, tables and table types, read from INFORMATION_SCHEMA, so that both always agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from embedded.gateway import columns
from embedded.gateway.flight_sql import schemas
from embedded.gateway.flight_sql.like import Like

type Ask = Callable[[str], pa.Table]
"""Runs a statement."""

# Dremio has no catalogs, but this one passes a filter.
_CATALOG = "DREMIO"
_TABLE_TYPES = ("TABLE", "SYSTEM_TABLE", "VIEW")

_SCHEMATA = "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA"
_TABLES = 'SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA."TABLES"'
_COLUMNS = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, DATA_TYPE, NUMERIC_PRECISION,"
    " NUMERIC_SCALE FROM INFORMATION_SCHEMA.COLUMNS"
)


def catalogs() -> pa.RecordBatch:
    return _batch(schemas.CATALOGS, [])


def table_types() -> pa.RecordBatch:
    return _batch(schemas.TABLE_TYPES, [{"table_type": name} for name in _TABLE_TYPES])


def db_schemas(command: Any, ask: Ask) -> pa.RecordBatch:
    """Schemas by name, of those whose name is like the filter."""
    names: list[str] = []
    if _filter(command, "catalog")(_CATALOG):
        found = ask(_SCHEMATA).column(0).to_pylist()
        names = sorted(filter(_filter(command, "db_schema_filter_pattern"), found))
    return _batch(schemas.DB_SCHEMAS, [{"db_schema_name": name} for name in names])


def tables(command: Any, ask: Ask) -> pa.RecordBatch:
    """Tables by type, schema and name. As in Dremio, a filter for the catalog is not looked at."""
    kinds = set(command.table_types)
    schema_passes = _filter(command, "db_schema_filter_pattern")
    name_passes = _filter(command, "table_name_filter_pattern")
    rows = []
    for schema, name, kind in _rows(ask(_TABLES)):
        if (not kinds or kind in kinds) and schema_passes(schema) and name_passes(name):
            rows.append({"db_schema_name": schema, "table_name": name, "table_type": kind})
    rows.sort(key=lambda row: (row["table_type"], row["db_schema_name"], row["table_name"]))
    if not command.include_schema:
        return _batch(schemas.TABLES, rows)
    fields = _fields(ask) if rows else {}
    with_schema = [
        {**row, "table_schema": _serialized(fields.get((row["db_schema_name"], row["table_name"]), []))} for row in rows
    ]
    return _batch(schemas.TABLES_WITH_SCHEMA, with_schema)


def _filter(command: Any, field: str) -> Callable[[str], bool]:
    return Like(getattr(command, field)).matches if command.HasField(field) else lambda _: True


def _fields(ask: Ask) -> dict[tuple[str, str], list[pa.Field]]:
    """The columns of every table, in their order."""
    found: dict[tuple[str, str], list[pa.Field]] = {}
    for schema, table, column, _, nullable, kind, precision, scale in sorted(
        _rows(ask(_COLUMNS)), key=lambda row: (row[0], row[1], row[3])
    ):
        arrow = _arrow(kind, precision, scale)
        # The type's own precision where it has one, as of texts; else the column's.
        own, own_scale = columns.sql_type(arrow)[1:]
        precision, scale = own or _text(precision), own_scale or _text(scale)
        metadata = columns.column_metadata(kind, precision, scale, schema, table)
        found.setdefault((schema, table), []).append(pa.field(column, arrow, nullable != "NO", metadata))
    return found


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _arrow(kind: str, precision: int | None, scale: int | None) -> pa.DataType:
    """The type of a column by its SQL name. Dremio's own table: its TIMESTAMP here has a zone, that of results none."""
    if kind == "DECIMAL":
        return pa.decimal128(precision or 38, scale or 0)
    return _ARROW.get(kind, pa.null())


_ARROW = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "SMALLINT": pa.int16(),
    "TINYINT": pa.int8(),
    "BINARY VARYING": pa.binary(),
    "BINARY": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "CHARACTER VARYING": pa.string(),
    "CHARACTER": pa.string(),
    "DATE": pa.date64(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "TIME": pa.time32("ms"),
    "TIMESTAMP": pa.timestamp("ms", "UTC"),
}


def _serialized(fields: list[pa.Field]) -> bytes:
    content: bytes = pa.schema(fields).serialize().to_pybytes()
    return content


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _batch(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)
