"""PIVOT and UNPIVOT, written out as what they mean.

PIVOT is a query that is grouped by the other columns, with a CASE for each value; UNPIVOT one that has each row once
for each of the columns.

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
_UNPIVOT_OPTIONS = ("group", "using", "default_on_null", "into", "value_columns_first")
LEFT_OUT = "pivoted"
"""The argument of a SELECT whose star stands for all columns but these, and by which it is grouped, without a join."""


def write_out(nodes: Sequence[exp.Expr], sql: str, mark: str) -> bool:
    """Put a query in place of each PIVOT and UNPIVOT among the nodes; whether there was one. Raises Refusal.

    `mark` is a character that the statement does not hold.
    """
    sources = [node for node in nodes if node.args.get("pivots")]
    for source in sources:
        _write_out(source, source.args["pivots"], sql, mark)
    return bool(sources)


def _write_out(source: exp.Expr, pivots: list[exp.Pivot], sql: str, mark: str) -> None:
    pivot = pivots[0]
    if pivot.args.get("unpivot"):
        _unpivot(source, pivots, sql, mark)
        return
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


def _unpivot(source: exp.Expr, pivots: list[exp.Pivot], sql: str, mark: str) -> None:
    """Put a query in place of an UNPIVOT: each row once for each of the columns, without those where it is NULL.

    As Calcite defines it: the columns that UNPIVOT does not name, in their order, then the axis, then the measure. No
    client can say one of the names that are made here. Raises Refusal.
    """
    refusal = validation("The gateway does not answer this UNPIVOT yet", *place(source, sql))
    pivot = pivots[0]
    queried = isinstance(source, exp.Table) or (isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query))
    fields, measures = list(pivot.args.get("fields") or ()), list(pivot.expressions)
    if (
        not queried
        or len(pivots) != 1
        or source.args.get("joins")
        or source.alias
        or len(fields) != 1
        or not isinstance(fields[0], exp.In)
        or len(measures) != 1
        or any(map(pivot.args.get, _UNPIVOT_OPTIONS))
    ):
        raise refusal
    axis, measure = fields[0].this, measures[0]
    taken = [_taken(item, refusal) for item in fields[0].expressions]
    named = [item for item in (axis, measure) if isinstance(item, exp.Identifier)]
    if len(named) != 2 or not taken or axis.name.lower() == measure.name.lower():
        raise refusal
    number = exp.column(*(exp.to_identifier(f"{name}{mark}", quoted=True) for name in ("number", "columns")))
    numbers = exp.Values(
        expressions=[exp.Tuple(expressions=[exp.Literal.number(at)]) for at in range(len(taken))],
        alias=exp.TableAlias(
            this=exp.to_identifier(f"columns{mark}", quoted=True),
            columns=[exp.to_identifier(f"number{mark}", quoted=True)],
        ),
    )
    chosen = [_chosen(number, [item[place] for item in taken]) for place in (0, 1)]
    items = [exp.alias_(case, item.name, quoted=True) for case, item in zip(chosen, (axis, measure), strict=True)]
    source.set("pivots", None)
    query = exp.Subquery(alias=pivot.args.get("alias"))
    source.replace(query)
    select = exp.Select(
        expressions=[exp.Star(), *items], from_=exp.From(this=source), joins=[exp.Join(this=numbers, kind="CROSS")]
    )
    if not pivot.args.get("include_nulls"):
        there = exp.Not(this=exp.Paren(this=exp.Is(this=chosen[1].copy(), expression=exp.Null())))
        select.set("where", exp.Where(this=there))
    names = sorted({column.name.lower() for _, column in taken})
    select.set(LEFT_OUT, [exp.to_identifier(name, quoted=True) for name in names])
    query.set("this", select)


def _taken(item: exp.Expr, refusal: Refusal) -> tuple[exp.Expr, exp.Column]:
    """What the axis says of a column (a literal, else its name as it is written), and the column."""
    column = item.this if isinstance(item, exp.PivotAlias) else item
    if not isinstance(column, exp.Column) or column.table:
        raise refusal
    if not isinstance(item, exp.PivotAlias):
        return exp.Literal.string(column.name), column
    value = item.args["alias"]
    if not isinstance(value, exp.Literal):
        raise refusal
    return value, column


def _chosen(number: exp.Expr, values: Sequence[exp.Expr]) -> exp.Case:
    branches = [
        exp.If(this=exp.EQ(this=number.copy(), expression=exp.Literal.number(at)), true=value.copy())
        for at, value in enumerate(values)
    ]
    return exp.Case(ifs=branches)


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
