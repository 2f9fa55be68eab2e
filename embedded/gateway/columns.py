"""What clients are told of a result's columns, in the metadata of their fields."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

_TEXT_SIZE = "65536"
_MILLISECONDS = "3"


def sql_type(kind: pa.DataType) -> tuple[str, str | None, str | None]:
    """Dremio's name of a type on the wire, its precision and its scale."""
    if pa.types.is_decimal(kind):
        return "DECIMAL", str(kind.precision), str(kind.scale)
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP", _MILLISECONDS, None
    return _SQL_TYPES.get(kind, ("ANY", None, None))


_SQL_TYPES: dict[pa.DataType, tuple[str, str | None, str | None]] = {
    pa.int32(): ("INTEGER", None, None),
    pa.int64(): ("BIGINT", None, None),
    pa.float32(): ("FLOAT", None, None),
    pa.float64(): ("DOUBLE", None, None),
    pa.string(): ("CHARACTER VARYING", _TEXT_SIZE, None),
    pa.binary(): ("BINARY VARYING", _TEXT_SIZE, None),
    pa.bool_(): ("BOOLEAN", None, None),
    pa.date64(): ("DATE", None, None),
    pa.date32(): ("DATE", None, None),
    pa.time32("ms"): ("TIME", _MILLISECONDS, None),
}


def column_metadata(
    type_name: str, precision: str | None, scale: str | None, schema: str = "", table: str = ""
) -> dict[str, str]:
    """The metadata that Flight SQL gives a column's field, with Dremio's answers."""
    values = {
        "SCHEMA_NAME": schema,
        "TABLE_NAME": table,
        "TYPE_NAME": type_name,
        "PRECISION": precision,
        "SCALE": scale,
        "IS_AUTO_INCREMENT": "0",
        "IS_CASE_SENSITIVE": "0",
        "IS_READ_ONLY": "1",
        "IS_SEARCHABLE": "1",
    }
    return {f"ARROW:FLIGHT:SQL:{name}": value for name, value in values.items() if value is not None}


@lru_cache(32)
def described(schema: pa.Schema) -> pa.Schema:
    """The schema of a result as FlightInfo tells it; the stream itself has no metadata, as in Dremio."""
    return pa.schema([field.with_metadata(column_metadata(*sql_type(field.type))) for field in schema])
