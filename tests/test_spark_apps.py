"""What the Spark driver does without Spark: decoding, offsets, SQL, and whom its files import."""

from __future__ import annotations

import ast
import json
import pickle
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot

from decoding import DECODED, decode_batch
from engine import batch_end, records
from lakehouse import ROOT
from lakehouse.decode import Event
from lakehouse.kpis import Counting
from lakehouse.sources import sources_of
from lakehouse.tables import KPI_TABLES
from large import alerting
from pipeline.batch.log import Record
from pipeline.batch.times import moment
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC
from stream import Attempts
from tests.source_cast import YAML, debezium, kinds, order, packed
from transforms import offsets_json, spark_sql

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NO_SOURCES = sources_of("", "config/sources.yaml")
APPS = sorted((ROOT / "spark-apps").glob("*.py"))
SHIPPED = ("transforms", "decoding")


def messages(*rows: tuple[str, bytes | None]) -> pa.RecordBatch:
    """What is read of Kafka's columns for (topic, payload), offsets counting up."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array([topic for topic, _ in rows], pa.string()),
            pa.array([0] * len(rows), pa.int32()),
            pa.array(range(len(rows)), pa.int64()),
            pa.array([NOW] * len(rows), pa.timestamp("us", "UTC")),
            pa.array([True] * len(rows)),
            pa.array([payload for _, payload in rows], pa.binary()),
        ],
        names=["topic", "partition", "offset", "timestamp", "log_time", "value"],
    )


def is_fatal(event: Event) -> bool:
    return bool(event.severity == "FATAL")


def test_every_message_becomes_one_row_an_event_or_a_reason() -> None:
    order = {
        "order_id": "o1",
        "user_id": "u1",
        "product_id": "p1",
        "quantity": 2,
        "price": 1.255,
        "status": "CREATED",
        "order_time": "2026-11-23T11:59:00Z",
        "event_id": "e1",
    }
    fatal = {
        "error_id": "x1",
        "service_name": "payments",
        "error_message": "no",
        "severity": "FATAL",
        "error_time": "2026-11-23T11:59:30",
    }
    batch = messages(
        (ORDERS_TOPIC, json.dumps(order).encode()),
        (ORDERS_TOPIC, None),
        (CLICKS_TOPIC, b"{"),
        (ERRORS_TOPIC, json.dumps(fatal).encode()),
        (ERRORS_TOPIC, json.dumps(fatal | {"error_time": "2099-01-01T00:00:00Z"}).encode()),
    )
    rows = decode_batch(batch, NO_SOURCES, timedelta(days=15), {ERRORS_TOPIC: is_fatal})
    assert rows.schema == DECODED
    good, empty, broken, alert, future = rows.to_pylist()
    assert (good["reason"], good["event_key"], good["order_total"]) == (None, "e1", Decimal("2.51"))
    assert good["event_at"] == datetime(2026, 11, 23, 11, 59, tzinfo=UTC)
    assert (empty["reason"], empty["payload"]) == ("EMPTY", None)
    assert (broken["reason"], broken["payload"], broken["source_offset"]) == ("NOT_JSON", b"{", 2)
    assert (alert["alerting"], alert["service_name"], alert["order_id"]) == (True, "payments", None)
    assert (future["reason"], future["alerting"], future["event_at"]) == ("FUTURE_TIME", False, None)


def test_executors_make_a_row_of_each_element_and_one_of_what_is_left_out() -> None:
    sources = pickle.loads(pickle.dumps(sources_of(YAML, "config/sources.yaml")))  # as Spark ships it
    found = kinds()
    lines = json.loads(found["nested items"].value)
    lines["lines"].append({"sku": None, "n": 1, "sum": "3,00"})
    batch = messages(
        ("shop_lines", packed(lines)),
        ("shop.public.orders", packed(debezium(1, op="d"))),
        ("shop.public.orders", found["debezium update"].value),
        (ORDERS_TOPIC, packed(order("e", "1"))),
    )
    rows = decode_batch(batch, sources, None, {})
    assert [
        (row["log_topic"], row["source_offset"], row["place"], row["left_out"], row["event_key"], row["reason"])
        for row in rows.to_pylist()
    ] == [
        ("shop_lines", 0, 0, False, "N5:0", None),
        ("shop_lines", 0, 1, False, "N5:1", None),
        ("shop_lines", 0, 2, False, None, "MISSING_FIELD"),
        ("shop.public.orders", 1, 0, True, None, None),
        ("shop.public.orders", 2, 0, False, "orders-1-24023129", None),
        (ORDERS_TOPIC, 3, 0, False, "e", None),
    ]
    assert set(rows["topic"].to_pylist()) == {ORDERS_TOPIC}
    assert rows["payload"].to_pylist()[2] == packed(lines)


def test_what_alerts_in_a_large_batch_was_received_when_it_was_read_at_last() -> None:
    fatal = {"error_id": "x1", "service_name": "payments", "error_message": "no", "severity": "FATAL"}
    payload = json.dumps(fatal | {"error_time": NOW.isoformat()}).encode()
    batch = messages((ERRORS_TOPIC, payload), (CLICKS_TOPIC, b"{"))
    rows = pa.Table.from_batches([decode_batch(batch, NO_SOURCES, timedelta(days=15), {ERRORS_TOPIC: is_fatal})])
    read_at = NOW - timedelta(hours=26)
    (told,) = alerting(rows.filter(rows["alerting"]), ERRORS_TOPIC, read_at)
    assert (told.topic, told.event.error_id, told.received_at) == (ERRORS_TOPIC, "x1", read_at)


def test_a_small_batch_keeps_key_headers_and_order_of_what_kafka_gave() -> None:
    header = pa.struct([("key", pa.string()), ("value", pa.binary())])
    last = 9_000_000_000_000_000_000
    rows = pa.table(
        {
            "topic": pa.array(["b", "a", "a", "a"]),
            "partition": pa.array([0, 1, 0, 0], pa.int32()),
            "offset": pa.array([5, 0, 2, 1], pa.int64()),
            "timestamp": pa.array([last, 0, 2_000_000, 1_000_000], pa.int64()),
            "log_time": pa.array([False, True, True, True]),
            "key": pa.array([None, b"k", None, None], pa.binary()),
            "value": pa.array([b"x", None, b"", b"y"], pa.binary()),
            "headers": pa.array([None, [{"key": "h", "value": b"v"}], None, []], pa.list_(header)),
        }
    )
    found = records(rows)
    assert [(r.partition, r.offset, r.value) for r in found["a"]] == [(0, 1, b"y"), (0, 2, b""), (1, 0, None)]
    assert found["a"][2] == Record(1, 0, moment(0), b"k", None, (("h", b"v"),), True, "a")
    (far,) = found["b"]
    assert (far.log_time, far.received_at.year) == (False, 9999)


def test_where_a_batch_ends_is_read_from_what_spark_wrote_before_it(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    (tmp_path / "offsets" / "7").write_text(
        'v1\n{"batchWatermarkMs":0,"conf":{}}\n{"orders_topic":{"0":5,"1":9},"clicks_topic":{"0":0}}'
    )
    assert batch_end(tmp_path, 7) == {("orders_topic", 0): 5, ("orders_topic", 1): 9, ("clicks_topic", 0): 0}


def test_a_batch_that_ended_java_is_smaller_for_the_next_driver(tmp_path: Path) -> None:
    note = tmp_path / "batch_rows"
    first = Attempts(20_000, note)
    assert (first.batch_rows, first.narrowed) == (20_000, False)
    first.narrow()
    second = Attempts(20_000, note)
    assert (second.batch_rows, second.narrowed) == (5_000, True)
    second.failed("Job aborted: java.lang.OutOfMemoryError: Java heap space")
    second.failed("Kafka does not answer")
    assert second.batch_rows == Attempts(20_000, note).batch_rows == 1_250
    second.widen()
    second.widen()
    assert (second.batch_rows, Attempts(20_000, note).batch_rows, note.exists()) == (20_000, 20_000, False)
    note.write_text("nonsense", encoding="ascii")
    assert Attempts(20_000, note).batch_rows == 20_000


def test_offsets_are_written_as_spark_reads_them() -> None:
    assert json.loads(offsets_json([("a", 0, 5), ("a", 1, 6), ("b", 0, 0)])) == {"a": {"0": 5, "1": 6}, "b": {"0": 0}}


@pytest.mark.parametrize("table", [table.name for table in KPI_TABLES])
def test_each_kpi_query_is_one_statement_of_spark(table: str) -> None:
    assert len(sqlglot.parse(spark_sql(table, Counting(("CREATED",))), read="spark")) == 1


@pytest.mark.parametrize("path", APPS, ids=[path.name for path in APPS])
def test_a_file_of_spark_apps_imports_lakehouse_pipeline_and_no_other_part(path: Path) -> None:
    own = {app.stem for app in APPS}
    parts = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"lakehouse", "pipeline"}
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    assert not names & parts
    # Top-level names of our own must shadow nothing.
    assert not own & set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_executors_run_imports_nothing_of_the_driver(name: str) -> None:
    text = (ROOT / "spark-apps" / f"{name}.py").read_text(encoding="utf-8")
    imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}
    assert imported & {path.stem for path in APPS} <= set(SHIPPED)
