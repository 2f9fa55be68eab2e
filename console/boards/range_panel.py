"""A chart or a table of one page over the chosen range: asked, and in trouble, by itself."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from console.boards import ranged
from console.boards.answers import UnfitAnswer
from console.boards.board_page import LEFT_OUT, BoardPage, panel_part
from console.boards.feed import LIVE_ROWS
from console.boards.load import Board
from console.boards.ranged import Drawn, Panel
from console.boards.spec import RangeSpec
from console.drill.ordering import order_part
from console.drill.tab import spans_of
from console.feed.asker import Want
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.feed.snapshot import now_utc
from console.parts import Part
from console.tab import ChartPlace, RowList
from console.view import Span, View


class RangePanel:
    """One panel; `table` is the newest good answer, `made` what a chart draws of it, `error` why there is no newer
    one."""

    def __init__(self, of: Panel, board: Board) -> None:
        self.of = of
        self._board = board
        self._wanted: Want | None = None
        self._answers: Want | None = None
        self.table: pa.Table | None = None
        self._view: View | None = None
        self._span: Span | None = None
        self._made_of: tuple[object, ...] = ()
        self.made: Drawn | None = None
        self.shown: Drawn | None = None
        """What of it stands on the page."""
        self.error = ""

    def take(self, page: BoardPage, view: View, pin: Pin) -> bool:
        """Take the answer, if it is there; whether what is shown is still of another choice."""
        question, spec = self.of.question, self._board.spec
        assert spec is not None
        if question.outside:
            if page.frozen:
                self.table, self._answers, self.error = None, None, ""
                return False
            pin = ranged.outside_pin(question, now_utc())
        spans = spans_of(view, pin)
        wanted = ranged.wanted(self.of, spec, view, pin, spans, page.settings.rows_shown)
        if self._wanted is not None and self._wanted != wanted:
            page.boards.forget(self._wanted)
        self._wanted = wanted
        if self._answers != wanted or self.error:
            got = page.boards.answer(wanted)
            if got is None:
                return self._view is not None and self._view != view
            if got.error or got.table is None:
                self.error = question.told(got.error or "")
                return False
            self.table, self._answers, self.error = got.table, wanted, ""
        self._view, self._span = view, spans[0]
        return False

    def drop(self, page: BoardPage) -> None:
        """Its tab is left: it waits for nothing."""
        self.shown = None
        if self._wanted is not None:
            page.boards.forget(self._wanted)

    def parts(self, page: BoardPage, view: View, empty: dict[str, str | None]) -> dict[str, Part]:
        """What fills it, and its words; what stands in place of an empty chart goes into `empty`."""
        name, place, table = self.of.name, self.of.place, self.table
        left_out = self.of.question.outside and page.frozen
        parts: dict[str, Part] = {}
        full = False
        try:
            if isinstance(place, ChartPlace):
                empty[name] = LEFT_OUT if left_out else " " if self.error else None
                if table is not None:
                    full = table.num_rows > LIVE_ROWS
                    empty[name] = None if table.num_rows else place.empty
                    self._make(table, page.settings.currency)
                    if self.made is not None and self.made.legend:
                        legend = [[part, colour] for part, colour in self.made.legend.items()]
                        parts[f"legend.{name}"] = {"colours": legend}
            elif table is not None:
                parts[f"list.{name}"] = self._rows(page, view, place, table)
            elif left_out:
                parts[f"list.{name}"] = {"rows": [], "produced_at": None, "words": ""}
        except UnfitAnswer as unfit:
            self.error = f"{self._board.where(*self.of.key)}: {unfit}."
            empty[name] = " "
        at = ranged.read_at(table) if table is not None and self.of.question.outside else None
        parts[f"panel.{name}"] = panel_part(self.error, left_out=left_out, read_at=at, full=full)
        return parts

    def _make(self, table: pa.Table, currency: str) -> None:
        """What a chart draws, once of what it is drawn of. Raises UnfitAnswer."""
        of = (table, self._view, self._span)
        if self._made_of == of:
            return
        assert self._view is not None
        assert self._span is not None
        assert isinstance(self.of.spec, RangeSpec)
        self.made = ranged.drawn(self.of.spec, table, self._view, self._span, currency)
        self._made_of = of

    def _rows(self, page: BoardPage, view: View, place: RowList, table: pa.Table) -> Part:
        shown, binds = page.settings.rows_shown, self.of.question.binds
        part: dict[str, Any] = ranged.listed(self.of, table, view, shown, page.settings.currency)
        count, more = min(shown, table.num_rows), table.num_rows > shown
        before = (view.page - 1) * shown if "skip" in binds else 0
        if "sorted" in binds:
            # How many there are is not asked: a row more than is shown says that there is another page.
            part |= order_part(view, place, shown, before + count + more if "skip" in binds else count)
        if more:
            part["words"] = f"{exactly(before + 1)} – {exactly(before + count)} shown, and there are more"
        elif before and not count:
            part["words"] = "none on this page"
        else:
            part["words"] = f"{exactly(before + count)} {'row' if before + count == 1 else 'rows'}"
        return part
