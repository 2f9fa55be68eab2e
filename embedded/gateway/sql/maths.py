"""Functions of numbers."""

from __future__ import annotations

from embedded.gateway.errors import validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind, decimal, of_arithmetic
from embedded.gateway.sql.rows import Row, TypedCall, common_of

_REFERENCE, _SOURCE, _TESTS = "reference", "reference; source of 25.2", "reference; tests of 25.2"
NAN = "CAST('nan' AS DOUBLE)"


def not_yet(what: str) -> str:
    """DuckDB's SQL that fails for a value that the gateway does not answer alike."""
    return f"error('The gateway does not answer {what} yet')"


def _ratio(name: str, inside: str = "") -> str:
    call = f"{name}(CAST({{0}} AS DOUBLE))"
    return f"CASE WHEN {inside} THEN {NAN} ELSE {call} END" if inside else call


def _zero(divisor: str) -> str:
    return f"{divisor} = 0 THEN error('divide by zero')"


def remainder(kind: Kind) -> str:
    """`a % b` as Dremio has it: a whole number modulo 0 is itself."""
    if kind.name in kinds.WHOLE:
        return "CASE WHEN {1} = 0 THEN {0} ELSE {0} % {1} END"
    return f"CASE WHEN {_zero('{1}')} ELSE {{0}} % {{1}} END"


def _remainder_kind(call: TypedCall) -> Kind:
    return of_arithmetic("%", *call.types) or kinds.INT


def _whole_part(call: TypedCall) -> Kind:
    kind = call.types[0]
    return decimal(kind.precision, 0) if kind.name == "decimal" else kinds.INT if kind == kinds.NULL else kind


def _places(call: TypedCall) -> int:
    return (call.whole(1) or 0) if len(call.types) > 1 else 0


def _rounded(call: TypedCall) -> Kind:
    return _cut(call, 1)


def _truncated(call: TypedCall) -> Kind:
    return _cut(call, 0)


def _cut(call: TypedCall, more: int) -> Kind:
    kind = call.types[0]
    if kind.name != "decimal":
        return kinds.INT if kind == kinds.NULL else kind
    scale = max(0, min(kind.scale, _places(call)))
    precision = kind.precision - (kind.scale - scale)
    return decimal(precision + more if scale < kind.scale else max(precision, 1), scale)


def _round(call: TypedCall) -> str:
    if len(call.types) == 1:
        return "round({0})"
    if call.types[0].name in kinds.WHOLE and _places(call) >= 0:
        return "{0}"
    return "round({0}, {1})"


def _truncate(call: TypedCall) -> str:
    kind, places = call.types[0], _places(call)
    if kind.name in kinds.INEXACT:
        return "trunc({0})"
    if places >= kind.scale:
        return "{0}"
    if places < -17:
        raise validation("The gateway does not answer TRUNCATE to more than 17 places yet")
    step = str(10**-places) if places <= 0 else f"0.{'0' * (places - 1)}1"
    return f"({{0}} - {{0}} % {step})"


def _largest(name: str) -> str:
    def how(call: TypedCall) -> str:
        places = [f"{{{index}}}" for index in range(len(call.types))]
        none = " OR ".join(f"{place} IS NULL" for place in places)
        return f"CASE WHEN {none} THEN NULL ELSE {name}({', '.join(places)}) END"

    return how  # type: ignore[return-value]


def _wrapped(number: str, bits: int) -> str:
    """A number cut to so many bits with a sign, as Java has it."""
    half, whole = f"{2 ** (bits - 1)}::HUGEINT", f"{2**bits}::HUGEINT"
    return f"((({number} + {half}) % {whole} + {whole}) % {whole} - {half})"


def _haversine(square: str) -> str:
    return f"6371000e0 * 2 * atan2(sqrt({square}), sqrt(1 - ({square})))"


_HALVES = "(sin(radians(CAST({2} AS DOUBLE) - {0}) / 2) ^ 2 + cos(radians(CAST({0} AS DOUBLE))) " \
          "* cos(radians(CAST({2} AS DOUBLE))) * sin(radians(CAST({3} AS DOUBLE) - {1}) / 2) ^ 2)"  # fmt: skip
_DISTANCE = f"({_haversine(_HALVES)})"


def _shifts(left: str, right: str) -> list[Row]:
    """Shifts as Java has them: by the last five bits of the number of places, six for a BIGINT."""
    long = _wrapped("CAST({0} AS HUGEINT) * (1::HUGEINT << ({1} & 63))", 64)
    unit = "(1::HUGEINT << ({1} & 63))"
    down = f"((CAST({{0}} AS HUGEINT) - (CAST({{0}} AS HUGEINT) % {unit} + {unit}) % {unit}) // {unit})"
    small = "CAST(floor({0} / CAST(1::BIGINT << ({1} & 31) AS DOUBLE)) AS BIGINT)"
    return [
        Row(left, "int, int", "int", _wrapped("CAST({0} AS HUGEINT) * (1::HUGEINT << ({1} & 31))", 32), _TESTS),
        Row(left, "whole, whole", "bigint", long, _REFERENCE),
        Row(right, "int, int", "int", small, _TESTS),
        Row(right, "whole, whole", "bigint", down, _REFERENCE),
    ]


def _common(call: TypedCall) -> Kind:
    return kinds.common_or_refused(call.types, "GREATEST or LEAST")


