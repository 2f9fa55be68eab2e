"""What an engine remembers for its rules between two batches: when it judged, and what it read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from lakehouse.rules.minute import MINUTE, Span, floor_minute

# A restart within this time is not worth a pause: rules about too little look at several minutes.
PAUSE = timedelta(seconds=30)


class Watch:
    """When nothing was judged: the engine was down, the machine slept, a batch took long.

    seen_at: when something was last judged, as the newest publish says; None: never.
    """

    def __init__(self, seen_at: datetime | None, keep: timedelta) -> None:
        self._seen_at = seen_at
        self._keep = keep
        self._pauses: list[Span] = []

    def look(self, now: datetime) -> list[Span]:
        """The pauses that ended within `keep` before now, this one included."""
        if self._seen_at is not None and now - self._seen_at > PAUSE:
            self._pauses.append((self._seen_at, now))
        self._seen_at = now
        # A clock that was ahead for a while leaves a pause that ends ahead.
        self._pauses = until(self._pauses, now, self._keep)
        return list(self._pauses)


def until(spans: Sequence[Span], now: datetime, keep: timedelta) -> list[Span]:
    """What of the spans lies in the past; those that ended within `keep`."""
    return [(start, min(end, now)) for start, end in spans if start < now and end > now - keep]


class Tally:
    """Messages of each topic and rejected ones, by the minute (its start) of the log's time, as far back as `keep`."""

    def __init__(self, keep: timedelta) -> None:
        self._minutes = keep // MINUTE + 2
        self._counts: defaultdict[str, dict[datetime, tuple[int, int]]] = defaultdict(dict)

    def add(self, topic: str, received_at: Sequence[datetime], rejected_at: Sequence[datetime]) -> None:
        """Count a batch: received_at of all its messages, and of those that were rejected, each in order."""
        rejected = _by_minute(rejected_at)
        for minute, messages in _by_minute(received_at).items():
            self.count(topic, minute, messages, rejected.get(minute, 0))

    def count(self, topic: str, minute: datetime, messages: int, rejected: int) -> None:
        """Count messages of one minute (its start)."""
        of_topic = self._counts[topic]
        known = of_topic.get(minute, (0, 0))
        of_topic[minute] = known[0] + messages, known[1] + rejected
        while len(of_topic) > self._minutes:
            del of_topic[min(of_topic)]

    @property
    def counts(self) -> Mapping[str, Mapping[datetime, tuple[int, int]]]:
        """Topic -> minute -> (messages, rejected), as Moment.read takes it."""
        return self._counts


def _by_minute(times: Sequence[datetime]) -> Mapping[datetime, int]:
    if times and floor_minute(min(times)) == floor_minute(max(times)):
        return {floor_minute(times[0]): len(times)}
    return Counter(map(floor_minute, times))
