"""The topics are made as they must be, by whoever comes first, or somebody is told which command to run."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.kafka import Ends, KafkaDown, KafkaLog, TopicRefused, reachable
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.topics import TOPICS

errors = importlib.import_module("kafka.errors")


class Brokers:
    """As much of KafkaAdminClient as is used, with topics in a dict; `refuses` makes changes fail."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.refuses: Exception | None = None
        self.lost = 0
        self.lags = 0
        self.made = 0
        self.closed = 0

    def create_topics(self, wanted: dict[str, dict[str, Any]]) -> None:
        if self.refuses:
            raise self.refuses
        for name, topic in wanted.items():
            if name in self.held:
                raise errors.TopicAlreadyExistsError(name)
            self.made += 1
            self.held[name] = topic | {"id": f"{name}-{self.made}"}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        if self.lost:
            self.lost -= 1
            raise errors.KafkaConnectionError("Connection reset by peer")
        return [
            {
                "name": name,
                "error_code": 0 if name in self.held else 3,
                "topic_id": self.held[name]["id"] if name in self.held else None,
                "partitions": [
                    {"partition_index": number}
                    for number in range(self.held[name]["num_partitions"] if name in self.held else 0)
                ],
            }
            for name in names
        ]

    def describe_configs(self, resources: list[Any], config_filter: str) -> dict[str, Any]:
        default = {
            "message.timestamp.type": "CreateTime",
            "max.message.bytes": "1048588",
            "cleanup.policy": "delete",
        }
        if self.lags:
            self.lags -= 1
            return {"topic": {resource.name: {} for resource in resources}}
        return {
            "topic": {
                resource.name: {
                    key: {"value": value} for key, value in (default | self.held[resource.name]["configs"]).items()
                }
                for resource in resources
            }
        }

    def alter_configs(self, resources: list[Any]) -> dict[str, Any]:
        if self.refuses:
            return {"topic": {resource.name: str(self.refuses) for resource in resources}}
        if self.lags:
            self.lags -= 1
            raise ValueError("Unrecognized configs: {'message.timestamp.type'}")
        for resource in resources:
            self.held[resource.name]["configs"].update(resource.configs)
        return {"topic": {resource.name: "OK" for resource in resources}}

    def list_partition_offsets(self, wanted: dict[Any, int]) -> dict[Any, Any]:
        class Found:
            def __init__(self, offset: int) -> None:
                self.offset = offset

        return {at: Found(10 if which == -2 else 100 + at.partition) for at, which in wanted.items()}

    def describe_cluster(self) -> dict[str, Any]:
        return {"cluster_id": "shop"}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def log(brokers: Brokers) -> Iterator[KafkaLog]:
    with KafkaLog("shop:9092", admin=lambda: brokers) as log:
        yield log


def test_missing_topics_are_made_with_the_logs_time_and_found_by_the_next(brokers: Brokers, log: KafkaLog) -> None:
    settings = KafkaSettings.load(partitions=3, retention="2 d", max_message_mb=2)
    found = log.ensure(settings)
    assert list(found) == list(TOPICS)
    assert all(topic.log_append_time and topic.partitions == 3 for topic in found.values())
    assert found["orders_topic"].max_message_bytes == 2 << 20
    assert brokers.held["orders_topic"]["configs"]["retention.ms"] == "172800000"
    assert log.ensure(KafkaSettings.load()) == found
    assert brokers.made == len(TOPICS)


def test_a_topic_with_producers_times_is_switched_and_else_left_as_it_is(brokers: Brokers, log: KafkaLog) -> None:
    brokers.held["orders_topic"] = {"num_partitions": 300, "configs": {}, "id": "old"}
    topic = log.ensure(KafkaSettings.load())["orders_topic"]
    assert (topic.log_append_time, topic.partitions, topic.topic_id) == (True, 300, "old")
    assert brokers.held["orders_topic"]["configs"] == {"message.timestamp.type": "LogAppendTime"}


