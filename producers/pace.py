"""Sending in real time: by absolute deadlines in small batches, or as fast as the sink takes it."""

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import batched, chain
from typing import Protocol

from lakehouse.sinks import Sink, SinkDown, SinkError
from lakehouse.stop import Stop
from producers.messages import Message, message_value

logger = logging.getLogger(__name__)

TICK_S = 0.1
"""Events go out together at most this often: ten small batches a second, never one burst."""

# A machine that slept, or a sink that was away, is not made up for by a flood: shoppers would not have waited either.
_LATEST_S = 5.0
_PATIENCE_S = 1.0
_BATCH = 5_000


class Clock(Protocol):
    """The time, and the only way to wait for it."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def passed(self) -> float:
        """Seconds since any moment: by a clock that nobody sets, for paces and waits."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        return time.time()

    def passed(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def iso(seconds: float) -> str:
    """A time as producers write it: ISO 8601, UTC, ms."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def send_live(messages: Iterator[list[Message]], sink: Sink, clock: Clock, stop: Stop, until: float | None) -> int:
    """Send each message once its time has come, produced_at being the moment of sending; how many were sent.

    A sink that refuses is tried again each second. Messages over 5 s late are left out, and a warning says so.
    """
    ahead, place = next(messages, []), 0
    # The first list takes a while where there are many people to bring in: that is no reason to begin with a flood.
    began, begun, sent = clock.now(), clock.passed(), 0
    while not stop.is_set():
        now = clock.now()
        if until is not None and now >= until:
            break
        now_ms = now * 1000
        produced_at = iso(now)
        late, due = 0, 0
        while True:
            if place == len(ahead):
                upcoming = next(messages, None)
                if upcoming is None:
                    until = now if until is None else until
                    break
                ahead, place = upcoming, 0
                if not ahead:
                    # A slice in which nothing happens may be one far ahead: look again at the next tick.
                    break
            message = ahead[place]
            if message[0] > now_ms:
                break
            place += 1
            if message[0] < began * 1000:
                continue
            if message[0] < now_ms - _LATEST_S * 1000:
                late += 1
                continue
            sink.send(message[2], message[3], message_value(message, produced_at))
            due += 1
        if late:
            logger.warning("Left out %d events that were over %g s late", late, _LATEST_S)
        if due:
            deliver(sink, clock, stop, SinkError)
            sent += due
        _wait_for_tick(clock, begun, TICK_S)
    return sent


def send_filled(
    messages: Iterable[list[Message]],
    sink: Sink,
    stop: Stop,
    clock: Clock | None = None,
    at_most: float | None = None,
) -> int:
    """Send all, produced_at being each event's own time; how many were sent. Raises SinkError.

    at_most: events a second, so that whoever reads them has time for others; None: as fast as they are taken. A sink
    that nobody takes events from is waited for.
    """
    clock = clock or SystemClock()
    size = _BATCH if at_most is None else max(1, int(at_most * TICK_S))
    begun, sent = clock.passed(), 0
    for batch in batched(chain.from_iterable(messages), size):
        for message in batch:
            sink.send(message[2], message[3], message_value(message, message[1]))
        deliver(sink, clock, stop)
        sent += len(batch)
        if stop.is_set():
            break
        if at_most is not None:
            clock.sleep(max(0.0, begun + sent / at_most - clock.passed()))
    return sent


def paced(total: int, rate: float | None, clock: Clock, stop: Stop) -> Iterator[range]:
    """Numbers 0 to total in batches: `rate` of them a second, or for None as fast as they are taken."""
    begun, done = clock.passed(), 0
    while done < total and not stop.is_set():
        if rate is None:
            end = min(total, done + _BATCH)
        else:
            end = min(total, int((clock.passed() - begun) * rate) + 1)
        if end > done:
            yield range(done, end)
            done = end
        if rate is not None and done < total:
            # A slow pace needs no ticks in between.
            _wait_for_tick(clock, begun, max(TICK_S, 1 / rate))


def _wait_for_tick(clock: Clock, begun: float, tick_s: float) -> None:
    """Sleep until the next whole tick since `begun`: a late tick does not shift the ones after it."""
    # The millisecond is for clocks that come back a little early: they would find the same tick ahead once more.
    tick = (clock.passed() - begun + 0.001) // tick_s + 1
    clock.sleep(max(0.0, begun + tick * tick_s - clock.passed()))


def deliver(sink: Sink, clock: Clock, stop: Stop, passing: type[SinkError] = SinkDown) -> None:
    """Flush; after an error of the `passing` kind try again each second, until told to stop. Raises SinkError."""
    refused = False
    while True:
        try:
            sink.flush()
        except passing as error:
            if stop.is_set():
                raise
            if not refused:
                logger.warning("%s Trying again each second.", error)
                refused = True
            clock.sleep(_PATIENCE_S)
        else:
            if refused:
                logger.warning("Delivered again.")
            return
