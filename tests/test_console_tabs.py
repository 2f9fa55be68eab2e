"""What a tab says of itself: which commit it shows, and which choices have no hold in its range."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from console.drill.tab import UNKNOWN
from console.exports import csv_bytes
from console.parts import iso_ms
from console.running import Running
from console.session import PageSession
from console.url import parse, query
from tests.fake_dremio import FakeDremio
from tests.test_console_session import NOON, a_console, a_document

INCIDENT = "0b7b3c1e-0000-5000-8000-000000000001"


def elsewhere(parts: dict[str, Any]) -> bool:
    return bool(parts["said.alerts"]["words"])


class Opened:
    """A page without a browser: its session, and the parts of the message that it would get."""

    def __init__(self, parts: Running, query: str) -> None:
        self.console = parts
        self.document = a_document()
        self.session = PageSession(self.document[0], parts, query)
        self._woken = threading.Event()
        self.session.wake = self._woken.set  # type: ignore[method-assign]  # no server whose loop could be woken
        self.session.redraw = lambda: None  # type: ignore[assignment]  # nothing draws here

    def parts(self, there: Callable[[dict[str, Any]], Any] = lambda _parts: True) -> dict[str, Any]:
        """All parts, once the tab's questions are answered, and what is asked after them is `there`."""
        tab = self.session.view.tab
        while True:
            self._woken.clear()
            parts: dict[str, Any] = self.session._message(full=True)["parts"]
            if not parts[f"drill.{tab}"]["loading"] and there(parts):
                return parts
            assert self._woken.wait(20)


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    parts = a_console()
    yield parts
    parts.asker.close()


def the_fake(console: Running) -> FakeDremio:
    fake = console.asker._dremio
    assert isinstance(fake, FakeDremio)
    return fake


@pytest.mark.parametrize("tab", ["orders", "errors", "alerts"])
def test_a_tab_whose_commit_stands_still_tells_that_commits_age(console: Running, tab: str) -> None:
    page = Opened(console, f"tab={tab}&range=24h")
    before = page.session._message(full=True)["parts"]["head"]
    assert (before["commit"], before["as_of"]) == (None, None)  # nothing is shown yet
    shown = page.parts()["head"]
    later = iso_ms(console.hub.snapshot.as_of)
    the_fake(console).publish(datetime.fromisoformat(str(later)) + timedelta(seconds=20))
    console.poller.poll()
    head = page.parts()["head"]
    assert (head["commit"], head["as_of"]) == (shown["commit"], shown["as_of"])
    assert head["fed_as_of"] > head["as_of"]
    assert head["every_s"] == 60
    assert head["failed"] == {}


def test_a_tab_that_could_not_be_asked_is_no_feed_that_is_ok(console: Running) -> None:
    the_fake(console).broken = {"order_rows"}
    try:
        head = Opened(console, "tab=orders&range=7d").parts()["head"]
    finally:
        the_fake(console).broken = set()
    assert "Column 'x' not found" in head["failed"]["orders"]


@pytest.mark.parametrize(
    ("since", "until", "lapses"),
    [("11:30", "11:40", False), ("10:00", "10:30", True), ("10:30", "11:05", False)],
)
def test_a_brush_beside_the_range_is_said_and_kept(console: Running, since: str, until: str, lapses: bool) -> None:
    times = [f"2026-03-02T{clock}:00" for clock in (since, until)]
    page = Opened(console, f"tab=errors&range=1h&brush={'Z~'.join(times)}Z")
    drill = page.parts()["drill.errors"]
    assert drill["lapsed"] == ([f"{time}.000Z" for time in times] if lapses else None)
    assert (drill["inner"] == drill["span"]) == lapses
    assert "brush=" in query(page.session.view)


def test_a_link_to_an_incident_outside_the_range_leads_to_the_range_that_holds_it(console: Running) -> None:
    at = NOON - timedelta(days=3)
    the_fake(console).alert(at, INCIDENT)
    the_fake(console).alert(at + timedelta(minutes=9), INCIDENT, "RESOLVED")
    parts = Opened(console, f"tab=alerts&incident={INCIDENT}").parts(elsewhere)
    assert not parts["detail.behind"]["shown"]
    assert parts["said.alerts"]["words"] == "The incident of this link is not among those of the range shown."
    since, until = parts["said.alerts"]["range"]
    there = Opened(console, f"tab=alerts&incident={INCIDENT}&from={since}&to={until}")
    parts = there.parts(lambda parts: parts["detail.behind"]["shown"] and parts["list.behind_alerts"]["rows"])
    assert len(parts["list.behind_alerts"]["rows"]) == 2


