"""A board as a tab: what its file says in the console's own words, and what it sends and draws."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

import pyarrow as pa
from bokeh.core.property.validation import validate

from console.boards.board_page import BoardPage
from console.boards.live import BoardChart, chart_class
from console.boards.live_panel import LivePanel
from console.boards.load import Board
from console.boards.range_panel import RangePanel
from console.boards.ranged import Panel, panels_of
from console.boards.spec import RangeSpec
from console.boards.tile_row import TileRow, tile_name
from console.drill.charts import TimeChart
from console.drill.finding import FIND
from console.drill.heat import HeatChart
from console.drill.tab import BRUSHED, DrillTab, drill_part, spans_of
from console.feed.minutes import starts_of
from console.feed.pins import Pin
from console.feed.snapshot import FeedSnapshot
from console.live_chart import last_hour, move
from console.parts import Part
from console.straight import Patch
from console.tab import Card, ChartPlace, OpenedPlace
from console.view import Span, View
from lakehouse.texts import REASON_LETTERS, visible

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileFace:
    """A tile's place on the page, and the tab that it leads to."""

    key: str
    title: str
    leads: str


class BoardTab(DrillTab):
    """One board of one page. Each of its panels is asked, drawn and in trouble by itself."""

    board: ClassVar[Board]
    faces: ClassVar[tuple[TileFace, ...]] = ()
    kinds: ClassVar[tuple[type[BoardChart], ...]] = ()
    panels: ClassVar[tuple[Panel, ...]] = ()

    def __init__(self, page: BoardPage) -> None:
        super().__init__(page)
        self.page: BoardPage = page
        self.tiles = TileRow(self.board)
        self.live_panels = [LivePanel(kind, number, self.board) for number, kind in enumerate(self.kinds)]
        self.range_panels = [RangePanel(panel, self.board) for panel in self.panels]
        self.holders = {panel.kind.name: panel.holder for panel in self.live_panels}
        self._hour = last_hour()
        self._pin: Pin | None = None

    # ---- what the page asks of it

    @property
    def pin(self) -> Pin | None:
        return self._pin

    @property
    def failed(self) -> str | None:
        errors = [self.tiles.error, *(one.error for one in self.live_panels), *(one.error for one in self.range_panels)]
        return next(filter(None, errors), None)

    @property
    def as_of(self) -> datetime | None:
        """The newest time that its live charts show; None before the first."""
        return max((panel.as_of for panel in self.live_panels if panel.as_of), default=None)

    def exported(self, name: str) -> pa.Table | None:
        live = next((panel.table for panel in self.live_panels if panel.kind.name == name), None)
        return next((panel.table for panel in self.range_panels if panel.of.name == name), live)

    def parts(self, view: View, snapshot: FeedSnapshot) -> Mapping[str, Part]:
        """The board's parts: of each panel the newest answer that there is."""
        trouble, spec = self.page.boards.trouble(self.name), self.board.spec
        parts: dict[str, Part] = {f"said.{self.name}": {"words": visible(trouble, REASON_LETTERS), "range": None}}
        if spec is None:
            return parts
        if spec.ranged:
            self._pin = self.page.pin(snapshot) or self._pin
        elif snapshot.commit and snapshot.as_of:
            self._pin = Pin(snapshot.commit, snapshot.as_of)
        empty: dict[str, str | None] = {}
        parts |= self.tiles.parts(self.page, view, snapshot)
        for live in self.live_panels:
            parts |= live.parts(self.page, view, snapshot, empty)
        if spec.ranged and self._pin is not None:
            parts |= self._range_parts(view, self._pin, empty)
        if any(live.waits for live in self.live_panels) or self._undrawn:
            self.page.redraw()
        return parts | {"empty": empty}

    def _range_parts(self, view: View, pin: Pin, empty: dict[str, str | None]) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        loading = False
        for panel in self.range_panels:
            loading |= panel.take(self.page, view, pin)
            parts |= panel.parts(self.page, view, empty)
        for one in self.filters:
            parts |= self.facet(one, view, ((choice, "") for choice in one.choices or view.chosen(one.name)))
        parts[f"drill.{self.name}"] = drill_part(view, spans_of(view, pin), loading=loading, error=None)
        return parts

    @property
    def _undrawn(self) -> list[RangePanel]:
        return [panel for panel in self.range_panels if panel.made is not panel.shown]

    def draw(self) -> None:
        """Build what is not built yet, and draw what came over the range."""
        self._move()
        self.recoloured()
        for live in self.live_panels:
            if live.waits:
                live.build(self.page, self._hour)
        for panel in self._undrawn:
            try:
                with validate(False):
                    self._draw(panel)
            except Exception:
                logger.exception("%s could not be drawn", panel.of.name)
            panel.shown = panel.made

    def _draw(self, panel: RangePanel) -> None:
        made, spec = panel.made, panel.of.spec
        assert made is not None
        assert isinstance(spec, RangeSpec)

        def chosen(name: str) -> None:
            if spec.filter:
                self.toggle(spec.filter, name)

        def cell(name: str, span: Span | None) -> None:
            if spec.filter:
                self.chosen_cell(spec.filter, name, span)
            elif span is not None:
                self.brushed(span)

        told = {TimeChart: self.brushed, HeatChart: cell}.get(made.kind, chosen)
        self.chart(panel.of.name, made.kind, made.data, told)

    def draw_live(self, patch: Patch) -> None:
        """Send what is new of the live charts that stand."""
        self._move()
        for live in self.live_panels:
            live.follow(patch)

    def _move(self) -> None:
        """Let the axis of the live charts end with the newest minute of any: tables of others have one of their own."""
        if self.as_of is not None:
            move(self._hour, starts_of(self.as_of))

    def drop(self) -> None:
        super().drop()
        for live in self.live_panels:
            live.drop()
        for panel in self.range_panels:
            panel.drop(self.page)


