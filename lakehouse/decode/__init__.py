"""`decode`: the one judge of what is an event and what is not.

Both engines read every message through it, so what is stored, what is rejected, and for which reason is the same on
both. It never raises on a payload and never looks at the wall clock: time is judged against the log's own time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

import msgspec

from lakehouse.decode.careful import read_carefully
from lakehouse.decode.customs import AS_DECLARED, Customs
from lakehouse.decode.event import EVENT_TYPES, Event, event_time, time_getter
from lakehouse.decode.fast import reader
from lakehouse.decode.rejected import MAX_LEAD, REASONS, Reason, Rejected
from lakehouse.topics import TOPICS

__all__ = [
    "AS_DECLARED",
    "EVENT_TYPES",
    "MAX_LEAD",
    "REASONS",
    "Customs",
    "Event",
    "Headers",
    "Logged",
    "Message",
    "Reason",
    "Rejected",
    "decode",
    "decode_carefully",
    "decoder",
    "event_time",
    "in_time",
    "time_getter",
]

type Headers = tuple[tuple[str, bytes | None], ...]
"""Names and values, in the producer's order; a name may stand several times."""


class Logged(Protocol):
    """What `decode` reads of a message in a log."""

    @property
    def value(self) -> bytes | None: ...

    @property
    def received_at(self) -> datetime: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def headers(self) -> Headers: ...


class Message(msgspec.Struct, frozen=True, gc=False):
    """What the log keeps of one message: received_at is the log's own time (UTC), value None a tombstone."""

    value: bytes | None
    received_at: datetime
    key: bytes | None = None
    headers: Headers = ()


@cache
def _reader(topic: str, customs: Customs) -> Callable[[bytes], Event | None]:
    return reader(TOPICS[topic], customs)


def decode(
    topic: str, message: Logged, max_event_age: timedelta | None, customs: Customs = AS_DECLARED
) -> tuple[Event | Rejected, ...]:
    """The events in a message of `topic`, in their order there, or why one is none.

    max_event_age None keeps events of any age. Raises KeyError for a topic that is not in TOPICS, and nothing for any
    message.
    """
    return decoder(topic, max_event_age, customs)(message)


@cache
def decoder(
    topic: str, max_event_age: timedelta | None, customs: Customs = AS_DECLARED
) -> Callable[[Logged], tuple[Event | Rejected, ...]]:
    """`decode` for many messages of one topic."""
    read, time_of = _reader(topic, customs), time_getter(EVENT_TYPES[topic])
    youngest, oldest = -MAX_LEAD, timedelta.max if max_event_age is None else max_event_age

    def decode_one(message: Logged) -> tuple[Event | Rejected, ...]:
        value = message.value
        # msgspec skips over unknown fields without a look at their UTF-8 and surrogates: those go the careful way.
        if value and b"\\u" not in value and (value.isascii() or _is_utf8(value)):
            try:
                event = read(value)
            except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
                event = None
            if event is not None:
                if youngest <= message.received_at - time_of(event) <= oldest:
                    return (event,)
                return (in_time(event, message.received_at, max_event_age),)
        return decode_carefully(topic, message, max_event_age, customs)

    return decode_one


def decode_carefully(
    topic: str, message: Logged, max_event_age: timedelta | None, customs: Customs = AS_DECLARED
) -> tuple[Event | Rejected, ...]:
    """What `decode` says, for any message, about five times slower."""
    found = read_carefully(TOPICS[topic], message.value, customs)
    return (found if isinstance(found, Rejected) else in_time(found, message.received_at, max_event_age),)


def in_time(event: Event, received_at: datetime, max_event_age: timedelta | None) -> Event | Rejected:
    """The event, or why the log cannot have received it then."""
    happened_at = event_time(event)
    age = received_at - happened_at
    if age < -MAX_LEAD:
        return Rejected(Reason.FUTURE_TIME, f"{happened_at.isoformat()} is {-age} after {received_at.isoformat()}")
    if max_event_age is not None and age > max_event_age:
        return Rejected(Reason.STALE_TIME, f"{happened_at.isoformat()} is {age} before {received_at.isoformat()}")
    return event


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
