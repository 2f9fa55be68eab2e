"""The drill-down's charts in HoloViews: built when a tab is opened, dropped when it is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
from bokeh.events import DoubleTap
from bokeh.models import (
    BoxSelectTool,
    CustomJS,
    CustomJSHover,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
)
from bokeh.themes import Theme
from holoviews import streams

from console.feed.numbers import exactly
from console.view import Span
from lakehouse.texts import label

hv.extension("bokeh")
# A few hundred bars: WebGL would only cost a context for each chart.
hv.renderer("bokeh").webgl = False

# The step that SQL truncates to, and how many of them make a bar.
STEPS: tuple[tuple[timedelta, str, timedelta], ...] = (
    (timedelta(hours=2), "MINUTE", timedelta(minutes=1)),
    (timedelta(hours=26), "MINUTE", timedelta(minutes=10)),
    (timedelta(days=15), "HOUR", timedelta(hours=1)),
    (timedelta(days=800), "DAY", timedelta(days=1)),
    (timedelta(days=7320), "WEEK", timedelta(days=7)),
)
LONGEST_STEP = ("MONTH", timedelta(days=30))

PALE = "73"
"""The opacity of a bar that is not full yet, as the end of a colour: 0.45."""
FEWEST = 4
"""Lines that there is room for, however few there are."""

LABEL_LETTERS = 24
"""Of a name beside its bar: more would leave the bars no room."""


def step_of(span: Span) -> tuple[str, timedelta]:
    """DATE_TRUNC's unit for a range, and the width of a bar: at most 160 bars up to 26 hours, then
    an hour, a day, a week or a month, so that three centuries still are a few thousand."""
    length = span[1] - span[0]
    for limit, unit, width in STEPS:
        if length <= limit:
            return unit, width
    return LONGEST_STEP


@dataclass(frozen=True)
class TimeBars:
    """Stacked bars on a time axis. `counts` maps (start of a bar, part) to its height; parts stack in their order.

    A bar that reaches past `until` is not full yet and is drawn pale. `digits` is how a number is written on hover.
    """

    counts: Mapping[tuple[datetime, str], float]
    parts: Mapping[str, str]
    width: timedelta
    span: Span
    brush: Span | None
    unit: str
    digits: str = "0,0"

    def frame(self) -> pd.DataFrame:
        """One row a rectangle: start, bottom, end, top, part, n, color, words. Times naive UTC, as Bokeh wants them.

        Paleness is in the colour, which no selection touches; words tell of the whole bar.
        """
        rows = []
        starts = sorted({start for start, _ in self.counts})
        for start in starts:
            top, end = 0.0, start + self.width * 0.9
            counts = {part: self.counts.get((start, part), 0.0) for part in self.parts}
            counts = {part: count for part, count in counts.items() if count}
            words = ", ".join(f"{part} {exactly(round(count, 3))}" for part, count in counts.items())
            if len(counts) > 1:
                words += f"; {exactly(round(sum(counts.values()), 3))} in all"
            paleness = PALE if start + self.width > self.span[1] else ""
            for part, count in counts.items():
                color = f"{self.parts[part]}{paleness}"
                rows.append((_naive(start), top, _naive(end), top + count, part, count, color, words))
                top += count
        return pd.DataFrame(rows, columns=["start", "bottom", "end", "top", "part", "n", "color", "words"])


@dataclass(frozen=True)
class HeatCells:
    """How much there was of each of `names`, which stand below each other, in each step of a time axis.

    `counts` maps (start of a step, name) to its number; a cell is the more opaque in `color` the more there was.
    """

    counts: Mapping[tuple[datetime, str], float]
    names: Sequence[str]
    width: timedelta
    span: Span
    unit: str
    color: str

    def frame(self) -> pd.DataFrame:
        """One row a cell: start, bottom, end, top, name, n, alpha; and one without a number for each name, so that all
        are there. Times naive UTC."""
        places = {name: len(self.names) - 1 - place for place, name in enumerate(self.names)}
        most = max((count for (_, name), count in self.counts.items() if name in places), default=0.0) or 1.0
        first = _naive(self.span[0])
        rows = [(first, places[name] + 0.06, first, places[name] + 0.94, name, 0.0, 0.0) for name in self.names]
        rows += [
            (_naive(start), places[name] + 0.06, _naive(start + self.width * 0.94), places[name] + 0.94, name, count,
             0.15 + 0.85 * (count / most) ** 0.5)
            for (start, name), count in sorted(self.counts.items())
            if name in places and count
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["start", "bottom", "end", "top", "name", "n", "alpha"])


@dataclass(frozen=True)
class Ranking:
    """Horizontal bars, the first on top: (name, value, color, chosen). With nothing chosen, all stand out. `notes` are
    words behind a name."""

    rows: Sequence[tuple[str, float, str, bool]]
    unit: str
    notes: Mapping[str, str] = field(default_factory=dict)

    def labels(self) -> dict[str, str]:
        """What stands at each bar, to its name: short enough for the axis, and no two alike."""
        found: dict[str, str] = {}
        for name, *_ in self.rows:
            note = f" {self.notes[name]}" if self.notes.get(name) else ""
            words, number = f"{label(name, LABEL_LETTERS - len(note))}{note}", 2
            while words in found:
                words, number = f"{label(name, LABEL_LETTERS - len(note) - 4)} ({number}){note}", number + 1
            found[words] = name
        return found


class TimeChart:
    """Bars over time that can be brushed: `on_brush` gets the times, or None when the brush is wiped away."""

    def __init__(self, bars: TimeBars, theme: Theme, on_brush: Callable[[Span | None], None]) -> None:
        self._pipe = streams.Pipe(data=bars)
        drawn = hv.DynamicMap(_draw_bars, streams=[self._pipe])
        span = hv.DynamicMap(_draw_brush, streams=[self._pipe])
        self._bounds = streams.BoundsX(source=drawn, boundsx=None)
        self._bounds.add_subscriber(lambda boundsx: on_brush(_span(boundsx)))
        self.pane = pane_of((span * drawn).opts(hv.opts.Overlay(responsive=True, hooks=[tidy, _closer])), theme)

    def send(self, bars: TimeBars) -> None:
        self._pipe.send(bars)


class HeatChart:
    """Cells of a time axis, a line a name; `on_tap` gets the name whose line was clicked."""

    def __init__(self, cells: HeatCells, theme: Theme, on_tap: Callable[[str], None]) -> None:
        self._cells = cells
        self._pipe = streams.Pipe(data=cells)
        drawn = hv.DynamicMap(_draw_heat, streams=[self._pipe])
        self._taps = streams.Tap(source=drawn)
        self._taps.add_subscriber(self._tapped)
        self._on_tap = on_tap
        self.pane = pane_of(drawn, theme)

    def send(self, cells: HeatCells) -> None:
        self._cells = cells
        self._pipe.send(cells)

    def _tapped(self, x: object, y: object) -> None:
        names = self._cells.names
        if isinstance(y, int | float) and 0 <= y < len(names):
            self._on_tap(names[len(names) - 1 - int(y)])


class RankingChart:
    """Horizontal bars; `on_tap` gets the name that was clicked."""

    def __init__(self, ranking: Ranking, theme: Theme, on_tap: Callable[[str], None]) -> None:
        self._ranking = ranking
        self._pipe = streams.Pipe(data=ranking)
        drawn = hv.DynamicMap(_draw_ranking, streams=[self._pipe])
        self._taps = streams.Tap(source=drawn)
        self._taps.add_subscriber(self._tapped)
        self._on_tap = on_tap
        self.pane = pane_of(drawn, theme)

    def send(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._pipe.send(ranking)

    def _tapped(self, x: object, y: object) -> None:
        """A bar's whole line can be clicked; which coordinate is the name depends on how HoloViews swaps axes."""
        for words, name in self._ranking.labels().items():
            if words in (x, y):
                self._on_tap(name)
                return


