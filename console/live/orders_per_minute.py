from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Series, minutes_of
from console.feed.snapshot import FeedSnapshot
from console.live_chart import LiveChart, axes, bars, empty_source


class OrdersPerMinute(LiveChart):
    """Counted orders per minute (count) over the last minutes; the open minute hatched."""

    order = 11
    title = "Orders per minute"
    note = "the open minute is hatched"
    question = "minutes"
    shows = ("orders_revenue_per_minute", "orders_count")
    empty = "No order in the last {last}."
    values = ("orders",)
    leads = "orders"
    beside = "revenue_per_minute"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("orders")
        self.root = axes(self.name, hour)
        bars(self.root, self.source, ["orders"], [look["sky"]])

    @classmethod
    def series(cls, snapshot: FeedSnapshot) -> Mapping[str, Series] | None:
        minutes = minutes_of(snapshot)
        return None if minutes is None else {"orders": minutes.orders}
