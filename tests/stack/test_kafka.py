"""Producers and a real Kafka: topics as they must be, and every event stored once, whatever happens to the broker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.statement import fill
from lakehouse.events import TOPICS
from lakehouse.kafka import KafkaLog, ensure_topics, log_ends
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.sinks import KafkaSink, SinkDown, SinkError
from tests.stack.conftest import Stack

ORDERS = "orders_topic"


@pytest.fixture
def brokers(stack: Stack) -> str:
    return stack.servers.brokers


@pytest.fixture
def log(brokers: str) -> Iterator[KafkaLog]:
    with KafkaLog(brokers) as log:
        yield log


def admin(brokers: str) -> Any:
    from kafka import KafkaAdminClient

    return KafkaAdminClient(bootstrap_servers=brokers)


def stored(brokers: str, topic: str) -> list[Any]:
    """All messages of a topic, partition by partition."""
    from kafka import KafkaConsumer, TopicPartition

    ends = log_ends(brokers, [topic])
    found: list[Any] = []
    # Its checksums are computed in Python: 10 MB take seconds.
    consumer = KafkaConsumer(bootstrap_servers=[brokers], group_id=None, enable_auto_commit=False, check_crcs=False)
    try:
        consumer.assign([TopicPartition(*place) for place in ends])
        consumer.seek_to_beginning()
        wanted = sum(reach.end - reach.first for reach in ends.values())
        end = time.monotonic() + 30
        while len(found) < wanted:
            assert time.monotonic() < end, f"{len(found)} of {wanted} messages"
            for records in consumer.poll(timeout_ms=500).values():
                found += records
    finally:
        consumer.close()
    return found


def delivered(sink: KafkaSink) -> None:
    """Flush, as producers do: an outage is waited for."""
    end = time.monotonic() + 60
    while True:
        try:
            sink.flush()
        except SinkDown:
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return


def until(what: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.2)


def test_whoever_comes_first_makes_the_topics_and_all_find_the_same(brokers: str) -> None:
    settings = KafkaSettings.load(partitions=2, retention="1 d")
    found: list[dict[str, Any]] = []

    def come() -> None:
        with KafkaLog(brokers) as log:
            found.append(log.ensure(settings))

    comers = [threading.Thread(target=come) for _ in range(4)]
    for comer in comers:
        comer.start()
    for comer in comers:
        comer.join()
    assert len(found) == 4
    assert all(topics == found[0] for topics in found)
    assert set(log_ends(brokers)) == {(topic, partition) for topic in TOPICS for partition in range(2)}


def test_a_topic_with_producers_times_is_switched_and_one_made_anew_is_another(brokers: str, log: KafkaLog) -> None:
    client = admin(brokers)
    client.create_topics({ORDERS: {"num_partitions": 3, "replication_factor": 1}})
    topic = ensure_topics(KafkaSettings.load())[ORDERS]
    assert (topic.log_append_time, topic.partitions) == (True, 3)
    with KafkaSink(brokers) as sink:
        sink.send(ORDERS, b"ada", b"1")
        delivered(sink)
        (message,) = stored(brokers, ORDERS)
        assert message.timestamp_type == 1
        assert abs(message.timestamp / 1000 - time.time()) < 60
        cluster = log.cluster_id()
        client.delete_topics([ORDERS])
        client.close()
        # The sink finds it gone, makes it again, and loses nothing of what it is sent from then on.
        sink.send(ORDERS, b"ada", b"2")
        delivered(sink)
        assert [message.value for message in stored(brokers, ORDERS)] == [b"2"]
    anew = log.topics([ORDERS])[ORDERS]
    assert anew.log_append_time
    assert anew.topic_id != topic.topic_id
    assert log.cluster_id() == cluster


def test_every_event_is_stored_once_and_in_order_over_two_kills_of_the_broker(stack: Stack, brokers: str) -> None:
    """Numbers go out without a pause while the broker is killed, and frozen, and comes back."""
    over = threading.Event()

    def trouble() -> None:
        for _ in range(2):
            time.sleep(1)
            stack.servers.kill("kafka")
            time.sleep(1)
            stack.servers.start("kafka")
        stack.servers.freeze("kafka")
        time.sleep(6)  # longer than a flush waits
        stack.servers.freeze("kafka", False)
        over.set()

    count = 0
    with KafkaSink(brokers, timeout_s=2) as sink:
        troubling = threading.Thread(target=trouble)
        troubling.start()
        while not over.is_set():
            for _ in range(20):
                sink.send(ORDERS, b"user-%d" % (count % 5), b"%d" % count)
                count += 1
            delivered(sink)
        troubling.join()
        assert sink.delivered[ORDERS] == count
    numbers: dict[bytes, list[int]] = defaultdict(list)
    for message in stored(brokers, ORDERS):
        numbers[message.key].append(int(message.value))
    assert sorted(number for some in numbers.values() for number in some) == list(range(count))
    assert all(some == sorted(some) for some in numbers.values())


def test_a_message_of_ten_megabytes_is_refused_by_name_or_stored_where_topics_take_it(brokers: str) -> None:
    large = b'{"order_id": "%b"}' % (b"x" * 10_000_000)
    with KafkaSink(brokers) as sink:
        sink.send(ORDERS, b"ada", b"1")
        with pytest.raises(SinkError, match=r"10,000,019 bytes does not fit into orders_topic .*kafka-configs\.sh"):
            sink.send(ORDERS, b"ada", large)
        delivered(sink)
    client = admin(brokers)
    client.alter_configs([_limit(ORDERS, 12_000_000)])
    client.close()
    with KafkaSink(brokers) as sink:
        sink.send(ORDERS, b"ada", large)
        sink.send(ORDERS, None, None)
        delivered(sink)
    assert [len(message.value or b"") for message in stored(brokers, ORDERS)] == [1, len(large), 0]


def _limit(topic: str, size: int) -> Any:
    from kafka.admin import ConfigResource

    return ConfigResource("TOPIC", topic, {"max.message.bytes": str(size)})


def test_producers_one_for_each_topic_send_what_one_for_all_sends(stack: Stack, brokers: str) -> None:
    """Past events at once: each user's on one partition, and the report says what the log holds."""
    span = ["--rate", "20", "--flat", "--from", "2026-03-02T12:00:00Z", "--to", "2026-03-02T12:02:00Z"]
    environment = stack.environment | {"TILLWATCH_KAFKA_PARTITIONS": "3"}

    def shoppers(*words: str) -> str:
        line = [sys.executable, "-m", "producers", "shoppers", *span, *words]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    said = shoppers("--brokers", brokers)
    assert f"Delivered to kafka://{brokers}: clicks_topic " in said
    whole = {topic: stored(brokers, topic) for topic in TOPICS}
    for topic in TOPICS:
        assert f"{topic} {len(whole[topic]):,}" in said
    places: dict[bytes, set[int]] = defaultdict(set)
    for message in whole["clicks_topic"]:
        places[message.key].add(message.partition)
    assert len(places) > 20
    assert all(len(partitions) == 1 for partitions in places.values())
    assert {partition for partitions in places.values() for partition in partitions} == {0, 1, 2}
    for topic in TOPICS:
        said = shoppers("--sink", "kafka", "--topics", topic)
        assert said.endswith(f"Delivered to kafka: {topic} {len(whole[topic]):,}\n")
    for topic in TOPICS:
        values = sorted(message.value for message in stored(brokers, topic))
        assert values == sorted([message.value for message in whole[topic]] * 2)


