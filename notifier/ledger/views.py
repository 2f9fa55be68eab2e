"""What a message of a thread tells, as the ledger has it at the moment it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from notifier.clock import to_ms
from notifier.ledger.people import silences_of
from notifier.ledger.rows import (
    ALERTS,
    DELIVERIES,
    INCIDENTS,
    MARKS,
    MEMBERS,
    THREADS,
    Delivery,
    Mark,
    to_alert,
    to_incident,
    to_mark,
    to_thread,
)
from notifier.model import AlertRow, DeliveryState, Incident, MessageKind, Thread, rank
from notifier.routing.decide import Silence
from notifier.routing.matchers import COLUMNS, all_match

SHOWN = 10
"""Incidents that a message names; of the others it tells how many they are."""
CHANGES_MS = 3_600_000
"""What was done so long before an outage may have to do with it."""
CHANGES = 3


# Asked for every message: a query that stands ready is asked in half the time of one that is built.
_THREAD = sa.select(THREADS).where(THREADS.c.thread_id == sa.bindparam("thread_id"))
_MEMBERS = (
    # Each incident is in a thread once, for it is there by its place.
    sa.select(INCIDENTS, MEMBERS.c.over)
    .join(MEMBERS, MEMBERS.c.incident_id == INCIDENTS.c.incident_id)
    .where(MEMBERS.c.thread_id == sa.bindparam("thread_id"))
    .order_by(INCIDENTS.c.newest_ms.desc())
)
_OPEN = (
    # As far as conditions look at them.
    sa.select(*(ALERTS.c[name] for name in COLUMNS))
    .join(INCIDENTS, INCIDENTS.c.newest_alert == ALERTS.c.alert_id)
    .join(MEMBERS, MEMBERS.c.incident_id == INCIDENTS.c.incident_id)
    .where(MEMBERS.c.thread_id == sa.bindparam("thread_id"), MEMBERS.c.over.is_(False))
)
_ALERTS = sa.select(ALERTS).where(ALERTS.c.alert_id.in_(sa.bindparam("alert_ids", expanding=True)))
_CHANGES = (
    sa.select(MARKS).where(MARKS.c.at_ms >= sa.bindparam("since_ms")).order_by(MARKS.c.at_ms.desc()).limit(CHANGES)
)


@dataclass(frozen=True)
class Hush:
    """So many open incidents of a thread are silenced, by these; until_ms: when the first of them no longer is."""

    count: int
    by: tuple[str, ...]
    until_ms: int


@dataclass(frozen=True)
class ThreadView:
    """A thread and what is in it. `incidents`: the worst open ones, then the newest that are over, at most SHOWN.

    open, over: how many there are; alerts: their FIRING rows in all; by_service: open incidents of each, the most
    first. taken_by: who has them, by name; untaken: open ones that nobody has. newest: the newest FIRING row of each of
    `incidents`, by incident; changes: marks of the hour before it began, and since, the newest first. hush: what of it
    is silenced.
    """

    thread: Thread
    incidents: list[Incident] = field(default_factory=list)
    open: int = 0
    over: int = 0
    alerts: int = 0
    starts_ms: int = 0
    severity: str = ""
    by_service: list[tuple[str, int]] = field(default_factory=list)
    taken_by: list[str] = field(default_factory=list)
    untaken: int = 0
    newest: dict[str, AlertRow] = field(default_factory=dict)
    changes: list[Mark] = field(default_factory=list)
    hush: Hush | None = None


def view_of(db: sa.Connection, thread_id: str, now_ms: int) -> ThreadView:
    """The thread as it is now."""
    of_thread = {"thread_id": thread_id}
    thread = to_thread(db.execute(_THREAD, of_thread).one())
    members = db.execute(_MEMBERS, of_thread)
    view = view_from(thread, ((to_incident(_without(row, "over")), bool(row.over)) for row in members))
    return replace(
        view,
        newest=_newest(db, view.incidents),
        changes=_changes(db, view.starts_ms),
        hush=_hush(db, thread_id, now_ms) if view.open else None,
    )


@dataclass
class _Part:
    """Of a thread's incidents those that are open, or those that are over: what all of them say, and a few of them."""

    count: int = 0
    starts_ms: int | None = None
    severity: str | None = None
    by_service: Counter[str] = field(default_factory=Counter)
    first: dict[int, list[Incident]] = field(default_factory=dict)
    """By rank of severity, as many as can be shown."""

    def add(self, incident: Incident, of_rank: int) -> None:
        self.count += 1
        self.starts_ms = incident.starts_ms if self.starts_ms is None else min(self.starts_ms, incident.starts_ms)
        if self.severity is None or rank(incident.severity) > rank(self.severity):
            self.severity = incident.severity
        self.by_service[incident.service_name or incident.rule] += 1
        held = self.first.setdefault(of_rank, [])
        if len(held) < SHOWN:
            held.append(incident)


