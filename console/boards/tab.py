"""A board as a tab: what its file says in the console's own words, and what it sends and draws."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import pyarrow as pa
from bokeh.core.property.validation import validate
from bokeh.models import Column

from console import look
from console.boards import ranged
from console.boards.answers import Unfit
from console.boards.feed import LIVE_ROWS, LiveAsk, Told
from console.boards.live import BoardChart, chart_class, colour_names, hour_of
from console.boards.load import Board
from console.boards.ranged import Drawn, Panel, panels_of
from console.boards.spec import OTHERS, BoardSpec, RangeSpec
from console.boards.tiles import base_words, tile_parts
from console.drill.charts import TimeChart
from console.drill.finding import FIND
from console.drill.ordering import order_part
from console.drill.tab import BRUSHED, DrillTab, TabPage, drill_part, spans_of
from console.feed.asker import Got, Want
from console.feed.minutes import starts_of
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.feed.snapshot import FeedSnapshot, now_utc
from console.live_chart import Events, last_hour, move
from console.live_events import limits_of
from console.parts import Part, iso_ms
from console.straight import Patch
from console.tab import Card, ChartPlace, OpenedPlace, RowList
from console.view import COMPARED, Span, View
from lakehouse.texts import REASON_LETTERS, visible

logger = logging.getLogger(__name__)

LEFT_OUT = (
    "Left out while a moment is held: this reads a table that tillwatch does not write, of which no past is kept."
)


class BoardPage(TabPage, Protocol):
    """What a board may ask of its page, beside what any tab may."""

    @property
    def frozen(self) -> bool:
        """Whether a moment is shown in place of now."""

    def told(self, ask: LiveAsk, snapshot: FeedSnapshot) -> Told:
        """What is known of a tile's or a live chart's question."""

    def board_answer(self, wanted: Want) -> Got | None:
        """The answer to a question over the range, or None while it is being asked."""

    def board_forget(self, wants: Iterable[Want]) -> None:
        """These are no longer waited for."""

    @property
    def events(self) -> Events:
        """What happened in the hour of the live charts."""

    def trouble(self, board: str) -> str:
        """Why the file of a board is not what is shown; empty: it is."""


@dataclass(frozen=True)
class TileFace:
    """A tile's place on the page, and the tab that it leads to."""

    key: str
    title: str
    leads: str


@dataclass
class _Panel:
    """What is held of a chart or a table over the range."""

    of: Panel
    wanted: Want | None = None
    table: pa.Table | None = None
    answers: Want | None = None
    """What `table` is the answer to, for `view` and `span`; in `error` why there is none to what is wanted."""
    view: View | None = None
    span: Span | None = None
    error: str = ""
    made: Drawn | None = None
    made_of: tuple[object, ...] = ()
    shown: Drawn | None = None
    """What the chart draws, of what, and what of it stands."""


@dataclass
class _Live:
    """What is held of a live chart: of which answers, and once it is built the chart."""

    kind: type[BoardChart]
    ask: LiveAsk
    hour: tuple[Told, Mapping[str, Any]] | None = None
    chart: BoardChart | None = None
    drawn: object = None


