"""The clock that is passed in: milliseconds since the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable

type Clock = Callable[[], int]


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