def pane_of(drawn: Any, theme: Theme) -> pn.pane.HoloViews:
    return pn.pane.HoloViews(  # type: ignore[no-untyped-call]  # panel leaves this one out
        drawn, theme=theme, sizing_mode="stretch_both", linked_axes=False
    )


def recolour(pane: pn.pane.HoloViews, theme: Theme) -> None:
    """Let a chart that stands be drawn in another theme from its next data on: nothing is built anew."""
    for plot, _ in pane._plots.values():
        # HoloViews writes its own theme's colours onto the axes each time; the document's reach all else.
        plot.traverse(lambda one: setattr(one.renderer, "theme", theme))


def hover_of(tooltips: list[tuple[str, str]]) -> HoverTool:
    """Words on hover, @start a time in the zone that is shown. Made anew for each: a model belongs to one document."""
    clock = CustomJSHover(code="return window.tillwatch.clock(value, true)")
    return HoverTool(tooltips=tooltips, formatters={"@start": clock})


def _draw_bars(data: TimeBars) -> hv.Rectangles:
    hover = hover_of([("from", "@start{custom}"), ("@part", f"@n{{{data.digits}}} {data.unit}"), ("all", "@words")])
    return hv.Rectangles(data.frame(), ["start", "bottom", "end", "top"], ["part", "n", "color", "words"]).opts(
        color="color",
        line_width=0,
        # What a selection leaves out is said by the brush's own mark.
        nonselection_alpha=1,
        tools=[hover, BoxSelectTool(dimensions="width")],
        active_tools=["box_select"],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=_axis(data.span, data.width),
        ylim=(0, _top(data)),
        framewise=True,
    )


