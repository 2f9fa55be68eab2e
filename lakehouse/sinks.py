"""Where events go: Kafka, or the event log of the embedded default.

A sink gathers what it is sent; `flush` delivers it all, or raises SinkError and keeps it for the next flush.
"""

import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

from lakehouse.settings import Shared, UserError, open_data_dir

LOG_FILE = "events.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS log (
    topic TEXT, offset INTEGER, received_at INTEGER, key BLOB, value BLOB, PRIMARY KEY (topic, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
    topic TEXT PRIMARY KEY, first_offset INTEGER, next_offset INTEGER, last_received_at INTEGER
);
"""


class SinkError(UserError):
    """Events could not be delivered; the message says where to, why, and what would do."""


class Sink(Protocol):
    """Takes messages in order; nothing is delivered for sure before flush() has returned."""

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def connect_log(path: Path) -> sqlite3.Connection:
    """A connection to the event log at path, which is made where there is none. Times in it are us since 1970, UTC.

    Writers do not wait for the disk: a crash of a process loses nothing, a power cut may lose the newest second.
    Whoever publishes what it read calls EventLog.sync() first, so that the tables never know more than the log.
    """
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    # Space of trimmed rows can be given back; it must be said before the first table is made.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'heads'").fetchone() == (0,):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('cluster_id', ?)", (uuid.uuid4().hex,))
        connection.execute("COMMIT")
    return connection


class EventLogSink:
    """Appends to the event log; many may, from many processes. A flush is one transaction.

    received_at is the time of the flush, but never before that of the topic's last message.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._waiting: list[tuple[str, bytes | None, bytes | None]] = []
        try:
            self._connection = connect_log(path)
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self._waiting.append((topic, key, value))

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
        self._waiting.clear()

    def _append(self) -> None:
        now = int(self._now() * 1_000_000)
        heads: dict[str, list[int]] = {}
        rows = []
        for topic, key, value in self._waiting:
            head = heads.get(topic)
            if head is None:
                head = heads[topic] = self._head(topic, now)
            rows.append((topic, head[0], head[1], key, value))
            head[0] += 1
        self._connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
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
        return [0, now] if found is None else [found[0], max(now, found[1])]

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._connection.close()

    def _refused(self, error: Exception) -> SinkError:
        return SinkError(
            f"The event log {self._path} cannot be written: {error}. Free space or set TILLWATCH_DATA_DIR."
        )


class KafkaSink:
    """Sends to Kafka; each message is stored once and by all in-sync replicas before flush() returns.

    The broker's own time of the message is received_at (its topics have LogAppendTime).
    """

    def __init__(self, brokers: str, *, timeout_s: float = 30, producer: Any = None) -> None:
        self._brokers = brokers
        self._timeout_s = timeout_s
        self._sent: list[Any] = []
        self._kafka_error, self._producer = _kafka(brokers, timeout_s, producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        # A message without both is not one in kafka-python; an empty key keeps a tombstone a tombstone.
        if key is None and value is None:
            key = b""
        try:
            self._sent.append(self._producer.send(topic, value=value, key=key))
        except self._kafka_error as error:
            raise self._refused(error) from error

    def flush(self) -> None:
        """Wait for every message sent since the last flush. What failed is not sent again: the library has retried."""
        sent, self._sent = self._sent, []
        failed = None
        for message in sent:
            try:
                message.get(timeout=self._timeout_s)
            except self._kafka_error as error:
                failed = failed or error
        if failed is not None:
            raise self._refused(failed) from failed

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._producer.close(timeout=self._timeout_s)

    def _refused(self, error: Exception) -> SinkError:
        return _kafka_refused(self._brokers, error)


def _kafka(brokers: str, timeout_s: float, producer: Any) -> tuple[type[Exception], Any]:
    # Imported here: it takes 0.2 s, and only those who send to Kafka should pay.
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    if producer is None:
        try:
            producer = KafkaProducer(
                bootstrap_servers=brokers.split(","),
                client_id="tillwatch",
                enable_idempotence=True,  # named, so that a conflicting setting raises instead of turning it off
                acks="all",
                linger_ms=5,
                batch_size=64 << 10,
                delivery_timeout_ms=int(timeout_s * 1000),
                request_timeout_ms=int(timeout_s * 500),
                max_block_ms=int(timeout_s * 1000),
                bootstrap_timeout_ms=int(timeout_s * 1000),
                allow_auto_create_topics=False,  # topics are made with LogAppendTime, not by a typing error
            )
        except (KafkaError, ValueError, OSError) as error:
            raise _kafka_refused(brokers, error) from error
    return KafkaError, producer


def _kafka_refused(brokers: str, error: Exception) -> SinkError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return SinkError(f"Kafka at {brokers} does not take the events: {reason}. Start it or correct --sink.")


def open_sink(target: str) -> Sink:
    """The sink that --sink names: `log` (the event log of the data directory) or `kafka://HOST:PORT,HOST:PORT`."""
    if target == "log":
        return EventLogSink(open_data_dir(Shared.load().data_dir, "embedded") / LOG_FILE)
    if target.startswith("kafka://") and target.removeprefix("kafka://").strip("/"):
        return KafkaSink(target.removeprefix("kafka://").strip("/"))
    raise UserError(f"--sink is '{target}'; expected 'log' or 'kafka://HOST:PORT'.")
