"""How often something counted happens, by a counter that is looked at now and then."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

SPAN_S = 60.0
_LOOKS_EVERY_S = 1.0


class Rate:
    """Counts a minute over the last minute, or over as long as it was looked at. counted: what there was so far."""

    def __init__(self, counted: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._counted = counted
        self._clock = clock
        self._lock = threading.Lock()
        self._looks: deque[tuple[float, float]] = deque([(clock(), counted())])

    def a_minute(self) -> float | None:
        """None until it was looked at for some seconds."""
        with self._lock:
            now, count = self._clock(), self._counted()
            if now - self._looks[-1][0] >= _LOOKS_EVERY_S:
                self._looks.append((now, count))
            while len(self._looks) > 2 and now - self._looks[1][0] >= SPAN_S:
                self._looks.popleft()
            began, before = self._looks[0]
            return (count - before) * 60 / (now - began) if now - began >= 5 * _LOOKS_EVERY_S else None
