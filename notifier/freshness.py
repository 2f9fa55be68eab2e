"""Whether alerts can be judged at all: who is told nothing takes that for good news."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from notifier import cursor as cursors
from notifier.clock import Clock, from_ms, to_ms, wall_ms
from notifier.cursor import AlertReader

ASK_EVERY_S = 5.0


class Freshness:
    """Looks how old the data is. `look` is called after each look for commits, `verdict` at any time by any thread.

    limit: from which age on nothing can be judged: rules look at closed minutes of data that comes at least every
    heartbeat. judged_to: the moment that the newest data speaks of, None while it is not known.
    """

    def __init__(
        self,
        reader: AlertReader,
        limit: timedelta,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self.limit = limit
        self._clock = clock
        self._monotonic = monotonic
        self._asked_at: float | None = None
        self._answered_at = monotonic()
        self._head: str | None = None
        self.judged_to: datetime | None = None
        self._failed: str | None = "not asked yet"
        self.error: str | None = None

    def look(self, error: str | None) -> None:
        """Ask how old the data is. error: why the look for commits failed, None where it did not."""
        now = self._monotonic()
        if error is None and (self._asked_at is None or now - self._asked_at >= ASK_EVERY_S):
            self._asked_at = now
            head = self._reader.head()
            if head != self._head and cursors.something_published(head):
                self.judged_to = cursors.as_of(self._reader, head) or self.judged_to
                self._head = head
        if error is None:
            self._answered_at = now
        self._failed = error

    def verdict(self) -> bool | None:
        """Whether alerts can be judged; None while that is not known."""
        silent_s = self._monotonic() - self._answered_at
        age_s = silent_s if self.judged_to is None else (self._clock() - to_ms(self.judged_to)) / 1000
        limit_s = self.limit.total_seconds()
        if silent_s <= limit_s and age_s <= limit_s:
            self.error = None
            # At a start nothing is known until the data has answered: no news must not pass for good news.
            return True if self._failed is None else None
        if self._failed is not None and silent_s > limit_s:
            self.error = f"The data does not answer: {self._failed}"
        else:
            self.error = "Ingest is down, or cannot read: nothing new is published."
        return False

    @property
    def since(self) -> datetime:
        """Since when nothing is judged."""
        return self.judged_to or from_ms(self._clock())
