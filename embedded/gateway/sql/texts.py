"""Functions of texts and of bytes."""

from __future__ import annotations

import string

from embedded.gateway.errors import validation
from embedded.gateway.sql import kinds, patterns
from embedded.gateway.sql.json_literals import of_json
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import quoted
from embedded.gateway.sql.rows import Row, TypedCall

_REFERENCE, _SOURCE, _TESTS = "reference", "reference; source of 25.2", "reference; tests of 25.2"
_ASCII_ONLY = "strlen({0}) <> length({0})"


def _ascii_only(name: str, how: str) -> str:
    return f"CASE WHEN {_ASCII_ONLY} THEN {not_yet(f'{name} of letters beyond ASCII')} ELSE {how} END"


def _find(text: str, part: str) -> str:
    return f"CASE WHEN {part} = '' THEN 0 ELSE strpos({text}, {part}) END"


def _find_from(text: str, part: str, start: str) -> str:
    found = f"strpos(substr({text}, {start}), {part})"
    return (
        f"CASE WHEN {start} < 1 THEN {not_yet('a search from before the first letter')} "
        f"WHEN {part} = '' OR {found} = 0 THEN 0 ELSE {found} + {start} - 1 END"
    )


def _substring(call: TypedCall) -> str:
    """From a place counted from 1; 0 is 1 too, a place below counts from the end."""
    place, length = call.whole(1), call.whole(2) if len(call.types) > 2 else 0
    tail = ", {2}" if len(call.types) > 2 else ""
    if place is not None and place > 0 and length is not None and length >= 0:
        return f"substr({{0}}, {{1}}{tail})"
    # greatest(), for a length below 0 would take from the left.
    tail = ", greatest({2}, 0)" if tail else ""
    return (
        f"CASE WHEN {{1}} < -length({{0}}) THEN '' "
        f"ELSE substr({{0}}, CASE WHEN {{1}} = 0 THEN 1 ELSE {{1}} END{tail}) END"
    )


def _json(call: TypedCall) -> tuple[Kind, str]:
    text, name = call.text(0), call.text(1)
    if text is None or name is None or name.upper() != "JSON":
        raise validation("The gateway does not answer CONVERT_FROM of such a text yet")
    return of_json(text)


def _pad(name: str, fill: str) -> str:
    return (
        f"CASE WHEN {fill} = '' OR {{1}} <= length({{0}}) THEN left({{0}}, greatest({{1}}, 0)) "
        f"ELSE {name}({{0}}, CAST({{1}} AS INTEGER), {fill}) END"
    )


def _chosen(call: TypedCall, index: int, otherwise: str) -> str:
    text = call.text(index) if len(call.types) > index else ""
    if text is None or len(text) > 1:
        raise validation("The gateway does not answer a mask that is not one letter in quotes yet")
    return text or otherwise


def _masked(call: TypedCall, first: int, text: str) -> str:
    """`text` with its letters and digits masked; the arguments from `first` on are the masks."""
    upper, lower, digit = (_chosen(call, first + index, mask) for index, mask in enumerate("Xxn"))
    known = string.ascii_uppercase + string.ascii_lowercase + string.digits
    return f"translate({text}, '{known}', {quoted(upper * 26 + lower * 26 + digit * 10)})"


def _mask(call: TypedCall) -> str:
    return _ascii_only("MASK", _masked(call, 1, "{0}"))


def _mask_part(name: str, of_first: bool, shown: bool) -> Row:
    def how(call: TypedCall) -> str:
        count = call.whole(1) if len(call.types) > 1 else 4
        if count is None or count < 0:
            raise validation(f"The gateway does not answer {name} with this number of letters yet")
        head = f"left({{0}}, {count})" if of_first else f"left({{0}}, greatest(length({{0}}) - {count}, 0))"
        tail = f"substr({{0}}, {count + 1})" if of_first else f"right({{0}}, {count})"
        if of_first == shown:
            tail = _masked(call, 2, tail)
        else:
            head = _masked(call, 2, head)
        return _ascii_only(name, f"concat({head}, {tail})")

    return Row(name, "text[, whole!, text!, text!, text!]", "text", how, _REFERENCE)


