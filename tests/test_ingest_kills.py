"""kill -9 at any moment: the tables end as if nothing had happened."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from pyiceberg.catalog.sql import SqlCatalog

from lakehouse.sinks import EventLogSink
from lakehouse.tables import CATALOG, SCHEMA

ORDERS = 3000


@contextmanager
def ingest_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "TILLWATCH_DATA_DIR": str(data_dir),
        "TILLWATCH_PORT_OFFSET": str(10_000 + os.getpid() % 5000),
        "TILLWATCH_INGEST_BATCH_ROWS": "100",
        "TILLWATCH_INGEST_PUBLISH_EVERY": "10 ms",
    }
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


def test_every_order_is_there_once_after_kills_in_mid_batch(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    now = datetime.now(UTC)
    with EventLogSink(data_dir / "events.db") as sink:
        for number in range(ORDERS):
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
    draw = random.Random(3)
    for _ in range(3):
        with ingest_process(data_dir) as process:
            wait_until_it_reads(process)
            time.sleep(draw.uniform(0.1, 0.6))
    catalog = SqlCatalog(
        CATALOG, uri=f"sqlite:///{data_dir}/catalog.db", warehouse=f"file://{data_dir}/warehouse"
    )
    with ingest_process(data_dir) as process:
        wait_until_it_reads(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            positions = catalog.load_table(f"{SCHEMA}.ingest_positions").scan().to_arrow().to_pylist()
            if any(row["next_offset"] == ORDERS for row in positions):
                break
            time.sleep(0.2)
    orders = catalog.load_table(f"{SCHEMA}.orders_processed").scan().to_arrow()
    minutes = catalog.load_table(f"{SCHEMA}.orders_revenue_per_minute").scan().to_arrow()
    assert sorted(orders["event_key"].to_pylist()) == sorted(f"o-{number}" for number in range(ORDERS))
    assert sum(minutes["orders_count"].to_pylist()) == ORDERS
    assert sum(minutes["total_revenue"].to_pylist()) == sum(orders["order_total"].to_pylist())
