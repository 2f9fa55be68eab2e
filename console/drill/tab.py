"""What drill-down tabs share: ask at a pinned commit, send facets and rows, draw when answers come."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Protocol

import panel as pn
import pyarrow as pa
from bokeh.core.property.validation import validate
from bokeh.models import Column

from console import look
from console.drill.charts import bar_start, recolour, step_of
from console.drill.found import Found, failed_part, found_of, shown_table
from console.drill.pointed import OverTime, Pointed
from console.feed.asker import Got, Want
from console.feed.pins import Pin
from console.feed.snapshot import FeedSnapshot
from console.on_call.acts import Actor
from console.on_call.asked import KnownIncidents
from console.on_call.watch import Duty
from console.parts import Part, iso_ms
from console.settings import ConsoleSettings
from console.tab import ChartPlace, RowList, Tab, TabFilter
from console.view import Chosen, Span, View
from lakehouse.kpis import Counting
from lakehouse.oncall import OnCallDetail
from lakehouse.rules.figure import AlertFigure
from lakehouse.texts import REASON_LETTERS, label, visible

logger = logging.getLogger(__name__)

FACET_LETTERS = 40
BRUSHED = (
    "click a bar or drag to narrow all else to that time; double click to look closer, with shift from further away"
)
NO_WORDS: Mapping[str, str] = {}
UNKNOWN: Part = {"rows": [], "colours": [], "produced_at": None, "words": "", "unknown": True}
"""A list, or a legend, of which nothing is known: it does not say that there is nothing."""


class Pulse(NamedTuple):
    """How the console itself fares: the newest commit's time, seconds that its questions took, statements a minute over
    the last one, seconds of drawing one page (mean since the start), and pages that are open (count)."""

    as_of: datetime | None
    asked_s: float | None
    statements: float | None
    tick_s: float | None
    viewers: int


class TabPage(Protocol):
    """What a drill-down tab may ask of the page that it stands on."""

    @property
    def view(self) -> View:
        """The selection."""

    @property
    def settings(self) -> ConsoleSettings: ...

    @property
    def counting(self) -> Counting:
        """What counts as an order."""

    @property
    def max_age(self) -> timedelta:
        """How late an alert may come and still open an incident."""

    @property
    def duty(self) -> Duty:
        """What the notifier knows of incidents."""

    @property
    def frozen(self) -> bool:
        """Whether a moment of the past is shown."""

    @property
    def asked(self) -> KnownIncidents:
        """The incidents of rules that ask, as they stood at the moment shown."""

    @property
    def figures(self) -> Mapping[str, AlertFigure]:
        """What each rule's alerts are about, by its name."""

    @property
    def actor(self) -> Actor:
        """Whoever sits before the page."""

    def pulse(self) -> Pulse:
        """How the console fares now."""

    def history(self, incident_id: str) -> OnCallDetail | str | None:
        """An incident with its history up to the moment shown, a sentence in its place, or None while it is being
        asked."""

    def pin(self, snapshot: FeedSnapshot) -> Pin | None:
        """The commit to ask at now; None before the first publish."""

    def answer(self, wanted: Want) -> Got | None:
        """The answer to a question, or None while it is being asked: then the tab's parts are taken again."""

    def forget(self, wants: Iterable[Want]) -> None:
        """These are no longer waited for: what was not asked yet need not be."""

    def select(self, view: View) -> None:
        """Set the selection, as a choice made on a chart does; the browser's URL follows."""

    def link(self, view: View) -> str:
        """The address of a view within the page."""

    def redraw(self) -> None:
        """Call the tab's `draw` soon."""


