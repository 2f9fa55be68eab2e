"""What waits and is silenced before it goes: it wakes nobody, is listed with its reason, and told when that ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from notifier.channel import Broken, Retry
from notifier.ledger.file import LedgerError
from notifier.ledger.waiting import WaitingBook
from notifier.manner import Manner
from notifier.model import DeliveryState, Held, MessageKind, Muted, Thread
from notifier.reconcile import overdue
from notifier.routing.decide import Silence
from notifier.routing.matchers import parse_matcher
from tests.test_notifier import NOON
from tests.test_notifier_people import ADA, Office
from tests.test_notifier_reconcile import untold

ROUTES = """
times: [{name: lunch, hours: ["12:01-12:30"]}]
inhibit: [{name: cause, source: [service_name = cause], target: [service_name = effect]}]
maintenance:
  - {name: move, when: [service_name = moved], from: 2026-03-02T12:00:10Z, until: 2026-03-02T12:30:00Z}
routes:
  - {name: nightly, when: [service_name = nightly], to: ["slack:C0OPS"], wait: 90 s, mute: [lunch]}
  - name: waits
    when: [severity = ERROR]
    to: ["slack:C0OPS"]
    wait: 30 s
    interval: 5 min
    repeat: 1 h
    escalate: [{after: 10 min, to: ["slack:C0OPS", "slack:C0LEADS"]}]
  - {name: all, to: ["slack:C0OPS"], interval: 5 min}
"""
MINUTE = timedelta(minutes=1)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path, ROUTES)
    yield opened
    opened.close()


def error(office: Office, incident: str, **values: str) -> None:
    office.fatal(incident, severity="ERROR", **values)
    office.publish()


def hush(office: Office, what: str = "service_name = payments", until: datetime = NOON + 30 * MINUTE) -> Silence:
    return office.people.silence([parse_matcher(what)], "known", until, ADA)


def told(office: Office) -> list[tuple[MessageKind, str]]:
    """What was sent since the last look, but for edits, and how late it was."""
    posts = [note for note in office.channel.posts if note.kind is not MessageKind.EDIT]
    found = [(note.kind, note.title.partition(" (late")[0]) for note in posts]
    office.channel.posts.clear()
    return found


def late(office: Office) -> int:
    """How many the dead-man's switch would miss."""
    with office.ledger.file.read() as db:
        return len(overdue(db, office.planner._router, office.ledger.manners, office.clock()))


