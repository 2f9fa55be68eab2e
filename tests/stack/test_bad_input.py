"""What people and machines get wrong: a sentence, or the right rows; never a stream that stops for data."""

from __future__ import annotations

import contextlib
import json
import random
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyarrow import fs

from bench.pipelines import Stack as Pipeline
from lakehouse.dremio import fill
from lakehouse.events import CLICKS_TOPIC
from lakehouse.nessie import Nessie
from tests.stack.conftest import QUICK_START, Stack

SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s", "SPARK_RETRY_FOR": "1 s"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param({"KAFKA_BROKERS": "127.0.0.1:9"}, "127.0.0.1:9", id="a broker that is not there"),
        pytest.param({"NESSIE_URI": "http://127.0.0.1:9/api/v2"}, "127.0.0.1:9", id="a Nessie that is not there"),
        pytest.param({"S3_SECRET_KEY": "wrong"}, "S3", id="another password"),
        pytest.param({"NESSIE_WAREHOUSE": "warehouse/wh"}, "s3://BUCKET/PATH", id="a bucket that is none"),
    ],
)
def test_a_driver_that_cannot_begin_says_why_in_a_sentence(stack: Stack, settings: dict[str, str], told: str) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.start_engine(**{f"TILLWATCH_{name}": value for name, value in settings.items()})
        assert pipeline.engine.wait(120) > 0
        last = pipeline.last_words(1)
        assert last.startswith("tillwatch: "), pipeline.last_words()
        assert told in last


def test_messages_of_every_form_are_read_and_none_stops_the_stream(stack: Stack) -> None:
    """Two partitions more than there are cores; compressed, keyed, with headers, tombstones, large ones, late ones."""
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"KAFKA_PARTITIONS": "4"}) as pipeline:
        pipeline.start_engine()
        pipeline.wait_reading()
        now = datetime.now(UTC)
        send(pipeline, "gzip", [click(f"zip-{number}", now) for number in range(100)])
        send(pipeline, None, [click(f"late-{number}", now - timedelta(minutes=10)) for number in range(500)])
        send(pipeline, None, [click(f"skewed-{number}", now + timedelta(minutes=3)) for number in range(10)])
        send(pipeline, None, [click("large", now) | {"url": "/" + "x" * 900_000}])
        send(pipeline, None, [None, None])
        pipeline.wait_until_read()
        counts = pipeline.dremio.sql(
            fill("SELECT COUNT(*) AS n, COUNT(DISTINCT event_key) AS keys FROM {clicks_processed}", None, {})
        ).to_pylist()
        assert counts == [{"n": 611, "keys": 611}]
        dead = pipeline.dremio.sql(fill("SELECT reason, detail, payload FROM {dead_letters}", None, {})).to_pylist()
        assert dead == 2 * [{"reason": "EMPTY", "detail": "tombstone", "payload": None}]
        late = now.replace(second=0, microsecond=0) - timedelta(minutes=10)
        minute = pipeline.dremio.sql(
            fill("SELECT SUM(clicks) AS n FROM {clicks_per_minute} WHERE window_start = :late", None, {"late": late})
        )
        assert minute["n"][0].as_py() == 500
        assert pipeline.stop_engine() == 0


def test_producers_times_from_before_a_topic_was_switched_move_nothing(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        make_topic(pipeline, CLICKS_TOPIC, "CreateTime")
        now = datetime.now(UTC)
        for year in (2099, 33_000):
            milliseconds = int((year - 1970) * 365.25 * 86_400_000)
            send(pipeline, None, [click(f"of-{year}", now)], milliseconds)
        pipeline.start_engine()
        pipeline.wait_until_read()
        send(pipeline, None, [click("after", now)])
        pipeline.wait_until_read()
        reached = pipeline.dremio.sql(fill("SELECT MAX(read_to) AS newest FROM {ingest_positions}", None, {}))
        assert now <= reached["newest"][0].as_py() <= datetime.now(UTC)
        dead = pipeline.dremio.sql(fill("SELECT reason FROM {dead_letters}", None, {}))["reason"].to_pylist()
        assert dead == ["STALE_TIME", "STALE_TIME"]
        kept = pipeline.dremio.sql(fill("SELECT event_key FROM {clicks_processed}", None, {}))["event_key"].to_pylist()
        assert kept == ["after"]
        assert pipeline.stop_engine() == 0


def test_a_backlog_that_does_not_fit_is_read_in_smaller_batches(stack: Stack) -> None:
    small = json.dumps({**QUICK_START, "spark.driver.maxResultSize": "2m"})
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"SPARK_CONF": small}) as pipeline:
        now = datetime.now(UTC)
        padding = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))
        send(pipeline, None, [click(f"big-{number}", now) | {"url": f"/{padding}"} for number in range(200)])
        pipeline.start_engine(TILLWATCH_SPARK_RETRY_FOR="5 min", TILLWATCH_SPARK_BATCH_ROWS="400")
        pipeline.wait_until_read()
        found = pipeline.dremio.sql(fill("SELECT COUNT(*) AS n FROM {clicks_processed}", None, {}))
        assert found["n"][0].as_py() == 200
        assert "failed, again from the last publish" in pipeline.log()
        send(pipeline, None, [click("last", now)])
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0


