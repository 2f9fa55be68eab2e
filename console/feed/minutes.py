"""The last minutes of every KPI, as the charts and sparklines want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from console.choices import FAILURES, SEVERITIES
from console.feed.questions import MINUTES_SHOWN, whole_minute
from console.feed.snapshot import FeedAnswer, FeedSnapshot

MINUTE = timedelta(minutes=1)

type Series = tuple[float | None, ...]


@dataclass(frozen=True)
class Minutes:
    """The minutes up to the open one, which is the last. None is a gap: nobody knows; 0 is a minute without rows.

    `starts` are the minutes' starts, UTC. Revenue and what was refunded in the shop's currency (a shop may have no
    refunds at all: then 0), `users` distinct users over the five minutes
    that end with the minute (the open one has none yet), conversion and error_rate as parts of 1.
    """

    starts: tuple[datetime, ...]
    orders: Series
    revenue: Series
    refunded: Series
    clicks: Series
    users: Series
    errors: Mapping[str, Series]
    conversion: Series

    @property
    def average(self) -> Series:
        """Revenue per order; a gap where there was no order."""
        return tuple(_ratio(amount, count) for amount, count in zip(self.revenue, self.orders, strict=True))

    @property
    def net_revenue(self) -> Series:
        """Revenue less what was refunded in the minute."""
        pairs = zip(self.revenue, self.refunded, strict=True)
        return tuple(None if revenue is None or back is None else revenue - back for revenue, back in pairs)

    @property
    def error_rate(self) -> Series:
        """Failures (ERROR and FATAL) per click; a gap where there was no click."""
        bad = zip(*(self.errors[severity] for severity in FAILURES), strict=True)
        return tuple(
            None if None in counts else _ratio(sum(count for count in counts if count is not None), clicks)
            for counts, clicks in zip(bad, self.clicks, strict=True)
        )


def starts_of(as_of: datetime, minutes: int = MINUTES_SHOWN) -> tuple[datetime, ...]:
    """The starts of so many minutes up to the open one."""
    last = whole_minute(as_of)
    return tuple(last - MINUTE * back for back in range(minutes - 1, -1, -1))


def starts_in(answer: FeedAnswer) -> tuple[datetime, ...]:
    """The starts of the minutes that an answer is of."""
    if answer.since is None:
        return starts_of(answer.as_of)
    return starts_of(answer.as_of, (whole_minute(answer.as_of) - answer.since) // MINUTE + 1)


def last_of(series: Series, minutes: int) -> Series:
    """The last minutes of a series; of those that were not asked for, nobody knows."""
    return (None,) * (minutes - len(series)) + series[-minutes:]


def rows_since(table: pa.Table, since: datetime) -> pa.Table:
    """The rows of `minutes`, or of another live chart's question, that are of minutes from `since` on. What was counted
    over the minutes before `moment` is of the minute that ends with it."""
    moment = pa.scalar(since, table["moment"].type)
    found = pc.greater_equal(table["moment"], moment)
    if "series" in table.column_names:
        found = pc.and_(found, pc.or_(pc.greater(table["moment"], moment), pc.not_equal(table["series"], "users")))
    return table.filter(found)


def series_of(
    starts: tuple[datetime, ...], found: Mapping[datetime, float | None], first_event: datetime | None, until: datetime
) -> Series:
    """A minute without rows is zero once the topic has begun and before `until`, else a gap."""
    begun = None if first_event is None else whole_minute(first_event)

    def value(start: datetime) -> float | None:
        if start in found:
            return found[start]
        return 0.0 if begun is not None and begun <= start < until else None

    return tuple(value(start) for start in starts)


# Sessions look at the same snapshot: the first one pays.
@lru_cache(maxsize=4)
def minutes_of(snapshot: FeedSnapshot) -> Minutes | None:
    """The Minutes of a snapshot, or None before its first answer."""
    answer = snapshot.answers.get("minutes")
    if answer is None:
        return None
    as_of = answer.as_of
    last, starts = whole_minute(as_of), starts_in(answer)
    counts: dict[tuple[str, str], dict[datetime, float]] = {}
    amounts: dict[str, dict[datetime, float]] = {"orders": {}, "refunds": {}}
    for row in answer.table.to_pylist():
        start = row["moment"] - MINUTE if row["series"] == "users" else row["moment"]
        counts.setdefault((row["series"], row["part"]), {})[start] = float(row["n"])
        if row["series"] in amounts:
            amounts[row["series"]][start] = float(row["amount"])

    first = snapshot.first_events
    first_order, first_click, first_error = (first.get(f"first_{what}_at") for what in ("order", "click", "error"))

    def filled(found: Mapping[datetime, float | None], first_event: datetime | None, until: datetime) -> Series:
        return series_of(starts, found, first_event, until)

    return Minutes(
        starts=starts,
        orders=filled(counts.get(("orders", ""), {}), first_order, as_of),
        revenue=filled(amounts["orders"], first_order, as_of),
        refunded=tuple(amounts["refunds"].get(start, 0.0) for start in starts),
        clicks=filled(counts.get(("clicks", ""), {}), first_click, as_of),
        users=filled(counts.get(("users", ""), {}), first_click, last),
        errors={severity: filled(counts.get(("errors", severity), {}), first_error, as_of) for severity in SEVERITIES},
        conversion=_conversion(snapshot, starts),
    )


def _conversion(snapshot: FeedSnapshot, starts: tuple[datetime, ...]) -> Series:
    answer = snapshot.answers.get("conversion_minutes")
    table: pa.Table | None = answer.table if answer else None
    rows: list[dict[str, Any]] = table.to_pylist() if table is not None else []
    found = {row["moment"]: _ratio(float(row["buyers"]), float(row["users"])) for row in rows}
    return tuple(found.get(start) for start in starts)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
