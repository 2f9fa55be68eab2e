"""The recipes for a topic and its KPI, followed on a copy of the tree, and examples/payments beside them as a shop's
own: the driver of that copy, in whose code no line is another, reads, stores and computes what they declare, in batches
of both sizes, and alerts on it; the example's tab shows it, and its route tells Slack. Beside them KPIs that a large
batch makes fail, or take too long.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import expect

from bench.browser import browser_page
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from lakehouse.sinks import KafkaSink
from tests.own_cast import EXAMPLE
from tests.stack.conftest import READS_WITHIN_S, Program, Stack
from tests.test_recipes_data import PAYMENTS, PAYMENTS_PER_MINUTE
from tillwatch.overlay import lay_over

SMALL = 3
"""Messages that a batch of the small way may have."""
MANY = 2000
OWN_KPI = """\
/*
topic: payments_topic
grain: one row a minute with a payment
units: {{figure: count}}
*/
-- One figure of the payments of a minute.
SELECT
  DATE_TRUNC('minute', payment_time) AS window_start,
  DATE_TRUNC('minute', payment_time) + INTERVAL '1' MINUTE AS window_end,
  {figure} AS figure
FROM payments_processed
GROUP BY DATE_TRUNC('minute', payment_time)
"""
# Java tries every way to share out the letters, some 10 ms a row; DuckDB reads them once.
SLOW_ON_SPARK = f"CASE WHEN REGEXP_MATCHES('{'a' * 50}' || state, 'a*a*a*a*b') THEN 0 ELSE 1 END"
NO_NUMBER = "CAST(order_id AS INT)"
TOO_SLOW = {"slow_kept_up": f"SUM({SLOW_ON_SPARK})", "slow_anew": f"COUNT(*) + 0 * MAX({SLOW_ON_SPARK})"}
FAILING = {"failing_kept_up": f"SUM({NO_NUMBER})", "failing_anew": f"MAX({NO_NUMBER})"}


def start(stack: Stack, tree: Path, name: str, argv: list[str], **variables: str) -> Program:
    """A part of the copy, from the copy's own packages."""
    stack.tmp.mkdir(exist_ok=True)
    ours = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    # Spark's Python workers take what lies in the folder that the driver was started in.
    return Program([sys.executable, *argv], stack.environment | ours, stack.tmp / f"{name}.log", cwd=tree)


def shipped(text: str) -> str:
    """Payments under another name, as something that is shipped."""
    return text.replace("payment", "voucher")


def sent(what: str, number: int, at: datetime, state: str = "CAPTURED") -> bytes:
    fields = {f"{what}_id": number, "order_id": f"o-{number}", "amount": "2.50", "state": state}
    return json.dumps(fields | {f"{what}_time": at.isoformat()}).encode()


def counted(dremio: Dremio, what: str, amount: str) -> tuple[int, int, Decimal]:
    """Rows of the raw table, and number and sum in the KPI's; none while there is no such table yet."""
    schema = "nessie_minio_catalog.ecommerce_db"
    raw = f"SELECT COUNT(*) AS n FROM {schema}.{what}s_processed"
    kpi = f"SELECT SUM({what}s) AS n, SUM({amount}) AS s FROM {schema}.{what}s_per_minute"
    try:
        (rows,), (minutes,) = dremio.sql(raw).to_pylist(), dremio.sql(kpi).to_pylist()
    except DremioError:
        return 0, 0, Decimal(0)
    return rows["n"], minutes["n"] or 0, minutes["s"] or Decimal(0)


def figures(dremio: Dremio, name: str) -> int:
    """The sum over the minutes of a KPI of OWN_KPI."""
    (row,) = dremio.sql(f"SELECT SUM(figure) AS n FROM nessie_minio_catalog.ecommerce_db.{name}").to_pylist()
    return int(row["n"] or 0)


