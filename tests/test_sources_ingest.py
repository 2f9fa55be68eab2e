"""Ingest of messages of other shapes: the rows of plain ones, once, and dead letters that can be sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lakehouse.rates import read_rates
from lakehouse.sources import document_of, sources_of
from lakehouse.stop import Stop
from producers import dead_letters
from producers.dead_letters import Letter
from producers.pace import SystemClock
from tests.conftest import Shop
from tests.source_cast import AT, RATES, RECEIVED, YAML, debezium, kinds, order, packed

MIXED = """
mixed_orders: {reads: shop.events, topic: orders_topic, select: {order_id: {given: true}}}
mixed_errors: {reads: shop.events, topic: errors_topic, select: {error_id: {given: true}}}
"""
OF_THE_LOG = ("ingested_at", "source_partition", "source_offset")
ERRORS = """
payments_log:
  reads: [pay.eu, pay.us]
  topic: errors_topic
  event_id: id
  map:
    error_id: id
    service_name: {value: payments}
    error_message: text
    severity: {path: level, table: {"60": FATAL, "*": INFO}}
    error_time: {path: at, epoch: s}
"""


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop whose sources.yaml names those of the eight kinds, and the log of payments."""
    (tmp_path / "sources.yaml").write_text(YAML + ERRORS, encoding="utf-8")
    (tmp_path / "tillwatch.yaml").write_text("", encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "tillwatch.yaml"))
    opened = Shop(tmp_path / "mapped")
    opened.sources = sources_of(YAML + ERRORS, "config/sources.yaml")
    opened.now = RECEIVED
    yield opened
    opened.close()


def send(shop: Shop) -> None:
    for kind in kinds().values():
        shop.sink.send(kind.log_topic, None, kind.value, kind.headers)
    shop.sink.flush()


def orders(shop: Shop) -> list[dict[str, Any]]:
    """Without where they stood in the log."""
    rows = sorted(shop.rows("orders_processed"), key=lambda row: str(row["event_key"]))
    return [{name: value for name, value in row.items() if name not in OF_THE_LOG} for row in rows]


def test_eight_kinds_of_message_are_the_rows_of_plain_ones_and_once(mapped: Shop, shop: Shop) -> None:
    send(mapped)
    mapped.publish()
    shop.now = RECEIVED
    for kind in kinds().values():
        for one in kind.orders:
            shop.message("orders_topic", msgspec.json.encode(document_of(one)))
    shop.publish()
    assert orders(mapped) == orders(shop)
    assert len(orders(mapped)) == 10
    assert mapped.rows("dead_letters") == []
    assert [row["orders_count"] for row in mapped.rows("orders_revenue_per_minute")] == [10]
    send(mapped)
    mapped.restart()
    mapped.publish()
    assert orders(mapped) == orders(shop)


