"""The event log of the embedded default: what Kafka is elsewhere, as one SQLite file that many processes write.

One partition a topic. Offsets count from 0 without gaps; received_at never decreases within a topic, but after a clock
that was over a minute ahead.
Appending is lakehouse.sinks.EventLogSink's; reading and trimming are here.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from lakehouse.clock import CLOCK_SLACK
from lakehouse.sinks import connect_log, unpacked
from pipeline.batch.log import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
# Rows deleted in one transaction: some 20 ms, so that writers never wait long.
_TRIM_ROWS = 10_000
# Pages of 4 KiB given back to the disk at a time.
_FREE_PAGES = 2_000


class EventLog:
    """Reads the log at `path`, which is made where there is none. Raises sqlite3.Error when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_log(path)
        self.cluster_id: str = self._connection.execute("SELECT value FROM meta WHERE name = 'cluster_id'").fetchone()[
            0
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def bounds(self, topic: str) -> tuple[int, int]:
        """Offset of the first message that is still there, and the offset that the next one will get."""
        found = self._connection.execute(
            "SELECT first_offset, next_offset FROM heads WHERE topic = ?", (topic,)
        ).fetchone()
        return (found[0], found[1]) if found else (0, 0)

    def read(self, topic: str, offset: int, limit: int) -> list[Record]:
        """At most `limit` messages from `offset` on, in order; none past the end."""
        rows = self._connection.execute(
            "SELECT offset, received_at, key, value, headers FROM log WHERE topic = ? AND offset >= ? "
            "ORDER BY offset LIMIT ?",
            (topic, offset, limit),
        )
        records = []
        last, received_at = -1, _EPOCH
        new = tuple.__new__  # as Record(…) does, without a call of Python for each
        for number, micros, key, value, headers in rows:
            if micros != last:  # a batch has one time: most rows repeat the one before
                last, received_at = micros, _EPOCH + timedelta(microseconds=micros)
            told = unpacked(headers) if headers else ()
            records.append(new(Record, (0, number, received_at, key, value, told, True, topic)))
        return records

    def sync(self) -> None:
        """Bring what is in the log to the disk, so that a power cut does not take it back. One fsync."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        # The log itself is synced by SQLite at each checkpoint, before the WAL begins anew.
        for path in (wal, self.path):
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            return

    def trim(self, topic: str, before_offset: int, before: datetime) -> int:
        """Delete messages with an offset below before_offset that came before `before`; how many they were.

        One of a clock that was ahead, which the newest message shows, goes with the older ones after it: its own time
        may be years away.
        """
        limit = (before - _EPOCH) // _US
        start, end = self.bounds(topic)
        newest = self._one("SELECT last_received_at FROM heads WHERE topic = ?", topic) or 0
        kept = self._one(
            "SELECT offset FROM log WHERE topic = ? AND offset >= ? AND offset < ? AND received_at BETWEEN ? AND ? "
            "ORDER BY offset LIMIT 1",
            *(topic, start, min(before_offset, end), limit, newest + CLOCK_SLACK // _US),
        )
        old = self._one(
            "SELECT offset FROM log WHERE topic = ? AND offset >= ? AND offset < ? AND received_at < ? "
            "ORDER BY offset DESC LIMIT 1",
            *(topic, start, min(before_offset, end) if kept is None else kept, limit),
        )
        if old is None:
            return 0
        for cut in (*range(start + _TRIM_ROWS, old + 1, _TRIM_ROWS), old + 1):
            self._delete(topic, cut)
        self._give_back()
        return old + 1 - start

    def _one(self, sql: str, *values: object) -> int | None:
        found = self._connection.execute(sql, values).fetchone()
        return found[0] if found else None

    def _delete(self, topic: str, before_offset: int) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute("DELETE FROM log WHERE topic = ? AND offset < ?", (topic, before_offset))
            self._connection.execute("UPDATE heads SET first_offset = ? WHERE topic = ?", (before_offset, topic))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _give_back(self) -> None:
        # New messages take the free pages; only what is far more than they need goes back to the disk.
        free, pages = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
        )
        if free > max(pages // 2, _FREE_PAGES):
            for _ in range((free - pages // 4) // _FREE_PAGES):
                self._connection.execute(f"PRAGMA incremental_vacuum({_FREE_PAGES})").fetchall()
