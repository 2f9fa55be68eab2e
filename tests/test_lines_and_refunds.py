"""Refunds, order lines and guests on the whole way: from the log into the tables, and what questions say of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.drill.finding import matching
from console.view import View
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse.dremio.statement import Fragment, fill, question_sql
from lakehouse.kinds import CLICK_PAGE, distinct_orders
from lakehouse.settings.shop import OrdersSettings
from lakehouse.sources import load_sources, sources_of
from tests.conftest import NOON, Shop

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GUESTS = "{orders_topic: {guests: true}, clicks_topic: {guests: true}}"
type Rows = list[dict[str, Any]]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[[Shop, str], Rows]]:
    """Asks a shop's tables a question of the console, of the hour around noon."""
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)

    def ask(shop: Shop, question: str, **binds: Any) -> Rows:
        counting = OrdersSettings.load().counting
        known = {
            "before": NOON - HOUR, "since": NOON - HOUR / 2, "as_of": NOON + HOUR / 2, "until": NOON + HOUR / 2,
            "counted_statuses": counting.statuses, "distinct": distinct_orders(counting), "step": "HOUR",
            "matches": matching(View("orders"), ()), "devices": ("mobile",), "page": CLICK_PAGE,
            "steps": (1, 2, 3, 4, 5), "most": 100, "skip": 0, "sorted": Fragment("1", {}),
            "statuses": counting.statuses, "all_products": 1, "products": (), **binds,
        }  # fmt: skip
        template = question_sql(question)
        asked = set(re.findall(r":(\w+)", re.sub(r"--[^\n]*", "", template)))
        statements = Statements(SqliteCommits(shop.data_dir / "catalog.db"), engine)
        sql = fill(template, None, {name: value for name, value in known.items() if name in asked}, question)
        found = statements.run(statements.plan(sql).ticket, lambda: False)
        return [row for batch in found.batches for row in batch.to_pylist()]

    yield ask
    engine.close()


def test_refunds_have_a_table_of_their_own_and_orders_know_nothing_of_them(
    shop: Shop, asking: Callable[..., Rows]
) -> None:
    shop.order(order_id="o-1", price=50, quantity=1)
    shop.order(order_id="o-2", price=30, quantity=1)
    shop.refund(order_id="o-1", amount="12.345")
    shop.refund(NOON + MINUTE, order_id="o-2", amount=30)
    shop.refund(order_id="o-2", amount=0)
    shop.pass_time(2 * MINUTE)
    shop.publish()
    assert [(row["order_id"], row["amount"]) for row in shop.rows("refunds_processed")] == [
        ("o-1", Decimal("12.35")),
        ("o-2", Decimal("30.00")),
    ]
    assert [(row["refunds_count"], row["refunded_amount"]) for row in shop.rows("refunds_per_minute")] == [
        (1, Decimal("12.35")),
        (1, Decimal("30.00")),
    ]
    (letter,) = shop.rows("dead_letters")
    assert (letter["reason"], letter["detail"]) == ("BAD_VALUE", "amount is 0, not above 0")
    assert [row["order_total"] for row in shop.rows("orders_processed")] == [Decimal(50), Decimal(30)]
    (minute,) = shop.rows("orders_revenue_per_minute")
    assert (minute["orders_count"], minute["total_revenue"]) == (2, Decimal(80))
    (net,) = asking(shop, "net_revenue")
    assert (net["revenue"], net["refunded"], net["net_revenue"]) == (Decimal(80), Decimal("42.35"), Decimal("37.65"))
    (figures,) = asking(shop, "tiles")
    assert (figures["revenue"], figures["refunded"], figures["orders"]) == (Decimal(80), Decimal("42.35"), 2)


def test_a_topic_without_an_event_holds_nothing_back_and_wakes_nobody(shop: Shop) -> None:
    shop.order()
    shop.click()
    shop.error()
    for _ in range(20):
        shop.pass_time(MINUTE)
        shop.order()
        shop.click()
        shop.error()
        shop.publish()
    assert shop.ingest.core.as_of == shop.now
    (refunds,) = [row for row in shop.rows("ingest_positions") if row["topic"] == "refunds_topic"]
    assert (refunds["next_offset"], refunds["read_to"], refunds["first_event_at"]) == (0, shop.now, None)
    assert shop.rows("alerts") == []


