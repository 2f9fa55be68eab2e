"""How a tab asks at one commit, and what stands on every tab."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from console.choices import WORST
from console.feed.snapshot import FeedAnswer
from lakehouse.clock import SHOWN
from lakehouse.kpis import Counting

TILE_SPAN = timedelta(minutes=5)
MINUTES_SHOWN = 60
"""The minutes of live charts, but where more or fewer of the Overview's are chosen (console.view.LASTS)."""
LIST_ROWS = 12
CLOCK_EVERY = timedelta(seconds=15)
INCIDENT_SPAN = timedelta(hours=24)
ANY_AHEAD = timedelta(days=10_000)
"""A FATAL of a clock that is ahead is news now, not when its time comes."""
INCIDENTS_SHOWN = 200
OPEN_KNOWN = 1000
"""Open incidents that are known one by one; of more than these only their number is."""


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


def first_minute(as_of: datetime, minutes: int = MINUTES_SHOWN) -> datetime:
    """The start of the first of the minutes shown; the last is the open one."""
    return whole_minute(as_of) - timedelta(minutes=minutes - 1)


def ask_frame(ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], _counting: Counting) -> None:
    """What every tab shows: the open incidents are counted in the navigation; clocks ahead and KPIs that lack rows."""
    touched = ask("incidents", since=as_of - INCIDENT_SPAN, until=as_of + ANY_AHEAD, most=INCIDENTS_SHOWN)
    # What is open and was not touched lately changes seldom; in a storm the answer above has no room for all.
    if touched is None or len(touched) >= INCIDENTS_SHOWN or _is_due("open_incidents", as_of, held):
        ask("open_incidents", worst=WORST, most=OPEN_KNOWN)
    # Ingest reports once a minute.
    if _is_due("clock_ahead", as_of, held):
        ask("clock_ahead", since=as_of - SHOWN)
        ask("kpis_left_out")


def _is_due(question: str, as_of: datetime, held: Mapping[str, FeedAnswer]) -> bool:
    """Whether its answer is of another time: either way, for as_of goes back when a clock is set right."""
    before = held.get(question)
    return before is None or abs(as_of - before.as_of) >= CLOCK_EVERY
