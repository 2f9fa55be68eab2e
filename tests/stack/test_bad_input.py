"""What people and machines get wrong: a sentence, or the right rows; never a stream that stops for data."""

from __future__ import annotations

import contextlib
import json
import random
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC

from bench.mixture import MixedMessage
from bench.pipelines import Stack as Pipeline
from lakehouse.dremio.statement import fill
from lakehouse.tables import SCHEMA, TABLES, arrow_schema
from pipeline.iceberg.schema import iceberg_schema, partition_spec
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import Nessie, TableAt
from pipeline.storage.objects import Objects
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC
from s3 import ensure_bucket
from tests.stack.conftest import QUICK_START, Stack, stock_s3

SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s", "SPARK_RETRY_FOR": "1 s"}
HUGE = 10_000_000
"""Bytes of a message, or of a field of one."""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param({"KAFKA_BROKERS": "127.0.0.1:9"}, "127.0.0.1:9", id="a broker that is not there"),
        pytest.param({"NESSIE_URI": "http://127.0.0.1:9/api/v2"}, "127.0.0.1:9", id="a Nessie that is not there"),
        pytest.param({"S3_SECRET_KEY": "wrong"}, "S3", id="another password"),
        pytest.param({"NESSIE_WAREHOUSE": "warehouse/wh"}, "s3://BUCKET/PATH", id="a bucket that is none"),
        pytest.param({"SPARK_MASTER": "nonsense"}, "Spark does not start", id="a master that is none"),
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
    """Two partitions more than there are cores; compressed, keyed, with headers, tombstones, huge ones, late ones."""
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"KAFKA_PARTITIONS": "4"}) as pipeline:
        pipeline.start_engine()
        pipeline.wait_reading()
        now = datetime.now(UTC)
        for kind in compressions():
            send(pipeline, kind, [click(f"{kind}-{number}", now) for number in range(100)])
        send(pipeline, None, [click(f"late-{number}", now - timedelta(minutes=10)) for number in range(500)])
        send(pipeline, None, [click(f"skewed-{number}", now + timedelta(minutes=3)) for number in range(10)])
        send(pipeline, None, [click("large", now) | {"url": "/" + "x" * 900_000}])
        send(pipeline, None, [None, None])
        limit_messages(pipeline, CLICKS_TOPIC, 12_000_000)
        send(pipeline, None, [click("huge", now) | {"url": "/" + "x" * HUGE}, b"x" * HUGE])
        pipeline.wait_until_read()
        counts = pipeline.dremio.sql(
            fill(
                "SELECT COUNT(*) AS n, COUNT(DISTINCT event_key) AS keys, MAX(LENGTH(url)) AS longest "
                "FROM {clicks_processed}",
                None,
                {},
            )
        ).to_pylist()
        wanted = 512 + 100 * len(compressions())
        assert counts == [{"n": wanted, "keys": wanted, "longest": 1 + HUGE}]
        rows = pipeline.dremio.sql(fill("SELECT reason, detail, payload FROM {dead_letters}", None, {})).to_pylist()
        dead = sorted((row["reason"], len(row["payload"] or b"")) for row in rows)
        assert dead == [("EMPTY", 0), ("EMPTY", 0), ("NOT_JSON", HUGE)]
        assert [row["detail"] for row in rows if row["payload"] is None] == ["tombstone", "tombstone"]
        late = now.replace(second=0, microsecond=0) - timedelta(minutes=10)
        minute = pipeline.dremio.sql(
            fill("SELECT SUM(clicks) AS n FROM {clicks_per_minute} WHERE window_start = :late", None, {"late": late})
        )
        assert minute["n"][0].as_py() == 500
        assert pipeline.stop_engine() == 0


