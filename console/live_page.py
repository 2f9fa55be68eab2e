"""The live charts of one page, on one axis, with what happened meanwhile behind them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from console import look
from console.feed.incidents import ListedIncident
from console.feed.snapshot import FeedSnapshot
from console.live_chart import Events, last_hour, move
from console.live_events import incident_rows, limits_of, mark_rows
from console.live_hour import live_hours
from console.on_call.watch import Duty
from console.straight import Patch
from console.tabs import CHARTS
from lakehouse.rules.figure import AlertFigure

logger = logging.getLogger(__name__)


class LivePage:
    """`events` stand behind the charts of boards too."""

    def __init__(self, figures: Mapping[str, AlertFigure]) -> None:
        self._hour = last_hour()
        colours = look.tokens("dark")
        self.charts = [chart(colours, self._hour) for chart in CHARTS.values()]
        self.events = Events()
        for chart in self.charts:
            self.events.behind(chart, colours, limits_of(figures, *chart.shows))

    def draw(self, snapshot: FeedSnapshot, compare: str, last: str, patch: Patch | None) -> Sequence[datetime]:
        """Send what is new of a snapshot. The minutes that are shown; none before the first answer."""
        hours = live_hours(snapshot, compare, last)
        if not hours:
            return ()
        starts = max(hour.starts for hour in hours.values())
        move(self._hour, starts)
        for chart in self.charts:
            try:
                if hour := hours.get(chart.name):
                    chart.update(*hour, patch)
            except Exception:
                # One broken chart must not keep the others from their news.
                logger.exception("%s could not be drawn", chart.name)
        return starts

    def show_events(self, starts: Sequence[datetime], incidents: tuple[ListedIncident, ...], duty: Duty) -> None:
        """Send what happened in these minutes, where that differs."""
        since, until = starts[0], starts[-1] + timedelta(minutes=1)
        self.events.show(incident_rows(incidents, since, until), mark_rows(duty, since, until))
