"""Incidents of rules that ask on the console: joined from the notifier, marked, acted on, and left out by saying so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn

from console.on_call.asked import any_asks
from notifier.api import create_app
from notifier.tokens import Tokens
from tests.asking_cast import LIMIT, Asking, rule_text, rules_of
from tests.notifier_cast import wait_for
from tests.test_console_duty import House
from tests.test_console_session import a_console
from tests.test_notifier import NOON

WORDS = "Much of tea: 3, over 2 for 20 s"


class AskedHouse(House):
    """A notifier with a rule that fired, and the console's shared parts over the same tables."""

    def __init__(self, path: Path) -> None:
        self.asking = Asking(path, rule_text(**LIMIT))
        self.desk = self.asking.desk
        self.asking.sold("tea", 3)
        self.asking.turns(3)
        self.tokens = Tokens(path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        app = create_app(self.asking.daemon(), self.tokens)
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error"))
        threading.Thread(target=self.server.run, daemon=True).start()
        wait_for(lambda: self.server.started)
        shared = a_console(self.desk.dremio, self.on_call, self.desk.now + timedelta(seconds=1))
        self.parts = replace(shared, asks=True)
        self.parts.watch._wait_s = 0.3
        self.parts.watch.start()
        wait_for(lambda: self.parts.watch.duty.revision is not None)
        self.incident = self.asking.incidents()[0].incident_id


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AskedHouse]:
    opened = AskedHouse(tmp_path)
    yield opened
    opened.close()


def test_it_is_listed_counted_and_a_banner_as_all_others_and_says_where_it_comes_from(house: AskedHouse) -> None:
    page = house.page("tab=alerts")
    parts = page.until(lambda parts: parts["list.incident_rows"]["rows"])
    [row] = parts["list.incident_rows"]["rows"]
    assert (row["entity"], row["description"], row["severity"]) == ("much_sold (question)", WORDS, "FATAL")
    assert parts["list.incident_rows"]["words"] == "1 incident, 1 open"
    assert [each["name"] for each in parts["banner"]["alone"]] == ["much_sold"]
    assert parts["head"]["open"] == 1
    page.session.show("tab=overview")
    overview = page.until(lambda parts: "list.incidents" in parts)
    assert [each["entity"] for each in overview["list.incidents"]["rows"]] == ["much_sold (question)"]


def test_its_page_takes_acknowledgements_and_shows_its_history(house: AskedHouse) -> None:
    page = house.page(f"tab=alerts&incident={house.incident}")
    parts = page.until(lambda parts: parts["detail.behind"]["shown"])
    assert ["the notifier asks: rule much_sold", None] in parts["detail.behind"]["facts"]
    revision = page.until(lambda parts: parts["duty"]["revision"] is not None)["duty"]["revision"]
    assert page.act("ack", incident=house.incident, minutes=60, revision=revision)["error"] is None
    history = page.until(lambda parts: parts["list.history"]["rows"])["list.history"]["rows"]
    assert [row["action"] for row in history] == ["acknowledged"]
    page.until(lambda parts: parts["banner"]["count"] == 0)
    assert [row["state"] for row in page.parts()["list.told"]["rows"]] == ["sent"]


def test_a_notifier_that_is_away_leaves_them_out_by_saying_so(house: AskedHouse) -> None:
    page = house.page("tab=alerts")
    house.stop()
    parts = page.until(lambda parts: not parts["list.incident_rows"]["rows"])
    words = parts["list.incident_rows"]["words"]
    assert words.startswith(
        "0 incidents, 0 open; those of rules that ask are left out: The notifier at http://127.0.0.1:"
    )
    said = house.page(f"tab=alerts&incident={house.incident}").until(lambda parts: parts["said.alerts"]["words"])
    assert said["said.alerts"]["words"].endswith("or a rule that asks has it, which only the notifier knows.")


def test_where_no_rule_asks_nothing_is_said_of_them(tmp_path: Path) -> None:
    rules_of(tmp_path)
    assert not any_asks(tmp_path / "alerts.yaml")
    rules_of(tmp_path, rule_text(**LIMIT))
    assert any_asks(tmp_path / "alerts.yaml")
    assert not any_asks(tmp_path / "nowhere.yaml")


def test_another_range_says_that_it_is_not_in_it_and_leads_there(house: AskedHouse) -> None:
    old = f"from={NOON - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}&to={NOON - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    page = house.page(f"tab=alerts&incident={house.incident}&{old}")
    said = page.until(lambda parts: parts["said.alerts"]["words"])["said.alerts"]
    assert said["words"] == "The incident of this link is not among those of the range shown."
    assert said["range"][0] == "2026-03-02T11:59:30.000Z"
