"""Steps below each other, each a bar of parts: how many took it, and who they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import pandas as pd
from bokeh.models import FixedTicker, NumeralTickFormatter
from bokeh.themes import Theme

from console.drill.charts import TapChart, hover_of


@dataclass(frozen=True)
class Stages:
    """`steps` map a step's name to its words and to how many of each part took it, the first on top; `parts` map a part
    to its colour. Steps that are chosen stand out; with none chosen, all do."""

    steps: Mapping[str, tuple[str, Mapping[str, float]]]
    parts: Mapping[str, str]
    chosen: Collection[str]
    unit: str

    def words(self) -> Sequence[str]:
        return [words for words, _ in self.steps.values()]

    def frame(self) -> pd.DataFrame:
        """One row a rectangle: left, bottom, right, top, step, part, n, color, alpha, choice."""
        rows = []
        for place, (step, (words, counts)) in enumerate(self.steps.items()):
            left, bottom = 0.0, len(self.steps) - 1 - place + 0.1
            alpha = 1.0 if step in self.chosen or not self.chosen else 0.35
            for part, color in self.parts.items():
                count = counts.get(part, 0.0)
                rows.append((left, bottom, left + count, bottom + 0.8, words, part, count, color, alpha, step))
                left += count
        columns = ["left", "bottom", "right", "top", "step", "part", "n", "color", "alpha", "choice"]
        return pd.DataFrame(rows, columns=columns)


class StagesChart(TapChart[Stages]):
    """`on_tap` gets the name of the step whose line was clicked."""

    def __init__(self, stages: Stages, theme: Theme, on_tap: Callable[[str], None]) -> None:
        super().__init__(stages, _draw, theme)
        self._on_tap = on_tap

    def tapped(self, x: object, y: object) -> None:
        names = list(self.data.steps)
        if isinstance(y, int | float) and 0 <= y < len(names):
            self._on_tap(names[len(names) - 1 - int(y)])


def _draw(data: Stages) -> hv.Rectangles:
    hover = hover_of(["@step", f"@part: @n{{0,0}} {data.unit}"])
    most = max((sum(counts.values()) for _, counts in data.steps.values()), default=0.0)

    def tidy(plot: Any, _element: Any) -> None:
        figure = plot.state
        figure.ygrid.grid_line_color = None
        figure.xaxis[0].formatter = NumeralTickFormatter(format="0[.]0a")
        figure.xaxis[0].ticker.desired_num_ticks = 4
        names = {len(data.steps) - 1 - place + 0.5: words for place, words in enumerate(data.words())}
        figure.yaxis[0].ticker = FixedTicker(ticks=sorted(names))
        figure.yaxis[0].major_label_overrides = names

    frame = data.frame()
    return hv.Rectangles(frame, ["left", "bottom", "right", "top"], list(frame.columns[4:])).opts(
        color="color",
        alpha="alpha",
        line_width=0,
        tools=[hover],
        default_tools=[],
        toolbar=None,
        xlabel="",
        ylabel="",
        xlim=(0, 1.04 * most or 1.0),
        ylim=(0, max(1, len(data.steps))),
        responsive=True,
        framewise=True,
        hooks=[tidy],
    )
