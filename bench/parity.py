"""Whether two engines made the same tables of the same messages: row by row, through the Flight port.

What differs by nature is left out: ingested_at, updated_at, received_at, where in the log a row came from, commit ids;
of alerts the FIRING rows of event rules count, without incident_id and starts_at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from bench.mixture import MixedMessage
from lakehouse import ROOT
from lakehouse import decode as decoding
from lakehouse.decode import Event, Reason, Rejected, event_time
from lakehouse.decode.values import page_of
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError, NotFound
from lakehouse.rules import Moment, Received, evaluate, load_rules
from lakehouse.tables import KPI_TABLES, RAW_OF_TOPIC, TABLES, full_name
from lakehouse.topics import TOPICS
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC

COMPARED = (*(table.name for table in (*RAW_OF_TOPIC.values(), *KPI_TABLES)), "alerts", "dead_letters")
_BY_NATURE = {"ingested_at", "updated_at", "received_at", "source_partition", "source_offset"}
LEFT_OUT = {"alerts": {"incident_id", "starts_at"}}
_JUDGED_BY_TIME = (str(Reason.FUTURE_TIME), str(Reason.STALE_TIME))
"""Their detail names received_at, which is another one on each engine."""
_USERS = "active_users_per_window"
_MINUTE = timedelta(minutes=1)

type Row = tuple[Any, ...]
type Tables = dict[str, Counter[Row]]
"""Each compared table's rows by the names of `columns`, and how often each is there."""


def columns(table: str) -> tuple[str, ...]:
    """The columns that are compared."""
    left_out = _BY_NATURE | LEFT_OUT.get(table, set())
    return tuple(column.name for column in TABLES[table].columns if column.name not in left_out)


def read(dremio: Dremio, commit: str | None = None) -> Tables:
    """All compared tables at one commit, the head if none is named. A table that is not there yet has no rows."""
    at = f'AT COMMIT "{commit or dremio.head()}"'
    found: dict[str, pa.Table] = {}
    for name in COMPARED:
        try:
            found[name] = dremio.sql(f"SELECT {', '.join(columns(name))} FROM {full_name(TABLES[name])} {at}")
        except NotFound:
            found[name] = pa.table({column: [] for column in columns(name)})
    return tables_of(found)


def tables_of(found: Mapping[str, pa.Table]) -> Tables:
    """What is compared of the tables' rows; the columns are those of `columns`."""
    rows = {name: [_row(name, row) for row in table.to_pylist()] for name, table in found.items()}
    clicks = columns("clicks_processed").index("click_ts")
    newest = max((row[clicks] for row in rows["clicks_processed"]), default=datetime.min.replace(tzinfo=UTC))
    end = columns(_USERS).index("window_end")
    rows[_USERS] = [row for row in rows[_USERS] if row[end] <= _minute(newest) + _MINUTE]
    rule, status = columns("alerts").index("rule"), columns("alerts").index("status")
    rows["alerts"] = [row for row in rows["alerts"] if row[rule] in _EVENT_RULES and row[status] == "FIRING"]
    return {name: Counter(rows[name]) for name in COMPARED}


def _row(table: str, row: Mapping[str, Any]) -> Row:
    if table == "dead_letters" and row["reason"] in _JUDGED_BY_TIME:
        row = {**row, "detail": row["detail"].partition(" ")[0]}
    return tuple(_at_ms(row[column]) for column in columns(table))


