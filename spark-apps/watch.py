"""How far Kafka's topics reach, asked once a second beside the batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from lakehouse.kafka import KafkaLog
from lakehouse.user_error import UserError
from pipeline import metrics
from pipeline.batch.log import Partition, Seen
from pipeline.judging.watch import until

logger = logging.getLogger("tillwatch.driver")

EVERY_S = 1.0
REMEMBERED = timedelta(minutes=20)


class Outages:
    """Spans in which Kafka did not answer. They outlive an attempt: rules must know what no attempt could see."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[tuple[datetime, datetime]] = []
        # A driver that is started while Kafka is away knows nothing of the time before.
        self._answered_at = datetime.fromtimestamp(0, UTC)
        self._failing_since: datetime | None = None

    @property
    def lasts(self) -> bool:
        return self._failing_since is not None

    def begins(self) -> None:
        """Kafka did not answer: nothing is known since it last did."""
        with self._lock:
            self._failing_since = self._failing_since or self._answered_at

    def answered(self, asked_at: datetime) -> None:
        with self._lock:
            if self._failing_since is not None:
                self._spans.append((self._failing_since, asked_at))
            self._answered_at, self._failing_since = asked_at, None

    def spans(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Those of the last minutes, the one that lasts included."""
        with self._lock:
            self._spans = until(self._spans, now, REMEMBERED)
            if self._failing_since is None:
                return list(self._spans)
            return [*self._spans, (self._failing_since, max(now, self._failing_since))]


class LogWatch:
    """Kafka as the core asks it: in a thread of its own.

    While nobody answers, the last answer stands and the time counts as unreadable. `ids`: of each topic at the start.
    """

    def __init__(self, brokers: str, cluster: str, first: Seen, outages: Outages, ids: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._ids = ids
        self._log = KafkaLog(brokers)
        self._seen = first
        self._outages = outages
        self.made_anew = ""
        """A topic that has another id than at the start: offsets of the one that was read mean nothing in it."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._log.close()

    def identity(self, topic: str) -> str:
        return f"{self._cluster}/{self._ids[topic]}"

    def seen(self) -> Seen:
        return self._seen

    def ends_before(self, partition: Partition, position: int, end: int) -> str:
        return (
            f"{partition[0]} partition {partition[1]} was read up to offset {position}, but Kafka's log ends at {end}: "
            "it is not the log these tables were made from; restore it, or make the topic anew (it is then read from "
            "its beginning, and events already stored are told by their keys)."
        )

    def sync(self) -> None:
        """What a broker has acknowledged it has."""

    def trim(self, positions: Mapping[Partition, int], before: datetime) -> int:
        return 0  # by the topics' own retention

    @property
    def readable(self) -> bool:
        """Whether the last question was answered, and lately."""
        # Either way: a clock that was put back makes the answer look new for as long.
        return not self._outages.lasts and abs(datetime.now(UTC) - self._seen.asked_at) < timedelta(seconds=10)

    def unreadable(self, now: datetime) -> dict[str, list[tuple[datetime, datetime]]]:
        """Spans of the last minutes in which the topics could not be read, the one that lasts included."""
        spans = self._outages.spans(now)
        return dict.fromkeys(self._ids, spans) if spans else {}

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._ask()

    def _ask(self) -> None:
        asked_at = datetime.now(UTC)
        try:
            began = time.monotonic()
            ends = self._log.ends(self._ids)
            if not ends:
                raise UserError("the topics are gone")
            ids = self._log.ids(self._ids)
            if time.monotonic() - began > EVERY_S:
                logger.debug("Kafka took %.1f s to tell how far it reaches", time.monotonic() - began)
        except Exception as error:
            if not self._outages.lasts:
                logger.warning("the log cannot be read: %s", error)
            self._outages.begins()
            metrics.LOG_READABLE.set(0)
            return
        if self._outages.lasts:
            logger.info("the log can be read again")
        self.made_anew = next((topic for topic, held in self._ids.items() if ids.get(topic, held) != held), "")
        self._outages.answered(asked_at)
        self._seen = Seen(asked_at, ends)
        metrics.LOG_READABLE.set(1)
