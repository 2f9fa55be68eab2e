"""Rows that are at hand: found, ordered and paged on the Overview and on Alerts, also on a page that stands still."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.alert_lists import KEYS
from console.drill.at_hand import holding, ordered, page_of
from console.latest import exported
from console.pages.overview import LATEST_ERRORS, LATEST_ORDERS
from console.session import PageSession
from console.url import parse, query
from console.view import View
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for
from tests.test_console_session import a_console, a_document

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
PRODUCTS = ("tea", "Teapot", "mug", "honey")


class Somebody:
    """Whoever has the Overview open, so that it goes on."""

    watches = "overview"
    present = True

    def wake(self) -> None: ...


class Desk:
    """A console page over a shop of 14 orders, 4 errors and 3 incidents."""

    def __init__(self, address: str) -> None:
        self.dremio = FakeDremio()
        for number in range(14):
            at = NOON - timedelta(seconds=1 + number)
            self.dremio.order(at, f"{number % 5}.50", order_id=f"o-{number:02}", product_id=PRODUCTS[number % 4])
        for number, (severity, service) in enumerate(
            (("ERROR", "search"), ("FATAL", "payments"), ("ERROR", "payments"), ("FATAL", "search"))
        ):
            at = NOON - timedelta(minutes=number, seconds=1)
            self.dremio.error(at, severity, service, error_message=f"timeout {number}")
        for number, service in enumerate(("payments", "search", "cart")):
            at = NOON - timedelta(minutes=number, seconds=1)
            self.dremio.alert(at, f"0000000{number}-0000-0000-0000-000000000000", service=service)
        self.dremio.publish(NOON)
        self.parts = a_console(self.dremio, now=NOON)
        self.viewer = Somebody()
        self.parts.hub.join(self.viewer)
        self.doc, self._context = a_document()
        self.session = PageSession(self.doc, self.parts, address)
        self.session.build()

    def shown(self) -> dict[str, Any]:
        parts: dict[str, Any] = self.session._message(full=True)["parts"]
        return parts

    def until(self, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        wait_for(lambda: holds(self.shown()))
        return self.shown()

    def orders(self) -> list[str]:
        return [row["order"] for row in self.shown()["list.latest_orders"]["rows"]]


def test_on_the_overview_the_newest_rows_are_found_and_say_of_how_many() -> None:
    desk = Desk("find=tea")
    parts = desk.shown()
    assert desk.orders() == ["o-00", "o-01", "o-04", "o-05", "o-08", "o-09"]
    assert parts["list.latest_orders"]["words"] == "6 of the newest 12"
    assert parts["facet.overview.find"]["text"] == "tea"
    assert parts["list.latest_errors"]["words"] == "0 of the errors of the last day"
    assert (
        parts["list.latest_errors"]["empty"]
        == "None of these holds “tea”. The tab Errors looks through all of a range."
    )
    assert (parts["list.incidents"]["rows"], parts["list.incidents"]["words"]) == ([], "0 of 3, 24 h")
    # What is found holds nothing else up: tiles are of all.
    assert parts["tile.orders"]["text"] == "14"
    assert parts["view"]["without_effect"] == []
    desk.session.show("find=PAYments")
    parts = desk.shown()
    assert [row["entity"] for row in parts["list.incidents"]["rows"]] == ["payments"]
    assert parts["list.incidents"]["more_href"] == "?tab=alerts&find=PAYments"
    assert [row["service"] for row in parts["list.latest_errors"]["rows"]] == ["payments", "payments"]
    desk.session.show("")
    assert len(desk.orders()) == 12
    assert desk.shown()["list.latest_orders"]["words"] == "the newest 12"
    assert desk.shown()["list.incidents"]["words"] == "24 h"


def test_on_the_overview_rows_are_ordered_by_what_they_are_and_not_by_how_it_is_written() -> None:
    desk = Desk("sort=total")
    totals = [row["total"] for row in desk.shown()["list.latest_orders"]["rows"]]
    assert totals == sorted(totals, reverse=True)
    assert desk.orders()[:2] == ["o-04", "o-09"]
    assert desk.shown()["list.latest_orders"]["order"] == {"field": "total", "up": False, "page": 1, "pages": 1}
    desk.session.show("sort=product.asc")
    products = [row["product"] for row in desk.shown()["list.latest_orders"]["rows"]]
    assert products == ["honey"] * 3 + ["mug"] * 3 + ["tea"] * 3 + ["Teapot"] * 3
    desk.session.show("sort=severity")
    assert [row["severity"] for row in desk.shown()["list.latest_errors"]["rows"]] == ["FATAL"] * 2 + ["ERROR"] * 2
    # Another list's column, and the usual one the other way round.
    assert desk.orders()[0] == "o-00"
    desk.session.show("sort=at.asc")
    assert (desk.orders()[0], desk.orders()[-1]) == ("o-11", "o-00")


def test_what_is_found_is_what_a_file_holds() -> None:
    desk = Desk("find=tea&sort=total.asc")
    for of in (LATEST_ORDERS, LATEST_ERRORS):
        table = desk.session.exported(of.name)
        assert table is not None
        rows = desk.shown()[f"list.{of.name}"]["rows"]
        assert table["event_key"].to_pylist() == [row["key"] for row in rows]
    assert exported(desk.parts.hub.snapshot, View("overview"), "nothing") is None


def test_a_page_of_its_own_order_asks_nothing_of_its_own() -> None:
    desk = Desk("")
    asked = len(desk.dremio.asked)
    desk.session.show("find=tea&sort=total")
    desk.shown()
    assert len(desk.dremio.asked) == asked


def test_incidents_are_found_ordered_and_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_CONSOLE_ROWS_SHOWN", "10")
    desk = Desk("tab=alerts")
    for number in range(20):
        at = NOON - timedelta(minutes=10 + number)
        desk.dremio.alert(at, f"{number:08x}-1111-0000-0000-000000000000", service=f"s{number:02}")
    desk.dremio.publish(NOON + timedelta(seconds=1))
    desk.parts.poller.poll()

    def listed(address: str, count: int) -> dict[str, Any]:
        desk.session.show(f"tab=alerts&{address}")
        part: dict[str, Any] = desk.until(
            lambda parts: len(parts.get("list.incident_rows", {}).get("rows", ())) == count
        )["list.incident_rows"]
        return part

    whole = listed("", 10)
    assert whole["words"] == "23 incidents, 23 open; 1 – 10 shown"
    assert whole["order"] == {"field": "state_words", "up": False, "page": 1, "pages": 3}
    assert listed("page=3", 3)["words"] == "23 incidents, 23 open; 21 – 23 shown"
    found = listed("find=S1", 10)
    assert found["words"] == "10 incidents, 10 open"
    table = desk.session.exported("incident_rows")
    assert table is not None
    assert sorted(table["service_name"].to_pylist()) == [f"s1{number}" for number in range(10)]
    services = [row["entity"] for row in listed("sort=entity.asc&page=2", 10)["rows"]]
    assert services == [f"s{number:02}" for number in range(8, 18)]
    nothing = listed("find=nowhere", 0)
    assert (nothing["words"], nothing["empty"]) == (
        "0 incidents, 0 open",
        "No incident matches. Widen the range, or look for another text.",
    )


def test_rows_behind_an_incident_are_ordered_whatever_page_of_incidents_is_shown() -> None:
    incident = "00000000-0000-0000-0000-000000000000"
    desk = Desk(f"tab=alerts&incident={incident}&sort=at.asc")
    for number in range(3):
        desk.dremio.error(NOON - timedelta(seconds=10 + number), "FATAL", "payments", error_message=f"down {number}")
        desk.dremio.alert(NOON - timedelta(seconds=20 + number), incident, service="payments")
    desk.dremio.publish(NOON + timedelta(seconds=1))
    desk.parts.poller.poll()
    parts = desk.until(lambda parts: len(parts.get("list.behind_errors", {}).get("rows", ())) == 4)
    for name, words in (("behind_errors", "4 errors"), ("behind_alerts", "4 alerts")):
        part = parts[f"list.{name}"]
        times = [row["at"] for row in part["rows"]]
        assert (times, part["words"]) == (sorted(times), words)
        assert part["order"] == {"field": "at", "up": True, "page": 1, "pages": 1}
        table = desk.session.exported(name)
        assert table is not None
        assert table[KEYS[name]].to_pylist() == [row["key"] for row in part["rows"]]
    # Neither a text that incidents are looked through for nor their page is of these rows.
    desk.session.show(f"tab=alerts&incident={incident}&sort=message&page=2&find=cart")
    parts = desk.until(lambda parts: parts["view"]["query"].endswith("page=2") and parts["list.behind_errors"]["rows"])
    messages = [row["message"] for row in parts["list.behind_errors"]["rows"]]
    assert messages == ["timeout 1", "down 2", "down 1", "down 0"]
    assert parts["list.behind_errors"]["order"]["page"] == 1


def test_a_paused_page_is_looked_through_and_stays_at_its_moment() -> None:
    desk = Desk("")
    desk.session._told(json.dumps({"paused": True}))
    commit = desk.shown()["head"]["commit"]
    desk.dremio.order(NOON + timedelta(milliseconds=1), "99.00", order_id="late", product_id="tea")
    desk.dremio.publish(NOON + timedelta(seconds=1))
    desk.parts.poller.poll()
    desk.session.show("find=tea&sort=total")
    assert desk.orders() == ["o-04", "o-09", "o-08", "o-01", "o-00", "o-05"]
    head = desk.shown()["head"]
    assert (head["paused"] is not None, head["commit"]) == (True, commit)
    # Back to all rows, it still stands.
    desk.session.show("")
    assert "late" not in desk.orders()
    desk.session.show("compare=yesterday")
    assert desk.shown()["head"]["paused"] is None
    assert "late" in desk.orders()


def test_a_paused_tab_of_a_range_is_looked_through_at_its_commit() -> None:
    desk = Desk("tab=orders")
    desk.until(lambda parts: parts.get("list.order_rows", {}).get("rows"))
    desk.session._told(json.dumps({"paused": True}))
    commit = desk.shown()["head"]["commit"]
    desk.dremio.order(NOON + timedelta(milliseconds=1), "99.00", order_id="late", product_id="tea")
    desk.dremio.publish(NOON + timedelta(seconds=1))
    desk.parts.poller.poll()
    desk.session.show("tab=orders&find=tea&sort=total")
    parts = desk.until(lambda parts: len(parts["list.order_rows"]["rows"]) == 8)
    assert "late" not in [row["order"] for row in parts["list.order_rows"]["rows"]]
    assert (parts["head"]["paused"] is not None, parts["head"]["commit"]) == (True, commit)


def test_an_address_keeps_what_is_looked_for_on_the_overview() -> None:
    view, notices = parse("find=tea&sort=total.asc")
    assert (notices, parse(query(view))[0]) == ([], view)


def test_rows_without_a_value_come_last_and_a_page_beyond_has_none() -> None:
    rows: list[dict[str, Any]] = [
        {"order_id": text, "quantity": count} for text, count in (("a", None), ("b", 2), ("c", None), ("d", 3))
    ]
    for sort, names in (("quantity", "dbac"), ("quantity.asc", "bdac")):
        found = ordered(rows, View("overview", sort=sort), LATEST_ORDERS)
        assert "".join(row["order_id"] for row in found) == names
    assert page_of(rows, View("overview", page=3), 2) == []
    assert holding([{"words": None}, {"words": "Ünder"}], "ünd", ("words",)) == [{"words": "Ünder"}]
