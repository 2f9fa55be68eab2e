"""Dremio's types: what an expression has, what two of them have in common, and how each is named elsewhere.

The rules of decimals are Gandiva's (Arrow's DecimalTypeUtil), those of common types Calcite's leastRestrictive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from embedded.gateway.errors import validation

MOST_DIGITS = 38


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: its name, digits of a decimal, what a list or map (of texts) holds, or the fields of a struct."""

    name: str
    precision: int = 0
    scale: int = 0
    of: Kind | None = None
    fields: tuple[tuple[str, Kind], ...] = ()

    def __str__(self) -> str:
        if self.name == "decimal":
            return f"DECIMAL({self.precision}, {self.scale})"
        return _SQL.get(self.name, self.name.upper())

    @property
    def duckdb(self) -> str:
        if self.name == "decimal":
            return f"DECIMAL({self.precision},{self.scale})"
        if self.of is not None:
            return f"{self.of.duckdb}[]" if self.name == "list" else f"MAP(VARCHAR, {self.of.duckdb})"
        if self.fields:
            inside = (f'"{name.replace('"', '""')}" {kind.duckdb}' for name, kind in self.fields)
            return f"STRUCT({', '.join(inside)})"
        return _DUCKDB[self.name]

    @property
    def arrow(self) -> pa.DataType:
        """The type on the wire."""
        if self.name == "decimal":
            return pa.decimal128(self.precision, self.scale)
        if self.of is not None:
            inner = pa.field("$data$" if self.name == "list" else "value", self.of.arrow)
            return pa.list_(inner) if self.name == "list" else pa.map_(pa.string(), inner)
        if self.fields:
            return pa.struct([(name, kind.arrow) for name, kind in self.fields])
        return _ARROW[self.name]

    @property
    def digits(self) -> int:
        """Digits that Dremio gives a number when it meets a decimal."""
        return {"int": 10, "bigint": 19}.get(self.name, self.precision)


NULL = Kind("null")
INT = Kind("int")
BIGINT = Kind("bigint")
FLOAT = Kind("float")
DOUBLE = Kind("double")
TEXT = Kind("text")
BINARY = Kind("binary")
BOOL = Kind("bool")
DATE = Kind("date")
TIME = Kind("time")
TIMESTAMP = Kind("timestamp")
MONTHS = Kind("interval of months")
DAYS = Kind("interval of days")

_SQL = {
    "int": "INTEGER",
    "text": "VARCHAR",
    "binary": "VARBINARY",
    "bool": "BOOLEAN",
    "interval of months": "INTERVAL YEAR TO MONTH",
    "interval of days": "INTERVAL DAY TO SECOND",
}
_DUCKDB = {
    "null": "INTEGER",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "text": "VARCHAR",
    "binary": "BLOB",
    "bool": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "interval of months": "INTERVAL",
    "interval of days": "INTERVAL",
}
_ARROW = {
    "null": pa.int32(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "date": pa.date64(),
    "time": pa.time32("ms"),
    "timestamp": pa.timestamp("ms"),
}

WHOLE = frozenset({"int", "bigint"})
EXACT = WHOLE | {"decimal"}
INEXACT = frozenset({"float", "double"})
NUMBERS = EXACT | INEXACT
NESTED = frozenset({"list", "map", "struct"})
INTERVALS = frozenset({MONTHS.name, DAYS.name})


def decimal(precision: int, scale: int) -> Kind:
    return Kind("decimal", precision, scale)


def list_of(kind: Kind) -> Kind:
    return Kind("list", of=kind)


def map_to(kind: Kind) -> Kind:
    return Kind("map", of=kind)


def common(kinds: Sequence[Kind]) -> Kind | None:
    """The type that can hold values of all of these; None where Dremio has none."""
    result = NULL
    for kind in kinds:
        found = _common(result, kind)
        if found is None:
            return None
        result = found
    return result


def common_or_refused(kinds: Sequence[Kind], what: str) -> Kind:
    """The common type; an INTEGER for NULLs alone. Raises Refusal, for what Calcite makes of others is not known."""
    kind = common(kinds)
    if kind is None:
        names = ", ".join(dict.fromkeys(map(str, kinds)))
        raise validation(f"The gateway does not answer {what} of mixed types ({names}) yet")
    return INT if kind == NULL else kind


def _common(left: Kind, right: Kind) -> Kind | None:
    if NULL in (left, right):
        return right if left == NULL else left
    if left == right:
        return left
    names = {left.name, right.name}
    if not names <= NUMBERS:
        return None
    if names <= WHOLE:
        return BIGINT
    if names <= EXACT:
        whole = min(max(left.digits - left.scale, right.digits - right.scale), MOST_DIGITS)
        scale = min(max(left.scale, right.scale), MOST_DIGITS - whole)
        return decimal(whole + scale, scale)
    return FLOAT if names <= {"float", *WHOLE} else DOUBLE


def of_arithmetic(sign: str, left: Kind, right: Kind) -> Kind | None:
    """The type of `left sign right` for two numbers; None for what are no numbers."""
    if NULL in (left, right):
        left = right = right if left == NULL else left
        if left == NULL:
            return INT
    if not {left.name, right.name} <= NUMBERS:
        return None
    if "decimal" not in (left.name, right.name) or {left.name, right.name} & INEXACT:
        return right if sign == "%" and {left.name, right.name} <= WHOLE else common([left, right])
    whole, other = left.digits - left.scale, right.digits - right.scale
    match sign:
        case "+" | "-":
            scale = max(left.scale, right.scale)
            precision = max(whole, other) + scale + 1
        case "*":
            scale = left.scale + right.scale
            precision = left.digits + right.digits + 1
        case "/":
            scale = max(6, left.scale + right.digits + 1)
            precision = whole + right.scale + scale
        case _:
            scale = max(left.scale, right.scale)
            precision = min(whole, other) + scale
    if precision > MOST_DIGITS:
        scale = max(scale - (precision - MOST_DIGITS), min(scale, 6))
        precision = MOST_DIGITS
    return decimal(precision, scale)


def of_literal(text: str) -> Kind:
    """The type of a number as it is written. Raises Refusal for one that is too long."""
    if "e" in text.lower():
        return DOUBLE
    whole, dot, fraction = text.partition(".")
    if len(whole) + len(fraction) > MOST_DIGITS or (not fraction and int(whole or "0") >= 2**63):
        raise validation(f"Numeric literal '{text[:60]}' out of range")
    if dot and fraction:
        return decimal(len(whole) + len(fraction), len(fraction))
    return INT if int(whole or "0") < 2**31 else BIGINT


def stored(name: str) -> Kind:
    """The type of a table's column, by its name in Iceberg."""
    if name.startswith("decimal"):
        precision, scale = name.removeprefix("decimal(").rstrip(")").split(",")
        return decimal(int(precision), int(scale))
    if name not in _STORED:
        raise validation(f"The gateway does not answer a table with a column of the type {name} yet")
    return _STORED[name]


def of_arrow(kind: pa.DataType) -> Kind:
    """The type of a column of the gateway's own tables."""
    if pa.types.is_list(kind):
        return list_of(of_arrow(kind.value_type))
    if pa.types.is_struct(kind):
        return Kind("struct", fields=tuple((field.name, of_arrow(field.type)) for field in kind))
    return _OWN[kind]


_OWN = {arrow: Kind(name) for name, arrow in _ARROW.items() if name != NULL.name}
_STORED = {
    "string": TEXT,
    "uuid": TEXT,
    "int": INT,
    "long": BIGINT,
    "float": FLOAT,
    "double": DOUBLE,
    "boolean": BOOL,
    "binary": BINARY,
    "date": DATE,
    "time": TIME,
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMP,
}
