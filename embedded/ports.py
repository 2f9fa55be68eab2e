"""The event log and the catalog as the core of both engines asks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

import pyarrow as pa

from embedded.catalog import Catalog, Staged
from embedded.log import EventLog
from lakehouse.kafka import Ends
from lakehouse.rules.minute import Span
from pipeline.batch.log import Partition, Record, Seen, Slice
from pipeline.batch.points import reach
from pipeline.batch.times import micros
from pipeline.iceberg.live import CatalogFile
from pipeline.settings import RetentionSettings
from pipeline.storage.files import Change, LiveFile, Swept, TableFiles, path_of

ONE = 0
"""The number of the only partition of a topic."""


class LocalLog:
    """The topics of the event log as the core asks them.

    `look` asks how far they reach; the answer stands until the next look.
    """

    def __init__(self, log: EventLog, clock: Callable[[], datetime], topics: Sequence[str]) -> None:
        self._log = log
        self._clock = clock
        self._topics = topics
        self._seen = self.look()

    def look(self) -> Seen:
        # The time before the question: whatever is appended later has a later log time.
        asked_at = self._clock()
        self._seen = Seen(asked_at, {(topic, ONE): Ends(*self._log.bounds(topic)) for topic in self._topics})
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

    def publish(self, changes: Mapping[str, Change], as_of: datetime | None, note: str) -> str:
        reach("before-publish")
        commit = self._catalog.publish(self._staged, None if as_of is None else micros(as_of))
        reach("after-publish")
        return commit

    def reload(self, name: str) -> None:
        raise NotImplementedError("nobody else writes to this catalog")

    def discard(self, files: Sequence[LiveFile]) -> None:
        for file in files:
            path_of(file.uri).unlink(missing_ok=True)

    def tidy(self, now: datetime, retention: RetentionSettings) -> Swept:
        commits = self._catalog.thin(micros(now), retention.every_commit, retention.first_of_minute)
        return Swept(commits, *self._catalog.sweep(micros(now), retention.sweep_age))


def _own(files: Sequence[LiveFile]) -> Sequence[CatalogFile]:
    # All that this store gives out are such.
    return cast(Sequence[CatalogFile], files)