def tab_of(board: Board, currency: str) -> type[BoardTab]:
    """The tab that shows a board."""
    spec, name = board.spec, board.name
    fields: dict[str, Any] = {
        "__doc__": f"{board.path.name}.", "board": board, "title": board.path.stem, "order": 1000, "cards": (),
        "heeds_range": False, "heeds_brush": False, "paced": False,
    }  # fmt: skip
    if spec is not None:
        kinds = tuple(chart_class(f"{name}.live{number}", live, currency) for number, live in enumerate(spec.live))
        panels = panels_of(name, spec, board.questions or {})
        over_time = [one for one in panels if isinstance(one.spec, RangeSpec) and one.spec.kind == "bars"]
        fields |= {
            "title": spec.title,
            "order": spec.order,
            "kinds": kinds,
            "panels": panels,
            "faces": tuple(
                TileFace(tile_name(name, number), tile.title, tile.leads) for number, tile in enumerate(spec.tiles)
            ),
            "cards": (*map(_live_card, kinds), *(_card(panel, panel in over_time[:1]) for panel in panels)),
            "filters": (*(one.tab_filter for one in spec.filters), *((FIND,) if spec.find else ())),
            "heeds_range": spec.ranged,
            "heeds_brush": any(one.whole_range for one in panels),
            "paced": spec.ranged,
            "compares": bool(spec.tiles or spec.live),
        }
    made: type[BoardTab] = type(f"BoardTab_{name}", (BoardTab,), fields)
    made.name = name
    return made


def _live_card(kind: type[BoardChart]) -> Card:
    return Card((OpenedPlace(kind.name, kind.title, kind.note),), columns=kind.columns)


def _card(panel: Panel, brushed: bool) -> Card:
    place = panel.place
    if brushed and isinstance(place, ChartPlace) and not place.note:
        place = replace(place, note=BRUSHED)
    return Card((place,), columns=panel.spec.width)
