"""Functions of conditions, lists, maps, the session, and those of files."""

from __future__ import annotations

from embedded.gateway.errors import validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.rows import Row, TypedCall

_REFERENCE, _SOURCE = "reference", "reference; source of 25.2"
_TESTED = "reference; tests of 25.2"
OF_WHO_ASKS = {"USER": 0, "SESSION_USER": 0, "SYSTEM_USER": 0, "QUERY_USER": 0, "CURRENT_SCHEMA": 1}
"""What stands in the place of these is known when a statement runs: the user, and the session's schema."""


def _common(call: TypedCall) -> Kind:
    return kinds.common_or_refused(call.types, "COALESCE")


def _coalesced(call: TypedCall) -> str:
    kind = _common(call)
    return f"coalesce({', '.join(f'CAST({{{index}}} AS {kind.duckdb})' for index in range(len(call.types)))})"


def _nullif(call: TypedCall) -> str:
    kinds.common_or_refused(call.types, "NULLIF")
    return "CASE WHEN {0} = {1} THEN NULL ELSE {0} END"


def _type(call: TypedCall) -> str:
    """The names that the reference shows."""
    name = {"bool": "BIT", "int": "INT", "decimal": "DECIMAL", "text": "VARCHAR"}.get(call.types[0].name)
    if name is None:
        raise validation(f"The gateway does not answer TYPEOF of {call.types[0]} yet")
    return f"'{name}'"


def _elements(call: TypedCall) -> Kind:
    return next(kind for kind in call.types if kind.name == "list")


def _values(call: TypedCall) -> Kind:
    return kinds.list_of(call.types[0].of or kinds.NULL)


def _same_element(how: str, list_at: int) -> object:
    """A function of a list and an element of its type."""

    def rule(call: TypedCall) -> str:
        element = call.types[1 - list_at]
        if element not in (call.types[list_at].of, kinds.NULL):
            raise validation(f"The gateway does not answer a list of {call.types[list_at].of} with {element} yet")
        return how

    return rule


def _same_lists(how: str) -> object:
    def rule(call: TypedCall) -> str:
        if call.types[0] != call.types[1]:
            raise validation("The gateway does not answer two lists of different types yet")
        return how

    return rule


def _to_string(call: TypedCall) -> str:
    """Elements that are NULL are nothing between two delimiters."""
    inner = call.types[0].of or kinds.NULL
    if inner.name not in ("int", "bigint", "text", "date"):
        raise validation(f"The gateway does not answer ARRAY_TO_STRING of {inner} yet")
    return "array_to_string(list_transform({0}, lambda x: coalesce(CAST(x AS VARCHAR), '')), {1})"


def _nothing(names: str, source: str = _REFERENCE, note: str = "") -> list[Row]:
    return [Row(name, "", "text", None, source, note=note) for name in names.split()]


_CONTAINS = (
    "CASE WHEN {0} IS NULL OR {1} IS NULL THEN NULL WHEN list_contains({0}, {1}) THEN true "
    "WHEN len({0}) > len(list_filter({0}, lambda x: x IS NOT NULL)) THEN NULL ELSE false END"
)
_PLACE = "CASE WHEN {1} < 0 THEN len({0}) + {1} ELSE {1} END"
_REMOVED_AT = (
    f"CASE WHEN {_PLACE} < 0 THEN {{0}} ELSE "
    f"list_concat(list_slice({{0}}, 1, {_PLACE}), list_slice({{0}}, {_PLACE} + 2, len({{0}}))) END"
)
_SLICE = (
    f"CASE WHEN {_PLACE} < 0 OR <to> < 0 OR {_PLACE} > <to> THEN list_slice({{0}}, 1, 0) "
    f"ELSE list_slice({{0}}, {_PLACE} + 1, <to>) END"
)
_SUBLIST = (
    "CASE WHEN {1} < 0 OR {2} < 1 OR {1} > len({0}) THEN error('The gateway does not answer this SUBLIST yet') "
    "ELSE list_slice({0}, greatest({1}, 1), greatest({1}, 1) + {2} - 1) END"
)
_RANGE_STEP = (
    "CASE WHEN {2} = 0 THEN error('The gateway does not answer a step of 0 yet') ELSE range({0}, {1}, {2}) END"
)

