"""A KPI's query as two: one over new rows, and one over what is kept of all rows of a minute.

SUM and COUNT of two sets of rows add up to those of all of them; of COUNT(DISTINCT …) the values are kept. So the open
minute costs what is new in it. Only what is known to be so is split: one SELECT from the raw table alone (with a
window, from `window_ends` joined to it), grouped by expressions of its columns. Any other query is run over all raw
rows of its minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lakehouse.kpis import Counting, Kpi

AT = "_at"
"""The minute of a row of a partial; in what is kept of a window, the minute's end."""
KEPT = "_kept"
ENDS, END = "window_ends", "window_end"

_ROWS = sqlglot.parse_one("COUNT(*)", read="duckdb")
_PARTS = {"expressions", "from_", "joins", "where", "group", "having"}
_NOT_ALIKE_TWICE = (exp.Rand, exp.CurrentTimestamp, exp.CurrentTime, exp.NextValueFor, exp.Anonymous)
"""What may give another value at the next look, unknown functions among them; so may all that need nothing."""


class NotSplit(Exception):
    """The query cannot be kept up as events come; the message says why, as the rest of a sentence."""


class Kept(Enum):
    """What is kept of an aggregate: a sum, a count, or the values that were seen."""

    SUM = "sum"
    COUNT = "count"
    VALUES = "values"


@dataclass(frozen=True)
class Split:
    """`new` gives AT, g0… and k0… a minute and group of raw rows; `final` the KPI's columns of rows of KEPT like those.

    Of VALUES `new` has a list, KEPT their number. The last of `kept` is the number of rows, which `final` may do
    without. `names`: the KPI's columns that are one of the groups, with its number. `plain`: where `final` only names
    columns, and minutes near AT: each of the KPI's columns with that of KEPT, and how many minutes later it is.
    """

    new: str
    final: str
    groups: int
    kept: tuple[Kept, ...]
    names: Mapping[str, int]
    plain: Mapping[str, tuple[str, int]] | None


