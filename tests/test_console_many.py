"""A shop of thousands of products, services and customers breaks neither the layout nor the tick."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from console.pages.errors import SERVICES_SHOWN
from console.pages.orders import CUSTOMERS_SHOWN, PRODUCTS_SHOWN
from console.running import Running
from tests.fake_dremio import FakeDremio
from tests.test_console_session import NOON, a_console
from tests.test_console_tabs import Opened

PRODUCTS, SERVICES, CUSTOMERS = 5000, 1000, 1000
MOST_CHARACTERS = 200_000
"""Of a whole message; later ones hold what differs. Most of it are two hundred rows."""


def a_large_shop() -> FakeDremio:
    dremio = FakeDremio()
    at = f"TIMESTAMP '{NOON:%Y-%m-%d %H:%M:%S}' - INTERVAL 1 SECOND * (1 + n % 3000)"
    own = {"clicks_processed": CUSTOMERS, "errors_processed": SERVICES, "orders_processed": PRODUCTS}
    values = {
        "orders_processed": {
            "order_id": "'o' || n", "user_id": f"'user-' || n % {CUSTOMERS}", "product_id": "'product-' || n",
            "quantity": "1", "price": "n + 1", "order_total": "n + 1", "status": "'CREATED'", "order_ts": at,
        },
        "clicks_processed": {
            "click_id": "'c' || n", "user_id": "'user-' || n", "url": "'/page/cart'", "device_type": "'mobile'",
            "click_ts": at,
        },
        "errors_processed": {
            "error_id": "'e' || n", "service_name": "'service-' || n", "error_message": "'no answer of ' || n",
            "severity": "'ERROR'", "error_ts": at,
        },
    }  # fmt: skip
    for table, columns in values.items():
        columns |= {"event_key": f"'{table}' || n", "produced_at": at, "ingested_at": at}
        dremio.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(columns.values())} FROM range({own[table]}) rows(n)"
        )
    dremio.publish(NOON)
    return dremio


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    parts = a_console(a_large_shop())
    yield parts
    parts.asker.close()


def opened(console: Running, query: str) -> tuple[Opened, dict[str, Any]]:
    page = Opened(console, f"{query}&range=1h")
    drill = page.session.drills[page.session.view.tab]
    parts = page.parts(
        lambda _parts: drill.found is not None and (drill.name != "errors" or "heat" in drill.found.tables)
    )
    drill.draw()
    return page, parts


@pytest.mark.parametrize(
    ("tab", "bars"),
    [
        ("orders", {"orders_product": PRODUCTS_SHOWN, "orders_customer": CUSTOMERS_SHOWN}),
        ("errors", {"errors_service": SERVICES_SHOWN}),
        ("customers", {}),
    ],
)
def test_a_message_and_charts_stay_small_whatever_there_is(console: Running, tab: str, bars: dict[str, int]) -> None:
    page, parts = opened(console, f"tab={tab}")
    assert len(json.dumps(parts)) < MOST_CHARACTERS
    charts = page.session.drills[tab].charts
    assert {name: len(charts[name]._pipe.data.rows) for name in bars} == bars
    if tab == "errors":
        heat = charts["errors_heat"]._pipe.data
        assert len(heat.names) == SERVICES_SHOWN
        assert {name for _, name in heat.counts} <= set(heat.names)
    for name, part in parts.items():
        if name.startswith("facet."):
            assert len(part.get("values", [])) <= 2 * SERVICES_SHOWN, name
        if name.startswith("list."):
            assert len(part["rows"]) <= page.session.settings.rows_shown, name


def test_the_overview_stays_small_whatever_there_is(console: Running) -> None:
    parts = Opened(console, "tab=overview").session._message(full=True)["parts"]
    assert len(json.dumps(parts)) < MOST_CHARACTERS


def test_customers_come_in_pages_and_are_ordered_over_all_of_them(console: Running) -> None:
    _, parts = opened(console, "tab=customers")
    listed = parts["list.customer_rows"]
    assert (len(listed["rows"]), listed["order"]["pages"]) == (200, 5)
    assert listed["words"].replace("\u202f", "").endswith("; 1 – 200 shown")
    _, parts = opened(console, "tab=customers&sort=amount&page=5")
    cheapest = parts["list.customer_rows"]["rows"][-1]
    assert (cheapest["user"], cheapest["orders"]) == ("user-0", "5")
    _, parts = opened(console, "tab=customers&find=user-99")
    found = parts["list.customer_rows"]
    assert (len(found["rows"]), found["order"]["pages"]) == (11, 1)
    _, parts = opened(console, "tab=customers&page=9")
    assert parts["list.customer_rows"]["words"].endswith("none on this page")
