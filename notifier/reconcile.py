"""Does the ledger know every alert of the table, and was everybody told of what is open? Changes neither."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import sqlalchemy as sa

from notifier.clock import Clock, from_ms, wall_ms
from notifier.ledger.people import silences_of
from notifier.ledger.queries import newest_of, open_incidents
from notifier.ledger.rows import ALERTS, DELIVERIES, INCIDENTS, MEMBERS, to_incident, to_member
from notifier.manner import Manner
from notifier.model import (
    FATAL,
    OPEN,
    AlertRow,
    DeliveryState,
    Incident,
    Member,
    MessageKind,
    Source,
    Target,
)
from notifier.routing.decide import Router, Surroundings

WAIT_S = 10
"""What is found missing is looked for again for so long: a notifier looks once a second, and may be at it just now."""
GRACE_MS = 60_000
"""A message that is due for no longer is on its way."""
_MOST = 100_000
_AT_ONCE = 500

type Look = Callable[[], AbstractContextManager[sa.Connection]]
type Manners = Mapping[Target, Manner]


@dataclass(frozen=True)
class Untold:
    """An open incident, a place that should have been told of it, and why it was not."""

    incident: Incident
    target: Target
    why: str


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
        untold, incidents = _untold(db, router, manners, now_ms)
        return Missing(tuple(_unseen(db, alerts)), tuple(untold), incidents)


def _unseen(db: sa.Connection, alerts: Sequence[AlertRow]) -> Iterator[AlertRow]:
    for some in batched(alerts, _AT_ONCE):
        ids = [alert.alert_id for alert in some]
        known = set(db.scalars(sa.select(ALERTS.c.alert_id).where(ALERTS.c.alert_id.in_(ids))))
        yield from (alert for alert in some if alert.alert_id not in known)


def _untold(db: sa.Connection, router: Router, manners: Manners, now_ms: int) -> tuple[list[Untold], int]:
    """By incident and place, and how many incidents are open."""
    open_ids = open_incidents()
    i, m = INCIDENTS, MEMBERS
    incidents = {
        row.incident_id: to_incident(row) for row in db.execute(sa.select(i).where(i.c.incident_id.in_(open_ids)))
    }
    members: dict[str, list[Member]] = {incident: [] for incident in incidents}
    for row in db.execute(sa.select(m).where(m.c.incident_id.in_(open_ids))):
        members[row.incident_id].append(to_member(row))
    said = _said(db)
    alerts = newest_of(db, open_ids, _MOST)
    around = Surroundings(from_ms(now_ms), lambda alert: False, silences_of(db, now_ms), alerts)
    found = []
    for alert in alerts:
        incident = incidents[alert.incident_id]
        here = {member.target: member for member in members[alert.incident_id]}
        for target, member in here.items():
            if member.thread_id and target in manners:
                joins = MessageKind.JOINED in manners[target].wants
                why = said.get(member.thread_id, _Said()).why_not(member, joins, now_ms)
                if why:
                    found.append(Untold(incident, target, why))
        if alert.source is Source.OWN:
            continue
        threads = {target for target, member in here.items() if member.thread_id}
        for decision in router.decide(alert, around):
            if decision.muted or decision.target in threads:
                continue
            why = _lost(db, alert.incident_id, decision.target)
            # A route that has changed since tells nobody at another place of what was told before.
            if not threads or why.startswith(DeliveryState.DEAD):
                found.append(Untold(incident, decision.target, why))
    return found, len(incidents)


@dataclass
class _Said:
    """What became of a thread's deliveries. sent: when, and of which incident, None for an edit."""

    sent: list[tuple[int, str | None]] = field(default_factory=list)
    waits: list[tuple[int, str]] = field(default_factory=list)

    def add(self, row: Any) -> None:
        if row.state == DeliveryState.SENT:
            self.sent.append((row.sent_ms, None if row.kind == MessageKind.EDIT else row.incident_id))
        elif row.state in OPEN:
            first_ms = row.first_attempt_ms or row.planned_ms
            since_ms = row.not_before_ms if row.state == DeliveryState.PLANNED else first_ms
            self.waits.append((since_ms, f"{row.state}: {row.error}" if row.error else row.state))

    def why_not(self, member: Member, joins: bool, now_ms: int) -> str | None:
        """Why the place was not told of this member of the thread. joins: it is told of each incident that joins."""
        # Whatever went since it joined tells of it; clocks may have been set, so its own message counts too.
        if any(not joins or at_ms >= member.since_ms or of == member.incident_id for at_ms, of in self.sent):
            return None
        if not self.waits:
            return "nothing waits to be sent"
        since_ms, why = min(self.waits)
        return why if since_ms + GRACE_MS <= now_ms or why.startswith(DeliveryState.PARKED) else None


def _said(db: sa.Connection) -> dict[str, _Said]:
    """By thread, of those that open incidents are in."""
    d, m = DELIVERIES, MEMBERS
    names = "thread_id incident_id kind state error planned_ms not_before_ms first_attempt_ms sent_ms"
    threads = sa.select(m.c.thread_id).where(m.c.incident_id.in_(open_incidents()), m.c.thread_id.is_not(None))
    found: dict[str, _Said] = {}
    for row in db.execute(sa.select(*(d.c[name] for name in names.split())).where(d.c.thread_id.in_(threads))):
        found.setdefault(row.thread_id, _Said()).add(row)
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