def test_producers_times_from_before_a_topic_was_switched_move_nothing(stack: Stack) -> None:
    """Neither read_to nor an alert: a FATAL of a clock that is 26 h ahead was received when it was read."""
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        make_topic(pipeline, CLICKS_TOPIC, "CreateTime")
        make_topic(pipeline, ERRORS_TOPIC, "CreateTime")
        now = datetime.now(UTC)
        for year in (2099, 33_000):
            milliseconds = int((year - 1970) * 365.25 * 86_400_000)
            send(pipeline, None, [click(f"of-{year}", now)], milliseconds)
        tomorrow = int(1000 * (now + timedelta(hours=26)).timestamp())
        send(pipeline, None, [fatal("ahead", now)], tomorrow, ERRORS_TOPIC)
        pipeline.start_engine()
        pipeline.wait_until_read()
        send(pipeline, None, [click("after", now)])
        send(pipeline, None, [fatal("after", now)], topic=ERRORS_TOPIC)
        pipeline.wait_until_read()
        reached = pipeline.dremio.sql(fill("SELECT MAX(read_to) AS newest FROM {ingest_positions}", None, {}))
        assert now <= reached["newest"][0].as_py() <= datetime.now(UTC)
        dead = pipeline.dremio.sql(fill("SELECT reason FROM {dead_letters}", None, {}))["reason"].to_pylist()
        assert dead == ["STALE_TIME", "STALE_TIME"]
        kept = pipeline.dremio.sql(fill("SELECT event_key FROM {clicks_processed}", None, {}))["event_key"].to_pylist()
        assert kept == ["after"]
        alerts = pipeline.dremio.sql(
            fill("SELECT status, incident_id, received_at FROM {alerts}", None, {})
        ).to_pylist()
        assert [row["status"] for row in alerts] == ["FIRING", "FIRING"]
        assert len({row["incident_id"] for row in alerts}) == 1, "the second is not old, and joins what is open"
        assert all(now <= row["received_at"] <= datetime.now(UTC) for row in alerts)
        assert counted_ahead(pipeline) == {CLICKS_TOPIC: 2, ERRORS_TOPIC: 1}
        assert pipeline.stop_engine() == 0


def test_clicks_with_producers_times_count_as_active_users_once_the_log_s_time_is_known(stack: Stack) -> None:
    """What was sent before the topic was switched tells nothing of how far the log was read."""
    now = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(minutes=1)
    minutes = [now - timedelta(minutes=back) for back in range(15, 0, -1)]
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"SPARK_BATCH_ROWS": "8"}) as pipeline:
        make_topic(pipeline, CLICKS_TOPIC, "CreateTime")
        clicks = [click(f"c-{number}", minute) for number, minute in enumerate(minutes)]
        send(pipeline, None, clicks, int(minutes[-1].timestamp() * 1000))
        pipeline.start_engine()
        pipeline.wait_until_read()
        assert len([size for size in pipeline.batch_sizes() if size]) > 2
        sql = "SELECT window_end, active_users_approx AS users FROM {active_users_per_window} ORDER BY window_end"
        found = pipeline.dremio.sql(fill(sql, None, {})).to_pylist()
        ends = [minute.replace(second=0) + timedelta(minutes=1) for minute in minutes]
        assert [row for row in found if row["window_end"] <= ends[-1]] == [{"window_end": e, "users": 1} for e in ends]
        assert pipeline.stop_engine() == 0


def test_a_backlog_that_does_not_fit_is_read_in_smaller_batches(stack: Stack) -> None:
    small = json.dumps({**QUICK_START, "spark.driver.maxResultSize": "2m"})
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"SPARK_CONF": small}) as pipeline:
        now = datetime.now(UTC)
        padding = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))
        send(pipeline, None, [click(f"big-{number}", now) | {"url": f"/{padding}"} for number in range(60)])
        pipeline.start_engine(TILLWATCH_SPARK_RETRY_FOR="5 min", TILLWATCH_SPARK_BATCH_ROWS="80")
        pipeline.wait_until_read()
        found = pipeline.dremio.sql(fill("SELECT COUNT(*) AS n FROM {clicks_processed}", None, {}))
        assert found["n"][0].as_py() == 60
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