def view_from(thread: Thread, members: Iterable[tuple[Incident, bool]]) -> ThreadView:
    """Of a thread's incidents, the newest first, each with whether its end was told. Without alerts and changes.

    They are gone through once, and few are kept: a storm's digest has thousands.
    """
    still, gone = _Part(), _Part()
    alerts = untaken = 0
    taken_by: set[str] = set()
    for incident, over in members:
        alerts += incident.alerts
        if over:
            gone.add(incident, 0)
            continue
        still.add(incident, rank(incident.severity))
        untaken += incident.ack is None
        if incident.ack:
            taken_by.add(incident.ack.by)
    worst = [incident for _, held in sorted(still.first.items(), reverse=True) for incident in held]
    of_now = still if still.count else gone
    return ThreadView(
        thread,
        [*worst, *gone.first.get(0, ())][:SHOWN],
        still.count,
        gone.count,
        alerts,
        thread.opened_ms if of_now.starts_ms is None else of_now.starts_ms,
        of_now.severity or thread.severity,
        of_now.by_service.most_common(),
        sorted(taken_by),
        untaken,
    )


def _newest(db: sa.Connection, incidents: Sequence[Incident]) -> dict[str, AlertRow]:
    rows = db.execute(_ALERTS, {"alert_ids": [incident.newest_alert for incident in incidents]})
    return {row.incident_id: to_alert(row) for row in rows}


def _changes(db: sa.Connection, starts_ms: int) -> list[Mark]:
    return [to_mark(row) for row in db.execute(_CHANGES, {"since_ms": starts_ms - CHANGES_MS})]


def _hush(db: sa.Connection, thread_id: str, now_ms: int) -> Hush | None:
    silences = silences_of(db, now_ms)
    if not silences:
        return None
    ends: list[Silence] = []
    for alert in db.execute(_OPEN, {"thread_id": thread_id}):
        holding = [silence for silence in silences if all_match(silence.matchers, alert)]
        ends += [max(holding, key=lambda silence: silence.until)] if holding else []
    if not ends:
        return None
    return Hush(len(ends), tuple(sorted({each.by for each in ends})), to_ms(min(each.until for each in ends)))


class _Row:
    """A row of a join as one of a table."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._mapping = values
        self.__dict__.update(values)


def _without(row: Any, name: str) -> _Row:
    return _Row({key: value for key, value in row._mapping.items() if key != name})


def newest_alert(db: sa.Connection, delivery: Delivery) -> AlertRow:
    """The alert that a delivery tells of: its newest one."""
    return to_alert(db.execute(_ALERTS, {"alert_ids": [delivery.alert_id]}).one())


def told(db: sa.Connection, delivery: Delivery) -> bool:
    """Whether somebody was told something in the delivery's thread before it."""
    d = DELIVERIES
    query = sa.select(sa.func.count()).where(
        d.c.thread_id == delivery.thread_id,
        d.c.state == DeliveryState.SENT,
        d.c.kind != MessageKind.EDIT,
        d.c.sequence < delivery.sequence,
    )
    return bool(db.scalar(query))
