"""Who has it, until when, and who is called when nobody has: acknowledgements, silences, steps, reminders, history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.notifier_times import BEGINS, FIRST_STEP_S, Night
from notifier.channels import CHANNELS
from notifier.channels.pagerduty import PagerDuty
from notifier.clock import to_ms
from notifier.ledger.people import StoredAnswer
from notifier.model import DeliveryState, MessageKind
from notifier.people import Doer, NoIncident, People, Stale
from notifier.planning.duties import Duties
from notifier.routing.matchers import parse_matcher
from tests.test_notifier import NOON, Desk, Friend
from tests.test_notifier_threads import EDITS, told
from tests.test_routes import router

ADA, BOB = Doer("ada", "console"), Doer("bob", "slack")
STEPS = """
routes:
  - name: all
    to: ["slack:C0OPS"]
    repeat: 1 h
    escalate:
      - {after: 10 min, to: ["slack:C0LEADS"]}
      - {after: 30 min, to: ["slack:C0BOSS", "slack:C0OPS"]}
"""


class Office(Desk):
    """A desk with people at it."""

    def __init__(self, path: Path, routes: str = STEPS) -> None:
        channel = Friend(destinations=("C0OPS", "C0LEADS", "C0BOSS"), manner=EDITS)
        super().__init__(path, channel, router=router(routes, {"slack": channel.destinations}))
        self.duties = Duties(self.ledger, self.planner._router, self.planner.surroundings, self.clock)
        self.people = People(self.ledger, self.duties, timedelta(hours=4), lambda channel: None, self.clock)

    def run(self, span: timedelta) -> None:
        """In small steps towards the end, where what is on time shows."""
        end = self.now + span
        while self.now < end:
            left = end - self.now
            self.now += min(timedelta(seconds=1) if left <= timedelta(seconds=10) else timedelta(seconds=20), left)
            self.planner.unmute()
            self.duties.tick()
            self.work()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    yield opened
    opened.close()


def kinds(office: Office) -> list[MessageKind]:
    return [kind for kind, _ in told(office) if kind is not MessageKind.EDIT]


def test_what_nobody_takes_goes_up_step_by_step_on_time(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    office.run(timedelta(minutes=10) - timedelta(seconds=1))
    assert kinds(office) == [MessageKind.FIRST]
    office.run(timedelta(seconds=2))
    assert kinds(office) == [MessageKind.FIRST]  # at C0LEADS, which was told nothing before
    office.run(timedelta(minutes=20) - timedelta(seconds=3))
    assert kinds(office) == []
    office.run(timedelta(seconds=4))
    assert sorted(kinds(office)) == [MessageKind.ESCALATED, MessageKind.FIRST]
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert incident.level == 2
    assert [note.action for note in office.ledger.history("inc-1")] == ["escalated", "escalated"]


def test_all_routes_that_take_it_have_their_steps(office: Office) -> None:
    text = """
    routes:
      - {name: shop, to: ["slack:C0OPS"], continue: true, escalate: [{after: 30 min, to: ["slack:C0LEADS"]}]}
      - {name: house, to: ["slack:C0OPS"], escalate: [{after: 10 min, to: ["slack:C0BOSS"]}]}
    """
    routes = router(text, {"slack": office.channel.destinations})
    office.planner._router = office.duties._router = routes
    office.fatal("inc-1")
    office.publish()
    ways = []
    for minutes in (9, 2, 18, 2):
        office.run(timedelta(minutes=minutes))
        first = [row for row in office.deliveries() if row.kind is MessageKind.FIRST]
        ways.append({row.destination: row.route for row in first})
    told_first = {"C0OPS": "shop"}
    told_then = told_first | {"C0BOSS": "house > step 1"}
    assert ways == [told_first, told_then, told_then, told_then | {"C0LEADS": "shop > step 2"}]
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert incident.level == 2


def test_what_becomes_fatal_goes_up_the_steps_of_its_new_route(office: Office) -> None:
    text = """
    routes:
      - {name: fatal, when: [severity = FATAL], to: ["slack:C0OPS"], escalate: [{after: 10 min, to: ["slack:C0BOSS"]}]}
      - {name: others, to: ["slack:C0OPS"]}
    """
    office.planner._router = office.duties._router = router(text, {"slack": office.channel.destinations})
    office.fatal("inc-1", severity="ERROR")
    office.publish()
    office.run(timedelta(minutes=20))
    office.fatal("inc-1", severity="FATAL")
    office.publish()
    office.run(timedelta(minutes=1))
    assert "C0BOSS" in {row.destination for row in office.deliveries()}


def test_what_somebody_has_goes_up_no_further_until_it_lapses(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    office.people.take("inc-1", ADA, NOON + timedelta(hours=2), "on it")
    office.run(timedelta(minutes=119))
    assert kinds(office) == []
    office.run(timedelta(minutes=2))
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert incident.ack is None
    office.run(timedelta(minutes=10))
    assert MessageKind.FIRST in kinds(office)
    actions = [(note.who, note.action) for note in office.ledger.history("inc-1")]
    assert actions[:2] == [("ada", "acknowledged"), ("notifier", "unacknowledged")]


def test_an_acknowledgement_ends_with_a_higher_severity_and_with_the_resolve(office: Office) -> None:
    office.fatal("inc-1", severity="ERROR")
    office.publish()
    office.people.take("inc-1", ADA, None, "")
    office.fatal("inc-1", severity="FATAL")
    office.publish()
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert incident.ack is None
    office.people.take("inc-1", BOB, None, "")
    office.resolved("inc-1")
    office.publish()
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert (incident.ack, incident.resolved_ms) == (None, to_ms(NOON))


def test_the_root_says_who_has_it(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    office.people.take("inc-1", ADA, None, "")
    # At once, however young the root is: ada looks at it for an answer.
    office.work()
    assert office.channel.posts[-1].taken_by == ("ada",)
    assert "taken by ada" in office.channel.posts[-1].facts
    # While somebody has it nothing is told but by the root.
    told(office)
    office.fatal("inc-1")
    office.publish()
    office.run(timedelta(minutes=3))
    assert kinds(office) == []


def test_of_two_who_take_it_at_once_the_second_hears_who_has_it(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    office.people.take("inc-1", ADA, None, "", incident.revision)
    with pytest.raises(Stale, match="ada has it"):
        office.people.take("inc-1", BOB, None, "", incident.revision)
    with pytest.raises(NoIncident, match="There is no incident 'none'"):
        office.people.take("none", BOB, None, "")


def test_what_is_silenced_wakes_nobody_and_is_told_at_its_end(office: Office) -> None:
    matcher = parse_matcher("service_name = payments")
    office.people.silence([matcher], "known", NOON + timedelta(minutes=30), ADA)
    office.fatal("inc-1")
    office.publish()
    office.run(timedelta(minutes=29))
    assert kinds(office) == []
    office.run(timedelta(minutes=2))
    assert kinds(office) == [MessageKind.FIRST]


def test_the_root_says_until_when_and_by_whom_it_is_silenced_and_ends_to_say_so(office: Office) -> None:
    def says() -> list[str]:
        """What the newest edit of the root says of silences; fails where there was none since the last look."""
        edit = [note for note in office.channel.posts if note.kind is MessageKind.EDIT][-1]
        office.channel.posts.clear()
        return [fact for fact in edit.facts if "silenced" in fact]

    office.fatal("inc-1")
    office.fatal("inc-2", rule="many_errors", severity="ERROR")
    office.publish()
    known = parse_matcher("rule = fatal_error")
    office.people.silence([known], "known", NOON + timedelta(minutes=30), ADA)
    office.work()
    assert says() == ["1 of 2 silenced by ada until 2026-03-02 12:30:00 UTC"]
    all_of_it = office.people.silence(
        [parse_matcher("service_name = payments")], "a move", NOON + timedelta(hours=1), BOB
    )
    office.work()
    assert says() == ["silenced by bob until 2026-03-02 13:00:00 UTC"]
    # By hand, and by the clock.
    assert office.people.end_silence(all_of_it.silence_id, BOB)
    office.work()
    assert says() == ["1 of 2 silenced by ada until 2026-03-02 12:30:00 UTC"]
    office.run(timedelta(minutes=29))
    office.channel.posts.clear()
    # Whoever looks after a restart knows nothing of it.
    office.duties = Duties(office.ledger, office.planner._router, office.planner.surroundings, office.clock)
    office.run(timedelta(minutes=2))
    assert says() == []
    incident = office.ledger.incident("inc-1")
    assert incident is not None
    assert incident.ack is None


def test_a_silence_that_is_ended_mutes_nothing_any_more(office: Office) -> None:
    silence = office.people.silence([parse_matcher("severity = FATAL")], "test", NOON + timedelta(days=1), ADA)
    office.fatal("inc-1")
    office.publish()
    assert office.people.end_silence(silence.silence_id, BOB)
    assert not office.people.end_silence(silence.silence_id, BOB)
    office.run(timedelta(seconds=2))
    assert kinds(office) == [MessageKind.FIRST]


def test_the_root_says_what_was_changed_within_the_hour_before_and_since_on_every_channel(office: Office) -> None:
    for minutes, text in ((90, "long ago"), (40, "prices\u202e of spring"), (0, "deploy 1.5")):
        office.people.mark(text, NOON + timedelta(minutes=5 - minutes), ADA)
    office.fatal("inc-1")
    office.publish()
    [first] = office.channel.posts
    changes = (
        "Changed: deploy 1.5 (ada, 5 min after it began)",
        "Changed: prices of spring (ada, 35 min before)",
    )
    assert first.changes == changes
    for name, declared in CHANNELS.items():
        shown = json.dumps(declared.show(replace(first, failing=("Not told on fax: no paper.",))), ensure_ascii=False)
        for said in (*changes, "Not told on fax: no paper."):
            assert json.dumps(said)[1:-1] in shown, name
    # What is said below the root says it not again.
    office.fatal("inc-2", rule="many_errors", severity="ERROR")
    office.publish()
    joined = next(note for note in office.channel.posts if note.kind is MessageKind.JOINED)
    assert joined.changes == ()


def test_what_stays_open_is_told_again_each_hour(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    office.people.take("inc-1", ADA, NOON + timedelta(minutes=30), "")
    told(office)
    office.run(timedelta(minutes=31))
    kinds(office)
    office.people.let_go("inc-1", ADA)
    before = len(office.channel.posts)
    office.run(timedelta(hours=2))
    reminders = [note for note in office.channel.posts[before:] if note.kind is MessageKind.REMINDER]
    assert reminders
    assert all(note.broadcast for note in reminders)


QUIET = """
times: [{name: lunch, hours: ["12:10-14:00"]}]
inhibit: [{name: cause, source: [service_name = cause], target: [service_name = effect]}]
maintenance:
  - {name: move, when: [service_name = moved], from: 2026-03-02T12:10:00Z, until: 2026-03-02T14:00:00Z}
