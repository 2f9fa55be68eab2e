"""Times of the log beside this machine's clock. Which of the two is wrong nobody can tell: it is said, and nothing that
is judged by time takes one that lies ahead."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

logger = logging.getLogger("tillwatch.clock")

CLOCK_SLACK = timedelta(seconds=60)
"""Two clocks that differ by more are worth a word."""
SHOWN = timedelta(hours=1)
"""How long readers show that a clock was ahead."""


class ClockAhead:
    """The most (s) by which a topic's log times lay ahead of the time they were read at, since it was last reported."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}
        self._went_back = False

    def note(self, topic: str, messages: int, ahead: timedelta) -> None:
        """Messages of a batch whose log time lay over CLOCK_SLACK ahead, the worst of them by `ahead`."""
        seconds = ahead.total_seconds()
        if topic not in self._most:
            logger.warning(
                "%s; they count as received when they were read. Set right the clock of what writes the log, or this "
                "one.",
                _words(messages, topic, seconds),
            )
        self._most[topic] = max(seconds, self._most.get(topic, 0.0))

    def ingested_at(self, now: datetime, newest: datetime) -> datetime:
        """The time of a publish after one at `newest`: it never goes back, and where the clock did this is said."""
        if newest - now > CLOCK_SLACK and not self._went_back:
            self._went_back = True
            logger.warning(
                "this machine's clock went back from %s to %s UTC; until it is there again, rows have the first of the "
                "two as ingested_at, and a start is refused.",
                f"{newest:%Y-%m-%d %H:%M:%S}",
                f"{now:%Y-%m-%d %H:%M:%S}",
            )
        return max(now, newest)

    def figures(self) -> list[tuple[str, str, float]]:
        """(topic, metric, value) as a row of pipeline_metrics has them."""
        return [(topic, "clock_ahead_seconds", seconds) for topic, seconds in self._most.items()]

    def clear(self) -> None:
        """It was reported."""
        self._most.clear()
        self._went_back = False


def clock_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the answer to `clock_ahead` says, for people; nothing where no clock was ahead."""
    told = sorted((row for row in rows if row["messages"]), key=lambda row: -float(row["ahead_s"]))
    if not told:
        return ""
    topics = ", ".join(row["topic"] for row in told)
    return f"in the last hour {_words(sum(row['messages'] for row in told), topics, told[0]['ahead_s'])}"


def _words(messages: float, topics: str, seconds: float) -> str:
    span = f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
    many = f"{messages:,.0f} message{'' if messages == 1 else 's'}"
    return f"{many} of {topics} had a log time up to {span} ahead of ingest's clock"
