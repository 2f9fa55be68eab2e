"""The drill-down's cells over time: how much there was of each name, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import holoviews as hv
import pandas as pd
from bokeh.models import FixedTicker
from bokeh.themes import Theme
from holoviews import streams

from console.drill.charts import FEWEST, LABEL_LETTERS, axis_of, hover_of, naive, pane_of, tidy_times
from console.view import Span
from lakehouse.texts import label


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
        first = naive(self.span[0])
        rows = [(first, places[name] + 0.06, first, places[name] + 0.94, name, 0.0, 0.0) for name in self.names]
        rows += [
            (naive(start), places[name] + 0.06, naive(start + self.width * 0.94), places[name] + 0.94, name, count,
             0.15 + 0.85 * (count / most) ** 0.5)
            for (start, name), count in sorted(self.counts.items())
            if name in places and count
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["start", "bottom", "end", "top", "name", "n", "alpha"])


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
        xlim=axis_of(data.span, data.width),
        # A name alone is a line too, not a slab.
        ylim=(len(data.names) - max(FEWEST, len(data.names)), len(data.names)),
        responsive=True,
        framewise=True,
        hooks=[_tidy_heat],
    )


def _tidy_heat(plot: Any, element: Any) -> None:
    figure = plot.state
    if tidy_times(figure):
        figure.ygrid.grid_line_color = None
    places = zip(element.dimension_values("name"), element.dimension_values("bottom"), strict=True)
    names = {int(bottom) + 0.5: label(name, LABEL_LETTERS) for name, bottom in places}
    figure.yaxis[0].ticker = FixedTicker(ticks=sorted(names))
    figure.yaxis[0].major_label_overrides = names
