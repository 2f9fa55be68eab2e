"""The event log: what is appended comes back in order, from many writers, and goes when it is told to."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.log import EventLog
from lakehouse.sinks import EventLogSink, SinkError, open_sink
from lakehouse.user_error import UserError
from pipeline.batch.log import Record

TOPIC = "orders_topic"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def sink(path: Path, clock: Hands) -> Iterator[EventLogSink]:
    with EventLogSink(path, now=clock) as sink:
        yield sink


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    with EventLog(path) as log:
        yield log


def append(sink: EventLogSink, count: int, topic: str = TOPIC) -> None:
    for number in range(count):
        sink.send(topic, b"key", b"%d" % number)
    sink.flush()


def test_what_is_appended_comes_back_in_order(sink: EventLogSink, log: EventLog) -> None:
    assert log.bounds(TOPIC) == (0, 0)
    append(sink, 5)
    sink.send(TOPIC, None, None)
    sink.send("clicks_topic", b"ann", b"\xff\x00")
    sink.flush()
    assert log.bounds(TOPIC) == (0, 6)
    assert [record.value for record in log.read(TOPIC, 3, 10)] == [b"3", b"4", None]
    assert [record.offset for record in log.read(TOPIC, 1, 2)] == [1, 2]
    assert log.read("clicks_topic", 0, 10) == [Record(0, 0, NOON, b"ann", b"\xff\x00", topic="clicks_topic")]
    assert log.read(TOPIC, 6, 10) == []


def test_keys_and_headers_come_back_as_they_were_given(sink: EventLogSink, log: EventLog) -> None:
    given = (("traceparent", b"00-1"), ("traceparent", b"\xff"), ("empty", None))
    sink.send(TOPIC, b"ann", b"1", given)
    sink.send(TOPIC, b"", b"2")
    sink.flush()
    assert [(record.key, record.headers) for record in log.read(TOPIC, 0, 10)] == [(b"ann", given), (b"", ())]


def test_a_log_from_before_headers_goes_on(path: Path, clock: Hands) -> None:
    with sqlite3.connect(path) as old:
        old.executescript(
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT); INSERT INTO meta VALUES ('cluster_id', 'old');"
            "CREATE TABLE log (topic TEXT, offset INTEGER, received_at INTEGER, key BLOB, value BLOB, "
            "PRIMARY KEY (topic, offset)) WITHOUT ROWID;"
            "CREATE TABLE heads (topic TEXT PRIMARY KEY, first_offset INTEGER, next_offset INTEGER, "
            "last_received_at INTEGER);"
            f"INSERT INTO log VALUES ('{TOPIC}', 0, 0, x'61', x'62'); INSERT INTO heads VALUES ('{TOPIC}', 0, 1, 0);"
        )
    old.close()
    with EventLog(path) as log, EventLogSink(path, now=clock) as sink:
        sink.send(TOPIC, None, b"c", (("h", b"1"),))
        sink.flush()
        assert log.cluster_id == "old"
        assert [(r.offset, r.key, r.value, r.headers) for r in log.read(TOPIC, 0, 10)] == [
            (0, b"a", b"b", ()),
            (1, None, b"c", (("h", b"1"),)),
        ]


def test_nothing_is_there_before_the_flush_and_all_of_it_after(sink: EventLogSink, log: EventLog) -> None:
    sink.send(TOPIC, None, b"1")
    assert log.bounds(TOPIC) == (0, 0)
    sink.flush()
    assert log.bounds(TOPIC) == (0, 1)


def test_received_at_never_goes_back_within_a_topic(sink: EventLogSink, log: EventLog, clock: Hands) -> None:
    append(sink, 1)
    clock.at -= timedelta(minutes=1)
    append(sink, 1)
    append(sink, 1, "clicks_topic")
    clock.at = NOON + timedelta(microseconds=1)
    append(sink, 1)
    assert [record.received_at for record in log.read(TOPIC, 0, 9)] == [NOON, NOON, clock.at]
    assert log.read("clicks_topic", 0, 1)[0].received_at == NOON - timedelta(minutes=1)


def test_a_clock_that_was_far_ahead_stops_neither_the_log_s_time_nor_its_trim(
    sink: EventLogSink, log: EventLog, clock: Hands
) -> None:
    append(sink, 2)
    clock.at = NOON + timedelta(days=3650)
    append(sink, 2)
    clock.at = NOON + timedelta(minutes=5)
    append(sink, 2)
    times = [record.received_at for record in log.read(TOPIC, 0, 9)]
    assert times == [NOON] * 2 + [NOON + timedelta(days=3650)] * 2 + [clock.at] * 2
    assert log.trim(TOPIC, 6, clock.at) == 2
    assert log.trim(TOPIC, 6, clock.at + timedelta(minutes=1)) == 4


def test_a_log_keeps_its_identity_and_another_has_another(path: Path, tmp_path: Path) -> None:
    with EventLog(path) as first, EventLog(path) as again, EventLog(tmp_path / "other.db") as other:
        assert first.cluster_id == again.cluster_id != other.cluster_id


def test_trim_deletes_only_what_is_published_and_old(sink: EventLogSink, log: EventLog, clock: Hands) -> None:
    append(sink, 25_000)
    clock.at += timedelta(hours=1)
    append(sink, 10)
    append(sink, 3, "clicks_topic")
    assert log.trim(TOPIC, 100, NOON + timedelta(minutes=1)) == 100
    assert log.bounds(TOPIC) == (100, 25_010)
    assert log.trim(TOPIC, 25_005, NOON) == 0
    assert log.trim(TOPIC, 25_005, NOON + timedelta(minutes=1)) == 24_900
    assert log.bounds(TOPIC) == (25_000, 25_010)
    assert [record.offset for record in log.read(TOPIC, 0, 2)] == [25_000, 25_001]
    assert log.trim(TOPIC, 10**9, NOON + timedelta(days=1)) == 10
    assert log.bounds(TOPIC) == (25_010, 25_010)
    append(sink, 1)
    assert log.read(TOPIC, 0, 1)[0].offset == 25_010
    assert log.bounds("clicks_topic") == (0, 3)


def test_the_file_stays_bounded_while_rows_come_and_go(sink: EventLogSink, log: EventLog, clock: Hands) -> None:
    sizes = []
    for _ in range(6):
        for number in range(20_000):
            sink.send(TOPIC, b"key", b"%0200d" % number)
        sink.flush()
        clock.at += timedelta(hours=1)
        log.trim(TOPIC, 10**9, clock.at)
        sizes.append(sum(file.stat().st_size for file in log.path.parent.glob(f"{log.path.name}*")))
    assert max(sizes[2:]) <= 1.2 * sizes[1]


def test_sync_leaves_everything_readable(sink: EventLogSink, log: EventLog) -> None:
    append(sink, 3)
    log.sync()
    assert len(log.read(TOPIC, 0, 9)) == 3


def _write(path: Path, batches: int) -> None:
    with EventLogSink(path) as sink:
        for _ in range(batches):
            append(sink, 20)


def test_many_processes_write_one_log_without_gaps(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, 25)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with EventLog(path) as log:
        records = log.read(TOPIC, 0, 10_000)
        assert [record.offset for record in records] == list(range(3 * 25 * 20))
        times = [record.received_at for record in records]
        assert times == sorted(times)


def test_opening_a_new_log_at_the_same_moment_makes_one(tmp_path: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def open_it(path: Path) -> None:
        together.wait()
        with EventLog(path) as log:
            found.append(log.cluster_id)

    for number in range(30):  # what may go wrong goes wrong once in twenty
        found.clear()
        threads = [threading.Thread(target=open_it, args=[tmp_path / f"{number}.db"]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def test_a_flush_that_fails_keeps_its_events_for_the_next(sink: EventLogSink, log: EventLog, path: Path) -> None:
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(SinkError, match="disk is full"):
        append(sink, 3)
    assert log.bounds(TOPIC) == (0, 0)
    blocker.execute("DROP TRIGGER full")
    blocker.close()
    sink.flush()
    sink.flush()
    assert [record.value for record in log.read(TOPIC, 0, 9)] == [b"0", b"1", b"2"]


def test_a_sink_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="TILLWATCH_DATA_DIR"):
        EventLogSink(tmp_path / "nowhere" / "events.db")
    with pytest.raises(UserError, match="'log', 'kafka' or 'kafka://HOST:PORT'"):
        open_sink("kafka:")
