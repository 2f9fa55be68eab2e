"""How attempts to send end, written into the ledger and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from notifier.channel import Broken, Channel, Dead, Outcome, Retry, RootGone, Sent, Unknown
from notifier.clock import Clock, span_ms, to_ms
from notifier.ledger.outbox import WHOLE, Outbox, Parked, Why
from notifier.ledger.rows import Delivery
from notifier.metrics import OUTCOMES, Metrics
from notifier.model import DeadReason, MessageKind, Muted

logger = logging.getLogger("notifier")

BACKOFF_CAP_S = 60.0
LOOK_AGAIN_S = 5.0
PROBE_S = 30.0
"""How often a place is tried where somebody has to mend something."""


@dataclass(frozen=True)
class Waits:
    """Waits of a sender."""

    give_up: timedelta = timedelta(days=1)
    unreadable: timedelta = timedelta(minutes=2)


type Told = Callable[[str, str, str | None], None]
"""Called with channel, destination (WHOLE for all of them) and why it is parked; with None when it is mended.

What it writes is one transaction with that: a crash between them would leave a place parked that nobody was told of, or
an incident that never ends.
"""

type Died = Callable[[Delivery, DeadReason, str], None]
"""Called with a message that is dead, why, and what the other side said."""


class AttemptLog:
    """Of one channel. Each method is one change of the ledger; raises LedgerError where it cannot be made.

    Where the other side asks for a pause it rarely says of what. A message's is taken as its destination's; what goes
    next elsewhere shows whether it is. Where a second destination meets one and nothing was taken in between, it is
    that of all, which are left alone until the latest of both: so a limit of all costs two requests, and then one a
    pause. Edits and look-ups have limits of their own, of all destinations, which hold up no message:
    https://docs.slack.dev/apis/web-api/rate-limits
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        metrics: Metrics,
        waits: Waits,
        clock: Clock,
        chance: Callable[[], float],
        told: Told = lambda channel, destination, why: None,
        died: Died = lambda delivery, reason, error: None,
        took: Callable[[str, str], None] = lambda channel, destination: None,
    ) -> None:
        """took: called with channel and destination of each message that was taken."""
        self._name = channel.name
        self._settle_ms = int(channel.settle_s * 1000)
        self._outbox = outbox
        self._metrics = metrics
        self._waits = waits
        self._clock = clock
        self._chance = chance
        self._told = told
        self._died = died
        self._took = took
        self._limited: dict[str, int] = {}
        """Destinations that met a limit since a message was taken anywhere, and until when each asked for a pause."""
        self.edits_ms = 0
        """Until when no root is edited."""

    def too_long(self, since_ms: int | None, now_ms: int) -> bool:
        """Whether a delivery first tried at `since_ms` is to be given up."""
        return since_ms is not None and now_ms - since_ms > span_ms(self._waits.give_up)

    def ended(
        self, delivery: Delivery, ingested_at: datetime | None, outcome: Outcome, gave_up: bool, roots: bool
    ) -> None:
        """An attempt ended so.

        ingested_at: when the alert it tells of was published. roots: whether the message begins its thread.
        """
        with self._outbox.together():
            self._ended(delivery, ingested_at, outcome, gave_up, roots)
        self._metrics.attempts.labels(self._name, WORDS[type(outcome)]).inc()

    def _ended(
        self, delivery: Delivery, ingested_at: datetime | None, outcome: Outcome, gave_up: bool, roots: bool
    ) -> None:
        key, now = delivery.delivery_key, self._clock()
        match outcome:
            case Sent(receipt):
                self._outbox.sent(delivery, receipt, now, receipt if roots else None)
                self._took(self._name, delivery.destination)
                if delivery.kind is not MessageKind.EDIT:
                    self._limited.clear()
                self._metrics.sent.labels(self._name, delivery.kind).inc()
                if delivery.kind is MessageKind.FIRST and ingested_at is not None:
                    self._metrics.latency.labels(self._name).observe(max(0, now - to_ms(ingested_at)) / 1000)
            case Unknown(error) if delivery.kind is MessageKind.EDIT:
                # An edit that comes twice is the same edit.
                self._outbox.retry(key, now + int(1000 * self._backoff_s(delivery.attempts)), error, now)
            case Unknown(error):
                self._outbox.unknown(key, now + self._settle_ms, error, now)
            case RootGone(error):
                if delivery.thread_id is not None:
                    self._outbox.lose_root(delivery.thread_id)
                self._outbox.retry(key, now, error, now)
            case Broken(error, whole):
                self._broken(delivery, error, whole, now)
            case Dead(error):
                self._dead(delivery, DeadReason.REFUSED, error, now)
            case Retry(error, after_s, shared):
                if gave_up:
                    self._dead(delivery, DeadReason.GAVE_UP, error, now)
                else:
                    wait_ms = int(1000 * (self._backoff_s(delivery.attempts) if after_s is None else after_s))
                    # A limit is no fault of the message, nor of its place: it keeps its turn before what came later.
                    self._outbox.retry(key, now + wait_ms, error, now, counts=after_s is None)
                    if after_s is not None:
                        self._limit(delivery, now + wait_ms, error, shared, now)

    def _limit(self, delivery: Delivery, until_ms: int, error: str, shared: bool, now_ms: int) -> None:
        """The other side asks for a pause until then."""
        if delivery.kind is MessageKind.EDIT and shared:
            self.edits_ms = until_ms
            logger.info("%s edits: left alone (%s): %s", self._name, Why.RATE, error)
            return
        place = delivery.destination
        self._limited[place] = until_ms
        if shared and len(self._limited) > 1:
            place, until_ms = WHOLE, max(self._limited.values())
        else:
            # One that is tried to see whether it is mended is tried again after the pause.
            mending = {held.destination for held in self._outbox.parked(self._name) if held.why is Why.BROKEN}
            place = next((each for each in (WHOLE, place) if each in mending), place)
        if self._outbox.park(self._name, place, Why.RATE, until_ms, error, now_ms):
            logger.info("%s %s: left alone (%s): %s", self._name, place or "(all)", Why.RATE, error)

    def _broken(self, delivery: Delivery, error: str, whole: bool, now_ms: int) -> None:
        place = WHOLE if whole else delivery.destination
        self._outbox.park_delivery(delivery.delivery_key, error, now_ms)
        if self._outbox.park(self._name, place, Why.BROKEN, now_ms + int(PROBE_S * 1000), error, now_ms):
            text = "%s %s: left alone (%s), somebody has to mend it: %s"
            logger.error(text, self._name, place or "(all)", Why.BROKEN, error)
            self._told(self._name, place, error)

    def mended(self, destination: str) -> None:
        """A parked place takes messages again."""
        with self._outbox.together():
            count = self._outbox.unpark(self._name, destination, self._clock())
            self._told(self._name, destination, None)
        self._metrics.probes.labels(self._name, "mended").inc()
        logger.info("%s %s: mended, %d messages go now", self._name, destination or "(all)", count)

    def still_broken(self, place: Parked, error: str) -> None:
        """Nothing waits there, and what is asked of it fails still."""
        now = self._clock()
        self._metrics.probes.labels(self._name, "broken").inc()
        self._outbox.park(self._name, place.destination, Why.BROKEN, now + int(PROBE_S * 1000), error, now)

    def found(self, delivery: Delivery, receipt: str, now_ms: int, roots: bool) -> None:
        """It had been taken."""
        with self._outbox.together():
            self._outbox.sent(delivery, receipt, now_ms, receipt if roots else None)
            self._took(self._name, delivery.destination)
        self._metrics.sent.labels(self._name, delivery.kind).inc()

    def absent(self, delivery: Delivery, now_ms: int) -> None:
        """No trace of it: it goes again."""
        wait_s = self._backoff_s(delivery.attempts) if delivery.attempts > 1 else 0.0
        self._outbox.retry(delivery.delivery_key, now_ms + int(wait_s * 1000), delivery.error or "no answer", now_ms)
        again = ""
        if delivery.attempts:
            again = " again"
            self._metrics.resent.labels(self._name).inc()
        logger.info("%.12s to %s: no trace of it, sending%s", delivery.delivery_key, self._name, again)

    def gave_up(self, delivery: Delivery, now_ms: int) -> None:
        """Looked for in vain for so long that it is given up."""
        self._dead(delivery, DeadReason.GAVE_UP, delivery.error or "no answer", now_ms)

    def unreadable(self, delivery: Delivery, error: str, after_s: float | None, now_ms: int) -> None:
        """It could not be looked for: later, or, unreadable for long, it goes again and is marked."""
        key = delivery.delivery_key
        unreadable_since = delivery.unreadable_since_ms or now_ms
        if now_ms - unreadable_since >= span_ms(self._waits.unreadable):
            self._outbox.retry(key, now_ms, error, now_ms, possible_repeat=True)
            self._metrics.repeats.labels(self._name).inc()
            logger.warning("%.12s to %s: %s Sending again as a possible repeat.", key, self._name, error)
            return
        wait_s = min(LOOK_AGAIN_S, self._waits.unreadable.total_seconds() / 4) if after_s is None else after_s
        with self._outbox.together():
            self._outbox.unknown(key, now_ms + int(wait_s * 1000), error, now_ms, unreadable_since)
            if after_s is not None:
                self._outbox.look_later(self._name, now_ms + int(after_s * 1000))
                logger.info("%s look-ups: left alone (%s): %s", self._name, Why.RATE, error)

    def _dead(self, delivery: Delivery, reason: DeadReason, error: str, now_ms: int) -> None:
        with self._outbox.together():
            muted = self._outbox.dead(delivery, reason, error, now_ms)
            self._died(delivery, reason, error)
        logger.error("%.12s to %s: %s for good: %s", delivery.delivery_key, self._name, reason, error)
        if muted:
            logger.info("%.12s to %s: %d more muted %s", delivery.delivery_key, self._name, muted, Muted.NOT_TOLD)
        self._metrics.dead.labels(self._name, reason).inc()

    def _backoff_s(self, attempts: int) -> float:
        """1 s, doubled with each attempt, at most a minute; full jitter, but never at once."""
        return max(0.2, min(BACKOFF_CAP_S, 2.0 ** min(attempts - 1, 10)) * self._chance())


WORDS: dict[type, str] = dict(zip((Sent, Retry, Unknown, Broken, RootGone, Dead), OUTCOMES, strict=True))
"""How an attempt ended, in metrics and in the log."""
