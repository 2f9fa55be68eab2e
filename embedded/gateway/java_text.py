"""Values as Java's toString writes them, which is how Dremio shows statistics."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy
from pyiceberg.conversions import from_bytes
from pyiceberg.types import IcebergType


def pairs(values: Mapping[Any, Any] | None) -> list[dict[str, str]] | None:
    """A map as Dremio shows it, which has no maps here: a list of keys and values in text."""
    if values is None:
        return None
    return [{"key": str(key), "value": str(value)} for key, value in values.items()]


def bounds(values: Mapping[int, bytes] | None, types: Mapping[int, IcebergType]) -> list[dict[str, str]] | None:
    """Bounds by column id, of the columns that are still there."""
    if values is None:
        return None
    return [{"key": str(key), "value": _bound(value, types[key])} for key, value in values.items() if key in types]


def _bound(value: bytes, kind: IcebergType) -> str:
    # Bytes are shown as Java shows a buffer of them.
    if str(kind) in ("binary", "uuid") or str(kind).startswith("fixed"):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    bound = from_bytes(kind, value)  # type: ignore[arg-type]  # a primitive type, as bounds are
    # As few digits as tell it from other floats, which are not those that tell it from other doubles.
    return java(float(str(numpy.float32(bound))) if str(kind) == "float" else bound)


def java(value: Any) -> str:
    """A value as Java's toString writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _java_double(value)
    return str(value)


def _java_double(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    digits = Decimal(repr(value))
    if value and not 1e-3 <= abs(value) < 1e7:
        sign, numbers, exponent = digits.normalize().as_tuple()
        assert isinstance(exponent, int)
        text = "".join(map(str, numbers))
        return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(text) - 1}"
    text = format(digits, "f")
    return text if "." in text else f"{text}.0"
