"""What the ledger holds, as the API tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Any

import sqlalchemy as sa

from lakehouse.oncall import (
    Acknowledged,
    HistoryLine,
    OnCallDeliveries,
    OnCallDelivery,
    OnCallDetail,
    OnCallIncident,
    OnCallIncidents,
    OnCallSilence,
    Silenced,
    Status,
    Told,
    WrittenMatcher,
    word_of,
)
from notifier.clock import from_ms
from notifier.ledger.ledger import Ledger
from notifier.ledger.rows import ALERTS, DELIVERIES, MEMBERS, Delivery, to_alert
from notifier.model import OPEN, AlertRow, DeliveryState, Incident, Target
from notifier.people import NoIncident
from notifier.routing.decide import Silence
from notifier.routing.matchers import all_match

_AT_ONCE = 500


class Outgoing:
    """Any thread may call any method; each raises LedgerError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def incidents(
        self,
        status: Status | None,
        since_ms: int | None,
        until_ms: int | None,
        limit: int,
        begins: str | None = None,
    ) -> OnCallIncidents:
        """Newest alert first."""
        # Before the rows: a change in between is seen twice rather than never.
        revision = self._ledger.revision()
        found = self._ledger.incidents(limit, since_ms, until_ms, status, begins)
        return OnCallIncidents(revision=revision, incidents=self._told(found))

    def incident(self, incident_id: str, at_ms: int | None = None) -> OnCallDetail:
        """Raises NoIncident."""
        found = self._ledger.incident(incident_id)
        if found is None:
            raise NoIncident(f"There is no incident '{incident_id[:80]}'.")
        [told] = self._told([found])
        lines = [
            HistoryLine(at=from_ms(note.at_ms), who=note.who, via=note.via, action=note.action, note=note.text)
            for note in self._ledger.history(incident_id, at_ms)
        ]
        return OnCallDetail(**told.model_dump(), history=[line.model_dump() for line in lines])

    def _told(self, incidents: Sequence[Incident]) -> list[OnCallIncident]:
        silences = self._ledger.silences()
        told: list[OnCallIncident] = []
        for some in batched(incidents, _AT_ONCE):
            alerts = self._alerts([incident.newest_alert for incident in some])
            places = self._places([incident.incident_id for incident in some])
            told += [
                self._one(incident, alerts[incident.newest_alert], places.get(incident.incident_id, []), silences)
                for incident in some
                if incident.newest_alert in alerts
            ]
        return told

    def _one(
        self, incident: Incident, alert: AlertRow, told: list[Told], silences: Sequence[Silence]
    ) -> OnCallIncident:
        status = _status(incident)
        holding = next((each for each in silences if status == "open" and all_match(each.matchers, alert)), None)
        silenced = Silenced(id=holding.silence_id, by=holding.by, until=holding.until) if holding else None
        ack = None
        if incident.ack is not None:
            held = incident.ack
            until = None if held.until_ms is None else from_ms(held.until_ms)
            ack = Acknowledged(by=held.by, at=from_ms(held.at_ms), until=until, note=held.note)
        return OnCallIncident(
            incident_id=incident.incident_id,
            rule=incident.rule,
            severity=incident.severity,
            service_name=incident.service_name,
            owner=incident.owner,
            source=incident.source.value,
            status=status,
            word=word_of(status, ack, silenced, incident.level),
            alerts=incident.alerts,
            starts_at=from_ms(incident.starts_ms),
            newest_at=from_ms(incident.newest_ms),
            resolved_at=None if incident.resolved_ms is None else from_ms(incident.resolved_ms),
            description=alert.description,
            ack=ack,
            silenced=silenced,
            level=incident.level,
            told=told,
            revision=incident.revision,
            summary=alert.summary,
            value=alert.metric_value,
            threshold=alert.threshold,
            runbook_url=alert.runbook_url,
            alert_type=alert.alert_type,
        )

    def _alerts(self, alert_ids: Sequence[str]) -> dict[str, AlertRow]:
        with self._ledger.file.read() as db:
            rows = db.execute(sa.select(ALERTS).where(ALERTS.c.alert_id.in_(alert_ids)))
            return {row.alert_id: to_alert(row) for row in rows}

    def _places(self, incident_ids: Sequence[str]) -> dict[str, list[Told]]:
        """What became of each incident at each place: of the newest delivery there that says most."""
        m = MEMBERS
        columns = (m.c.incident_id, m.c.channel, m.c.destination, m.c.thread_id)
        found: dict[str, list[Told]] = {}
        with self._ledger.file.read() as db:
            members = db.execute(sa.select(*columns).where(m.c.incident_id.in_(incident_ids))).all()
            # A thread's deliveries once, not once for each of the thousands that a storm's digest may tell of.
            threads = {member.thread_id for member in members if member.thread_id}
            lone = {member.incident_id for member in members if not member.thread_id}
            of_thread = _told_most(db, DELIVERIES.c.thread_id, threads)
            of_incident = _told_most(db, DELIVERIES.c.incident_id, lone)
        for member in members:
            place = Target(member.channel, member.destination)
            if member.thread_id:
                told = of_thread.get((member.thread_id, place))
            else:
                told = of_incident.get((member.incident_id, place))
            if told is not None:
                found.setdefault(member.incident_id, []).append(told)
        return found

    def deliveries(
        self, state: DeliveryState | None, incident: str | None, limit: int, begins: str | None = None
    ) -> OnCallDeliveries:
        """Newest planned first."""
        counts = {str(each): 0 for each in DeliveryState}
        for (_, held), count in self._ledger.counts().items():
            counts[held] += count
        rows = self._ledger.deliveries(state, incident, limit, begins)
        return OnCallDeliveries(counts=counts, deliveries=[_delivery(row) for row in rows])

    @staticmethod
    def silence(one: Silence) -> OnCallSilence:
        return OnCallSilence(
            id=one.silence_id,
            matchers=[WrittenMatcher(column=m.column, op=m.op, value=m.value) for m in one.matchers],
            reason=one.reason,
            by=one.by,
            created=one.created,
            until=one.until,
            ended=one.ended,
        )


