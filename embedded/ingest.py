"""Ingest of the embedded default: event log -> Iceberg tables, exactly once.

One loop, one writer. What a batch is stands in pipeline/batch; here is when one is made, and what it is read from and
written to. After any end, kill -9 included, a start goes on from the positions of the last publish.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pyarrow as pa
from prometheus_client import start_http_server

from embedded.catalog import Catalog, CatalogFile, Staged, only_writer
from embedded.log import EventLog
from lakehouse.events import ERRORS_TOPIC, TOPICS
from lakehouse.kafka import Ends
from lakehouse.rules.minute import Span
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline import metrics
from pipeline.batch.core import Core
from pipeline.batch.log import Partition, Record, Seen, Slice
from pipeline.batch.points import reach
from pipeline.batch.terms import Terms
from pipeline.batch.times import micros
from pipeline.settings import RetentionSettings
from pipeline.storage.files import Change, LiveFile, Swept, TableFiles

logger = logging.getLogger("tillwatch.ingest")

LOW_RATE = 50  # events/s below which publishes come half as often
POLL = 0.05  # s
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # s
ONE = 0
"""The number of the only partition of a topic."""


def _now() -> datetime:
    return datetime.now(UTC)


class LocalLog:
    """The event log as the core asks it. `look` asks how far it reaches; the answer stands until the next look."""

    def __init__(self, log: EventLog, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._clock = clock
        self._seen = self.look()

    def look(self) -> Seen:
        # The time before the question: whatever is appended later has a later log time.
        asked_at = self._clock()
        self._seen = Seen(asked_at, {(topic, ONE): Ends(*self._log.bounds(topic)) for topic in TOPICS})
        return self._seen

    def identity(self, topic: str) -> str:
        return self._log.cluster_id

    def seen(self) -> Seen:
        return self._seen

    def unreadable(self, now: datetime) -> Mapping[str, Sequence[Span]]:
        return {}  # a file on this disk

    def ends_before(self, partition: Partition, position: int, end: int) -> str:
        return (
            f"{partition[0]} was read up to offset {position}, but the event log ends at {end}: it is not the log "
            "these tables were made from; restore it, or move events.db away to start a new one."
        )

    def sync(self) -> None:
        self._log.sync()

    def trim(self, positions: Mapping[Partition, int], before: datetime) -> int:
        return sum(self._log.trim(topic, offset, before) for (topic, _), offset in positions.items())

    def read(self, positions: Mapping[Partition, int], limit: int) -> Slice:
        """At most `limit` messages of each topic from its position on, of those that the last look saw."""
        messages: dict[str, Sequence[Record]] = {}
        ends: dict[Partition, int] = {}
        for place, offset in positions.items():
            records = self._log.read(place[0], offset, min(limit, self._seen.ends[place].end - offset))
            if records:
                messages[place[0]] = records
                ends[place] = records[-1].offset + 1
        return Slice(ends, lambda: messages)


class LocalStore:
    """The catalog as the core asks it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._staged: list[Staged] = []

    @property
    def tables(self) -> Mapping[str, TableFiles]:
        return self._catalog.tables

    @property
    def sequence(self) -> int:
        return self._catalog.sequence

    @property
    def is_new(self) -> bool:
        return False  # what the start has made, it has published

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        return self._catalog.read(name, files, columns)

    def rows(self, name: str) -> pa.Table:
        return self._catalog.rows(name)

    def stage(self, changes: Mapping[str, Change]) -> None:
        sequence = self._catalog.sequence + 1
        self._staged = [
            self._catalog.tables[name].stage(_own(change.added), _own(change.removed), sequence)
            for name, change in changes.items()
        ]

    def publish(
        self, changes: Mapping[str, Change], as_of: datetime | None, note: str, written: Iterable[str] = ()
    ) -> str:
        reach("before-publish")
        commit = self._catalog.publish(self._staged, None if as_of is None else micros(as_of))
        reach("after-publish")
        return commit

    def reload(self, name: str) -> None:
        raise NotImplementedError("nobody else writes to this catalog")

    def tidy(self, now: datetime, retention: RetentionSettings) -> Swept:
        commits = self._catalog.thin(micros(now), retention.every_commit, retention.first_of_minute)
        return Swept(commits, *self._catalog.sweep(micros(now), retention.sweep_age))


def _own(files: Sequence[LiveFile]) -> Sequence[CatalogFile]:
    # All that this store gives out are such.
    return cast(Sequence[CatalogFile], files)


