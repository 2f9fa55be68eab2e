"""PIVOT, written out as what it means: a query that is grouped by the other columns, with a CASE for each value.

As Calcite defines it, whose syntax Dremio has: the columns that PIVOT does not name come first, in their order, then
for each value each aggregate, called by the value's alias and the aggregate's: https://calcite.apache.org/docs/reference.html.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.places import place

_AGGREGATES = frozenset({"AVG", "COUNT", "MAX", "MIN", "SUM"})
_OPTIONS = ("group", "using", "include_nulls", "default_on_null", "into")
LEFT_OUT = "pivoted"
"""The argument of a SELECT whose star stands for all columns but these, and by which it is grouped."""


def write_out(nodes: Sequence[exp.Expr], sql: str) -> bool:
    """Put a query in place of each PIVOT among the nodes; whether there was one. Raises Refusal."""
    sources = [node for node in nodes if node.args.get("pivots")]
    for source in sources:
        _write_out(source, source.args["pivots"], sql)
    return bool(sources)


def _write_out(source: exp.Expr, pivots: list[exp.Pivot], sql: str) -> None:
    pivot = pivots[0]
    if pivot.args.get("unpivot"):
        raise validation("The gateway does not answer UNPIVOT yet", *place(source, sql))
    refusal = validation("The gateway does not answer this PIVOT yet", *place(source, sql))
    queried = isinstance(source, exp.Table) or (isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query))
    fields = list(pivot.args.get("fields") or ())
    if (
        not queried
        or len(pivots) != 1
        or source.args.get("joins")
        or len(fields) != 1
        or any(map(pivot.args.get, _OPTIONS))
    ):
        raise refusal
    axis = fields[0].this.unnest() if isinstance(fields[0], exp.In) else None
    if not isinstance(axis, exp.Column) or axis.table or not fields[0].expressions:
        raise refusal
    calls = [_call(item, refusal) for item in pivot.expressions]
    if len(calls) > 1 and not all(name for name, _ in calls):
        raise refusal
    columns: list[exp.Expr] = [exp.Star()]
    for item in fields[0].expressions:
        value, called = _value(item, refusal)
        for name, call in calls:
            condition = exp.EQ(this=axis.copy(), expression=value.copy())
            full = f"{called}_{name}" if name else called
            columns.append(exp.alias_(_only_where(call, condition), full, quoted=True))
    used = {axis.name.lower(), *(column.name.lower() for _, call in calls for column in call.find_all(exp.Column))}
    source.set("pivots", None)
    alias = pivot.args.get("alias")
    query = exp.Subquery(alias=alias)
    source.replace(query)
    select = exp.Select(expressions=columns, from_=exp.From(this=source))
    select.set(LEFT_OUT, [exp.to_identifier(name, quoted=True) for name in sorted(used)])
    query.set("this", select)


def _call(item: exp.Expr, refusal: Refusal) -> tuple[str, exp.Anonymous]:
    """Alias and call of an aggregate."""
    call = item.this if isinstance(item, exp.Alias) else item
    if not isinstance(call, exp.Anonymous) or call.name.upper() not in _AGGREGATES or len(call.expressions) != 1:
        raise refusal
    inner = call.expressions[0]
    if isinstance(inner, exp.Distinct) and len(inner.expressions) != 1:
        raise refusal
    if any(column.table for column in call.find_all(exp.Column)) or call.find(exp.Query):
        raise refusal
    return str(item.alias), call


def _value(item: exp.Expr, refusal: Refusal) -> tuple[exp.Expr, str]:
    """A value, and what its columns are called: a text without an alias keeps its quotes."""
    value = item.this if isinstance(item, exp.PivotAlias) else item
    inner = value.this if isinstance(value, exp.Neg | exp.Cast) else value
    if not isinstance(inner, exp.Literal):
        raise refusal
    if isinstance(item, exp.PivotAlias):
        return value, str(item.args["alias"].name)
    if value is not inner:
        raise refusal
    return value, f"'{inner.name}'" if inner.is_string else inner.name


def _only_where(call: exp.Anonymous, condition: exp.Expr) -> exp.Expr:
    """The call, for the rows that meet the condition: aggregates pass over NULLs."""
    call = call.copy()
    inner = call.expressions[0]
    target = inner.expressions[0] if isinstance(inner, exp.Distinct) else inner
    counted = exp.Literal.number(1) if isinstance(target, exp.Star) else target.copy()
    target.replace(exp.Case(ifs=[exp.If(this=condition, true=counted)]))
    return call
