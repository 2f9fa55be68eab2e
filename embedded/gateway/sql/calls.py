"""Calls of functions: plain ones, those of windows, and those of ordered groups."""

from __future__ import annotations

from sqlglot import exp

from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.sql import kinds, nested, times
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import Raw, cast, raw
from embedded.gateway.sql.rows import Row, TypedCall
from embedded.gateway.sql.table import row_for
from embedded.gateway.sql.walk import Walk

_DISTINCT = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX", "LISTAGG"})
_NOT_OVER = frozenset({"LISTAGG", "PERCENTILE_CONT", "PERCENTILE_DISC", "BIT_AND", "BIT_OR", "BOOL_AND", "BOOL_OR"})
_ORDERED = frozenset({"RANK", "DENSE_RANK", "NTILE", "LEAD", "LAG", "CUME_DIST", "PERCENT_RANK"})


def call(inside: Walk, node: exp.Expr, name: str, given: list[exp.Expr]) -> Kind:
    """Rewrite a call; its type. Raises Refusal."""
    if name in ("TIMESTAMPADD", "TIMESTAMPDIFF"):
        return _with_unit(inside, node, name, given)
    built, kind, row = _built(inside, name, given)
    if row.use == "window":
        raise validation(f"OVER clause is necessary for window functions: {name}")
    if name == "LISTAGG":
        built = _as_long_as_dremios(built)
    if name == "CONVERT_FROM" and kind.name in kinds.NESTED and not _is_selected(node):
        raise validation("The gateway does not answer CONVERT_FROM('…', 'JSON') but in the SELECT list yet")
    return inside.put(node, cast(built, kind), kind)


def _is_selected(node: exp.Expr) -> bool:
    while node.parent is not None and not isinstance(node.parent, exp.Select):
        node = node.parent
    return node.arg_key == "expressions"


def _built(inside: Walk, name: str, given: list[exp.Expr]) -> tuple[exp.Expr, Kind, Row]:
    distinct = len(given) > 0 and isinstance(given[0], exp.Distinct)
    if distinct:
        given = [*given[0].expressions, *given[1:]]
    types = [Kind("*") if isinstance(item, exp.Star) else inside.kind(item) for item in given]
    written = TypedCall(given, types)
    row = row_for(name, written)
    how = row.how if isinstance(row.how, str) else row.how(written) if row.how else ""
    kind = row.result(written)
    now = TypedCall([inside.now(item) for item in given], types)
    if distinct:
        if name not in _DISTINCT or (len(given) > 1 and name == "COUNT"):
            raise validation(f"The gateway does not answer {name}(DISTINCT …) yet")
        nested.refuse(types[0], f"{name}(DISTINCT …)")
        how = how.replace("({0}", "(DISTINCT {0}", 1)
    if row.name in ("LAG", "LEAD") and len(given) == 2:
        if not written.whole(1) or (written.whole(1) or 0) <= 0:
            raise validation(f"Function {row.name} only supports a second argument that is a number above 0")
        how = how.replace("{0}", "{0}, {1}")
    return raw(how, *row.arguments(now)), kind, row


def _with_unit(inside: Walk, node: exp.Expr, name: str, given: list[exp.Expr]) -> Kind:
    unit = given[0].name.upper().removeprefix("SQL_TSI_") if given and isinstance(given[0], exp.Var) else ""
    if len(given) != 3 or unit not in times.UNITS:
        raise validation(f"{name} takes one of {', '.join(times.UNITS)} and two values")
    left, right = (inside.kind(item) for item in given[1:])
    now = [inside.now(item) for item in given[1:]]
    if name == "TIMESTAMPADD":
        if left.name not in (*kinds.WHOLE, "null") or right.name not in ("date", "timestamp"):
            raise validation(f"The gateway does not answer TIMESTAMPADD({unit}, {left}, {right}) yet")
        kind = times.kind_of_added(unit, right)
        return inside.put(node, cast(raw(times.added(unit, right), *now), kind), kind)
    if not {left.name, right.name} <= {"date", "timestamp", "null"}:
        raise validation(f"The gateway does not answer TIMESTAMPDIFF({unit}, {left}, {right}) yet")
    return inside.put(node, cast(raw(times.difference(unit), *now), kinds.INT), kinds.INT)


def _as_long_as_dremios(listed: exp.Expr) -> exp.Expr:
    unsure = not_yet("a LISTAGG beyond 32,768 bytes")
    return raw(f"CASE WHEN strlen({{0}}) > 32768 THEN {unsure} ELSE {{0}} END", listed)