def _draw_heat(data: HeatCells) -> hv.Rectangles:
    hover = hover_of([("from", "@start{custom}"), ("", "@name"), (data.unit, "@n{0,0}")])
    return hv.Rectangles(data.frame(), ["start", "bottom", "end", "top"], ["name", "n", "alpha"]).opts(
        color=data.color,
        alpha="alpha",
        line_width=0,
        tools=[hover],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=_axis(data.span, data.width),
        # A name alone is a line too, not a slab.
        ylim=(len(data.names) - max(FEWEST, len(data.names)), len(data.names)),
        responsive=True,
        framewise=True,
        hooks=[_tidy_heat],
    )


def _draw_brush(data: TimeBars) -> hv.VSpans:
    marks = [tuple(map(_naive, data.brush))] if data.brush else []
    return hv.VSpans(marks).opts(color="#9fabb8", alpha=0.25, line_width=0)


def _draw_ranking(data: Ranking) -> hv.Bars:
    any_chosen = any(chosen for *_, chosen in data.rows)
    frame = pd.DataFrame(
        [
            (words, value, color, 1.0 if chosen or not any_chosen else 0.35, label(name, 80))
            for words, (name, value, color, chosen) in reversed(list(zip(data.labels(), data.rows, strict=True)))
        ],
        columns=["name", "value", "color", "alpha", "whole"],
    )
    hover = HoverTool(tooltips=[("", "@whole"), (data.unit, "@value{0,0.[00]}")])
    return hv.Bars(frame, "name", ["value", "color", "alpha", "whole"]).opts(
        invert_axes=True,
        color="color",
        alpha="alpha",
        line_width=0,
        bar_width=0.7 * min(1.0, len(data.rows) / FEWEST),
        tools=[hover],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        responsive=True,
        framewise=True,
        hooks=[_tidy_ranking],
    )


def _tidy_times(figure: Any) -> bool:
    """Times below; whether that was still to be done, for a chart is tidied at each drawing."""
    if isinstance(figure.xaxis[0].formatter, CustomJSTickFormatter):
        return False
    code = "return window.tillwatch.moment(tick, ticks[ticks.length - 1] - ticks[0])"
    figure.xaxis[0].formatter = CustomJSTickFormatter(code=code)
    figure.xgrid.grid_line_color = None
    return True


def tidy(plot: Any, _element: Any) -> None:
    figure = plot.state
    if _tidy_times(figure):
        figure.yaxis[0].formatter = NumeralTickFormatter(format="0.[00]a")
        figure.yaxis[0].ticker.desired_num_ticks = 4
        figure.min_border_left = 48


def _closer(plot: Any, _element: Any) -> None:
    """A double click on the axis of the tab's range looks closer there."""
    figure = plot.state
    if not figure.js_event_callbacks.get(DoubleTap.event_name):
        figure.js_on_event(DoubleTap, CustomJS(code="window.tillwatch.closer(cb_obj)"))


def _tidy_heat(plot: Any, element: Any) -> None:
    figure = plot.state
    if _tidy_times(figure):
        figure.ygrid.grid_line_color = None
    places = zip(element.dimension_values("name"), element.dimension_values("bottom"), strict=True)
    names = {int(bottom) + 0.5: label(name, LABEL_LETTERS) for name, bottom in places}
    figure.yaxis[0].ticker = FixedTicker(ticks=sorted(names))
    figure.yaxis[0].major_label_overrides = names


def _tidy_ranking(plot: Any, element: Any) -> None:
    figure = plot.state
    figure.ygrid.grid_line_color = None
    figure.xaxis[0].formatter = NumeralTickFormatter(format="0[.]0a")
    figure.xaxis[0].ticker.desired_num_ticks = 4
    # Bars stand on zero; what falls below it is drawn too.
    values = [float(value) for value in element.dimension_values("value")]
    figure.x_range.start = min(0.0, 1.08 * min(values, default=0.0))


def _top(data: TimeBars) -> float:
    tops: dict[datetime, float] = {}
    for (start, _), count in data.counts.items():
        tops[start] = tops.get(start, 0.0) + count
    return max(tops.values(), default=1.0) * 1.08 or 1.0


def _axis(span: Span, width: timedelta) -> tuple[datetime, datetime]:
    """The time axis of a range: up to the end of its last bar, which would be cut where the range ends within it."""
    since, until = map(_naive, span)
    end = since + -((since - until) // width) * width
    # Weeks and months begin where SQL has them begin.
    return since, end if width <= timedelta(days=1) and end - until < width else until


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _span(bounds: tuple[Any, Any] | None) -> Span | None:
    if bounds is None:
        return None
    since, until = (pd.Timestamp(bound).to_pydatetime().replace(tzinfo=UTC) for bound in bounds)
    return (since, until) if since < until else None
