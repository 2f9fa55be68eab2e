"""The drill-down's cells over time: how much there was of each name, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import holoviews as hv
import pandas as pd
from bokeh.models import FixedTicker
from bokeh.themes import Theme

from console.drill.charts import FEWEST, LABEL_LETTERS, TOLD_LETTERS, TapChart, axis_of, bar_start, naive, tidy_times
from console.drill.pointed import OverTime, Pointed, held_columns
from console.feed.numbers import exactly
from console.view import Span
from lakehouse.texts import label

FAINTEST = 0.35
"""The opacity of a cell with next to nothing: less, and one could not tell its colour."""


@dataclass(frozen=True)
class HeatCells:
    """How much there was of each of `names`, which stand below each other, in each step of a time axis.

    `counts` maps (start of a step, name) to its number; a cell is the more opaque the more there was. `made_of` says of
    a cell how much there was of which part; it has the colour of the first of `parts` that is in it, else `color`.
    """

    counts: Mapping[tuple[datetime, str], float]
    names: Sequence[str]
    width: timedelta
    span: Span
    unit: str
    color: str
    parts: Mapping[str, str] = field(default_factory=dict)
    made_of: Mapping[tuple[datetime, str], Mapping[str, float]] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """One row a cell: start, bottom, end, top, name, n, made_of (words), color, alpha, closes, choice; and one
        without a number for each name, so that all are there. Times naive UTC."""
        places = {name: len(self.names) - 1 - place for place, name in enumerate(self.names)}
        most = max((count for (_, name), count in self.counts.items() if name in places), default=0.0) or 1.0
        first = naive(self.span[0])
        rows: list[tuple[Any, ...]] = [
            (
                first, places[name] + 0.06, first, places[name] + 0.94, label(name, TOLD_LETTERS), 0.0, "", self.color,
                0.0, first, name,
            )
            for name in self.names
        ]  # fmt: skip
        for (start, name), count in sorted(self.counts.items()):
            if name in places and count:
                words, color = self._said(start, name)
                closes = naive(start + self.width)
                end, alpha = naive(start + self.width * 0.94), FAINTEST + (1 - FAINTEST) * (count / most) ** 0.5
                bottom, top = places[name] + 0.06, places[name] + 0.94
                said = label(name, TOLD_LETTERS)
                rows.append((naive(start), bottom, end, top, said, count, words, color, alpha, closes, name))
        columns = ["start", "bottom", "end", "top", "name", "n", "made_of", "color", "alpha", "closes", "choice"]
        return pd.DataFrame(rows, columns=columns)

    def _said(self, start: datetime, name: str) -> tuple[str, str]:
        """What is in a cell, in words, and its colour."""
        parts = self.made_of.get((start, name), {})
        found = {part: parts[part] for part in self.parts if parts.get(part)}
        words = ", ".join(f"{part} {exactly(round(count, 3))}" for part, count in found.items())
        return words, self.parts[next(iter(found))] if found else self.color

    def at(self, x: object, y: object) -> tuple[str, Span | None] | None:
        """The name whose line a place is in, and the time of the cell there, if there is one; x is naive UTC, or ms."""
        if not isinstance(y, int | float) or not 0 <= y < len(self.names):
            return None
        name = self.names[len(self.names) - 1 - int(y)]
        moment = pd.Timestamp(x, unit="ms" if isinstance(x, int | float) else None)  # type: ignore[arg-type]  # a time
        at = moment.to_pydatetime().replace(tzinfo=UTC)
        start = bar_start(at, self.width)
        return name, (start, start + self.width) if self.counts.get((start, name)) else None


class HeatChart(TapChart[HeatCells], OverTime):
    """Cells of a time axis, a line a name; `on_tap` gets the name whose line was clicked, and the time of the cell, if
    there is one."""

    def __init__(self, cells: HeatCells, theme: Theme, on_tap: Callable[[str, Span | None], None]) -> None:
        hooks = [_tidy_heat, lambda plot, _element: self.pointed_by(plot, self.data.unit)]
        super().__init__(cells, lambda data: _draw_heat(data).opts(hooks=hooks), theme)
        self.pointed = Pointed()
        self._on_tap = on_tap

    def tapped(self, x: object, y: object) -> None:
        found = self.data.at(x, y)
        if found is not None:
            self._on_tap(*found)


def _draw_heat(data: HeatCells) -> hv.Rectangles:
    frame = data.frame()
    return hv.Rectangles(frame, list(frame.columns[:4]), list(frame.columns[4:])).opts(
        color="color",
        alpha="alpha",
        line_width=0,
        tools=[held_columns()],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=axis_of(data.span, data.width),
        # A name alone is a line too, not a slab.
        ylim=(len(data.names) - max(FEWEST, len(data.names)), len(data.names)),
        responsive=True,
        framewise=True,
    )


def _tidy_heat(plot: Any, element: Any) -> None:
    figure = plot.state
    if tidy_times(figure):
        figure.ygrid.grid_line_color = None
    places = zip(element.dimension_values("name"), element.dimension_values("bottom"), strict=True)
    names = {int(bottom) + 0.5: label(name, LABEL_LETTERS) for name, bottom in places}
    figure.yaxis[0].ticker = FixedTicker(ticks=sorted(names))
    figure.yaxis[0].major_label_overrides = names