def test_a_silence_that_begins_while_a_first_message_waits_holds_it_until_it_ends(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier")
    error(office, "inc-1")
    office.run(timedelta(seconds=10))
    silence = hush(office)
    office.run(timedelta(minutes=29))
    assert told(office) == []
    (row,) = office.deliveries()
    why = f"{silence.silence_id}, by ada until 2026-03-02 12:30:00 UTC"
    assert (row.state, row.reason, row.detail) == (DeliveryState.MUTED, Muted.SILENCED, why)
    assert f"{row.delivery_key[:12]} to slack: first, muted silenced({why})" in caplog.messages
    assert office.count("muted_total", reason="silenced") == 1
    assert (untold(office), late(office)) == ([], 0)
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    # Nobody is called for what nobody was told of.
    assert (incident.told_ms, incident.next_ms, incident.level) == (None, None, 0)
    # It waits with what follows it, as one that was silenced from the first.
    office.run(timedelta(minutes=2))
    assert told(office) == [(MessageKind.FIRST, "ERROR in payments")]
    assert (untold(office), late(office)) == ([], 0)
    office.run(timedelta(minutes=10))
    assert MessageKind.ESCALATED in [kind for kind, _ in told(office)]
    office.resolved("inc-1")
    office.publish()
    assert [kind for kind, _ in told(office)] == [MessageKind.RESOLVED] * 2


def test_one_that_is_over_when_its_silence_ends_is_told_to_nobody(office: Office) -> None:
    error(office, "inc-1")
    hush(office)
    office.run(MINUTE)
    office.resolved("inc-1")
    office.publish()
    office.run(timedelta(hours=1))
    assert told(office) == []


def test_one_that_begins_and_ends_within_its_wait_is_not_told_once_it_is_silenced(office: Office) -> None:
    error(office, "inc-1")
    office.now += timedelta(seconds=5)
    office.resolved("inc-1")
    office.publish()
    hush(office)
    office.run(timedelta(hours=1))
    assert told(office) == []
    assert {row.state for row in office.deliveries()} == {DeliveryState.MUTED}


def test_a_silence_that_is_over_before_the_message_is_due_holds_nothing(office: Office) -> None:
    error(office, "inc-1")
    hush(office, until=NOON + timedelta(seconds=20))
    office.run(timedelta(seconds=31))
    assert told(office) == [(MessageKind.FIRST, "ERROR in payments")]


@pytest.mark.parametrize(
    ("service", "reason"),
    [("moved", "maintenance(move)"), ("nightly", "mute_time(lunch)"), ("effect", "inhibited(cause, by inc-2)")],
)
def test_whatever_else_begins_to_mute_holds_it_too(office: Office, service: str, reason: str) -> None:
    error(office, "inc-1", service=service)
    office.now += timedelta(seconds=5)
    if service == "effect":
        office.fatal("inc-2", service="cause")
        office.publish()
        told(office)
    office.run(29 * MINUTE)
    assert told(office) == []
    [row] = [row for row in office.deliveries() if row.incident_id == "inc-1"]
    assert f"{row.reason}({row.detail})" == reason
    assert untold(office) == []
    if service == "effect":
        office.resolved("inc-2")
        office.publish()
        told(office)
    office.run(3 * MINUTE)
    assert told(office) == [(MessageKind.FIRST, f"ERROR in {service}")]


def test_what_waits_for_several_tells_of_those_that_are_not_silenced_and_the_others_join_later(office: Office) -> None:
    error(office, "inc-1")
    error(office, "inc-2", rule="many_errors")
    hush(office, "rule = fatal_error")
    office.run(MINUTE)
    [post] = [note for note in office.channel.posts if note.kind is not MessageKind.EDIT]
    assert (post.title, "1 alert so far" in post.facts) == ("ERROR in payments", True)
    told(office)
    states = {(row.incident_id, row.state) for row in office.deliveries() if row.kind is MessageKind.FIRST}
    assert states == {("inc-1", DeliveryState.MUTED), ("inc-2", DeliveryState.SENT)}
    assert (untold(office), late(office)) == ([], 0)
    office.run(timedelta(minutes=29, seconds=5))
    assert (MessageKind.JOINED, "Also ERROR in payments: fatal_error") in told(office)
    assert untold(office) == []


def limited(office: Office, span: timedelta = 2 * MINUTE) -> None:
    """The next message is asked to wait."""
    office.channel.answers = [Retry("limited", span.total_seconds())]


def test_what_joins_and_waits_for_a_limit_is_silenced_and_joins_later(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    limited(office)
    office.fatal("inc-2", rule="other")
    office.publish()
    silence = hush(office, "rule = other")
    office.run(5 * MINUTE)
    assert told(office) == []
    assert next(row.reason for row in office.deliveries() if row.incident_id == "inc-2") == Muted.SILENCED
    assert untold(office) == []
    office.people.end_silence(silence.silence_id, ADA)
    office.run(timedelta(seconds=2))
    assert told(office) == [(MessageKind.JOINED, "Also FATAL in payments: other")]


def test_what_waits_for_a_place_to_be_mended_is_silenced_and_the_place_is_mended_all_the_same(office: Office) -> None:
    office.channel.always = Broken("not_in_channel")
    office.fatal("inc-1")
    office.publish()
    hush(office)
    office.run(MINUTE)
    office.channel.always = None
    office.run(MINUTE)
    assert (told(office), office.ledger.outbox.parked()) == ([], [])
    assert untold(office) == []
    office.run(29 * MINUTE)
    assert told(office) == [(MessageKind.FIRST, "FATAL in payments")]


def test_where_what_stays_of_a_thread_is_over_it_ends(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    limited(office)
    office.fatal("inc-2", rule="other")
    office.publish()
    hush(office, "rule = other")
    office.resolved("inc-1")
    office.publish()
    office.run(5 * MINUTE)
    assert MessageKind.RESOLVED in [kind for kind, _ in told(office)]
    office.run(26 * MINUTE)
    # What was of it before goes on in it.
    assert told(office) == [(MessageKind.JOINED, "Also FATAL in payments: other")]


def test_more_of_a_thread_that_is_silenced_meanwhile_is_not_told(office: Office) -> None:
    for _ in range(2):
        office.fatal("inc-1")
        office.publish()
    assert told(office) == [(MessageKind.FIRST, "FATAL in payments")]
    hush(office)
    office.run(20 * MINUTE)
    assert told(office) == []
    assert office.count("muted_total", reason="silenced") == 1
    # The root says it.
    office.run(11 * MINUTE)
    office.fatal("inc-1")
    office.publish()
    assert [kind for kind, _ in told(office)] == [MessageKind.MORE]


@pytest.mark.parametrize(("kind", "after"), [(MessageKind.ESCALATED, 10), (MessageKind.REMINDER, 71)])
def test_a_step_and_a_reminder_that_wait_for_a_limit_are_silenced_and_told_once_afterwards(
    office: Office, kind: MessageKind, after: int
) -> None:
    error(office, "inc-1")
    office.run((after - 1) * MINUTE)
    told(office)
    limited(office)
    office.run(timedelta(minutes=1, seconds=31))
    assert kind not in [each for each, _ in told(office)]
    hush(office, until=office.now + 30 * MINUTE)
    office.run(29 * MINUTE)
    assert [each for each, _ in told(office) if each is kind] == []
    assert office.count("muted_total", reason="silenced") >= 1
    office.run(3 * MINUTE)
    assert [each for each, _ in told(office)].count(kind) == 1
    assert untold(office) == []


def test_a_step_that_somebody_asks_for_goes_though_it_waits_and_is_silenced(office: Office) -> None:
    error(office, "inc-1")
    office.run(MINUTE)
    told(office)
    limited(office)
    office.people.escalate("inc-1", ADA)
    office.work()
    hush(office)
    office.run(3 * MINUTE)
    assert MessageKind.ESCALATED in [kind for kind, _ in told(office)]


@pytest.mark.parametrize("fault", [LedgerError("disk full"), RuntimeError("a fault of ours")], ids=str)
def test_a_last_look_that_fails_halfway_leaves_nothing_and_a_fault_of_ours_holds_up_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    error(office, "inc-1")
    hush(office)
    before = office.deliveries()
    office.now += timedelta(seconds=31)

    def fails(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(office.ledger, "plan", fails)
        if isinstance(fault, LedgerError):
            with pytest.raises(LedgerError):
                office.sender.step()
            assert office.deliveries() == before
        else:
            office.work()
            assert told(office) == [(MessageKind.FIRST, "ERROR in payments")]
            assert office.count("errors_total") == 1
            return
    office.work()
    assert told(office) == []
    assert [row.state for row in office.deliveries()] == [DeliveryState.MUTED]


def test_a_digest_that_waits_tells_of_no_incident_that_is_silenced_before_it_goes(tmp_path: Path) -> None:
    office = Office(tmp_path, "routes: [{name: all, to: ['slack:C0OPS']}]")
    office.ledger.manners = dict.fromkeys(office.ledger.manners, Manner(storm_after=1, digest_every_ms=300_000))
    office.ledger.storm_after = 1
    for number in range(3):
        office.fatal(f"inc-{number}", service=f"service-{number}")
        office.publish()
    assert [kind for kind, _ in told(office)] == [MessageKind.FIRST] * 2
    office.run(timedelta(seconds=10))
    office.fatal("inc-3", service="service-3")
    office.publish()
    silence = hush(office, "service_name =~ service-[123]")
    office.run(6 * MINUTE)
    assert told(office) == []
    office.people.end_silence(silence.silence_id, ADA)
    office.run(2 * MINUTE)
    # One that nobody was told of is told now; of the other the digest had told.
    assert [(kind, "service-3" in title) for kind, title in told(office)] == [(MessageKind.FIRST, True)]
    assert untold(office) == []
    office.close()


def test_where_nothing_could_mute_for_a_while_no_thread_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    in_thread = WaitingBook.in_thread

    def counted(book: WaitingBook, thread_id: str) -> tuple[Thread, list[Held]]:
        read.append(thread_id)
        return in_thread(book, thread_id)

    monkeypatch.setattr(WaitingBook, "in_thread", counted)
    plain = Office(tmp_path, "routes: [{name: all, to: ['slack:C0OPS'], wait: 30 s}]\n")
    error(plain, "inc-1", service="mail")
    plain.run(MINUTE)
    assert (told(plain), read) == ([(MessageKind.FIRST, "ERROR in mail")], [])
    hush(plain, "service_name = payments")
    error(plain, "inc-2", service="search")
    plain.run(MINUTE)
    assert told(plain) == [(MessageKind.FIRST, "ERROR in search")]
    assert len(read) == 1
    plain.close()
