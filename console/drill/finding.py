"""What narrows the rows of a question further: a condition on a row, with its values."""

from __future__ import annotations

from collections.abc import Sequence

from console.tab import TabFilter
from console.view import View
from lakehouse.dremio.statement import Fragment

LONGEST = 200
FIND = TabFilter("find", search="Find: an id, a name, a word")
"""A text that rows are looked through for."""


def sought(view: View) -> str:
    """The text that rows are looked through for, in small letters; empty where none is."""
    return next(iter(view.chosen(FIND.name)), "")[:LONGEST].lower()


def matching(view: View, columns: Sequence[str], *others: Fragment) -> Fragment:
    """Rows in which one of `columns` holds the text that is looked for, and for which all the others hold.

    Small and capital letters are alike. Columns are names of lakehouse.tables.
    """
    conditions = list(others)
    if text := sought(view):
        anywhere = " OR ".join(f"POSITION(:find IN LOWER({column})) > 0" for column in columns)
        conditions.append(Fragment(f"({anywhere})", {"find": text}))
    if not conditions:
        return Fragment("(1 = 1)", {})
    template = " AND ".join(f":condition_{place}" for place in range(len(conditions)))
    return Fragment(template, {f"condition_{place}": one for place, one in enumerate(conditions)})
