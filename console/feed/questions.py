"""How a tab asks at one commit, and what stands on every tab."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from console.feed.snapshot import FeedAnswer
from lakehouse.clock import SHOWN
from lakehouse.kpis import Counting

TILE_SPAN = timedelta(minutes=5)
MINUTES_SHOWN = 60
LIST_ROWS = 12
CLOCK_EVERY = timedelta(seconds=15)
INCIDENT_SPAN = timedelta(hours=24)
ANY_AHEAD = timedelta(days=10_000)
"""A FATAL of a clock that is ahead is news now, not when its time comes."""
INCIDENTS_SHOWN = 200


class Ask(Protocol):
    """One question at the commit of this tick; None when it failed, which is noted where the reader sees it.

    then: how long ago it is asked about, a name of console.view.COMPARED; the answer is kept beside that of now.
    """

    def __call__(self, question: str, /, *, then: str = "", **binds: Any) -> pa.Table | None: ...


class TabQuestions(Protocol):
    """What a tab asks of one commit, in order: `held` are the answers of the commit before, `counting` what
    counts as an order."""

    def __call__(self, ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], counting: Counting, /) -> None: ...


def whole_minute(moment: datetime) -> datetime:
    """The start of the minute that holds `moment`."""
    return moment.replace(second=0, microsecond=0)


def first_minute(as_of: datetime) -> datetime:
    """The start of the first of the minutes shown; the last is the open one."""
    return whole_minute(as_of) - timedelta(minutes=MINUTES_SHOWN - 1)


def ask_frame(ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], _counting: Counting) -> None:
    """What every tab shows: the open incidents are counted in the navigation; clocks ahead and KPIs that lack rows."""
    ask("incidents", since=as_of - INCIDENT_SPAN, until=as_of + ANY_AHEAD, most=INCIDENTS_SHOWN)
    before = held.get("clock_ahead")
    # Ingest reports once a minute. Nearer to another as_of either way: it goes back when a clock is set right.
    if before is None or abs(as_of - before.as_of) >= CLOCK_EVERY:
        ask("clock_ahead", since=as_of - SHOWN)
        ask("kpis_left_out")
