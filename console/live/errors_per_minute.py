from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.feed.minutes import Minutes
from console.live.chart import axes, bars, base_rows, empty_source, follow, gaps
from console.url import SEVERITIES


class ErrorsPerMinute:
    """Errors per minute (count) over the last hour, stacked by severity, the worst at the bottom."""

    name = "errors_per_minute"

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        # The worst stands on the axis, where its height can be read.
        stacked = [severity.lower() for severity in reversed(SEVERITIES)]
        self.source = empty_source(*stacked)
        self.root = axes(self.name, hour, [(name, f"@{name}{{0,0}}") for name in stacked])
        bars(self.root, self.source, stacked, [look[f"severity-{name}"] for name in stacked])

    def update(self, minutes: Minutes) -> None:
        series = {severity.lower(): gaps(values) for severity, values in minutes.errors.items()}
        follow(self.source, base_rows(minutes) | series)