def _trigonometric() -> list[Row]:
    plain = ("SIN", "COS", "TAN", "COT", "SINH", "COSH", "TANH", "ATAN", "CBRT", "EXP", "DEGREES", "RADIANS")
    rows = [Row(name, "number", "double", _ratio(name.lower()), _REFERENCE) for name in plain]
    rows += [
        Row(name, "number", "double", _ratio(name.lower(), "abs(CAST({0} AS DOUBLE)) > 1"), _REFERENCE)
        for name in ("ACOS", "ASIN")
    ]
    return rows


ROWS = [
    *_trigonometric(),
    Row("ABS", "number", "argument 1", "abs({0})", _REFERENCE),
    Row("ATAN2", "number, number", "double", "atan2(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE))", _REFERENCE),
    Row("BITWISE_AND", "whole, whole", "argument 2", "({0} & {1})", _SOURCE),
    Row("BITWISE_OR", "whole, whole", "argument 2", "({0} | {1})", _SOURCE),
    Row("BITWISE_XOR", "whole, whole", "argument 2", "xor({0}, {1})", _SOURCE),
    Row("BITWISE_NOT", "whole", "argument 1", "(-{0} - 1)", _SOURCE),
    Row("BROUND", "number", "double", "round_even(CAST({0} AS DOUBLE), 0)", _REFERENCE),
    Row("BROUND", "number, whole", "double", None, _REFERENCE),
    Row("CEIL", "number", _whole_part, "ceil({0})", _SOURCE),
    Row("CEILING", "number", _whole_part, "ceil({0})", _SOURCE),
    Row("E", "", "double", "exp(1.0e0)", _REFERENCE),
    Row("FACTORIAL", "whole", "bigint",
        f"CASE WHEN {{0}} BETWEEN 0 AND 20 THEN factorial(CAST({{0}} AS INTEGER)) "
        f"WHEN {{0}} IS NULL THEN NULL ELSE {not_yet('FACTORIAL outside 0 to 20')} END", _TESTS),
    Row("FLOOR", "number", _whole_part, "floor({0})", _SOURCE),
    Row("GREATEST", "any, any...", _common, _largest("greatest"), _SOURCE, note="NULL when one of them is"),
    Row("LEAST", "any, any...", _common, _largest("least"), _SOURCE, note="NULL when one of them is"),
    Row("HASH", "any", "int", None, _REFERENCE),
    Row("HASH64", "any[, bigint]", "bigint", None, _REFERENCE),
    Row("LN", "number", "double", _ratio("ln"), _REFERENCE, note="of numbers above 0"),
    Row("LOG", "number", "double", _ratio("ln"), _TESTS, note="of numbers above 0"),
    Row("LOG", "number, number", "double", "(ln(CAST({1} AS DOUBLE)) / ln(CAST({0} AS DOUBLE)))", _TESTS,
        note="the base comes first"),
    Row("LOG2", "number", "double", "(ln(CAST({0} AS DOUBLE)) / ln(2e0))", "source of 25.2", note="of numbers above 0"),
    Row("LOG10", "number", "double", _ratio("log10"), _TESTS, note="of numbers above 0"),
    *(row for names in ("LSHIFT RSHIFT", "SHIFTLEFT SHIFTRIGHT") for row in _shifts(*names.split())),
    Row("MOD", "whole, whole", _remainder_kind, remainder(kinds.INT), _TESTS, note="MOD(x, 0) is x"),
    Row("MOD", "exact, exact", _remainder_kind, remainder(decimal(1, 0)), _SOURCE),
    Row("PI", "", "double", "pi()", _REFERENCE),
    Row("PMOD", "whole, whole", lambda call: common_of(call.types),
        f"CASE WHEN {_zero('{1}')} ELSE ({{0}} % {{1}} + {{1}}) % {{1}} END", _TESTS),
    Row("POW", "number, number", "double", "pow(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE))", _REFERENCE),
    Row("POWER", "number, number", "double", "pow(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE))", _REFERENCE),
    Row("RANDOM", "", "double", "random()", _REFERENCE),
    Row("RANDOM", "int", "double", None, _REFERENCE),
    Row("ROUND", "number", _rounded, _round, _SOURCE),
    Row("ROUND", "number, whole!", _rounded, _round, _SOURCE),
    Row("SIGN", "whole", "argument 1", "sign({0})", _SOURCE),
    Row("SIGN", "number", "int", None, _REFERENCE, note="the reference and the source differ in its type"),
    Row("SQRT", "number", "double", _ratio("sqrt", "CAST({0} AS DOUBLE) < 0"), _REFERENCE),
    Row("TRUNC", "number", _truncated, _truncate, _SOURCE),
    Row("TRUNC", "exact, whole!", _truncated, _truncate, _SOURCE),
    Row("TRUNCATE", "number", _truncated, _truncate, _SOURCE),
    Row("TRUNCATE", "exact, whole!", _truncated, _truncate, _SOURCE),
    Row("XOR", "int, int", "int", "xor({0}, {1})", _REFERENCE),
    Row("GEO_BEYOND", "float, float, float, float, number!", "bool", None, _REFERENCE),
    Row("GEO_DISTANCE", "float, float, float, float", "double", _DISTANCE, _SOURCE),
    Row("GEO_NEARBY", "float, float, float, float, number!", "bool", None, _REFERENCE),
    Row("ST_FROMGEOHASH", "text", "double", None, _REFERENCE),
    Row("ST_GEOHASH", "double, double[, int]", "text", None, _REFERENCE),
]  # fmt: skip
