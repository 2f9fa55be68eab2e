"""What an engine tells its rules at one batch or tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from lakehouse.events import Event
from lakehouse.rules.minute import Span


class Received(NamedTuple):
    """An event of a topic, and when the log received it (UTC)."""

    topic: str
    event: Event
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of the logs at one batch or tick. Topics may be left out where nothing is known.

    now: wall clock when the batch or tick began.
    read_to: log time up to which a topic is in, the smallest over its partitions.
    received: received_at of the newest event this batch holds of a topic (any kind of event).
    first_event_at: event time of a topic's earliest event ever.
    unreadable: times [from, to) in which a topic could not be read, or whose events are lost; the last 15 minutes'
        and the one that lasts (to: now). May be passed again.
    unwatched: times [from, to) in which nothing was judged: rules about silence or too little leave them out.
    read: messages of a topic, and rejected ones, by the minute (its start) of the log's time.
    """

    now: datetime
    read_to: Mapping[str, datetime]
    received: Mapping[str, datetime] = field(default_factory=dict)
    first_event_at: Mapping[str, datetime] = field(default_factory=dict)
    unreadable: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    unwatched: Sequence[Span] = ()
    read: Mapping[str, Mapping[datetime, tuple[int, int]]] = field(default_factory=dict)
