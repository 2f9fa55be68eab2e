"""Arithmetic and intervals as Dremio does them."""

from __future__ import annotations

import re

from sqlglot import exp

from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind, of_arithmetic
from embedded.gateway.sql.maths import remainder

_SIGNS: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}


def arithmetic(
    node: type[exp.Expr], left: Kind, right: Kind, *, by_days: bool = False, compared: bool = False
) -> tuple[str, Kind]:
    """DuckDB's SQL for {0} sign {1}, and its type. Raises Refusal.

    by_days: one of them is an interval of years, months or days, as it is written (moves_by_days). compared: what comes
    of it is compared, and goes nowhere else.
    """
    sign = _SIGNS[node]
    moved = _moved(sign, left, right, by_days=by_days, compared=compared)
    if moved is not None:
        return moved
    kind = of_arithmetic(sign, left, right)
    if kind is None:
        raise validation(f"The gateway does not answer {left} {sign} {right} yet")
    if sign == "%":
        if kind.name in kinds.INEXACT:
            raise validation(f"The gateway does not answer {left} % {right} yet")
        return remainder(kind), kind
    if sign != "/":
        return f"{{0}} {sign} {{1}}", kind
    return f"CASE WHEN {{1}} = 0 THEN error('divide by zero') ELSE {_quotient(left, right, kind)} END", kind


def moves_by_days(node: exp.Expr) -> bool:
    """Whether it is written as an interval of years, months or days, and of no part of a day."""
    node = node.unnest()
    kind = node.args["to"].this if isinstance(node, exp.Cast) else node
    unit = kind.args.get("unit") if isinstance(kind, exp.Interval) else None
    if isinstance(unit, exp.IntervalSpan):
        return (unit.this.name.upper(), unit.expression.name.upper()) == ("YEAR", "MONTH")
    return isinstance(unit, exp.Var) and unit.name.upper() in ("YEAR", "MONTH", "DAY")


def _moved(sign: str, left: Kind, right: Kind, *, by_days: bool, compared: bool) -> tuple[str, Kind] | None:
    """A time and an interval.

    A DATE and an interval of days is a DATE: Dremio sees to that where one is added. Where one is taken away its plan
    says DATE and its functions give a TIMESTAMP, so that only a comparison comes out alike.
    """
    if left.name in kinds.INTERVALS and sign == "+" and right.name not in kinds.INTERVALS:
        left, right = right, left
    if right.name not in kinds.INTERVALS or sign not in "+-":
        return None
    if left == kinds.TIMESTAMP or (left == kinds.TIME and right == kinds.DAYS):
        return f"{{0}} {sign} {{1}}", left
    if left == kinds.DATE and by_days and (sign == "+" or compared):
        return f"{{0}} {sign} {{1}}", left
    raise validation(f"The gateway does not answer {left} {sign} {right} here yet; TIMESTAMPADD it does")


def _quotient(left: Kind, right: Kind, kind: Kind) -> str:
    if kind.name in kinds.WHOLE:
        return "{0} // {1}"
    if kind.name != "decimal":
        return "CAST({0} AS DOUBLE) / CAST({1} AS DOUBLE)" if kind == kinds.DOUBLE else "{0} / {1}"
    # DuckDB divides decimals as doubles. Here whole numbers are divided: those of the last places that are asked for.
    shift = kind.scale - left.scale + right.scale
    if shift < 0 or shift > kinds.MOST_DIGITS:
        raise validation(f"The gateway does not answer {left} / {right} yet")
    upper = f"(CAST({{0}} * 1{'0' * left.scale} AS HUGEINT) * 1{'0' * shift}::HUGEINT)"
    lower = f"CAST({{1}} * 1{'0' * right.scale} AS HUGEINT)"
    half = f"CASE WHEN 2 * abs({upper} % {lower}) >= abs({lower}) THEN sign({upper}) * sign({lower}) ELSE 0 END"
    unit = f"CAST(1e-{kind.scale} AS DECIMAL({max(kind.scale, 1)},{kind.scale}))"
    return f"CAST({upper} // {lower} + {half} AS DECIMAL(38,0)) * {unit}"


_MONTHS = {"YEAR": 12, "MONTH": 1}
_MILLISECONDS = {"DAY": 86_400_000, "HOUR": 3_600_000, "MINUTE": 60_000, "SECOND": 1000}
_RANGES = {
    ("YEAR", "MONTH"): r"(?P<YEAR>\d{1,2})-(?P<MONTH>\d{1,2})",
    ("DAY", "HOUR"): r"(?P<DAY>\d{1,2}) (?P<HOUR>\d{1,2})",
    ("DAY", "MINUTE"): r"(?P<DAY>\d{1,2}) (?P<HOUR>\d{1,2}):(?P<MINUTE>\d{1,2})",
    ("DAY", "SECOND"): r"(?P<DAY>\d{1,2}) (?P<HOUR>\d{1,2}):(?P<MINUTE>\d{1,2}):(?P<SECOND>\d{1,2}(\.\d{1,3})?)",
    ("HOUR", "MINUTE"): r"(?P<HOUR>\d{1,2}):(?P<MINUTE>\d{1,2})",
    ("HOUR", "SECOND"): r"(?P<HOUR>\d{1,2}):(?P<MINUTE>\d{1,2}):(?P<SECOND>\d{1,2}(\.\d{1,3})?)",
    ("MINUTE", "SECOND"): r"(?P<MINUTE>\d{1,2}):(?P<SECOND>\d{1,2}(\.\d{1,3})?)",
}
_MOST = {"MONTH": 11, "HOUR": 23, "MINUTE": 59, "SECOND": 59.999}


def interval(node: exp.Expr) -> tuple[Kind, str]:
    """Type and DuckDB's SQL of INTERVAL '…' unit [TO unit]. Raises Refusal."""
    unit = node.args.get("unit")
    text = str(node.this.name) if isinstance(node.this, exp.Literal) else ""
    if isinstance(unit, exp.IntervalSpan):
        span = (unit.this.name.upper(), unit.expression.name.upper())
        first, pattern = span[0], _RANGES.get(span, "")
    else:
        name = unit.name.upper() if isinstance(unit, exp.Var) else ""
        first = name
        fraction = r"(\.\d{1,3})?" if name == "SECOND" else ""
        pattern = rf"(?P<{name}>\d+{fraction})" if name in _MONTHS or name in _MILLISECONDS else ""
    if not pattern:
        raise Refusal(ErrorKind.PARSE, "Failure parsing the query: INTERVAL has no such unit.", 0)
    match = re.fullmatch(rf"(?P<sign>[+-]?){pattern}", text)
    if match is None:
        raise validation(f"Illegal interval literal format '{text}'")
    parts = {name: value for name, value in match.groupdict().items() if name != "sign" and value is not None}
    # Calcite's intervals begin with two digits if no other number is given.
    if len(parts[first].partition(".")[0]) > 2:
        raise validation(f"Interval field value {parts[first]} exceeds precision of {first}(2) field")
    for name, value in parts.items():
        if name != first and float(value) > _MOST.get(name, 99):
            raise validation(f"Illegal interval literal format '{text}'")
    sign = "-" if match["sign"] == "-" else ""
    if first in _MONTHS:
        return kinds.MONTHS, f"to_months({sign}{sum(int(value) * _MONTHS[name] for name, value in parts.items())})"
    total = sum(round(float(value) * _MILLISECONDS[name]) for name, value in parts.items())
    return kinds.DAYS, f"to_milliseconds({sign}{total})"
