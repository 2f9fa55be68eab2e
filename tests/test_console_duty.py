"""The desk: who has an incident, what people do about it from the console, and what it says without a notifier."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from console.on_call.acts import Actor
from console.on_call.histories import Histories
from console.session import IN_THE_PAST, PageSession
from console.url import moment_text
from lakehouse.oncall import OnCall, OnCallDetail
from notifier.api import create_app
from notifier.tokens import Tokens
from tests.notifier_cast import wait_for
from tests.test_console_session import a_console, a_document
from tests.test_notifier import NOON, Desk, Friend
from tests.test_notifier_ledger import a_daemon

CART, STOCK = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


class House:
    """A notifier with its API on a port, and the console's shared parts over the same alerts."""

    def __init__(self, path: Path) -> None:
        self.desk = Desk(path, Friend())
        self.desk.fatal(CART, service="cart")
        self.desk.fatal(STOCK, service="stock", severity="ERROR")
        self.desk.publish()
        self.tokens = Tokens(path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        app = create_app(a_daemon(self.desk), self.tokens)
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error"))
        threading.Thread(target=self.server.run, daemon=True).start()
        wait_for(lambda: self.server.started)
        self.parts = a_console(self.desk.dremio, self.on_call, NOON + timedelta(seconds=1))
        self.parts.watch._wait_s = 0.3
        self.parts.watch.start()
        wait_for(lambda: self.parts.watch.duty.revision is not None)

    def on_call(self, person: str | None) -> OnCall:
        return OnCall(f"http://127.0.0.1:{self.port}/api", self.tokens.secret_of("console"), person)

    def page(self, query: str) -> Page:
        return Page(self, query)

    def stop(self) -> None:
        self.server.should_exit = True
        wait_for(lambda: not self.server.started or not self.server.servers or self._gone())

    def _gone(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def close(self) -> None:
        self.parts.watch.stop()
        self.server.should_exit = True
        time.sleep(0.1)
        self.desk.close()


class Page:
    """A page on it, as a browser would have it."""

    number = 0

    def __init__(self, house: House, query: str) -> None:
        doc, self._context = a_document()
        self.session = PageSession(doc, house.parts, query)
        self.session.build()
        self.until(lambda parts: "list.incident_rows" in parts)

    def parts(self) -> dict[str, Any]:
        return dict(self.session._message(full=True)["parts"])

    def until(self, look: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        wait_for(lambda: look(self.parts()))
        return self.parts()

    def act(self, what: str, **said: Any) -> dict[str, Any]:
        """Do it, and what the page is told of it."""
        self.number += 1
        self.session._told(json.dumps({"act": {"what": what, "number": self.number, **said}}))
        number = str(self.number)
        return {"error": self.until(lambda parts: number in parts["acted"]["answers"])["acted"]["answers"][number]}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path)
    yield opened
    opened.close()


def test_a_fatal_that_nobody_has_stands_on_every_tab_until_somebody_takes_it(house: House) -> None:
    one, other = house.page(f"tab=alerts&incident={CART}"), house.page("tab=alerts")
    banner = other.parts()["banner"]
    assert [(each["name"], each["href"]) for each in banner["alone"]] == [("cart", f"?tab=alerts&incident={CART}")]
    assert (banner["count"], banner["unknown"]) == (1, False)
    duty = one.until(lambda parts: parts["duty"]["revision"] is not None)["duty"]
    assert (duty["facts"], duty["taken"], duty["may"]) == ([["nobody has it", None]], False, True)
    assert one.act("ack", incident=CART, minutes=60, revision=duty["revision"])["error"] is None
    taken = one.parts()["duty"]
    assert (taken["facts"][0], taken["taken"]) == (["unverified has it", None], True)
    # The other page hears of it without being asked.
    parts = other.until(lambda parts: parts["banner"]["count"] == 0)
    rows = {row["key"]: row["state_words"] for row in parts["list.incident_rows"]["rows"]}
    assert rows == {CART: "unverified has it", STOCK: "open"}
    history = one.until(lambda parts: parts["list.history"]["rows"])["list.history"]["rows"]
    assert [(row["who"], row["via"], row["action"]) for row in history] == [("unverified", "console", "acknowledged")]


def test_of_two_who_act_on_what_they_saw_the_second_hears_who_has_it(house: House) -> None:
    one, other = (house.page(f"tab=alerts&incident={CART}") for _ in range(2))
    seen = one.until(lambda parts: parts["duty"]["revision"] is not None)["duty"]["revision"]
    assert one.act("ack", incident=CART, revision=seen)["error"] is None
    error = other.act("ack", incident=CART, revision=seen)["error"]
    assert error.startswith("Nothing was done:")
    assert "unverified" in error


def test_silence_note_and_what_was_told_stand_on_the_incidents_page(house: House) -> None:
    page = house.page(f"tab=alerts&incident={CART}")
    page.until(lambda parts: parts["duty"]["revision"] is not None)
    assert page.act("note", incident=CART, note="looking at <the> card processor")["error"] is None
    assert page.act("silence", incident=CART, minutes=30)["error"] is None
    parts = page.until(lambda parts: parts["duty"]["silence"] and parts["banner"]["silenced"])
    assert [each["name"] for each in parts["banner"]["silenced"]] == ["cart"]
    assert parts["banner"]["count"] == 0
    (told,) = parts["list.told"]["rows"]
    assert (told["channel"], told["destination"], told["state"], told["why"]) == ("slack", "C0OPS", "sent", "ts-1")
    assert "looking at <the> card processor" in [row["note"] for row in parts["list.history"]["rows"]]
    assert page.act("unsilence", silence=parts["duty"]["silence"])["error"] is None
    page.until(lambda parts: parts["duty"]["silence"] is None)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"what": "ack", "incident": "x" * 300}, "'incident'"),
        ({"what": "ack", "incident": CART, "minutes": 10**9}, "'minutes'"),
        ({"what": "ack", "incident": CART, "person": "ada"}, "'person'"),
        ({"what": "shutdown"}, "'act'"),
        ("ack", "'act'"),
        ({"what": "ack", "incident": "inc-nowhere"}, "Nothing was done: "),
    ],
)
def test_what_a_browser_may_not_say_is_one_sentence(house: House, said: Any, sentence: str) -> None:
    page = house.page("tab=alerts")
    page.session._told(json.dumps({"act": said}))
    [error] = page.until(lambda parts: parts["acted"]["answers"])["acted"]["answers"].values()
    assert sentence in error
    assert house.desk.ledger.history(CART) == []


