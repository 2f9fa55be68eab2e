"""The recipes for a topic and its KPI, followed on a copy of the tree: the driver of that copy, in whose code no line
is another, reads, stores and computes what they declare, in batches of both sizes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from lakehouse.sinks import KafkaSink
from tests.stack.conftest import READS_WITHIN_S, Program, Stack
from tests.test_recipes_data import PAYMENTS, PAYMENTS_PER_MINUTE

SMALL = 3
"""Messages that a batch of the small way may have."""
MANY = 200


def start(stack: Stack, tree: Path, name: str, argv: list[str], **variables: str) -> Program:
    """A part of the copy, from the copy's own packages."""
    stack.tmp.mkdir(exist_ok=True)
    ours = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    # Spark's Python workers take what lies in the folder that the driver was started in.
    return Program([sys.executable, *argv], stack.environment | ours, stack.tmp / f"{name}.log", cwd=tree)


def payment(number: int, at: datetime) -> bytes:
    fields = {"payment_id": number, "order_id": f"o-{number}", "amount": "2.50", "state": "CAPTURED"}
    return json.dumps(fields | {"payment_time": at.isoformat()}).encode()


def paid(dremio: Dremio) -> tuple[int, int, Decimal]:
    """Payments in the raw table, and number and sum in the KPI's; none while there is no such table yet."""
    raw = "SELECT COUNT(*) AS n FROM nessie_minio_catalog.ecommerce_db.payments_processed"
    kpi = "SELECT SUM(payments) AS n, SUM(paid) AS s FROM nessie_minio_catalog.ecommerce_db.payments_per_minute"
    try:
        (rows,), (minutes,) = dremio.sql(raw).to_pylist(), dremio.sql(kpi).to_pylist()
    except DremioError:
        return 0, 0, Decimal(0)
    return rows["n"], minutes["n"] or 0, minutes["s"] or Decimal(0)


def test_a_topic_and_its_kpi_are_a_file_each_on_the_stack_too(stack: Stack, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for part in ("lakehouse", "pipeline", "embedded", "spark-apps", "config"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "lakehouse" / "topics" / "payments_topic.yaml").write_text(PAYMENTS)
    (tree / "lakehouse" / "kpis" / "payments_per_minute.sql").write_text(PAYMENTS_PER_MINUTE)
    script = [str(tree / "spark-apps" / "stream.py"), "--verbose"]
    driver = start(stack, tree, "driver", script, TILLWATCH_SPARK_COLLECT_ROWS=str(SMALL))
    gateway = start(stack, tree, "gateway", ["-m", "embedded.gateway"], TILLWATCH_GATEWAY_CATALOG="nessie")
    dremio = Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + stack.servers.offset}"))
    at = datetime.now(UTC) - timedelta(minutes=3)
    try:
        driver.until(lambda: "reading from" in driver.said(), READS_WITHIN_S)
        with KafkaSink(stack.servers.brokers) as sink:
            for number in range(MANY):
                sink.send("payments_topic", None, payment(number, at + timedelta(seconds=number % 60)))
            sink.send("payments_topic", None, payment(0, at))
            sink.flush()
            driver.until(lambda: paid(dremio)[0] == MANY, 120)
            time.sleep(1)  # a batch of its own
            sink.send("payments_topic", None, payment(MANY, at))
            sink.flush()
            driver.until(lambda: paid(dremio)[0] == MANY + 1, 120)
        assert paid(dremio) == (MANY + 1, MANY + 1, Decimal("2.50") * (MANY + 1))
        sizes = [int(size) for size in re.findall(r" publish \d+ \w+: (\d+) events in ", driver.said())]
        assert any(size > SMALL for size in sizes)
        assert 1 in sizes
        assert driver.stop() == 0
    finally:
        dremio.close()
        driver.kill()
        gateway.kill()