class DrillTab(Tab):
    """One drill-down tab of one page. A tab says what it asks, what it sends and what it draws."""

    steady: ClassVar[bool] = True
    """Whether its parts follow from its answers alone, and are made once of them."""
    paced: ClassVar[bool] = True
    """Whether it moves on by its own cadence, not with every commit."""

    def __init__(self, page: TabPage) -> None:
        self.page = page
        self.found: Found | None = None
        self.error: str | None = None
        self.charts: dict[str, Any] = {}
        self._drawn: Found | None = None
        self._theme = page.view.theme
        self._pointed = Pointed()
        self._wanted: set[Want] = set()
        self._told: tuple[Found, Mapping[str, Part]] | None = None
        self._good: dict[str, Part] = {}
        """The last good part of each place of its panels."""
        self._about: tuple[str, Chosen] = ("", {})
        self._files: dict[str, pa.Table] = {}
        """The answer that each list's rows were made of."""
        self.places = {
            place: pn.Column(sizing_mode="stretch_both", margin=0, min_height=0) for place in self.chart_places()
        }
        self.holders: dict[str, Column] = {}
        """Where live charts stand once the tab is opened, by their name."""

    @classmethod
    def _panels(cls) -> list[RowList | ChartPlace]:
        """Its lists and charts."""
        return [block for card in cls.cards for block in card.blocks if isinstance(block, RowList | ChartPlace)]

    @classmethod
    def _places(cls) -> list[ChartPlace]:
        return [panel for panel in cls._panels() if isinstance(panel, ChartPlace)]

    @classmethod
    def chart_places(cls) -> list[str]:
        return [place.name for place in cls._places()]

    # ---- what a tab says of itself

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        """Name to question; `span` is the range, `inner` the brushed part of it, else the same."""
        raise NotImplementedError

    def found_parts(self, found: Found) -> dict[str, Part]:
        """The parts that fill the tab's filters, lists and details, and `said.NAME`, a sentence for it to show."""
        raise NotImplementedError

    def draw_charts(self, found: Found) -> None:
        """Draw into each of the tab's places, by `chart`."""

    # ---- what the page asks of it

    @property
    def failed(self) -> str | None:
        """Why something of what it shows is not of the newest answers."""
        return self.error or next(iter(self.found.failed.values() if self.found else ()), None)

    def exported(self, name: str) -> pa.Table | None:
        """The answer that a list or a chart of the tab is made from; the rows that are shown where they are made of
        several, or of what is no answer."""
        panel = next((one for one in self._panels() if one.name == name), None)
        if isinstance(panel, RowList) and not panel.exports:
            shown = self._told[1].get(f"list.{name}") if self._told else None
            return shown_table(panel, shown["rows"]) if shown else None
        return self._files.get(name)

    def parts(self, view: View, snapshot: FeedSnapshot) -> Mapping[str, Part]:
        """The tab's parts, from the newest whole set of answers; asks for the next set where view or commit moved."""
        pin = self.page.pin(snapshot)
        loading = False
        if pin is not None:
            loading = not self._take(view, pin)
        found = self.found
        parts: dict[str, Part] = {}
        if found is not None:
            if not self.steady or self._told is None or self._told[0] is not found:
                self._told = found, self._made(found)
            parts.update(self._told[1])
            parts["empty"] = {place.name: self._instead(place, found) for place in self._places()}
        loading = loading and (found is None or found.view != view)
        spans = (found.span, found.inner) if found else None
        error = self.error or (self._untold(found) if found else None)
        parts[f"drill.{self.name}"] = drill_part(found.view if found else view, spans, loading=loading, error=error)
        if found is not None and found is not self._drawn:
            self.page.redraw()
        return parts

    def _made(self, found: Found) -> dict[str, Part]:
        """The tab's parts. A panel whose question failed keeps its last good ones, and says why; the others go on."""
        parts = self.found_parts(found)
        about = (found.view.incident, found.view.filters)
        if about != self._about:
            # What is behind another incident, or of another customer, is not old: it is not what was asked for.
            of_another = {block.name for card in self.cards if card.detail for block in card.blocks}
            self._good = {
                place: part for place, part in self._good.items() if place.partition(".")[2] not in of_another
            }
            self._about = about
        for panel in self._panels():
            needs, places = panel.needs, [f"{kind}.{panel.name}" for kind in ("list", "legend")]
            why = found.why(needs, stands=panel.name in self.charts or places[0] in self._good)
            parts[f"panel.{panel.name}"] = failed_part(why)
            now = {place: parts[place] for place in places if place in parts}
            if why:
                parts |= {place: self._good.get(place, UNKNOWN) for place in now}
            elif needs and needs[0] in found.answers:
                self._good |= now
                self._files[panel.name] = found.answers[needs[0]]
        return parts

    def _instead(self, place: ChartPlace, found: Found) -> str | None:
        """What is said in place of a chart that has nothing to show."""
        if found.why(place.needs, stands=True):
            return None if place.name in self.charts else " "
        return None if found.tables.get(place.of, [place]) else place.empty

    def _untold(self, found: Found) -> str | None:
        """Why a question failed of which no panel says that it needs it."""
        needed = {name for panel in self._panels() for name in panel.needs}
        why = next((why for name, why in found.failed.items() if name not in needed), None)
        return why and visible(why, REASON_LETTERS)

    def _take(self, view: View, pin: Pin) -> bool:
        """Take the answers for a view at a commit, if all are there."""
        spans = spans_of(view, pin)
        # What a tab wants may hang on what it found: an incident's rows on the incident.
        asked = self.wants(view, pin, *spans)
        before = self.found
        known = before is not None and before.asked == asked and before.view == view
        if before is not None and known and not before.failed:
            self.error = None  # of what was asked since, and is no longer wanted
            return True
        wants = set(asked.values())
        self.page.forget(self._wanted - wants)
        self._wanted = wants
        answered = {name: self.page.answer(wanted) for name, wanted in asked.items()}
        got = {name: answer for name, answer in answered.items() if answer is not None}
        if len(got) < len(asked):
            return False
        failed = {name: answer.error for name, answer in got.items() if answer.error}
        if len(failed) == len(asked):
            # The last good answers stay; the asker tries again by itself, and the next commit is another question.
            self.error = visible(next(iter(failed.values())), REASON_LETTERS)
            return True
        self.error = None
        if before is not None and known and before.failed == failed:
            return True
        self.found = found_of(view, pin, spans, asked, got, before)
        return self.wants(view, pin, *spans) == asked or self._take(view, pin)

    def draw(self) -> None:
        found = self.found
        if found is None or found is self._drawn:
            return
        self._drawn = found
        try:
            # What is drawn is ours: looking at each value once more is a sixth of what a chart costs.
            with validate(False):
                self.recoloured()
                self.draw_charts(found)
        except Exception:
            logger.exception("the charts of %s could not be drawn", self.name)

    def recoloured(self) -> None:
        """Let all charts that stand be drawn in the page's theme, those too that get no new data."""
        theme = self.page.view.theme
        if theme != self._theme:
            for held in self.charts.values():
                recolour(held.pane, look.bokeh_theme(theme))
            self._theme = theme

    def draw_anew(self) -> None:
        """What the charts show has changed, though the tab's answers have not."""
        self._drawn = None
        self.page.redraw()

    def drop(self) -> None:
        self.page.forget(self._wanted)
        self._wanted = set()
        self.charts.clear()
        self._drawn = None
        for column in self.places.values():
            column.clear()

    def facet(
        self,
        of: TabFilter,
        view: View,
        counts: Iterable[tuple[str, str]],
        words: Mapping[str, str] = NO_WORDS,
        *,
        known: bool = True,
    ) -> dict[str, Part]:
        """The part that shows a filter: its values with how many there are, in words, and which of them are chosen.

        `words` are those of values that do not stand for themselves. Where it is not `known` how many there are, no
        value says so.
        """
        chosen = view.chosen(of.name)
        if of.search:
            return {f"facet.{self.name}.{of.name}": {"search": of.search, "text": next(iter(chosen), "")}}
        shown = chosen or of.default
        values = [
            [value, count if known else "", value in shown, words.get(value) or label(value, FACET_LETTERS)]
            for value, count in counts
        ]
        kind = of.name if any(look.has_colour(of.name, choice) for choice in of.choices) else "plain"
        return {f"facet.{self.name}.{of.name}": {"kind": kind, "values": values, "narrowed": bool(chosen)}}

    def legend(self, place: str, parts: Mapping[str, str]) -> dict[str, Part]:
        """The part that says what the colours of a chart are: each part of its bars, to the name of a colour."""
        return {f"legend.{place}": {"colours": [[visible(part), colour] for part, colour in parts.items()]}}

    def chart(self, place: str, kind: Any, data: Any, told: Any) -> None:
        """Build the chart of a place, or give it new data. One whose question failed stays as it is."""
        [needs] = [one.needs for one in self._places() if one.name == place]
        if self._drawn is not None and self._drawn.why(needs, stands=True):
            return
        held = self.charts.get(place)
        if held is None:
            if not self.charts:
                # One that left with the tab's charts has their models.
                self._pointed = Pointed()
            held = self.charts[place] = kind(data, look.bokeh_theme(self.page.view.theme), told)
            if isinstance(held, OverTime):
                held.pointed = self._pointed
            self.places[place].objects = [held.pane]
        else:
            held.send(data)

    def brushed(self, span: Span | None) -> None:
        """The time axis was brushed: the other charts and the rows follow."""
        if span is not None and span != self.page.view.brush:
            self.page.select(replace(self.page.view, brush=_milliseconds(span)))

    def toggle(self, name: str, value: str) -> None:
        """A value of a filter was clicked: it is chosen, or no longer."""
        [default] = [one.default for one in self.filters if one.name == name]
        self.page.select(self.page.view.toggled(name, value, default))

    def chosen_cell(self, name: str, value: str, span: Span | None) -> None:
        """A cell was clicked: its value of a filter and its time are all that is looked at, or no longer. Beside the
        cells it is the value alone, as on a bar."""
        if span is None:
            self.toggle(name, value)
            return
        view = self.page.view
        behind = replace(view.filtered(name, (value,)), brush=span)
        self.page.select(replace(view.filtered(name, ()), brush=None) if view == behind else behind)

    @property
    def pin(self) -> Pin | None:
        return self.found.pin if self.found else None