def test_shoppers_wait_for_a_broker_that_is_away_and_report_what_was_stored(
    stack: Stack, brokers: str, log: KafkaLog
) -> None:
    shoppers = stack.start("producers", ["-m", "producers", "shoppers", "--rate", "200", "--flat", "--sink", "kafka"])
    shoppers.until(lambda: sum(reach.end for reach in log_ends(brokers).values()) > 100, 60)
    cluster, ids = log.cluster_id(), log.ids()
    stack.servers.kill("kafka")
    shoppers.until(lambda: "Trying again each second" in shoppers.said(), 30)
    assert "Traceback" not in shoppers.said()
    stack.servers.start("kafka")
    shoppers.until(lambda: "Delivered again" in shoppers.said(), 60)
    assert shoppers.stop() == 0
    assert (log.cluster_id(), log.ids()) == (cluster, ids)
    report = re.search(r"Delivered to kafka: (.*)", shoppers.said())
    assert report is not None
    counts = {topic: int(count.replace(",", "")) for topic, count in re.findall(r"(\w+) ([\d,]*\d)", report[1])}
    held = {topic: reach.end for (topic, _), reach in log_ends(brokers).items() if reach.end}
    assert counts == held


def test_a_rejected_order_is_corrected_and_stored_once(stack: Stack, brokers: str) -> None:
    """Through Kafka, Spark and the gateway, from the list over an editor back into the tables."""
    now = datetime.now(UTC).isoformat()
    order = {"order_id": "o-7", "user_id": "ada", "product_id": "book", "price": 10.5, "status": "CREATED"}
    wrong = json.dumps(order | {"quantity": 0, "order_time": now}).encode()
    with stack.driver(), stack.gateway() as dremio, KafkaSink(brokers) as sink:
        sink.send(ORDERS, b"ada", wrong)
        delivered(sink)
        until(lambda: bool(rows(dremio, "SELECT reason FROM {dead_letters}")))
        listed = letters(stack, "list")
        assert "1 dead letters of the last 1d" in listed
        assert "orders_topic:0:0" in listed
        shown = letters(stack, "show", "orders_topic:0:0")
        assert '"quantity": 0' in shown
        file = stack.tmp / "letters.jsonl"
        file.write_text(shown.replace('"quantity": 0', '"quantity": 3'))
        for time_sent in (1, 2):
            said = letters(stack, "replay", "--file", str(file), "--sink", "kafka")
            assert said.endswith("1 of 1 dead letters sent again\n")
            until(lambda n=time_sent: positions(dremio, ORDERS) == 1 + n)  # type: ignore[misc]
        found = rows(dremio, "SELECT order_id, quantity, event_key FROM {orders_processed}")
        assert found == [{"order_id": "o-7", "quantity": 3, "event_key": json.loads(shown)["event_id"]}]
        assert len(rows(dremio, "SELECT reason FROM {dead_letters}")) == 1


def letters(stack: Stack, *words: str) -> str:
    line = [sys.executable, "-m", "producers", "dead-letters", *words]
    done = subprocess.run(line, cwd=ROOT, env=stack.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(dremio: Dremio, sql: str) -> list[dict[str, Any]]:
    """Rows at the head; none before the tables are there."""
    from lakehouse.dremio.errors import NotFound

    try:
        found: list[dict[str, Any]] = dremio.sql(fill(sql, None, {})).to_pylist()
    except NotFound:
        return []
    return found


def positions(dremio: Dremio, topic: str) -> int:
    found = rows(dremio, f"SELECT SUM(next_offset) AS n FROM {{ingest_positions}} WHERE topic = '{topic}'")
    return int(found[0]["n"] or 0) if found else 0
