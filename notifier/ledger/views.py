"""What a message of a thread tells, as the ledger has it at the moment it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

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

SHOWN = 10
"""Incidents that a message names; of the others it tells how many they are."""
CHANGES_MS = 3_600_000
"""What was done so long before an outage may have to do with it."""
CHANGES = 3


@dataclass(frozen=True)
class ThreadView:
    """A thread and what is in it. `incidents`: the worst open ones, then the newest that are over, at most SHOWN.

    open, over: how many there are; alerts: their FIRING rows in all; by_service: open incidents of each, the most
    first. taken_by: who has them, by name; untaken: open ones that nobody has. newest: the newest FIRING row of each of
    `incidents`, by incident; changes: marks of the hour before it began, and since, the newest first.
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


def view_of(db: sa.Connection, thread_id: str) -> ThreadView:
    """The thread as it is now."""
    thread = to_thread(db.execute(sa.select(THREADS).where(THREADS.c.thread_id == thread_id)).one())
    i, m = INCIDENTS, MEMBERS
    # Each incident is in a thread once, for it is there by its place.
    query = (
        sa.select(i, m.c.over)
        .join(m, m.c.incident_id == i.c.incident_id)
        .where(m.c.thread_id == thread_id)
        .order_by(i.c.newest_ms.desc())
    )
    rows = db.execute(query).all()
    view = view_from(thread, [(to_incident(_without(row, "over")), bool(row.over)) for row in rows])
    return replace(view, newest=_newest(db, view.incidents), changes=_changes(db, view.starts_ms))


def view_from(thread: Thread, members: Sequence[tuple[Incident, bool]]) -> ThreadView:
    """Of a thread's incidents, the newest first, each with whether its end was told. Without alerts and changes."""
    still = [incident for incident, over in members if not over]
    worst = sorted(still, key=lambda incident: -rank(incident.severity))
    gone = [incident for incident, over in members if over]
    of_now = still or gone
    return ThreadView(
        thread,
        [*worst, *gone][:SHOWN],
        len(still),
        len(gone),
        sum(incident.alerts for incident, _ in members),
        min((incident.starts_ms for incident in of_now), default=thread.opened_ms),
        max((incident.severity for incident in of_now), key=rank, default=thread.severity),
        Counter(incident.service_name or incident.rule for incident in of_now).most_common(),
        sorted({incident.ack.by for incident in still if incident.ack}),
        sum(incident.ack is None for incident in still),
    )


def _newest(db: sa.Connection, incidents: Sequence[Incident]) -> dict[str, AlertRow]:
    query = sa.select(ALERTS).where(ALERTS.c.alert_id.in_([incident.newest_alert for incident in incidents]))
    return {row.incident_id: to_alert(row) for row in db.execute(query)}


def _changes(db: sa.Connection, starts_ms: int) -> list[Mark]:
    m = MARKS
    query = sa.select(m).where(m.c.at_ms >= starts_ms - CHANGES_MS).order_by(m.c.at_ms.desc()).limit(CHANGES)
    return [to_mark(row) for row in db.execute(query)]


class _Row:
    """A row of a join as one of a table."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._mapping = values
        self.__dict__.update(values)


def _without(row: Any, name: str) -> _Row:
    return _Row({key: value for key, value in row._mapping.items() if key != name})


def newest_alert(db: sa.Connection, delivery: Delivery) -> AlertRow:
    """The alert that a delivery tells of: its newest one."""
    return to_alert(db.execute(sa.select(ALERTS).where(ALERTS.c.alert_id == delivery.alert_id)).one())


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