def _at_ms(value: Any) -> Any:
    """Readers get times in milliseconds."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000) if isinstance(value, datetime) else value


_EVENT_RULES = {rule.name for rule in load_rules(ROOT / "config" / "alerts.yaml") if rule.alerts_on is not None}


def differences(left: Tables, right: Tables, *, delivered_again: bool = False, shown: int = 3) -> list[str]:
    """What is in one and not in the other, in sentences; empty where they are equal.

    After messages were delivered again, dead letters are compared by their distinct bytes: they have no identity but
    where they lay.
    """
    found: list[str] = []
    for name in COMPARED:
        one, other = left[name], right[name]
        if delivered_again and name == "dead_letters":
            one, other = Counter(set(one)), Counter(set(other))
        for more, less, side in ((one, other, "left"), (other, one, "right")):
            extra = more - less
            if extra:
                some = "; ".join(f"{count} x {_told(name, row)}" for row, count in list(extra.items())[:shown])
                found.append(f"{name}: {extra.total()} of {more.total()} rows only on the {side}: {some}")
    return found


def _told(table: str, row: Row) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in zip(columns(table), row, strict=True))
    return text if len(text) < 500 else f"{text[:500]}..."


# What the tables must hold, worked out in plain Python ---------------------------------------------------------------


def expected(
    messages: Iterable[MixedMessage], received_at: datetime, max_age: timedelta | None = timedelta(days=15)
) -> Tables:
    """The tables that these messages make, in the order given; no message may lie near a limit of age."""
    stored: dict[str, dict[tuple[str, datetime], Event]] = {topic: {} for topic in TOPICS}
    dead: Counter[Row] = Counter()
    for message in messages:
        (event,) = decoding.decode(message.topic, decoding.Message(message.value, received_at), max_age)
        if isinstance(event, Rejected):
            values = {
                "topic": message.topic,
                "reason": str(event.reason),
                "detail": event.detail,
                "payload": message.value,
            }
            dead[_row("dead_letters", values)] += 1
        else:
            stored[message.topic].setdefault((event.event_key, event_time(event)), event)
    events = {topic: list(found.values()) for topic, found in stored.items()}
    orders, clicks, errors = (events[topic] for topic in (ORDERS_TOPIC, CLICKS_TOPIC, ERRORS_TOPIC))
    found: Tables = {
        table.name: Counter(
            tuple(_at_ms(getattr(event, name)) for name in columns(table.name)) for event in events[topic]
        )
        for topic, table in RAW_OF_TOPIC.items()
    }
    found["orders_revenue_per_minute"] = _revenue(orders)
    found["refunds_per_minute"] = _refunds(events[REFUNDS_TOPIC])
    found["errors_per_minute"] = _per_minute(
        (_minute(error.error_ts), error.service_name, error.severity) for error in errors
    )
    found["clicks_per_minute"] = _clicks(clicks)
    found[_USERS] = _active_users(clicks)
    found["alerts"] = _alerts(errors)
    found["dead_letters"] = dead
    return found


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)


def _revenue(orders: Collection[Event]) -> Counter[Row]:
    """window_start, window_end, orders_count, total_revenue, cancelled_count, cancelled_revenue, buyers."""
    by_minute: dict[datetime, list[Event]] = defaultdict(list)
    for order in orders:
        by_minute[_minute(order.order_ts)].append(order)
    rows: Counter[Row] = Counter()
    for minute, found in by_minute.items():
        cancelled = [order for order in found if order.status == "CANCELLED"]
        total, lost = (sum((order.order_total for order in some), Decimal(0)) for some in (found, cancelled))
        buyers = len({order.user_id for order in found})
        rows[minute, minute + _MINUTE, len(found), total, len(cancelled), lost, buyers] += 1
    return rows


def _refunds(refunds: Collection[Event]) -> Counter[Row]:
    """window_start, window_end, refunds_count, refunded_amount."""
    amounts: dict[datetime, list[Decimal]] = defaultdict(list)
    for refund in refunds:
        amounts[_minute(refund.refund_ts)].append(refund.amount)
    return Counter((minute, minute + _MINUTE, len(found), sum(found)) for minute, found in amounts.items())


def _per_minute(keys: Iterable[tuple[datetime, str, str]]) -> Counter[Row]:
    """window_start, window_end, the rest of the key, count."""
    return Counter((minute, minute + _MINUTE, *rest, n) for (minute, *rest), n in Counter(keys).items())


def _clicks(clicks: Collection[Event]) -> Counter[Row]:
    """window_start, window_end, page, device_type, clicks, users."""
    users: dict[tuple[datetime, str, str], list[str]] = defaultdict(list)
    for click in clicks:
        users[_minute(click.click_ts), page_of(click.url), click.device_type].append(click.user_id)
    return Counter((at, at + _MINUTE, page, kind, len(who), len(set(who))) for (at, page, kind), who in users.items())


def _active_users(clicks: Collection[Event]) -> Counter[Row]:
    """window_start, window_end, users: for each minute's end up to the newest click's."""
    if not clicks:
        return Counter()
    users: dict[datetime, set[str]] = defaultdict(set)
    for click in clicks:
        for after in range(1, 6):
            users[_minute(click.click_ts) + after * _MINUTE].add(click.user_id)
    last = _minute(max(click.click_ts for click in clicks)) + _MINUTE
    return Counter((end - 5 * _MINUTE, end, len(who)) for end, who in users.items() if end <= last)


def _alerts(errors: Collection[Event]) -> Counter[Row]:
    """One row for each FATAL, by what the rules of config/alerts.yaml say."""
    rules = tuple(rule for rule in load_rules(ROOT / "config" / "alerts.yaml") if rule.alerts_on == ERRORS_TOPIC)
    now = datetime.now(UTC)
    moment = Moment(now=now, read_to={}, received={}, first_event_at={}, unreadable={})
    wanted = [Received(ERRORS_TOPIC, error, now) for error in errors if error.severity == "FATAL"]
    alerts, _ = evaluate(
        rules,
        {},
        moment,
        events=wanted,
        kpis={},
        max_age=timedelta(hours=1),
        max_lookback=timedelta(minutes=15),
    )
    rows = [tuple(_at_ms(getattr(alert, name)) for name in columns("alerts")) for alert in alerts]
    return Counter(row for row in rows if row[columns("alerts").index("status")] == "FIRING")


def agree(dremio: Dremio, wanted: Tables, *, delivered_again: bool = False) -> list[str]:
    """The differences between a port's head and `wanted`, or the sentence why it cannot be asked."""
    try:
        return differences(read(dremio), wanted, delivered_again=delivered_again)
    except DremioError as error:
        return [str(error)]
