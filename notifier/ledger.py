"""The ledger: which alerts were seen, and every delivery with its state. SQLite in WAL mode, synced at each commit.

All times are milliseconds since the epoch. May be used from many threads; every change is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier import ledger_queries as queries
from notifier.clock import Clock, wall_ms
from notifier.ledger_file import LedgerFile
from notifier.ledger_rows import (
    ALERTS,
    CURSOR,
    DELIVERIES,
    PARKED,
    Cursor,
    Delivery,
    KnownIncident,
    alert_row,
    planned_row,
    to_alert,
    to_delivery,
)
from notifier.model import AlertRow, DeliveryDraft, DeliveryState, MessageKind, Muted, Target, Thread
from notifier.redact import Redact


class Ledger:
    """Opens the file, brings its tables up to date, and holds a lock on it until `close`.

    Raises UserError when the file cannot be used, is damaged or a newer tillwatch's, or another notifier has it; later
    every method raises LedgerError when it cannot be read or written. redact: what errors go through before they are
    kept.
    """

    def __init__(self, path: Path, clock: Clock = wall_ms, redact: Redact = str) -> None:
        self.file = LedgerFile(path, clock)
        self._redact = redact
        self._read, self._write = self.file.read, self.file.write

    def close(self) -> None:
        self.file.close()

    # ---- planning

    def cursor(self) -> Cursor:
        with self._read() as db:
            row = db.execute(sa.select(CURSOR)).first()
        return Cursor(row.ingested_ms, row.mute_before_ms, row.born_ms) if row else Cursor()

    def move(self, cursor: Cursor) -> None:
        with self._write() as db:
            _move(db, cursor)

    def known(self, alert_ids: Sequence[str]) -> set[str]:
        """Those of these alerts that were planned before."""
        found: set[str] = set()
        with self._read() as db:
            for start in range(0, len(alert_ids), 500):
                chunk = alert_ids[start : start + 500]
                found.update(db.scalars(sa.select(ALERTS.c.alert_id).where(ALERTS.c.alert_id.in_(chunk))))
        return found

    def plan(
        self,
        alerts: Sequence[AlertRow],
        decide: Callable[[Mapping[tuple[str, Target], Thread]], list[DeliveryDraft]],
        cursor: Cursor,
        now_ms: int,
    ) -> list[DeliveryDraft]:
        """Record alerts, insert the deliveries that `decide` makes of them and move the cursor: one transaction."""
        with self._write() as db:
            drafts = decide(queries.threads(db, {alert.incident_id for alert in alerts}))
            if alerts:
                db.execute(sqlite_insert(ALERTS).on_conflict_do_nothing(), [alert_row(a, now_ms) for a in alerts])
            new = [planned_row(draft, now_ms) for draft in drafts if not draft.added]
            if new:
                db.execute(sa.insert(DELIVERIES), new)
            for draft in drafts:
                if draft.added:
                    db.execute(
                        sa.update(DELIVERIES)
                        .where(DELIVERIES.c.delivery_key == draft.key)
                        .values(
                            alert_count=DELIVERIES.c.alert_count + draft.alert_count,
                            alert_id=draft.alert_id,
                            updated_ms=now_ms,
                        )
                    )
            _move(db, cursor)
        return drafts

    def touch(self, alert_ids: Iterable[str], now_ms: int) -> None:
        """These alerts are found in the table at every sweep: were they forgotten, they would be told again."""
        ids = list(alert_ids)
        with self._write() as db:
            for start in range(0, len(ids), 500):
                chunk = ids[start : start + 500]
                db.execute(sa.update(ALERTS).where(ALERTS.c.alert_id.in_(chunk)).values(seen_ms=now_ms))

    # ---- sending

    def due(self, channel: str, now_ms: int, horizon_ms: int) -> Delivery | None:
        """The next delivery of a channel to work on: first messages before later ones, then the longest planned.

        One waits for every earlier open one of its incident and destination. A time beyond `horizon_ms` from now can
        only come from a clock that was set back: it counts as due.
        """
        with self._read() as db:
            row = db.execute(queries.due(channel, now_ms, horizon_ms)).first()
        return to_delivery(row) if row else None

    def next_ms(self, channel: str, now_ms: int) -> int | None:
        """When the next delivery of a channel that is not due yet comes due."""
        with self._read() as db:
            due: int | None = db.scalar(queries.next_ms(channel, now_ms))
        return due

    def begin(self, key: str, now_ms: int) -> Delivery | None:
        """Mark a delivery as `sending` and return it as it is now; None when it is not to be sent any more."""
        d = DELIVERIES
        with self._write() as db:
            changed = db.execute(
                sa.update(d)
                .where(d.c.delivery_key == key, d.c.state.in_((DeliveryState.PLANNED, DeliveryState.RETRY)))
                .values(
                    state=DeliveryState.SENDING,
                    attempts=d.c.attempts + 1,
                    attempt_ms=now_ms,
                    first_attempt_ms=sa.func.coalesce(d.c.first_attempt_ms, now_ms),
                    updated_ms=now_ms,
                )
            ).rowcount
            row = db.execute(sa.select(d).where(d.c.delivery_key == key)).one()
        return to_delivery(row) if changed else None

    def sent(self, delivery: Delivery, receipt: str, now_ms: int, gather_ms: int) -> None:
        """Record the receipt; what waits of the same incident and destination waits from now."""
        d = DELIVERIES
        with self._write() as db:
            _set(
                db, delivery.delivery_key, now_ms, state=DeliveryState.SENT, receipt=receipt, sent_ms=now_ms, error=None
            )
            db.execute(
                sa.update(d)
                .where(
                    d.c.incident_id == delivery.incident_id,
                    d.c.channel == delivery.channel,
                    d.c.destination == delivery.destination,
                    d.c.kind == MessageKind.MORE,
                    d.c.state == DeliveryState.PLANNED,
                )
                .values(not_before_ms=now_ms + gather_ms)
            )

    def retry(self, key: str, not_before_ms: int, error: str, now_ms: int, *, possible_repeat: bool = False) -> None:
        """The other side did not take it: send it again, not before a time."""
        values: dict[str, Any] = {"possible_repeat": True} if possible_repeat else {}
        with self._write() as db:
            _set(
                db,
                key,
                now_ms,
                state=DeliveryState.RETRY,
                not_before_ms=not_before_ms,
                error=self._redact(error),
                unreadable_since_ms=None,
                **values,
            )

    def unknown(
        self, key: str, not_before_ms: int, error: str, now_ms: int, unreadable_since_ms: int | None = None
    ) -> None:
        """Nobody knows whether it was taken: look it up, not before a time."""
        with self._write() as db:
            _set(
                db,
                key,
                now_ms,
                state=DeliveryState.UNKNOWN,
                not_before_ms=not_before_ms,
                error=self._redact(error),
                unreadable_since_ms=unreadable_since_ms,
            )

    def dead(self, key: str, reason: str, error: str, now_ms: int) -> None:
        """It will not be sent."""
        with self._write() as db:
            _set(db, key, now_ms, state=DeliveryState.DEAD, reason=reason, error=self._redact(error))

    def mute(self, key: str, reason: Muted, now_ms: int) -> None:
        with self._write() as db:
            _set(db, key, now_ms, state=DeliveryState.MUTED, reason=reason)

    def interrupt(self, error: str, now_ms: int, settle_ms: int) -> int:
        """Make every `sending` delivery `unknown`, as its outcome was never recorded; how many."""
        d = DELIVERIES
        with self._write() as db:
            return db.execute(
                sa.update(d)
                .where(d.c.state == DeliveryState.SENDING)
                .values(
                    state=DeliveryState.UNKNOWN,
                    not_before_ms=sa.func.min(d.c.attempt_ms, now_ms) + settle_ms,
                    error=self._redact(error),
                    updated_ms=now_ms,
                )
            ).rowcount

    def root(self, delivery: Delivery) -> str | None:
        """Receipt of the first message sent of a delivery's incident to its destination: the thread's beginning."""
        with self._read() as db:
            receipt: str | None = db.scalar(queries.root(delivery))
        return receipt

    def alert(self, alert_id: str) -> AlertRow:
        with self._read() as db:
            row = db.execute(sa.select(ALERTS).where(ALERTS.c.alert_id == alert_id)).one()
        return to_alert(row)

    def firing_count(self, incident_id: str) -> int:
        """FIRING rows of an incident seen so far."""
        query = sa.select(sa.func.count()).where(ALERTS.c.incident_id == incident_id, ALERTS.c.status == "FIRING")
        with self._read() as db:
            return db.scalar(query) or 0

    def park(self, channel: str, until_ms: int, reason: str) -> None:
        """Leave a channel alone until a time, over restarts too."""
        reason = self._redact(reason)
        insert = sqlite_insert(PARKED).values(channel=channel, until_ms=until_ms, reason=reason)
        with self._write() as db:
            db.execute(insert.on_conflict_do_update(set_={"until_ms": until_ms, "reason": reason}))

    def parked(self, channel: str) -> int:
        with self._read() as db:
            return db.scalar(sa.select(PARKED.c.until_ms).where(PARKED.c.channel == channel)) or 0

    # ---- reading

    def deliveries(
        self, state: DeliveryState | None = None, incident_id: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Newest planned first."""
        query = sa.select(DELIVERIES).order_by(DELIVERIES.c.planned_ms.desc(), DELIVERIES.c.sequence.desc())
        if state:
            query = query.where(DELIVERIES.c.state == state)
        if incident_id:
            query = query.where(DELIVERIES.c.incident_id == incident_id)
        with self._read() as db:
            return [to_delivery(row) for row in db.execute(query.limit(limit))]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of deliveries by channel and state."""
        d = DELIVERIES
        query = sa.select(d.c.channel, d.c.state, sa.func.count()).group_by(d.c.channel, d.c.state)
        with self._read() as db:
            return {(channel, state): count for channel, state, count in db.execute(query)}

    def incidents(self, limit: int = 100) -> list[KnownIncident]:
        """Newest alert first."""
        with self._read() as db:
            rows = db.execute(queries.incidents(limit)).mappings().all()
        return [KnownIncident(status="FIRING" if row["resolved_ms"] is None else "RESOLVED", **row) for row in rows]

    def prune(self, before_ms: int, reach_ms: int | None = None) -> int:
        """Forget incidents without an alert or a delivery since a time, and nothing open; how many alerts.

        reach_ms: what was published after it is found again in the table, so it must not be forgotten.
        """
        a, d = ALERTS, DELIVERIES
        with self._write() as db:
            found = a.c.ingested_ms >= reach_ms if reach_ms is not None else sa.false()
            recent = sa.select(a.c.incident_id).where(sa.or_(a.c.seen_ms >= before_ms, found))
            alive = sa.select(d.c.incident_id).where(sa.or_(queries.is_open(d), d.c.updated_ms >= before_ms))
            forgotten = db.execute(
                sa.delete(a).where(a.c.incident_id.not_in(recent), a.c.incident_id.not_in(alive))
            ).rowcount
            db.execute(sa.delete(d).where(d.c.incident_id.not_in(sa.select(a.c.incident_id))))
        return forgotten


def _move(db: sa.Connection, cursor: Cursor) -> None:
    db.execute(sa.update(CURSOR).values(ingested_ms=cursor.ingested_ms, mute_before_ms=cursor.mute_before_ms))


def _set(db: sa.Connection, key: str, now_ms: int, **values: Any) -> None:
    db.execute(sa.update(DELIVERIES).where(DELIVERIES.c.delivery_key == key).values(updated_ms=now_ms, **values))