def test_a_topic_that_the_broker_asked_does_not_know_yet_is_waited_for(brokers: Brokers, log: KafkaLog) -> None:
    found = log.ensure(KafkaSettings.load())
    brokers.lags = 2
    assert log.ensure(KafkaSettings.load()) == found
    assert brokers.lags == 0


def test_a_topic_that_may_not_be_switched_is_refused_with_the_command(brokers: Brokers, log: KafkaLog) -> None:
    brokers.held["orders_topic"] = {"num_partitions": 1, "configs": {}, "id": "old"}
    brokers.refuses = errors.TopicAuthorizationFailedError("not yours")
    with pytest.raises(
        TopicRefused,
        match=r"orders_topic .*CreateTime.* kafka-configs\.sh --bootstrap-server shop:9092 .*"
        r"--entity-name orders_topic --add-config message\.timestamp\.type=LogAppendTime",
    ):
        log.ensure(KafkaSettings.load())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.ClusterAuthorizationFailedError("no"), r"kafka-topics\.sh .*--create --topic orders_topic"),
        (errors.InvalidReplicationFactorError("one broker"), "TILLWATCH_KAFKA_REPLICATION"),
    ],
)
def test_a_topic_that_cannot_be_made_is_refused_with_what_would_do(
    brokers: Brokers, log: KafkaLog, error: Exception, sentence: str
) -> None:
    brokers.refuses = error
    with pytest.raises(TopicRefused, match=sentence):
        log.ensure(KafkaSettings.load(replication=3))


def test_a_topic_that_another_program_makes_at_this_moment_is_taken(brokers: Brokers, log: KafkaLog) -> None:
    described = brokers.describe_topics
    seen = 0

    def late(names: list[str]) -> list[dict[str, Any]]:
        nonlocal seen
        seen += 1
        if seen == 1:
            found = described(names)
            brokers.create_topics(
                {name: {"num_partitions": 1, "configs": {"message.timestamp.type": "LogAppendTime"}} for name in TOPICS}
            )
            return found
        return described(names)

    brokers.describe_topics = late  # type: ignore[method-assign]
    assert list(log.ensure(KafkaSettings.load())) == list(TOPICS)
    assert brokers.made == len(TOPICS)


def test_a_compacted_topic_is_said_to_lose_events(
    brokers: Brokers, log: KafkaLog, caplog: pytest.LogCaptureFixture
) -> None:
    brokers.held["clicks_topic"] = {"num_partitions": 1, "configs": {"cleanup.policy": "compact"}, "id": "old"}
    log.ensure(KafkaSettings.load())
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "clicks_topic is compacted" in warnings[0]
    assert "--add-config cleanup.policy=delete" in warnings[0]


def test_the_log_says_how_far_it_reaches_and_who_it_is(brokers: Brokers, log: KafkaLog) -> None:
    assert log.ends() == {}
    log.ensure(KafkaSettings.load(partitions=2))
    ends = log.ends()
    assert len(ends) == 2 * len(TOPICS)
    assert ends["orders_topic", 1] == Ends(10, 101)
    assert log.cluster_id() == "shop"
    assert log.ids(["orders_topic", "none_topic"]) == {"orders_topic": "orders_topic-1"}


def test_a_lost_connection_is_said_once_and_made_again(brokers: Brokers, log: KafkaLog) -> None:
    brokers.lost = 1
    with pytest.raises(KafkaDown, match=r"Kafka at shop:9092 does not answer: .*reset by peer.*kafka\.brokers"):
        log.ends()
    assert brokers.closed == 1
    assert log.ends() == {}


def test_a_kept_connection_that_broke_is_made_again_before_anything_is_said(brokers: Brokers, log: KafkaLog) -> None:
    assert log.ends() == {}
    brokers.lost = 1
    assert log.ends() == {}
    brokers.lost = 2
    with pytest.raises(KafkaDown, match="reset by peer"):
        log.ends()


def test_nobody_at_the_address_is_told_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(KafkaDown, match=rf"127\.0\.0\.1:{port}: Connection refused"):
        reachable(f"127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        reachable(f"127.0.0.1:{port},127.0.0.1:{server.getsockname()[1]}")