def test_a_viewer_may_look_and_not_act(house: House) -> None:
    found: list[str | None] = []
    viewer = Actor("eve", may_act=False)
    house.parts.acts.ask({"what": "ack", "incident": CART}, viewer, lambda done: found.append(done.error))
    assert found == ["Nothing was done: only an operator may act; you are signed in as a viewer."]
    assert house.desk.ledger.history(CART) == []


def test_without_the_notifier_the_page_says_so_and_still_lists_alerts(house: House) -> None:
    page = house.page(f"tab=alerts&incident={CART}")
    house.stop()
    parts = page.until(lambda parts: parts["duty"]["error"] and parts["banner"]["unknown"])
    assert "cannot be reached" in parts["duty"]["error"]
    assert len(parts["list.incident_rows"]["rows"]) == 2
    error = page.act("ack", incident=CART)["error"]
    assert error.startswith("Nothing was done: The notifier at")


def test_what_somebody_marks_stands_on_the_charts_of_all(house: House) -> None:
    doc, _context = a_document()
    other = PageSession(doc, house.parts, "")
    other.build()
    assert house.page("tab=alerts").act("mark", text="deploy 1.4")["error"] is None
    wait_for(lambda: house.parts.watch.duty.marks)
    assert other._drawable != other._drawn
    # It was made today, and the shop is of another day.
    duty = house.parts.watch.duty
    [mark] = duty.marks
    house.parts.watch.duty = replace(duty, marks=(mark.model_copy(update={"at": NOON - timedelta(minutes=3)}),))
    other._draw_charts()
    assert list(other.events.marks.data["words"]) == ["deploy 1.4 (unverified)"]


