"""What a drill-down tab found: the answers to its questions, and why there is none to some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from console.feed.asker import Got, Want
from console.feed.pins import Pin
from console.parts import Part
from console.tab import RowList
from console.view import Span, View
from lakehouse.texts import REASON_LETTERS, visible

FAILED = "{question} could not be asked: {why} It is asked again by itself; {shown}."
LAST = "what you see is the last good answer"
NONE_YET = "if that does not help, the console's log names the question, and `tillwatch status` says what runs"


class Rows(dict[str, list[dict[str, Any]]]):
    """Rows by the name of their question. One that has no answer has no rows."""

    def __missing__(self, name: str) -> list[dict[str, Any]]:
        return []


@dataclass(frozen=True)
class Found:
    """All answers of a tab for one view at one commit, and in `failed` why a question has none: then its answer is the
    last good one of that choice, if there was one."""

    view: View
    pin: Pin
    span: Span
    inner: Span
    asked: Mapping[str, Want]
    tables: Rows
    answers: Mapping[str, pa.Table]
    failed: Mapping[str, str]

    def why(self, needs: Iterable[str], *, stands: bool) -> str:
        """Why what is made of these answers is not of the newest, nothing where it is; `stands` is whether there is
        something to see all the same."""
        for name in needs:
            if name in self.failed:
                shown = LAST if stands else NONE_YET
                words = FAILED.format(question=self.asked[name].question, why=self.failed[name], shown=shown)
                return visible(words, REASON_LETTERS)
        return ""


def found_of(
    view: View,
    pin: Pin,
    spans: tuple[Span, Span],
    asked: Mapping[str, Want],
    got: Mapping[str, Got],
    before: Found | None,
) -> Found:
    """What was got for the wants of a view; `before` is what the tab found last."""
    failed = {name: one.error for name, one in got.items() if one.error}
    answers = {name: one.table for name, one in got.items() if one.table is not None}
    if before is not None and _alike(before.view, view):
        answers = {name: before.answers[name] for name in failed if name in before.answers} | answers
    tables = Rows({name: table.to_pylist() for name, table in answers.items()})
    return Found(view, pin, *spans, asked, tables, answers, failed)


def shown_table(rows: RowList, shown: Iterable[Part]) -> pa.Table:
    """Rows as they are shown: a column a field, times as such, all else in words."""
    columns = {column.field: column for column in rows.columns}
    listed = list(shown)
    arrays = {}
    for name, column in columns.items():
        values = [row.get(name) for row in listed]
        if column.kind == "time":
            at = [None if value is None else datetime.fromisoformat(value) for value in values]
            arrays[name] = pa.array(at, pa.timestamp("ms", "UTC"))
        else:
            arrays[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.table(arrays)


def failed_part(words: str) -> Part:
    """What stands in a panel beside its figures: why they are not the newest."""
    return {"words": words, "failed": bool(words), "read_at": None}


def _alike(one: View, other: View) -> bool:
    """Whether two views show the same, however it is painted."""
    return replace(one, theme=other.theme, zone=other.zone, kiosk=other.kiosk) == other