def _status(incident: Incident) -> Status:
    if incident.old:
        return "old"
    return "open" if incident.resolved_ms is None else "resolved"


def _told_most(db: sa.Connection, column: sa.Column[Any], keys: Iterable[str]) -> dict[tuple[str, Target], Told]:
    """Of the deliveries with one of these keys in a column, the newest at each place that says most."""
    d = DELIVERIES
    of_place = (d.c.channel, d.c.destination, d.c.state, d.c.reason, d.c.error, d.c.sent_ms, d.c.receipt)
    found: dict[tuple[str, Target], Told] = {}
    for some in batched(keys, _AT_ONCE):
        query = sa.select(column.label("key"), *of_place).where(column.in_(some))
        for row in db.execute(query.order_by(d.c.planned_ms, d.c.sequence)):
            told = Told(
                channel=row.channel,
                destination=row.destination,
                state=row.state,
                reason=row.reason or row.error,
                at=None if row.sent_ms is None else from_ms(row.sent_ms),
                receipt=row.receipt,
            )
            place = (row.key, Target(row.channel, row.destination))
            if _says_more(told, found.get(place)):
                found[place] = told
    return found


def _says_more(told: Told, before: Told | None) -> bool:
    """A receipt counts more than what waits, and that more than what is muted."""
    return before is None or _weight(told.state) >= _weight(before.state)


def _weight(state: str) -> int:
    if state == DeliveryState.SENT:
        return 2
    return 1 if state in OPEN or state == DeliveryState.DEAD else 0


def _delivery(row: Delivery) -> OnCallDelivery:
    return OnCallDelivery(
        delivery_key=row.delivery_key,
        incident_id=row.incident_id,
        thread_id=row.thread_id,
        channel=row.channel,
        destination=row.destination,
        kind=row.kind,
        state=row.state,
        reason=row.reason,
        detail=row.detail,
        route=row.route,
        alerts=row.alert_count,
        attempts=row.attempts,
        planned_at=from_ms(row.planned_ms),
        not_before=from_ms(row.not_before_ms),
        sent_at=None if row.sent_ms is None else from_ms(row.sent_ms),
        receipt=row.receipt,
        possible_repeat=row.possible_repeat,
        error=row.error,
    )