def test_a_history_that_could_not_be_read_is_asked_again(house: House) -> None:
    clock = [0.0]
    answers: list[OnCallDetail | str] = ["The notifier cannot be reached.", "The notifier cannot be reached."]
    with house.on_call(None) as client:
        answers.append(client.incident(CART))
    histories = Histories(lambda _incident, _at, answer: answer(answers.pop(0)), lambda: clock[0])

    class Viewer:
        watches, present = "alerts", True

        def wake(self) -> None: ...

    viewer = Viewer()
    assert histories.get(CART, 1, viewer) is None
    assert histories.get(CART, 1, viewer) == "The notifier cannot be reached."
    assert len(answers) == 2
    clock[0] += 5
    assert histories.get(CART, 1, viewer) == "The notifier cannot be reached."
    clock[0] += 5
    histories.get(CART, 1, viewer)
    found = histories.get(CART, 1, viewer)
    assert isinstance(found, OnCallDetail)
    clock[0] += 10**6
    assert histories.get(CART, 1, viewer) is found


def test_alerts_that_came_since_do_not_keep_anybody_from_taking_an_incident(house: House) -> None:
    page = house.page(f"tab=alerts&incident={CART}")
    seen = page.until(lambda parts: parts["duty"]["revision"] is not None)["duty"]
    # As the notifier numbers it once another alert has come: the page is a moment behind.
    with house.on_call(None) as client:
        client.note(CART, "something happened")
    assert page.act("ack", incident=CART, revision=seen["revision"], had=seen["had"])["error"] is None
    # Whoever saw nobody is told who has it now.
    late = page.act("ack", incident=CART, revision=seen["revision"], had="")
    assert late["error"] == "Nothing was done: It has changed since: unverified has it. Look again, then decide."
    held = page.until(lambda parts: parts["duty"]["taken"])["duty"]
    assert page.act("unack", incident=CART, revision=seen["revision"], had=held["had"])["error"] is None


def test_a_moment_of_the_past_shows_who_was_told_and_what_had_happened_by_then(house: House) -> None:
    live = house.page(f"tab=alerts&incident={CART}")
    live.until(lambda parts: parts["duty"]["revision"] is not None)
    assert live.act("ack", incident=CART, minutes=60)["error"] is None
    with house.on_call(None) as client:
        [line] = client.incident(CART).history

    def at(moment: datetime) -> dict[str, Any]:
        page = house.page(f"tab=alerts&incident={CART}&at={moment_text(moment)}")
        return page.until(lambda parts: parts["head"]["frozen"] and parts.get("list.told", {"rows": []})["rows"])

    before = at(line.at - timedelta(seconds=1))
    assert before["list.history"] == {"rows": [], "empty": None}
    assert before["duty"]["facts"] == [["nobody had it then", None]]
    after = at(line.at)
    assert [row["action"] for row in after["list.history"]["rows"]] == ["acknowledged"]
    assert after["duty"]["facts"] == [["unverified had it then", None]]
    for parts in (before, after):
        assert [(row["destination"], row["state"]) for row in parts["list.told"]["rows"]] == [("C0OPS", "sent")]
        # Nobody acts in the past.
        assert (parts["duty"]["revision"], parts["duty"]["error"]) == (None, IN_THE_PAST.error)


@pytest.mark.parametrize("at", ["", "&at=2026-03-02T12:00:00Z"])
def test_a_notifier_that_was_never_there_is_no_sign_that_nobody_was_told(house: House, at: str) -> None:
    alone = a_console(house.desk.dremio, now=NOON + timedelta(seconds=1))
    doc, _context = a_document()
    session = PageSession(doc, alone, f"tab=alerts&incident={CART}{at}")
    session.build()

    def told() -> str:
        return str(session._message(full=True)["parts"].get("list.told", {}).get("empty"))

    wait_for(lambda: told() == "Who was told is not known: The notifier cannot be reached.")
    history = session._message(full=True)["parts"]["list.history"]
    assert history == {"rows": [], "empty": "What happened is not known: The notifier cannot be reached."}


def test_an_incident_that_the_notifier_does_not_know_says_so(house: House) -> None:
    house.desk.dremio.alert(NOON, STOCK[:-1] + "9")
    house.desk.dremio.publish(NOON + timedelta(seconds=2))
    parts = house.page(f"tab=alerts&incident={STOCK[:-1]}9").until(
        lambda parts: "There is no incident" in str(parts.get("list.told", {}).get("empty"))
    )
    assert parts["duty"]["error"] is None