routes:
  - name: quiet
    when: [service_name = nightly]
    to: ["slack:C0OPS"]
    repeat: 30 min
    escalate: [{after: 40 min, to: ["slack:C0LEADS"]}]
    mute: [lunch]
  - {name: cause, when: [service_name = cause], to: []}
  - name: twice
    when: [service_name = twice]
    to: ["slack:C0OPS"]
    escalate: [{after: 40 min, to: ["slack:C0LEADS"]}]
    mute: [lunch]
    continue: true
  - {name: also, when: [service_name = twice], to: ["slack:C0OPS"]}
  - {name: all, to: ["slack:C0OPS"], repeat: 30 min, escalate: [{after: 40 min, to: ["slack:C0LEADS"]}]}
"""


@pytest.mark.parametrize("service", ["silent", "effect", "moved", "nightly"])
def test_what_is_muted_is_told_again_and_goes_up_once_nothing_mutes_it(tmp_path: Path, service: str) -> None:
    office = Office(tmp_path, QUIET)
    office.fatal("inc-1", service=service)
    office.publish()
    told(office)
    office.run(timedelta(minutes=10))
    office.people.silence([parse_matcher("service_name = silent")], "known", NOON + timedelta(hours=2), ADA)
    office.fatal("inc-2", service="cause")
    office.publish()
    revision = office.ledger.revision()
    office.run(timedelta(minutes=109))
    assert kinds(office) == []
    # And nobody who waits for a change is answered for nothing.
    assert office.ledger.revision() == revision
    office.resolved("inc-2")
    office.publish()
    office.run(timedelta(minutes=2))
    assert sorted(kinds(office)) == [MessageKind.FIRST, MessageKind.REMINDER]
    office.close()


def test_steps_of_a_route_that_is_muted_wait_though_another_route_tells_the_place(tmp_path: Path) -> None:
    office = Office(tmp_path, QUIET)
    office.fatal("inc-1", service="twice")
    office.publish()
    told(office)
    office.run(timedelta(minutes=119))
    assert kinds(office) == []
    office.run(timedelta(minutes=3))
    assert kinds(office) == [MessageKind.FIRST]
    office.close()


@pytest.mark.parametrize("case", ["a channel without reminders", "a place taken out"])
def test_where_nobody_is_reminded_nothing_is_written_each_second(tmp_path: Path, case: str) -> None:
    office = Office(tmp_path, "routes: [{name: all, to: [slack], repeat: 30 min}]")
    if case == "a channel without reminders":
        office.ledger.manners = dict.fromkeys(office.ledger.manners, PagerDuty.manner)
    office.fatal("inc-1")
    office.publish()
    if case == "a place taken out":
        office.ledger.manners = {}
    office.run(timedelta(minutes=29))
    revision = office.ledger.revision()
    office.run(timedelta(minutes=10))
    assert office.ledger.revision() == revision
    office.close()


@pytest.mark.parametrize("step", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_that_steps_moves_no_step_of_escalation(office: Office, step: timedelta) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    office.run(timedelta(minutes=5))
    office.now += step
    office.ledger.shift(int(step.total_seconds() * 1000))
    office.run(timedelta(minutes=5) - timedelta(seconds=2))
    assert kinds(office) == []
    office.run(timedelta(seconds=4))
    assert kinds(office) == [MessageKind.FIRST]


def test_an_alert_of_a_clock_that_was_set_back_is_no_news_of_the_past(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    office.now -= timedelta(hours=2)
    office.ledger.shift(-2 * 3_600_000)
    office.run(timedelta(seconds=1))
    office.fatal("inc-2", service="stock")
    office.publish()
    assert told(office) == [(MessageKind.FIRST, "FATAL in stock")]


def test_a_request_that_comes_twice_at_once_is_done_once(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()

    def act() -> StoredAnswer:
        office.people.take("inc-1", ADA, None, "on it")
        return StoredAnswer("a request", 200, "taken")

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(office.ledger.once, "key of ada", act, office.clock()) for _ in range(8)]
        answers = {one.result().answer for one in asked}
    assert answers == {"taken"}
    assert [note.action for note in office.ledger.history("inc-1")] == ["acknowledged"]


def test_who_sends_is_woken_when_there_is_something_to_read(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()
    told(office)
    found: list[int] = []

    def wake(channel: str) -> None:
        with ThreadPoolExecutor(1) as other:
            found.append(len(other.submit(office.ledger.deliveries, DeliveryState.PLANNED).result()))

    people = People(office.ledger, office.duties, timedelta(hours=4), wake, office.clock)

    def act() -> StoredAnswer:
        people.escalate("inc-1", ADA)
        assert found == []
        return StoredAnswer("a request", 200, "")

    office.ledger.once("key of ada", act, office.clock())
    assert found
    assert all(found)


def test_an_act_that_fails_halfway_leaves_nothing_and_may_be_asked_again(office: Office) -> None:
    office.fatal("inc-1")
    office.publish()

    def act() -> StoredAnswer:
        office.people.escalate("inc-1", ADA)
        raise LookupError

    with pytest.raises(LookupError):
        office.ledger.once("key of ada", act, office.clock())
    assert office.ledger.history("inc-1") == []
    assert (
        office.ledger.once("key of ada", lambda: StoredAnswer("a request", 200, "again"), office.clock()).answer
        == "again"
    )


@pytest.mark.parametrize("hours", [1, -1])
def test_what_begins_in_the_second_in_which_the_clock_is_set_is_escalated_on_time(tmp_path: Path, hours: int) -> None:
    night = Night(tmp_path, BEGINS[0])
    try:
        night.turn()
        night.channel.steady += 1
        night.set_clock(hours)
        night.fail("shop")
        night.turn()
        night.channel.steady += FIRST_STEP_S - 3
        night.turn()
        assert night.channel.late["step"] == []
        night.channel.steady += 3
        night.turn()
        assert night.channel.late["step"] == [0.0]
    finally:
        night.close()
