"""What is open stays on every tab, whatever else happens and however long ago its last alert was."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.feed.questions import INCIDENTS_SHOWN, OPEN_KNOWN
from console.running import Running
from console.session import PageSession
from lakehouse.tables import TABLES
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for
from tests.test_console_duty import CART, STOCK, House
from tests.test_console_session import NOON, a_console, a_document

OLD = str(uuid.UUID(int=99))
LONG_AGO = NOON - timedelta(days=3)


def opened(dremio: FakeDremio, incident: str, **values: Any) -> None:
    """An alert row of an incident, and that its rule stands open."""
    at = values.pop("at", NOON - timedelta(minutes=2))
    values = {"service": "payments", "severity": "FATAL"} | values
    dremio.alert(at, incident, received_at=at, **values)
    standing = {"incident_id": incident, "starts_at": at, "newest_received_at": at, "severity": values["severity"]}
    where = {"rule": "fatal_error", "entity": f'["{values["service"]}"]', "service_name": values["service"]}
    dremio.insert("rule_state", **standing, **where, updated_at=at)


def storm(dremio: FakeDremio, incidents: int, severity: str = "ERROR") -> None:
    for number in range(incidents):
        opened(dremio, str(uuid.UUID(int=1000 + number)), service=f"shop-{number}", severity=severity)


class Page:
    def __init__(self, console: Running, query: str) -> None:
        doc, self._context = a_document()
        self.session = PageSession(doc, console, query)
        self.session.build()

    def parts(self) -> dict[str, Any]:
        return dict(self.session._message(full=True)["parts"])

    def until(self, place: str) -> dict[str, Any]:
        """Once that list has rows."""
        wait_for(lambda: self.parts().get(place, {}).get("rows"))
        return self.parts()


@pytest.fixture
def dremio() -> FakeDremio:
    shop = FakeDremio()
    opened(shop, OLD, at=LONG_AGO)
    return shop


@pytest.mark.parametrize("tab", ["overview", "orders", "alerts", "pipeline"])
def test_a_fatal_of_days_ago_stays_on_every_tab_through_a_storm(dremio: FakeDremio, tab: str) -> None:
    storm(dremio, INCIDENTS_SHOWN + 10)
    dremio.publish(NOON)
    parts = Page(a_console(dremio), f"tab={tab}").parts()
    assert [each["name"] for each in parts["banner"]["alone"]] == ["payments"]
    assert (parts["banner"]["count"], parts["head"]["open"]) == (1, INCIDENTS_SHOWN + 11)


def test_it_leads_the_lists_and_its_page_tells_what_its_alerts_said(dremio: FakeDremio) -> None:
    storm(dremio, 3)
    dremio.publish(NOON)
    console = a_console(dremio)
    parts = Page(console, "").parts()
    first = parts["list.incidents"]["rows"][0]
    assert (first["key"], first["alerts"], first["firings"]) == (OLD, "still open", None)
    page = Page(console, f"tab=alerts&incident={OLD}")
    parts = page.until("list.behind_alerts")
    assert parts["list.incident_rows"]["words"] == "4 incidents, 4 open"
    assert parts["detail.behind"]["title"] == "Fatal error in service: payments - card declined"
    assert len(parts["list.behind_alerts"]["rows"]) == 1
    # A range of its own lists what lies in it.
    shown = Page(console, "tab=alerts&from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z").until("list.incident_rows")
    assert OLD not in [row["key"] for row in shown["list.incident_rows"]["rows"]]


def test_it_goes_with_the_commit_that_resolves_it(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    console = a_console(dremio)
    page = Page(console, "")
    assert page.parts()["head"]["open"] == 1
    dremio.alert(NOON, OLD, "RESOLVED", starts_at=LONG_AGO)
    dremio.delete("rule_state", "incident_id", (OLD,))
    dremio.publish(NOON + timedelta(seconds=1))
    console.poller.poll()
    parts = page.parts()
    assert (parts["head"]["open"], parts["banner"]["count"]) == (0, 0)


def test_of_more_than_are_known_one_by_one_the_number_is(dremio: FakeDremio) -> None:
    row = [column.name for column in TABLES["rule_state"].columns]
    made = {"rule": "'fatal_error'", "entity": "'' || n", "incident_id": "'many-' || n", "severity": "'FATAL'"}
    made |= dict.fromkeys(("starts_at", "newest_received_at", "updated_at"), "TIMESTAMP '2026-03-02 12:00:00'")
    values = ", ".join(made.get(name, "NULL") for name in row)
    dremio._connection.execute(f"INSERT INTO rule_state SELECT {values} FROM range({OPEN_KNOWN + 500}) AS numbers(n)")
    dremio.publish(NOON)
    parts = Page(a_console(dremio), "tab=orders").parts()
    assert (parts["head"]["open"], parts["banner"]["count"]) == (OPEN_KNOWN + 501, OPEN_KNOWN + 501)


def test_what_stands_open_is_asked_seldom_while_the_newest_incidents_are_all(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    console = a_console(dremio)
    for second in range(1, 31):
        dremio.publish(NOON + timedelta(seconds=second))
        console.poller.poll()
    assert (dremio.asked.count("incidents"), dremio.asked.count("open_incidents")) == (31, 3)


def test_who_has_an_open_incident_is_known_however_many_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.on_call.watch.MOST", 1)
    house = House(tmp_path)
    try:
        assert set(house.parts.watch.duty.incidents) == {CART, STOCK}
    finally:
        house.close()
