"""What a statement may be made of, decided on its syntax tree.

Every node must be of a kind that is listed here, every function one that Dremio has: what is not known is refused, so
that nothing reaches the engine because nobody thought of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.pivots import LEFT_OUT
from embedded.gateway.places import place
from embedded.gateway.sql.table import DONE, refusal
from embedded.gateway.words import RESERVED

# Functions, as they are read: by their name, or with a syntax of their own.
_FUNCTION_NODES: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Anonymous, exp.Case, exp.Cast, exp.Extract, exp.If, exp.StrPosition, exp.Substring, exp.Trim,
    }
)  # fmt: skip

_SYNTAX_NODES: frozenset[type[exp.Expr]] = frozenset(
    {
        # queries
        exp.CTE, exp.Cube, exp.Except, exp.Fetch, exp.From, exp.Group, exp.GroupingSets, exp.Having, exp.Intersect,
        exp.Join, exp.Limit, exp.LimitOptions, exp.Offset, exp.Order, exp.Ordered, exp.Qualify, exp.Rollup, exp.Select,
        exp.Subquery, exp.Table, exp.TableAlias, exp.Union, exp.Unnest, exp.Values, exp.Where, exp.Window,
        exp.WindowSpec, exp.With, exp.WithinGroup,
        # names and values
        exp.Alias, exp.Boolean, exp.Column, exp.DataType, exp.DataTypeParam, exp.Distinct, exp.Dot,
        exp.Identifier, exp.Interval, exp.IntervalSpan, exp.Literal, exp.Null, exp.Paren, exp.Star, exp.Tuple, exp.Var,
        # signs and conditions
        exp.Add, exp.All, exp.And, exp.Any, exp.Array, exp.Between, exp.Bracket, exp.DPipe, exp.Div, exp.EQ,
        exp.Escape, exp.Exists, exp.GT, exp.GTE, exp.In, exp.Is, exp.LT, exp.LTE, exp.Like, exp.Map, exp.Mod, exp.Mul,
        exp.NEQ, exp.Neg, exp.Not, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Or, exp.SimilarTo, exp.Sub,
    }
)  # fmt: skip

_TYPES = frozenset(
    {
        exp.DType.BIGINT, exp.DType.BOOLEAN, exp.DType.CHAR, exp.DType.DATE, exp.DType.DECIMAL, exp.DType.DOUBLE,
        exp.DType.FLOAT, exp.DType.INT, exp.DType.TIME, exp.DType.TIMESTAMP, exp.DType.VARBINARY, exp.DType.VARCHAR,
    }
)  # fmt: skip

_INTERVALS = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")

# What a table of a statement may carry; anything else (a sample, a version, ONLY …) is syntax of other engines.
_TABLE_ARGS = frozenset({"this", "db", "catalog", "alias", "joins"})
_SELECT_ARGS = frozenset(
    """expressions from_ joins where group having qualify order limit offset distinct with_ windows hint
    operation_modifiers""".split()  # noqa: SIM905
) | {LEFT_OUT}
_SUBQUERY_ARGS = frozenset({"this", "alias", "with_", "joins", "order", "limit", "offset"})
_SET_ARGS = frozenset({"this", "expression", "with_", "distinct", "order", "limit", "offset"})
_VALUES_ARGS = frozenset({"expressions", "alias"})

# How refusals name what people write.
_CALLED: dict[str, str] = {
    "TryCast": "TRY_CAST",
    "Filter": "FILTER (WHERE …)",
    "Lambda": "a lambda",
    "TableSample": "TABLESAMPLE",
    "Placeholder": "a parameter",
    "Parameter": "a parameter",
    "Into": "INTO",
    "Lock": "FOR UPDATE",
    "Columns": "COLUMNS(…)",
    "AtTimeZone": "AT TIME ZONE",
    "Glob": "GLOB",
}

# What Dremio has, or may have.
_NOT_YET: Mapping[type[exp.Expr], str] = {
    exp.ILike: "text ILIKE pattern (but ILIKE(text, pattern))",
}


def check(nodes: Sequence[exp.Expr], sql: str) -> None:
    """Refuse what Dremio does not have, and what the gateway does not know. Raises Refusal.

    `nodes` are all those of a tree, parents first.
    """
    for node in nodes:
        kind = type(node)
        if kind not in _SYNTAX_NODES:
            _check_function(node, sql)
        if kind in _RULES:
            _RULES[kind](node, sql)


def _check_function(node: exp.Expr, sql: str) -> None:
    kind = type(node)
    if kind in _FUNCTION_NODES and not (isinstance(node, exp.Anonymous) and node.name.upper() not in DONE):
        return
    if kind in _NOT_YET:
        raise validation(f"The gateway does not answer {_NOT_YET[kind]} yet", *place(node, sql))
    if isinstance(node, exp.Func) and kind.__name__ not in _CALLED:
        raise _unknown(node, node, sql)
    raise validation(f"{_CALLED.get(kind.__name__, kind.__name__.upper())} is not supported", *place(node, sql))


def _unknown(function: exp.Func, where: exp.Expr, sql: str) -> Refusal:
    name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
    return refusal(name, *place(where, sql))


def _identifier(node: exp.Expr, sql: str) -> None:
    if not node.args.get("quoted") and node.name.upper() in RESERVED:
        start, length = place(node, sql)
        raise Refusal(
            ErrorKind.PARSE,
            f'Failure parsing the query: encountered "{node.name}", a reserved word: put it in double quotes.',
            start,
            length,
        )


def _with(node: exp.Expr, sql: str) -> None:
    if node.args.get("recursive"):
        raise validation("WITH RECURSIVE is not supported")
    names: set[str] = set()
    for cte in node.expressions:
        name = cte.alias.lower()
        if name in names:
            raise validation(f"Duplicate name '{cte.alias}' in WITH", *place(cte.args["alias"], sql))
        names.add(name)
        if cte.args.get("materialized") is not None or cte.args.get("key_expressions"):
            raise validation("MATERIALIZED is not supported")


def _join(node: exp.Expr, sql: str) -> None:
    method, kind, side = (str(node.args.get(key) or "") for key in ("method", "kind", "side"))
    if method or kind not in ("", "INNER", "CROSS", "OUTER") or side not in ("", "LEFT", "RIGHT", "FULL"):
        raise validation(f"{method or kind or side} JOIN is not supported")
    if node.args.get("global_") or node.args.get("hint") or node.args.get("match_condition"):
        raise validation("This kind of JOIN is not supported")


def _window(node: exp.Expr, sql: str) -> None:
    if node.this is not None and node.this.find(exp.Distinct):
        raise validation("DISTINCT is not supported in a window function")


def _star(node: exp.Expr, sql: str) -> None:
    if any(node.args.values()):
        raise validation("* EXCEPT and * REPLACE are not supported")


def _distinct(node: exp.Expr, sql: str) -> None:
    if node.args.get("on"):
        raise validation("DISTINCT ON is not supported")


def _group(node: exp.Expr, sql: str) -> None:
    if node.args.get("all"):
        raise validation("GROUP BY ALL is not supported")


def _interval(node: exp.Expr, sql: str) -> None:
    unit = str(node.args.get("unit") or "").upper().split(" ")[0].rstrip("S")
    if unit not in _INTERVALS:
        raise Refusal(ErrorKind.PARSE, f"Failure parsing the query: INTERVAL has no unit {unit or 'here'}.", 0)


def _type(node: exp.Expr, sql: str) -> None:
    if isinstance(node.this, exp.Interval) and node.this.this is None:
        return
    if node.this not in _TYPES or node.args.get("nested"):
        name = node.sql() if not isinstance(node.this, exp.DType) else node.this.value
        raise validation(f"Type {name} is not supported", *place(node, sql))


def _dot(node: exp.Expr, sql: str) -> None:
    """A path of more than three names is a table's only: `catalog.schema.table AT …`."""
    top = node
    while isinstance(top.parent, exp.Dot):
        top = top.parent
    names = all(isinstance(item, exp.Identifier | exp.Dot) for item in node.iter_expressions())
    if not isinstance(top.parent, exp.Table) or not names:
        function = node.find(exp.Func)
        if function is not None:
            raise _unknown(function, node, sql)
        raise validation("A field of a column is not supported", *place(node, sql))