def test_a_topic_with_three_hundred_partitions_is_read(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        make_topic(pipeline, CLICKS_TOPIC, "LogAppendTime", partitions=300)
        now = datetime.now(UTC)
        send(pipeline, None, [click(f"c-{number}", now, user=f"user-{number}") for number in range(400)])
        pipeline.start_engine()
        pipeline.wait_until_read(240)
        found = pipeline.dremio.sql(fill("SELECT COUNT(*) AS n FROM {clicks_processed}", None, {}))
        assert found["n"][0].as_py() == 400
        assert pipeline.stop_engine() == 0


def test_a_table_of_another_type_is_refused_with_what_to_do(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.start_engine()
        pipeline.wait_reading()
        pipeline.send([])
        pipeline.wait_until_read()
        assert pipeline.stop_engine() == 0
        retype(pipeline, "orders_processed", "quantity", "string")
        pipeline.start_engine()
        assert pipeline.engine.wait(120) > 0
        assert "orders_processed" in pipeline.last_words(1)
        assert "quantity" in pipeline.last_words(1)


def click(name: str, when: datetime, user: str = "ada") -> dict[str, Any]:
    return {
        "click_id": name,
        "event_id": name,
        "user_id": user,
        "url": "/cart",
        "device_type": "mobile",
        "click_time": when.isoformat(),
    }


def make_topic(pipeline: Pipeline, name: str, timestamps: str, partitions: int = 1) -> None:
    """As somebody else may have made it; times may lie ahead."""
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=pipeline.brokers)
    configs = {"message.timestamp.type": timestamps, "message.timestamp.after.max.ms": str(2**63 - 1)}
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    admin.close()


def send(
    pipeline: Pipeline, compression: str | None, clicks: Sequence[dict[str, Any] | None], time_ms: int | None = None
) -> None:
    """As somebody else's producer does, with its own settings; `time_ms`: the producer's time of the messages."""
    from kafka import KafkaProducer

    if time_ms is None:
        pipeline.send([])  # the topics are there
    producer = KafkaProducer(bootstrap_servers=pipeline.brokers, compression_type=compression, linger_ms=20)
    for fields in clicks:
        key = b"" if fields is None else fields["user_id"].encode()
        value = None if fields is None else json.dumps(fields).encode()
        headers = [("source", b"app"), ("trace", b"\xff")]
        producer.send(CLICKS_TOPIC, key=key, value=value, headers=headers, timestamp_ms=time_ms)
    producer.flush()
    producer.close()


def retype(pipeline: Pipeline, table: str, column: str, kind: str) -> None:
    """Give a column of a published table another type, as somebody else's tool might."""
    s3 = fs.S3FileSystem(
        endpoint_override=pipeline.servers.s3_endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
        access_key="admin",
        secret_key="password",
    )
    with contextlib.closing(Nessie(pipeline.servers.nessie_uri)) as nessie:
        head = nessie.head()
        at = nessie.tables(head)[table]
        old = at.metadata_location.removeprefix("s3://")
        with s3.open_input_stream(old) as stream:
            metadata = json.loads(stream.read())
        for schema in metadata["schemas"]:
            for found in schema["fields"]:
                if found["name"] == column:
                    found["type"] = kind
        new = old.replace(".metadata.json", "-retyped.metadata.json")
        with s3.open_output_stream(new) as out:
            out.write(json.dumps(metadata).encode())
        nessie.commit("main", head, {table: replace(at, metadata_location=f"s3://{new}")}, "another type")
