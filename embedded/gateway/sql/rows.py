"""A row of the table of functions: what a function takes and gives, how DuckDB computes it, and who says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp

from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind

_KINDS: dict[str, frozenset[str]] = {
    **{
        name: frozenset({name})
        for name in ("int", "bigint", "float", "decimal", "text", "bool", "date", "time", "timestamp")
    },
    "binary": frozenset({"binary"}),
    "list": frozenset({"list"}),
    "map": frozenset({"map"}),
    "double": kinds.INEXACT,
    "whole": kinds.WHOLE,
    "exact": kinds.EXACT,
    "number": kinds.NUMBERS,
    "moment": frozenset({"date", "timestamp"}),
    "interval": kinds.INTERVALS,
    "interval of days": frozenset({kinds.DAYS.name}),
    "interval of months": frozenset({kinds.MONTHS.name}),
    "any": kinds.NUMBERS | {"text", "bool", "date", "time", "timestamp", "binary"},
    "*": frozenset({"*"}),
}
_RESULTS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        kinds.INT, kinds.BIGINT, kinds.FLOAT, kinds.DOUBLE, kinds.TEXT, kinds.BINARY, kinds.BOOL, kinds.DATE,
        kinds.TIME, kinds.TIMESTAMP,
    )
}  # fmt: skip
_ISO = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,3})?)?")


class TypedCall:
    """A call with its arguments and their types."""

    def __init__(self, arguments: list[exp.Expr], types: list[Kind]) -> None:
        self.arguments = arguments
        self.types = types

    def text(self, index: int) -> str | None:
        """The text in quotes that stands as this argument; None for anything else."""
        node = self.arguments[index]
        return str(node.name) if isinstance(node, exp.Literal) and node.is_string else None

    def is_literal(self, index: int) -> bool:
        """Whether a text or a number is written as this argument."""
        node = self.arguments[index]
        return isinstance(node.this if isinstance(node, exp.Neg) else node, exp.Literal)

    def whole(self, index: int) -> int | None:
        """The whole number that is written as this argument; None for anything else."""
        node, sign = self.arguments[index], 1
        if isinstance(node, exp.Neg):
            node, sign = node.this, -1
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdecimal():
            return sign * int(node.name)
        return None


@dataclass(frozen=True)
class _Parameter:
    name: str
    optional: bool
    repeated: bool

    @cached_property
    def literal(self) -> bool:
        return self.name.endswith("!")

    @cached_property
    def accepted(self) -> frozenset[str]:
        names = self.name.rstrip("!").split("|")
        return frozenset().union(*(_KINDS[name.strip()] for name in names if name != "iso"))

    def takes(self, call: TypedCall, index: int) -> bool:
        kind = call.types[index]
        if self.literal and not call.is_literal(index):
            return False
        if "iso" in self.name.split("|") and kind == kinds.TEXT:
            return _ISO.fullmatch(call.text(index) or "") is not None
        return kind.name in self.accepted or (kind == kinds.NULL and "*" not in self.accepted and not self.literal)

    def default(self) -> Kind:
        """What a NULL without a type is taken for."""
        name = self.name.rstrip("!").split("|")[0]
        return _RESULTS.get(
            name, {"number": kinds.DOUBLE, "moment": kinds.TIMESTAMP, "any": kinds.INT}.get(name, kinds.INT)
        )


type Result = str | Callable[[TypedCall], Kind]
type How = str | Callable[[TypedCall], str]


@dataclass(frozen=True)
class Row:
    """One way to call a function.

    `takes` are its arguments, those in square brackets may be left out: "text, whole[, text]"; three dots stand for
    more of the last, `!` for a value that is written in the statement, "iso" for a date or time in quotes. `gives` is
    the type of the result. `how` is DuckDB's SQL with the arguments in their places; None where there is none yet.
    """

    name: str
    takes: str
    gives: Result
    how: How | None
    source: str
    use: str = "scalar"
    note: str = ""

    @cached_property
    def _parameters(self) -> list[_Parameter]:
        found: list[_Parameter] = []
        optional = False
        for part in re.findall(r"\[|\]|[^,\[\]]+", self.takes):
            text = part.strip()
            if text == "[":
                optional = True
            elif text and text != "]":
                found.append(_Parameter(text.removesuffix("..."), optional, text.endswith("...")))
        return found

    def fits(self, call: TypedCall) -> bool:
        """Whether this is the way that a call is written."""
        parameters = self._parameters
        given = len(call.types)
        if given > len(parameters) and not (parameters and parameters[-1].repeated):
            return False
        if given < sum(not item.optional for item in parameters):
            return False
        return all(self._parameter(index).takes(call, index) for index in range(given))

    def _parameter(self, index: int) -> _Parameter:
        return self._parameters[min(index, len(self._parameters) - 1)]

    def arguments(self, call: TypedCall) -> list[exp.Expr]:
        """The arguments as `how` needs them: NULLs with a type, texts of times as times."""
        return [self._argument(call, index) for index in range(len(call.types))]

    def _argument(self, call: TypedCall, index: int) -> exp.Expr:
        node, kind, parameter = call.arguments[index], call.types[index], self._parameter(index)
        if kind == kinds.NULL:
            return exp.Cast(this=node, to=exp.DataType.build(parameter.default().duckdb, dialect="duckdb"))
        if kind == kinds.TEXT and "iso" in parameter.name.split("|"):
            return exp.Cast(this=node, to=exp.DataType.build("TIMESTAMP", dialect="duckdb"))
        return node

    def expects(self, index: int, beside: Kind | None) -> Kind | None:
        """The type of an argument that has none of its own, `beside` another; None where any would do."""
        parameter = self._parameter(index)
        if beside is not None and beside.name in parameter.accepted and len(parameter.accepted) > 1:
            return beside
        return None if parameter.name.rstrip("!") == "any" else parameter.default()

    def result(self, call: TypedCall) -> Kind:
        if not isinstance(self.gives, str):
            return self.gives(call)
        if self.gives.startswith("argument "):
            kind = call.types[int(self.gives.removeprefix("argument ")) - 1]
            return kinds.INT if kind == kinds.NULL else kind
        return _RESULTS[self.gives]


def common_of(types: Sequence[Kind]) -> Kind:
    return kinds.common(types) or kinds.NULL
