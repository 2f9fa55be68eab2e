"""The past that a new screen shows: the last hour at once, the same hour of yesterday and of a week ago behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
LOOK_BACK = (timedelta(0), timedelta(days=1), timedelta(days=7))
AHEAD = timedelta(minutes=20)
"""Of the days before so much more: the minutes to come are compared with those of then, and 10 minutes around them."""

type Span = tuple[datetime, datetime]


def span_of(now: datetime, back: timedelta) -> Span:
    """What of a day before is to have rows, or of today."""
    return now - back - HOUR, now - back + (AHEAD if back else timedelta(0))


def hours_of(start: datetime, end: datetime) -> list[Span]:
    """[start, end) cut at full hours UTC."""
    spans = []
    while start < end:
        border = min(end, start.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR)
        spans.append((start, border))
        start = border
    return spans


def to_fill(now: datetime, back: timedelta, with_rows: Collection[datetime]) -> list[Span]:
    """What to fill of `span_of(now, back)`: its clock hours without any row, neighbours joined.

    `with_rows` holds the starts of clock hours that have a row.
    """
    empty = [
        span
        for span in hours_of(*span_of(now, back))
        if span[0].replace(minute=0, second=0, microsecond=0) not in with_rows
    ]
    return joined(empty)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch made one."""
    result: list[Span] = []
    for start, end in spans:
        if result and result[-1][1] == start:
            result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def pieces(span: Span, longest: timedelta) -> list[Span]:
    """A span cut into equal pieces no longer than `longest`."""
    start, end = span
    count = max(1, -(-(end - start) // longest))
    step = (end - start) / count
    return [(start + step * n, end if n == count - 1 else start + step * (n + 1)) for n in range(count)]
