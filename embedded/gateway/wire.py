"""Types as Dremio sends them: int32 and int64, timestamp[ms] without zone, date64, all nullable, no dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.sql.queries import Column


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The schema on the wire; a name that comes twice gets a number, as in Dremio."""
    fields: list[pa.Field] = []
    names: set[str] = set()
    for name, kind in columns:
        unique, number = name, 0
        while unique.lower() in names:
            unique, number = f"{name}{number}", number + 1
        names.add(unique.lower())
        fields.append(pa.field(unique, kind.arrow))
    return pa.schema(fields)


def cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of DuckDB's answer with the types of the wire. Times lose what is below a millisecond."""
    try:
        columns = [
            column if column.type == field.type else _cast(column, field.type)
            for column, field in zip(batch.columns, schema, strict=True)
        ]
    except pa.ArrowException:
        raise Refusal(ErrorKind.INTERNAL, "FUNCTION ERROR: a value is out of the range of its type") from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit))
    return pc.cast(column, kind, safe=not pa.types.is_temporal(kind))


def empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
