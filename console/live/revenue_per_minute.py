from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bokeh.models import Range1d

from console.feed.minutes import Series, minutes_of
from console.feed.snapshot import FeedSnapshot
from console.live_chart import THEN, LiveChart, axes, bars, empty_source, reach_down
from console.straight import Patch


class RevenuePerMinute(LiveChart):
    """Revenue of counted orders per minute (the shop's currency) over the last minutes; the open minute hatched.

    A minute may lie below zero: an order's own total is taken as it is given.
    """

    order = 10
    note = "{currency}"
    unit = "{currency}"
    digits = 2
    title = "Revenue per minute"
    question = "minutes"
    shows = ("orders_revenue_per_minute", "total_revenue")
    empty = "No revenue in the last {last}."
    values = ("revenue",)
    columns = 9
    leads = "orders"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("revenue")
        self.root = axes(self.name, hour)
        bars(self.root, self.source, ["revenue"], [look["blue"]])

    @classmethod
    def series(cls, snapshot: FeedSnapshot) -> Mapping[str, Series] | None:
        minutes = minutes_of(snapshot)
        return None if minutes is None else {"revenue": minutes.revenue}

    def update(self, starts: Sequence[datetime], series: Mapping[str, Series], patch: Patch | None = None) -> None:
        reach_down(self.root, (*series["revenue"], *series.get(THEN, ())))
        super().update(starts, series, patch)
