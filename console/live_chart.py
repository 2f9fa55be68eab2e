"""What the live charts share: an axis of the last minutes, and a source that follows the minutes. No HoloViews here: it
costs thirty times more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.models import (
    BasicTicker,
    CDSView,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    CustomJSTickFormatter,
    DataRange1d,
    DatetimeTicker,
    IndexFilter,
    Line,
    NumeralTickFormatter,
    Range1d,
    VSpan,
    VStrip,
)
from bokeh.models.annotations import Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from cachetools import LRUCache

from console.feed.minutes import Series, series_of, starts_in
from console.feed.questions import MINUTES_SHOWN
from console.feed.snapshot import FeedSnapshot
from console.straight import Patch, encoded

type EventRows = Mapping[str, Sequence[Any]]
"""Columns of a source, by name: what happened."""

BAR_MS = 60_000 * 0.86

THEN = "then"
"""The column of what is compared with, one value a minute: that of the same minute of yesterday or last week."""


class LiveChart:
    """A plot of the last minutes, a value a minute and column; declared in a file of console/live/, whose name it has.

    `question` is asked at each commit, once for all charts that need it, with :since, the first minute shown, and
    :as_of. `empty` is said where no minute has a figure, with the length that is shown in place of {last}. The card is
    `columns` of twelve wide, by `order` among the others; a chart with `beside` stands on that chart's card. `note` and
    `legend` stand beside the title.
    Pointed at, a minute is told with `digits` decimals, after `unit`.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    title: ClassVar[str]
    question: ClassVar[str]
    empty: ClassVar[str]
    values: ClassVar[tuple[str, ...]]
    """Columns of the source: series, a value a minute."""
    note: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    digits: ClassVar[int] = 0
    legend: ClassVar[tuple[tuple[str, str], ...]] = ()
    columns: ClassVar[int] = 12
    beside: ClassVar[str] = ""
    shows: ClassVar[tuple[str, str]] = ("", "")
    """The KPI table and the column that its values are of: the limits of rules over it are lines across."""
    leads: ClassVar[str] = ""
    """The tab that lists what is behind a minute, which a click on it leads to, with `minutes_behind` brushed."""
    minutes_behind: ClassVar[int] = 1
    parted_by: ClassVar[tuple[str, tuple[str, ...]]] = ("", ())
    """The filter of that tab which the values are parts by, and the value of each."""

    root: figure
    source: ColumnDataSource
    _held: HourRows | None = None

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        """Build `root` on the shared axis `hour`, from `source`, in the colours of `look`."""
        raise NotImplementedError

    @classmethod
    def series(cls, snapshot: FeedSnapshot) -> Mapping[str, Series] | None:
        """The values from the snapshot's answers; None before the first. As it stands: the question's columns, of
        which `moment` is the minute; without a row a minute is zero, or a gap before the shop's first event."""
        return series_from(snapshot, cls.question, cls.values)

    @classmethod
    def rows(cls, starts: Sequence[datetime], series: Mapping[str, Series]) -> dict[str, list[Any]]:
        """What the source holds of the minutes that are shown."""
        return base_rows(starts) | {name: gaps(values) for name, values in series.items()}

    def update(self, starts: Sequence[datetime], series: Mapping[str, Series], patch: Patch | None = None) -> None:
        """Take the values of the minutes that are shown, and send what differs; within `patch`, once there is a
        browser. What is alike for all pages is found once."""
        rows = _rows_once(type(self), starts, series)
        if rows is not self._held:
            hatch_last(self.root, len(starts))
            _changes_once(self._held, rows).make(self.source, patch)
            self._held = rows


def whole_of(columns: Sequence[str], series: Mapping[str, Series]) -> Series:
    """A value a minute, that of all columns together; None where one of them is a gap."""
    rows = zip(*(series[name] for name in columns), strict=True)
    return tuple(None if None in row else sum(value for value in row if value is not None) for row in rows)


def series_from(snapshot: FeedSnapshot, question: str, columns: Sequence[str]) -> Mapping[str, Series] | None:
    """A question's columns by minute, as LiveChart.series says."""
    answer = snapshot.answers.get(question)
    if answer is None:
        return None
    first = min((at for at in snapshot.first_events.values() if at is not None), default=None)
    rows = answer.table.select(["moment", *columns]).to_pylist()

    def values(name: str) -> Series:
        found = {row["moment"]: None if row[name] is None else float(row[name]) for row in rows}
        return series_of(starts_in(answer), found, first, answer.as_of)

    return {name: values(name) for name in columns}


def last_hour() -> Range1d:
    """The time axis that all charts of a session share."""
    return Range1d(start=0, end=3_600_000)


