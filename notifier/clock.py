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


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, cut, as readers get them."""
    return (moment - _EPOCH) // _MS


def span_ms(span: timedelta) -> int:
    """A span in whole milliseconds."""
    return span // _MS


def from_ms(ms: int) -> datetime:
    return _EPOCH + ms * _MS
