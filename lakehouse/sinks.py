"""Where events go: Kafka, or the event log of the embedded default.

A sink gathers what it is sent; `flush` delivers it all, or raises SinkError and keeps it for the next flush.
"""

import logging
import sqlite3
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, Self

from lakehouse.clock import CLOCK_SLACK
from lakehouse.kafka import KafkaDown, KafkaLog, Topic, TopicRefused
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

LOG_FILE = "events.db"
_SLACK_US = CLOCK_SLACK // timedelta(microseconds=1)
_WAIT_S = 10.0
"""How long one who opens or writes the event log waits for the others."""

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


class SinkDown(SinkError):
    """Nobody takes the events now. They are kept, and a later flush delivers them once somebody does."""


class Sink(Protocol):
    """Takes messages in order; nothing is delivered for sure before flush() has returned."""

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


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
    return connection


class EventLogSink:
    """Appends to the event log; many may, from many processes. A flush is one transaction.

    received_at is the time of the flush, but never before that of the topic's last message; unless that lies over
    CLOCK_SLACK ahead of the clock, which was wrong then and must not make the log's time stand still until it comes.
    `delivered` counts what is in the log, by topic.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._waiting: list[tuple[str, bytes | None, bytes | None]] = []
        self.delivered: Counter[str] = Counter()
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
        self.delivered.update(topic for topic, _, _ in self._waiting)
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


class _Sent:
    """One message on its way; `future` is None while the library does not have it."""

    __slots__ = ("future", "key", "topic", "value")

    def __init__(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.topic = topic
        self.key = key
        self.value = value
        self.future: Any = None


# What Kafka puts around a message: 61 bytes of its batch, 21 of itself, and some to spare.
_ENVELOPE = 100
_LARGEST = 1 << 20
_PAUSE_S = 0.5
_LOOK_EVERY_S = 10.0


class KafkaSink:
    """Sends to Kafka; each message is stored once and by all in-sync replicas before flush() returns.

    The broker's own time of a message is its received_at: opening makes the topics with LogAppendTime. While the
    brokers are away, every flush() raises SinkDown after timeout_s and keeps what it has, in order; the library goes on
    trying, so nothing is lost and nothing stored twice. `delivered` counts what the brokers have confirmed, by topic.
    """

    def __init__(
        self,
        brokers: str,
        *,
        timeout_s: float = 5.0,
        wait_s: float = 30.0,
        log: KafkaLog | None = None,
        connect: Callable[[int], Any] | None = None,
    ) -> None:
        """Opening waits up to wait_s for a broker, then raises SinkDown; `connect` takes the largest message's size."""
        from kafka import errors  # 0.2 s: only those who send to Kafka should pay

        self._errors = errors
        self._settings = KafkaSettings.load(brokers=brokers)
        self._timeout_s = timeout_s
        # A broker that hangs is asked and waited for within one flush: it must end within half of what a stop may take.
        self._log = log or KafkaLog(brokers, timeout_s=min(timeout_s, 3.0))
        self._connect = connect or self._made
        self._waiting: deque[_Sent] = deque()
        self._failed_again = False
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        self.delivered: Counter[str] = Counter()
        self._topics: Mapping[str, Topic]
        self._producer: Any = None
        self._open(wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Raises SinkError for a message that is larger than its topic takes; the others are not touched by that."""
        # A message without both is not one in kafka-python; an empty key keeps a tombstone a tombstone.
        if key is None and value is None:
            key = b""
        size = len(key or b"") + len(value or b"")
        limit = self._topics[topic].max_message_bytes if topic in self._topics else _LARGEST
        if size + _ENVELOPE > limit:
            raise self._too_large(topic, f"{size:,} bytes", f"{limit:,} bytes at most")
        self._waiting.append(_Sent(topic, key, value))

    def flush(self) -> None:
        """Deliver all that was sent, in order. Raises SinkDown after timeout_s, SinkError for what Kafka refuses.

        1. Hand to the library what it does not have.  2. Wait for the confirmations.
        3. What failed for good in the library is handed to it again by the next flush.
        """
        deadline = time.monotonic() + self._timeout_s
        self._look_at_topics()
        if self._producer is None:
            self._open(0)
        try:
            for sent in self._waiting:
                if sent.future is None:
                    sent.future = self._producer.send(sent.topic, value=sent.value, key=sent.key)
        except self._errors.KafkaError as error:
            raise self._away(error) from error
        unconfirmed: deque[_Sent] = deque()
        failed: tuple[_Sent, Exception] | None = None
        while self._waiting:
            sent = self._waiting[0]
            try:
                sent.future.get(timeout=max(0.0, deadline - time.monotonic()))
            except self._errors.KafkaError as error:
                if not sent.future.is_done:
                    self._waiting = unconfirmed + self._waiting
                    raise self._away(error) from error
                failed = failed or (sent, error)
                sent.future = None
                self._waiting.popleft()
                if not self._hopeless(error):
                    unconfirmed.append(sent)
            else:
                self._waiting.popleft()
                self.delivered[sent.topic] += 1
        self._waiting = unconfirmed
        if failed is None:
            self._failed_again = False
            return
        raise self._failure(*failed) from failed[1]

    def close(self) -> None:
        """Deliver what is left; raises SinkError with the number of events that were not."""
        refused: SinkError | None = None
        try:
            self.flush()
        except SinkError as error:
            refused = error
        self._closed_producer()
        self._log.close()
        if self._waiting:
            raise SinkError(f"{len(self._waiting):,} events were not delivered. {refused}") from refused
        if refused is not None:
            raise refused

    # How -----------------------------------------------------------------------------------------------------------

    def _look_at_topics(self) -> None:
        """Now and then: a topic that was deleted is made anew by brokers that do so unasked, and with CreateTime."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            with suppress(KafkaDown):  # which the deliveries tell by themselves
                self._ensure_topics()

    def _ensure_topics(self) -> None:
        """Make what is missing. Messages on their way to a topic that was since made anew are handed over again: it may
        have fewer partitions, and the library would wait for the old ones for ever.
        """
        before, self._topics = self._topics, self._ensured()
        if any(topic.topic_id != self._topics[name].topic_id for name, topic in before.items()):
            self._replace_producer()

    def _replace_producer(self) -> None:
        self._closed_producer()
        for sent in self._waiting:
            sent.future = None

    def _ensured(self) -> Mapping[str, Topic]:
        try:
            return self._log.ensure(self._settings)
        except TopicRefused as error:
            raise SinkError(str(error)) from error

    def _open(self, wait_s: float) -> None:
        until, told = time.monotonic() + wait_s, False
        while True:
            try:
                self._topics = self._ensured()
                largest = max((topic.max_message_bytes for topic in self._topics.values()), default=_LARGEST)
                self._producer = self._connect(max(largest, _LARGEST))
                return
            except SinkError:
                self._log.close()
                raise
            except (KafkaDown, self._errors.KafkaError, OSError) as error:
                reason = error if isinstance(error, KafkaDown) else self._refused(error)
                if time.monotonic() >= until:
                    self._log.close()
                    raise SinkDown(str(reason)) from error
                if not told:
                    logger.warning("%s Waiting up to %g s for it.", reason, wait_s)
                    told = True
                time.sleep(_PAUSE_S)

    def _made(self, largest: int) -> Any:
        from kafka import KafkaProducer

        return KafkaProducer(
            bootstrap_servers=self._settings.brokers.split(","),
            client_id="tillwatch",
            enable_idempotence=True,  # named, so that a conflicting setting raises instead of turning it off
            acks="all",
            linger_ms=5,
            batch_size=64 << 10,
            max_request_size=largest,
            # The library may try for ever: what it has given up and sent again could be stored twice.
            delivery_timeout_ms=2**31 - 1,
            request_timeout_ms=10_000,
            reconnect_backoff_max_ms=1_000,
            max_block_ms=int(self._timeout_s * 1000),
            bootstrap_timeout_ms=int(self._timeout_s * 1000),
            allow_auto_create_topics=False,  # topics are made with LogAppendTime, not by a typing error
        )

    def _hopeless(self, error: Exception) -> bool:
        """Whether this message can never be stored as it is."""
        too_large = (self._errors.MessageSizeTooLargeError, self._errors.RecordListTooLargeError)
        return isinstance(error, (*too_large, self._errors.InvalidRecordError))

    def _failure(self, sent: _Sent, error: Exception) -> SinkError:
        """What a failed delivery is called; after a second one in a row the producer is replaced."""
        if self._hopeless(error):
            size = len(sent.key or b"") + len(sent.value or b"")
            return self._too_large(sent.topic, f"{size:,} bytes", f"it was refused: {_flat(error)}")
        if isinstance(error, self._errors.AuthorizationError):
            return SinkError(
                f"Kafka at {self._settings.brokers} does not let this producer write to {sent.topic}: {_flat(error)}. "
                "Let somebody grant it WRITE and IDEMPOTENT_WRITE."
            )
        if self._failed_again:
            self._replace_producer()
        self._failed_again = True
        return self._refused(error)

    def _away(self, error: Exception) -> SinkError:
        """What a flush that got no answer is called; a topic that somebody deleted is made again."""
        try:
            self._ensure_topics()
        except KafkaDown as down:
            return SinkDown(str(down))
        return self._refused(error)

    def _closed_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0 if self._waiting else self._timeout_s)
        except self._errors.KafkaError:
            # With messages left, close() raises before it ends the sender, which would go on delivering them.
            sender = getattr(producer, "_sender", None)
            if sender is not None:
                sender.force_close()
                sender.join(self._timeout_s)
            with suppress(self._errors.KafkaError):
                producer.close(timeout=0)

    def _refused(self, error: Exception) -> SinkDown:
        return SinkDown(
            f"Kafka at {self._settings.brokers} does not take the events: {_flat(error)}. "
            "Start it or correct --brokers."
        )

    def _too_large(self, topic: str, size: str, limit: str) -> SinkError:
        return SinkError(
            f"A message of {size} does not fit into {topic} ({limit}); send less, or let somebody run: "
            f"kafka-configs.sh --bootstrap-server {self._settings.brokers} --alter --entity-type topics "
            f"--entity-name {topic} --add-config max.message.bytes=BYTES"
        )


def _flat(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def open_sink(target: str) -> EventLogSink | KafkaSink:
    """The sink that --sink names: `log` (the event log of the data directory), `kafka` (the brokers of the settings) or
    `kafka://HOST:PORT,HOST:PORT`.
    """
    if target == "log":
        return EventLogSink(open_data_dir(Shared.load().data_dir, "embedded") / LOG_FILE)
    if target == "kafka":
        return KafkaSink(KafkaSettings.load().brokers)
    if target.startswith("kafka://") and target.removeprefix("kafka://").strip("/"):
        return KafkaSink(target.removeprefix("kafka://").strip("/"))
    raise UserError(f"--sink is '{target}'; expected 'log', 'kafka' or 'kafka://HOST:PORT'.")
