"""The ledger's longer questions to its tables. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from notifier.ledger.rows import ALERTS, DELIVERIES, INCIDENTS, MEMBERS, THREADS, to_alert
from notifier.model import OPEN, PASSING, AlertRow, DeliveryState, MessageKind, Target, rank
from notifier.routing.matchers import COLUMNS

TELLING = (MessageKind.FIRST, MessageKind.JOINED, MessageKind.ESCALATED)
"""Messages that tell of an incident for the first time, or of one that nobody has taken."""


def is_open(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a delivery of the table, or of its alias, is still to be sent or settled."""
    # Literals, not binds: SQLite uses the partial index only when it can see them.
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in OPEN])


def newest_of(db: sa.Connection, incident_ids: sa.Select[Any] | list[str], limit: int) -> list[AlertRow]:
    """The newest FIRING row of each of these incidents; at most so many, the newest first."""
    i = INCIDENTS
    query = (
        sa.select(ALERTS)
        .join(i, i.c.newest_alert == ALERTS.c.alert_id)
        .where(i.c.incident_id.in_(incident_ids))
        .order_by(i.c.newest_ms.desc())
        .limit(limit)
    )
    return [to_alert(row) for row in db.execute(query)]


def open_incidents() -> sa.Select[Any]:
    """Incidents that are open, and no news of the past, whether or not somebody is told of them."""
    return sa.select(INCIDENTS.c.incident_id).where(INCIDENTS.c.resolved_ms.is_(None), INCIDENTS.c.old.is_(False))


def open_alerts(db: sa.Connection) -> Sequence[Any]:
    """The newest FIRING row of each incident that is open: its columns that conditions look at, as they are, for in a
    storm there are thousands."""
    a, i = ALERTS, INCIDENTS
    query = sa.select(*(a.c[name] for name in COLUMNS)).join(i, i.c.newest_alert == a.c.alert_id)
    return db.execute(query.where(i.c.incident_id.in_(open_incidents()))).all()


def muted_for_now(db: sa.Connection) -> dict[str, set[Target]]:
    """Open incidents, and where all that there is of them is muted by what comes to an end; the newest first.

    Asked each second: an index knows them.
    """
    d, other, i = DELIVERIES, DELIVERIES.alias(), INCIDENTS
    passing: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{reason}'") for reason in PASSING]
    told = sa.exists().where(
        other.c.incident_id == d.c.incident_id,
        other.c.channel == d.c.channel,
        other.c.destination == d.c.destination,
        other.c.state != DeliveryState.MUTED,
        # A root that is edited says nothing of one that has left it.
        other.c.kind != MessageKind.EDIT,
    )
    query = (
        sa.select(d.c.incident_id, d.c.channel, d.c.destination)
        .join(i, i.c.incident_id == d.c.incident_id)
        .where(
            d.c.state == sa.literal_column(f"'{DeliveryState.MUTED}'"),
            d.c.reason.in_(passing),
            ~told,
            i.c.resolved_ms.is_(None),
        )
        .order_by(d.c.planned_ms.desc())
    )
    found: dict[str, set[Target]] = {}
    for row in db.execute(query):
        found.setdefault(row.incident_id, set()).add(Target(row.channel, row.destination))
    return found


def has_taken(db: sa.Connection, thread_id: str, taken: bool = True) -> bool:
    """Whether somebody has an open incident of a thread; taken False: whether nobody has one of them."""
    i, m = INCIDENTS, MEMBERS
    of_thread = sa.select(m.c.incident_id).where(m.c.thread_id == thread_id, m.c.over.is_(False))
    found = sa.select(i.c.incident_id).where(
        i.c.incident_id.in_(of_thread),
        i.c.resolved_ms.is_(None),
        i.c.ack_by.is_not(None) if taken else i.c.ack_by.is_(None),
    )
    return db.execute(found.limit(1)).first() is not None


def has_called(db: sa.Connection, thread_id: str, step: str, since_ms: int, least: int) -> bool:
    """Whether a thread was told of a step of escalation since then, of an incident of this rank or a worse."""
    d, i = DELIVERIES, INCIDENTS
    found = (
        sa.select(i.c.severity)
        .join(d, d.c.incident_id == i.c.incident_id)
        .where(
            d.c.thread_id == thread_id,
            d.c.kind.in_((MessageKind.ESCALATED, MessageKind.FIRST)),
            d.c.detail == step,
            d.c.planned_ms >= since_ms,
            d.c.state.not_in((DeliveryState.MUTED, DeliveryState.DEAD)),
        )
    )
    return any(rank(severity) >= least for severity in db.scalars(found))


def open_counts(db: sa.Connection) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Open incidents by severity; open threads by channel and kind."""
    i, t, count = INCIDENTS, THREADS, sa.func.count()
    incidents = sa.select(i.c.severity, count).where(i.c.resolved_ms.is_(None), i.c.old.is_(False))
    threads = sa.select(t.c.channel, t.c.kind, count).where(t.c.resolved_ms.is_(None))
    by_severity, by_place = Counter[str](), Counter[tuple[str, str]]()
    for severity, number in db.execute(incidents.group_by(i.c.severity)):
        by_severity[severity] = number
    for channel, kind, number in db.execute(threads.group_by(t.c.channel, t.c.kind)):
        by_place[channel, kind] = number
    return by_severity, by_place
