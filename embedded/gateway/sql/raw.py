"""A piece of DuckDB's SQL in a syntax tree: a template with places for expressions."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from embedded.gateway.errors import validation
from embedded.gateway.sql.kinds import Kind

_PLACE = re.compile(r"\{\{|\}\}|\{(\d+)\}")
_LONGEST = 200_000


class Raw(exp.Expression):
    """DuckDB's text, with {0}, {1} … where its expressions go. A place may come twice."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expressions": False}


def raw(template: str, *arguments: exp.Expr) -> exp.Expr:
    """The template with these arguments, which leave the place where they stood."""
    return Raw(this=template, expressions=list(arguments))


def cast(node: exp.Expr, kind: Kind) -> exp.Expr:
    return raw(f"CAST({{0}} AS {kind.duckdb})", node)


def quoted(text: str) -> str:
    """A text as SQL writes it, for a template."""
    return "'" + text.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"


_WHOLE = (Raw, exp.Literal, exp.Column, exp.Paren, exp.Null, exp.Boolean, exp.Star, exp.Subquery, exp.Case, exp.Cast)


def _piece(generator: Any, node: exp.Expr) -> str:
    text: str = generator.sql(node)
    return text if isinstance(node, _WHOLE) else f"({text})"


def _sql(generator: Any, node: exp.Expr) -> str:
    pieces = [_piece(generator, item) for item in node.expressions]
    text = _PLACE.sub(lambda match: pieces[int(match[1])] if match[1] else match[0][0], node.this)
    if len(text) > _LONGEST:
        # An argument that comes twice doubles what it holds, and so on inwards.
        raise validation("The gateway does not answer a statement that is nested like this one yet")
    return text


class PiecedDuckDB(DuckDB):
    """DuckDB's dialect, with pieces of its SQL."""

    class Generator(DuckDB.Generator):  # type: ignore[misc, valid-type]  # sqlglot sets it when the class is made
        TRANSFORMS = {**DuckDB.Generator.TRANSFORMS, Raw: _sql}  # noqa: RUF012  # as sqlglot has it


WRITTEN = PiecedDuckDB()
