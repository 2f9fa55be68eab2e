"""What Dremio computes otherwise than DuckDB: integer and decimal division, time arithmetic, formats, names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from embedded.gateway.errors import validation
from lakehouse.tables import TABLES


@dataclass(frozen=True, slots=True)
class _Type:
    """As much of an expression's type as a division needs: int, decimal(precision, scale), double, time or other."""

    kind: str
    precision: int = 38
    scale: int = 0


_INT, _DOUBLE, _TIMESTAMP, _OTHER = _Type("int", 10), _Type("double"), _Type("time"), _Type("other")
_LONG = _Type("int", 19)


class _Types:
    """Types of expressions, from the contract's columns and from the aliases in the statement."""

    def __init__(self, tree: exp.Expr) -> None:
        self._columns: dict[str, _Type] = {
            column.name: _stored(column.type) for table in TABLES.values() for column in table.columns
        }
        self._aliases: dict[str, exp.Expr] = {}
        for alias in tree.find_all(exp.Alias):
            self._aliases.setdefault(alias.alias.lower(), alias.this.copy())

    def of(self, node: exp.Expr | None, depth: int = 0) -> _Type:
        if node is None or depth > 30:
            return _OTHER

        def inner(item: exp.Expr | None) -> _Type:
            return self.of(item, depth + 1)

        match node:
            case exp.Literal():
                if node.is_string:
                    return _OTHER
                if "e" in node.name.lower():
                    return _DOUBLE
                whole, _, fraction = node.name.partition(".")
                return _Type("decimal", len(whole) + len(fraction), len(fraction)) if fraction else _INT
            case exp.Column():
                name = node.name.lower()
                if name in self._aliases and not (
                    isinstance(self._aliases[name], exp.Column) and self._aliases[name].name.lower() == name
                ):
                    return inner(self._aliases[name])
                return self._columns.get(name, _OTHER)
            case exp.Cast():
                return _named(node.to)
            case exp.Paren() | exp.Neg() | exp.Abs() | exp.Max() | exp.Min() | exp.Alias() | exp.Window() | exp.Round():
                return inner(node.this)
            case exp.Count() | exp.RowNumber() | exp.ApproxDistinct() | exp.Extract() | exp.Length() | exp.Rank():
                return _LONG
            case exp.Sum():
                kind = inner(node.this)
                return _LONG if kind.kind == "int" else _Type(kind.kind, 38, kind.scale)
            case exp.Avg() | exp.Stddev() | exp.Variance() | exp.Sqrt() | exp.Pow() | exp.Exp() | exp.Ln():
                return _DOUBLE
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Mod():
                return _wider(inner(node.left), inner(node.right), product=isinstance(node, exp.Mul))
            case exp.Div():
                return _quotient(inner(node.left), inner(node.right))
            case exp.Coalesce():
                return _widest([inner(item) for item in (node.this, *node.expressions)])
            case exp.Nullif():
                return inner(node.this)
            case exp.Case():
                branches = [inner(branch.args.get("true")) for branch in node.args.get("ifs") or ()]
                default = node.args.get("default")
                return _widest(branches + ([inner(default)] if default is not None else []))
            case exp.Subquery() | exp.Select():
                select = node.find(exp.Select)
                return inner(select.expressions[0]) if select and select.expressions else _OTHER
            case exp.CurrentTimestamp() | exp.TimestampTrunc() | exp.DateTrunc():
                return _TIMESTAMP
            case exp.Anonymous() if node.name.upper() in ("TIMESTAMPDIFF", "DATEDIFF", "NDV", "UNIX_TIMESTAMP"):
                return _LONG
            case exp.Anonymous() if node.name.upper() in ("TIMESTAMPADD", "TO_TIMESTAMP"):
                return _TIMESTAMP
        return _OTHER


def _stored(name: str) -> _Type:
    decimal = re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", name)
    if decimal:
        return _Type("decimal", int(decimal[1]), int(decimal[2]))
    return {"int": _INT, "long": _LONG, "double": _DOUBLE, "timestamptz": _TIMESTAMP}.get(name, _OTHER)


def _named(kind: exp.DataType) -> _Type:
    if kind.this == exp.DataType.Type.DECIMAL:
        numbers = [int(item.name) for item in kind.expressions]
        precision, scale = [*numbers, 38, 0][:2] if numbers else (38, 0)
        return _Type("decimal", precision, scale if len(numbers) > 1 else 0)
    if kind.this in exp.DataType.INTEGER_TYPES:
        return _LONG if kind.this == exp.DataType.Type.BIGINT else _INT
    if kind.this in (exp.DataType.Type.DOUBLE, exp.DataType.Type.FLOAT):
        return _DOUBLE
    if kind.this in (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ):
        return _TIMESTAMP
    return _OTHER


