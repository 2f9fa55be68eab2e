"""CONVERT_FROM(text, 'JSON') of a text that stands in the statement: its type is read off it, as Dremio does.

As Dremio 25.2's JsonReader: whole numbers are BIGINT, others DOUBLE, a field that is null is not there, and a null in a
list is refused. What it takes beyond JSON itself (names without quotes, comments) is not answered.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, NoReturn

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.raw import quoted

_MOST_DEPTH = 20
_MOST_LEAVES = 800
"""Leaves of one row that Dremio reads; in a list, those of its largest element."""
_MOST_BYTES = 32_000
"""Of one text that Dremio reads."""
_MOST_LETTERS = 100_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ /@:-]*")
# One that does not end is all the rest: it must not be looked for again at each of its letters.
_TEXTS = re.compile(r'"(?:[^"\\]|\\.?)*(?:"|\Z)', re.DOTALL)
_FAILURE = "Failure while trying to parse JSON literal."


class _Object(list[tuple[str, Any]]):
    """The fields of an object in their order, those that are null left out."""


@lru_cache(16)
def of_json(text: str) -> tuple[Kind, str]:
    """Type of a JSON text, and DuckDB's SQL for it, as a template. Raises Refusal."""
    if len(text) > _MOST_LETTERS or _depth(text) > _MOST_DEPTH:
        raise _not_yet("so long or so deep a text")
    try:
        value = json.loads(text, object_pairs_hook=_fields, parse_constant=_constant, parse_float=_float)
    except ValueError:
        raise _not_yet("what is no JSON by the letter") from None
    if not isinstance(value, list):
        raise validation(f"{_FAILURE} Root object cannot be a scalar.")
    kind = _kind(value)
    if _leaves(value) > _MOST_LEAVES:
        raise validation(f"{_FAILURE} It has more than {_MOST_LEAVES} leaves.")
    if kind is None or not _is_whole(kind):
        raise _not_yet("an object or a list of nothing")
    return kind, _sql(value, kind)


def _not_yet(what: str) -> Refusal:
    return validation(f"The gateway does not answer CONVERT_FROM('…', 'JSON') of {what} yet")


def _depth(text: str) -> int:
    depth = deepest = 0
    for letter in _TEXTS.sub("", text):
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


def _constant(text: str) -> NoReturn:
    raise _not_yet(f"the number {text}")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _not_yet(f"the number {text[:60]}")
    return value


def _fields(pairs: list[tuple[str, Any]]) -> _Object:
    if len({name.lower() for name, _ in pairs}) < len(pairs):
        raise _not_yet("the same name twice")
    for name, _ in pairs:
        if not _NAME.fullmatch(name):
            raise _not_yet("such a name of a field")
    return _Object((name, value) for name, value in pairs if value is not None)


_UNKNOWN = Kind("nothing")
"""The type of the elements of an empty list."""


def _kind(value: Any) -> Kind | None:
    """The type of a value. Raises Refusal for what is of none."""
    if isinstance(value, bool):
        return kinds.BOOL
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise validation(_FAILURE)
        return kinds.BIGINT
    if isinstance(value, float):
        return kinds.DOUBLE
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _not_yet("such a text in it")
        if len(value.encode()) > _MOST_BYTES:
            raise validation(f"{_FAILURE} A text in it has more than {_MOST_BYTES:,} bytes.")
        return kinds.TEXT
    if isinstance(value, _Object):
        return Kind("struct", fields=tuple((name, _kind(item) or _UNKNOWN) for name, item in value))
    found = _UNKNOWN
    for item in value:
        if item is None:
            raise validation(f"{_FAILURE} Null values are not supported in lists by default.")
        found = _both(found, _kind(item) or _UNKNOWN)
    return kinds.list_of(found)


def _both(one: Kind, other: Kind) -> Kind:
    """The type of a list's elements, of which there are these two. Raises Refusal for mixed ones."""
    if _UNKNOWN in (one, other):
        return other if one == _UNKNOWN else one
    if one == other:
        return one
    if one.name == other.name == "list" and one.of is not None and other.of is not None:
        return kinds.list_of(_both(one.of, other.of))
    if one.name == other.name == "struct":
        fields = dict(one.fields)
        for name, kind in other.fields:
            known = next((own for own in fields if own.lower() == name.lower()), name)
            if known != name:
                raise _not_yet("the same name in two cases")
            fields[name] = _both(fields.get(name, _UNKNOWN), kind)
        return Kind("struct", fields=tuple(fields.items()))
    raise _not_yet("a list of mixed types")


def _is_whole(kind: Kind) -> bool:
    if kind.name == "list":
        return kind.of is not None and _is_whole(kind.of)
    if kind.name == "struct":
        return bool(kind.fields) and all(_is_whole(of) for _, of in kind.fields)
    return kind != _UNKNOWN


def _leaves(value: Any) -> int:
    if isinstance(value, _Object):
        return sum(_leaves(item) for _, item in value)
    return max(map(_leaves, value), default=0) if isinstance(value, list) else 1


def _sql(value: Any, kind: Kind) -> str:
    """A value of this type for DuckDB; the whole is cast to its type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "e" in text else f"{text}e0"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, _Object):
        own = dict(value)
        items = (
            f'"{name}" := {_sql(own[name], of) if name in own else f"CAST(NULL AS {of.duckdb})"}'
            for name, of in kind.fields
        )
        return f"struct_pack({', '.join(items)})"
    assert kind.of is not None
    if not value:
        return f"CAST([] AS {kind.duckdb})"
    return f"[{', '.join(_sql(item, kind.of) for item in value)}]"