def move(hour: Range1d, starts: Sequence[datetime]) -> None:
    """Let the axis end with the open minute, the last. Costs nothing while that minute lasts."""
    start, end = ms_of(starts[0]), ms_of(starts[-1] + timedelta(minutes=1))
    if (hour.start, hour.end) != (start, end):
        hour.update(start=start, end=end)


def axes(name: str, hour: Range1d, y_format: str = "0[.]0a") -> figure:
    """An empty figure with time below and a scale from zero. Where a figure falls below zero, `reach_down` lets the
    scale begin there."""
    plot = figure(
        name=name,
        x_range=hour,
        y_range=DataRange1d(start=0, range_padding=0.08, only_visible=True),
        sizing_mode="stretch_both",
        toolbar_location=None,
        tools="",
        lod_threshold=None,
        min_border_left=52,
    )
    plot.xgrid.grid_line_color = None
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=6)
    plot.xaxis.formatter = CustomJSTickFormatter(code="return window.tillwatch.clock(tick)")
    plot.yaxis.formatter = NumeralTickFormatter(format=y_format)
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.yaxis.minor_tick_line_color = None
    return plot


class Events:
    """What happened in the hour, behind all live charts of a page: incidents as strips, what people marked as lines;
    and what the charts share when a minute is pointed at: one crosshair, and one set of words (static/tip.js). A click
    leads to what is behind (static/behind.js)."""

    def __init__(self) -> None:
        names = ("start", "end", "color", "words", "incident")
        self.incidents = ColumnDataSource({name: [] for name in names}, name="incidents")
        self.marks = ColumnDataSource({"at": [], "words": []}, name="marks")
        self._crosshair = Span(dimension="height", line_width=1)
        self._pointed = CustomJS(code="window.tillwatch.point(cb_obj)")
        self._left = CustomJS(code="window.tillwatch.point(null)")
        self._tapped = CustomJS(code="window.tillwatch.behind(cb_obj)")

    def behind(self, chart: LiveChart, look: Mapping[str, str], limits: Mapping[str, float]) -> None:
        """Let a chart show them, the line of what it is compared with, and limits by their words, where its scale
        reaches them."""
        plot = chart.root
        strip = VStrip(x0="start", x1="end", fill_color="color", fill_alpha=0.11, line_color="color", line_alpha=0.5)
        plot.add_glyph(self.incidents, strip, level="underlay")
        plot.add_glyph(self.marks, VSpan(x="at", line_color=look["past"], line_dash="dotted"), level="underlay")
        plot.add_glyph(chart.source, Line(x="middle", y=THEN, line_color=look["past"], line_width=1.5))
        for words, limit in limits.items():
            across = Span(
                name=words, dimension="width", location=limit, line_color=look["vermilion"], line_dash="dashed"
            )
            plot.add_layout(across)
        self._crosshair.line_color = look["past"]
        plot.add_tools(CrosshairTool(overlay=self._crosshair, dimensions="height"))
        plot.js_on_event(MouseMove, self._pointed)
        plot.js_on_event(MouseLeave, self._left)
        plot.js_on_event(Tap, self._tapped)

    def show(self, incidents: EventRows, marks: EventRows) -> None:
        """Send what differs."""
        for source, rows in ((self.incidents, incidents), (self.marks, marks)):
            if source.data != rows:
                source.data = {name: list(values) for name, values in rows.items()}


def bars(plot: figure, source: ColumnDataSource, columns: Sequence[str], colours: Sequence[str]) -> None:
    """A bar a minute, the columns stacked; the open minute, which is the last row, is hatched.

    The hatched bars are glyphs of their own: a browser makes a pattern anew for every bar of a hatched glyph at every
    drawing, which was half of what the whole page cost it.
    """
    shared = {"x": "middle", "width": BAR_MS, "source": source, "line_color": None}
    plot.vbar_stack(list(columns), **shared, fill_color=list(colours), fill_alpha="alpha")
    plot.vbar_stack(
        list(columns),
        **shared,
        fill_color=None,
        hatch_pattern=["/"] * len(columns),
        hatch_color=list(colours),
        view=[CDSView(filter=IndexFilter(indices=[MINUTES_SHOWN - 1])) for _ in columns],
    )


def hatch_last(plot: figure, rows: int) -> None:
    """Let the last of so many rows be the hatched one. Sent when it changes."""
    for renderer in plot.renderers:
        view = renderer.view.filter if isinstance(renderer, GlyphRenderer) else None
        if isinstance(view, IndexFilter) and view.indices != [rows - 1]:
            view.indices = [rows - 1]