def _ilike(call: TypedCall) -> str:
    return "({0} ILIKE {1})" if len(call.types) == 2 else "({0} ILIKE {1} ESCAPE {2})"


def _trim(name: str, places: str) -> list[Row]:
    return [
        Row(name, "text", "text", f"{places}({{0}}, ' ')", _TESTS, note="spaces only"),
        Row(name, "text, text", "text", f"{places}({{0}}, {{1}})", _TESTS),
    ]


_SUBSTRING_INDEX = (
    f"CASE WHEN {{1}} = '' OR {{2}} = 0 THEN {not_yet('this SUBSTRING_INDEX')} "
    "WHEN {2} > 0 THEN array_to_string(list_slice(string_split({0}, {1}), 1, {2}), {1}) "
    "ELSE array_to_string(list_slice(string_split({0}, {1}), greatest(len(string_split({0}, {1})) + {2} + 1, 1), "
    "len(string_split({0}, {1}))), {1}) END"
)
_INITCAP = (
    "array_to_string(list_transform(regexp_extract_all({0}, '[A-Za-z0-9]+|[^A-Za-z0-9]+'), "
    "lambda w: upper(left(w, 1)) || lower(substr(w, 2))), '')"
)
_UNHEX = (
    "CASE WHEN regexp_full_match({0}, '([0-9A-Fa-f][0-9A-Fa-f])*') THEN unhex({0}) WHEN {0} IS NULL THEN NULL ELSE "
    + not_yet("what is no hexadecimal number")
    + " END"
)

