"""Where a node of a syntax tree stands in its statement."""

from __future__ import annotations

from sqlglot import exp


def place(node: exp.Expr, sql: str) -> tuple[int, int]:
    """Offset and length of a node in the statement, as far as it is known."""
    return known_place(node) or (0, 1)


def known_place(node: exp.Expr) -> tuple[int, int] | None:
    """Offset and length of a node, or of the first in it that has them; None where nothing tells."""
    return _own(node) or next(filter(None, map(_own, node.walk())), None)


def _own(node: exp.Expr) -> tuple[int, int] | None:
    start, end = node.meta.get("start"), node.meta.get("end")
    return (start, end - start + 1) if isinstance(start, int) and isinstance(end, int) else None
