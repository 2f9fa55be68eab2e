"""A file's lines as events that are ready to be sent."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from lakehouse.decode import MAX_LEAD, Event, Logged, Message, Reason, Rejected
from lakehouse.settings.base import Shared
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.bad_lines import Bad

END_OF_TIME = datetime.max.replace(tzinfo=UTC)
"""Later than any time, for decode: whether a line lies in the future is asked once its time is known."""
_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class Lines:
    """A file's lines as events, in the file's order.

    A body is the JSON text without the event's time, without produced_at and without the closing brace. `content` is
    the hash of the file's content, `told` what a reader should know of how it was read, a sentence each. `noun` is
    what the file's numbers count.
    """

    file: Path
    topic: str
    times: list[datetime] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    content: bytes = b""
    told: list[str] = field(default_factory=list)
    noun: str = "line"

    def rebased(self, span: timedelta, anchor: datetime) -> Self:
        """The same with times mapped linearly onto [anchor - span, anchor]."""
        first, last = min(self.times), max(self.times)
        whole = (last - first) // _US
        if not whole:
            return replace(self, times=[anchor] * len(self.times))
        length, begin = span // _US, anchor - span
        return replace(
            self, times=[begin + timedelta(microseconds=(at - first) // _US * length // whole) for at in self.times]
        )

    def refuse_future(self, now: datetime) -> None:
        """Raise UserError where a time lies so far ahead that it would be rejected."""
        latest = max(range(len(self.times)), key=self.times.__getitem__)
        if self.times[latest] - now > MAX_LEAD:
            raise UserError(
                f"{self.file}, {self.noun} {self.numbers[latest]}: {TOPICS[self.topic].time} would be "
                f"{text_of(self.times[latest])}, which is yet to come; correct it, or use --rebase-to-now."
            )

    def refuse_stale(self, now: datetime) -> None:
        """Raise UserError where max_event_age would reject lines."""
        max_event_age = Shared.load().max_event_age
        if max_event_age is None:
            return
        stale = sum(now - at > max_event_age for at in self.times)
        if stale:
            raise UserError(
                f"{stale:,} of {len(self.times):,} lines of {self.file} are older than max_event_age "
                f"({max_event_age.total_seconds() / 86400:g} d) and would be rejected, the oldest of "
                f"{text_of(min(self.times))}; set TILLWATCH_MAX_EVENT_AGE=off for every part, or use --rebase-to-now "
                "(with --anchor where an earlier replay's moment is too long ago)."
            )

    def in_time(self, now: datetime, max_event_age: timedelta | None, left_out: Callable[[Bad], None]) -> Self:
        """Those that would be rejected for their time left out; None keeps events of any age."""
        kept = []
        for index, at in enumerate(self.times):
            early, late = at - now > MAX_LEAD, max_event_age is not None and now - at > max_event_age
            if not early and not late:
                kept.append(index)
                continue
            reason = Reason.FUTURE_TIME if early else Reason.STALE_TIME
            says = f"{TOPICS[self.topic].time} is {'yet to come' if early else 'older than max_event_age'}"
            number, value = self.numbers[index], text_of(at)
            left_out(Bad(number, reason, f"{self.noun} {number}: {value}: {says}", value=value))
        if len(kept) == len(self.times):
            return self
        return replace(
            self,
            times=[self.times[index] for index in kept],
            numbers=[self.numbers[index] for index in kept],
            keys=[self.keys[index] for index in kept],
            bodies=[self.bodies[index] for index in kept],
        )


type Judge = Callable[[Logged], tuple[Event | Rejected, ...]]


def judged(topic: str, message: bytes, judge: Judge) -> Event | Rejected:
    """The event that ingest will make of a message, whenever it happened; `judge` reads messages of the topic."""
    found = judge(Message(message, END_OF_TIME))
    if len(found) == 1:
        return found[0]
    return Rejected(Reason.BAD_VALUE, f"the source that reads {topic} makes {len(found):,} events of it")


def text_of(time: datetime) -> str:
    """A time as it is sent."""
    return time.isoformat().replace("+00:00", "Z")


def key_of(topic: str, event: Event) -> bytes:
    """What the log keeps as the message's key: events of one key stay in their order."""
    declared = TOPICS[topic]
    return str(getattr(event, declared.field(declared.message_key).column)).encode()