def split(kpi: Kpi, counting: Counting) -> Split:
    """Raises NotSplit."""
    try:
        tree = sqlglot.parse_one(kpi.sql(counting), read="duckdb")
    except SqlglotError as error:
        raise NotSplit(f"sqlglot cannot read it: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(tree, exp.Select) or any(given and name not in _PARTS for name, given in tree.args.items()):
        raise NotSplit("it is no plain SELECT … FROM … GROUP BY …")
    inner = [node for node in tree.walk() if isinstance(node, exp.Subquery | exp.SetOperation | exp.Window)]
    if inner or len(list(tree.find_all(exp.Select))) > 1:
        raise NotSplit("it has a query or a window within")
    for node in tree.find_all(exp.Func):
        if isinstance(node, _NOT_ALIKE_TWICE) or not any(node.args.values()):
            raise NotSplit(f"{node.sql('duckdb')} is not known to be the same each time")
    time = str(kpi.declared.table.event_time)
    _check_sources(tree, kpi, time)
    minute = _parsed(f"DATE_TRUNC('minute', {time})")
    at = minute if kpi.window == 1 else _parsed(END)
    groups = _groups(tree)
    if at not in groups:
        raise NotSplit(f"it is not grouped by {at.sql('duckdb')}")
    groups = [group for group in groups if group != at]
    aggregates = [*dict.fromkeys(each for each in _aggregates(tree) if each != _ROWS), _ROWS]
    for expression in (*groups, *aggregates, *filter(None, [tree.args.get("where")])):
        if kpi.window > 1 and any(column.name == END for column in expression.find_all(exp.Column)):
            raise NotSplit(f"{END} stands within {expression.sql('duckdb')}")
    kept = tuple(_kept(aggregate) for aggregate in aggregates)
    columns = [
        exp.alias_(minute.copy(), AT),
        *(exp.alias_(group.copy(), f"g{number}") for number, group in enumerate(groups)),
        *(exp.alias_(_new(each, how), f"k{n}") for n, (each, how) in enumerate(zip(aggregates, kept, strict=True))),
    ]
    new = exp.select(*columns).from_(kpi.declared.table.name)
    if where := tree.args.get("where"):
        new = new.where(where.this.copy())
    new = new.group_by(*(exp.Literal.number(place + 1) for place in range(len(groups) + 1)))
    names = {at: AT, **{group: f"g{n}" for n, group in enumerate(groups)}}
    names |= {aggregate: f"k{n}" for n, aggregate in enumerate(aggregates)}
    over_kept = partial(_over_kept, names)
    final = exp.select(
        *(exp.alias_(over_kept(column.unalias()), column.alias_or_name) for column in tree.expressions)
    ).from_(KEPT)
    if having := tree.args.get("having"):
        final = final.where(over_kept(having.this))
    of_groups = {
        column.alias_or_name: groups.index(g) for column in tree.expressions if (g := column.unalias()) in groups
    }
    plain = {column.alias_or_name: _plain(column.unalias()) for column in final.expressions}
    named = {name: source for name, source in plain.items() if source is not None}
    only_names = len(named) == len(plain) and not tree.args.get("having")
    return Split(new.sql("duckdb"), final.sql("duckdb"), len(groups), kept, of_groups, named if only_names else None)


def _plain(expression: exp.Expr) -> tuple[str, int] | None:
    """A column of KEPT, or AT so many minutes later; None for anything else."""
    if isinstance(expression, exp.Column):
        return expression.name, 0
    if isinstance(expression, exp.Add | exp.Sub) and isinstance(expression.expression, exp.Interval):
        span = expression.expression
        if isinstance(expression.this, exp.Column) and expression.this.name == AT and str(span.unit) == "MINUTE":
            return AT, int(span.this.name) * (1 if isinstance(expression, exp.Add) else -1)
    return None


def _parsed(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, read="duckdb")


def _check_sources(tree: exp.Select, kpi: Kpi, time: str) -> None:
    """Leave columns without their table's name, and nothing in FROM but what is asked for."""
    tables = list(tree.find_all(exp.Table))
    raw = kpi.declared.table.name
    wanted = [raw] if kpi.window == 1 else [ENDS, raw]
    if sorted(table.name for table in tables) != sorted(wanted) or any(table.args.get("db") for table in tables):
        raise NotSplit(f"it reads more than {' and '.join(wanted)}")
    aliases = {table.alias_or_name: table.name for table in tables}
    for column in tree.find_all(exp.Column):
        of = aliases.get(column.table)
        if column.table and (of is None or (of == ENDS) != (column.name == END)):
            raise NotSplit(f"{column.sql('duckdb')} is no column of {' and '.join(wanted)}")
        column.set("table", None)
    joins = tree.args.get("joins") or []
    if kpi.window == 1:
        if joins:
            raise NotSplit("it has a join")
        return
    [join] = joins
    within = {f"{time} >= {END} - INTERVAL '{kpi.window}' MINUTE", f"{time} < {END}"}
    on = join.args.get("on")
    if {name for name, given in join.args.items() if given} - {"this", "on"} or on is None:
        raise NotSplit(f"its join is not JOIN … ON {' AND '.join(sorted(within))}")
    if sorted(each.sql("duckdb") for each in on.flatten()) != sorted(_parsed(each).sql("duckdb") for each in within):
        raise NotSplit(f"its join is not ON {' AND '.join(sorted(within))}")


def _groups(tree: exp.Select) -> list[exp.Expr]:
    """The expressions of GROUP BY; places and aliases as what they stand for."""
    group = tree.args.get("group")
    if group is None or any(given and name not in ("expressions", "all") for name, given in group.args.items()):
        raise NotSplit("it is not grouped by plain expressions")
    if group.args.get("all"):
        return [column.unalias() for column in tree.expressions if not column.find(exp.AggFunc)]
    aliases = {column.alias: column.this for column in tree.expressions if isinstance(column, exp.Alias)}
    found: list[exp.Expr] = []
    for each in group.expressions:
        if isinstance(each, exp.Literal):
            place = int(each.this) if each.is_int else 0
            if not 1 <= place <= len(tree.expressions):
                raise NotSplit(f"it is grouped by {each.sql('duckdb')}")
            each = tree.expressions[place - 1].unalias()
        elif isinstance(each, exp.Column) and each.name in aliases:
            # DuckDB takes a column of the table before an alias; both are the same only where the alias is of itself.
            each = aliases[each.name] if aliases[each.name].name != each.name else each
        if each not in found:
            found.append(each)
    return found


def _aggregates(tree: exp.Select) -> Iterator[exp.Expr]:
    """SUM, COUNT and COUNT(DISTINCT …), each with its FILTER."""
    for part in (*tree.expressions, *filter(None, [tree.args.get("having")])):
        for node in part.find_all(exp.AggFunc):
            whole = node.parent if isinstance(node.parent, exp.Filter) else node
            if not isinstance(node, exp.Sum | exp.Count | exp.CountIf) or node.find_ancestor(exp.AggFunc):
                raise NotSplit(f"{whole.sql('duckdb')} is none of SUM, COUNT and COUNT(DISTINCT …)")
            yield whole


def _kept(aggregate: exp.Expr) -> Kept:
    function = aggregate.this if isinstance(aggregate, exp.Filter) else aggregate
    if not isinstance(function.this, exp.Distinct):
        return Kept.SUM if isinstance(function, exp.Sum) else Kept.COUNT
    if isinstance(function, exp.Sum) or len(function.this.expressions) != 1:
        raise NotSplit(f"{aggregate.sql('duckdb')} is none of SUM, COUNT and COUNT(DISTINCT …)")
    return Kept.VALUES


def _new(aggregate: exp.Expr, how: Kept) -> exp.Expr:
    """What `new` asks of an aggregate."""
    if how is not Kept.VALUES:
        return aggregate.copy()
    function = aggregate.this if isinstance(aggregate, exp.Filter) else aggregate
    [value] = function.this.expressions
    some: exp.Expr = exp.Not(this=exp.Is(this=exp.paren(value.copy()), expression=exp.Null()))
    if isinstance(aggregate, exp.Filter):
        some = exp.and_(some, aggregate.expression.this.copy())
    values = exp.ArrayAgg(this=exp.Distinct(expressions=[value.copy()]))
    return exp.Filter(this=values, expression=exp.Where(this=some))


def _over_kept(names: dict[exp.Expr, str], expression: exp.Expr) -> exp.Expr:
    """The same expression over KEPT."""

    def column(node: exp.Expr) -> exp.Expr:
        return exp.column(names[node]) if node in names else node

    replaced = expression.copy().transform(column)
    own = set(names.values())
    for found in replaced.find_all(exp.Column):
        if found.name not in own:
            raise NotSplit(f"{found.sql('duckdb')} is neither grouped by nor counted")
    return replaced
