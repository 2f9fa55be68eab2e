"""Sending: a sender for each channel empties the ledger that the planner fills."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from notifier.access import Access
from notifier.attempts import AttemptLog, Waits
from notifier.channel import Absent, Channel, Dead, Outcome, Retry, Sent, Unknown, Unreadable
from notifier.clock import HORIZON_MS, Clock, from_ms, wall_ms
from notifier.ledger import Ledger
from notifier.ledger_file import LedgerError
from notifier.ledger_rows import Delivery
from notifier.metrics import Metrics
from notifier.model import AlertRow, DeliveryState, MessageKind, Muted
from notifier.render import Notification, Style, notification
from notifier.text import line
from notifier.token_bucket import TokenBucket

logger = logging.getLogger("notifier")


class Sender:
    """Empties the ledger of one channel. `step` does one delivery; `run` does them until stopped."""

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
        failing_others: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.channel = channel
        self.access = Access(channel, metrics, monotonic)
        self._attempts = AttemptLog(channel, ledger.outbox, metrics, waits, clock, chance)
        self._failing_others = failing_others
        self._ledger = ledger
        self._outbox = ledger.outbox
        self._metrics = metrics
        self._style = style
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = TokenBucket(channel.per_s, monotonic)
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
        name = self.channel.name
        now = self._clock()
        parked_ms = self._outbox.parked(name) - now
        parked = 0 < parked_ms <= HORIZON_MS
        self._metrics.parked.labels(name).set(parked)
        if parked:
            return parked_ms / 1000
        pause = self._bucket.pause_s()
        if pause > 0:
            return pause
        delivery = self._outbox.due(name, now, HORIZON_MS)
        if delivery is None:
            due = self._outbox.next_ms(name, now)
            # A minute at most: whoever sets the clock does not wake us.
            return 60.0 if due is None else min(60.0, max(0.01, (due - now) / 1000))
        if delivery.state is DeliveryState.UNKNOWN:
            self._settle(delivery)
        else:
            self._send(delivery)
        return 0.0

    def _send(self, planned: Delivery) -> None:
        now = self._clock()
        key = planned.delivery_key
        if planned.kind is MessageKind.RESOLVED and self._outbox.root(planned) is None:
            self._outbox.mute(key, Muted.NOT_TOLD, now)
            self._metrics.muted.labels(Muted.NOT_TOLD).inc()
            return
        delivery = self._outbox.begin(key, now)
        if delivery is None:
            return
        started = self._monotonic()
        ingested_at: datetime | None = None
        try:
            alert = self._ledger.alert(delivery.alert_id)
            ingested_at = alert.ingested_at
            note = self._note(delivery, alert)
        except Exception as error:
            # Nothing left the house, so it may be tried again; `sending` would last until a restart.
            self._metrics.errors.inc()
            logger.exception("%.12s cannot be written as a message", key)
            outcome: Outcome = Retry(f"It cannot be written as a message: {line(str(error), 200)}.")
        else:
            self._bucket.take()
            try:
                outcome = self.channel.send(delivery.destination, note)
            except Exception as error:
                logger.exception("%.12s to %s: unexpected error", key, self.channel.name)
                outcome = Unknown(f"Unexpected error: {line(str(error), 200)}.")
        seconds = self._monotonic() - started
        gave_up = isinstance(outcome, Retry) and self._attempts.too_long(delivery.first_attempt_ms, self._clock())
        self._keep_trying(lambda: self._attempts.ended(delivery, ingested_at, outcome, gave_up))
        self.access.note_outcome(delivery.destination, outcome, gave_up)
        word = type(outcome).__name__.lower()
        detail = "" if isinstance(outcome, Sent) else f": {outcome.error}"
        level = logging.ERROR if isinstance(outcome, Dead) else logging.INFO
        logger.log(level, "%.12s to %s: %s in %.2f s%s", key, self.channel.name, word, seconds, detail)

    def _note(self, delivery: Delivery, alert: AlertRow) -> Notification:
        return notification(
            alert,
            kind=delivery.kind,
            delivery_key=delivery.delivery_key,
            count=delivery.alert_count,
            total=self._ledger.firing_count(delivery.incident_id),
            planned_at=from_ms(delivery.planned_ms),
            style=self._style,
            root=self._outbox.root(delivery),
            possible_repeat=delivery.possible_repeat,
            failing=self._failing_others(),
        )

    def _settle(self, delivery: Delivery) -> None:
        """Was it taken? Found -> sent, absent -> again, unreadable for long -> again and marked."""
        name, key = self.channel.name, delivery.delivery_key
        since = delivery.first_attempt_ms or delivery.planned_ms
        try:
            finding = self.channel.find(delivery.destination, key, self._outbox.root(delivery), since)
        except Exception as error:
            logger.exception("%.12s to %s: unexpected error", key, name)
            finding = Unreadable(f"Unexpected error: {error}.")
        now = self._clock()
        match finding:
            case Sent(receipt):
                self._keep_trying(lambda: self._attempts.found(delivery, receipt, now))
                self._metrics.settled.labels(name).inc()
                self.access.note_outcome(delivery.destination, finding)
                logger.info("%.12s to %s: had been taken", key, name)
            case Absent() if self._attempts.too_long(since, now):
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
