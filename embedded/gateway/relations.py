"""The tables that a statement reads, and between which times it reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from lakehouse.tables import TABLES


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition `column op time` that every row of the answer meets; `time` is an index into the times."""

    column: str
    op: str
    time: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that the statement reads; `at` is an index into the AT clauses, `start` its place in the text.

    `function`: what is asked about the table, in place of its rows.
    """

    path: tuple[str, ...]
    at: int | None
    bounds: tuple[Bound, ...]
    start: int
    function: str | None = None


_OPS: dict[type[exp.Expr], str] = {exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.EQ: "="}
_MIRROR = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "="}


def bounds_of(table: exp.Table, alias: str, name: str, mark: str) -> tuple[Bound, ...]:
    """Conditions on times, joined by AND in the WHERE of the query that reads the table.

    They hold for its rows before any join too: a row that a comparison refuses, or that an outer join fills with NULL
    in its stead, does not pass the WHERE.
    """
    parent = table.parent
    if isinstance(parent, exp.Join):
        parent = parent.parent
    select = parent.parent if isinstance(parent, exp.From) else parent
    if not isinstance(select, exp.Select) or not isinstance(where := select.args.get("where"), exp.Where):
        return ()
    sources = 1 + len(select.args.get("joins") or ())
    columns = {column.name for column in TABLES[name.lower()].columns} if name.lower() in TABLES else set()

    def own(node: exp.Expr) -> str | None:
        if not isinstance(node, exp.Column):
            return None
        if node.table:
            return node.name.lower() if node.table.lower() == alias else None
        return node.name.lower() if sources == 1 or node.name.lower() in columns else None

    found: list[Bound] = []
    for condition in _conjuncts(where.this):
        pairs: list[tuple[exp.Expr, str, exp.Expr]] = []
        if isinstance(condition, exp.Between) and not condition.args.get("symmetric"):
            pairs = [(condition.this, ">=", condition.args["low"]), (condition.this, "<=", condition.args["high"])]
        elif type(condition) in _OPS:
            op = _OPS[type(condition)]
            pairs = [(condition.this, op, condition.expression), (condition.expression, _MIRROR[op], condition.this)]
        for left, op, right in pairs:
            column, time = own(left), _time_index(right, mark)
            if column is not None and time is not None:
                found.append(Bound(column, op, time))
    return tuple(found)


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.And):
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    elif isinstance(node, exp.Paren):
        yield from _conjuncts(node.this)
    else:
        yield node


def _time_index(node: exp.Expr, mark: str) -> int | None:
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.name.startswith(f"{mark}t"):
        return int(node.this.name[2:])
    return None
