"""What a tab says of itself: which commit it shows, and which choices have no hold in its range."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

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
        assert page.parts(lambda parts: parts["drill.orders"]["error"])
    finally:
        the_fake(console).broken = set()
    page.session.view = page.session.view.filtered("status", ())
    parts = page.parts()
    assert parts["drill.orders"]["error"] is None
    assert parts["head"]["failed"] == {}
