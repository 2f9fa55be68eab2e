"""How attempts to send end, written into the ledger and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from notifier.channel import Channel, Dead, Outcome, Retry, Sent, Unknown
from notifier.clock import Clock, span_ms, to_ms
from notifier.ledger_rows import Delivery
from notifier.metrics import Metrics
from notifier.model import DeliveryState, MessageKind
from notifier.outbox import Outbox

logger = logging.getLogger("notifier")

BACKOFF_CAP_S = 60.0
LOOK_AGAIN_S = 5.0


@dataclass(frozen=True)
class Waits:
    """Waits of a sender."""

    gather: timedelta = timedelta(minutes=1)
    give_up: timedelta = timedelta(days=1)
    unreadable: timedelta = timedelta(minutes=2)


class AttemptLog:
    """Of one channel. Each method is one change of the ledger; raises LedgerError where it cannot be made."""

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        metrics: Metrics,
        waits: Waits,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._name = channel.name
        self._settle_ms = int(channel.settle_s * 1000)
        self._outbox = outbox
        self._metrics = metrics
        self._waits = waits
        self._clock = clock
        self._chance = chance

    def too_long(self, since_ms: int | None, now_ms: int) -> bool:
        """Whether a delivery first tried at `since_ms` is to be given up."""
        return since_ms is not None and now_ms - since_ms > span_ms(self._waits.give_up)

    def ended(self, delivery: Delivery, ingested_at: datetime | None, outcome: Outcome, gave_up: bool) -> None:
        """An attempt ended so. ingested_at: when the alert it tells of was published."""
        key, now = delivery.delivery_key, self._clock()
        match outcome:
            case Sent(receipt):
                self._outbox.sent(delivery, receipt, now, span_ms(self._waits.gather))
                if delivery.kind is MessageKind.FIRST and ingested_at is not None:
                    self._metrics.latency.labels(self._name).observe(max(0, now - to_ms(ingested_at)) / 1000)
            case Unknown(error):
                self._outbox.unknown(key, now + self._settle_ms, error, now)
            case Dead(error):
                self._dead(delivery, "refused", error, now)
            case Retry(error, after_s):
                if gave_up:
                    self._dead(delivery, "gave_up", error, now)
                else:
                    wait_ms = int(1000 * (self._backoff_s(delivery.attempts) if after_s is None else after_s))
                    self._outbox.retry(key, now + wait_ms, error, now)
                    if after_s is not None:
                        self._outbox.park(self._name, now + wait_ms, error)
        self._metrics.attempts.labels(self._name, _STATES[type(outcome)]).inc()

    def found(self, delivery: Delivery, receipt: str, now_ms: int) -> None:
        """It had been taken."""
        self._outbox.sent(delivery, receipt, now_ms, span_ms(self._waits.gather))

    def absent(self, delivery: Delivery, now_ms: int) -> None:
        """No trace of it: it goes again."""
        wait_s = self._backoff_s(delivery.attempts) if delivery.attempts > 1 else 0.0
        self._outbox.retry(delivery.delivery_key, now_ms + int(wait_s * 1000), delivery.error or "no answer", now_ms)
        self._metrics.resent.labels(self._name).inc()
        logger.info("%.12s to %s: no trace of it, sending again", delivery.delivery_key, self._name)

    def gave_up(self, delivery: Delivery, now_ms: int) -> None:
        """Looked for in vain for so long that it is given up."""
        self._dead(delivery, "gave_up", delivery.error or "no answer", now_ms)

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
        self._outbox.unknown(key, now_ms + int(wait_s * 1000), error, now_ms, unreadable_since)
        if after_s is not None:
            self._outbox.park(self._name, now_ms + int(after_s * 1000), error)

    def _dead(self, delivery: Delivery, reason: str, error: str, now_ms: int) -> None:
        self._outbox.dead(delivery.delivery_key, reason, error, now_ms)
        self._metrics.dead.labels(self._name, reason).inc()

    def _backoff_s(self, attempts: int) -> float:
        """1 s, doubled with each attempt, at most a minute; full jitter, but never at once."""
        return max(0.2, min(BACKOFF_CAP_S, 2.0 ** min(attempts - 1, 10)) * self._chance())


_STATES: dict[type, DeliveryState] = {
    Sent: DeliveryState.SENT,
    Retry: DeliveryState.RETRY,
    Unknown: DeliveryState.UNKNOWN,
    Dead: DeliveryState.DEAD,
}
