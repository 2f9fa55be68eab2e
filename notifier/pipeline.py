"""Sending: a sender for each channel empties the ledger that the planner fills."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from notifier.channels import Absent, Channel, Dead, Outcome, Retry, Sent, Unknown, Unreadable
from notifier.clock import Clock, wall_ms
from notifier.ledger import Ledger
from notifier.ledger_file import LedgerError
from notifier.ledger_rows import Delivery
from notifier.metrics import Metrics
from notifier.policy import HORIZON_MS, Alert, Kind, Muted, State, from_ms, to_ms
from notifier.render import Message, Style, message
from notifier.text import line

logger = logging.getLogger("notifier")

BACKOFF_CAP_S = 60.0
LOOK_AGAIN_S = 5.0
CHECK_AGAIN_S = 5.0
BURST = 5


@dataclass(frozen=True)
class Limits:
    """Waits of a sender."""

    gather: timedelta = timedelta(minutes=1)
    give_up: timedelta = timedelta(days=1)
    unreadable: timedelta = timedelta(minutes=2)


class Sender:
    """Empties the ledger of one channel. `step` does one delivery; `run` does them until stopped."""

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        metrics: Metrics,
        style: Style,
        limits: Limits,
        *,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        failing_others: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.channel = channel
        self.failing: dict[str, str] = {}
        """Why, for each destination whose newest attempt failed."""
        self._access: str | None = "not asked yet"
        self._refused: str | None = None
        self._failing_others = failing_others
        self._ledger = ledger
        self._metrics = metrics
        self._style = style
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._bucket = _Bucket(channel.per_s, monotonic)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._check_at = 0.0

    @property
    def access(self) -> str | None:
        """What is wrong: with one of the destinations, else with the channel."""
        return next(iter(self.failing.values()), self._access)

    @property
    def trouble(self) -> str | None:
        """Why nobody is told by it, where that is known: a message failed, or the other side does not let us in."""
        return next(iter(self.failing.values()), self._refused)

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
                self._check()
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
            if self._access is not None:
                wait_s = min(wait_s, max(0.1, self._check_at - self._monotonic()))
            if wait_s > 0:
                self._wake.wait(wait_s)
                self._wake.clear()

    def step(self) -> float:
        """Work on the next delivery; how many seconds to wait before the next step (0: none)."""
        name = self.channel.name
        now = self._clock()
        parked_ms = self._ledger.parked(name) - now
        parked = 0 < parked_ms <= HORIZON_MS
        self._metrics.parked.labels(name).set(parked)
        if parked:
            return parked_ms / 1000
        pause = self._bucket.pause_s()
        if pause > 0:
            return pause
        delivery = self._ledger.due(name, now, HORIZON_MS)
        if delivery is None:
            due = self._ledger.next_ms(name, now)
            # A minute at most: whoever sets the clock does not wake us.
            return 60.0 if due is None else min(60.0, max(0.01, (due - now) / 1000))
        if delivery.state is State.UNKNOWN:
            self._settle(delivery)
        else:
            self._send(delivery)
        return 0.0

    def _send(self, planned: Delivery) -> None:
        now = self._clock()
        key = planned.delivery_key
        if planned.kind is Kind.RESOLVED and self._ledger.root(planned) is None:
            self._ledger.mute(key, Muted.NOT_TOLD, now)
            self._metrics.muted.labels(Muted.NOT_TOLD).inc()
            return
        delivery = self._ledger.begin(key, now)
        if delivery is None:
            return
        started = self._monotonic()
        ingested_at: datetime | None = None
        try:
            alert = self._ledger.alert(delivery.alert_id)
            ingested_at = alert.ingested_at
            note = self._message(delivery, alert)
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
        gave_up = isinstance(outcome, Retry) and self._clock() - (delivery.first_attempt_ms or now) > self._give_up_ms
        self._keep_trying(lambda: self._record(delivery, ingested_at, outcome, gave_up))
        self._note_outcome(delivery.destination, outcome, gave_up)
        word = type(outcome).__name__.lower()
        detail = "" if isinstance(outcome, Sent) else f": {outcome.error}"
        level = logging.ERROR if isinstance(outcome, Dead) else logging.INFO
        logger.log(level, "%.12s to %s: %s in %.2f s%s", key, self.channel.name, word, seconds, detail)

    def _message(self, delivery: Delivery, alert: Alert) -> Message:
        return message(
            alert,
            kind=delivery.kind,
            delivery_key=delivery.delivery_key,
            count=delivery.alert_count,
            total=self._ledger.firing_count(delivery.incident_id),
            planned_at=from_ms(delivery.planned_ms),
            style=self._style,
            root=self._ledger.root(delivery),
            possible_repeat=delivery.possible_repeat,
            failing=self._failing_others(),
        )

    def _record(self, delivery: Delivery, ingested_at: datetime | None, outcome: Outcome, gave_up: bool) -> None:
        """Write down how an attempt ended."""
        name, key, now = self.channel.name, delivery.delivery_key, self._clock()
        match outcome:
            case Sent(receipt):
                self._ledger.sent(delivery, receipt, now, self._ms(self._limits.gather))
                if delivery.kind is Kind.FIRST and ingested_at is not None:
                    self._metrics.latency.labels(name).observe(max(0, now - to_ms(ingested_at)) / 1000)
            case Unknown(error):
                settle_ms = int(self.channel.settle_s * 1000)
                self._ledger.unknown(key, now + settle_ms, error, now)
            case Dead(error):
                self._dead(delivery, "refused", error, now)
            case Retry(error, after_s):
                if gave_up:
                    self._dead(delivery, "gave_up", error, now)
                else:
                    wait_ms = int(1000 * (self._backoff_s(delivery.attempts) if after_s is None else after_s))
                    self._ledger.retry(key, now + wait_ms, error, now)
                    if after_s is not None:
                        self._ledger.park(name, now + wait_ms, error)
        self._metrics.attempts.labels(name, _STATES[type(outcome)]).inc()

    def _dead(self, delivery: Delivery, reason: str, error: str, now: int) -> None:
        self._ledger.dead(delivery.delivery_key, reason, error, now)
        self._metrics.dead.labels(self.channel.name, reason).inc()

    def _settle(self, delivery: Delivery) -> None:
        """Was it taken? Found -> sent, absent -> again, unreadable for long -> again and marked."""
        name, key = self.channel.name, delivery.delivery_key
        since = delivery.first_attempt_ms or delivery.planned_ms
        try:
            finding = self.channel.find(delivery.destination, key, self._ledger.root(delivery), since)
        except Exception as error:
            logger.exception("%.12s to %s: unexpected error", key, name)
            finding = Unreadable(f"Unexpected error: {error}.")
        now = self._clock()
        match finding:
            case Sent(receipt):
                self._keep_trying(lambda: self._ledger.sent(delivery, receipt, now, self._ms(self._limits.gather)))
                self._metrics.settled.labels(name).inc()
                self._note_outcome(delivery.destination, finding)
                logger.info("%.12s to %s: had been taken", key, name)
            case Absent():
                if now - since > self._give_up_ms:
                    self._dead(delivery, "gave_up", delivery.error or "no answer", now)
                    self._note_outcome(delivery.destination, finding, gave_up=True)
                    return
                wait_s = self._backoff_s(delivery.attempts) if delivery.attempts > 1 else 0.0
                self._ledger.retry(key, now + int(wait_s * 1000), delivery.error or "no answer", now)
                self._metrics.resent.labels(name).inc()
                logger.info("%.12s to %s: no trace of it, sending again", key, name)
            case Unreadable():
                self._unreadable(delivery, finding.error, finding.after_s, now)

    def _unreadable(self, delivery: Delivery, error: str, after_s: float | None, now: int) -> None:
        name, key = self.channel.name, delivery.delivery_key
        unreadable_since = delivery.unreadable_since_ms or now
        if now - unreadable_since >= self._ms(self._limits.unreadable):
            self._ledger.retry(key, now, error, now, possible_repeat=True)
            self._metrics.repeats.labels(name).inc()
            logger.warning("%.12s to %s: %s Sending again as a possible repeat.", key, name, error)
            return
        wait_s = min(LOOK_AGAIN_S, self._limits.unreadable.total_seconds() / 4) if after_s is None else after_s
        self._ledger.unknown(key, now + int(wait_s * 1000), error, now, unreadable_since)
        if after_s is not None:
            self._ledger.park(name, now + int(after_s * 1000), error)

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

    def _check(self) -> None:
        """Ask now and then whether the other side lets us in, until it does."""
        if self._access is None or self._monotonic() < self._check_at:
            return
        try:
            answer = self.channel.check()
        except Exception as error:
            # A check that breaks says nothing about sending, and must not keep from it.
            self._metrics.errors.inc()
            logger.exception("%s: the check failed", self.channel.name)
            answer = f"{self.channel.name} could not be checked: {line(str(error), 200)}."
        else:
            self._refused = answer
        if answer != self._access:
            logger.log(logging.WARNING if answer else logging.INFO, "%s: %s", self.channel.name, answer or "ready")
        self._note_access(answer)

    def _note_outcome(self, destination: str, outcome: Outcome | Absent, gave_up: bool = False) -> None:
        """A destination fails until it takes a message; one that does not exist is dead, not failing.

        Nor is one that was given up: nothing is sent there that could tell that it is mended, so the check has to.
        """
        # A new dict each time: other threads look at it.
        others = {name: error for name, error in self.failing.items() if name != destination}
        if isinstance(outcome, Retry | Unknown) and not gave_up:
            others = {destination: outcome.error, **others}
        self.failing = others
        if isinstance(outcome, Sent):
            self._refused = None
            self._note_access(None)
        elif gave_up:
            self._note_access("a message was given up; asking anew")

    def _note_access(self, error: str | None) -> None:
        self._access = error
        self._check_at = self._monotonic() + CHECK_AGAIN_S

    def _backoff_s(self, attempts: int) -> float:
        """1 s, doubled with each attempt, at most a minute; full jitter, but never at once."""
        return max(0.2, min(BACKOFF_CAP_S, 2.0 ** min(attempts - 1, 10)) * self._chance())

    @property
    def _give_up_ms(self) -> int:
        return self._ms(self._limits.give_up)

    @staticmethod
    def _ms(span: timedelta) -> int:
        return int(span.total_seconds() * 1000)


_STATES: dict[type, State] = {Sent: State.SENT, Retry: State.RETRY, Unknown: State.UNKNOWN, Dead: State.DEAD}


class _Bucket:
    """So many messages a second for long, and a burst of five."""

    def __init__(self, per_s: float | None, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._monotonic = monotonic
        self._tokens = float(BURST)
        self._at = monotonic()

    def pause_s(self) -> float:
        """Seconds until one may be taken."""
        if self._per_s is None:
            return 0.0
        now = self._monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._per_s

    def take(self) -> None:
        self._tokens -= 1