class BoardTab(DrillTab):
    """One board of one page. Each of its panels is asked, drawn and in trouble by itself."""

    board: ClassVar[Board]
    faces: ClassVar[tuple[TileFace, ...]] = ()
    kinds: ClassVar[tuple[type[BoardChart], ...]] = ()
    panels: ClassVar[tuple[Panel, ...]] = ()

    def __init__(self, page: BoardPage) -> None:
        super().__init__(page)
        self.page: BoardPage = page
        spec, questions = self.board.spec, self.board.questions or {}
        self._panels = [_Panel(panel) for panel in self.panels]
        self._live = [_Live(kind, LiveAsk(questions[kind.question], None)) for kind in self.kinds]
        self._spec = spec
        self._pin: Pin | None = None
        self._hour = last_hour()
        self._colours = look.tokens("dark")
        self.failure: str = ""
        self.holders = {
            kind.name: Column(name=f"place:{kind.name}", sizing_mode="stretch_both", margin=0) for kind in self.kinds
        }

    # ---- what the page asks of it

    @property
    def pin(self) -> Pin | None:
        return self._pin

    @property
    def failed(self) -> str | None:
        return self.failure or None

    def exported(self, name: str) -> pa.Table | None:
        held = next((one for one in self._panels if one.of.name == name), None)
        return held.table if held is not None else None

    def parts(self, view: View, snapshot: FeedSnapshot) -> Mapping[str, Part]:
        """The board's parts: of each panel the newest answer that there is."""
        trouble = self.page.trouble(self.name)
        parts: dict[str, Part] = {f"said.{self.name}": {"words": visible(trouble, REASON_LETTERS), "range": None}}
        self.failure = ""
        if self._spec is None:
            return parts
        newest = self.page.pin(snapshot) if self._spec.ranged else None
        if not self._spec.ranged and snapshot.commit and snapshot.as_of:
            newest = Pin(snapshot.commit, snapshot.as_of)
        self._pin = newest or self._pin
        empty: dict[str, str | None] = {}
        parts |= self._tile_parts(self._spec, view, snapshot)
        parts |= self._live_parts(view, snapshot, empty)
        parts |= self._range_parts(self._spec, view, empty)
        parts["empty"] = dict(empty)
        return parts

    def draw(self) -> None:
        """Build what is not built yet, and draw what came over the range."""
        for live in self._live:
            if live.chart is None and live.hour is not None:
                try:
                    self._build(live)
                except Exception:
                    logger.exception("%s could not be drawn", live.kind.name)
        for held in self._panels:
            if held.made is not None and held.made is not held.shown:
                self._draw(held)
        self._theme = self.page.view.theme

    def draw_live(self, patch: Patch) -> None:
        """Send what is new of the live charts that stand."""
        for live in self._live:
            if live.hour is None or live.drawn is live.hour[1]:
                continue
            if live.chart is None:
                self.page.redraw()
                continue
            try:
                self._follow(live, patch)
            except Exception:
                logger.exception("%s could not be drawn", live.kind.name)

    def drop(self) -> None:
        super().drop()
        for live in self._live:
            live.chart, live.drawn = None, None
            self.holders[live.kind.name].children = []
        for held in self._panels:
            held.shown = None

    @property
    def as_of(self) -> Any:
        """The newest time that its live charts show; None before the first."""
        return max((live.hour[0].as_of for live in self._live if live.hour and live.hour[0].as_of), default=None)

    # ---- tiles

    def _tile_parts(self, spec: BoardSpec, view: View, snapshot: FeedSnapshot) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        errors: list[str] = []
        questions, currency = self.board.questions or {}, self.page.settings.currency
        for number, (face, tile) in enumerate(zip(self.faces, spec.tiles, strict=True)):
            question = questions[tile.question]
            timed = bool(question.binds & {"since", "until", "as_of"})
            told = self._known(LiveAsk(question, tile.span), snapshot)
            back = tile.span if view.compare == "before" else COMPARED[view.compare]
            before = self._known(LiveAsk(question, tile.span, back), snapshot) if timed and tile.compare else None
            spark = self._known(LiveAsk(questions[tile.spark.question], None), snapshot) if tile.spark else None
            errors += [f"{tile.title}: {one.error}" for one in (told, spark) if one and one.error]
            if told is not None and told.table is not None:
                stale = told.error is not None
                try:
                    made = tile_parts(tile, told, before, spark, stale, base_words(tile, timed, view.compare), currency)
                    parts |= {f"{kind}.{face.key}": part for kind, part in made.items()}
                except Unfit as error:
                    errors.append(f"{tile.title}: {self.board.where('tiles', number)}: {error}.")
            elif told is None:
                parts[f"tile.{face.key}"] = _no_tile("left out")
            elif told.error:
                parts[f"tile.{face.key}"] = _no_tile("not asked")
        if self.faces:
            outside = any(questions[tile.question].outside for tile in spec.tiles)
            parts[f"panel.{self.name}"] = self._said(
                " ".join(dict.fromkeys(errors)), outside and self.page.frozen, None
            )
        return parts

    def _known(self, ask: LiveAsk, snapshot: FeedSnapshot) -> Told | None:
        """None where a moment is held of which there is no past."""
        return None if ask.question.outside and self.page.frozen else self.page.told(ask, snapshot)

    # ---- live charts

    def _live_parts(self, view: View, snapshot: FeedSnapshot, empty: dict[str, str | None]) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        for number, live in enumerate(self._live):
            name, spec = live.kind.name, live.kind.spec
            told = self._known(live.ask, snapshot)
            if told is None:
                live.hour = None
                parts[f"panel.{name}"] = self._said("", True, None)
                empty[name] = LEFT_OUT
                continue
            then = None
            if view.compare != "before" and not live.kind.apart:
                then = self._known(LiveAsk(live.ask.question, None, COMPARED[view.compare]), snapshot)
            series, unfit = hour_of(live.kind, told, then)
            error = f"{self.board.where('live', number)}: {unfit}." if unfit else told.error or ""
            if series is not None:
                live.hour = told, series
                known = any(any(series[each]) for each in live.kind.values)
                empty[name] = None if known else spec.empty
            elif error:
                empty[name] = " "
            full = told.table is not None and told.table.num_rows >= LIVE_ROWS
            parts[f"panel.{name}"] = self._said(error, False, iso_ms(told.read_at), full)
            if len(spec.series) > 1 and spec.kind != "heatmap":
                legend = dict(zip(spec.series, colour_names(spec.series, spec.colours), strict=True))
                if series is not None and not any(series.get(OTHERS, ())):
                    legend.pop(OTHERS, None)
                parts |= self.legend(name, legend)
            if live.hour is not None and live.chart is None:
                self.page.redraw()
        return parts

    def _build(self, live: _Live) -> None:
        chart = live.kind(self._colours, self._hour)
        self.page.events.behind(chart, self._colours, limits_of(self.page.figures, *live.kind.shows))
        live.chart = chart
        self._follow(live, None)
        self.holders[live.kind.name].children = [chart.root]

    def _follow(self, live: _Live, patch: Patch | None) -> None:
        assert live.chart is not None
        assert live.hour is not None
        told, series = live.hour
        assert told.as_of is not None
        starts = starts_of(told.as_of)
        live.chart.update(starts, series, patch)
        live.drawn = series
        move(self._hour, starts)

    # ---- charts and tables over the range

    def _range_parts(self, spec: BoardSpec, view: View, empty: dict[str, str | None]) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        if not spec.ranged or self._pin is None:
            return parts
        loading = False
        for held in self._panels:
            loading |= self._take(held, spec, view)
            parts |= self._panel_parts(held, view, empty)
        for one in self.filters:
            parts |= self.facet(one, view, ((choice, "") for choice in one.choices or view.chosen(one.name)))
        parts[f"drill.{self.name}"] = drill_part(view, spans_of(view, self._pin), loading=loading, error=None)
        if any(held.made is not held.shown for held in self._panels):
            self.page.redraw()
        return parts

    def _take(self, held: _Panel, spec: BoardSpec, view: View) -> bool:
        """Take a panel's answer, if it is there; whether what is shown is of another choice."""
        assert self._pin is not None
        question, pin = held.of.question, self._pin
        if question.outside:
            if self.page.frozen:
                held.table, held.error = None, ""
                return False
            pin = ranged.outside_pin(question, now_utc())
        spans = spans_of(view, pin)
        wanted = ranged.wanted(held.of, spec, view, pin, spans, self.page.settings.rows_shown)
        if held.wanted is not None and held.wanted != wanted:
            self.page.board_forget({held.wanted})
        held.wanted = wanted
        if held.answers != wanted or held.error:
            got = self.page.board_answer(wanted)
            if got is None:
                return held.view is not None and held.view != view
            if got.error or got.table is None:
                held.error = f"{question.path.name}: {got.error}"
                return False
            held.table, held.answers, held.error = got.table, wanted, ""
        held.view, held.span = view, spans[0]
        return False

    def _panel_parts(self, held: _Panel, view: View, empty: dict[str, str | None]) -> dict[str, Part]:
        panel, table = held.of, held.table
        left_out = panel.question.outside and self.page.frozen
        parts: dict[str, Part] = {}
        error, full = held.error, False
        try:
            if table is None:
                if isinstance(panel.place, ChartPlace):
                    empty[panel.name] = LEFT_OUT if left_out else " " if error else None
                elif left_out:
                    parts[f"list.{panel.name}"] = {"rows": [], "produced_at": None, "words": ""}
            elif isinstance(panel.place, ChartPlace):
                full = table.num_rows > LIVE_ROWS
                empty[panel.name] = None if table.num_rows else panel.place.empty
                self._make(held)
                if held.made is not None and held.made.legend:
                    parts |= self.legend(panel.name, held.made.legend)
            else:
                parts |= self._list_parts(held, view, table)
        except Unfit as unfit:
            error = f"{self.board.where(*panel.key)}: {unfit}."
            empty[panel.name] = " "
        at = ranged.read_at(table) if table is not None and panel.question.outside else None
        parts[f"panel.{panel.name}"] = self._said(error, left_out, at, full)
        return parts

    def _make(self, held: _Panel) -> None:
        """What a chart draws, once of what it is drawn of. Raises Unfit."""
        of = (held.table, held.view, held.span)
        if held.made_of == of:
            return
        assert held.table is not None
        assert held.view is not None
        assert held.span is not None
        assert isinstance(held.of.spec, RangeSpec)
        held.made = ranged.drawn(held.of.spec, held.table, held.view, held.span, self.page.settings.currency)
        held.made_of = of

    def _draw(self, held: _Panel) -> None:
        assert held.made is not None
        assert isinstance(held.of.spec, RangeSpec)
        made, chosen = held.made, held.of.spec.filter
        heard = (
            (lambda name: self.toggle(chosen, name) if chosen else None) if made.kind is not TimeChart else self.brushed
        )
        try:
            with validate(False):
                self.chart(held.of.name, made.kind, made.data, heard)
        except Exception:
            logger.exception("%s could not be drawn", held.of.name)
        held.shown = made

    def _list_parts(self, held: _Panel, view: View, table: pa.Table) -> dict[str, Part]:
        panel, shown = held.of, self.page.settings.rows_shown
        assert isinstance(panel.place, RowList)
        part = ranged.listed(panel, table, view, shown, self.page.settings.currency)
        count, more = min(shown, table.num_rows), table.num_rows > shown
        before = (view.page - 1) * shown if "skip" in panel.question.binds else 0
        if "sorted" in panel.question.binds:
            # How many there are is not asked: a row more than is shown says that there is another page.
            total = before + count + more if "skip" in panel.question.binds else count
            part |= order_part(view, panel.place, shown, total)
        if more:
            part["words"] = f"{exactly(before + 1)} – {exactly(before + count)} shown, and there are more"
        elif before and not count:
            part["words"] = "none on this page"
        else:
            part["words"] = f"{exactly(before + count)} {'row' if before + count == 1 else 'rows'}"
        return {f"list.{panel.name}": part}

    def _said(self, error: str, left_out: bool, read_at: str | None, full: bool = False) -> Part:
        """What stands in a panel beside its figures."""
        if error and not self.failure:
            self.failure = error
        words = [visible(error, REASON_LETTERS)] if error else []
        if left_out:
            words.append(LEFT_OUT)
        if full:
            words.append(f"The question has more than {exactly(LIVE_ROWS)} rows; shown are the first of them.")
        return {"words": " ".join(words), "failed": bool(error), "read_at": read_at}