def _wider(left: _Type, right: _Type, product: bool = False) -> _Type:
    kinds = {left.kind, right.kind}
    if "other" in kinds or "time" in kinds:
        return _OTHER
    if "double" in kinds:
        return _DOUBLE
    if kinds == {"int"}:
        return left if left.precision >= right.precision else right
    scale = left.scale + right.scale if product else max(left.scale, right.scale)
    return _Type("decimal", 38, scale)


def _widest(types: list[_Type]) -> _Type:
    result = types[0] if types else _OTHER
    for item in types[1:]:
        result = item if result.kind == "other" else result if item.kind == "other" else _wider(result, item)
    return result


def _quotient(left: _Type, right: _Type) -> _Type:
    kind = _wider(left, right)
    if kind.kind != "decimal":
        return kind
    scale = max(6, left.scale + right.precision + 1)
    precision = left.precision - left.scale + right.scale + scale
    if precision > 38:
        scale = max(scale - (precision - 38), min(scale, 6))
    return _Type("decimal", min(precision, 38), scale)


def rewrite(tree: exp.Expr) -> exp.Expr:
    """The tree as DuckDB computes what Dremio means."""
    types = _Types(tree)
    nodes = list(tree.dfs())
    # Types are those of the statement as written, so they are looked up before anything is replaced.
    quotients = {id(node): types.of(node) for node in nodes if isinstance(node, exp.Div)}
    printed = {id(node) for node in nodes if isinstance(node, exp.Cast) and _prints_a_time(node, types)}
    # Children first: a node's arguments are in DuckDB's words when its turn comes.
    for node in reversed(nodes):
        new = node
        if isinstance(node, exp.Div):
            new = _division(node, quotients[id(node)])
        elif id(node) in printed:
            new = _function("strftime", node.this.copy(), exp.Literal.string("%Y-%m-%d %H:%M:%S.%g"))
        elif isinstance(node, exp.CurrentTimestamp):
            new = _now()
        elif isinstance(node, exp.Length | exp.StrPosition):
            new = exp.cast(node.copy(), "int")
        elif isinstance(node, exp.Anonymous) and node.name.upper() in _REWRITES:
            new = _REWRITES[node.name.upper()](node)
        if new is not node:
            node.replace(new)
    return tree


def _prints_a_time(node: exp.Cast, types: _Types) -> bool:
    return node.to.this in exp.DataType.TEXT_TYPES and types.of(node.this).kind == "time"


def _now() -> exp.Expr:
    return exp.cast(_function("now"), "timestamp")


