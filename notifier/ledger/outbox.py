"""Deliveries on their way: what is due, and what becomes of it. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from itertools import batched
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier.ledger.file import LedgerFile
from notifier.ledger.queries import TELLING, is_open
from notifier.ledger.rows import DELIVERIES, INCIDENTS, MEMBERS, PARKED, THREADS, Delivery, to_delivery
from notifier.metrics import Metrics
from notifier.model import DeliveryState, MessageKind, Muted, Target, recurs_of
from notifier.redact import Redact

WHOLE = ""
"""Stands for every destination of a channel."""


class Why(StrEnum):
    """Why a place is left alone."""

    RATE = "rate"  # the other side asked for a pause, which it also ends
    BROKEN = "broken"  # somebody has to mend something


@dataclass(frozen=True)
class Parked:
    """A place of a channel, WHOLE for all of it, that is left alone until a time."""

    channel: str
    destination: str
    why: Why
    reason: str
    until_ms: int
    since_ms: int


# Asked again and again: a query that stands ready is asked in half the time of one that is built.
_CHANNEL, _KEY = sa.bindparam("channel", type_=sa.Text), sa.bindparam("key", type_=sa.Text)
_THREAD, _CAME = sa.bindparam("thread", type_=sa.Text), sa.bindparam("came", type_=sa.Text)
_NOW = sa.bindparam("now", type_=sa.Integer)
_EARLIER = DELIVERIES.alias()
_BLOCKED = sa.exists().where(
    _EARLIER.c.thread_id == DELIVERIES.c.thread_id,
    _EARLIER.c.sequence < DELIVERIES.c.sequence,
    is_open(_EARLIER),
    _EARLIER.c.kind != MessageKind.EDIT,
    sa.or_(DELIVERIES.c.kind != MessageKind.EDIT, _EARLIER.c.kind == MessageKind.FIRST),
)
_DUE = (
    sa.select(DELIVERIES)
    .where(
        DELIVERIES.c.channel == _CHANNEL,
        is_open(DELIVERIES),
        DELIVERIES.c.state.not_in((DeliveryState.SENDING, DeliveryState.PARKED)),
        sa.or_(DELIVERIES.c.not_before_ms <= _NOW, DELIVERIES.c.not_before_ms > sa.bindparam("beyond")),
        ~_BLOCKED,
        DELIVERIES.c.destination.not_in(sa.bindparam("but", expanding=True)),
    )
    # What failed often waits behind what was not tried yet: a bad destination must not starve a good one. Nor must what
    # is new for ever keep back what failed once: now and then that goes first.
    .order_by(
        DELIVERIES.c.state != DeliveryState.UNKNOWN,
        DELIVERIES.c.kind.not_in(TELLING),
        DELIVERIES.c.kind == MessageKind.ESCALATED,
        DELIVERIES.c.kind == MessageKind.EDIT,
        sa.and_(sa.bindparam("tried_first", type_=sa.Boolean), DELIVERIES.c.attempts == 0),
        DELIVERIES.c.attempts,
        DELIVERIES.c.planned_ms,
        DELIVERIES.c.sequence,
    )
    .limit(1)
)
_NEXT = sa.select(sa.func.min(DELIVERIES.c.not_before_ms)).where(
    DELIVERIES.c.channel == _CHANNEL,
    is_open(DELIVERIES),
    DELIVERIES.c.state != DeliveryState.PARKED,
    DELIVERIES.c.not_before_ms > _NOW,
)
_OF_KEY = sa.select(DELIVERIES).where(DELIVERIES.c.delivery_key == _KEY)
_BEGIN = (
    sa.update(DELIVERIES)
    .where(
        DELIVERIES.c.delivery_key == _KEY,
        DELIVERIES.c.state.in_((DeliveryState.PLANNED, DeliveryState.RETRY, DeliveryState.PARKED)),
    )
    .values(
        state=DeliveryState.SENDING,
        attempts=DELIVERIES.c.attempts + 1,
        attempt_ms=_NOW,
        first_attempt_ms=sa.func.coalesce(DELIVERIES.c.first_attempt_ms, _NOW),
        updated_ms=_NOW,
    )
)
_SENT = (
    sa.update(DELIVERIES)
    .where(DELIVERIES.c.delivery_key == _KEY)
    .values(state=DeliveryState.SENT, receipt=_CAME, sent_ms=_NOW, error=None, updated_ms=_NOW)
)
_OF_THREAD = THREADS.c.thread_id == _THREAD
_ROOTED = sa.update(THREADS).where(_OF_THREAD).values(root=_CAME)
_EDITED = sa.update(THREADS).where(_OF_THREAD).values(edited_ms=_NOW)
_NEWEST = sa.update(THREADS).where(_OF_THREAD).values(newest_ms=_NOW)
_WAITS_ON = (
    sa.update(DELIVERIES)
    .where(
        DELIVERIES.c.thread_id == _THREAD,
        DELIVERIES.c.kind == MessageKind.MORE,
        DELIVERIES.c.state == DeliveryState.PLANNED,
    )
    .values(not_before_ms=_NOW + sa.select(THREADS.c.interval_ms).where(_OF_THREAD).scalar_subquery())
)
_PARKED = sa.select(PARKED).where(sa.or_(_CHANNEL.is_(None), PARKED.c.channel == _CHANNEL))


class Outbox:
    """The ledger as a sender uses it. Every method raises LedgerError when the file cannot be read or written."""

    def __init__(self, file: LedgerFile, redact: Redact) -> None:
        self._redact = redact
        self._read, self._write = file.read, file.write
        self.together = file.together
        self.metrics = Metrics(())

    # ---- what is due

    def due(
        self, channel: str, now_ms: int, horizon_ms: int, but: Collection[str] = (), *, tried_first: bool = False
    ) -> Delivery | None:
        """The next delivery of a channel to work on, outside of the destinations `but`.

        What may have been taken is looked up first: until then nothing more of its thread goes. What has to wake
        somebody goes before what tells more of it, of that what nobody knows before what nobody has taken; edits go
        last; then what was tried less often (`tried_first`: what was tried before what was not), then the longest
        planned. One waits for every earlier open one of its thread; an edit for the first message alone. A time beyond
        `horizon_ms` from now can only come from a clock that was set back: it counts as due.
        """
        binds = {
            "channel": channel,
            "now": now_ms,
            "beyond": now_ms + horizon_ms,
            "but": list(but),
            "tried_first": tried_first,
        }
        with self._read() as db:
            row = db.execute(_DUE, binds).first()
        return to_delivery(row) if row else None

    def next_ms(self, channel: str, now_ms: int) -> int | None:
        """When the next delivery of a channel that is not due yet comes due."""
        with self._read() as db:
            due: int | None = db.scalar(_NEXT, {"channel": channel, "now": now_ms})
        return due

    def begin(self, key: str, now_ms: int) -> Delivery | None:
        """Mark a delivery as `sending` and return it as it is now; None when it is not to be sent any more."""
        with self._write() as db:
            changed = db.execute(_BEGIN, {"key": key, "now": now_ms}).rowcount
            row = db.execute(_OF_KEY, {"key": key}).one()
        return to_delivery(row) if changed else None

    # ---- what becomes of it

    def sent(self, delivery: Delivery, receipt: str, now_ms: int, root: str | None = None) -> None:
        """Record the receipt; what waits of the same thread waits its interval from now.

        root: the receipt of the thread's first message, where this message has become that.
        """
        values = {"key": delivery.delivery_key, "thread": delivery.thread_id, "now": now_ms, "came": receipt}
        with self._write() as db:
            db.execute(_SENT, values)
            if delivery.thread_id is None:
                return
            if root is not None:
                db.execute(_ROOTED, values | {"came": root})
            if delivery.kind is MessageKind.EDIT:
                db.execute(_EDITED, values)
                return
            db.execute(_NEWEST, values)
            db.execute(_WAITS_ON, values)

    def retry(
        self,
        key: str,
        not_before_ms: int,
        error: str,
        now_ms: int,
        *,
        possible_repeat: bool = False,
        counts: bool = True,
    ) -> None:
        """The other side did not take it: send it again, not before a time. counts: whether it was an attempt."""
        values: dict[str, Any] = {"possible_repeat": True} if possible_repeat else {}
        if not counts:
            values["attempts"] = sa.func.max(0, DELIVERIES.c.attempts - 1)
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

    def look_later(self, channel: str, not_before_ms: int) -> None:
        """Nothing of a channel can be looked up before a time."""
        d = DELIVERIES
        with self._write() as db:
            later = sa.update(d).where(d.c.channel == channel, is_open(d), d.c.state == DeliveryState.UNKNOWN)
            db.execute(later.values(not_before_ms=sa.func.max(d.c.not_before_ms, not_before_ms)))

    def dead(self, delivery: Delivery, reason: str, error: str, now_ms: int) -> int:
        """It will not be sent. With its first message a thread ends: the next alert of its incidents begins another.

        How many of its thread are muted with it.
        """
        key = delivery.delivery_key
        with self._write() as db:
            _set(db, key, now_ms, state=DeliveryState.DEAD, reason=reason, error=self._redact(error))
            if delivery.kind is not MessageKind.FIRST or delivery.thread_id is None:
                return 0
            d, m, t = DELIVERIES, MEMBERS, THREADS
            # Who tries it again tells of these.
            listed = sa.func.json_set(m.c.muted, f"$.{Muted.NOT_TOLD}", key)
            db.execute(sa.update(m).where(m.c.thread_id == delivery.thread_id).values(thread_id=None, muted=listed))
            db.execute(
                sa.update(t)
                .where(t.c.thread_id == delivery.thread_id)
                .values(resolved_ms=now_ms, open_members=0, recurs="[]")
            )
            muted = db.execute(
                sa.update(d)
                .where(d.c.thread_id == delivery.thread_id, is_open(d))
                .values(state=DeliveryState.MUTED, reason=Muted.NOT_TOLD, updated_ms=now_ms)
            ).rowcount
        self.metrics.muted.labels(Muted.NOT_TOLD).inc(muted)
        return muted

    def mute(self, key: str, reason: Muted, now_ms: int) -> None:
        with self._write() as db:
            _set(db, key, now_ms, state=DeliveryState.MUTED, reason=reason)
        self.metrics.muted.labels(reason).inc()

    def drop_places(self, known: Collection[Target], now_ms: int) -> int:
        """What waits for a place that is set up no more is listed, and not sent; how many deliveries."""
        d = DELIVERIES
        places = sa.select(d.c.channel, d.c.destination).where(is_open(d)).distinct()
        count = 0
        with self._write() as db:
            for channel, destination in db.execute(places).all():
                if Target(channel, destination) not in known:
                    count += db.execute(
                        sa.update(d)
                        .where(d.c.channel == channel, d.c.destination == destination, is_open(d))
                        .values(state=DeliveryState.MUTED, reason=Muted.NO_CHANNEL, updated_ms=now_ms)
                    ).rowcount
            for place in db.execute(sa.select(PARKED)).all():
                here = [target for target in known if target.channel == place.channel]
                if not here or (place.destination != WHOLE and Target(place.channel, place.destination) not in known):
                    db.execute(
                        sa.delete(PARKED).where(
                            PARKED.c.channel == place.channel, PARKED.c.destination == place.destination
                        )
                    )
        self.metrics.muted.labels(Muted.NO_CHANNEL).inc(count)
        return count

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

    def lose_root(self, thread_id: str) -> None:
        """Somebody has deleted the thread's first message: the next one begins it anew."""
        with self._write() as db:
            db.execute(sa.update(THREADS).where(THREADS.c.thread_id == thread_id).values(root=None))

    # ---- places that are left alone

    def park(self, channel: str, destination: str, why: Why, until_ms: int, reason: str, now_ms: int) -> bool:
        """Leave a place alone until a time, over restarts too. Whether it was not left alone for this before.

        One that somebody has to mend stays that, whatever pause the other side asks for: what waits there is freed when
        it is mended.
        """
        reason = self._redact(reason)
        place = {"channel": channel, "destination": destination}
        with self._write() as db:
            held = db.execute(
                sa.select(PARKED).where(PARKED.c.channel == channel, PARKED.c.destination == destination)
            ).first()
            if held is not None and held.why == Why.BROKEN and why is Why.RATE:
                why, reason = Why.BROKEN, held.reason
            # A pause that is over is none any more; what was to be mended still is.
            new = held is None or held.why != why or (why is Why.RATE and held.until_ms <= now_ms)
            values: dict[str, Any] = {"why": why, "reason": reason, "until_ms": until_ms}
            values["since_ms"] = now_ms if new or held is None else held.since_ms
            insert = sqlite_insert(PARKED).values(**place, **values)
            db.execute(insert.on_conflict_do_update(set_=values))
        return new

    def park_delivery(self, key: str, error: str, now_ms: int) -> None:
        """It waits until its place is mended: that time does not count as trying."""
        with self._write() as db:
            _set(
                db,
                key,
                now_ms,
                state=DeliveryState.PARKED,
                error=self._redact(error),
                first_attempt_ms=None,
                attempts=0,
            )

    def parked(self, channel: str | None = None) -> list[Parked]:
        """The places that are left alone."""
        with self._read() as db:
            found = db.execute(_PARKED, {"channel": channel})
            return [Parked(**{**row._mapping, "why": Why(row.why)}) for row in found]

    def first_parked(self, channel: str, destination: str) -> Delivery | None:
        """The delivery to try a parked place with: the first that waits there."""
        d = DELIVERIES
        query = sa.select(d).where(d.c.channel == channel, d.c.state == DeliveryState.PARKED)
        if destination != WHOLE:
            query = query.where(d.c.destination == destination)
        with self._read() as db:
            row = db.execute(query.order_by(d.c.planned_ms, d.c.sequence).limit(1)).first()
        return to_delivery(row) if row else None

    def unpark(self, channel: str, destination: str, now_ms: int) -> int:
        """It is mended: what waits there goes now; how many deliveries."""
        d = DELIVERIES
        with self._write() as db:
            db.execute(sa.delete(PARKED).where(PARKED.c.channel == channel, PARKED.c.destination == destination))
            waits = [d.c.channel == channel, d.c.state == DeliveryState.PARKED]
            if destination != WHOLE:
                waits.append(d.c.destination == destination)
            return db.execute(
                sa.update(d).where(*waits).values(state=DeliveryState.RETRY, not_before_ms=now_ms, updated_ms=now_ms)
            ).rowcount

    def revive(self, key: str, now_ms: int) -> bool:
        """Somebody wants it tried again, whatever it came to: False where it is sent, or on its way, or is dead and has
        nothing to tell any more.

        A place that is parked is tried at once.
        """
        d, p = DELIVERIES, PARKED
        again = (DeliveryState.DEAD, DeliveryState.PARKED, DeliveryState.RETRY)
        with self._write() as db:
            row = db.execute(_OF_KEY, {"key": key}).first()
            if row is not None and row.state == DeliveryState.DEAD and not _comes_back(db, to_delivery(row)):
                return False
            changed = db.execute(
                sa.update(d)
                .where(d.c.delivery_key == key, d.c.state.in_(again))
                .values(
                    state=DeliveryState.RETRY,
                    not_before_ms=now_ms,
                    first_attempt_ms=None,
                    reason=None,
                    updated_ms=now_ms,
                )
            ).rowcount
            place = db.execute(sa.select(d.c.channel, d.c.destination).where(d.c.delivery_key == key)).first()
            if changed and place is not None:
                here = p.c.destination.in_((WHOLE, place.destination))
                db.execute(
                    sa.update(p)
                    .where(p.c.channel == place.channel, here, p.c.why == Why.BROKEN)
                    .values(until_ms=now_ms)
                )
        return bool(changed)