def spans_of(view: View, pin: Pin) -> tuple[Span, Span]:
    """The range at a commit, and the brushed part of it; all of it where nothing of it is brushed."""
    span = view.bounds(pin.as_of)
    if view.span is None:
        span = whole_bars(span)
    return span, (_overlap(view.brush, span) if view.brush else None) or span


def drill_part(view: View, spans: tuple[Span, Span] | None, *, loading: bool, error: str | None) -> Part:
    """What stands above a tab's cards: its times, once there are any, and how it fares. A brush beside the range
    narrows nothing: it has lapsed."""
    span, inner = spans or (None, None)
    lapsed = view.brush if span and view.brush and _overlap(view.brush, span) is None else None

    def words(times: Span | None) -> list[str | None] | None:
        return [iso_ms(moment) for moment in times] if times else None

    return {"loading": loading, "error": error, "span": words(span), "inner": words(inner), "lapsed": words(lapsed)}


def whole_bars(span: Span) -> Span:
    """A range that ends now, from the start of its first bar on: half a bar looks like a drop."""
    _, width = step_of(span)
    return bar_start(span[0], width), span[1]


def rebinned(moment: datetime, width: timedelta) -> datetime:
    """The start of the bar that holds a truncated time; widths up to an hour divide it, longer ones are SQL's own."""
    if width >= timedelta(hours=1):
        return moment
    minutes = int(width.total_seconds() // 60)
    return moment.replace(minute=moment.minute // minutes * minutes)


def binned(
    rows: Iterable[Mapping[str, Any]], part: Callable[[Mapping[str, Any]], str], width: timedelta
) -> dict[tuple[datetime, str], float]:
    """How many there are (the sum of their n) in each bar, by its start and a part of it that each row belongs to."""
    counts: dict[tuple[datetime, str], float] = defaultdict(float)
    for row in rows:
        counts[rebinned(row["moment"], width), part(row)] += float(row["n"])
    return counts


def _overlap(brush: Span, span: Span) -> Span | None:
    """The brushed part of a range; None where the brush lies beside it."""
    since, until = max(brush[0], span[0]), min(brush[1], span[1])
    return (since, until) if since < until else None


def _milliseconds(span: Span) -> Span:
    since, until = (moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in span)
    return since, until