def test_a_link_to_an_incident_that_is_not_kept_says_so(console: Running) -> None:
    said = Opened(console, f"tab=alerts&incident={INCIDENT[:-1]}9").parts(elsewhere)["said.alerts"]
    assert "or the link is wrong" in said["words"]
    assert said["range"] is None


def test_an_incident_of_a_clock_ahead_is_listed_and_opens(console: Running) -> None:
    at = NOON + timedelta(hours=26)
    ahead = INCIDENT[:-1] + "a"
    the_fake(console).alert(at, ahead, service="ahead", received_at=NOON, ingested_at=NOON)
    page = Opened(console, f"tab=alerts&range=7d&incident={ahead}")
    parts = page.parts(lambda parts: parts["detail.behind"]["shown"] and parts["list.behind_alerts"]["rows"])
    assert ahead in [row["key"] for row in parts["list.incident_rows"]["rows"]]
    errors, notices = parse(parts["detail.behind"]["links"][0][1])
    assert notices == []
    assert errors.span is not None
    assert errors.span[0] < at < errors.span[1]


def test_a_refusal_goes_with_the_choice_that_caused_it(console: Running) -> None:
    page = Opened(console, "tab=orders&range=1h")
    page.parts()
    the_fake(console).broken = {"order_rows"}
    try:
        page.session.view = page.session.view.filtered("status", ("CANCELLED",))
        assert page.parts(lambda parts: parts["panel.order_rows"]["failed"])
    finally:
        the_fake(console).broken = set()
    page.session.view = page.session.view.filtered("status", ())
    parts = page.parts()
    assert parts["panel.order_rows"] == {"words": "", "failed": False, "read_at": None}
    assert parts["head"]["failed"] == {}


def troubled(parts: dict[str, Any]) -> set[str]:
    """The panels that say why they are not of the newest answers."""
    return {
        place.removeprefix("panel.") for place, part in parts.items() if place.startswith("panel.") and part["words"]
    }


@pytest.mark.parametrize(
    ("query", "question", "panels", "filled"),
    [
        ("tab=pipeline&range=15m", "table_sizes", {"table_sizes"}, "list.chain"),
        ("tab=pipeline&range=7d", "pipeline_counts", {"messages_time"}, "list.dead_letters"),
        ("tab=orders&range=15m", "orders_by_status", {"orders_status", "order_rows"}, "facet.orders.product"),
        ("tab=orders&range=30d", "orders_over_time", {"orders_time"}, "list.order_rows"),
        (
            "tab=customers&range=15m",
            "customer_funnel",
            {"funnel", "funnel_steps", "customer_rows"},
            "legend.visits_time",
        ),
        ("tab=errors&range=15m", "errors_of_services", {"errors_heat"}, "list.error_kinds"),
        (f"tab=alerts&incident={uuid.UUID(int=1)}", "error_kinds", {"behind_kinds"}, "list.behind_alerts"),
    ],
)
def test_a_question_that_fails_is_told_in_its_own_panel_and_the_others_are_filled(
    console: Running, query: str, question: str, panels: set[str], filled: str
) -> None:
    the_fake(console).broken = {question}
    tab = query[4 : query.index("&")]
    try:
        page = Opened(console, query)
        parts = page.parts(troubled)
    finally:
        the_fake(console).broken = set()
    drill = page.session.drills[tab]
    drill.draw()
    assert troubled(parts) == panels
    for panel in panels:
        words = parts[f"panel.{panel}"]["words"]
        assert words.startswith(f"{question} could not be asked: Column 'x' not found in any table.")
        assert "It is asked again by itself" in words
        assert not parts.get(f"list.{panel}", UNKNOWN)["rows"]
        assert parts.get(f"list.{panel}", UNKNOWN)["unknown"]
        assert panel not in drill.charts
        assert parts["empty"].get(panel, " ") == " "
    assert parts[filled]
    assert parts[f"drill.{tab}"]["error"] is None
    assert all(
        place in drill.charts for place in set(drill.chart_places()) - panels if not place.startswith("incident")
    )


