"""Kafka Connect's own decimals, base64 of a whole number: the schema beside a message says their digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lakehouse.decode.careful import WrongValue
from lakehouse.sources.convert import unscaled
from tillwatch.init.columns import SampleColumn, SampleColumns, step_of

_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_DEEPEST, _MOST = 8, 38


def decimals_of(documents: Sequence[object]) -> dict[str, int]:
    """By path the digits behind the point, as the schemas of messages say."""
    schemas = (document.get("schema") for document in documents if isinstance(document, dict))
    return next((found for schema in schemas if (found := dict(_fields(schema, "")))), {})


def with_decimals(columns: SampleColumns, decimals: Mapping[str, int]) -> SampleColumns:
    """The same with numbers where these paths are."""
    found = {
        path: _read(column, decimals[path]) if path in decimals else column
        for path, column in columns.of_messages.items()
    }
    return replace(columns, of_messages=found)


def _fields(schema: object, prefix: str, depth: int = 0) -> Iterator[tuple[str, int]]:
    fields = schema.get("fields") if isinstance(schema, dict) and depth < _DEEPEST else None
    for field in fields if isinstance(fields, list) else ():
        step = step_of(str(field.get("field"))) if isinstance(field, dict) else None
        if step is None:
            continue
        more = field.get("parameters")
        scale = str(more.get("scale")) if field.get("name") == _DECIMAL and isinstance(more, dict) else ""
        if scale.isascii() and scale.isdecimal() and int(scale) <= _MOST:
            yield f"{prefix}{step}", int(scale)
        yield from _fields(field, f"{prefix}{step}.", depth + 1)


def _read(column: SampleColumn, digits: int) -> SampleColumn:
    read = unscaled(digits)
    found = [None if value is None else read(value) for value in column.values]
    return column if any(isinstance(value, WrongValue) for value in found) else replace(column, values=found)
