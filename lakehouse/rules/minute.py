"""Minutes and spans of time, in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)
type Span = tuple[datetime, datetime]


def floor_minute(time: datetime) -> datetime:
    """The start of the minute."""
    return time.replace(second=0, microsecond=0)


def ceil_minute(time: datetime) -> datetime:
    """The start of the minute, or of the next one."""
    start = floor_minute(time)
    return start if start == time else start + MINUTE


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """In order; spans that touch become one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)
