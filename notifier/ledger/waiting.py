"""The ledger as the last look before a message uses it. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from notifier.ledger.file import LedgerFile
from notifier.ledger.queries import is_open, newest_of
from notifier.ledger.rows import DELIVERIES, INCIDENTS, MEMBERS, THREADS, Delivery, to_incident, to_thread
from notifier.metrics import Metrics
from notifier.model import AlertRow, DeliveryState, Held, MessageKind, Muted, Thread
from notifier.routing.decide import MuteReason

_WAITS = (DeliveryState.PLANNED, DeliveryState.RETRY, DeliveryState.PARKED)


class WaitingBook:
    """Every method raises LedgerError when the file cannot be read or written. metrics: to count what is muted."""

    def __init__(self, file: LedgerFile, metrics: Callable[[], Metrics]) -> None:
        self._read, self._write = file.read, file.write
        self._metrics = metrics
        self._then = file.then
        self.together = file.together

    def in_thread(self, thread_id: str) -> tuple[Thread, list[Held]]:
        """A thread, and its incidents."""
        i, m, t = INCIDENTS, MEMBERS, THREADS
        members = sa.select(m.c.incident_id, m.c.since_ms, m.c.over).where(m.c.thread_id == thread_id)
        ids = sa.select(m.c.incident_id).where(m.c.thread_id == thread_id)
        with self._read() as db:
            thread = to_thread(db.execute(sa.select(t).where(t.c.thread_id == thread_id)).one())
            alerts = {alert.incident_id: alert for alert in newest_of(db, ids, -1)}
            rows = db.execute(sa.select(i).where(i.c.incident_id.in_(ids)))
            incidents = {row.incident_id: to_incident(row) for row in rows}
            return thread, [
                Held(incidents[row.incident_id], alerts[row.incident_id], row.since_ms or 0, bool(row.over))
                for row in db.execute(members)
                if row.incident_id in alerts
            ]

    def told_ms(self, thread_id: str) -> int | None:
        """When a message of it was last taken, edits left out."""
        d = DELIVERIES
        query = sa.select(sa.func.max(d.c.sent_ms)).where(
            d.c.thread_id == thread_id, d.c.state == DeliveryState.SENT, d.c.kind != MessageKind.EDIT
        )
        with self._read() as db:
            told: int | None = db.scalar(query)
        return told

    def hush(self, delivery: Delivery, reason: MuteReason, now_ms: int, *, all_of_it: bool) -> bool:
        """See notifier.last_look.WaitingMessages."""
        d = DELIVERIES
        muted = {"state": DeliveryState.MUTED, "updated_ms": now_ms}
        own = sa.update(d).where(d.c.delivery_key == delivery.delivery_key, d.c.state.in_(_WAITS))
        with self._write() as db:
            if not db.execute(own.values(reason=reason.why, detail=reason.detail or None, **muted)).rowcount:
                return False
            rest = 0
            if all_of_it:
                others = sa.update(d).where(d.c.thread_id == delivery.thread_id, is_open(d))
                rest = db.execute(others.values(reason=Muted.NOT_TOLD, **muted)).rowcount
        self._then(lambda: self._count(reason.why, rest))
        return True

    def _count(self, why: Muted, rest: int) -> None:
        self._metrics().muted.labels(why).inc()
        self._metrics().muted.labels(Muted.NOT_TOLD).inc(rest)

    def pass_on(self, delivery: Delivery, gone: Mapping[str, int], heir: AlertRow | None, now_ms: int) -> None:
        """See notifier.last_look.WaitingMessages."""
        if heir is None:
            return
        d = DELIVERIES
        of_gone = (d.c.thread_id == delivery.thread_id, is_open(d), d.c.incident_id.in_(list(gone)))
        with self._write() as db:
            db.execute(sa.update(d).where(*of_gone).values(incident_id=heir.incident_id, alert_id=heir.alert_id))
            if delivery.kind is MessageKind.FIRST:
                left = sa.func.max(1, d.c.alert_count - sum(gone.values()))
                own = sa.update(d).where(d.c.delivery_key == delivery.delivery_key)
                db.execute(own.values(alert_count=left, alert_id=heir.alert_id, updated_ms=now_ms))
