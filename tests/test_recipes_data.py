"""The recipes of CONTRIBUTING.md for a topic and for KPI tables, followed on a copy of the tree: a file each, no line
of code; the embedded pipeline reads, stores and computes what they declare, and the gateway answers it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from tests.test_gateway import start_gateway, stop

PAYMENTS = """\
order: 4
doc: One message a payment.
time: payment_time
fields:
  payment_id: {kind: ID, doc: the provider's number of the payment}
  order_id: {kind: ID, doc: the order it pays}
  amount: {kind: MONEY, above: 0, unit: currency of the shop, doc: what was paid}
  state: {kind: CHOICE, choices: [AUTHORISED, CAPTURED, FAILED], doc: how far it is}
  payment_time: {kind: TIME, column: payment_ts, doc: when it was made}
key: [payment_id, order_id, amount, state, payment_time]
table:
  name: payments_processed
  doc: Payments as they came, each once.
"""
PAYMENTS_PER_MINUTE = """\
/*
order: 6
topic: payments_topic
doc: Payments by state.
grain: one row a minute and state with a payment
columns:
  state:
  payments: {type: long, unit: count, doc: payments}
  paid: {type: "decimal(38,2)", unit: currency of the shop, doc: sum of amount}
*/
SELECT
  DATE_TRUNC('minute', payment_ts) AS window_start,
  DATE_TRUNC('minute', payment_ts) + INTERVAL '1' MINUTE AS window_end,
  state,
  COUNT(*) AS payments,
  SUM(amount) AS paid
FROM payments_processed
GROUP BY DATE_TRUNC('minute', payment_ts), state
"""
REVENUE_PER_PRODUCT = """\
/*
order: 5
topic: orders_topic
doc: Orders and revenue by product.
grain: one row a minute and product with an order
columns:
  product_id:
  orders: {type: long, unit: count, doc: orders}
  revenue: {type: "decimal(38,2)", unit: currency of the shop, doc: sum of order_total}
*/
SELECT
  DATE_TRUNC('minute', order_ts) AS window_start,
  DATE_TRUNC('minute', order_ts) + INTERVAL '1' MINUTE AS window_end,
  product_id,
  COUNT(*) AS orders,
  SUM(order_total) AS revenue
FROM orders_processed
WHERE status IN (:counted_statuses)
GROUP BY DATE_TRUNC('minute', order_ts), product_id
"""
ADDED = {
    "lakehouse/topics/payments_topic.yaml": PAYMENTS,
    "lakehouse/kpis/payments_per_minute.sql": PAYMENTS_PER_MINUTE,
    "lakehouse/kpis/revenue_per_product.sql": REVENUE_PER_PRODUCT,
}
INGEST = """
import json, sys
from embedded.ingest import Ingest
from embedded.log import EventLog
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.sinks import open_sink
from pipeline.batch.terms import Terms

shared = Shared.load()
terms = Terms.load(shared)
sink = open_sink("log")
for topic, fields in json.load(sys.stdin):
    sink.send(topic, None, json.dumps(fields).encode())
sink.close()
with EventLog(open_data_dir(shared.data_dir, "embedded") / "events.db") as log:
    ingest = Ingest(log.path.parent, log, terms)
    ingest.publish()
    ingest.close()
"""
WHEN = datetime.now(UTC).replace(second=7, microsecond=0) - timedelta(minutes=10)
MINUTE = WHEN.replace(second=0)


class Tree:
    """A copy of what the embedded pipeline is made of, with the recipes' files in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        for part in ("lakehouse", "pipeline", "embedded", "config"):
            shutil.copytree(ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.data_dir = folder / "data"
        # The tree's own packages, and not those of the folder the tests run in.
        self.environment = {"PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def add(self, name: str, text: str) -> None:
        assert not (self.folder / name).exists()
        (self.folder / name).write_text(text)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = os.environ | self.environment | {"TILLWATCH_DATA_DIR": str(self.data_dir)}
        return subprocess.run([sys.executable, *words], input=stdin, capture_output=True, text=True, env=environment)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def order(number: int, product: str, price: str) -> tuple[str, dict[str, Any]]:
    fields = {"order_id": number, "user_id": "ann", "product_id": product, "quantity": 2, "price": price}
    return "orders_topic", fields | {"status": "CREATED", "order_time": WHEN.isoformat()}


def payment(number: int, amount: str, state: str = "CAPTURED") -> tuple[str, dict[str, Any]]:
    fields = {"payment_id": number, "order_id": number, "amount": amount, "state": state}
    return "payments_topic", fields | {"payment_time": WHEN.isoformat()}


def test_a_topic_and_kpi_tables_are_a_file_each(tree: Tree) -> None:
    # The data directory is there already when they come.
    done = tree.run("-c", INGEST, stdin=json.dumps([order(1, "book", "10.50")]))
    assert done.returncode == 0, done.stderr
    for name, text in ADDED.items():
        tree.add(name, text)
    sent = [
        *(order(2, "book", "1"), order(3, "pen", "0.25")),
        *(payment(1, "21"), payment(1, "21"), payment(2, "2.005"), payment(3, "0.5", "FAILED")),
        *(payment(4, "0"), payment(5, "1", "LOST")),
    ]
    done = tree.run("-c", INGEST, stdin=json.dumps(sent))
    assert done.returncode == 0, done.stderr
    process, port = start_gateway(tree.data_dir, **tree.environment)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:

            def asked(columns: str, table: str) -> list[tuple[Any, ...]]:
                rows = dremio.sql(f"SELECT {columns} FROM nessie_minio_catalog.ecommerce_db.{table} ORDER BY 1, 2")
                return [tuple(row.values()) for row in rows.to_pylist()]

            assert asked("payment_id, state, amount, payment_ts", "payments_processed") == [
                ("1", "CAPTURED", Decimal("21.00"), WHEN),
                ("2", "CAPTURED", Decimal("2.01"), WHEN),
                ("3", "FAILED", Decimal("0.50"), WHEN),
            ]
            assert asked("window_start, state, payments, paid", "payments_per_minute") == [
                (MINUTE, "CAPTURED", 2, Decimal("23.01")),
                (MINUTE, "FAILED", 1, Decimal("0.50")),
            ]
            assert asked("window_start, product_id, orders, revenue", "revenue_per_product") == [
                (MINUTE, "book", 2, Decimal("23.00")),
                (MINUTE, "pen", 1, Decimal("0.50")),
            ]
            assert asked("detail, reason", "dead_letters") == [
                ("amount is 0, not above 0", "BAD_VALUE"),
                ("state is 'LOST', not one of AUTHORISED CAPTURED FAILED", "BAD_VALUE"),
            ]
    finally:
        stop(process)
    page = tree.run("-m", "lakehouse.contract").stdout
    assert [name for name in ("payments_topic", "payments_processed", "revenue_per_product") if name not in page] == []


def test_a_file_that_is_wrong_stops_the_start_with_one_sentence(tree: Tree) -> None:
    tree.add("lakehouse/topics/payments_topic.yaml", PAYMENTS.replace("time: payment_time", "time: paid_at"))
    done = tree.run("-m", "embedded.ingest")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "tillwatch: lakehouse/topics/payments_topic.yaml, line 3: 'time' is 'paid_at'; expected a required field of "
        "the kind TIME.\n"
    )


def test_a_query_that_gives_something_else_stops_the_start_with_one_sentence(tree: Tree) -> None:
    tree.add("lakehouse/kpis/revenue_per_product.sql", REVENUE_PER_PRODUCT.replace("AS revenue", "AS turnover"))
    done = tree.run("-m", "embedded.ingest")
    assert done.returncode == 2
    assert done.stderr == (
        "tillwatch: lakehouse/kpis/revenue_per_product.sql, line 11: the query gives no column 'revenue', which its "
        "header declares; correct one.\n"
    )
