"""What is told of one order and of one customer: all that they met, with the errors around it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from console.running import Running
from console.url import parse
from tests.test_console_session import NOON, a_console
from tests.test_console_tabs import Opened, the_fake

THEN = NOON - timedelta(days=3)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
ORDER = "A&B #7"


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    parts = a_console()
    dremio = the_fake(parts)
    for at, status in ((THEN, "CREATED"), (THEN + 2 * MINUTE, "PROCESSING"), (THEN + 90 * MINUTE, "CANCELLED")):
        dremio.order(at, "30.00", order_id=ORDER, user_id="grace", status=status, quantity=3)
    dremio.order(THEN, order_id="another", user_id="ada")
    dremio.refund(THEN + timedelta(days=2), "30.00", order_id=ORDER, refund_id="r-1")
    dremio.refund(THEN, "1.00", order_id="another")
    for seconds, severity, message in (
        (-61, "FATAL", "long before"),
        (-59, "ERROR", "just before"),
        (20, "WARN", "no failure"),
        (30, "FATAL", "just after"),
        (40 * 60, "ERROR", "between"),
        (90 * 60 + 59, "ERROR", "as it was cancelled"),
        *((120 + second, "ERROR", f"storm {second}") for second in range(1, 40)),
    ):
        dremio.error(THEN + seconds * SECOND, severity, error_message=message)
    # She came on the cart twice: once she ordered soon after, once never.
    for minutes in (-1, 40):
        dremio.click(THEN + minutes * MINUTE, "grace", "/page/cart")
    dremio.click(THEN + 20 * MINUTE, "grace", "/page/product/7")
    yield parts
    parts.asker.close()


def all_there(parts: dict[str, Any]) -> bool:
    return bool(parts["list.order_events"]["words"])


def test_an_order_is_told_in_the_order_of_time_with_the_errors_around_it(console: Running) -> None:
    parts = Opened(console, "tab=orders&range=7d&order=A%26B+%237").parts(all_there)
    assert (parts["detail.order"]["shown"], parts["detail.order"]["title"]) == (True, f"Order {ORDER}")
    told = parts["list.order_events"]
    assert [(row["done"], row["what"], row["detail"], row["amount"]) for row in told["rows"]] == [
        ("error near", "payments: just before", "ERROR", None),
        ("order", "3 of tea", "CREATED", "$30.00"),
        ("error near", "payments: just after", "FATAL", None),
        ("order", "3 of tea", "PROCESSING", "$30.00"),
        *[("error near", f"payments: storm {second}", "ERROR", None) for second in range(1, 11)],
        ("order", "3 of tea", "CANCELLED", "$30.00"),
        ("error near", "payments: as it was cancelled", "ERROR", None),
        ("paid back", "refund r-1", None, "−$30.00"),
    ]
    assert told["words"] == (
        "an error names no order: those within a minute of its steps, the 10 nearest each, whosever they are"
    )


def test_an_order_from_before_the_range_is_told_all_the_same_and_an_unknown_one_is_not(console: Running) -> None:
    rows = Opened(console, "tab=orders&order=another").parts()["list.order_events"]["rows"]
    assert [row["done"] for row in rows if row["done"] != "error near"] == ["order", "paid back"]
    parts = Opened(console, "tab=orders&order=nothing").parts()
    assert (parts["detail.order"]["shown"], parts["list.order_events"]["rows"]) == (True, [])
    assert not Opened(console, "tab=orders").parts()["detail.order"]["shown"]


@pytest.mark.parametrize(("tab", "listed"), [("orders", "order_rows"), ("customers", "customer_events")])
def test_every_order_that_is_listed_leads_to_what_became_of_it(console: Running, tab: str, listed: str) -> None:
    day = f"from={THEN - MINUTE * 10:%Y-%m-%dT%H:%M:%SZ}&to={THEN + MINUTE * 100:%Y-%m-%dT%H:%M:%SZ}"
    rows = Opened(console, f"tab={tab}&user=grace&{day}").parts()[f"list.{listed}"]["rows"]
    links = {row.get("order_href") or row["href"] for row in rows} - {None}
    orders = [value for link in links for name, value in parse_qsl(link.lstrip("?")) if name == "order"]
    assert ORDER in orders
    for link in links:
        view, notices = parse(link)
        assert (view.tab, notices) == ("orders", [])


def test_a_customers_page_has_the_errors_near_what_failed_or_was_slow_and_says_that_they_name_nobody(
    console: Running,
) -> None:
    parts = Opened(console, "tab=customers&range=7d&user=grace").parts(
        lambda parts: parts["list.customer_errors"]["rows"]
    )
    assert [row["message"] for row in parts["list.customer_errors"]["rows"]] == ["between", "as it was cancelled"]
    assert parts["list.customer_errors"]["words"].startswith("an error names no customer: ")
    did = [(row["done"], row["detail"]) for row in parts["list.customer_events"]["rows"]]
    assert did == [
        ("order", "CANCELLED"),
        ("click", "mobile"),
        ("click", "mobile"),
        ("order", "PROCESSING"),
        ("order", "CREATED"),
        ("click", "mobile"),
    ]
