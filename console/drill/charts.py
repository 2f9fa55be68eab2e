"""The drill-down's charts in HoloViews: built when a tab is opened, dropped when it is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
from bokeh.events import DoubleTap, Tap
from bokeh.models import (
    BoxSelectTool,
    CustomJS,
    CustomJSTickFormatter,
    HoverTool,
    NumeralTickFormatter,
)
from bokeh.themes import Theme
from holoviews import streams

from console.drill.pointed import OverTime, Pointed, held_columns
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

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PALE = "73"
"""The opacity of a bar that is not full, as the end of a colour: 0.45."""
FEWEST = 4
"""Lines that there is room for, however few there are."""

LABEL_LETTERS = 24
"""Of a name beside its bar: more would leave the bars no room."""
TOLD_LETTERS = 80
"""Of a name where a bar is pointed at."""


def step_of(span: Span) -> tuple[str, timedelta]:
    """DATE_TRUNC's unit for a range, and the width of a bar: at most 160 bars up to 26 hours, then
    an hour, a day, a week or a month, so that three centuries still are a few thousand."""
    length = span[1] - span[0]
    for limit, unit, width in STEPS:
        if length <= limit:
            return unit, width
    return LONGEST_STEP


def bar_start(moment: datetime, width: timedelta) -> datetime:
    """The start of the bar that holds a time, as SQL has it: a week begins on Monday, a month on its first day."""
    if width <= timedelta(days=1):
        return EPOCH + (moment - EPOCH) // width * width
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday()) if width <= timedelta(days=7) else day.replace(day=1)


@dataclass(frozen=True)
class TimeBars:
    """Stacked bars on a time axis. `counts` maps (start of a bar, part) to its height; parts stack in their order.

    A bar that reaches beyond the span holds only a part of its rows and is drawn pale, but whole. `digits` is how a
    number is written where one is pointed at.
    """

    counts: Mapping[tuple[datetime, str], float]
    parts: Mapping[str, str]
    width: timedelta
    span: Span
    brush: Span | None
    unit: str
    digits: str = "0,0"

    def frame(self) -> pd.DataFrame:
        """One row a rectangle: start, bottom, end, top, part, n, color, closes. Times naive UTC, as Bokeh wants them;
        the bar's time ends when it closes.

        Paleness is in the colour, which no selection touches.
        """
        rows = []
        starts = sorted({start for start, _ in self.counts})
        for start in starts:
            top, end = 0.0, start + self.width * 0.9
            counts = {part: self.counts.get((start, part), 0.0) for part in self.parts}
            counts = {part: count for part, count in counts.items() if count}
            paleness = PALE if start < self.span[0] or start + self.width > self.span[1] else ""
            for part, count in counts.items():
                color = f"{self.parts[part]}{paleness}"
                closes = naive(start + self.width)
                rows.append(
                    (naive(start), top, naive(end), top + count, label(part, TOLD_LETTERS), count, color, closes)
                )
                top += count
        columns = ["start", "bottom", "end", "top", "part", "n", "color", "closes"]
        return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class Ranking:
    """Horizontal bars, the first on top: (name, value, color, chosen). With nothing chosen, all stand out. `notes` are
    words behind a name; `choices` the value that a click chooses, where that is another than the name."""

    rows: Sequence[tuple[str, float, str, bool]]
    unit: str
    notes: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

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


class TimeChart(OverTime):
    """Bars over time that can be brushed: `on_brush` gets the times, or None when the brush is wiped away."""

    def __init__(self, bars: TimeBars, theme: Theme, on_brush: Callable[[Span | None], None]) -> None:
        self._bars = bars
        self.pointed = Pointed()
        self._pipe = streams.Pipe(data=bars)
        drawn = hv.DynamicMap(_draw_bars, streams=[self._pipe])
        span = hv.DynamicMap(_draw_brush, streams=[self._pipe])
        self._bounds = streams.BoundsX(source=drawn, boundsx=None)
        self._bounds.add_subscriber(lambda boundsx: on_brush(_span(boundsx)))
        hooks = [tidy, _closer, self._join]
        self.pane = pane_of((span * drawn).opts(hv.opts.Overlay(responsive=True, hooks=hooks)), theme)

    def send(self, bars: TimeBars) -> None:
        self._bars = bars
        self._pipe.send(bars)

    def _join(self, plot: Any, _element: Any) -> None:
        self.pointed_by(plot, self._bars.unit, self._bars.digits)


class TapChart[Data]:
    """A chart that is drawn anew of what it is sent, and on which a click chooses something."""

    def __init__(self, data: Data, draw: Callable[[Data], Any], theme: Theme) -> None:
        self.data = data
        self._pipe = streams.Pipe(data=data)
        drawn = hv.DynamicMap(draw, streams=[self._pipe])
        self._taps = streams.Tap(source=drawn)
        self._taps.add_subscriber(self.tapped)
        self.pane = pane_of(drawn, theme)

    def send(self, data: Data) -> None:
        self.data = data
        self._pipe.send(data)

    def tapped(self, x: object, y: object) -> None:
        """What a click there chooses; x and y are places on the axes, as HoloViews has them."""
        raise NotImplementedError


class RankingChart(TapChart[Ranking]):
    """Horizontal bars; `on_tap` gets what was chosen by a click."""

    def __init__(self, ranking: Ranking, theme: Theme, on_tap: Callable[[str], None]) -> None:
        super().__init__(ranking, _draw_ranking, theme)
        self._on_tap = on_tap

    def tapped(self, x: object, y: object) -> None:
        """A bar's whole line can be clicked; which coordinate is the name depends on how HoloViews swaps axes."""
        for words, name in self.data.labels().items():
            if words in (x, y):
                self._on_tap(self.data.choices.get(name, name))
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


