"""Sending: a sender for each channel empties the ledger that the planner fills."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from notifier.access import Access
from notifier.attempts import WORDS, AttemptLog, Died, Told, Waits
from notifier.channel import Absent, Channel, Outcome, Retry, Sent, Sought, Unknown, Unreadable
from notifier.clock import HORIZON_MS, Clock, to_ms, wall_ms
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.ledger.outbox import WHOLE, Parked, Why
from notifier.ledger.rows import Delivery
from notifier.metrics import Metrics
from notifier.model import AlertRow, DeliveryState, MessageKind, Muted, ThreadKind
from notifier.render import Notification, Style, notification
from notifier.routing.decide import MuteReason
from notifier.text import line
from notifier.token_bucket import TokenBucket

logger = logging.getLogger("notifier")

_NEEDS_ROOT = (MessageKind.RESOLVED, MessageKind.CLEARED, MessageKind.TAKEN, MessageKind.EDIT)
"""What says nothing to somebody who was told nothing."""
_NEW_IN_A_ROW = 3
"""Where more is always due than can be sent, what failed once would wait for ever behind what is new: after so many new
ones it has its turn. A place that fails then takes a quarter of the turns, and no more."""


class Sender:
    """Empties the ledger of one channel. `step` does one delivery; `run` does them until stopped.

    places: all that it sends to, where people's own addresses are among them. told: called when a place is parked, and
    when it is mended. died, took: see AttemptLog. with_figure: adds what is usual to a message.
    last_look: why something that waited is not to be sent now; what it says is written down.
    """

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        metrics: Metrics,
        style: Style,
        waits: Waits,
        *,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        told: Told = lambda channel, destination, why: None,
        died: Died = lambda delivery, reason, error: None,
        took: Callable[[str, str], None] = lambda channel, destination: None,
        failing_others: Callable[[], Sequence[str]] = tuple,
        places: Collection[str] = (),
        with_figure: Callable[[Notification, AlertRow], Notification] = lambda note, alert: note,
        last_look: Callable[[Delivery], MuteReason | None] = lambda delivery: None,
    ) -> None:
        self._last_look = last_look
        self._failing_others = failing_others
        self._with_figure = with_figure
        self.channel = channel
        self.access = Access(channel, metrics, monotonic, chance)
        self._attempts = AttemptLog(channel, ledger.outbox, metrics, waits, clock, chance, told, died, took)
        self._ledger = ledger
        self._outbox = ledger.outbox
        self._metrics = metrics
        self._style = style
        self._clock = clock
        self._monotonic = monotonic
        self._buckets = {place: TokenBucket(channel.per_s, monotonic) for place in places or channel.destinations}
        self._new_in_a_row = 0
        self._wake = threading.Event()
        self._stop = threading.Event()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """End after the delivery in hand."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Send what is due, then sleep until something is planned or comes due."""
        while not self._stop.is_set():
            try:
                self.access.check()
                wait_s = self.step()
                if wait_s > 0:
                    self.access.check(idle=True)
            except LedgerError:
                # Full, locked or read-only: the ledger has said so, and it may be mended while we run.
                self._metrics.errors.inc()
                wait_s = 1.0
            except Exception:
                # One bad delivery must not end the daemon.
                self._metrics.errors.inc()
                logger.exception("%s: unexpected error; going on in a second", self.channel.name)
                wait_s = 1.0
            ask_s = self.access.pause_s()
            if ask_s is not None:
                wait_s = min(wait_s, ask_s)
            if wait_s > 0:
                self._wake.wait(wait_s)
                self._wake.clear()

    def step(self) -> float:
        """Work on the next delivery; how many seconds to wait before the next step (0: none)."""
        name, now = self.channel.name, self._clock()
        waits: list[float] = []
        closed: set[str] = set()
        paused: set[str] = set()
        mending: list[Parked] = []
        for place in self._outbox.parked(name):
            left_ms = place.until_ms - now
            if 0 < left_ms <= HORIZON_MS:
                waits.append(left_ms / 1000)
                closed |= self._places(place)
                paused |= self._places(place) if place.why is Why.RATE else set()
            elif place.why is Why.BROKEN:
                mending.append(place)
        for place in mending:
            if not self._places(place) & paused:
                return self._probe(place)
            closed |= self._places(place)
        self._metrics.parked.labels(name).set(bool(paused) or self._edits_left_ms(now) > 0)
        for destination, bucket in self._buckets.items():
            pause = bucket.pause_s()
            if pause > 0:
                waits.append(pause)
                closed.add(destination)
        if closed >= set(self._buckets):
            return min(waits, default=60.0)
        delivery = self._next(now, closed, waits)
        if delivery is None:
            due = self._outbox.next_ms(name, now)
            if due is not None:
                waits.append(max(0.01, (due - now) / 1000))
            # A minute at most: whoever sets the clock does not wake us.
            return min(60.0, *waits) if waits else 60.0
        if delivery.state is DeliveryState.UNKNOWN:
            self._settle(delivery)
        else:
            self._send(delivery)
        return 0.0

    def _next(self, now: int, closed: set[str], waits: list[float]) -> Delivery | None:
        """What is due outside of places that are closed. An edit leaves a token for what wakes somebody, or waits."""
        held: set[str] = set()
        while not closed | held >= set(self._buckets):
            tried_first = self._new_in_a_row >= _NEW_IN_A_ROW
            delivery = self._outbox.due(self.channel.name, now, HORIZON_MS, closed | held, tried_first=tried_first)
            if delivery is None or delivery.kind is not MessageKind.EDIT:
                if delivery is not None and delivery.state is not DeliveryState.UNKNOWN:
                    self._new_in_a_row = 0 if delivery.attempts else self._new_in_a_row + 1
                return delivery
            if left_ms := self._edits_left_ms(now):
                # Edits go last: nothing else is due.
                waits.append(left_ms / 1000)
                return None
            pause = self._buckets[delivery.destination].pause_s(spare=1)
            if pause <= 0:
                return delivery
            waits.append(pause)
            held.add(delivery.destination)
        return None

    def _edits_left_ms(self, now: int) -> int:
        """How long no root may be edited; a longer time can only come from a clock that was set back."""
        left_ms = self._attempts.edits_ms - now
        return left_ms if 0 < left_ms <= HORIZON_MS else 0

    def _places(self, parked: Parked) -> set[str]:
        return set(self._buckets) if parked.destination == WHOLE else {parked.destination}

    def _probe(self, place: Parked) -> float:
        """Try a parked place with the first message that waits there; with a question where none does."""
        delivery = self._outbox.first_parked(self.channel.name, place.destination)
        if delivery is None:
            error = self.channel.check()
            if error is None:
                self._attempts.mended(place.destination)
            else:
                self._attempts.still_broken(place, error)
            return 0.0
        outcome = self._send(delivery)
        if isinstance(outcome, Sent):
            self._attempts.mended(place.destination)
        elif outcome is not None:
            self._metrics.probes.labels(self.channel.name, "broken").inc()
        return 0.0

    def _send(self, planned: Delivery) -> Outcome | None:
        now = self._clock()
        key = planned.delivery_key
        if planned.kind in _NEEDS_ROOT and not self._ledger.told(planned):
            self._outbox.mute(key, Muted.NOT_TOLD, now)
            logger.info("%.12s to %s: %s, muted %s", key, self.channel.name, planned.kind, Muted.NOT_TOLD)
            return None
        whole = planned.kind is MessageKind.TAKEN and self.channel.manner.takes_whole
        if whole and self._ledger.untaken(planned):
            self._outbox.mute(key, Muted.UNTAKEN, now)
            logger.info("%.12s to %s: %s, muted %s", key, self.channel.name, planned.kind, Muted.UNTAKEN)
            return None
        reason = self._hushed(planned)
        if reason is not None:
            logger.info("%.12s to %s: %s, muted %s", key, self.channel.name, planned.kind, reason)
            return None
        delivery = self._outbox.begin(key, now)
        if delivery is None:
            return None
        started = self._monotonic()
        ingested_at: datetime | None = None
        roots = False
        try:
            note, alert = self._note(delivery)
            ingested_at, roots = alert.ingested_at, note.root is None
        except Exception as error:
            # Nothing left the house, so it may be tried again; `sending` would last until a restart.
            self._metrics.errors.inc()
            logger.exception("%.12s cannot be written as a message", key)
            outcome: Outcome = Retry(f"It cannot be written as a message: {line(str(error), 200)}.")
        else:
            self._buckets[delivery.destination].take()
            try:
                outcome = self.channel.send(delivery.destination, note)
            except Exception as error:
                logger.exception("%.12s to %s: unexpected error", key, self.channel.name)
                outcome = Unknown(f"Unexpected error: {line(str(error), 200)}.")
        seconds = self._monotonic() - started
        gave_up = isinstance(outcome, Retry) and self._attempts.too_long(delivery.first_attempt_ms, self._clock())
        self._keep_trying(lambda: self._attempts.ended(delivery, ingested_at, outcome, gave_up, roots))
        self.access.note_outcome(delivery.destination, outcome, gave_up)
        word = WORDS[type(outcome)]
        detail = "" if isinstance(outcome, Sent) else f": {outcome.error}"
        name, kind = self.channel.name, delivery.kind
        logger.info("%.12s to %s: %s, %s in %.2f s%s", key, name, kind, word, seconds, detail)
        return outcome

    def _hushed(self, planned: Delivery) -> MuteReason | None:
        try:
            return self._last_look(planned)
        except LedgerError:
            raise
        except Exception:
            # Rather told once too often than never, and than all behind it never.
            self._metrics.errors.inc()
            logger.exception("%.12s cannot be looked at once more; it goes", planned.delivery_key)
            return None

    def _note(self, delivery: Delivery) -> tuple[Notification, AlertRow]:
        view, alert = self._ledger.view(delivery)
        note = notification(delivery, alert, view, self._style, self._clock(), self._failing_others())
        return note if view.thread.kind is ThreadKind.STORM else self._with_figure(note, alert), alert

    def _settle(self, delivery: Delivery) -> None:
        """Was it taken? Found -> sent, absent -> again, unreadable for long -> again and marked."""
        name, key = self.channel.name, delivery.delivery_key
        tried = delivery.first_attempt_ms is not None
        alert = self._ledger.alert(delivery.alert_id)
        # What another ledger may have told, it told since the alert was published.
        since = delivery.first_attempt_ms or min(delivery.planned_ms, to_ms(alert.ingested_at))
        root = self._ledger.root(delivery)
        sought = Sought(key, root, since, None if tried else delivery.incident_id)
        try:
            finding = self.channel.find(delivery.destination, sought)
        except Exception as error:
            logger.exception("%.12s to %s: unexpected error", key, name)
            finding = Unreadable(f"Unexpected error: {error}.")
        now = self._clock()
        match finding:
            case Sent(receipt):
                self._keep_trying(lambda: self._attempts.found(delivery, receipt, now, root is None))
                self._metrics.settled.labels(name).inc()
                self.access.note_outcome(delivery.destination, finding)
                logger.info("%.12s to %s: had been taken", key, name)
            case Absent() if self._attempts.too_long(delivery.first_attempt_ms, now):
                self._attempts.gave_up(delivery, now)
                self.access.note_outcome(delivery.destination, finding, gave_up=True)
            case Absent():
                self._attempts.absent(delivery, now)
            case Unreadable():
                self._attempts.unreadable(delivery, finding.error, finding.after_s, now)

    def _keep_trying(self, record: Callable[[], None]) -> None:
        """What the other side has done must be written down, however long the disk is full."""
        while True:
            try:
                record()
                return
            except LedgerError:
                # The ledger has said why; the daemon ends where trying on is in vain.
                self._metrics.errors.inc()
                if self._stop.wait(1.0):
                    raise
