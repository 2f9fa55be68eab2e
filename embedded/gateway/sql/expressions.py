"""Types of expressions, and DuckDB's SQL for each: worked out together, from the inside out.

Every kind of node that may stand in a statement has its rule here; what has none is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.places import known_place
from embedded.gateway.sql import calls, casts, kinds, nested, operators, times
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.others import OF_WHO_ASKS
from embedded.gateway.sql.parameters import Parameters
from embedded.gateway.sql.raw import Raw, cast, quoted, raw
from embedded.gateway.sql.similar import regular
from embedded.gateway.sql.walk import Scope


class Expressions:
    """Rewrites the expressions of one query in their places, and tells their types."""

    def __init__(self, mark: str, scopes: Scope, parameters: Parameters | None = None) -> None:
        self._mark = mark
        self._parameters = parameters
        self.scopes = scopes
        # By id: a node that was replaced (kept, or its id might be another's), and what stands there now.
        self._replaced: dict[int, tuple[exp.Expr, exp.Expr]] = {}
        # Ids of what is compared with something; the tree holds it until it is asked for.
        self._compares: set[int] = set()

    def kind(self, node: exp.Expr) -> Kind:
        """Rewrite an expression where it stands; its type. Raises Refusal for what the gateway does not answer."""
        rule = _RULES.get(type(node))
        if rule is None:
            raise validation(f"The gateway does not answer {type(node).__name__.upper()} yet")
        place = None if self._parameters is None else self._parameters.place(node)
        try:
            kind = rule(self, node)
        except Refusal as refusal:
            if refusal.start is None and (known := known_place(node)) is not None:
                refusal.start, refusal.length = known
            raise
        if self._parameters is not None and place is not None:
            self._parameters.note(place, node, kind)
        return kind

    def put(self, node: exp.Expr, new: exp.Expr, kind: Kind) -> Kind:
        node.replace(new)
        self._replaced[id(node)] = (node, new)
        return kind

    def now(self, node: exp.Expr) -> exp.Expr:
        """What stands in the place of a node that `kind` was asked of."""
        while (found := self._replaced.get(id(node))) is not None:
            node = found[1]
        return node

    def as_kind(self, node: exp.Expr, own: Kind, target: Kind) -> None:
        """Cast what stands in the place of a node."""
        if own != target:
            self.wrap(self.now(node), casts.how(own, target), target)

    def wrap(self, node: exp.Expr, template: str, kind: Kind) -> Kind:
        """Put a node into a template, where it stood."""
        parent, key, index = node.parent, node.arg_key, node.index
        new = raw(template, node)
        if parent is not None and key is not None:
            parent.set(key, new, index)
        self._replaced[id(node)] = (node, new)
        return kind

    # ---- names and values -------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Expr) -> Kind:
        if node.is_string:
            return kinds.TEXT if self._parameters is None or self._parameters.number(node) is None else kinds.NULL
        return kinds.of_literal(node.name)

    def _column(self, node: exp.Expr) -> Kind:
        found = self.scopes.column(node)
        if found is None:
            raise self.scopes.no_column(node)
        return found

    def _same(self, node: exp.Expr) -> Kind:
        return self.kind(node.this)

    def _null(self, node: exp.Expr) -> Kind:
        return kinds.NULL

    def _bool(self, node: exp.Expr) -> Kind:
        return kinds.BOOL

    def _array(self, node: exp.Expr) -> Kind:
        nested.check_elements(node.expressions)
        written = [nested.is_written(item) for item in node.expressions]
        found = [self.kind(item) for item in node.expressions]
        kind = kinds.common(found)
        if kind is None or kind == kinds.NULL or kind.name in kinds.NESTED:
            raise validation("The gateway does not answer an ARRAY of nothing, of mixed types or of lists yet")
        for item, own in zip(list(node.expressions), found, strict=True):
            self.as_kind(item, own, kind)
        items = list(node.expressions)
        pieces = (nested.element(index, sure=sure) for index, sure in enumerate(written))
        return self.put(node, raw(f"[{', '.join(pieces)}]", *items), kinds.list_of(kind))

    def _map(self, node: exp.Expr) -> Kind:
        keys, values = (list(node.args[key].expressions) for key in ("keys", "values"))
        kind = nested.map_of(keys, values, [self.kind(value) for value in values])
        places = [", ".join(f"{{{start + at}}}" for at in range(len(keys))) for start in (0, len(keys))]
        return self.put(node, raw(f"map([{places[0]}], [{places[1]}])", *keys, *values), kind)

    def _part(self, node: exp.Expr) -> Kind:
        if not isinstance(node.this, exp.Column | exp.Bracket):
            raise validation("The gateway does not answer an index in square brackets but of a column yet")
        how, kind = nested.part(self.kind(node.this), node.expressions[0])
        return self.put(node, raw(how, self.now(node.this)), kind)

    # ---- signs ------------------------------------------------------------------------------------------------------

    def _negative(self, node: exp.Expr) -> Kind:
        kind = self.kind(node.this)
        if kind.name not in kinds.NUMBERS and kind != kinds.NULL:
            raise validation(f"Cannot apply '-' to arguments of type '-<{kind}>'")
        return kind

    def _arithmetic(self, node: exp.Expr) -> Kind:
        by_days = any(map(operators.moves_by_days, (node.this, node.expression)))
        compared = id(node) in self._compares
        left, right = self.kind(node.this), self.kind(node.expression)
        how, kind = operators.arithmetic(type(node), left, right, by_days=by_days, compared=compared)
        return self.put(node, raw(f"CAST({how} AS {kind.duckdb})", node.this, node.expression), kind)

    def _joined(self, node: exp.Expr) -> Kind:
        for side in (node.this, node.expression):
            kind = self.kind(side)
            if kind not in (kinds.TEXT, kinds.NULL):
                raise validation(f"The gateway does not answer '||' of {kind} yet")
        template = "(CAST({0} AS VARCHAR) || CAST({1} AS VARCHAR))"
        return self.put(node, raw(template, node.this, node.expression), kinds.TEXT)

    # ---- conditions -------------------------------------------------------------------------------------------------

    def _condition(self, node: exp.Expr) -> Kind:
        for side in (node.this, node.args.get("expression")):
            if isinstance(side, exp.Expr):
                self._must_be(side, kinds.BOOL)
        return kinds.BOOL

    def _must_be(self, node: exp.Expr, kind: Kind) -> None:
        found = self.kind(node)
        if found not in (kind, kinds.NULL):
            raise validation(f"A {kind} is needed here, and this is {found}")

    def _compared(self, node: exp.Expr) -> Kind:
        right = node.expression
        if isinstance(right, exp.Any | exp.All):
            right = right.this
        self._alike(node.this, [right])
        return kinds.BOOL

    def _alike(self, left: exp.Expr, others: list[exp.Expr]) -> None:
        """See that a value is compared with values of its type; cast what Dremio casts."""
        if isinstance(left, exp.Tuple):
            for other in others:
                if not isinstance(other, exp.Tuple) or len(other.expressions) != len(left.expressions):
                    raise validation("The gateway does not answer a row compared with something else yet")
            for place, item in enumerate(list(left.expressions)):
                self._alike(item, [other.expressions[place] for other in others])
            return
        self._compares.update(id(side.unnest()) for side in (left, *others))
        own = self.kind(left)
        found = [self.kind(other) for other in others]
        for kind in (own, *found):
            nested.refuse(kind, "a comparison")
        targets = [casts.comparable(own, kind) for kind in found]
        for other, kind, target in zip(others, found, targets, strict=True):
            if target is not None and kind != target:
                self.as_kind(other, kind, target)
        needed = {target for target in targets if target is not None and target != own}
        if len(needed) > 1 or (needed and None in targets and own == kinds.TEXT):
            raise validation("The gateway does not answer a value compared with values of different types yet")
        if needed:
            self.as_kind(left, own, needed.pop())

    def _between(self, node: exp.Expr) -> Kind:
        self._alike(node.this, [node.args["low"], node.args["high"]])
        return kinds.BOOL

    def _in(self, node: exp.Expr) -> Kind:
        query = node.args.get("query")
        if query is not None:
            found = self.scopes.query(query.this if isinstance(query, exp.Subquery) else query)
            own = [
                self.kind(item) for item in (node.this.expressions if isinstance(node.this, exp.Tuple) else [node.this])
            ]
            for kind in own:
                nested.refuse(kind, "a comparison")
            if len(found) != len(own) or any(
                casts.comparable(left, right) is not None for left, (_, right) in zip(own, found, strict=True)
            ):
                raise validation("The gateway does not answer IN with values of another type yet")
            return kinds.BOOL
        if node.args.get("field") or node.args.get("unnest"):
            raise validation("The gateway does not answer this IN yet")
        self._alike(node.this, list(node.expressions))
        return kinds.BOOL

    def _is(self, node: exp.Expr) -> Kind:
        kind = self.kind(node.this)
        if not isinstance(node.expression, exp.Null) and kind not in (kinds.BOOL, kinds.NULL):
            raise validation(f"A BOOLEAN is needed here, and this is {kind}")
        return kinds.BOOL

    def _like(self, node: exp.Expr) -> Kind:
        if isinstance(node.expression, exp.Any | exp.All):
            return self._like_some(node)
        for side in (node.this, node.expression):
            self._must_be(side, kinds.TEXT)
        return kinds.BOOL

    def _like_some(self, node: exp.Expr) -> Kind:
        """LIKE ANY, SOME or ALL of patterns: joined by OR or AND."""
        patterns = node.expression.this
        given = list(patterns.expressions) if isinstance(patterns, exp.Tuple) else [patterns.unnest()]
        for side in (node.this, *given):
            self._must_be(side, kinds.TEXT)
        items = [self.now(item) for item in given]
        word = " OR " if isinstance(node.expression, exp.Any) else " AND "
        template = word.join(f"{{0}} LIKE {{{place}}}" for place in range(1, len(items) + 1))
        negative = "NOT " if node.args.get("negate") else ""
        return self.put(node, raw(f"({negative}({template}))", node.this, *items), kinds.BOOL)

    def _escaped(self, node: exp.Expr) -> Kind:
        letter = node.expression
        if not isinstance(letter, exp.Literal) or not letter.is_string or len(letter.name) != 1:
            raise validation("Invalid escape character: ESCAPE takes one character in quotes")
        if isinstance(node.this, exp.SimilarTo):
            return self._similar_to(node, node.this, letter.name)
        return self.kind(node.this)

    def _similar(self, node: exp.Expr) -> Kind:
        return self._similar_to(node, node, None)

    def _similar_to(self, node: exp.Expr, similar: exp.Expr, escape: str | None) -> Kind:
        pattern = similar.expression
        if not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise validation("The gateway does not answer SIMILAR TO what is no text in quotes yet")
        self._must_be(similar.this, kinds.TEXT)
        found = f"regexp_full_match({{0}}, {quoted(regular(pattern.name, escape))})"
        template = f"(NOT {found})" if similar.args.get("negate") else found
        return self.put(node, raw(template, similar.this), kinds.BOOL)

    def _exists(self, node: exp.Expr) -> Kind:
        self.scopes.query(node.this.this if isinstance(node.this, exp.Subquery) else node.this)
        return kinds.BOOL

    def _subquery(self, node: exp.Expr) -> Kind:
        found = self.scopes.query(node)
        if len(found) != 1:
            raise validation("A query in the place of a value must have one column")
        return found[0][1]

    def _case(self, node: exp.Expr) -> Kind:
        branches = list(node.args.get("ifs") or ())
        if node.this is not None:
            self._alike(node.this, [branch.this for branch in branches])
        else:
            for branch in branches:
                self._must_be(branch.this, kinds.BOOL)
        results = [(branch, "true") for branch in branches]
        if node.args.get("default") is not None:
            results.append((node, "default"))
        found = [self.kind(owner.args[key]) for owner, key in results]
        kind = kinds.NULL if set(found) == {kinds.NULL} else kinds.common_or_refused(found, "CASE")
        for (owner, key), own in zip(results, found, strict=True):
            if own != kind:
                self.as_kind(owner.args[key], own, kind)
        return kind

    # ---- casts, times, calls ----------------------------------------------------------------------------------------

    def _cast(self, node: exp.Expr) -> Kind:
        if isinstance(node.this, exp.Literal) and node.this.name.startswith(self._mark):
            return kinds.TIMESTAMP
        own = self.kind(node.this)
        unit = node.args["to"].this
        if isinstance(unit, exp.Interval):
            kind, how = casts.to_interval(str(unit.args.get("unit") or "").upper(), own)
            return self.put(node, raw(how, node.this), kind)
        kind, length = casts.named(node.args["to"])
        how = casts.how(own, kind)
        if length is not None:
            how = f"left({how}, {length})"
        return self.put(node, raw(how, node.this), kind)

    def _interval(self, node: exp.Expr) -> Kind:
        kind, how = operators.interval(node)
        return self.put(node, Raw(this=how), kind)

    def _extract(self, node: exp.Expr) -> Kind:
        own = self.kind(node.expression)
        if own.name not in ("date", "time", "timestamp"):
            raise validation(f"The gateway does not answer EXTRACT of {own} yet")
        how = times.part(node.name, own)
        return self.put(node, raw(f"CAST({how} AS BIGINT)", node.expression), kinds.BIGINT)

    def _called(self, node: exp.Expr) -> Kind:
        name = node.name.upper()
        if name in OF_WHO_ASKS and not node.expressions:
            # Filled in when it runs, for the statement of another may have the same shape.
            return self.put(node, cast(exp.Literal.string(f"{self._mark}u{OF_WHO_ASKS[name]}"), kinds.TEXT), kinds.TEXT)
        return calls.call(self, node, name, list(node.expressions))

    def _substring(self, node: exp.Expr) -> Kind:
        given = [node.this, node.args.get("start"), node.args.get("length")]
        return calls.call(self, node, "SUBSTRING", [item for item in given if item is not None])

    def _trim(self, node: exp.Expr) -> Kind:
        name = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or ""), "TRIM")
        given = [node.this, node.args.get("expression")]
        return calls.call(self, node, name, [item for item in given if item is not None])

    def _position(self, node: exp.Expr) -> Kind:
        given = [node.args["substr"], node.this, node.args.get("position")]
        name = "LOCATE" if given[2] is not None else "POSITION"
        return calls.call(self, node, name, [item for item in given if item is not None])

    def _window(self, node: exp.Expr) -> Kind:
        return calls.window(self, node)

    def _within(self, node: exp.Expr) -> Kind:
        return calls.within_group(self, node)


_RULES: Mapping[type[exp.Expr], Callable[[Expressions, exp.Expr], Kind]] = {
    exp.Literal: Expressions._literal,
    exp.Null: Expressions._null,
    exp.Boolean: Expressions._bool,
    exp.Column: Expressions._column,
    exp.Paren: Expressions._same,
    exp.Alias: Expressions._same,
    exp.Array: Expressions._array,
    exp.Map: Expressions._map,
    exp.Bracket: Expressions._part,
    exp.Neg: Expressions._negative,
    exp.DPipe: Expressions._joined,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), Expressions._arithmetic),
    **dict.fromkeys((exp.And, exp.Or, exp.Not), Expressions._condition),
    **dict.fromkeys(
        (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ), Expressions._compared
    ),
    exp.Between: Expressions._between,
    exp.In: Expressions._in,
    exp.Is: Expressions._is,
    exp.Like: Expressions._like,
    exp.Escape: Expressions._escaped,
    exp.SimilarTo: Expressions._similar,
    exp.Exists: Expressions._exists,
    exp.Subquery: Expressions._subquery,
    exp.Case: Expressions._case,
    exp.Cast: Expressions._cast,
    exp.Interval: Expressions._interval,
    exp.Extract: Expressions._extract,
    exp.Anonymous: Expressions._called,
    exp.Substring: Expressions._substring,
    exp.Trim: Expressions._trim,
    exp.StrPosition: Expressions._position,
    exp.Window: Expressions._window,
    exp.WithinGroup: Expressions._within,
}