def test_a_topic_and_its_kpi_are_a_file_each_on_the_stack_too_shipped_or_own(stack: Stack, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for part in ("lakehouse", "pipeline", "embedded", "spark-apps", "config"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "lakehouse" / "topics" / "vouchers_topic.yaml").write_text(shipped(PAYMENTS))
    (tree / "lakehouse" / "kpis" / "vouchers_per_minute.sql").write_text(shipped(PAYMENTS_PER_MINUTE))
    config = lay_over([EXAMPLE], tmp_path / "own")
    for name, figure in (TOO_SLOW | FAILING).items():
        (config.parent / "kpis" / f"{name}.sql").write_text(OWN_KPI.format(figure=figure))
    own = {"TILLWATCH_CONFIG": str(config)}
    script = [str(tree / "spark-apps" / "stream.py"), "--verbose"]
    driver = start(stack, tree, "driver", script, TILLWATCH_SPARK_COLLECT_ROWS=str(SMALL), **own)
    gateway = start(stack, tree, "gateway", ["-m", "embedded.gateway"], TILLWATCH_GATEWAY_CATALOG="nessie", **own)
    dremio = Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + stack.servers.offset}"))
    at = datetime.now(UTC) - timedelta(minutes=3)
    kinds = {"payment": "amount", "voucher": "paid"}
    told = f"Payment {MANY} of order o-{MANY} failed: 2.50"

    def rows(number: int) -> bool:
        return all(counted(dremio, what, amount)[0] == number for what, amount in kinds.items())

    try:
        driver.until(lambda: "reading from" in driver.said(), READS_WITHIN_S)
        with KafkaSink(stack.servers.brokers) as sink:
            for what in kinds:
                for number in range(MANY):
                    sink.send(f"{what}s_topic", None, sent(what, number, at + timedelta(seconds=number % 60)))
                sink.send(f"{what}s_topic", None, sent(what, 0, at))
            sink.flush()
            driver.until(lambda: rows(MANY), 240)
            with stack.oncall(CONFIG=str(config)) as notifier, browser_page() as page:
                for what in kinds:  # in a batch of its own
                    sink.send(f"{what}s_topic", None, sent(what, MANY, at, "FAILED"))
                sink.flush()
                driver.until(lambda: rows(MANY + 1), 120)
                # The longer the range, the longer a tab stays on one commit.
                page.goto(f"{stack.url('console')}/app?tab=payments&range=15m&state=FAILED")
                failed = page.locator('[data-list="payments.tables0"] tr')
                expect(failed).to_contain_text([f"o-{MANY}"], timeout=60_000)
                expect(failed).to_have_count(1)
                notifier.until(lambda: told in str(stack.slack()), 60)
        whole = (MANY + 1, MANY + 1, Decimal("2.50") * (MANY + 1))
        driver.until(lambda: all(counted(dremio, *kind) == whole for kind in kinds.items()), 120)
        alerts = dremio.sql("SELECT rule, description FROM nessie_minio_catalog.ecommerce_db.alerts").to_pylist()
        assert {"rule": "payment_failed", "description": told} in alerts
        sizes = [int(size) for size in re.findall(r" publish \d+ \w+: (\d+) events in ", driver.said())]
        assert any(size > SMALL for size in sizes)
        assert any(0 < size <= SMALL for size in sizes)
        # What is slow there, or fails, held up no row of the batch; one process then computes what it can.
        for name in TOO_SLOW:
            assert f"{name} is left out, again in 30 s: it took over 5 s" in driver.said()
        fails = "Spark fails: [CAST_INVALID_INPUT] The value 'o-"
        for name in FAILING:
            assert f"{name} is left out, again in 30 s: {fails}" in driver.said()
        driver.until(lambda: all(figures(dremio, name) == MANY + 1 for name in TOO_SLOW), 120)
        lacking = dremio.ask("kpis_left_out").to_pylist()
        assert {row["kpi"] for row in lacking} == set(FAILING)
        assert driver.stop() == 0
    finally:
        dremio.close()
        driver.kill()
        gateway.kill()
