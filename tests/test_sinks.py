"""The way to Kafka: what a producer gave is stored once, whatever the brokers do, or somebody is told in a sentence."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from lakehouse.events import TOPICS
from lakehouse.kafka import KafkaDown, KafkaLog, Topic, TopicRefused
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.sinks import KafkaSink, SinkDown, SinkError, open_sink
from lakehouse.user_error import UserError

TOPIC = "orders_topic"
errors = importlib.import_module("kafka.errors")


class Log(KafkaLog):
    """Brokers that have the topics, unless `refusals` says otherwise."""

    def __init__(self, refusals: list[Exception] | None = None, limit: int = 1 << 20) -> None:
        super().__init__("shop:9092")
        self.refusals = refusals or []
        self.limit = limit
        self.topic_id = "first"

    def ensure(self, settings: KafkaSettings, names: Any = TOPICS) -> dict[str, Topic]:
        if self.refusals:
            raise self.refusals.pop(0)
        return {name: Topic(name, self.topic_id, 1, True, self.limit, False) for name in names}


class Delivery:
    """A message's way: `is_done` says that its fate is known."""

    def __init__(self) -> None:
        self.is_done = False
        self.error: Exception | None = None

    def get(self, timeout: float) -> None:
        if not self.is_done:
            raise errors.KafkaTimeoutError(f"Timeout after waiting for {timeout} secs.")
        if self.error is not None:
            raise self.error


class Producer:
    """As much of KafkaProducer as the sink uses. `away` keeps messages until it ends; `failing` refuses that many."""

    def __init__(self) -> None:
        self.away = False
        self.failing: list[Exception] = []
        self.kept: list[tuple[Delivery, tuple[str, bytes | None, bytes | None]]] = []
        self.stored: list[tuple[str, bytes | None, bytes | None]] = []
        self.closed = False

    def send(self, topic: str, value: bytes | None, key: bytes | None) -> Delivery:
        delivery = Delivery()
        if self.failing:
            delivery.is_done, delivery.error = True, self.failing.pop(0)
        else:
            self.kept.append((delivery, (topic, key, value)))
            if not self.away:
                self.back()
        return delivery

    def back(self) -> None:
        self.away = False
        for delivery, message in self.kept:
            delivery.is_done = True
            self.stored.append(message)
        self.kept.clear()

    def close(self, timeout: float) -> None:
        self.closed = True


@pytest.fixture
def producer() -> Producer:
    return Producer()


def opened(producer: Producer, log: Log | None = None, **options: Any) -> KafkaSink:
    return KafkaSink("shop:9092", log=log or Log(), connect=lambda _size: producer, timeout_s=0.01, **options)


def numbers(producer: Producer) -> list[int]:
    return [int(value or b"-1") for _, _, value in producer.stored]


def test_keys_and_tombstones_are_kept_and_what_is_confirmed_is_counted(producer: Producer) -> None:
    with opened(producer) as sink:
        sink.send(TOPIC, b"ann", b"{}")
        sink.send("clicks_topic", None, None)
        assert producer.stored == []
        sink.flush()
        assert producer.stored == [(TOPIC, b"ann", b"{}"), ("clicks_topic", b"", None)]
        assert sink.delivered == {TOPIC: 1, "clicks_topic": 1}
    assert producer.closed


def test_an_outage_keeps_every_event_and_sends_none_twice(producer: Producer) -> None:
    with opened(producer) as sink:
        producer.away = True
        for number in range(3):
            sink.send(TOPIC, b"ann", b"%d" % number)
        with pytest.raises(SinkDown, match=r"shop:9092 does not take the events: .*Timeout"):
            sink.flush()
        sink.send(TOPIC, b"ann", b"3")
        with pytest.raises(SinkDown):
            sink.flush()
        assert sink.delivered.total() == 0
        producer.back()
        sink.flush()
        assert numbers(producer) == [0, 1, 2, 3]
        assert sink.delivered.total() == 4


def test_what_the_library_gave_up_is_handed_to_it_again(producer: Producer) -> None:
    producer.failing = [errors.OutOfOrderSequenceNumberError("topic made anew")]
    with opened(producer) as sink:
        for number in range(3):
            sink.send(TOPIC, b"ann", b"%d" % number)
        with pytest.raises(SinkDown, match="topic made anew"):
            sink.flush()
        sink.flush()
    assert sorted(numbers(producer)) == [0, 1, 2]


