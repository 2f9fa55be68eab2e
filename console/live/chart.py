"""What the live charts share: an axis of the last hour, and a source that follows the minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJSHover,
    CustomJSTickFormatter,
    DataRange1d,
    DatetimeTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from console.feed.minutes import Minutes

BAR_MS = 60_000 * 0.86
OPEN_HATCH = "/"
CLOSED_HATCH = " "


class Chart(Protocol):
    """A plot of the Overview. `update` takes the sixty minutes of a snapshot, and sends what differs."""

    name: str
    root: figure
    source: ColumnDataSource

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None: ...

    def update(self, minutes: Minutes) -> None: ...


def last_hour() -> Range1d:
    """The time axis that all charts of a session share."""
    return Range1d(start=0, end=3_600_000)


def move(hour: Range1d, minutes: Minutes) -> None:
    """Let the axis end with the open minute. Costs nothing while that minute lasts."""
    start, end = _ms(minutes.starts[0]), _ms(minutes.starts[-1] + timedelta(minutes=1))
    if hour.end != end:
        hour.update(start=start, end=end)


def axes(name: str, hour: Range1d, tooltips: Sequence[tuple[str, str]], y_format: str = "0[.]0a") -> figure:
    """An empty figure with time below and a scale from zero, whose hover names the minute in the viewer's zone."""
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
    minute = CustomJSHover(code="return window.tillwatch.clock(value, true)")
    plot.add_tools(
        HoverTool(
            tooltips=[("minute", "@minute{custom}"), *tooltips],
            formatters={"@minute": minute},
            mode="vline",
            point_policy="snap_to_data",
        )
    )
    return plot


def follow(source: ColumnDataSource, rows: Mapping[str, Sequence[Any]]) -> None:
    """Bring a source to `rows` (60 minutes, key `minute` in ms) with as little as can be sent.

    New minutes are streamed, and push the oldest out; cells of held minutes that changed are patched. Only a first
    filling, or a jump of an hour, replaces all.
    """
    held = list(source.data["minute"])
    wanted = rows["minute"]
    if not held or held[-1] < wanted[0] or held[0] > wanted[0] or len(held) != len(wanted):
        source.data = {name: list(values) for name, values in rows.items()}
        return
    at = {minute: index for index, minute in enumerate(held)}
    patches: dict[str, list[tuple[int, Any]]] = {}
    for name, values in rows.items():
        before = source.data[name]
        changed = [
            (at[minute], value)
            for minute, value in zip(wanted, values, strict=True)
            if minute in at and not _same(before[at[minute]], value)
        ]
        if changed:
            patches[name] = changed
    if patches:
        source.patch(patches)
    new = [index for index, minute in enumerate(wanted) if minute > held[-1]]
    if new:
        source.stream({name: [values[index] for index in new] for name, values in rows.items()}, rollover=len(wanted))


def base_rows(minutes: Minutes) -> dict[str, list[Any]]:
    """Minute (ms since the epoch, left edge), its middle, and the hatch that sets the open minute apart."""
    starts = [_ms(start) for start in minutes.starts]
    return {
        "minute": starts,
        "middle": [start + 30_000 for start in starts],
        "hatch": [CLOSED_HATCH] * (len(starts) - 1) + [OPEN_HATCH],
        "alpha": [1.0] * (len(starts) - 1) + [0.35],
    }


def empty_source(*columns: str) -> ColumnDataSource:
    return ColumnDataSource({name: [] for name in ("minute", "middle", "hatch", "alpha", *columns)})


def gaps(values: Sequence[float | None]) -> list[float]:
    """Gaps as NaN: Bokeh draws nothing there, and no line through it."""
    return [float("nan") if value is None else value for value in values]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
