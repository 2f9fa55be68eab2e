"""Buttons on messages: only operators' count, once each, and they act on all that a thread has open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.roster import Person, Role, Roster
from notifier.model import MessageKind
from notifier.presses import Button, Press, Presses
from tests.test_notifier import NOON
from tests.test_notifier_people import BOB, Office, kinds
from tests.test_notifier_threads import told

ROSTER = Roster(
    (
        Person(person="ada", role=Role.OPERATOR, slack="T0SHOP/U0ADA"),
        Person(person="eve", role=Role.VIEWER, slack="T0SHOP/U0EVE"),
    )
)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    opened.fatal("inc-1")
    opened.fatal("inc-2", rule="many_errors", severity="ERROR")
    opened.publish()
    told(opened)
    yield opened
    opened.close()


@pytest.fixture
def presses(office: Office) -> Presses:
    return Presses(office.ledger, office.people, ROSTER, office.clock)


def pressed(office: Office, button: str = Button.ACK, **values: str) -> Press:
    [first] = [row for row in office.deliveries() if row.kind is MessageKind.FIRST]
    fields = {
        "press_id": "1.0 U0ADA ack",
        "channel": "slack",
        "destination": first.destination,
        "receipt": first.receipt or "",
        "thread_id": first.thread_id or "",
        "button": button,
        "team": "T0SHOP",
        "user": "U0ADA",
    }
    return Press(**(fields | values))


def who_has(office: Office) -> list[str | None]:
    found = [office.ledger.incident(name) for name in ("inc-1", "inc-2")]
    return [each.ack.by if each and each.ack else None for each in found]


def test_a_button_takes_all_that_the_thread_has_open_and_its_root_says_so(office: Office, presses: Presses) -> None:
    assert presses.do(pressed(office)) is None
    assert who_has(office) == ["ada", "ada"]
    office.run(timedelta(seconds=6))
    edit = office.channel.posts[-1]
    assert (edit.kind, edit.taken_by, edit.untaken) == (MessageKind.EDIT, ("ada",), 0)
    assert [(note.who, note.via, note.action) for note in office.ledger.history("inc-2")] == [
        ("ada", "slack", "acknowledged")
    ]


def test_a_press_that_is_told_again_does_nothing_again(office: Office, presses: Presses) -> None:
    presses.do(pressed(office))
    office.people.let_go("inc-1", BOB)
    assert presses.do(pressed(office)) is None
    assert who_has(office) == [None, "ada"]
    assert presses.do(pressed(office, press_id="2.0 U0ADA ack")) is None
    assert who_has(office) == ["ada", "ada"]
    assert presses.do(pressed(office, Button.UNACK, press_id="3.0 U0ADA unack")) is None
    assert who_has(office) == [None, None]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"user": "U0EVE"}, "T0SHOP/U0EVE is no operator in people.yaml"),
        ({"user": "U0NOBODY"}, "T0SHOP/U0NOBODY is no operator in people.yaml"),
        ({"team": "T0OTHER"}, "T0OTHER/U0ADA is no operator in people.yaml"),
        ({"receipt": "9.9"}, "this message is none of the ledger's"),
        ({"destination": "C0LEADS"}, "this message is none of the ledger's"),
        ({"thread_id": "f" * 64}, "this message is none of the ledger's"),
        ({"button": "drop_all"}, "there is no button 'drop_all'"),
    ],
)
def test_whoever_may_not_or_presses_elsewhere_changes_nothing(
    office: Office, presses: Presses, values: dict[str, str], sentence: str
) -> None:
    assert presses.do(pressed(office, **values)) == f"Nothing was done: {sentence}."
    assert who_has(office) == [None, None]
    assert office.ledger.silences() == []


def test_a_silence_is_of_the_threads_rules_and_services_and_no_others(office: Office, presses: Presses) -> None:
    assert presses.do(pressed(office, Button.SILENCE)) is None
    [silence] = office.ledger.silences()
    assert [str(matcher) for matcher in silence.matchers] == [
        "rule =~ fatal_error|many_errors",
        "service_name = payments",
    ]
    assert silence.until == NOON + timedelta(hours=1)
    # Who pressed it looks at the root for an answer.
    office.work()
    assert "silenced by ada until 2026-03-02 13:00:00 UTC" in office.channel.posts[-1].facts
    told(office)
    office.fatal("inc-3", service="checkout")
    office.publish()
    assert kinds(office) == [MessageKind.FIRST]


def test_what_is_over_cannot_be_taken(office: Office, presses: Presses) -> None:
    press = pressed(office)
    office.resolved("inc-1")
    office.fatal("inc-2", status="RESOLVED")
    office.publish()
    assert presses.do(press) == "Nothing was done: all of it is over."