ROWS = [
    Row("CASE", "WHEN … THEN …", "common type", "CASE", _SOURCE, use="syntax"),
    Row("CAST", "value AS type", "type", "CAST", _SOURCE, use="syntax"),
    Row("COALESCE", "any, any...", _common, _coalesced, _SOURCE),
    Row("NULLIF", "any, any", "argument 1", _nullif, _REFERENCE),
    Row("NVL", "any, any", _common, _coalesced, _SOURCE),
    Row("ISNULL", "any", "bool", "({0} IS NULL)", _REFERENCE),
    Row("ISNOTNULL", "any", "bool", "({0} IS NOT NULL)", _REFERENCE),
    Row("ISTRUE", "bool", "bool", "({0} IS TRUE)", _REFERENCE),
    Row("ISTRUE", "whole", "bool", "(({0} <> 0) IS TRUE)", _REFERENCE),
    Row("ISNOTTRUE", "bool", "bool", "({0} IS NOT TRUE)", _REFERENCE),
    Row("ISNOTTRUE", "whole", "bool", "(({0} <> 0) IS NOT TRUE)", _REFERENCE),
    Row("ISFALSE", "bool", "bool", "({0} IS FALSE)", _REFERENCE),
    Row("ISNOTFALSE", "bool", "bool", "({0} IS NOT FALSE)", _REFERENCE),
    Row("IS [NOT] DISTINCT FROM", "", "bool", "IS [NOT] DISTINCT FROM", _REFERENCE, use="syntax"),
    Row("IS [NOT] NULL", "", "bool", "IS [NOT] NULL", _REFERENCE, use="syntax"),
    Row("IS [NOT] TRUE", "", "bool", "IS [NOT] TRUE", _REFERENCE, use="syntax"),
    Row("IS [NOT] FALSE", "", "bool", "IS [NOT] FALSE", _REFERENCE, use="syntax"),
    Row("LIKE", "text LIKE text", "bool", "LIKE", _REFERENCE, use="syntax"),
    Row("SIMILAR_TO", "text SIMILAR TO text!", "bool", "regexp_full_match", _SOURCE, use="syntax"),
    Row("OVERLAPS", "", "bool", None, _REFERENCE, use="syntax"),
    Row("TYPEOF", "any", "text", _type, _REFERENCE),
    Row("ARRAY_APPEND", "list, any", _elements, _same_element("list_append({0}, {1})", 0), _REFERENCE),  # type: ignore[arg-type]
    Row("ARRAY_PREPEND", "any, list", _elements, _same_element("list_prepend({0}, {1})", 1), _REFERENCE),  # type: ignore[arg-type]
    *(
        Row(name, "list, list", _elements, _same_lists("list_concat({0}, {1})"), _SOURCE)  # type: ignore[arg-type]
        for name in ("ARRAY_CAT", "ARRAY_CONCAT")
    ),
    Row("ARRAYS_OVERLAP", "list, list", "bool", _same_lists("list_has_any({0}, {1})"), _REFERENCE),  # type: ignore[arg-type]
    Row("ARRAY_COMPACT", "list", _elements, "list_filter({0}, lambda x: x IS NOT NULL)", _REFERENCE),
    Row("ARRAY_CONTAINS", "list, any", "bool", _same_element(_CONTAINS, 0), _REFERENCE),  # type: ignore[arg-type]
    Row("ARRAY_GENERATE_RANGE", "int, int", lambda _: kinds.list_of(kinds.INT), "range({0}, {1})", _REFERENCE),
    Row("ARRAY_GENERATE_RANGE", "int, int, int", lambda _: kinds.list_of(kinds.INT), _RANGE_STEP, _REFERENCE),
    Row("ARRAY_POSITION", "any, list", "int", _same_element("(list_position({1}, {0}) - 1)", 1), _REFERENCE),  # type: ignore[arg-type]
    Row("ARRAY_REMOVE_AT", "list, int", _elements, _REMOVED_AT, _SOURCE),
    Row("ARRAY_SIZE", "list", "int", "len({0})", _SOURCE),
    Row("ARRAY_LENGTH", "list", "int", "len({0})", "source of 25.2"),
    Row("ARRAY_SLICE", "list, int", _elements, _SLICE.replace("<to>", "len({0})"), _SOURCE),
    Row("ARRAY_SLICE", "list, int, int", _elements, _SLICE.replace("<to>", _PLACE.replace("{1}", "{2}")), _SOURCE),
    Row("ARRAY_TO_STRING", "list, text", "text", _to_string, _SOURCE, note="of whole numbers, texts and dates"),
    Row("SUBLIST", "list, int, int", _elements, _SUBLIST, _SOURCE),
    Row("FLATTEN", "list", "of its elements", "unnest({0})", _REFERENCE, use="syntax",
        note="once, by itself in SELECT"),
    Row("CARDINALITY", "list", "int", "len({0})", _SOURCE, note="an INTEGER by the source, a BIGINT by the reference"),
    Row("CARDINALITY", "map", "int", "cardinality({0})", _SOURCE),
    Row("MAP", "[text!, any!, ...]", "map", "map([…], […])", _SOURCE, use="syntax",
        note="MAP['key', value …] of literals; values are whole numbers, texts or booleans, keys differ"),
    Row("MAP_KEYS", "map", lambda _: kinds.list_of(kinds.TEXT), "map_keys({0})", _SOURCE),
    Row("MAP_VALUES", "map", _values, "map_values({0})", _SOURCE),
    Row("[index]", "list[whole!]", "of its elements", "list_extract({0}, {1} + 1)", _SOURCE, use="syntax",
        note="of a column; from 0, NULL for one that is not there"),
    Row("[index]", "map[text!]", "of its values", "map_entries({0})", _SOURCE, use="syntax",
        note="of a column; the case of A to Z does not matter, NULL for a key that is not there"),
    Row("[index]", "struct[text!]", "of the field", "struct_extract({0}, {1})", _SOURCE, use="syntax",
        note="of a column"),
    Row("UNNEST", "list", "of its elements", "unnest({0})", "reference, SELECT; source of 25.2", use="syntax",
        note="in FROM, AS name (column), of no column"),
    Row("UNNEST", "list, WITH ORDINALITY", "", None, "reference, SELECT; source of 25.2", use="syntax",
        note="the reference calls the second column an offset, the source a row number"),
    *_nothing("""ARRAY_AVG ARRAY_DISTINCT ARRAY_FREQUENCY ARRAY_INSERT ARRAY_MAX ARRAY_MIN ARRAY_REMOVE
        ARRAY_SUM SET_UNION SIZE"""),
    *_nothing("TRY_CONVERT_FROM", note="AS a type of its own, a ROW or an ARRAY"),
    *_nothing("ISNUMERIC IS_BIGINT IS_INT IS_VARCHAR"),
    *(Row(name, "", "text", "'…'", _TESTED, note="who is signed in")
      for name in ("QUERY_USER", "SESSION_USER", "SYSTEM_USER", "USER")),
    Row("CURRENT_SCHEMA", "", "text", "'…'", _TESTED, note="of the session"),
    *_nothing("LAST_QUERY_ID IS_MEMBER", note="of the session"),
    *_nothing("IMAXDIR IMINDIR MAXDIR MINDIR LIST_FILES", note="of files"),
    *_nothing("AI_CLASSIFY AI_COMPLETE AI_GENERATE", note="of language models"),
    # In the source of 25.2, not in the reference.
    *_nothing("""ARRAY_INTERSECTION COLLECT CURRENT_CATALOG CURRENT_PATH CURRENT_ROLE
        CURRENT_USER ELT FIND_IN_SET FORMAT_NUMBER GROUPING GROUPING_ID GROUP_ID HLL IS_BIT IS_DATE IS_DECIMAL
        IS_FLOAT4 IS_FLOAT8 IS_LIST IS_STRUCT IS_TIME IS_TIMESTAMP IS_VARBINARY MAPPIFY MAP_CONSTRUCT
        NTH_VALUE OVERLAY RAND_INTEGER REGEXP_COL_MATCHES RSHIFTUNSIGNED SHIFTRIGHTUNSIGNED
        TIMETYPE TO_UTF8 TRANSLATE3 UDFDEGREES """, "source of 25.2"),
]  # fmt: skip
