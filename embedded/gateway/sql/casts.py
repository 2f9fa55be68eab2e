"""CAST as Dremio does it: texts are read strictly, numbers rounded half away from zero, times cut to milliseconds."""

from __future__ import annotations

from sqlglot import exp

from embedded.gateway.errors import validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind, decimal
from embedded.gateway.sql.maths import not_yet

_READ = {
    "int": r"-?\d{{1,10}}",
    "bigint": r"-?\d{{1,19}}",
    "decimal": r"-?\d+(\.\d+)?",
    "double": r"-?\d+(\.\d+)?([eE][+-]?\d+)?",
    "float": r"-?\d+(\.\d+)?([eE][+-]?\d+)?",
    "date": r"\d{{4}}-\d\d-\d\d",
    "timestamp": r"\d{{4}}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{{1,3}})?)?",
    "time": r"\d\d:\d\d:\d\d(\.\d{{1,3}})?",
    "bool": r"(?i:true|false)",
}
_TYPES = {
    exp.DType.INT: kinds.INT,
    exp.DType.BIGINT: kinds.BIGINT,
    exp.DType.FLOAT: kinds.FLOAT,
    exp.DType.DOUBLE: kinds.DOUBLE,
    exp.DType.BOOLEAN: kinds.BOOL,
    exp.DType.DATE: kinds.DATE,
    exp.DType.TIME: kinds.TIME,
    exp.DType.TIMESTAMP: kinds.TIMESTAMP,
    exp.DType.VARCHAR: kinds.TEXT,
    exp.DType.CHAR: kinds.TEXT,
    exp.DType.VARBINARY: kinds.BINARY,
}


def named(kind: exp.DataType) -> tuple[Kind, int | None]:
    """The type that a CAST names, and the length of its texts. tree.check has let its name pass. Raises Refusal."""
    if not all(item.name.isdecimal() for item in kind.expressions):
        raise validation("A type takes numbers in its brackets")
    numbers = [int(item.name) for item in kind.expressions]
    if kind.this == exp.DType.DECIMAL:
        precision, scale = [*numbers, 0][:2] if numbers else (kinds.MOST_DIGITS, 0)
        if not 0 < precision <= kinds.MOST_DIGITS or not 0 <= scale <= precision:
            raise validation(f"DECIMAL({precision}, {scale}) is not within DECIMAL({kinds.MOST_DIGITS}, precision)")
        return decimal(precision, scale), None
    found = _TYPES.get(kind.this)
    if found is None or (numbers and found != kinds.TEXT):
        raise validation(f"The gateway does not answer a CAST to {kind.sql().upper()} yet")
    if kind.this == exp.DType.CHAR and not numbers:
        raise validation("The gateway does not answer a CAST to CHAR without a length yet")
    return found, numbers[0] if numbers else None


def to_interval(unit: str, kind: Kind) -> tuple[Kind, str]:
    """CAST(number AS INTERVAL unit). Raises Refusal."""
    if kind.name not in kinds.WHOLE or unit not in _MONTHS | _MILLISECONDS:
        raise validation(f"The gateway does not answer a CAST of {kind} to INTERVAL {unit} yet")
    if unit in _MONTHS:
        return kinds.MONTHS, f"to_months(CAST({{0}} AS INTEGER) * {_MONTHS[unit]})"
    return kinds.DAYS, f"to_milliseconds(CAST({{0}} AS BIGINT) * {_MILLISECONDS[unit]})"


_MONTHS = {"YEAR": 12, "MONTH": 1}
_MILLISECONDS = {"DAY": 86_400_000, "HOUR": 3_600_000, "MINUTE": 60_000, "SECOND": 1000}


