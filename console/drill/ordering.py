"""In which order a list's rows come, and which of them are shown: by SQL, over all rows of the range."""

from __future__ import annotations

from typing import Any

from console.feed.numbers import exactly
from console.parts import Part
from console.tab import ListColumn, RowList
from console.view import View
from lakehouse.dremio.statement import Fragment

MOST_PAGES = 999
"""Who looks further narrows the range, or takes the rows another way."""


def ordering(view: View, rows: RowList, shown: int, tie: str = "event_key") -> dict[str, Any]:
    """The binds :sorted, :most and :skip of a question about rows; without a choice the list's first column that sorts
    decides, the highest first. Rows that are equal in it have one order all the same, that of `tie`."""
    column, up = _chosen(view, rows)
    sorted_by = Fragment(f"{column.sort} {'ASC' if up else 'DESC'} NULLS LAST, {tie}", {})
    return {"sorted": sorted_by, "most": shown, "skip": (view.page - 1) * shown}


def order_part(view: View, rows: RowList, shown: int, total: int) -> Part:
    """What the list's head shows: by which column it is ordered and how, and which page of how many."""
    column, up = _chosen(view, rows)
    pages = min(MOST_PAGES, max(1, -(-total // shown)))
    return {"order": {"field": column.field, "up": up, "page": view.page, "pages": pages}}


def shown_words(view: View, shown: int, of_page: int, total: int) -> str:
    """Which of the rows are shown, where not all are."""
    if shown >= total:
        return ""
    first = (view.page - 1) * of_page + 1
    return f"{exactly(first)} – {exactly(first + shown - 1)} shown" if shown else "none on this page"


def _chosen(view: View, rows: RowList) -> tuple[ListColumn, bool]:
    """The column that a list is ordered by, and whether from the lowest; a choice that is another list's is none."""
    field, _, way = view.sort.partition(".")
    sorting = [column for column in rows.columns if column.sort]
    chosen = next((column for column in sorting if column.field == field), None)
    return (chosen, way == "asc") if chosen else (sorting[0], False)