class Ingest:
    """The pipeline between one event log and one catalog. `step` makes at most one publish."""

    def __init__(self, data_dir: Path, log: EventLog, terms: Terms, clock: Callable[[], datetime] = _now) -> None:
        self._terms = terms
        self._log = log
        self.catalog = Catalog(data_dir)
        self.catalog.sweep_orphans(terms.retention.sweep_age)
        self.log = LocalLog(log, clock)
        self.core = Core(self.log, LocalStore(self.catalog), terms, clock)
        self._begun_at = float("-inf")
        self._rate: deque[tuple[float, int]] = deque()
        self._peeked = 0

    def close(self) -> None:
        self.core.close()
        self.catalog.close()

    def step(self) -> bool:
        """Publish if it is time to: there is something and enough time has passed, a FATAL waits, a heartbeat is due.

        Returns whether more is waiting already, so that the caller need not rest.
        """
        now = time.monotonic()
        ends = self.log.look().ends
        positions = self.core.positions
        if any(ends[place].end > position.next_offset for place, position in positions.items()):
            every = self._terms.ingest.publish_every.total_seconds()
            every *= 2 if self._events_a_second(now) < LOW_RATE else 1
            if now - self._begun_at >= every or self._fatal_waits(ends[ERRORS_TOPIC, ONE].end):
                return self._publish()
        self.core.tick()
        return False

    def publish(self, heartbeat: bool = False) -> bool:
        """Publish what is in the log, `batch_rows` of a topic at most. Returns whether it holds more."""
        self.log.look()
        return self._publish(heartbeat)

    def _publish(self, heartbeat: bool = False) -> bool:
        # From the beginning of this publish, so that publishes come at an even pace however long one takes.
        self._begun_at = time.monotonic()
        read = self.log.read(self.core.next_offsets(), self._terms.ingest.batch_rows)
        self._rate.append((self._begun_at, self.core.batch(read, heartbeat=heartbeat)))
        return any(self.log.seen().ends[place].end > p.next_offset for place, p in self.core.positions.items())

    def _events_a_second(self, now: float) -> float:
        while self._rate and self._rate[0][0] < now - 10:
            self._rate.popleft()
        return sum(count for _, count in self._rate) / 10

    def _fatal_waits(self, end: int) -> bool:
        """Whether an unread error is a FATAL; each is looked at once."""
        first = max(self.core.positions[ERRORS_TOPIC, ONE].next_offset, self._peeked)
        if end <= first:
            return False
        records = self._log.read(ERRORS_TOPIC, first, self._terms.ingest.batch_rows)
        self._peeked = first + len(records)
        return any(record.value is not None and b"FATAL" in record.value for record in records)


def run(stop: Stop) -> None:
    """Ingest until `stop` is set. A batch that fails is begun again from the last publish, with back-off."""
    shared = Shared.load()
    terms = Terms.load(shared)
    port = shared.port("ingest")
    claim_port(port)
    data_dir = open_data_dir(shared.data_dir, "embedded")
    with only_writer(data_dir):
        start_http_server(port, "127.0.0.1")
        pause = FIRST_PAUSE
        while not stop.is_set():
            ingest: Ingest | None = None
            try:
                with EventLog(data_dir / "events.db") as log:
                    ingest = Ingest(data_dir, log, terms)
                    logger.info("reading %s from %s", data_dir / "events.db", ingest.core.offsets())
                    while not stop.is_set():
                        if not ingest.step():
                            stop.wait(POLL)
                        pause = FIRST_PAUSE
            except UserError:
                raise
            except Exception as error:
                # Whatever it was (a full disk, a locked file): nothing of the batch is visible, the next try begins at
                # the last publish.
                metrics.FAILURES.inc()
                logger.error("batch failed, again in %.0f s: %s: %s", pause, type(error).__name__, error)
                logger.debug("the batch that failed", exc_info=True)
                stop.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
            finally:
                if ingest is not None:
                    ingest.close()
    logger.info("done")


def main() -> None:
    """`python -m embedded.ingest`."""
    parser = argparse.ArgumentParser(
        prog="embedded.ingest", description="Read the event log into the Iceberg tables, exactly once; Ctrl-C ends it."
    )
    parser.add_argument("--verbose", action="store_true", help="log every publish")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("pyiceberg", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = Stop.on_signals()
    with exit_on_user_error():
        run(stop)


if __name__ == "__main__":
    main()
