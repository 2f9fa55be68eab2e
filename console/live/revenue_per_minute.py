from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Minutes
from console.live.chart import axes, bars, base_rows, empty_source, follow, gaps, reach_down


class RevenuePerMinute:
    """Revenue of counted orders per minute (the shop's currency) over the last hour; the open minute hatched.

    A minute may lie below zero: an order's own total is taken as it is given.
    """

    name = "revenue_per_minute"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("revenue")
        self.root = axes(self.name, hour, [("revenue", "@revenue{0,0.00}")])
        bars(self.root, self.source, ["revenue"], [look["blue"]])

    def update(self, minutes: Minutes) -> None:
        reach_down(self.root, minutes.revenue)
        follow(self.source, base_rows(minutes) | {"revenue": gaps(minutes.revenue)})