def test_a_producer_that_fails_twice_is_replaced(producer: Producer) -> None:
    made: list[Producer] = []
    producer.failing = [errors.ProducerFencedError("fenced")] * 2

    def connect(_size: int) -> Producer:
        made.append(producer if not made else Producer())
        return made[-1]

    with KafkaSink("shop:9092", log=Log(), connect=connect, timeout_s=0.01) as sink:
        sink.send(TOPIC, b"ann", b"7")
        for _ in range(2):
            with pytest.raises(SinkDown):
                sink.flush()
        sink.flush()
        assert numbers(made[-1]) == [7]
        assert len(made) == 2
        assert producer.closed


def test_messages_to_a_topic_that_was_made_anew_are_handed_over_again() -> None:
    """The library holds them for a partition that the new topic may not have."""
    made: list[Producer] = []

    def connect(_size: int) -> Producer:
        made.append(Producer())
        return made[-1]

    log = Log()
    with KafkaSink("shop:9092", log=log, connect=connect, timeout_s=0.01) as sink:
        made[0].away = True
        sink.send(TOPIC, b"ann", b"7")
        with pytest.raises(SinkDown):
            sink.flush()
        assert len(made) == 1
        log.topic_id = "second"
        with pytest.raises(SinkDown):
            sink.flush()
        sink.flush()
        assert [numbers(producer) for producer in made] == [[], [7]]


def test_a_message_that_is_too_large_is_refused_and_the_others_are_delivered(producer: Producer) -> None:
    with opened(producer, Log(limit=1000)) as sink:
        sink.send(TOPIC, b"ann", b"1")
        with pytest.raises(SinkError, match=r"2,003 bytes does not fit into orders_topic .*max\.message\.bytes=BYTES"):
            sink.send(TOPIC, b"bob", b"x" * 2000)
        # The limit may have been lowered meanwhile: then the brokers say so.
        producer.failing = [errors.MessageSizeTooLargeError("too large")]
        with pytest.raises(SinkError, match=r"orders_topic \(it was refused") as refused:
            sink.flush()
        assert not isinstance(refused.value, SinkDown)
        sink.send(TOPIC, b"ann", b"2")
        sink.flush()
    assert numbers(producer) == [2]


def test_a_producer_without_the_right_is_told_which(producer: Producer) -> None:
    producer.failing = [errors.TopicAuthorizationFailedError(TOPIC)]
    sink = opened(producer)
    sink.send(TOPIC, b"ann", b"1")
    with pytest.raises(SinkError, match="IDEMPOTENT_WRITE") as refused:
        sink.flush()
    assert not isinstance(refused.value, SinkDown)
    sink.close()


def test_closing_says_how_many_events_were_not_delivered(producer: Producer) -> None:
    sink = opened(producer)
    producer.away = True
    sink.send(TOPIC, b"ann", b"1")
    sink.send(TOPIC, b"ann", b"2")
    with pytest.raises(SinkError, match=r"2 events were not delivered\. Kafka at shop:9092 does not take"):
        sink.close()
    assert producer.closed


def test_opening_waits_for_a_broker_but_not_for_ever(
    producer: Producer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = KafkaDown("No Kafka broker answers (shop:9092: Connection refused).")
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    opened(producer, Log([down, down, down]), wait_s=30).close()
    assert [record.getMessage() for record in caplog.records] == [f"{down} Waiting up to 30 s for it."]
    with pytest.raises(SinkDown, match="Connection refused"):
        opened(producer, Log([down]), wait_s=0)
    with pytest.raises(SinkError, match=r"kafka-configs\.sh") as refused:
        opened(producer, Log([TopicRefused("let somebody who may run: kafka-configs.sh …")]))
    assert not isinstance(refused.value, SinkDown)


def test_kafka_is_asked_for_durable_ordered_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = importlib.import_module("kafka")
    asked: dict[str, Any] = {}

    def nobody(**config: Any) -> None:
        asked.update(config)
        raise errors.KafkaTimeoutError("bootstrap failed")

    known = kafka.KafkaProducer.DEFAULT_CONFIG
    monkeypatch.setattr(kafka, "KafkaProducer", nobody)
    with pytest.raises(SinkDown, match=r"Kafka at a:9092,b:9092 does not take .* bootstrap failed"):
        KafkaSink("a:9092,b:9092", log=Log(limit=20 << 20), wait_s=0)
    assert asked["bootstrap_servers"] == ["a:9092", "b:9092"]
    assert asked["acks"] == "all"
    assert asked["enable_idempotence"] is True
    assert asked["max_request_size"] == 20 << 20
    assert asked.keys() <= known.keys()


def test_a_wrong_address_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"'kafka\.brokers' has the value 'shop': expected HOST:PORT"):
        open_sink("kafka://shop")
    monkeypatch.setattr("lakehouse.sinks.KafkaSink", lambda brokers: brokers)
    monkeypatch.setenv("TILLWATCH_PORT_OFFSET", "7")
    found: Any = open_sink("kafka")
    assert found == "127.0.0.1:29099"
