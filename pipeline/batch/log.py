"""What a batch is read from: the port of a log, and a slice of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from lakehouse.decode import Headers
from lakehouse.kafka import Ends
from lakehouse.rules.minute import Span

type Partition = tuple[str, int]
"""Topic of the log, and number."""


class Record(NamedTuple):
    """One message of a log: where it stood, when the log (or, not `log_time`, its producer) says it came (UTC), what it
    holds, and the log's topic."""

    partition: int
    offset: int
    received_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    log_time: bool = True
    topic: str = ""


@dataclass(frozen=True)
class Seen:
    """How far a log reached: what was in it at `asked_at` is below `ends`."""

    asked_at: datetime
    ends: Mapping[Partition, Ends]


class Log(Protocol):
    """What the core asks of a log between two batches."""

    def identity(self, topic: str) -> str:
        """Another one is another log, whose offsets mean something else."""

    def seen(self) -> Seen:
        """The newest answer to how far it reaches."""

    def unreadable(self, now: datetime) -> Mapping[str, Sequence[Span]]:
        """Spans of the last minutes in which a topic could not be read, the one that lasts included."""

    def ends_before(self, partition: Partition, position: int, end: int) -> str:
        """What to tell people where positions lie beyond the log's end."""

    def sync(self) -> None:
        """Bring what was read to the disk, so that a power cut takes back no message that is published."""

    def trim(self, positions: Mapping[Partition, int], before: datetime) -> int:
        """Delete what is published (below `positions`) and came before `before`; how many messages that were."""


@dataclass(frozen=True)
class Slice:
    """What one batch takes from a log.

    `ends`: the offset after its last message, a partition. `messages`: by topic of the log, in the order of (partition,
    offset); called once, for a log may give them late.
    """

    ends: Mapping[Partition, int]
    messages: Callable[[], Mapping[str, Sequence[Record]]]
