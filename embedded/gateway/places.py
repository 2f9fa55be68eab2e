"""Where a node of a syntax tree stands in its statement."""

from __future__ import annotations

from sqlglot import exp


def place(node: exp.Expr, sql: str) -> tuple[int, int]:
    """Offset and length of a node in the statement, as far as it is known."""
    for item in node.walk():
        start, end = item.meta.get("start"), item.meta.get("end")
        if isinstance(start, int) and isinstance(end, int):
            return start, end - start + 1
    return 0, 1
