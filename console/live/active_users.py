from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Minutes
from console.live.chart import axes, base_rows, empty_source, follow, gaps


class ActiveUsers:
    """Distinct users with a click in the five minutes before each minute's end (count) over the last hour.

    The open minute has none yet: the line ends at the last closed one.
    """

    name = "active_users"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("users", "closes")
        self.root = axes(self.name, hour, [("users", "@users{0,0}")])
        self.root.line(x="closes", y="users", source=self.source, line_color=look["green"], line_width=2)
        self.root.scatter(x="closes", y="users", source=self.source, size=4, fill_color=look["green"], line_color=None)

    def update(self, minutes: Minutes) -> None:
        rows = base_rows(minutes)
        rows["closes"] = [start + 60_000 for start in rows["minute"]]
        follow(self.source, rows | {"users": gaps(minutes.users)})