def _table(node: exp.Expr, sql: str) -> None:
    if not isinstance(node, exp.Table) or not all(isinstance(part, exp.Identifier) for part in node.parts):
        raise validation("Table functions are not supported", *place(node, sql))
    _only(node, _TABLE_ARGS, sql)


def _only(node: exp.Expr, known: frozenset[str], sql: str) -> None:
    for key, value in node.args.items():
        if value and key not in known:
            raise validation(f"{key.strip('_').upper()} is not supported here", *place(node, sql))


def _args(known: frozenset[str]) -> Callable[[exp.Expr, str], None]:
    return lambda node, sql: _only(node, known, sql)


def _index(node: exp.Expr, sql: str) -> None:
    _only(node, frozenset({"this", "expressions"}), sql)
    if len(node.expressions) != 1 or not isinstance(node.expressions[0], exp.Literal):
        raise validation("The gateway does not answer such an index yet", *place(node, sql))


def _unnest(node: exp.Expr, sql: str) -> None:
    """`UNNEST(list) AS table (column)`, of a list that needs nothing beside it."""
    alias = node.args.get("alias")
    if node.args.get("offset"):
        raise validation("The gateway does not answer UNNEST … WITH ORDINALITY yet", *place(node, sql))
    if len(node.expressions) != 1 or not isinstance(node.parent, exp.From | exp.Join):
        raise validation("The gateway does not answer this UNNEST yet", *place(node, sql))
    if node.expressions[0].find(exp.Column, exp.Query):
        raise validation("The gateway does not answer UNNEST of a column or a query yet", *place(node, sql))
    if alias is None or not alias.name or len(alias.args.get("columns") or ()) != 1:
        raise validation(
            "The gateway does not answer UNNEST without names yet: UNNEST(…) AS table_name (column_name)",
            *place(node, sql),
        )
    _only(node, frozenset({"expressions", "alias"}), sql)


