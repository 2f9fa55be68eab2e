"""The event log of the embedded default: appending to it. Reading is embedded.log's."""

import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Self

import msgspec

from lakehouse.clock import CLOCK_SLACK
from lakehouse.decode import Headers
from lakehouse.sinks.sink import SinkError

LOG_FILE = "events.db"
_SLACK_US = CLOCK_SLACK // timedelta(microseconds=1)
_WAIT_S = 10.0
"""How long one who opens or writes the event log waits for the others."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS log (
    topic TEXT, offset INTEGER, received_at INTEGER, key BLOB, value BLOB, headers BLOB, PRIMARY KEY (topic, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
    topic TEXT PRIMARY KEY, first_offset INTEGER, next_offset INTEGER, last_received_at INTEGER
);
"""


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Of several that switch a new file at once, SQLite refuses all but one without the wait of `timeout`.
    give_up = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def connect_log(path: Path) -> sqlite3.Connection:
    """A connection to the event log at path, which is made where there is none. Times in it are us since 1970, UTC.

    Writers do not wait for the disk: a crash of a process loses nothing, a power cut may lose the newest second.
    Whoever publishes what it read calls EventLog.sync() first, so that the tables never know more than the log.
    """
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    # Space of trimmed rows can be given back; it must be said before the first table is made.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'heads'").fetchone() == (0,):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('cluster_id', ?)", (uuid.uuid4().hex,))
        connection.execute("COMMIT")
    _add_headers(connection)
    return connection


def _add_headers(connection: sqlite3.Connection) -> None:
    """A log made before messages had headers gets the column; of several that open it at once one adds it."""
    asked = "SELECT count(*) FROM pragma_table_info('log') WHERE name = 'headers'"
    if connection.execute(asked).fetchone() == (0,):
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute(asked).fetchone() == (0,):
            connection.execute("ALTER TABLE log ADD COLUMN headers BLOB")
        connection.execute("COMMIT")


_pack = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(Headers).decode
"""The headers of a message from its row in the event log, where that has any."""


class EventLogSink:
    """Appends to the event log; many may, from many processes. A flush is one transaction.

    received_at is the time of the flush, but never before that of the topic's last message; unless that lies over
    CLOCK_SLACK ahead of the clock, which was wrong then and must not make the log's time stand still until it comes.
    `delivered` counts what is in the log, by topic.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._waiting: list[tuple[str, bytes | None, bytes | None, Headers]] = []
        self.delivered: Counter[str] = Counter()
        try:
            self._connection = connect_log(path)
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        self._waiting.append((topic, key, value, headers))

    def flush(self) -> None:
        if not self._waiting:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._append()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._refused(error) from error
        self.delivered.update(topic for topic, *_ in self._waiting)
        self._waiting.clear()

    def remember(self, name: str, value: str) -> str:
        """Keep a value with the log under a name; the one that is kept: of several the first stays."""
        try:
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
            kept: str = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
        except sqlite3.Error as error:
            raise self._refused(error) from error
        return kept

    def _append(self) -> None:
        now = int(self._now() * 1_000_000)
        heads: dict[str, list[int]] = {}
        rows = []
        for topic, key, value, headers in self._waiting:
            head = heads.get(topic)
            if head is None:
                head = heads[topic] = self._head(topic, now)
            rows.append((topic, head[0], head[1], key, value, _pack(headers) if headers else None))
            head[0] += 1
        self._connection.executemany(
            "INSERT INTO log (topic, offset, received_at, key, value, headers) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        self._connection.executemany(
            "INSERT INTO heads VALUES (?, 0, ?, ?) ON CONFLICT (topic) DO UPDATE SET "
            "next_offset = excluded.next_offset, last_received_at = excluded.last_received_at",
            [(topic, *head) for topic, head in heads.items()],
        )

    def _head(self, topic: str, now: int) -> list[int]:
        """Next offset, and the received_at of what is appended now."""
        found = self._connection.execute(
            "SELECT next_offset, last_received_at FROM heads WHERE topic = ?", (topic,)
        ).fetchone()
        if found is None:
            return [0, now]
        return [found[0], now if found[1] - now > _SLACK_US else max(now, found[1])]

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._connection.close()

    def _refused(self, error: Exception) -> SinkError:
        return SinkError(
            f"The event log {self._path} cannot be written: {error}. Free space or set TILLWATCH_DATA_DIR."
        )
