"""kill -9 at any moment, or a disk that takes no more: the tables end as if nothing had happened."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from lakehouse.sinks import EventLogSink
from lakehouse.tables import CATALOG, SCHEMA
from pipeline.batch.points import POINTS

ORDERS = 3000


@contextmanager
def ingest_process(data_dir: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    environment = (
        os.environ
        | more
        | {
            "TILLWATCH_DATA_DIR": str(data_dir),
            "TILLWATCH_PORT_OFFSET": str(10_000 + os.getpid() % 5000),
            "TILLWATCH_INGEST_BATCH_ROWS": "100",
            "TILLWATCH_INGEST_PUBLISH_EVERY": "10 ms",
        }
    )
    command = [sys.executable, "-m", "embedded.ingest"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_until_it_reads(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if " reading " in line:
            return
    raise AssertionError("ingest ended before it read anything")


def send_orders(data_dir: Path, first: int, count: int) -> None:
    now = datetime.now(UTC)
    with EventLogSink(data_dir / "events.db") as sink:
        for number in range(first, first + count):
            fields = {
                "event_id": f"o-{number}",
                "order_id": str(number),
                "user_id": "ada",
                "product_id": "book",
                "quantity": 1,
                "price": 0.01 * (number % 700),
                "status": "CREATED",
                "order_time": (now - timedelta(seconds=number % 900)).isoformat(),
            }
            sink.send("orders_topic", None, msgspec.json.encode(fields))


def reader(data_dir: Path) -> SqlCatalog:
    return SqlCatalog(CATALOG, uri=f"sqlite:///{data_dir}/catalog.db", warehouse=f"file://{data_dir}/warehouse")


def read_to(catalog: SqlCatalog) -> int:
    positions = catalog.load_table(f"{SCHEMA}.ingest_positions").scan().to_arrow().to_pylist()
    return max((int(row["next_offset"]) for row in positions if row["topic"] == "orders_topic"), default=0)


def wait_until_read(catalog: SqlCatalog, offset: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while read_to(catalog) < offset:
        assert time.monotonic() < deadline, f"only {read_to(catalog)} of {offset} orders are in"
        time.sleep(0.2)


def assert_each_order_is_there_once(catalog: SqlCatalog, count: int) -> None:
    orders = catalog.load_table(f"{SCHEMA}.orders_processed").scan().to_arrow()
    minutes = catalog.load_table(f"{SCHEMA}.orders_revenue_per_minute").scan().to_arrow()
    assert sorted(orders["event_key"].to_pylist()) == sorted(f"o-{number}" for number in range(count))
    assert sum(minutes["orders_count"].to_pylist()) == count
    assert sum(minutes["total_revenue"].to_pylist()) == sum(orders["order_total"].to_pylist())


def test_every_order_is_there_once_after_a_kill_at_each_point_of_a_batch(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    for number, point in enumerate(POINTS):
        send_orders(data_dir, 50 * number, 50)
        with ingest_process(data_dir, _TILLWATCH_KILL_AT=point) as process:
            assert process.wait(60) == -9, point
    catalog = reader(data_dir)
    with ingest_process(data_dir) as process:
        wait_until_it_reads(process)
        wait_until_read(catalog, 50 * len(POINTS))
    assert_each_order_is_there_once(catalog, 50 * len(POINTS))


def test_every_order_is_there_once_after_kills_in_mid_batch(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    send_orders(data_dir, 0, ORDERS)
    draw = random.Random(3)
    for _ in range(3):
        with ingest_process(data_dir) as process:
            wait_until_it_reads(process)
            time.sleep(draw.uniform(0.1, 0.6))
    catalog = reader(data_dir)
    with ingest_process(data_dir) as process:
        wait_until_it_reads(process)
        wait_until_read(catalog, ORDERS)
    assert_each_order_is_there_once(catalog, ORDERS)


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="only Linux limits the files of a running process")
def test_a_disk_that_takes_no_more_loses_nothing_and_ingest_goes_on_when_it_does(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    send_orders(data_dir, 0, 200)
    catalog = reader(data_dir)
    with ingest_process(data_dir) as process:
        wait_until_it_reads(process)
        wait_until_read(catalog, 200)
        limits = psutil.Process(process.pid)
        before = limits.rlimit(resource.RLIMIT_FSIZE)
        limits.rlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        send_orders(data_dir, 200, 300)
        assert process.stderr is not None
        failed = next(line for line in process.stderr if " ERROR " in line)
        assert "batch failed, again in 1 s" in failed
        assert read_to(catalog) == 200
        limits.rlimit(resource.RLIMIT_FSIZE, before)
        wait_until_read(catalog, 500)
    assert_each_order_is_there_once(catalog, 500)
