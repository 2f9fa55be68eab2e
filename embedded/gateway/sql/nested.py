"""Values that have parts, and their parts: elements of a list, values of a map, fields of a struct."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import quoted

_VALUES_OF_MAPS = frozenset({"int", "bigint", "text", "bool"})
_LAST_INDEX = 2**31 - 1
_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"


def refuse(kind: Kind, what: str, start: int | None = None, length: int = 1) -> None:
    """Refuse to tell such values apart, or to order them: how Dremio does is not known. Raises Refusal."""
    if kind.name in kinds.NESTED:
        raise validation(f"The gateway does not answer {what} of a {kind} yet", start, length)


def part(kind: Kind, index: exp.Literal) -> tuple[str, Kind]:
    """How the part of a value is computed that an index tells, and its type. Raises Refusal.

    Elements of a list count from 0, and one that is not there is NULL. A map gives the value of the last key that is
    the same but for the case of A to Z (Dremio 25.2's EvaluationVisitor and MapFunctions).
    """
    name = str(index.name)
    if kind.name == "list" and kind.of is not None and not index.is_string:
        if not name.isdecimal() or int(name) > _LAST_INDEX:
            raise validation(f"The gateway does not answer the index {name} of a LIST yet")
        return f"list_extract({{0}}, {int(name) + 1})", kind.of
    if kind.name == "map" and kind.of is not None and index.is_string:
        same = f"translate(e.key, '{_UPPER}', '{_LOWER}') = {quoted(name.translate(str.maketrans(_UPPER, _LOWER)))}"
        found = f"list_extract(list_filter(map_entries({{0}}), lambda e: {same}), -1)"
        return f"struct_extract({found}, 'value')", kind.of
    if kind.name == "struct" and index.is_string:
        found_fields = [(own, of) for own, of in kind.fields if own.lower() == name.lower()]
        if len(found_fields) == 1:
            return f"struct_extract({{0}}, {quoted(found_fields[0][0])})", found_fields[0][1]
        raise validation(f"The gateway does not answer the field '{name}' of a STRUCT that has none yet")
    raise validation(f"The gateway does not answer an index like this one of {kind} yet")


def check_elements(items: Sequence[exp.Expr]) -> None:
    """Refuse what Dremio 25.2 does not take for an element of ARRAY[…], as its ArrayValueConstructorConvertlet.

    Raises Refusal.
    """
    for item in items:
        if isinstance(item, exp.Null):
            raise validation("NULL values are not supported when constructing an ARRAY.")
        if item.find(exp.Query):
            raise _not_yet("a query in an ARRAY")
        if column := item.find(exp.Column):
            raise validation(f"ARRAY Literal can not have array element: {column.name}")


def is_written(item: exp.Expr) -> bool:
    """Whether an expression is a value that stands in the statement, and so no NULL."""
    inner = item.this if isinstance(item, exp.Neg | exp.Paren | exp.Cast) else item
    return isinstance(inner, exp.Literal | exp.Boolean)


def element(index: int, *, sure: bool) -> str:
    """DuckDB's SQL for an element of ARRAY[…], `sure` where it is no NULL: those Dremio 25.2 leaves out (ARRAY_AGG)."""
    place = f"{{{index}}}"
    return place if sure else f"CASE WHEN {place} IS NULL THEN {not_yet('a NULL in an ARRAY')} ELSE {place} END"


def map_of(keys: Sequence[exp.Expr], values: Sequence[exp.Expr], types: Sequence[Kind]) -> Kind:
    """The type of a map of these keys and values, all of them literals; `types` are those of the values.

    Raises Refusal.
    """
    if not all(isinstance(key, exp.Literal) and key.is_string for key in keys):
        raise validation("MAP expects keys to be Characters.")
    if not all(kind.name in _VALUES_OF_MAPS for kind in types):
        raise _not_yet("a MAP whose values are no whole numbers, texts or booleans")
    if len(set(types)) > 1:
        raise _not_yet("a MAP of mixed types")
    if len({key.name for key in keys}) < len(keys):
        raise _not_yet("a MAP with the same key twice")
    return kinds.map_to(types[0])


def _not_yet(what: str) -> Refusal:
    return validation(f"The gateway does not answer {what} yet")