def _no_tile(why: str) -> Part:
    return {
        "text": "n/a", "value": None, "exact": "", "change": "", "good": None, "state": "none", "word": "",
        "why": why, "produced_at": None, "tip": None, "stale": False, "base": "",
    }  # fmt: skip


def tab_of(board: Board, currency: str) -> type[BoardTab]:
    """The tab that shows a board."""
    spec, questions, name = board.spec, board.questions or {}, board.name
    fields: dict[str, Any] = {
        "board": board,
        "title": board.path.stem,
        "order": 1000,
        "cards": (),
        "heeds_range": False,
    }
    fields |= {"heeds_brush": False, "paced": False, "__doc__": f"{board.path.name}."}
    if spec is not None:
        kinds = tuple(chart_class(f"{name}.live{number}", live, currency) for number, live in enumerate(spec.live))
        panels = panels_of(name, spec, questions)
        over_time = [one for one in panels if isinstance(one.spec, RangeSpec) and one.spec.kind == "bars"]
        # What a typed text is looked for in differs; that there is one does not.
        filters = (*(one.tab_filter for one in spec.filters), *((FIND,) if spec.find else ()))
        fields |= {
            "title": spec.title,
            "order": spec.order,
            "kinds": kinds,
            "panels": panels,
            "filters": filters,
            "faces": tuple(
                TileFace(f"{name}.tile{number}", tile.title, tile.leads) for number, tile in enumerate(spec.tiles)
            ),
            "cards": (*map(_live_card, kinds), *(_card(panel, panel in over_time[:1]) for panel in panels)),
            "heeds_range": spec.ranged,
            "heeds_brush": bool(over_time),
            "paced": spec.ranged,
            "compares": bool(spec.tiles or spec.live),
        }
    made = type(f"BoardTab_{name}", (BoardTab,), fields)
    made.name = name
    return made


def _live_card(kind: type[BoardChart]) -> Card:
    return Card((OpenedPlace(kind.name, kind.title, kind.note),), columns=kind.columns)


def _card(panel: Panel, brushed: bool) -> Card:
    place = panel.place
    if brushed and isinstance(place, ChartPlace) and not place.note:
        place = replace(place, note=BRUSHED)
    return Card((place,), columns=panel.spec.width)
