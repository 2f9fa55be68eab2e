"""At least once, again: messages that come twice, lost checkpoints, new topics, older backups. Tables stay right."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.mixture import MixedMessage, mixture
from bench.parity import differences, expected, read
from bench.pipelines import Stack as Pipeline
from lakehouse.dremio.statement import fill
from lakehouse.topics import TOPICS
from pipeline.storage.nessie import Nessie
from producers.shop import CLICKS_TOPIC
from tests.stack.conftest import Stack

# A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s", "INGEST_MAINTENANCE_EVERY": "5 s", "RETENTION_SWEEP_AGE": "5 s"}


@pytest.fixture
def messages() -> list[MixedMessage]:
    return mixture(1500, 5, datetime.now(UTC))


@pytest.fixture
def open_pipeline(stack: Stack) -> Callable[[], Pipeline]:
    return lambda: Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS)


def click(number: int) -> MixedMessage:
    """One of many, of a few minutes of the hour before."""
    at = datetime.now(UTC).replace(minute=number % 5, second=0, microsecond=0) - timedelta(hours=1)
    fields = {
        "click_id": f"backlog-{number}",
        "user_id": f"user-{number % 300}",
        "url": "/cart",
        "device_type": "mobile",
        "click_time": at.isoformat(),
    }
    return MixedMessage(CLICKS_TOPIC, b"user-%d" % (number % 300), json.dumps(fields).encode(), "late")


def problems(pipeline: Pipeline, messages: list[MixedMessage], *, delivered_again: bool = False) -> list[str]:
    return differences(read(pipeline.dremio), expected(messages, datetime.now(UTC)), delivered_again=delivered_again)


def test_all_messages_again_and_a_driver_that_was_ended_in_a_backlog_and_lost_its_directory(
    open_pipeline: Callable[[], Pipeline], messages: list[MixedMessage]
) -> None:
    backlog = [click(number) for number in range(30_000)]
    with open_pipeline() as pipeline:
        pipeline.start_engine(TILLWATCH_SPARK_BATCH_ROWS="1000")
        pipeline.send(messages[:1000])
        pipeline.wait_until_read()
        pipeline.send(messages[:1000])
        pipeline.wait_until_read()
        assert problems(pipeline, messages[:1000], delivered_again=True) == []
        pipeline.send(backlog)
        while sum(pipeline.behind().values()) == len(backlog):
            assert pipeline.engine.poll() is None, pipeline.last_words()
        assert pipeline.stop_engine() == 0
        assert pipeline.behind(), "it read all before it ended"
        shutil.rmtree(pipeline.data_dir / "spark")
        pipeline.send(messages[500:])
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert problems(pipeline, [*messages, *backlog], delivered_again=True) == []
        assert pipeline.failures() == []


def test_topics_that_were_made_anew_are_read_from_their_beginning(
    stack: Stack, open_pipeline: Callable[[], Pipeline], messages: list[MixedMessage]
) -> None:
    with open_pipeline() as pipeline:
        pipeline.send(messages[:1000])
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0
        delete_topics(pipeline.brokers)
        pipeline.send(messages)
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert problems(pipeline, messages, delivered_again=True) == []


def test_an_older_backup_of_nessie_is_filled_up_from_the_log(
    stack: Stack, open_pipeline: Callable[[], Pipeline], messages: list[MixedMessage]
) -> None:
    with open_pipeline() as pipeline:
        pipeline.send(messages[:700])
        pipeline.start_engine()
        pipeline.wait_until_read()
        # A backup sets its tag before it copies, so that no sweep takes what it needs.
        with contextlib.closing(Nessie(pipeline.servers.nessie_uri)) as nessie:
            nessie.create("backup", nessie.head(), kind="TAG")
        copy = backup(stack, "nessie")
        pipeline.send(messages[700:])
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0
        restore(stack, "nessie", copy)
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert problems(pipeline, messages) == []


def test_a_log_that_is_shorter_than_the_positions_is_refused(
    stack: Stack, open_pipeline: Callable[[], Pipeline], messages: list[MixedMessage]
) -> None:
    with open_pipeline() as pipeline:
        pipeline.send(messages[:700])
        copy = backup(stack, "kafka")
        pipeline.send(messages[700:])
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0
        restore(stack, "kafka", copy)
        pipeline.start_engine()
        assert pipeline.engine.wait(90) not in (0, None)
        assert "was read up to offset" in pipeline.last_words(1)
        assert problems(pipeline, messages) == []


def test_messages_that_the_log_lost_unread_are_told_and_the_rest_is_read(
    open_pipeline: Callable[[], Pipeline], messages: list[MixedMessage]
) -> None:
    with open_pipeline() as pipeline:
        pipeline.send(messages[:700])
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0
        before = pipeline.log_ends()
        pipeline.send(messages[700:1000])
        lost = pipeline.log_ends()
        trim(pipeline.brokers, lost)
        pipeline.send(messages[1000:])
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert problems(pipeline, [*messages[:700], *messages[1000:]]) == []
        for topic in TOPICS:
            assert f"{topic}" in pipeline.log()
            assert f"offsets {before[topic, 0]} to {lost[topic, 0] - 1} are lost" in pipeline.log()
        told = pipeline.dremio.sql(
            fill("SELECT SUM(\"value\") AS n FROM {pipeline_metrics} WHERE metric = 'lost'", None, {})
        )
        assert told["n"][0].as_py() == 300


def backup(stack: Stack, server: str) -> Path:
    """A copy of what a server holds, made while it is stopped."""
    stack.servers.stop(server)
    copy = stack.tmp / f"{server}-backup"
    shutil.copytree(stack.servers.data_dir / server, copy)
    stack.servers.start(server)
    return copy


def restore(stack: Stack, server: str, copy: Path) -> None:
    stack.servers.stop(server)
    shutil.rmtree(stack.servers.data_dir / server)
    shutil.copytree(copy, stack.servers.data_dir / server)
    stack.servers.start(server)


def delete_topics(brokers: str) -> None:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=brokers)
    try:
        admin.delete_topics(list(TOPICS))
        while set(admin.list_topics()) & set(TOPICS):
            pass
    finally:
        admin.close()


def trim(brokers: str, before: dict[tuple[str, int], int]) -> None:
    """Let Kafka drop all messages before these offsets."""
    from kafka.admin import KafkaAdminClient
    from kafka.structs import TopicPartition

    admin = KafkaAdminClient(bootstrap_servers=brokers)
    try:
        admin.delete_records({TopicPartition(*place): offset for place, offset in before.items()})
    finally:
        admin.close()
