"""What the rules of expressions and calls need of each other."""

from __future__ import annotations

from typing import Protocol

from sqlglot import exp

from embedded.gateway.errors import Refusal
from embedded.gateway.sql.kinds import Kind


class Scope(Protocol):
    """What an expression sees: columns, and the queries inside it."""

    def column(self, node: exp.Expr) -> Kind | None:
        """The type of a column; None for one that is not there."""

    def no_column(self, node: exp.Expr) -> Refusal: ...

    def query(self, node: exp.Expr) -> list[tuple[str, Kind]]:
        """Rewrite a query inside an expression; its columns. Raises Refusal."""


class Walk(Protocol):
    """A walk through an expression, from the inside out."""

    def kind(self, node: exp.Expr) -> Kind:
        """Rewrite an expression where it stands; its type. Raises Refusal for what the gateway does not answer."""

    def now(self, node: exp.Expr) -> exp.Expr:
        """What stands in the place of a node that `kind` was asked of."""

    def put(self, node: exp.Expr, new: exp.Expr, kind: Kind) -> Kind:
        """Put something in the place of a node."""

    def wrap(self, node: exp.Expr, template: str, kind: Kind) -> Kind:
        """Put a node into a template, where it stood."""