def test_a_panel_whose_question_fails_keeps_what_it_showed_while_the_others_take_the_next_choice(
    console: Running,
) -> None:
    page = Opened(console, "tab=orders&range=24h")
    drill = page.session.drills["orders"]
    before = page.parts()
    drill.draw()
    shown, file = drill.charts["orders_status"]._pipe.data, page.session.exported("order_rows")
    the_fake(console).broken = {"order_rows", "orders_by_status"}
    try:
        page.session.view = page.session.view.filtered("product", ("mug",))
        parts = page.parts(lambda parts: parts["panel.order_rows"]["failed"])
    finally:
        the_fake(console).broken = set()
    drill.draw()
    assert "what you see is the last good answer" in parts["panel.order_rows"]["words"]
    assert parts["list.order_rows"] == before["list.order_rows"]
    assert page.session.exported("order_rows") is file
    assert drill.charts["orders_status"]._pipe.data is shown
    assert [chosen for *_, chosen in drill.charts["orders_product"]._pipe.data.rows].count(True) == 1
    # How many there are of each is not known of this choice.
    assert [count for _, count, *_ in parts["facet.orders.status"]["values"]] == [""] * 5
    # Nothing is drawn anew until there is something new.
    found = drill.found
    assert page.parts()["panel.order_rows"]["failed"]
    assert drill.found is found


def test_a_tab_of_which_nothing_could_be_asked_says_so_once(console: Running) -> None:
    page = Opened(console, "tab=customers&range=1h")
    the_fake(console).down = True
    try:
        parts = page.parts()
    finally:
        the_fake(console).down = False
    assert "Neither Dremio nor a gateway answers" in parts["drill.customers"]["error"]
    assert troubled(parts) == set()


def test_a_cell_leads_to_the_rows_behind_it_and_back(console: Running) -> None:
    page = Opened(console, "tab=errors&range=24h&service=mail&severity=ERROR")
    page.session.view = page.session.view.filtered("service", ())
    page.parts(lambda _parts: "heat" in page.session.drills["errors"].found.tables)  # type: ignore[union-attr]
    drill = page.session.drills["errors"]
    drill.draw()
    cells = drill.charts["errors_heat"]._pipe.data
    (start, service), count = next(iter(cells.counts.items()))
    before = page.session.view
    row = len(cells.names) - 0.5 - cells.names.index(service)
    drill.charts["errors_heat"].tapped(start + cells.width / 2, row)
    assert page.session.view.brush == (start, start + cells.width)
    assert page.session.view.chosen("service") == (service,)
    rows = page.parts(lambda parts: len(parts["list.error_rows"]["rows"]) == count)["list.error_rows"]["rows"]
    assert {row["service"] for row in rows} == {service}
    drill.chosen_cell("service", service, page.session.view.brush)
    assert page.session.view == before


@pytest.mark.parametrize(
    "query", [f"tab=alerts&incident={uuid.UUID(int=2)}", "tab=pipeline&range=24h", "tab=errors&range=1h"]
)
def test_every_list_and_chart_of_a_tab_can_be_taken_as_a_file(console: Running, query: str) -> None:
    page = Opened(console, query)
    tab = page.session.drills[page.session.view.tab]

    def all_there(_parts: dict[str, Any]) -> bool:
        return tab.found is not None and {"errors", "heat", "sizes"} & tab.found.answers.keys() != set()

    parts = page.parts(all_there)
    for listed in tab.lists():
        file, part = page.session.exported(listed.name), parts.get(f"list.{listed.name}")
        assert (file is None) == (part is None), listed.name
        # Incidents are made of their alerts.
        if file is not None and part is not None and listed.name != "incident_rows":
            assert file.num_rows == len(part["rows"]), listed.name
        if file is not None:
            assert csv_bytes(file).count(b"\n") > file.num_rows
    for place in tab.chart_places():
        assert place.startswith("incident") or page.session.exported(place) is not None
