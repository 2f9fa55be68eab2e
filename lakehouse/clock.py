"""Times of the log beside this machine's clock, which of the two is wrong nobody can tell."""

from __future__ import annotations

import logging
from datetime import timedelta

logger = logging.getLogger("tillwatch.clock")

CLOCK_SLACK = timedelta(seconds=60)
"""Two clocks that differ by more are worth a word."""


class ClockAhead:
    """The most (s) by which a topic's log times lay ahead of the time they were read at, since it was last reported."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}

    def note(self, topic: str, messages: int, ahead: timedelta) -> None:
        """Messages of a batch whose log time lay over CLOCK_SLACK ahead, the worst of them by `ahead`."""
        if topic not in self._most:
            logger.warning(
                "%s: %d messages have a log time up to %s ahead of this machine's clock; they are taken as received "
                "when they are read. Set right the clock of what writes the log, or this one.",
                topic,
                messages,
                ahead - timedelta(microseconds=ahead.microseconds),
            )
        self._most[topic] = max(ahead.total_seconds(), self._most.get(topic, 0.0))

    def figures(self) -> list[tuple[str, str, float]]:
        """(topic, metric, value) as a row of pipeline_metrics has them."""
        return [(topic, "clock_ahead_seconds", seconds) for topic, seconds in self._most.items()]

    def clear(self) -> None:
        """It was reported."""
        self._most.clear()
