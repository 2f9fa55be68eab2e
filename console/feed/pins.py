"""Which commit the drill-down tabs stand on: it moves on more slowly than the head, and alike for all sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.feed.snapshot import FeedSnapshot
from console.view import View


@dataclass(frozen=True)
class Pin:
    """A commit to ask at, and the time it speaks of."""

    commit: str
    as_of: datetime


def pin_of(snapshot: FeedSnapshot) -> Pin | None:
    """The commit of a snapshot; None before the first publish."""
    return Pin(snapshot.commit, snapshot.as_of) if snapshot.commit and snapshot.as_of else None


def cadence_s(view: View, fastest_s: float) -> float:
    """Seconds for which a tab stays on one commit: the longer the range, the dearer the question."""
    length = (view.span[1] - view.span[0]) if view.span else None
    if view.span is None and view.range in ("live", "15m"):
        return fastest_s
    if view.range == "1h" or (length is not None and length <= timedelta(hours=2)):
        return 3 * fastest_s
    return 12 * fastest_s


class Pins:
    """One pin for each cadence. Sessions that choose alike thereby ask alike, and share answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pins: dict[float, tuple[Pin, float]] = {}

    def pin(self, snapshot: FeedSnapshot, cadence: float) -> Pin | None:
        """The commit to ask at now; None before the first publish."""
        if snapshot.commit is None or snapshot.as_of is None:
            return None
        now = self._clock()
        with self._lock:
            held = self._pins.get(cadence)
            if held is None or (held[0].commit != snapshot.commit and now - held[1] >= cadence):
                held = (Pin(snapshot.commit, snapshot.as_of), now)
                self._pins[cadence] = held
            return held[0]
