"""The types of a statement's parameters: those of what each is compared, computed or called with.

A parameter stands in the statement as a text of a mark and its number, and has no type while its surroundings are
worked out, as a NULL has none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from sqlglot import exp

from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.rows import TypedCall
from embedded.gateway.sql.table import TABLE

_BESIDE = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod,
)  # fmt: skip
"""What has values of one type on both sides."""
_TEXTS = (exp.Like, exp.Escape, exp.SimilarTo, exp.DPipe)
_CONDITIONS = (exp.And, exp.Or, exp.Not, exp.Where, exp.Having, exp.Qualify, exp.Join)
_WITH_UNIT = {"TIMESTAMPADD": (kinds.INT, kinds.TIMESTAMP), "TIMESTAMPDIFF": (kinds.TIMESTAMP, kinds.TIMESTAMP)}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an expression stands: under a node, as which of its arguments, and as the how manieth of several."""

    parent: exp.Expr | None
    key: str | None
    index: int | None


class Parameters:
    """Takes note of a walk through a statement, and tells the types of its parameters afterwards."""

    def __init__(self, mark: str) -> None:
        self._form = re.compile(rf"{re.escape(mark)}p(\d+)")
        self._numbers: dict[int, _Place] = {}
        # By id of a node, all of which the tree or a place holds on to.
        self._under: defaultdict[int, list[tuple[_Place, Kind]]] = defaultdict(list)
        self._kinds: dict[int, Kind] = {}
        self._places: dict[int, _Place] = {}
        self._held: list[exp.Expr] = []

    def number(self, node: exp.Expr) -> int | None:
        """Which parameter a node is; None for any other."""
        match = self._form.fullmatch(node.name) if isinstance(node, exp.Literal) and node.is_string else None
        return int(match[1]) if match else None

    @staticmethod
    def place(node: exp.Expr) -> _Place:
        """Where a node stands, before it is rewritten."""
        return _Place(node.parent, node.arg_key, node.index)

    def note(self, place: _Place, node: exp.Expr, kind: Kind) -> None:
        """An expression has this type."""
        self._held.append(node)
        self._kinds[id(node)], self._places[id(node)] = kind, place
        self._under[id(place.parent)].append((place, kind))
        number = self.number(node)
        if number is not None:
            self._numbers[number] = place

    def types(self) -> dict[int, Kind]:
        """By number; those whose type nothing tells are left out."""
        found = {number: self._of(place) for number, place in self._numbers.items()}
        return {number: kind for number, kind in found.items() if kind not in (None, kinds.NULL)}

    def _of(self, place: _Place) -> Kind | None:
        parent = place.parent
        if isinstance(parent, exp.Paren | exp.Neg):
            above = self._places.get(id(parent))
            return None if above is None else self._of(above)
        if isinstance(parent, _BESIDE):
            return self._beside(place)
        if isinstance(parent, _TEXTS):
            return kinds.TEXT
        if isinstance(parent, exp.Is):
            return kinds.TEXT if isinstance(parent.expression, exp.Null) else kinds.BOOL
        if isinstance(parent, _CONDITIONS):
            return kinds.BOOL
        if isinstance(parent, exp.Cast):
            return self._kinds.get(id(parent))
        if isinstance(parent, exp.Case):
            return self._kinds.get(id(parent)) if place.key == "default" else self._beside(place)
        if isinstance(parent, exp.If):
            return self._in_branch(parent, place)
        return self._argument(place)

    def _beside(self, place: _Place) -> Kind | None:
        """The type of the first beside it that has one."""
        others = (kind for other, kind in self._under[id(place.parent)] if other != place)
        return next((kind for kind in others if kind != kinds.NULL), None)

    def _in_branch(self, branch: exp.If, place: _Place) -> Kind | None:
        case = branch.parent
        if place.key == "true":
            return self._kinds.get(id(case))
        compared = [kind for other, kind in self._under[id(case)] if other.key == "this"]
        return compared[0] if compared else kinds.BOOL

    def _argument(self, place: _Place) -> Kind | None:
        match place.parent:
            case exp.Substring():
                return kinds.TEXT if place.key == "this" else kinds.INT
            case exp.StrPosition():
                return kinds.INT if place.key == "position" else kinds.TEXT
            case exp.Trim():
                return kinds.TEXT
            case exp.Anonymous() as call if place.index is not None:
                name, index = call.name.upper(), place.index
                if name in _WITH_UNIT:
                    return _WITH_UNIT[name][index - 1]
                given = {other.index: kind for other, kind in self._under[id(call)]}
                written = TypedCall(
                    list(call.expressions), [given.get(at, kinds.NULL) for at in range(len(call.expressions))]
                )
                for row in TABLE.get(name, ()):
                    if row.how is not None and row.fits(written):
                        return row.expects(index, self._beside(place))
        return None
