"""Rows that are all at hand: those that hold the text looked for, in the order of a column, a page of them.

As drill.finding and drill.ordering have it by SQL, for lists that are made of more than one answer, or of one that all
viewers share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from console.choices import SEVERITIES
from console.tab import ListColumn, RowList
from console.view import View

type Row = Mapping[str, Any]


def holding(rows: Iterable[Row], text: str, fields: Sequence[str]) -> list[Row]:
    """Rows of which one of `fields` holds `text`, which is in small letters; all of them where it is empty."""
    return [row for row in rows if not text or any(text in str(row[field] or "").lower() for field in fields)]


def ordered(rows: Iterable[Row], view: View, of: RowList) -> list[Row]:
    """Rows in the order that is chosen, those without a value last; as they come where none of the list's is. By its
    first column they come as they are, or the other way round. A column's `sort` is the field it is ordered by."""
    listed = list(rows)
    field, _, way = view.sort.partition(".")
    sorting = [column for column in of.columns if column.sort]
    column = next((one for one in sorting if one.field == field), None)
    if column is None:
        return listed
    if column is sorting[0]:
        return listed[::-1] if way == "asc" else listed
    worth = _worth(column)
    known = [row for row in listed if worth(row) is not None]
    unknown = [row for row in listed if worth(row) is None]
    return [*sorted(known, key=worth, reverse=way != "asc"), *unknown]


def page_of(rows: Sequence[Row], view: View, shown: int) -> Sequence[Row]:
    """The rows of the page that is chosen, of so many each."""
    return rows[(view.page - 1) * shown : view.page * shown]


def _worth(column: ListColumn) -> Callable[[Row], Any]:
    """What a row's place hangs on: severities by how bad they are, words whatever their letters."""

    def worth(row: Row) -> Any:
        value = row[column.sort]
        if column.of == "severity":
            return SEVERITIES.index(value) if value in SEVERITIES else -1
        return value.lower() if isinstance(value, str) else value

    return worth
