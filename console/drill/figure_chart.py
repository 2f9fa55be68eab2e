"""How figures of an incident go, minute by minute, below each other on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import holoviews as hv
import pandas as pd
from bokeh.models import Range1d
from bokeh.themes import Theme
from holoviews import streams

from console.drill.charts import naive, pane_of, tidy
from console.drill.pointed import Pointed, held_columns

MINUTE = timedelta(minutes=1)
LEFT = 52
"""Pixels for the numbers beside an axis."""


@dataclass(frozen=True)
class FigureBars:
    """A value of each minute from `first` on, None where nobody knows it; what is before `since` is drawn pale, and
    [since, until), while it fires, is shaded.

    axis: the times that are shown. limit and usual are lines across, None for none; bar, line and dashes are colours.
    """

    first: datetime
    since: datetime
    until: datetime
    axis: tuple[datetime, datetime]
    values: Sequence[float | None]
    limit: float | None
    usual: float | None
    unit: str
    bar: str
    line: str
    dashes: str

    def frame(self) -> pd.DataFrame:
        """One row a minute whose value is known: start, bottom, end, top, n, alpha. Times naive UTC."""
        starts = [(self.first + place * MINUTE, value) for place, value in enumerate(self.values)]
        rows = [
            (naive(start), min(0.0, value), naive(start + 0.9 * MINUTE), max(0.0, value), value,
             1.0 if start >= self.since else 0.4)
            for start, value in starts
            if value is not None
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["start", "bottom", "end", "top", "n", "alpha"])


class SharedAxis(Pointed):
    """The time axis that several charts of a page have in common, and the line on it."""

    def __init__(self) -> None:
        super().__init__()
        self.range = Range1d()

    def on_axis(self, figure: Any, colour: str) -> None:
        """Let a chart be on it."""
        self.line.line_color = colour
        # HoloViews sets its own at each drawing; one below the other, the charts begin at the same place.
        figure.min_border_left = LEFT
        if figure.x_range is not self.range:
            figure.x_range = self.range


class FigureChart:
    """Bars over minutes between two lines, on an axis that is shared."""

    def __init__(self, data: FigureBars, theme: Theme, axis: SharedAxis) -> None:
        self._data, self._axis = data, axis
        self._pipe = streams.Pipe(data=data)
        layers = (_draw_firing, _draw_figure, _draw_limit, _draw_usual)
        drawn = [hv.DynamicMap(layer, streams=[self._pipe]) for layer in layers]
        hooks = [tidy, self._join]
        self.pane = pane_of(hv.Overlay(drawn).collate().opts(hv.opts.Overlay(responsive=True, hooks=hooks)), theme)

    def send(self, data: FigureBars) -> None:
        self._data = data
        self._pipe.send(data)

    def _join(self, plot: Any, _element: Any) -> None:
        self._axis.join(plot.state, self._data.unit, "0,0.[00]")
        self._axis.on_axis(plot.state, self._data.dashes)
        # What HoloViews sets at each drawing is the range that it made itself.
        self._axis.range.update(**dict(zip(("start", "end"), map(naive, self._data.axis), strict=True)))


def _draw_firing(data: FigureBars) -> hv.VSpans:
    return hv.VSpans([(naive(data.since), naive(data.until))]).opts(color=data.dashes, alpha=0.12, line_width=0)


def _draw_figure(data: FigureBars) -> hv.Rectangles:
    known = [0.0, *(value for value in (*data.values, data.limit, data.usual) if value is not None)]
    return hv.Rectangles(data.frame(), ["start", "bottom", "end", "top"], ["n", "alpha"]).opts(
        color=data.bar,
        alpha="alpha",
        line_width=0,
        tools=[held_columns()],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=(naive(data.axis[0]), naive(data.axis[1])),
        ylim=(1.08 * min(known), 1.08 * max(known) or 1.0),
        framewise=True,
    )


def _draw_limit(data: FigureBars) -> hv.HLines:
    return hv.HLines([] if data.limit is None else [data.limit]).opts(color=data.line, line_width=2)


def _draw_usual(data: FigureBars) -> hv.HLines:
    usual = [] if data.usual is None else [data.usual]
    return hv.HLines(usual).opts(color=data.dashes, line_width=2, line_dash="dashed")