def how(source: Kind, target: Kind) -> str:
    """DuckDB's SQL that makes a `target` of {0}. Raises Refusal for what Dremio or the gateway does not cast."""
    plain = f"CAST({{0}} AS {target.duckdb})"
    if source in (target, kinds.NULL):
        return plain
    names = (source.name, target.name)
    if source == kinds.TEXT and target.name in _READ:
        unsure = not_yet(f"a CAST of this text to {target.name.upper()}")
        return (
            f"CASE WHEN regexp_full_match({{0}}, '{_READ[target.name]}') THEN {plain} "
            f"WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END"
        )
    if target == kinds.TEXT:
        return _printed(source)
    if source.name in kinds.INEXACT and target.name in kinds.WHOLE:
        return f"CAST(round({{0}}) AS {target.duckdb})"
    if source.name in kinds.INEXACT and target.name == "decimal":
        return _rounded(source, target)
    if {*names} <= kinds.NUMBERS or names in (("date", "timestamp"), ("timestamp", "date"), ("timestamp", "time")):
        return plain
    if names == ("text", "binary"):
        return "encode({0})"
    raise validation(f"The gateway does not answer a CAST of {source} to {target} yet")


_MOST_UNITS = 10**11
_MOST_SCALE = 20


def _rounded(source: Kind, target: Kind) -> str:
    """A double as a decimal.

    Dremio's Java rounds a half away from zero, its native code to the even neighbour, each by other digits of the
    double; what is nearly a half, or does not fit, is answered by neither here.
    """
    if target.scale > _MOST_SCALE:
        raise validation(f"The gateway does not answer a CAST of {source} to {target} yet")
    units = f"(CAST({{0}} AS DOUBLE) * 1e{target.scale})"
    most = min(_MOST_UNITS, 10**target.digits)
    whole = f"CAST(CAST(round({units}) AS BIGINT) AS DECIMAL(12,0))"
    unit = f"CAST(1e-{target.scale} AS DECIMAL({max(target.scale, 1)},{target.scale}))"
    unsure = not_yet(f"a CAST of this {source} to {target}")
    return (
        f"CASE WHEN {{0}} IS NULL THEN NULL WHEN abs({units}) < {most} - 1 "
        f"AND abs(abs({units}) - floor(abs({units})) - 0.5) > 0.001 "
        f"THEN CAST({whole} * {unit} AS {target.duckdb}) ELSE {unsure} END"
    )


def _printed(source: Kind) -> str:
    if source.name == "timestamp":
        return "strftime({0}, '%Y-%m-%d %H:%M:%S.%g')"
    if source.name == "time":
        return "strftime(DATE '1970-01-01' + {0}, '%H:%M:%S.%g')"
    if source.name in kinds.INEXACT:
        # Java writes an E for what is smaller or larger.
        unsure = not_yet("so small or large a number as a text")
        return (
            "CASE WHEN {0} = 0 OR (abs({0}) >= 0.001 AND abs({0}) < 10000000) THEN CAST({0} AS VARCHAR) "
            f"WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END"
        )
    if source == kinds.BINARY:
        return "decode({0})"
    if source.name in kinds.EXACT | {"bool", "date"}:
        return "CAST({0} AS VARCHAR)"
    raise validation(f"The gateway does not answer a CAST of {source} to VARCHAR yet")


def comparable(left: Kind, right: Kind) -> Kind | None:
    """The type that both sides of a comparison are cast to; None where they stay as they are. Raises Refusal."""
    names = {left.name, right.name}
    if left == right or "null" in names:
        return None
    if names <= kinds.NUMBERS:
        return kinds.DOUBLE if "decimal" in names and names & kinds.INEXACT else None
    if names == {"date", "timestamp"}:
        return kinds.TIMESTAMP
    if "text" in names:
        other = right if left == kinds.TEXT else left
        if other.name in kinds.NUMBERS:
            return kinds.common([other, kinds.BIGINT])
        if other.name in ("date", "time", "timestamp", "bool"):
            return other
    if names & {"date", "time", "timestamp", "bool"} and names <= kinds.NUMBERS | {"date", "time", "timestamp", "bool"}:
        raise validation(f"Cannot apply '=' to arguments of type '<{left}> = <{right}>'")
    raise validation(f"The gateway does not answer a comparison of {left} with {right} yet")
