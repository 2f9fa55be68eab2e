from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Minutes
from console.live.chart import BAR_MS, axes, base_rows, empty_source, follow, gaps


class RevenuePerMinute:
    """Revenue of counted orders per minute (the shop's currency) over the last hour; the open minute hatched."""

    name = "revenue_per_minute"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("revenue")
        self.root = axes(self.name, hour, [("revenue", "@revenue{0,0.00}")])
        self.root.vbar(
            x="middle",
            top="revenue",
            width=BAR_MS,
            source=self.source,
            fill_color=look["blue"],
            fill_alpha="alpha",
            line_color=None,
            hatch_pattern="hatch",
            hatch_color=look["blue"],
        )

    def update(self, minutes: Minutes) -> None:
        follow(self.source, base_rows(minutes) | {"revenue": gaps(minutes.revenue)})
