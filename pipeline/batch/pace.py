"""How soon after a publish the next one may begin."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

LOW_RATE = 50
"""Events a second below which publishes come less often: what nobody waits for is not worth twice the work."""
SLOWER = 1.5
_OVER_S = 10.0  # that the rate is the mean of


class Pace:
    """Seconds from one publish's begin to the next one's, by how many events came of late."""

    def __init__(self, publish_every: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = publish_every.total_seconds()
        self._clock = clock
        self._began: deque[tuple[float, int]] = deque()

    def note(self, began: float, events: int) -> None:
        """A publish that began then (by the clock) held so many events."""
        self._began.append((began, events))

    @property
    def every_s(self) -> float:
        """Seconds between the begins of two publishes now."""
        since = self._clock() - _OVER_S
        while self._began and self._began[0][0] < since:
            self._began.popleft()
        slow = sum(events for _, events in self._began) < LOW_RATE * _OVER_S
        return self._every_s * (SLOWER if slow else 1)
