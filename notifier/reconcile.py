"""Does the ledger know every alert of the table, and was everybody told of what is open? Changes neither.

The dead-man's switch and the gauge of what is overdue ask the same of the ledger, only later: see `overdue`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import sqlalchemy as sa

from notifier.clock import Clock, from_ms, wall_ms
from notifier.ledger.people import silences_of
from notifier.ledger.queries import newest_of, open_alerts, open_incidents
from notifier.ledger.rows import ALERTS, DELIVERIES, INCIDENTS, MEMBERS, to_incident
from notifier.manner import Manner
from notifier.model import (
    FATAL,
    OPEN,
    AlertRow,
    AlertSource,
    DeliveryState,
    Incident,
    MessageKind,
    Muted,
    Target,
)
from notifier.routing.decide import Router, Surroundings

WAIT_S = 10
"""What is found missing is looked for again for so long: a notifier looks once a second, and may be at it just now."""
GRACE_MS = 60_000
"""A message that is due for no longer is on its way."""
OVERDUE_MS = 300_000
"""So long after it was due, a place that was not told is a fault."""
_AT_ONCE = 500

type Look = Callable[[], AbstractContextManager[sa.Connection]]
type Manners = Mapping[Target, Manner]


@dataclass(frozen=True)
class Untold:
    """An open incident, a place that should have been told of it, why it was not, and since when it was due."""

    incident: Incident
    target: Target
    why: str
    since_ms: int


@dataclass(frozen=True)
class Missing:
    """What is missing. unseen: rows of the table that the ledger does not know. incidents: how many are open."""

    unseen: tuple[AlertRow, ...]
    untold: tuple[Untold, ...]
    incidents: int

    def __bool__(self) -> bool:
        return bool(self.unseen or self.untold)


def to_be_told(router: Router, alerts: Sequence[AlertRow]) -> list[AlertRow]:
    """Those that are FATAL, or that a route sends somewhere."""
    return [alert for alert in alerts if alert.severity == FATAL or any(way.to for _, way in router.taking(alert))]


def reconcile(
    look: Look,
    alerts: Sequence[AlertRow],
    router: Router,
    manners: Manners,
    *,
    clock: Clock = wall_ms,
    sleep: Callable[[float], None] = time.sleep,
) -> Missing:
    """What is missing, and still is after WAIT_S. look: into the ledger as it is then; manners: of all places."""
    for _ in range(WAIT_S):
        missing = _missing(look, alerts, router, manners, clock())
        if not missing:
            return missing
        sleep(1.0)
    return _missing(look, alerts, router, manners, clock())


def _missing(look: Look, alerts: Sequence[AlertRow], router: Router, manners: Manners, now_ms: int) -> Missing:
    with look() as db:
        found = untold(db, router, manners, now_ms)
        return Missing(tuple(_unseen(db, alerts)), tuple(found), len(db.scalars(open_incidents()).all()))


def overdue(db: sa.Connection, router: Router, manners: Manners, now_ms: int) -> list[Untold]:
    """Who was not told in OVERDUE_MS, the longest first. manners: of all places."""
    found = [one for one in untold(db, router, manners, now_ms) if one.since_ms <= now_ms - OVERDUE_MS]
    return sorted(found, key=lambda one: (one.since_ms, one.incident.incident_id))


def _unseen(db: sa.Connection, alerts: Sequence[AlertRow]) -> Iterator[AlertRow]:
    for some in batched(alerts, _AT_ONCE):
        ids = [alert.alert_id for alert in some]
        known = set(db.scalars(sa.select(ALERTS.c.alert_id).where(ALERTS.c.alert_id.in_(ids))))
        yield from (alert for alert in some if alert.alert_id not in known)


def untold(db: sa.Connection, router: Router, manners: Manners, now_ms: int) -> list[Untold]:
    """By open incident and place. Asked now and then, and in a storm there are thousands: of most a few columns do.

    1. Places where a thread tells of it, and nothing of that has gone since it joined, or its next step waits.
    2. Places that routes name, that nothing mutes and where no thread tells of it: where its message died, and all of
       them where no place at all tells of it.
    """
    m = MEMBERS
    open_ids = open_incidents()
    said, died = _said(db), _died(db)
    found: list[tuple[str, Target, str, int]] = []
    lone = dict.fromkeys(db.scalars(open_ids).all())
    threads: dict[str, set[Target]] = {}
    columns = (m.c.incident_id, m.c.channel, m.c.destination, m.c.thread_id, m.c.since_ms)
    for row in db.execute(sa.select(*columns).where(m.c.incident_id.in_(open_ids), m.c.thread_id.is_not(None))):
        target = Target(row.channel, row.destination)
        threads.setdefault(row.incident_id, set()).add(target)
        if target in manners:
            joins = MessageKind.JOINED in manners[target].wants
            late = said.get(row.thread_id, _Said()).why_not(row.incident_id, row.since_ms or 0, joins, now_ms)
            if late:
                found.append((row.incident_id, target, *late))
    ids = [each for each in lone if each not in threads or died.get(each, set()) - threads[each]]
    around = Surroundings(
        from_ms(now_ms),
        lambda alert: False,
        silences_of(db, now_ms),
        open_alerts(db) if ids and router.routing.inhibit else (),
    )
    for some in batched(ids, _AT_ONCE):
        seen = _seen(db, some)
        for alert in newest_of(db, list(some), _AT_ONCE):
            key = alert.incident_id
            if alert.source is AlertSource.OWN:
                continue
            for decision in router.decide(alert, around):
                target = decision.target
                if decision.muted or target in threads.get(key, ()):
                    continue
                # A route that has changed since tells nobody at another place of what was told before.
                if key not in threads or target in died.get(key, ()):
                    found.append((key, target, _lost(db, key, target), seen[key]))
    incidents = _incidents(db, {key for key, *_ in found})
    return [Untold(incidents[key], target, why, since_ms) for key, target, why, since_ms in found if key in incidents]


@dataclass
class _Said:
    """What became of a thread's deliveries. newest_ms: when the newest was sent; sent: of these incidents one was,
    edits left out. waits: since when one waits and why, and steps: of each incident the same of its next step."""

    newest_ms: int | None = None
    sent: set[str] = field(default_factory=set)
    waits: list[tuple[int, str]] = field(default_factory=list)
    steps: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, row: Any) -> None:
        if row.state == DeliveryState.SENT:
            self.newest_ms = max(row.sent_ms, self.newest_ms or 0)
            if row.kind != MessageKind.EDIT:
                self.sent.add(row.incident_id)
        elif row.state in OPEN:
            first_ms = row.first_attempt_ms or row.planned_ms
            since_ms = row.not_before_ms if row.state == DeliveryState.PLANNED else first_ms
            late = since_ms, f"{row.state}: {row.error}" if row.error else row.state
            self.waits.append(late)
            if row.kind == MessageKind.ESCALATED:
                self.steps[row.incident_id] = late

    def why_not(self, incident_id: str, since_ms: int, joins: bool, now_ms: int) -> tuple[str, int] | None:
        """Why the place was not told of an incident that is in the thread since then, and since when it was due.

        joins: it is told of each incident that joins.
        """
        waits = self.waits
        # Whatever went since it joined tells of it; clocks may have been set, so its own message counts too.
        newest_ms = self.newest_ms
        if newest_ms is not None and (not joins or newest_ms >= since_ms or incident_id in self.sent):
            if incident_id not in self.steps:
                return None
            waits = [self.steps[incident_id]]
        if not waits:
            return "nothing waits to be sent", since_ms
        due_ms, why = min(waits)
        return (why, due_ms) if due_ms + GRACE_MS <= now_ms or why.startswith(DeliveryState.PARKED) else None


def _said(db: sa.Connection) -> dict[str, _Said]:
    """By thread, of those that open incidents are in."""
    d, m = DELIVERIES, MEMBERS
    names = "thread_id incident_id kind state error planned_ms not_before_ms first_attempt_ms sent_ms"
    threads = sa.select(m.c.thread_id).where(m.c.incident_id.in_(open_incidents()), m.c.thread_id.is_not(None))
    found: dict[str, _Said] = {}
    for row in db.execute(sa.select(*(d.c[name] for name in names.split())).where(d.c.thread_id.in_(threads))):
        found.setdefault(row.thread_id, _Said()).add(row)
    return found


def _died(db: sa.Connection) -> dict[str, set[Target]]:
    """Where the first message of each open incident is dead, and of those that were to be told with it."""
    d, m = DELIVERIES, MEMBERS
    dead = sa.select(d.c.incident_id, d.c.channel, d.c.destination).where(
        d.c.incident_id.in_(open_incidents()), d.c.state == DeliveryState.DEAD, d.c.kind == MessageKind.FIRST
    )
    beside = sa.select(m.c.incident_id, m.c.channel, m.c.destination).where(
        m.c.incident_id.in_(open_incidents()),
        m.c.thread_id.is_(None),
        sa.func.json_extract(m.c.muted, f"$.{Muted.NOT_TOLD}").is_not(None),
    )
    found: dict[str, set[Target]] = {}
    for row in db.execute(dead.union(beside)):
        found.setdefault(row.incident_id, set()).add(Target(row.channel, row.destination))
    return found


def _seen(db: sa.Connection, incident_ids: Sequence[str]) -> dict[str, int]:
    """When the ledger first saw each of these."""
    a = ALERTS
    query = sa.select(a.c.incident_id, sa.func.min(a.c.seen_ms).label("seen_ms")).where(
        a.c.incident_id.in_(incident_ids), a.c.status != "RESOLVED"
    )
    return {row.incident_id: row.seen_ms for row in db.execute(query.group_by(a.c.incident_id))}


def _incidents(db: sa.Connection, incident_ids: Iterable[str]) -> dict[str, Incident]:
    i = INCIDENTS
    found: dict[str, Incident] = {}
    for some in batched(incident_ids, _AT_ONCE):
        rows = db.execute(sa.select(i).where(i.c.incident_id.in_(some)))
        found |= {row.incident_id: to_incident(row) for row in rows}
    return found


def _lost(db: sa.Connection, incident_id: str, target: Target) -> str:
    """What is known of an incident at a place where no thread tells of it."""
    d = DELIVERIES
    query = (
        sa.select(d.c.state, d.c.reason, d.c.error)
        .where(d.c.incident_id == incident_id, d.c.channel == target.channel, d.c.destination == target.destination)
        .order_by(d.c.updated_ms.desc())
    )
    row = db.execute(query).first()
    if row is None:
        return "no message was planned"
    return f"{row.state}: {row.error or row.reason}"