def within_group(inside: Walk, node: exp.Expr) -> Kind:
    """LISTAGG, PERCENTILE_CONT and PERCENTILE_DISC, WITHIN GROUP (ORDER BY …). Raises Refusal."""
    function, order = node.this, node.expression
    name = function.name.upper() if isinstance(function, exp.Anonymous) else ""
    given = list(function.expressions)
    items = list(order.expressions)
    found = [inside.kind(item.this) for item in items]
    if name == "LISTAGG":
        built, kind, _ = _built(inside, name, given)
        template = built.this.removesuffix(")") + f" ORDER BY {{{len(built.expressions)}}})"
        listed = raw(template, *built.expressions, _items(items))
        return inside.put(node, cast(_as_long_as_dremios(listed), kind), kind)
    if name not in ("PERCENTILE_CONT", "PERCENTILE_DISC") or len(items) != 1 or len(given) != 1:
        raise validation(f"The gateway does not answer {name} WITHIN GROUP yet")
    inside.kind(given[0])
    share = given[0]
    if not isinstance(share, exp.Literal) or share.is_string or not 0 <= float(share.name) <= 1:
        raise validation(f"{name} takes a number from 0 to 1")
    if found[0].name not in kinds.NUMBERS:
        raise validation(f"The gateway does not answer {name} of {found[0]} yet")
    how = "quantile_cont" if name == "PERCENTILE_CONT" else "quantile_disc"
    direction = "DESC" if items[0].args.get("desc") else "ASC"
    template = f"{how}(CAST({{0}} AS DOUBLE), {{1}} ORDER BY CAST({{0}} AS DOUBLE) {direction})"
    return inside.put(node, cast(raw(template, items[0].this, share), kinds.DOUBLE), kinds.DOUBLE)


def _items(items: list[exp.Expr]) -> exp.Expr:
    """What stands in an ORDER BY, as one piece."""
    pieces: list[str] = []
    for place, item in enumerate(items):
        nulls = "FIRST" if item.args.get("nulls_first") else "LAST"
        pieces.append(f"{{{place}}} {'DESC' if item.args.get('desc') else 'ASC'} NULLS {nulls}")
    return Raw(this=", ".join(pieces), expressions=[item.this for item in items])


def window(inside: Walk, node: exp.Expr) -> Kind:
    """A function OVER a window. Raises Refusal."""
    function = node.this
    if not isinstance(function, exp.Anonymous):
        raise validation("The gateway does not answer this OVER yet")
    name = function.name.upper()
    if any(isinstance(item, exp.Distinct) for item in function.expressions):
        raise validation("DISTINCT for window aggregate functions is not currently supported")
    named = node.args.get("alias") is not None
    if name in _ORDERED and not named and node.args.get("order") is None:
        raise validation(f"{name} function requires ORDER BY clause in window specification")
    parts(inside, node)
    built, kind, row = _built(inside, name, list(function.expressions))
    # A window must follow the call itself.
    if row.use == "scalar" or name in _NOT_OVER:
        raise validation(f"The gateway does not answer {name} OVER a window yet")
    node.set("this", built)
    return inside.wrap(node, f"CAST({{0}} AS {kind.duckdb})", kind)


def parts(inside: Walk, node: exp.Expr) -> None:
    """What a window is divided and ordered by, and its frame. Raises Refusal for frames that Dremio does not have."""
    for item in list(node.args.get("partition_by") or ()):
        nested.refuse(inside.kind(item), "PARTITION BY")
    order = node.args.get("order")
    for item in list(order.expressions) if order is not None else ():
        nested.refuse(inside.kind(item.this), "ORDER BY")
    spec = node.args.get("spec")
    if spec is None:
        return
    kind = str(spec.args.get("kind") or "").upper()
    sides = tuple(
        (str(spec.args.get(key) or "").upper(), str(spec.args.get(f"{key}_side") or "").upper())
        for key in ("start", "end")
    )
    (first, first_side), (last, last_side) = sides
    whole = (first, first_side, last, last_side) == ("UNBOUNDED", "PRECEDING", "UNBOUNDED", "FOLLOWING")
    running = (first, first_side) == ("UNBOUNDED", "PRECEDING") and last in ("CURRENT ROW", "")
    ending = first == "CURRENT ROW" and (last, last_side) == ("UNBOUNDED", "FOLLOWING")
    here = first == last == "CURRENT ROW"
    if kind == "ROWS":
        backwards = (first_side == "FOLLOWING" and last_side == "PRECEDING") or (first, first_side) == (
            "UNBOUNDED", "FOLLOWING"
        ) or (last, last_side) == ("UNBOUNDED", "PRECEDING")  # fmt: skip
        good = order is not None and not backwards
        for text, _ in sides:
            if text not in ("UNBOUNDED", "CURRENT ROW", "") and not text.isdecimal():
                good = False
    else:
        good = kind == "RANGE" and (running or here or whole or (ending and order is not None))
    if not good or spec.args.get("exclude"):
        raise Refusal(
            ErrorKind.INTERNAL, "UNSUPPORTED_OPERATION ERROR: This type of window frame is currently not supported"
        )