def hover_of(lines: Sequence[str]) -> HoverTool:
    """Lines of words on hover, above or below, where a narrow screen has room for them. Made anew for each: a model
    belongs to one document."""
    return HoverTool(tooltips=[("", words) for words in lines], attachment="vertical")


def _draw_bars(data: TimeBars) -> hv.Rectangles:
    frame = data.frame()
    return hv.Rectangles(frame, list(frame.columns[:4]), list(frame.columns[4:])).opts(
        color="color",
        line_width=0,
        # What a selection leaves out is said by the brush's own mark.
        nonselection_alpha=1,
        tools=[held_columns(), BoxSelectTool(dimensions="width")],
        active_tools=["box_select"],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=axis_of(data.span, data.width),
        ylim=(0, _top(data)),
        framewise=True,
        hooks=[_tappable],
    )


def _draw_brush(data: TimeBars) -> hv.VSpans:
    marks = [tuple(map(naive, data.brush))] if data.brush else []
    return hv.VSpans(marks).opts(color="#9fabb8", alpha=0.25, line_width=0)


def _draw_ranking(data: Ranking) -> hv.Bars:
    any_chosen = any(chosen for *_, chosen in data.rows)
    frame = pd.DataFrame(
        [
            (
                words,
                value,
                color,
                1.0 if chosen or not any_chosen else 0.35,
                label(name, TOLD_LETTERS),
                data.choices.get(name, name),
            )
            for words, (name, value, color, chosen) in reversed(list(zip(data.labels(), data.rows, strict=True)))
        ],
        columns=["name", "value", "color", "alpha", "whole", "choice"],
    )
    hover = hover_of(["@whole", f"@value{{0,0.[00]}} {data.unit}"])
    return hv.Bars(frame, "name", ["value", "color", "alpha", "whole", "choice"]).opts(
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


def tidy_times(figure: Any) -> bool:
    """Times below; whether that was still to be done, for a chart is tidied at each drawing."""
    if isinstance(figure.xaxis[0].formatter, CustomJSTickFormatter):
        return False
    code = "return window.tillwatch.moment(tick, ticks[ticks.length - 1] - ticks[0])"
    figure.xaxis[0].formatter = CustomJSTickFormatter(code=code)
    figure.xgrid.grid_line_color = None
    return True


def tidy(plot: Any, _element: Any) -> None:
    figure = plot.state
    if tidy_times(figure):
        figure.yaxis[0].formatter = NumeralTickFormatter(format="0.[00]a")
        figure.yaxis[0].ticker.desired_num_ticks = 4
        figure.min_border_left = 48


def _tappable(plot: Any, _element: Any) -> None:
    """A click on a bar chooses its time: what is behind it."""
    figure = plot.state
    if not figure.js_event_callbacks.get(Tap.event_name):
        code = "window.tillwatch.tapped(cb_obj, bars)"
        figure.js_on_event(Tap, CustomJS(args={"bars": plot.handles["source"]}, code=code))


def _closer(plot: Any, _element: Any) -> None:
    """A double click on the axis of the tab's range looks closer there; where fingers point, they scroll over it."""
    figure = plot.state
    if not figure.js_event_callbacks.get(DoubleTap.event_name):
        figure.js_on_change("inner_width", CustomJS(code="window.tillwatch.laid(cb_obj)"))
        figure.js_on_event(DoubleTap, CustomJS(code="window.tillwatch.closer(cb_obj)"))


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


def axis_of(span: Span, width: timedelta) -> tuple[datetime, datetime]:
    """The time axis of a range: from the start of its first bar to the end of its last, which would be cut where the
    range begins or ends within them."""
    since = bar_start(span[0], width)
    end = since + -((since - span[1]) // width) * width
    # Of weeks and months the last is drawn up to where the range ends.
    return naive(since), naive(end if width <= timedelta(days=1) else span[1])


def naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _span(bounds: tuple[Any, Any] | None) -> Span | None:
    if bounds is None:
        return None
    since, until = (pd.Timestamp(bound).to_pydatetime().replace(tzinfo=UTC) for bound in bounds)
    return (since, until) if since < until else None