def test_an_older_table_gets_the_columns_it_lacks_and_one_of_another_type_is_refused(stack: Stack) -> None:
    """Rows of before hold nothing in such a column, and stay when the driver or Spark writes their hour anew."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    first, second, third = (hour + timedelta(minutes=minute) for minute in (10, 20, 30))
    lineage = {"ingested_at": third, "source_partition": 0, "source_offset": 0}
    old_click = {"click_id": "old", "event_key": "old", "user_id": "ada", "url": "/cart", "device_type": "mobile"}
    old_minute = {
        "window_start": first,
        "window_end": first + timedelta(minutes=1),
        "orders_count": 7,
        "total_revenue": Decimal("70.00"),
        "cancelled_count": 0,
        "cancelled_revenue": Decimal("0.00"),
        "updated_at": third,
    }
    older_tables(
        stack,
        {
            ("clicks_processed", "produced_at"): old_click | lineage | {"click_ts": first},
            ("orders_revenue_per_minute", "buyers"): old_minute,
        },
    )
    # What is more than one message is worked by Spark.
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | {"SPARK_COLLECT_ROWS": "1"}) as pipeline:
        pipeline.start_engine()
        pipeline.wait_reading()
        pipeline.send([order("o-2", second)])
        pipeline.wait_until_read()
        new_click = click("new", first) | {"produced_at": third.isoformat()}
        again = message(CLICKS_TOPIC, click("old", first))
        pipeline.send([again, message(CLICKS_TOPIC, new_click), order("o-3", third)])
        pipeline.wait_until_read()
        assert {1} < set(pipeline.batch_sizes()) - {0}, "no batch went each way"
        clicks = "SELECT event_key, produced_at FROM {clicks_processed} ORDER BY event_key"
        assert pipeline.dremio.sql(fill(clicks, None, {})).to_pylist() == [
            {"event_key": "new", "produced_at": third},
            {"event_key": "old", "produced_at": None},
        ]
        minutes = "SELECT orders_count, buyers FROM {orders_revenue_per_minute} ORDER BY window_start"
        assert pipeline.dremio.sql(fill(minutes, None, {})).to_pylist() == [
            {"orders_count": 7, "buyers": None},
            {"orders_count": 1, "buyers": 1},
            {"orders_count": 1, "buyers": 1},
        ]
        of_clicks = "SELECT clicks, users FROM {clicks_per_minute}"
        assert pipeline.dremio.sql(fill(of_clicks, None, {})).to_pylist() == [{"clicks": 2, "users": 1}]
        assert pipeline.failures() == []
        assert pipeline.stop_engine() == 0
        retype(pipeline, "orders_processed", "quantity", "string")
        pipeline.start_engine()
        assert pipeline.engine.wait(120) > 0
        assert "orders_processed has column quantity as string, not int" in pipeline.last_words(1)


def test_a_table_of_other_partitions_is_refused(stack: Stack) -> None:
    now = datetime.now(UTC)
    row = {"click_id": "old", "event_key": "old", "user_id": "ada", "url": "/cart", "device_type": "mobile"}
    lineage = {"ingested_at": now, "source_partition": 0, "source_offset": 0}
    older_tables(stack, {("clicks_processed", "produced_at"): row | lineage | {"click_ts": now}}, partitioned=False)
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.start_engine()
        assert pipeline.engine.wait(120) > 0
        last = pipeline.last_words(1)
        assert "clicks_processed is partitioned by nothing, not by hour(click_ts); rename that table" in last


def counted_ahead(pipeline: Pipeline) -> dict[str, float]:
    """Messages of clocks that were ahead, a topic, once the next heartbeat has told of them."""
    sql = """SELECT topic, SUM("value") AS n FROM {pipeline_metrics} WHERE metric = 'clock_ahead' GROUP BY topic"""
    until = time.monotonic() + 60
    while not (rows := pipeline.dremio.sql(fill(sql, None, {})).to_pylist()) and time.monotonic() < until:
        time.sleep(0.5)
    return {row["topic"]: row["n"] for row in rows if row["n"]}


def fatal(name: str, when: datetime) -> bytes:
    fields = {
        "error_id": name,
        "event_id": name,
        "service_name": "payments",
        "error_message": "down",
        "severity": "FATAL",
        "error_time": when.isoformat(),
    }
    return json.dumps(fields).encode()


def click(name: str, when: datetime, user: str = "ada") -> dict[str, Any]:
    return {
        "click_id": name,
        "event_id": name,
        "user_id": user,
        "url": "/cart",
        "device_type": "mobile",
        "click_time": when.isoformat(),
    }


def order(name: str, when: datetime) -> MixedMessage:
    fields = {
        "order_id": name,
        "user_id": "ada",
        "product_id": "book",
        "quantity": 1,
        "price": 10,
        "status": "CREATED",
        "order_time": when.isoformat(),
    }
    return message(ORDERS_TOPIC, fields)


def message(topic: str, fields: dict[str, Any]) -> MixedMessage:
    return MixedMessage(topic, fields["user_id"].encode(), json.dumps(fields).encode(), "good")


def older_tables(stack: Stack, rows: Mapping[tuple[str, str], dict[str, Any]], *, partitioned: bool = True) -> None:
    """Publish tables as an older version made them: (table, column that it did not know) -> the row it holds."""
    settings, s3 = NessieSettings.load(), S3Settings.load()
    ensure_bucket(Objects(s3), s3, settings.bucket)
    stack.tmp.mkdir(exist_ok=True)
    catalog = SqlCatalog("older", uri=f"sqlite:///{stack.tmp}/older.db", **stock_s3())
    catalog.create_namespace("older")
    put = {}
    for (name, lacking), row in rows.items():
        known = tuple(column for column in TABLES[name].columns if column.name != lacking)
        older = replace(TABLES[name], columns=known)
        table = catalog.create_table(
            f"older.{name}",
            iceberg_schema(older),
            location=f"{settings.warehouse}/{SCHEMA}/{name}_older",
            partition_spec=partition_spec(older) if partitioned else UNPARTITIONED_PARTITION_SPEC,
        )
        table.append(pa.Table.from_pylist([row], schema=arrow_schema(older)))
        snapshot = table.current_snapshot()
        assert snapshot is not None
        put[name] = TableAt("", table.metadata_location, snapshot.snapshot_id, 0, 0, 0)
    catalog.engine.dispose()
    with contextlib.closing(Nessie(settings.uri)) as nessie:
        nessie.commit("main", nessie.head(), put, "an older version", (SCHEMA,))


def make_topic(pipeline: Pipeline, name: str, timestamps: str, partitions: int = 1) -> None:
    """As somebody else may have made it; times may lie ahead."""
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=pipeline.brokers)
    configs = {"message.timestamp.type": timestamps, "message.timestamp.after.max.ms": str(2**63 - 1)}
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    admin.close()


def limit_messages(pipeline: Pipeline, topic: str, size: int) -> None:
    """Let a topic take messages up to this size."""
    from kafka.admin import ConfigResource, KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=pipeline.brokers)
    admin.alter_configs([ConfigResource("TOPIC", topic, {"max.message.bytes": str(size)})])
    admin.close()


def compressions() -> list[str]:
    """What a producer here can compress with."""
    from kafka import codec

    return [kind for kind in ("gzip", "snappy", "lz4", "zstd") if getattr(codec, f"has_{kind}")()]


def send(
    pipeline: Pipeline,
    compression: str | None,
    values: Sequence[dict[str, Any] | bytes | None],
    time_ms: int | None = None,
    topic: str = CLICKS_TOPIC,
) -> None:
    """As somebody else's producer does, with its own settings; `time_ms`: the producer's time of the messages."""
    from kafka import KafkaProducer

    if time_ms is None:
        pipeline.send([])  # the topics are there
    producer = KafkaProducer(
        bootstrap_servers=pipeline.brokers,
        compression_type=compression,
        linger_ms=20,
        max_request_size=2 * HUGE,
    )
    for fields in values:
        key = fields["user_id"].encode() if isinstance(fields, dict) else b""
        value = json.dumps(fields).encode() if isinstance(fields, dict) else fields
        headers = [("source", b"app"), ("trace", b"\xff")]
        producer.send(topic, key=key, value=value, headers=headers, timestamp_ms=time_ms)
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