def _comes_back(db: sa.Connection, dead: Delivery) -> bool:
    """Whether a dead delivery has something to tell still; a first message takes up its thread again.

    What says that something is open must not come after its end: nothing would end it in PagerDuty.
    """
    m, i, t = MEMBERS, INCIDENTS, THREADS
    of_thread = t.c.thread_id == dead.thread_id
    if dead.kind is not MessageKind.FIRST:
        over = db.scalar(sa.select(t.c.resolved_ms).where(of_thread)) is not None
        says_end = dead.kind is MessageKind.RESOLVED
        return over == says_end or dead.kind in (MessageKind.CLEARED, MessageKind.EDIT)
    its_own = sa.or_(
        sa.func.json_extract(m.c.muted, f"$.{Muted.NOT_TOLD}") == dead.delivery_key,
        m.c.incident_id == dead.incident_id,  # of a ledger that did not write down the others
    )
    here = (m.c.channel == dead.channel, m.c.destination == dead.destination)
    untold = sa.select(i.c.incident_id, i.c.rule, i.c.service_name).join(m, m.c.incident_id == i.c.incident_id)
    found = db.execute(
        untold.where(*here, m.c.thread_id.is_(None), m.c.over.is_(False), i.c.resolved_ms.is_(None), its_own)
    ).all()
    ids = [row.incident_id for row in found]
    for some in batched(ids, 500):
        db.execute(sa.update(m).where(*here, m.c.incident_id.in_(some)).values(thread_id=dead.thread_id))
    recurs = json.dumps(sorted({recurs_of(row.rule, row.service_name) for row in found}))
    taken_up = {"resolved_ms": None, "open_members": len(ids), "recurs": recurs}
    if ids:
        db.execute(sa.update(t).where(of_thread).values(taken_up))
    return bool(ids)


def _set(db: sa.Connection, key: str, now_ms: int, **values: Any) -> None:
    db.execute(sa.update(DELIVERIES).where(DELIVERIES.c.delivery_key == key).values(updated_ms=now_ms, **values))
