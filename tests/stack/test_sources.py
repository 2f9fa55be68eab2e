"""Eight kinds of message through sources.yaml on Spark, the small way and the large one: the rows of plain messages."""

from __future__ import annotations

import json
import shutil
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lakehouse import ROOT
from lakehouse.decode import Customs
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.rates import read_rates
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.sinks import KafkaSink
from tests.source_cast import RATES, YAML, debezium, event, kinds, order, packed
from tests.stack.conftest import Stack

WITHIN_S = 120
WEEK = timedelta(days=7)
OF_THE_MESSAGE = {"event_key", "order_id"}
_ORDERS = """
SELECT event_key, order_id, user_id, product_id, quantity, price, order_total, status, order_ts,
  original_total, original_currency
FROM {orders_processed} ORDER BY event_key
"""
_LETTERS = "SELECT topic, reason, detail FROM {dead_letters} ORDER BY topic, detail"
_COUNTS = "SELECT metric, SUM(\"value\") AS n FROM {pipeline_metrics} WHERE metric = 'left_out' GROUP BY metric"
_POSITIONS = "SELECT topic, SUM(next_offset) AS n FROM {ingest_positions} GROUP BY topic"


def own_config(folder: Path) -> Path:
    """The shipped files, and sources.yaml and rates.csv beside them."""
    shutil.copytree(ROOT / "config", folder)
    (folder / "rates.csv").write_text(RATES, encoding="utf-8")
    (folder / "sources.yaml").write_text(YAML, encoding="utf-8")
    return folder / "tillwatch.yaml"


def send(sink: KafkaSink) -> int:
    """The eight kinds twice, a guest's order, a list with one bad element, a deletion that is left out; how many
    messages."""
    bad = json.loads(kinds()["nested items"].value) | {"number": "N6"}
    bad["lines"].insert(1, {"sku": None, "n": 1, "sum": "3,00"})
    messages = [(kind.log_topic, kind.value, kind.headers) for kind in kinds().values()] * 2
    guest = {**json.loads(kinds()["cents with a currency"].value), "id": "p9", "customer": None}
    messages += [("shop_cents", packed(guest), ()), ("shop_lines", packed(bad), ())]
    messages += [("shop.public.orders", packed(debezium(5, op="d")), ())]
    for topic, value, headers in messages:
        sink.send(topic, None, value, headers)
    sink.flush()
    return len(messages)


def rows(dremio: Dremio, sql: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = dremio.sql(fill(sql, dremio.head(), {})).to_pylist()
    except DremioError:
        return []  # nothing is published yet
    return found


@pytest.mark.parametrize("collect_rows", ["1000000", "0"], ids=["small", "large"])
def test_spark_makes_of_them_what_the_embedded_engine_makes(stack: Stack, collect_rows: str) -> None:
    settings = own_config(stack.tmp / "config")
    more = {"CONFIG": str(settings), "ORDERS_CURRENCY": "USD"}
    more |= {"SPARK_COLLECT_ROWS": collect_rows, "MAX_EVENT_AGE": "off", "RETENTION_RAW": "off"}
    with stack.driver(True, **more, INGEST_HEARTBEAT_EVERY="2 s") as driver, stack.gateway() as dremio:
        with KafkaSink(KafkaSettings.load().brokers) as sink:
            sent = send(sink)
        driver.until(lambda: sum(row["n"] for row in rows(dremio, _POSITIONS)) >= sent, WITHIN_S)
        orders = rows(dremio, _ORDERS)
        customs = Customs(read_rates(settings.with_name("rates.csv"), "USD", WEEK), frozenset({"orders_topic"}))
        wanted = {one.event_key: one for kind in kinds(customs).values() for one in kind.orders}
        wanted["p9"] = event(order("p9", "p9", user_id=None, currency="EUR"), customs)
        wanted |= {
            key.replace("N5", "N6").replace(":1", ":2"): one for key, one in wanted.items() if key.startswith("N5")
        }
        assert [row["event_key"] for row in orders] == sorted(wanted)
        for row in orders:
            one = wanted[row["event_key"]]
            assert row == row | {name: getattr(one, name) for name in row if name not in OF_THE_MESSAGE}
        assert (wanted["p8"].order_total, wanted["p8"].original_total, wanted["p9"].user_id) == (
            Decimal("31.25"),
            Decimal("25.00"),
            "",
        )
        assert rows(dremio, _LETTERS) == [
            {"topic": "shop_lines", "reason": "MISSING_FIELD", "detail": "product_id (lines[1].sku) is null"}
        ]
        counted = [{"metric": "left_out", "n": 1.0}]
        until = time.monotonic() + WITHIN_S
        while rows(dremio, _COUNTS) != counted and time.monotonic() < until:
            time.sleep(0.2)  # counts are told by the next heartbeat
        assert rows(dremio, _COUNTS) == counted
        assert driver.stop() == 0