def test_lines_are_counted_as_the_orders_they_are_of(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, asking: Callable[..., Rows]
) -> None:
    monkeypatch.setenv("TILLWATCH_ORDERS_GRAIN", "line")
    for product, price in (("book", 10), ("cup", 5), ("pen", 1)):
        shop.order(order_id="o-1", product_id=product, price=price, quantity=1)
    shop.order(order_id="o-2", product_id="cup", price=5, quantity=2, user_id="bea", status="CANCELLED")
    shop.order(order_id="o-2", product_id="pen", price=1, quantity=1, user_id="bea", status="CANCELLED")
    shop.click(user_id="ada")
    shop.click(user_id="bea")
    shop.publish()
    # A line that comes later is of an order that is counted already.
    shop.order(order_id="o-1", product_id="map", price=4, quantity=1)
    shop.publish()
    (minute,) = shop.rows("orders_revenue_per_minute")
    assert (minute["orders_count"], minute["total_revenue"], minute["buyers"]) == (2, Decimal(31), 2)
    assert (minute["cancelled_count"], minute["cancelled_revenue"]) == (1, Decimal(11))
    (figures,) = asking(shop, "tiles")
    assert (figures["orders"], figures["revenue"], figures["users"], figures["buyers"]) == (2, Decimal(31), 2, 2)
    of = {row["status"]: (row["n"], row["lines"], row["amount"]) for row in asking(shop, "orders_by_status")}
    assert of == {"CREATED": (1, 4, Decimal(20)), "CANCELLED": (1, 2, Decimal(11))}
    assert {row["status"]: row["n"] for row in asking(shop, "orders_over_time")} == {"CREATED": 1, "CANCELLED": 1}
    assert {row["product_id"]: row["n"] for row in asking(shop, "orders_by_product")} == {
        "book": 1, "cup": 2, "pen": 2, "map": 1,
    }  # fmt: skip
    assert {row["user_id"]: row["orders"] for row in asking(shop, "customer_rows")} == {"ada": 1, "bea": 1}
    # An order whose lines lie in two minutes counts in each.
    shop.order(NOON + MINUTE, order_id="o-1", price=2, quantity=1)
    shop.publish()
    assert [row["orders_count"] for row in shop.rows("orders_revenue_per_minute")] == [2, 1]


def test_two_lines_alike_are_one_but_for_their_event_ids(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_ORDERS_GRAIN", "line")
    for event_id in (None, None, "o-1/1", "o-1/2", "o-1/2"):
        told: dict[str, Any] = {"event_id": event_id} if event_id else {}
        shop.order(order_id="o-1", **told)
    shop.publish()
    assert len(shop.rows("orders_processed")) == 3


def test_guests_buy_but_are_no_users_no_buyers_and_no_customers(shop: Shop, asking: Callable[..., Rows]) -> None:
    shop.sources = sources_of(GUESTS, "sources.yaml")
    for user in ("ada", "", None, "  "):
        shop.click(user_id=user, url="/product/1")
        shop.click(user_id=user, url="/cart")
        shop.order(user_id=user, price=10, quantity=1)
    shop.click(user_id="bea", url="/")
    shop.pass_time(MINUTE)
    shop.publish()
    assert [row["user_id"] for row in shop.rows("orders_processed")] == ["ada", "", "", ""]
    (minute,) = shop.rows("orders_revenue_per_minute")
    assert (minute["orders_count"], minute["total_revenue"], minute["buyers"]) == (4, Decimal(40), 1)
    assert sum(row["clicks"] for row in shop.rows("clicks_per_minute")) == 9
    assert {row["page"]: row["users"] for row in shop.rows("clicks_per_minute")} == {"product": 1, "cart": 1, "home": 1}
    assert [row["active_users_approx"] for row in shop.rows("active_users_per_window")] == [2]
    (figures,) = asking(shop, "tiles")
    assert (figures["orders"], figures["clicks"], figures["users"], figures["buyers"]) == (4, 9, 2, 1)
    (conversion,) = asking(shop, "conversion_minutes")
    assert (conversion["users"], conversion["buyers"]) == (2, 1)
    assert {row["step"]: row["users"] for row in asking(shop, "customer_funnel")} == {1: 1, 2: 1}
    assert {row["user_id"] for row in asking(shop, "customer_rows")} == {"ada", "bea"}


def test_a_shop_of_several_currencies_sums_in_its_own(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("orders: {currency: EUR}\n")
    (tmp_path / "rates.csv").write_text("date,currency,rate\n2026-03-01,USD,0.9\n2026-03-02,GBP,1.2\n")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "mine.yaml"))
    shop.sources = load_sources()
    shop.order(price=10, quantity=1)
    shop.order(price=10, quantity=1, currency="USD")
    shop.order(price=10, quantity=1, currency="GBP")
    shop.order(price=10, quantity=1, currency="CHF")
    shop.refund(amount=5, currency="USD")
    shop.publish()
    columns = ("order_total", "original_total", "original_currency")
    assert [tuple(row[name] for name in columns) for row in shop.rows("orders_processed")] == [
        (Decimal(10), None, None),
        (Decimal(9), Decimal(10), "USD"),
        (Decimal(12), Decimal(10), "GBP"),
    ]
    (minute,) = shop.rows("orders_revenue_per_minute")
    assert minute["total_revenue"] == Decimal(31)
    (refund,) = shop.rows("refunds_processed")
    assert (refund["amount"], refund["original_amount"]) == (Decimal("4.50"), Decimal(5))
    (letter,) = shop.rows("dead_letters")
    assert letter["detail"] == "currency is CHF, of which rates.csv has no rate"
    # Other rates later: what is stored stays, and what is sent again is known.
    (tmp_path / "rates.csv").write_text("date,currency,rate\n2026-03-01,USD,0.5\n2026-03-02,GBP,1.2\n")
    shop.restart()
    shop.sources = load_sources()
    again = [(record.value, record.received_at) for record in shop.log.read("orders_topic", 0, 10)]
    for value, _ in again:
        shop.message("orders_topic", value)
    shop.publish()
    assert [row["order_total"] for row in shop.rows("orders_processed")] == [Decimal(10), Decimal(9), Decimal(12)]