def test_cents_of_another_currency_become_the_shops(mapped: Shop, tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(RATES)
    rates = read_rates(tmp_path / "rates.csv", "USD", timedelta(days=7))
    mapped.sources = sources_of(YAML + ERRORS, "config/sources.yaml", rates)
    send(mapped)
    mapped.publish()
    row = next(row for row in orders(mapped) if row["event_key"] == "p8")
    assert (row["order_total"], row["original_total"], row["original_currency"]) == (Decimal("31.25"), 25, "EUR")


def test_positions_are_by_topic_of_the_log_and_ours_say_how_far_all_of_it_is(mapped: Shop) -> None:
    send(mapped)
    mapped.publish()
    positions = {row["topic"]: row for row in mapped.rows("ingest_positions")}
    assert positions["shop.public.orders"]["next_offset"] == 1
    assert positions["shop_cloud"]["next_offset"] == 2
    assert positions["orders_topic"]["next_offset"] == 0
    assert positions["orders_topic"]["first_event_at"] == AT
    assert positions["orders_topic"]["read_to"] == min(
        positions[name]["read_to"] for name in mapped.sources.fed_by("orders_topic")
    )


def test_what_select_leaves_out_is_counted_and_no_dead_letter(mapped: Shop) -> None:
    mapped.message("shop.public.orders", packed(debezium(1, op="d")))
    mapped.message("shop.public.orders", None)
    mapped.message("shop.public.orders", packed(debezium(2)))
    mapped.ingest.publish(heartbeat=True)
    assert len(orders(mapped)) == 1
    assert mapped.rows("dead_letters") == []
    told = {(row["topic"], row["metric"]): row["value"] for row in mapped.rows("pipeline_metrics")}
    assert told["orders_topic", "left_out"] == 2
    assert (told["orders_topic", "lag"], told["orders_topic", "log_end"]) == (0, 3)
    assert ("shop.public.orders", "lag") not in told


def test_one_bad_element_is_corrected_and_sent_again_and_the_others_are_stored_once(mapped: Shop) -> None:
    held = json.loads(kinds()["nested items"].value)
    held["lines"].insert(1, {"sku": None, "n": 1, "sum": "3,00"})
    mapped.message("shop_lines", packed(held))
    mapped.publish()
    (row,) = mapped.rows("dead_letters")
    assert (row["topic"], row["reason"], row["detail"]) == (
        "shop_lines",
        "MISSING_FIELD",
        "product_id (lines[1].sku) is null",
    )
    assert [each["event_key"] for each in orders(mapped)] == ["N5:0", "N5:2"]
    letter = Letter(row["topic"], 0, 0, RECEIVED, row["reason"], row["detail"], row["payload"])
    same = dead_letters.as_it_was(letter)
    assert same.payload == packed(held)
    assert dead_letters.judged([same], mapped.now, None)[0] == []
    document = json.loads(dead_letters.line(letter))
    document["event"]["lines"][1]["sku"] = "pot"
    corrected = list(dead_letters.corrected(json.dumps(document), "letters.jsonl"))
    dead_letters.refuse_two(corrected)
    good, bad = dead_letters.judged(corrected, mapped.now, timedelta(days=15))
    assert bad == []
    dead_letters.send(good, mapped.sink, SystemClock(), Stop())
    mapped.publish()
    assert [(each["event_key"], each["product_id"]) for each in orders(mapped)] == [
        ("N5:0", "mug"),
        ("N5:1", "pot"),
        ("N5:2", "cup"),
    ]
    assert len(mapped.rows("dead_letters")) == 1


def test_a_fatal_of_a_source_wakes_somebody_and_its_rule_reads_all_topics_that_feed_it(mapped: Shop) -> None:
    mapped.publish()
    at = int(AT.timestamp())
    mapped.send("pay.us", {"id": 7, "text": "card service down", "level": 60, "at": at})
    mapped.send("pay.eu", {"id": 8, "text": "slow", "level": 30, "at": at})
    mapped.ingest.log.look()
    assert mapped.ingest._alert_waits()
    mapped.publish()
    (alert,) = mapped.rows("alerts")
    assert alert["description"] == "Fatal error in service: payments - card service down"
    assert {row["error_id"] for row in mapped.rows("errors_processed")} == {"7", "8"}


def test_one_topic_of_the_log_may_feed_two_of_ours(shop: Shop) -> None:
    shop.sources = sources_of(MIXED, "config/sources.yaml")
    shop.now = RECEIVED
    error = {"error_id": "x", "service_name": "pay", "error_message": "no", "severity": "FATAL"}
    for message in (packed(order("e", "1")), b"{", packed(error | {"error_time": AT.isoformat()}), b'{"other": 1}'):
        shop.message("shop.events", message)
    shop.ingest.publish(heartbeat=True)
    assert [row["order_id"] for row in shop.rows("orders_processed")] == ["1"]
    assert [row["error_id"] for row in shop.rows("errors_processed")] == ["x"]
    assert [row["description"] for row in shop.rows("alerts")] == ["Fatal error in service: pay - no"]
    (letter,) = shop.rows("dead_letters")
    assert (letter["topic"], letter["source_offset"], letter["reason"]) == ("shop.events", 1, "NOT_JSON")
    told = {(row["topic"], row["metric"]): row["value"] for row in shop.rows("pipeline_metrics")}
    assert (told["orders_topic", "left_out"], told["orders_topic", "bad"]) == (1, 1)
    assert told["errors_topic", "log_end"] == 4


def test_a_source_that_is_added_later_is_read_from_its_beginning(mapped: Shop) -> None:
    sources, mapped.sources = mapped.sources, sources_of("", "config/sources.yaml")
    send(mapped)
    mapped.publish()
    assert orders(mapped) == []
    mapped.restart()
    mapped.sources = sources
    mapped.publish()
    assert len(orders(mapped)) == 10
