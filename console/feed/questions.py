"""What each tab asks of one commit, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from console.feed.snapshot import Answer
from lakehouse.clock import SHOWN

TILE_SPAN = timedelta(minutes=5)
MINUTES_SHOWN = 60
LIST_ROWS = 12
CLOCK_EVERY = timedelta(seconds=15)
INCIDENT_SPAN = timedelta(hours=24)
ANY_AHEAD = timedelta(days=10_000)
"""A FATAL of a clock that is ahead is news now, not when its time comes."""
INCIDENTS_SHOWN = 200


class Ask(Protocol):
    """One question at the commit of this tick; None when it failed, which is noted where the reader sees it."""

    def __call__(self, question: str, /, **binds: Any) -> pa.Table | None: ...


def whole_minute(moment: datetime) -> datetime:
    """The start of the minute that holds `moment`."""
    return moment.replace(second=0, microsecond=0)


def ask_frame(ask: Ask, as_of: datetime, held: Mapping[str, Answer], _counted: Sequence[str]) -> None:
    """What every tab shows: the open incidents are counted in the navigation; whether a clock was ahead."""
    ask("incidents", since=as_of - INCIDENT_SPAN, until=as_of + ANY_AHEAD, most=INCIDENTS_SHOWN)
    before = held.get("clock_ahead")
    # Ingest reports once a minute. Nearer to another as_of either way: it goes back when a clock is set right.
    if before is None or abs(as_of - before.as_of) >= CLOCK_EVERY:
        ask("clock_ahead", since=as_of - SHOWN)


def ask_overview(ask: Ask, as_of: datetime, held: Mapping[str, Answer], counted: Sequence[str]) -> None:
    """Four questions a tick, and a fifth when a minute closes or a closed one changes."""
    first = whole_minute(as_of) - timedelta(minutes=MINUTES_SHOWN - 1)
    minutes = ask("minutes", since=first, as_of=as_of)
    ask(
        "tiles",
        before=as_of - 2 * TILE_SPAN,
        since=as_of - TILE_SPAN,
        as_of=as_of,
        counted_statuses=tuple(counted),
    )
    for question, series in (("latest_orders", "orders"), ("latest_errors", "errors")):
        ask(question, since=_far_enough(minutes, series, as_of), as_of=as_of, most=LIST_ROWS)
    if minutes is not None and _closed_changed(minutes, first, as_of, held):
        ask("conversion_minutes", since=first, until=whole_minute(as_of))


FEEDS: Mapping[str, Callable[[Ask, datetime, Mapping[str, Answer], Sequence[str]], None]] = {
    "overview": ask_overview,
}


def _far_enough(minutes: pa.Table | None, series: str, as_of: datetime) -> datetime:
    """From when on there are surely LIST_ROWS rows: reading fewer minutes is cheaper. Without so many, a day back."""
    if minutes is not None:
        rows = minutes.filter(pc.equal(minutes["series"], series)).sort_by([("moment", "descending")])
        total = 0
        for moment, count in zip(rows["moment"].to_pylist(), rows["n"].to_pylist(), strict=True):
            total += int(count)
            if total >= LIST_ROWS:
                return moment if isinstance(moment, datetime) else as_of - timedelta(days=1)
    return as_of - timedelta(days=1)


def _closed_changed(minutes: pa.Table, first: datetime, as_of: datetime, held: Mapping[str, Answer]) -> bool:
    """Whether raw rows of the closed minutes differ from when `conversion_minutes` was asked.

    Raw rows are only ever added and each adds to a count of its minute, so equal counts of orders and clicks mean the
    same rows: the answer held is then the one this commit would give. It is worth it, for that question alone reads an
    hour of raw rows.
    """
    asked = held.get("conversion_minutes")
    before = held.get("minutes")
    if asked is None or before is None or whole_minute(asked.as_of) != whole_minute(as_of):
        return True
    return _closed(minutes, first, as_of) != _closed(before.table, first, as_of)


def _closed(minutes: pa.Table, first: datetime, as_of: datetime) -> set[tuple[Any, ...]]:
    closed = minutes.filter(
        pc.and_(
            pc.is_in(minutes["series"], pa.array(["orders", "clicks"])),
            pc.and_(
                pc.greater_equal(minutes["moment"], pa.scalar(first, minutes["moment"].type)),
                pc.less(minutes["moment"], pa.scalar(whole_minute(as_of), minutes["moment"].type)),
            ),
        )
    )
    return set(zip(*(closed[name].to_pylist() for name in ("series", "moment", "n")), strict=True))
