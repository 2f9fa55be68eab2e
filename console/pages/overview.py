"""The Overview: tiles, live charts, latest rows and incidents of one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from console.choices import FAILURES, WORST
from console.drill.finding import FIND
from console.feed.compared import figures_beside
from console.feed.incidents import ListedIncident, count_open, in_order, incidents_of, standing_of
from console.feed.minutes import Series, minutes_of
from console.feed.questions import (
    ANY_AHEAD,
    INCIDENT_SPAN,
    LIST_ROWS,
    MINUTES_SHOWN,
    OPEN_KNOWN,
    TILE_SPAN,
    Ask,
    first_minute,
    whole_minute,
)
from console.feed.snapshot import FeedAnswer, FeedSnapshot
from console.feed.tiles import ErrorRateLimits, Tile, tiles_of
from console.on_call.asked import KnownIncidents, asked_of, with_asked
from console.on_call.watch import Duty
from console.parts import (
    ERROR_COLUMNS,
    INCIDENT_COLUMNS,
    ORDER_COLUMNS,
    Part,
    SharedPart,
    iso_ms,
)
from console.tab import Card, RowList, Tab
from lakehouse.kinds import distinct_orders
from lakehouse.kpis import Counting

INCIDENTS_LISTED = 8
ORDERS_BY = {
    "at": "order_ts",
    "order": "order_id",
    "product": "product_id",
    "quantity": "quantity",
    "total": "order_total",
    "status": "status",
}
ERRORS_BY = {"at": "error_ts", "severity": "severity", "service": "service_name", "message": "error_message"}
"""What the columns of the newest rows are ordered by: columns of their answers."""

LATEST_ORDERS = RowList(
    "latest_orders",
    "Latest orders",
    tuple(replace(column, sort=ORDERS_BY[column.field]) for column in ORDER_COLUMNS),
    "No order in the last day. They appear here {soon} they are placed.",
    exports="latest_orders",
    whole=True,
)
LATEST_ERRORS = RowList(
    "latest_errors",
    "Latest errors",
    tuple(replace(column, sort=ERRORS_BY[column.field]) for column in ERROR_COLUMNS),
    "No error in the last day. They appear here {soon} a service reports one.",
    exports="latest_errors",
    whole=True,
)
INCIDENTS = RowList(
    "incidents",
    "Alerts",
    INCIDENT_COLUMNS,
    "Nothing fired in the last 24 hours. An incident opens when a service reports a FATAL error or a rule fires.",
    note="24 h",
    items=True,
    exports="incidents",
)


BEHIND = {
    "revenue": "orders",
    "net": "orders",
    "orders": "orders",
    "average": "orders",
    "users": "customers",
    "conversion": "customers",
    "error_rate": "errors",
}
"""The tab that shows what is behind a tile."""


class Overview(Tab):
    """What happens now: live only, whatever range is chosen for the other tabs."""

    title = "Overview"
    order = 10
    live = True
    compares = True
    heeds_range = False
    heeds_brush = False
    filters = (FIND,)
    cards = (
        Card((INCIDENTS,), columns=3, order=20, css="alerts-card"),
        Card((LATEST_ORDERS,), columns=6, order=80, css="latest-orders", finds=True),
        Card((LATEST_ERRORS,), columns=6, order=81),
    )

    @staticmethod
    def ask(
        ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], counting: Counting, minutes: int = MINUTES_SHOWN
    ) -> None:
        """Four questions a tick, and a fifth when a minute closes or a closed one changes."""
        # Of tiles and conversion the usual minutes are shown, whatever the charts show.
        usual = first_minute(as_of)
        counts = ask("minutes", since=first_minute(as_of, minutes), as_of=as_of)
        Overview.ask_then(ask, as_of, counting)
        ask("latest_orders", since=_far_enough(counts, "orders", ("",), as_of), as_of=as_of, most=LIST_ROWS)
        since = _far_enough(counts, "errors", FAILURES, as_of)
        ask("latest_errors", since=since, as_of=as_of, severities=FAILURES, most=LIST_ROWS)
        if counts is not None and _closed_changed(counts, usual, as_of, held):
            ask("conversion_minutes", since=usual, until=whole_minute(as_of))

    @staticmethod
    def ask_then(ask: Ask, as_of: datetime, counting: Counting) -> None:
        since = as_of - TILE_SPAN
        ask(
            "tiles", before=since - TILE_SPAN, since=since, as_of=as_of,
            counted_statuses=counting.statuses, distinct=distinct_orders(counting),
        )  # fmt: skip


# Sessions look at the same snapshot: the first one pays.
@lru_cache(maxsize=4)
def incidents(snapshot: FeedSnapshot, max_age: timedelta) -> tuple[ListedIncident, ...]:
    """Those that were touched lately, and whatever else is open."""
    answer = snapshot.answers.get("incidents")
    found = incidents_of(answer.table.to_pylist(), max_age) if answer else []
    read = {one.incident_id for one in found}
    found += [one for one in standing_of(_standing(snapshot)) if one.incident_id not in read]
    return tuple(in_order(found))


@lru_cache(maxsize=4)
def _standing(snapshot: FeedSnapshot) -> Sequence[Mapping[str, Any]]:
    """The rows of `open_incidents`."""
    answer = snapshot.answers.get("open_incidents")
    return answer.table.to_pylist() if answer else ()


def open_counts(snapshot: FeedSnapshot, found: Sequence[ListedIncident]) -> tuple[int, int]:
    """How many incidents are open, and how many more of the worst severity there are than are known one by one."""
    rows = _standing(snapshot)
    if len(rows) < OPEN_KNOWN:
        return count_open(found, (), OPEN_KNOWN), 0
    worst = sum(one.state == "open" and one.severity.upper() == WORST and not one.asked for one in found)
    return count_open(found, rows, OPEN_KNOWN), max(0, rows[0]["worst_count"] - worst)


@lru_cache(maxsize=8)
def all_incidents(snapshot: FeedSnapshot, max_age: timedelta, asked: KnownIncidents) -> tuple[ListedIncident, ...]:
    """Those of the table, and those of rules that ask."""
    found = incidents(snapshot, max_age)
    if snapshot.as_of is None:
        return found
    return with_asked(found, asked, snapshot.as_of - INCIDENT_SPAN, snapshot.as_of + ANY_AHEAD)


def known_since(
    incident_id: str, then: FeedSnapshot | None, newest: FeedSnapshot, max_age: timedelta, duty: Duty, asks: bool
) -> bool:
    """Whether an incident is known now, and was not at a moment."""
    if not incident_id or then is None or then is newest:
        return False

    def known(snapshot: FeedSnapshot) -> bool:
        found = all_incidents(snapshot, max_age, asked_of(duty, snapshot.as_of, asks))
        return any(one.incident_id == incident_id for one in found)

    return known(newest) and not known(then)


@lru_cache(maxsize=8)
def tile_parts(snapshot: FeedSnapshot, currency: str, limits: ErrorRateLimits, compare: str) -> Mapping[str, Part]:
    """The tiles; none before their question was answered."""
    figures = snapshot.answers.get("tiles")
    if figures is None:
        return {}
    parts: dict[str, Part] = {}
    stale = figures.commit != snapshot.commit
    compared = figures_beside(figures.table.to_pylist()[0], snapshot, compare)
    for tile in tiles_of(compared, minutes_of(snapshot), currency, limits):
        parts[f"tile.{tile.key}"] = SharedPart(_tile(tile, stale))
        parts[f"spark.{tile.key}"] = SharedPart({"values": [_digits(value) for value in tile.spark[-MINUTES_SHOWN:-1]]})
    return parts


def _tile(tile: Tile, stale: bool) -> Part:
    spark: Series = tile.spark
    return {
        "text": tile.text,
        "value": None if tile.value is None else str(tile.value),
        "exact": tile.exact,
        "change": tile.change,
        "good": tile.good,
        "state": tile.state,
        "word": tile.word,
        "why": tile.why,
        "produced_at": iso_ms(tile.newest),
        "tip": _digits(spark[-1]) if spark else None,
        "stale": stale,
    }


def _digits(value: float | None) -> float | None:
    """Enough for a sparkline of 40 pixels."""
    return None if value is None else float(f"{value:.4g}")


def _far_enough(minutes: pa.Table | None, series: str, kinds: Sequence[str], as_of: datetime) -> datetime:
    """From when on there are surely LIST_ROWS rows of these parts of a series, a day back where there are not: reading
    fewer minutes is cheaper."""
    if minutes is not None:
        of = pc.and_(pc.equal(minutes["series"], series), pc.is_in(minutes["part"], pa.array(kinds)))
        rows = minutes.filter(of).sort_by([("moment", "descending")])
        total = 0
        for moment, count in zip(rows["moment"].to_pylist(), rows["n"].to_pylist(), strict=True):
            total += int(count)
            if total >= LIST_ROWS:
                return moment if isinstance(moment, datetime) else as_of - timedelta(days=1)
    return as_of - timedelta(days=1)


def _closed_changed(minutes: pa.Table, first: datetime, as_of: datetime, held: Mapping[str, FeedAnswer]) -> bool:
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