def reach_down(plot: figure, values: Sequence[float | None]) -> None:
    """Begin the scale at zero, or with some room below the lowest value where that is below. Sent when it changes."""
    lowest = min((value for value in values if value is not None), default=0.0)
    start = min(0.0, lowest * 1.08)
    # Typed as any kind of range, as a figure may have; ours has this.
    if isinstance(plot.y_range, DataRange1d) and plot.y_range.start != start:
        plot.y_range.start = start


@dataclass(frozen=True, eq=False)
class HourRows:
    """Columns of the minutes that are shown, key `minute` in ms; the same object to all who draw them."""

    columns: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class SourcePatch:
    """What brings a source from some rows to others with as little as can be sent.

    New minutes are streamed, and push the oldest out; cells of held minutes that changed are patched. Only a first
    filling, a jump beyond them, or another number of them replaces all.
    """

    after: HourRows
    whole: bool
    patches: Mapping[str, list[tuple[int, Any]]]
    new: Mapping[str, list[Any]]

    def make(self, source: ColumnDataSource, patch: Patch | None) -> None:
        """Bring a source to the rows: its browser's copy by `patch`, where there is one."""
        if self.whole or patch is None:
            source.data = dict(self.after.columns)
            return
        if self.patches:
            patch.patches(source, self._patches_text)
        if self.new:
            patch.streams(source, self._new_text, len(self.after.columns["minute"]))
        # Python's copy, which a browser that comes back is given; shared by all pages.
        dict.update(source.data, self.after.columns)

    @cached_property
    def _patches_text(self) -> str:
        return encoded(dict(self.patches))

    @cached_property
    def _new_text(self) -> str:
        return encoded(dict(self.new))


def changes(before: HourRows | None, after: HourRows) -> SourcePatch:
    """From rows to rows; from none, all."""
    wanted = after.columns["minute"]
    held = before.columns["minute"] if before is not None else ()
    if before is None or held[-1] < wanted[0] or held[0] > wanted[0] or len(held) != len(wanted):
        return SourcePatch(after, whole=True, patches={}, new={})
    at = {minute: index for index, minute in enumerate(held)}
    patches: dict[str, list[tuple[int, Any]]] = {}
    for name, values in after.columns.items():
        known = before.columns[name]
        changed = [
            (at[minute], value)
            for minute, value in zip(wanted, values, strict=True)
            if minute in at and not _same(known[at[minute]], value)
        ]
        if changed:
            patches[name] = changed
    new = [index for index, minute in enumerate(wanted) if minute > held[-1]]
    rows = {name: [values[index] for index in new] for name, values in after.columns.items()} if new else {}
    return SourcePatch(after, whole=False, patches=patches, new=rows)


# Pages look at the same snapshot, and mostly at each one: the first pays. Known by identity, which what is kept holds.
_rows: LRUCache[tuple[type[LiveChart], int], tuple[Mapping[str, Series], HourRows]] = LRUCache(64)
_found: LRUCache[tuple[int, int], tuple[HourRows | None, HourRows, SourcePatch]] = LRUCache(64)


def _rows_once(kind: type[LiveChart], starts: Sequence[datetime], series: Mapping[str, Series]) -> HourRows:
    key = (kind, id(series))
    if key not in _rows:
        # Tuples: what a browser claims to have changed in its source changes nothing that others are shown.
        columns = {name: tuple(values) for name, values in kind.rows(starts, series).items()}
        _rows[key] = series, HourRows(columns)
    return _rows[key][1]


def _changes_once(before: HourRows | None, after: HourRows) -> SourcePatch:
    key = (id(before), id(after))
    if key not in _found:
        _found[key] = before, after, changes(before, after)
    return _found[key][2]


def base_rows(starts: Sequence[datetime]) -> dict[str, list[Any]]:
    """Minute (ms since the epoch, left edge), its middle, the paleness that sets the open minute apart, and nothing
    that it is compared with."""
    left = [ms_of(start) for start in starts]
    return {
        "minute": left,
        "middle": [start + 30_000 for start in left],
        "alpha": [1.0] * (len(left) - 1) + [0.35],
        THEN: [float("nan")] * len(left),
    }


def empty_source(*columns: str) -> ColumnDataSource:
    return ColumnDataSource({name: [] for name in ("minute", "middle", "alpha", THEN, *columns)})


def gaps(values: Sequence[float | None]) -> list[float]:
    """Gaps as NaN: Bokeh draws nothing there, and no line through it."""
    return [float("nan") if value is None else value for value in values]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def ms_of(moment: Any) -> int:
    """Milliseconds since the epoch, as sources hold times."""
    return int(moment.timestamp() * 1000)
