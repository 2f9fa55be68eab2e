"""Whether the daemon works, judged by a monotonic clock: the timer may run on while nothing is done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("notifier")

HUNG_S = 60.0
"""A look for commits that does not move on for longer hangs: each of its calls has a shorter time limit."""
EXIT_AFTER_S = 60.0
"""So much later the process ends, for its supervisor to start it again."""


class Health:
    """Stamps of the looks for commits, and whether the data's door answers."""

    def __init__(self, poll_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._poll_s = poll_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began: float | None = None
        self._ended = monotonic()
        self._down_since: float | None = None
        self.data_error: str | None = "not asked yet"
        self.looked = False
        """Whether a look has ended since the start."""

    def began(self) -> None:
        with self._lock:
            self._began = self._monotonic()

    def moved_on(self) -> None:
        """The look goes on: an answer came, or a batch is planned. However much is new, it does not hang."""
        self.began()

    def ended(self, error: str | None) -> None:
        """A look ended; `error` says why nobody answered. Tells changes once."""
        now = self._monotonic()
        with self._lock:
            self._began = None
            self._ended = now
        if error is not None and self._down_since is None:
            self._down_since = now
            logger.warning("degraded, no new alerts are seen: %s Trying on.", error)
        elif error is None and self._down_since is not None:
            logger.info("the data is back after %.0f s", now - self._down_since)
            self._down_since = None
        self.data_error = error
        self.looked = True

    def age_s(self) -> float:
        """Seconds since a look last ended."""
        return self._monotonic() - self._ended

    def stalled_s(self) -> float:
        """Seconds beyond what a step of a look, or the pause before it, may take; 0 while all is well."""
        with self._lock:
            began, ended = self._began, self._ended
        if began is not None:
            return max(0.0, self._monotonic() - began - HUNG_S)
        return max(0.0, self._monotonic() - ended - 3 * self._poll_s - 1)
