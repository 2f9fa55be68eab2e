"""Moments and spans in milliseconds, as the ledger keeps them, and the clock that is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

HORIZON_MS = 600_000
"""No wait is longer, in ms; see Ledger.due."""
SWEEP_BACK = timedelta(days=1)
"""How far behind the cursor a sweep looks."""

type Clock = Callable[[], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Steps:
    """Tells when the wall clock is set: it and one that nobody sets go apart. `look` is called about once a second.

    `now` jumps at a look alone, when the ledger follows: what is written down just before it keeps its distance too.
    """

    LEAST_MS = 1500
    """Less is the slow pull of a time service."""

    def __init__(self, clock: Clock = wall_ms, steady: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._steady = steady or _steady_s
        self._apart_ms = self._measure()

    def look(self) -> int:
        """By how many ms the clock was set since the last look; 0 while it only runs."""
        apart_ms = self._measure()
        step_ms, self._apart_ms = apart_ms - self._apart_ms, apart_ms
        return step_ms if abs(step_ms) >= self.LEAST_MS else 0

    def now(self) -> int:
        """Milliseconds since the epoch, by the wall clock as it was set at the last look."""
        return int(self._steady() * 1000) + self._apart_ms

    def _measure(self) -> int:
        return self._clock() - int(self._steady() * 1000)


def _steady_s() -> float:
    """Seconds of a clock that nobody sets, and that runs on while the machine sleeps where there is such a one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, cut, as readers get them."""
    return (moment - _EPOCH) // _MS


def span_ms(span: timedelta) -> int:
    """A span in whole milliseconds."""
    return span // _MS


def from_ms(ms: int) -> datetime:
    return _EPOCH + ms * _MS
