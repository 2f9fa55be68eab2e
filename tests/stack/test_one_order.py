"""One order, all the way: producer, Kafka, Spark, Nessie and S3, gateway, Flight."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bench.pipelines import Stack as Pipeline
from bench.processes import free_offset
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.dremio.statement import fill
from tests.stack.conftest import Stack
from tillwatch.s3_server import find_minio

_BOTH = """
SELECT COUNT(*) AS n, SUM(order_total) AS total, MAX(order_id) AS id FROM {orders_processed}
UNION ALL
SELECT SUM(orders_count), SUM(total_revenue), NULL FROM {orders_revenue_per_minute}
"""


def send_one_order(pipeline: Pipeline) -> None:
    """As a person would: a file and the producers' command."""
    order = {
        "order_id": "o-1",
        "user_id": "ada",
        "product_id": "book",
        "quantity": 2,
        "price": 10.505,
        "status": "CREATED",
        "order_time": datetime.now(UTC).isoformat(),
    }
    file = pipeline.data_dir / "order.jsonl"
    file.write_text(json.dumps(order) + "\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "producers", "replay", str(file), "--original-times", *pipeline.sink_words],
        cwd=ROOT,
        env=pipeline.environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def assert_it_comes_out(pipeline: Pipeline) -> None:
    pipeline.start_engine()
    pipeline.wait_reading()
    send_one_order(pipeline)
    pipeline.wait_until_read()
    commit = pipeline.dremio.head()
    assert len(commit) == 64
    raw, minute = pipeline.dremio.sql(fill(_BOTH, commit, {})).to_pylist()
    assert raw == {"n": 1, "total": Decimal("21.01"), "id": "o-1"}
    assert minute == {"n": 1, "total": Decimal("21.01"), "id": None}
    assert pipeline.stop_engine() == 0


def test_an_order_comes_from_a_producer_to_a_flight_answer(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline") as pipeline:
        assert_it_comes_out(pipeline)


@pytest.mark.skipif(
    find_minio() is None and os.environ.get("CI") != "true",
    reason="there is no `minio` on the PATH, and deploy/ci-setup has built none",
)
def test_an_order_comes_out_of_the_other_s3_server_too(servers: Servers, tmp_path: Path) -> None:
    kind = "s3proxy" if (servers.data_dir / "minio").exists() else "minio"
    with (
        Servers(tmp_path / "servers", free_offset(), {"TILLWATCH_STACK_S3": kind}) as others,
        Pipeline(others, tmp_path / "pipeline") as pipeline,
    ):
        assert_it_comes_out(pipeline)
