"""A session ends with its page."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bokeh.document import Document
from bokeh.server.contexts import BokehSessionContext

from console.boards.running import Boards
from console.feed.asker import Asker
from console.feed.hub import Hub
from console.feed.past import Past, Then
from console.feed.pins import Pins
from console.feed.poller import Poller
from console.feed.rate import Rate
from console.gate import Gate, SignIn
from console.metrics import statements
from console.on_call.acts import Acts
from console.on_call.figure import figures_of
from console.on_call.histories import Histories
from console.on_call.watch import DutyWatch
from console.running import Running
from console.session import IN_THE_PAST, PageSession
from console.settings import ConsoleSettings
from console.tabs import questions
from console.url import moment_text
from lakehouse import ROOT
from lakehouse.kpis import Counting
from lakehouse.oncall import OnCall, OnCallDown
from tests.fake_dremio import FakeDremio, a_shop
from tests.notifier_cast import wait_for

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
ALL = Counting(("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"))


def nobody(_person: str | None = None) -> OnCall:
    raise OnCallDown("The notifier cannot be reached.")


def a_console(
    dremio: FakeDremio | None = None,
    on_call: Callable[[str | None], OnCall] = nobody,
    now: datetime = NOON,
    gate: Gate | None = None,
    config: Path | None = None,
) -> Running:
    """The shared parts on a seeded shop, or on `dremio`, polled once for the Overview; with a notifier, or none, and
    the boards of a folder `config`, or none."""
    hub = Hub()
    if dremio is None:
        dremio = FakeDremio()
        dremio.clock_ahead(NOON, "errors_topic", 12, 93_600.0)
        a_shop(dremio, NOON)
    poller = Poller(dremio, hub, tabs=questions(), refresh_s=1, idle_refresh_s=15, counting=ALL, now=lambda: now)
    asker = Asker(dremio)
    acts = Acts(on_call)
    parts = Running(
        ConsoleSettings.load(),
        ALL,
        timedelta(hours=1),
        hub,
        poller,
        asker,
        Pins(),
        DutyWatch(lambda: on_call(None), hub.wake),
        acts,
        Histories(acts.detail),
        gate or Gate(SignIn.NONE, ROOT / "config" / "people.yaml"),
        figures_of(ROOT / "config" / "alerts.yaml"),
        dremio,
        Rate(statements),
        Past(dremio, tabs=questions(), counting=ALL),
        Boards(config or ROOT / "config", dremio, "$"),
    )

    class Somebody:
        watches = "overview"
        present = True

        def wake(self) -> None: ...

    viewer = Somebody()
    hub.join(viewer)
    poller.poll()
    return parts


def a_document() -> tuple[Document, BokehSessionContext]:
    """A document as a server makes it, and what keeps it: the server's session context."""
    doc = Document()
    context = BokehSessionContext("s", None, doc)  # type: ignore[arg-type]  # no server behind it
    context._request = SimpleNamespace(arguments={}, cookies={}, headers={})  # type: ignore[assignment]
    doc._session_context = lambda: context  # type: ignore[assignment]  # bokeh holds a weakref there
    return doc, context


def first_message(doc: Document) -> dict[str, object]:
    message: dict[str, object] = json.loads(doc.template_variables["first"])
    return message


def test_the_page_itself_carries_the_first_tiles() -> None:
    doc, _context = a_document()
    PageSession(doc, a_console(), "").build()
    parts = first_message(doc)["parts"]
    assert isinstance(parts, dict)
    assert {"tile.revenue", "spark.revenue", "list.latest_orders", "list.incidents", "head"} <= set(parts)
    assert parts["tile.revenue"]["produced_at"].endswith("Z")
    assert parts["head"]["open"] == 1
    assert "12 messages of errors_topic" in parts["head"]["notice"]


def test_what_others_wrote_is_cut_and_made_visible_wherever_it_is_shown() -> None:
    dremio = FakeDremio()
    at = NOON - timedelta(minutes=1)
    for text in ("x" * 6000, "a\u202eb\u200bc"):
        dremio.order(at, order_id=text, user_id=text, product_id=text)
        dremio.error(at, "FATAL", text, error_message=text, error_id=text)
        dremio.alert(at, f"{len(text):08x}", service=text, description=text, rule=text)
    dremio.publish(NOON)
    doc, _context = a_document()
    PageSession(doc, a_console(dremio), "").build()
    parts = first_message(doc)["parts"]
    assert isinstance(parts, dict)
    for name, shown in (
        ("latest_orders", ("order", "user", "product")),
        ("latest_errors", ("error", "service", "message")),
        ("incidents", ("service", "rule", "description")),
    ):
        rows = parts[f"list.{name}"]["rows"]
        assert {row[field] for row in rows for field in shown} == {"x" * 299 + "…", "a\\u202eb\\u200bc"}, name
    dremio.close()


def test_an_address_that_is_too_long_leads_to_one_that_has_room() -> None:
    doc, _context = a_document()
    asked = f"tab=errors&service={'y' * 5000}&service=cart&severity=FATAL&x={'z' * 5000}"
    PageSession(doc, a_console(), asked).build()
    assert doc.template_variables["shorter"] == "?tab=errors&severity=FATAL&service=cart&cut=1"
    doc, _context = a_document()
    PageSession(doc, a_console(), "&".join(f"x{number}=1" for number in range(400))).build()
    assert doc.template_variables["shorter"] is None


