from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bokeh.models import Range1d

from console.feed.minutes import Series, minutes_of
from console.feed.snapshot import FeedSnapshot
from console.live_chart import LiveChart, axes, empty_source


class ActiveUsers(LiveChart):
    """Distinct users with a click in the five minutes before each minute's end (count) over the last minutes.

    The open minute has none yet: the line ends at the last closed one.
    """

    order = 40
    title = "Active users"
    note = "in 5 min"
    question = "minutes"
    shows = ("active_users_per_window", "active_users")
    empty = "Nobody clicked in the last {last}."
    values = ("users",)
    columns = 6
    leads = "customers"
    minutes_behind = 5

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("users", "closes")
        self.root = axes(self.name, hour)
        self.root.line(x="closes", y="users", source=self.source, line_color=look["green"], line_width=2)
        self.root.scatter(x="closes", y="users", source=self.source, size=4, fill_color=look["green"], line_color=None)

    @classmethod
    def series(cls, snapshot: FeedSnapshot) -> Mapping[str, Series] | None:
        minutes = minutes_of(snapshot)
        return None if minutes is None else {"users": minutes.users}

    @classmethod
    def rows(cls, starts: Sequence[datetime], series: Mapping[str, Series]) -> dict[str, list[Any]]:
        rows = super().rows(starts, series)
        return rows | {"closes": [start + 60_000 for start in rows["minute"]]}
