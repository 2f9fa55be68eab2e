"""Deliveries on their way: what is due, and what becomes of it. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier.ledger_file import LedgerFile
from notifier.ledger_queries import is_open
from notifier.ledger_rows import DELIVERIES, PARKED, Delivery, to_delivery
from notifier.model import DeliveryState, MessageKind, Muted
from notifier.redact import Redact


class Outbox:
    """The ledger as a sender uses it. Every method raises LedgerError when the file cannot be read or written."""

    def __init__(self, file: LedgerFile, redact: Redact) -> None:
        self._redact = redact
        self._read, self._write = file.read, file.write

    def due(self, channel: str, now_ms: int, horizon_ms: int) -> Delivery | None:
        """The next delivery of a channel to work on: first messages before later ones, then the longest planned.

        One waits for every earlier open one of its incident and destination. A time beyond `horizon_ms` from now can
        only come from a clock that was set back: it counts as due.
        """
        d, earlier = DELIVERIES, DELIVERIES.alias()
        blocked = sa.exists().where(
            earlier.c.incident_id == d.c.incident_id,
            earlier.c.channel == d.c.channel,
            earlier.c.destination == d.c.destination,
            earlier.c.sequence < d.c.sequence,
            is_open(earlier),
        )
        query = (
            sa.select(d)
            .where(
                d.c.channel == channel,
                is_open(d),
                d.c.state != DeliveryState.SENDING,
                sa.or_(d.c.not_before_ms <= now_ms, d.c.not_before_ms > now_ms + horizon_ms),
                ~blocked,
            )
            # What failed often waits behind what was not tried yet: a bad destination must not starve a good one.
            .order_by(d.c.kind != MessageKind.FIRST, d.c.attempts, d.c.planned_ms, d.c.sequence)
            .limit(1)
        )
        with self._read() as db:
            row = db.execute(query).first()
        return to_delivery(row) if row else None

    def next_ms(self, channel: str, now_ms: int) -> int | None:
        """When the next delivery of a channel that is not due yet comes due."""
        query = sa.select(sa.func.min(DELIVERIES.c.not_before_ms)).where(
            DELIVERIES.c.channel == channel, is_open(DELIVERIES), DELIVERIES.c.not_before_ms > now_ms
        )
        with self._read() as db:
            due: int | None = db.scalar(query)
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
        """Record the receipt; what waits of the same incident and destination waits its interval from now.

        gather_ms: that of a delivery which a version without intervals planned.
        """
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
                .values(not_before_ms=now_ms + sa.func.coalesce(d.c.interval_ms, gather_ms))
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
        d = DELIVERIES
        query = (
            sa.select(d.c.receipt)
            .where(
                d.c.incident_id == delivery.incident_id,
                d.c.channel == delivery.channel,
                d.c.destination == delivery.destination,
                d.c.state == DeliveryState.SENT,
                d.c.sequence < delivery.sequence,
            )
            .order_by(d.c.sequence)
            .limit(1)
        )
        with self._read() as db:
            receipt: str | None = db.scalar(query)
        return receipt

    def park(self, channel: str, until_ms: int, reason: str) -> None:
        """Leave a channel alone until a time, over restarts too."""
        reason = self._redact(reason)
        insert = sqlite_insert(PARKED).values(channel=channel, until_ms=until_ms, reason=reason)
        with self._write() as db:
            db.execute(insert.on_conflict_do_update(set_={"until_ms": until_ms, "reason": reason}))

    def parked(self, channel: str) -> int:
        with self._read() as db:
            return db.scalar(sa.select(PARKED.c.until_ms).where(PARKED.c.channel == channel)) or 0


def _set(db: sa.Connection, key: str, now_ms: int, **values: Any) -> None:
    db.execute(sa.update(DELIVERIES).where(DELIVERIES.c.delivery_key == key).values(updated_ms=now_ms, **values))
