"""Types as Dremio sends them: int32 and int64, timestamp[ms] without zone, date64, all nullable, no dictionaries."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from embedded.gateway.errors import validation
from embedded.gateway.nested import nested_type

_TYPES = {
    "TINYINT": pa.int32(),
    "SMALLINT": pa.int32(),
    "INTEGER": pa.int32(),
    "UTINYINT": pa.int32(),
    "USMALLINT": pa.int32(),
    '"NULL"': pa.int32(),
    "UINTEGER": pa.int64(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.int64(),
    # SUM of integers; Dremio's is a BIGINT.
    "HUGEINT": pa.int64(),
    "UHUGEINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "UUID": pa.string(),
    "BLOB": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date64(),
    "TIME": pa.time32("ms"),
    "TIMESTAMP": pa.timestamp("ms"),
    "TIMESTAMP_S": pa.timestamp("ms"),
    "TIMESTAMP_MS": pa.timestamp("ms"),
    "TIMESTAMP_NS": pa.timestamp("ms"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("ms"),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def schema_of(columns: list[tuple[str, str]]) -> pa.Schema:
    """The schema on the wire for DuckDB's columns; a name that comes twice gets a number, as in Dremio."""
    fields: list[pa.Field] = []
    names: set[str] = set()
    for name, duckdb_type in columns:
        kind = _type(duckdb_type) or nested_type(duckdb_type, _type)
        if kind is None:
            raise validation(f"Column '{name}' has the type {duckdb_type}, which is not supported")
        unique, number = name, 0
        while unique.lower() in names:
            unique, number = f"{name}{number}", number + 1
        names.add(unique.lower())
        fields.append(pa.field(unique, kind))
    return pa.schema(fields)


def _type(duckdb_type: str) -> pa.DataType | None:
    decimal = _DECIMAL.fullmatch(duckdb_type)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _TYPES.get(duckdb_type)


def cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of DuckDB's answer with the types of the wire. Times lose what is below a millisecond."""
    columns = [
        column if column.type == field.type else _cast(column, field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit))
    return pc.cast(column, kind, safe=not pa.types.is_temporal(kind))


def empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
