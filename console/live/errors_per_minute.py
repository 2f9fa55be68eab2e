from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.choices import FAILURES
from console.feed.minutes import Series, minutes_of
from console.feed.snapshot import FeedSnapshot
from console.live_chart import LiveChart, axes, bars, empty_source
from console.look import colour


class ErrorsPerMinute(LiveChart):
    """ERROR and FATAL per minute (count) over the last minutes, stacked, the worst at the bottom."""

    order = 30
    title = "Errors per minute"
    legend = tuple(("severity", severity) for severity in reversed(FAILURES))
    question = "minutes"
    shows = ("errors_per_minute", "error_count")
    empty = "No error reported in the last {last}."
    # The worst stands on the axis, where its height can be read.
    values = tuple(severity.lower() for severity in reversed(FAILURES))
    columns = 6
    leads = "errors"
    parted_by = ("severity", tuple(reversed(FAILURES)))

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source(*self.values)
        self.root = axes(self.name, hour)
        bars(self.root, self.source, self.values, [colour(look, "severity", name) for name in self.values])

    @classmethod
    def series(cls, snapshot: FeedSnapshot) -> Mapping[str, Series] | None:
        minutes = minutes_of(snapshot)
        return None if minutes is None else {severity.lower(): minutes.errors[severity] for severity in FAILURES}