def _count(node: exp.Expr, sql: str) -> None:
    """LIMIT, OFFSET and FETCH take a number of rows as it is written."""
    options = node.args.get("limit_options")
    if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
        raise validation("FETCH with PERCENT or WITH TIES is not supported", *place(node, sql))
    value = node.args.get("count") if isinstance(node, exp.Fetch) else node.expression
    whole = isinstance(value, exp.Literal) and not value.is_string and value.name.isdecimal()
    if value is not None and not whole:
        raise validation(f"{type(node).__name__.upper()} takes a whole number", *place(node, sql))


_RULES: Mapping[type[exp.Expr], Callable[[exp.Expr, str], None]] = {
    exp.Identifier: _identifier,
    exp.With: _with,
    exp.Join: _join,
    exp.Window: _window,
    exp.Star: _star,
    exp.Distinct: _distinct,
    exp.Group: _group,
    exp.Interval: _interval,
    exp.DataType: _type,
    exp.Dot: _dot,
    exp.Table: _table,
    exp.Select: _args(_SELECT_ARGS),
    exp.Subquery: _args(_SUBQUERY_ARGS),
    exp.Union: _args(_SET_ARGS),
    exp.Except: _args(_SET_ARGS),
    exp.Intersect: _args(_SET_ARGS),
    exp.Values: _args(_VALUES_ARGS),
    exp.Bracket: _index,
    exp.Unnest: _unnest,
    **dict.fromkeys((exp.Fetch, exp.Limit, exp.Offset), _count),
}


def nodes_of(node: exp.Expr, but: type[exp.Expr] | None = None) -> list[exp.Expr]:
    """A node and all in it, parents first: as its own walk, which takes three times as long.

    `but`: those in it of this kind, and nothing inside them.
    """
    found = [node]
    for item in found:  # which grows while it is walked
        if but is not None and isinstance(item, but):
            continue
        for value in item.args.values():
            if isinstance(value, exp.Expr):
                found.append(value)
            elif isinstance(value, list):
                found += [one for one in value if isinstance(one, exp.Expr)]
    return found