def _function(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _division(node: exp.Div, kind: _Type) -> exp.Expr:
    left, right = node.left, node.right
    if kind.kind not in ("int", "decimal"):
        return node
    plain: exp.Expr = exp.IntDiv(this=left.copy(), expression=right.copy())
    if kind.kind == "decimal":
        quotient = exp.Div(this=left.copy(), expression=right.copy())
        plain = exp.cast(quotient, f"decimal({kind.precision},{kind.scale})")
    if isinstance(right, exp.Literal) and right.name.strip("0."):
        return exp.paren(plain, copy=False)
    zero = exp.EQ(this=right.copy(), expression=exp.Literal.number(0))
    failure = _function("error", exp.Literal.string("divide by zero"))
    return exp.Case(ifs=[exp.If(this=zero, true=failure)], default=plain)


_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")


def _unit(node: exp.Anonymous) -> str:
    name = node.expressions[0].name.upper().removeprefix("SQL_TSI_") if node.expressions else ""
    if len(node.expressions) != 3 or name not in _UNITS:
        raise validation(f"{node.name} takes one of {', '.join(_UNITS)} and two values")
    return name


def _timestamp_add(node: exp.Anonymous) -> exp.Expr:
    unit = _unit(node)
    # DuckDB's QUARTER needs a function of its own; three months are the same.
    amount: exp.Expr = exp.cast(node.expressions[1].copy(), "int")
    if unit == "QUARTER":
        unit, amount = "MONTH", exp.Mul(this=amount, expression=exp.Literal.number(3))
    return exp.paren(
        exp.Add(this=node.expressions[2].copy(), expression=_function(f"to_{unit.lower()}s", amount)), copy=False
    )


def _timestamp_diff(node: exp.Anonymous) -> exp.Expr:
    unit = _unit(node)
    start, end = (exp.cast(item.copy(), "timestamp") for item in node.expressions[1:])
    return exp.cast(_function("date_sub", exp.Literal.string(unit.lower()), start, end), "int")


_FORMATS = {
    "YYYY": "%Y",
    "YY": "%y",
    "MM": "%m",
    "MON": "%b",
    "MONTH": "%B",
    "DDD": "%j",
    "DD": "%d",
    "DY": "%a",
    "DAY": "%A",
    "HH24": "%H",
    "HH12": "%I",
    "HH": "%I",
    "MI": "%M",
    "SS": "%S",
    "FFF": "%g",
    "AM": "%p",
    "PM": "%p",
}
_FORMAT = re.compile("|".join(sorted(_FORMATS, key=len, reverse=True)) + r'|"([^"]*)"|[^A-Za-z"]', re.IGNORECASE)


def _format(node: exp.Anonymous) -> exp.Expr:
    template = node.expressions[1] if len(node.expressions) == 2 else None
    if not isinstance(template, exp.Literal) or not template.is_string:
        raise validation(f"{node.name} takes a value and a format in quotes")
    done, pieces = 0, []
    for match in _FORMAT.finditer(template.name):
        if match.start() != done:
            break
        done = match.end()
        if match[1] is not None:
            pieces.append(match[1])
        else:
            pieces.append(_FORMATS.get(match[0].upper(), match[0].replace("%", "%%")))
    if done != len(template.name):
        raise validation(f"{node.name} does not know the format '{template.name}' from its place {done + 1} on")
    return exp.Literal.string("".join(pieces))


def _to_char(node: exp.Anonymous) -> exp.Expr:
    return _function("strftime", node.expressions[0].copy(), _format(node))


def _to_timestamp(node: exp.Anonymous) -> exp.Expr:
    if len(node.expressions) == 1:
        return _function("make_timestamp", exp.cast(_times_million(node.expressions[0]), "bigint"))
    return _function("strptime", node.expressions[0].copy(), _format(node))


def _times_million(node: exp.Expr) -> exp.Expr:
    return exp.Mul(this=exp.paren(node.copy(), copy=False), expression=exp.Literal.number(1_000_000))


def _unix_timestamp(node: exp.Anonymous) -> exp.Expr:
    if node.expressions:
        raise validation("UNIX_TIMESTAMP is supported without arguments only")
    return exp.cast(_function("epoch", _function("now")), "bigint")


def _approx_percentile(node: exp.Anonymous) -> exp.Expr:
    return _function("approx_quantile", *(item.copy() for item in node.expressions))


def _ndv(node: exp.Anonymous) -> exp.Expr:
    return _function("approx_count_distinct", *(item.copy() for item in node.expressions))


def _ilike(node: exp.Anonymous) -> exp.Expr:
    if len(node.expressions) != 2:
        raise validation("ILIKE takes a text and a pattern")
    return exp.paren(exp.ILike(this=node.expressions[0].copy(), expression=node.expressions[1].copy()), copy=False)


def _date_diff(node: exp.Anonymous) -> exp.Expr:
    if len(node.expressions) != 2:
        raise validation("DATEDIFF takes two dates")
    end, start = (exp.cast(item.copy(), "date") for item in node.expressions)
    return exp.cast(_function("date_diff", exp.Literal.string("day"), start, end), "int")


def _day_of_week(node: exp.Anonymous) -> exp.Expr:
    # Sunday is 1.
    return exp.paren(
        exp.Add(
            this=_function("dayofweek", *(item.copy() for item in node.expressions)), expression=exp.Literal.number(1)
        ),
        copy=False,
    )


def _regexp_like(node: exp.Anonymous) -> exp.Expr:
    return _function("regexp_matches", *(item.copy() for item in node.expressions))


def _locate(node: exp.Anonymous) -> exp.Expr:
    if len(node.expressions) != 2:
        raise validation("LOCATE is supported with two arguments only")
    part, whole = node.expressions
    return exp.cast(_function("strpos", whole.copy(), part.copy()), "int")


_REWRITES: Mapping[str, Callable[[exp.Anonymous], exp.Expr]] = {
    "NOW": lambda _: _now(),
    "TIMESTAMPADD": _timestamp_add,
    "TIMESTAMPDIFF": _timestamp_diff,
    "TO_CHAR": _to_char,
    "TO_TIMESTAMP": _to_timestamp,
    "DATEDIFF": _date_diff,
    "NDV": _ndv,
    "APPROX_PERCENTILE": _approx_percentile,
    "UNIX_TIMESTAMP": _unix_timestamp,
    "ILIKE": _ilike,
    "DAYOFWEEK": _day_of_week,
    "REGEXP_LIKE": _regexp_like,
    "LOCATE": _locate,
}
