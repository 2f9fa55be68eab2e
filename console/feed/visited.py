"""A feed for pages that fetch: it asks only when somebody comes, and once for all who come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from console.feed.hub import Hub
from console.feed.poller import Poller
from console.feed.questions import TabQuestions
from console.feed.snapshot import AsksDremio, FeedSnapshot
from lakehouse.kpis import Counting

PATIENCE_S = 5.0
"""How long a visitor waits for an answer before the last good one has to do."""


class Visited:
    """The newest snapshot of one tab's questions, at most `refresh_s` old for the first who comes then.

    One a process, shared by all threads. Without visitors Dremio is not asked; with any number of them once in
    `refresh_s`. A failure keeps the last good answers, as the console's poller does, for it is that poller.
    """

    present = True

    def __init__(
        self,
        dremio: AsksDremio,
        *,
        tab: str,
        questions: TabQuestions,
        refresh_s: float,
        counting: Counting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watches = tab
        self._clock = clock
        # Visitors' own timers are a little early at times: that must not cost them a whole turn.
        self._fresh_s = 0.9 * refresh_s
        self._hub = Hub()
        self._hub.join(self)
        self._poller = Poller(
            dremio,
            self._hub,
            tabs={tab: questions},
            refresh_s=refresh_s,
            idle_refresh_s=refresh_s,
            counting=counting,
            clock=clock,
        )
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._answered = threading.Event()
        self._answered.set()

    def wake(self) -> None:
        """Nothing: visitors come by themselves."""

    def snapshot(self) -> FeedSnapshot:
        """The snapshot to show now. Waits PATIENCE_S at most, then gives the last one."""
        with self._lock:
            now = self._clock()
            if self._answered.is_set() and now - self._asked_at >= self._fresh_s:
                self._asked_at = now
                self._answered.clear()
                threading.Thread(target=self._ask, name="visited", daemon=True).start()
        self._answered.wait(PATIENCE_S)
        return self._hub.snapshot

    def _ask(self) -> None:
        try:
            self._poller.poll()
        finally:
            self._answered.set()
