"""How fast a channel may be sent to."""

from __future__ import annotations

from collections.abc import Callable

BURST = 5


class TokenBucket:
    """So many messages a second for long, and a burst of five."""

    def __init__(self, per_s: float | None, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._monotonic = monotonic
        self._tokens = float(BURST)
        self._at = monotonic()

    def pause_s(self, spare: int = 0) -> float:
        """Seconds until one may be taken that leaves so many."""
        if self._per_s is None:
            return 0.0
        now = self._monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        return max(0.0, 1 + spare - self._tokens) / self._per_s

    def take(self) -> None:
        self._tokens -= 1