ROWS = [
    Row("ASCII", "text", "int", f"CASE WHEN ascii({{0}}) > 127 THEN {not_yet('ASCII of a letter beyond ASCII')} "
        "ELSE ascii({0}) END", _TESTS),
    Row("AES_DECRYPT", "binary, text", "text", None, _REFERENCE),
    Row("AES_ENCRYPT", "text, text", "binary", None, _REFERENCE),
    Row("BASE64", "text", "text", "to_base64(encode({0}))", _REFERENCE),
    Row("BASE64", "binary", "text", "to_base64({0})", _REFERENCE),
    Row("BIN", "int", "text", "bin(CASE WHEN {0} < 0 THEN 4294967296 + {0} ELSE CAST({0} AS BIGINT) END)", _TESTS),
    Row("BIN", "bigint", "text", "bin({0})", _TESTS),
    Row("BINARY_STRING", "text", "binary", "CASE WHEN contains({0}, '\\') "
        f"THEN {not_yet('an escape in BINARY_STRING')} ELSE encode({{0}}) END", _REFERENCE),
    Row("BIT_LENGTH", "text", "int", "8 * strlen({0})", _TESTS),
    *_trim("BTRIM", "trim"),
    Row("CHARACTER_LENGTH", "text", "int", "length({0})", _TESTS),
    Row("CHAR_LENGTH", "text", "int", "length({0})", _TESTS),
    Row("CHR", "int", "text", "CASE WHEN {0} BETWEEN 1 AND 127 THEN chr({0}) WHEN {0} IS NULL THEN NULL "
        f"ELSE {not_yet('CHR of a number beyond ASCII')} END", _TESTS),
    Row("COL_LIKE", "text, text", "bool", "({0} LIKE {1})", _REFERENCE),
    Row("CONCAT", "text, text...", "text", lambda call: _all("concat", call), _TESTS, note="without NULLs"),
    Row("CONCAT_WS", "text, text, text...", "text", lambda call: _all("concat_ws", call), _TESTS),
    Row("CONTAINS", "text", "bool", None, _REFERENCE, note="of Elasticsearch sources"),
    Row("CONVERT_FROM", "binary, text!", "text", lambda call: _utf8(call, "decode({0})"), _REFERENCE),
    Row("CONVERT_FROM", "text!, text!", lambda call: _json(call)[0], lambda call: _json(call)[1],
        "reference; source of 25.2", note="'JSON' of a text in quotes, in SELECT; the type is read off the text"),
    Row("CONVERT_FROM", "text, text!", "text", None, _REFERENCE,
        note="of a column's JSON Dremio learns the type from the rows it has read, and keeps it"),
    Row("CONVERT_REPLACEUTF8", "binary, text", "text", None, _REFERENCE),
    Row("CONVERT_TO", "text, text!", "binary", lambda call: _utf8(call, "encode({0})"), _REFERENCE),
    Row("CONVERT_TO", "any, text!", "binary", None, _REFERENCE),
    Row("CRC32", "text", "bigint", None, _REFERENCE),
    Row("DECRYPT", "binary, binary, text", "binary", None, _REFERENCE),
    Row("ENCODE", "text, text!", "binary", None, _REFERENCE),
    Row("ENCRYPT", "binary, binary, text", "binary", None, _REFERENCE),
    Row("ENDS_WITH", "text, text", "bool", "ends_with({0}, {1})", _REFERENCE),
    Row("FROM_HEX", "text", "binary", _UNHEX, _TESTS),
    Row("HEX", "text", "text", "hex({0})", _REFERENCE),
    Row("HEX", "binary", "text", "hex({0})", _TESTS),
    Row("HEX", "whole", "text", f"CASE WHEN {{0}} < 0 THEN {not_yet('HEX of a number below 0')} ELSE hex({{0}}) END",
        _REFERENCE),
    Row("ILIKE", "text, text", "bool", _ilike, _REFERENCE),
    Row("ILIKE", "text, text, text!", "bool", _ilike, _REFERENCE),
    Row("INITCAP", "text", "text", _ascii_only("INITCAP", _INITCAP), _SOURCE),
    Row("INSTR", "text, text", "int", f"CASE WHEN {{1}} = '' THEN {not_yet('INSTR of nothing')} "
        "ELSE strpos({0}, {1}) END", _REFERENCE),
    Row("IS_SUBSTR", "text, text", "bool", "contains({0}, {1})", _REFERENCE),
    Row("IS_UTF8", "text", "bool", f"CASE WHEN {{0}} IS NULL THEN {not_yet('IS_UTF8 of NULL')} ELSE true END",
        _REFERENCE),
    Row("LCASE", "text", "text", "lower({0})", _TESTS),
    Row("LEFT", "text, whole", "text", "left({0}, {1})", _TESTS),
    Row("LENGTH", "text", "int", "length({0})", _TESTS),
    Row("LEVENSHTEIN", "text, text", "int", "levenshtein({0}, {1})", _REFERENCE),
    Row("LOCATE", "text, text", "int", _find("{1}", "{0}"), _TESTS),
    Row("LOCATE", "text, text, int", "int", _find_from("{1}", "{0}", "{2}"), _TESTS),
    Row("LOWER", "text", "text", "lower({0})", _TESTS),
    Row("LPAD", "text, whole", "text", _pad("lpad", "' '"), _TESTS),
    Row("LPAD", "text, whole, text", "text", _pad("lpad", "{2}"), _TESTS),
    *_trim("LTRIM", "ltrim"),
    Row("MASK", "text[, text!, text!, text!]", "text", _mask, _REFERENCE),
    _mask_part("MASK_FIRST_N", of_first=True, shown=False),
    Row("MASK_HASH", "text", "text", None, _REFERENCE),
    _mask_part("MASK_LAST_N", of_first=False, shown=False),
    _mask_part("MASK_SHOW_FIRST_N", of_first=True, shown=True),
    _mask_part("MASK_SHOW_LAST_N", of_first=False, shown=True),
    Row("MD5", "text", "text", "md5({0})", _REFERENCE),
    Row("NORMALIZE_STRING", "text, text!", "text", None, _REFERENCE),
    Row("OCTET_LENGTH", "text", "int", "strlen({0})", _TESTS),
    Row("OCTET_LENGTH", "binary", "int", "octet_length({0})", _TESTS),
    Row("PARSE_URL", "text, text[, text]", "text", None, _REFERENCE),
    Row("POSITION", "text, text", "int", _find("{1}", "{0}"), _TESTS, note="POSITION(part IN text)"),
    Row("QUOTE", "text", "text", None, _REFERENCE),
    Row("REGEXP_COL_LIKE", "text, text", "bool", None, _REFERENCE),
    Row("REGEXP_EXTRACT", "text, text!, whole!", "text", patterns.extracted, _TESTS),
    Row("REGEXP_EXTRACT", "text, text!", "text", None, _REFERENCE, note="which group it gives is not known"),
    Row("REGEXP_LIKE", "text, text!", "bool", patterns.like, _SOURCE, note="found anywhere in the text"),
    Row("REGEXP_MATCHES", "text, text!", "bool", patterns.like, _SOURCE, note="found anywhere in the text"),
    Row("REGEXP_REPLACE", "text, text!, text!", "text", patterns.replaced, _TESTS, note="$1 stands for a group"),
    Row("REGEXP_SPLIT", "text, text!, text!, int", lambda _: kinds.list_of(kinds.TEXT), None, _REFERENCE),
    Row("REPEAT", "text, int", "text", f"CASE WHEN {{1}} < 0 THEN {not_yet('REPEAT below 0')} "
        "ELSE repeat({0}, {1}) END", _REFERENCE),
    Row("REPEATSTR", "text, int", "text", f"CASE WHEN {{1}} < 0 THEN {not_yet('REPEATSTR below 0')} "
        "ELSE repeat({0}, {1}) END", _TESTS),
    Row("REPLACE", "text, text, text", "text", "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, {2}) END", _TESTS),
    Row("REVERSE", "text", "text", _ascii_only("REVERSE", "reverse({0})"), _TESTS),
    Row("RIGHT", "text, whole", "text", "right({0}, {1})", _TESTS),
    Row("RPAD", "text, whole", "text", _pad("rpad", "' '"), _TESTS),
    Row("RPAD", "text, whole, text", "text", _pad("rpad", "{2}"), _TESTS),
    *_trim("RTRIM", "rtrim"),
    Row("SHA", "text", "text", "sha1({0})", _REFERENCE),
    Row("SHA1", "text", "text", "sha1({0})", _REFERENCE),
    Row("SHA256", "text", "text", "sha256({0})", _REFERENCE),
    Row("SHA512", "text", "text", None, _REFERENCE),
    Row("SOUNDEX", "text", "text", None, _REFERENCE),
    Row("SPLIT_PART", "text, text, int", "text", f"CASE WHEN {{2}} < 1 OR {{1}} = '' THEN {not_yet('this SPLIT_PART')} "
        "ELSE split_part({0}, {1}, {2}) END", _REFERENCE),
    Row("SPACE", "int", "text", f"CASE WHEN {{0}} < 0 THEN {not_yet('SPACE below 0')} ELSE repeat(' ', {{0}}) END",
        "source of 25.2"),
    Row("STARTS_WITH", "text, text", "bool", "starts_with({0}, {1})", _REFERENCE),
    Row("STRING_BINARY", "binary", "text", None, _REFERENCE),
    Row("STRPOS", "text, text", "int", _find("{0}", "{1}"), _TESTS),
    *(row for name in ("SUBSTR", "SUBSTRING") for row in (
        Row(name, "text, whole", "text", _substring, _TESTS),
        Row(name, "text, whole, whole", "text", _substring, _TESTS),
        Row(name, "text, text!", "text", patterns.part, _SOURCE, note="what a regular expression finds first"),
    )),
    Row("SUBSTRING_INDEX", "text, text, int", "text", _SUBSTRING_INDEX, _REFERENCE),
    Row("TOASCII", "text, text", "text", None, _REFERENCE),
    Row("TO_HEX", "binary", "text", "hex({0})", _TESTS),
    Row("TRANSLATE", "text, text, text", "text", "translate({0}, {1}, {2})", _REFERENCE),
    *_trim("TRIM", "trim"),
    Row("UCASE", "text", "text", "upper({0})", _TESTS),
    Row("UNBASE64", "text", "binary", "from_base64({0})", _REFERENCE),
    Row("UNHEX", "text", "binary", _UNHEX, _TESTS),
    Row("UPPER", "text", "text", "upper({0})", _TESTS),
]  # fmt: skip


def _utf8(call: TypedCall, how: str) -> str:
    if (call.text(1) or "").upper() != "UTF8":
        raise validation(f"The gateway does not answer a conversion with {call.text(1)} yet")
    return how


def _all(name: str, call: TypedCall) -> str:
    return f"{name}({', '.join(f'{{{index}}}' for index in range(len(call.types)))})"