def test_each_choice_tells_anew_what_is_without_effect() -> None:
    """The browser clears that line when it goes on, and waits for the console's word."""
    doc, _context = a_document()
    session = PageSession(doc, a_console(), "tab=errors&status=CANCELLED")
    session.build()
    for asked in ("tab=errors&status=CANCELLED&severity=WARN", "tab=errors&status=CANCELLED&service=cart"):
        session.show(asked)
        assert session._message()["parts"]["view"]["without_effect"] == ["status CANCELLED"]


def test_a_page_that_is_closed_is_let_go() -> None:
    parts = a_console()
    held: list[weakref.ref[object]] = []
    for _ in range(3):
        doc, context = a_document()
        session = PageSession(doc, parts, "tab=orders")
        session.build()
        held += [weakref.ref(doc), weakref.ref(session)]
        for destroyed in list(doc.callbacks.session_destroyed_callbacks):
            destroyed(context)
        doc.callbacks.session_destroyed_callbacks.clear()
        del doc, session, destroyed, context
    gc.collect()
    assert [one() for one in held if one() is not None] == []


def test_a_link_made_within_a_second_of_an_alert_leads_to_it_and_not_to_the_minute_before_it() -> None:
    parts = a_console()
    newest = parts.hub.snapshot
    listed = newest.answers["incidents"]
    incident = listed.table["incident_id"][0].as_py()

    def shown(known: bool) -> tuple[dict[str, Any], str | None]:
        table = listed.table if known else listed.table.slice(0, 0)
        then = replace(newest, answers={**newest.answers, "incidents": replace(listed, table=table)})
        held = SimpleNamespace(at=lambda *_asked: Then(then))
        doc, _context = a_document()
        asked = f"tab=alerts&incident={incident}&at=2026-03-02T12:00:20Z"
        session = PageSession(doc, replace(parts, past=held), asked)  # type: ignore[arg-type]
        return dict(session._message(full=True)["parts"]), session.duty.error

    found, why = shown(known=False)
    assert found["view"]["notices"] == ["Shown is now: at 2026-03-02T12:00:20Z nothing was kept yet of this incident."]
    assert (found["head"]["frozen"], found["view"]["at"]) == (False, None)
    assert why != IN_THE_PAST.error
    found, why = shown(known=True)
    assert (found["view"]["notices"], found["head"]["frozen"]) == ([], True)
    assert why == IN_THE_PAST.error


def test_a_moment_that_has_not_come_is_asked_of_nobody_and_said() -> None:
    console = a_console()
    doc, _context = a_document()
    session = PageSession(doc, console, "tab=orders&at=2199-01-01T00:00:00Z")
    assert not console.past._moments
    head, view = (session._message(full=True)["parts"][name] for name in ("head", "view"))
    assert (head["frozen"], view["at"]) == (False, None)
    assert view["notices"] == [
        "The moment cannot be shown: 'at' (2199-01-01T00:00:00Z) lies in the future; shown is now."
    ]


def test_a_range_before_all_that_there_is_says_when_that_begins() -> None:
    console = a_console()
    doc, _context = a_document()
    shown = PageSession(doc, console, "tab=orders&from=1997-01-01&to=1998-01-01")
    first = min(filter(None, console.hub.snapshot.first_events.values()))
    said = f"Nothing is there of the range that is shown: the first event is of {moment_text(first)}."
    assert shown._message()["parts"]["view"]["notices"] == [said]
    doc, _context = a_document()
    elsewhere = PageSession(doc, console, "tab=overview&from=1997-01-01&to=1998-01-01")
    assert elsewhere._message()["parts"]["view"]["notices"] == []


def test_a_paused_page_stands_still_while_its_head_goes_on() -> None:
    dremio = FakeDremio()
    a_shop(dremio, NOON)
    parts = a_console(dremio, now=NOON)
    doc, _context = a_document()
    session = PageSession(doc, parts, "")
    session.build()
    before = session._message(full=True)["parts"]
    session._told(json.dumps({"paused": True}))

    def paused() -> dict[str, Any]:
        now: dict[str, Any] = session._message(full=True)["parts"]
        return now

    wait_for(lambda: paused()["head"]["paused"]["new"] == {"orders": 0, "errors": 0})
    dremio.order(NOON, "9999.00", product_id="late")
    dremio.publish(NOON + timedelta(seconds=1))
    parts.poller.poll()
    wait_for(lambda: paused()["head"]["paused"]["new"]["orders"] == 1)
    held = paused()
    assert {place: held[place] for place in before if place.startswith(("tile.", "list.", "spark."))} == {
        place: part for place, part in before.items() if place.startswith(("tile.", "list.", "spark."))
    }
    assert held["head"]["commit"] == before["head"]["commit"]
    assert held["head"]["fed_as_of"] != before["head"]["fed_as_of"]
    session._told(json.dumps({"paused": False}))
    after = session._message(full=True)["parts"]
    assert after["head"]["paused"] is None
    assert after["tile.revenue"] != before["tile.revenue"]
    # What is chosen anew goes on too; another zone does not.
    session._told(json.dumps({"paused": True}))
    session.show("zone=utc")
    assert paused()["head"]["paused"] is not None
    session.show("zone=utc&theme=light")
    assert paused()["head"]["paused"] is None
