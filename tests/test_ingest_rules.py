"""Rules in ingest: history read from the tables, dead letters counted as they come, events of any topic."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.conftest import NOON, Shop

SECOND = timedelta(seconds=1)


def buy(shop: Shop, minute: int, buyers: int) -> None:
    """That many people order in a minute past noon."""
    for buyer in range(buyers):
        shop.order(NOON + minute * timedelta(minutes=1) + (1 + 5 * buyer) * SECOND, user_id=f"user-{buyer}")


def live(shop: Shop, first: int, last: int, buyers: int) -> None:
    """Minutes past noon as they happen, published every 20 s."""
    for minute in range(first, last + 1):
        for part in range(3):
            shop.now = NOON + minute * timedelta(minutes=1) + (12 + 20 * part) * SECOND
            if part == 2:
                buy(shop, minute, buyers)
            shop.click()
            shop.publish()


def test_orders_that_fall_to_zero_are_told_by_what_is_usual_and_a_restart_forgets_nothing(shop: Shop) -> None:
    for minute in range(-45, 0):
        buy(shop, minute, 6)
    live(shop, 0, 5, 6)
    shop.restart()
    live(shop, 6, 7, 0)
    assert shop.rows("alerts") == []
    shop.restart()
    live(shop, 8, 10, 0)
    fired = {row["rule"]: row for row in shop.rows("alerts")}
    assert fired["few_orders"]["description"] == "Few orders: 1.50 buyers a minute over 4 min, usually 6"
    assert fired["few_orders"]["starts_at"] == NOON + timedelta(minutes=9)


def test_a_producer_that_sends_what_nobody_can_read_is_told(shop: Shop) -> None:
    shop.now = NOON + 12 * SECOND
    shop.click()
    shop.publish()
    for minute in range(1, 4):
        shop.now = NOON + minute * timedelta(minutes=1) + 12 * SECOND
        for number in range(30):
            shop.message("clicks_topic", b"?" if number % 2 else None)
            shop.click()
        shop.publish()
    (alert,) = shop.rows("alerts")
    assert alert["description"] == "50 % of clicks_topic cannot be read, over 5 % for 2 min"
    assert alert["alert_timestamp"] == NOON + timedelta(minutes=3)


CANCELLED = """
rules:
  - {name: cancelled_order, kind: event, topic: orders_topic, severity: INFO, where: {status: [CANCELLED]},
     by: [user_id], resolve_after: 1 min, description: "{user_id} cancelled {quantity} x {product_id}", owner: shop,
     summary: Somebody changed their mind, runbook_url: "https://runbooks.example.com/cancelled"}
"""


def test_an_event_rule_over_orders_is_told_with_its_order(shop: Shop, tmp_path: Path) -> None:
    shop.alerts = tmp_path / "alerts.yaml"
    shop.alerts.write_text(CANCELLED, encoding="utf-8")
    shop.order()
    shop.order(status="CANCELLED")
    shop.error(severity="FATAL")
    shop.publish()
    shop.now += 2 * timedelta(minutes=1)
    shop.click()
    shop.publish()
    assert [(row["status"], row["description"], row["service_name"]) for row in shop.rows("alerts")] == [
        ("FIRING", "ada cancelled 2 x book", None),
        ("RESOLVED", "Resolved: CANCELLED_ORDER of ada: none for 1 min", None),
    ]
