from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Minutes
from console.live.chart import axes, bars, base_rows, empty_source, follow, gaps


class OrdersPerMinute:
    """Counted orders per minute (count) over the last hour; the open minute hatched."""

    name = "orders_per_minute"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("orders")
        self.root = axes(self.name, hour, [("orders", "@orders{0,0}")])
        bars(self.root, self.source, ["orders"], [look["sky"]])

    def update(self, minutes: Minutes) -> None:
        follow(self.source, base_rows(minutes) | {"orders": gaps(minutes.orders)})
