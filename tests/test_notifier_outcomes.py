"""Every word for what became of an alert has a metric from the start, a word in the log, and a row in the docs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lakehouse import ROOT
from notifier.announcer import Announcer
from notifier.attempts import Waits
from notifier.channel import Broken, Dead, Retry, RootGone, Sent, Unknown
from notifier.crew import Crew
from notifier.ledger.outbox import Why
from notifier.manner import Manner
from notifier.metrics import OUTCOMES
from notifier.model import Action, DeadReason, DeliveryState, MessageKind, Muted
from notifier.people import Doer, People
from notifier.planner import in_words
from notifier.planning.duties import Duties
from notifier.routing.decide import Silence
from notifier.routing.matchers import parse_matcher
from tests.test_notifier import NOON, SLACK, Desk, Friend, a_config, fatal_to
from tests.test_notifier_ledger import a_daemon
from tests.test_routes import router

WORDS: dict[str, Iterable[str]] = {
    "state": DeliveryState,
    "attempt": OUTCOMES,
    "dead": DeadReason,
    "muted": Muted,
    "message": MessageKind,
    "place": Why,
    "person": Action,
}
ALL_WORDS = [(what, str(word)) for what, words in WORDS.items() for word in words]
_ROW = re.compile(r"\| (\w+) \| `(\w+)` \| (.+?) \| `(\w+)\{(\w+)=\"(\w+)\"\}` \| `(.+?)` \|")
EVERYTHING = Manner(frozenset(MessageKind))
ROUTES = """
times: [{name: always, hours: ["00:00-24:00"]}]
inhibit: [{name: cause, source: [service_name = cause], target: [service_name = effect]}]
maintenance:
  - {name: move, when: [service_name = moved], from: 2026-03-02T00:00:00Z, until: 2026-03-03T00:00:00Z}
routes:
  - {name: quiet, when: [service_name = nightly], to: [slack], mute: [always]}
  - {name: nowhere, when: [service_name = nowhere], to: []}
  - {name: pager, when: [service_name = pager], to: [pager]}
  - {name: all, to: [slack], repeat: 1 h, escalate: [{after: 10 min, to: [slack]}]}
"""


def rows() -> dict[tuple[str, str], tuple[str, str, str, str]]:
    """Of the table in the docs: what it means, then metric, label and value with the value left out, and the log."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return {(row[1], row[2]): (row[4], row[5], row[6], row[7]) for row in _ROW.finditer(page)}


def a_desk(path: Path, channel: Friend) -> Desk:
    path.mkdir()
    return Desk(path, channel, router=router(ROUTES, {"slack": channel.destinations, "pager": ()}))


def an_outage(path: Path) -> Desk:
    """Everything that a thread can say, and what people do meanwhile."""
    desk = a_desk(path, Friend(manner=EVERYTHING))
    duties = Duties(desk.ledger, desk.planner._router, desk.planner.surroundings, desk.clock)
    people, ada = People(desk.ledger, duties, timedelta(hours=4), lambda _: None, desk.clock), Doer("ada", "console")
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-2", rule="many_errors")
    desk.publish()
    desk.run(timedelta(minutes=2))
    desk.fatal("inc-1")
    desk.publish()
    for span in (timedelta(minutes=10), timedelta(hours=1)):
        desk.run(span)
        duties.tick()
        desk.work()
    people.take("inc-1", ada, None, "")
    people.let_go("inc-1", ada)
    people.note("inc-1", ada, "disk full")
    people.escalate("inc-1", ada)
    silence = people.silence([parse_matcher("rule = x")], "known", NOON + timedelta(days=1), ada)
    people.end_silence(silence.silence_id, ada)
    people.mark("deploy 1.4", None, Doer("ada", "a token of somebody's"))
    for _ in range(2):
        desk.fatal("inc-1")
        desk.publish()
    for incident in ("inc-2", "inc-1"):
        desk.resolved(incident)
        desk.publish()
    desk.run(timedelta(minutes=2))
    return desk


def quiet(path: Path) -> Desk:
    """Everything that keeps an alert from being told."""
    desk = a_desk(path, Friend())
    desk.ledger.people.silence(
        Silence("s1", (parse_matcher("service_name = silent"),), "known", "ada", NOON + timedelta(days=1), NOON)
    )
    for service in ("cause", "nightly", "nowhere", "pager", "moved", "silent"):
        desk.fatal(service, service=service)
    desk.publish()
    desk.fatal("effect", service="effect")
    desk.fatal("old", at=NOON - timedelta(hours=2))
    desk.publish()
    return desk


def a_bad_day(path: Path) -> Desk:
    """Every way an attempt can end."""
    channel = Friend(answers=[Retry("no answer"), Unknown("lost"), Retry("slow down", 2.0)])
    desk = a_desk(path, channel)
    desk.sender = desk.a_sender(Waits(give_up=timedelta(minutes=10)))
    announcer = Announcer(desk.ledger, [SLACK], lambda _: None, ZoneInfo("UTC"), desk.clock)
    desk.sender._attempts._told = announcer.parked
    desk.fatal("first")
    desk.publish()
    desk.run(timedelta(minutes=5))
    channel.answers = [RootGone("message_not_found"), Sent("new-root"), Dead("no form of it is taken")]
    desk.fatal("first")
    desk.publish()
    desk.run(timedelta(minutes=2))
    for _ in range(2):
        desk.fatal("second", service="cart")
    desk.publish()
    channel.always = Broken("not_in_channel")
    # The first is what the parked place is tried with.
    for service in ("stock", "search"):
        desk.fatal(service, service=service)
        desk.publish()
        desk.resolved(service)
        desk.publish()
    channel.always = None
    desk.run(timedelta(minutes=2))
    channel.always = Retry("no answer")
    desk.fatal("fourth", service="mail")
    desk.publish()
    desk.run(timedelta(minutes=12))
    return desk


def a_part_taken(path: Path) -> Desk:
    """A channel that knows an outage as one, and somebody who has a part of it."""
    desk = a_desk(path, Friend(manner=Manner(frozenset(MessageKind), takes_whole=True)))
    duties = Duties(desk.ledger, desk.planner._router, desk.planner.surroundings, desk.clock)
    desk.fatal("inc-1")
    desk.fatal("inc-2", rule="many_errors")
    desk.publish()
    people = People(desk.ledger, duties, timedelta(hours=4), lambda _: None, desk.clock)
    people.take("inc-1", Doer("ada", "console"), None, "")
    desk.work()
    return desk


def an_end_while_sending(path: Path) -> Desk:
    """A message in hand, and one that somebody wants tried again."""
    desk = a_desk(path, Friend(always=Dead("no such address")))
    desk.fatal("first")
    desk.publish()
    daemon = a_daemon(desk)
    (dead,) = desk.deliveries()
    daemon.retry(dead.delivery_key, Doer("ada", "console"))
    desk.ledger.outbox.begin(dead.delivery_key, desk.clock())
    daemon.start()
    daemon.stop()
    return desk


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the notifier logs on a day on which everything happens."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("notifier")
    before, path = logger.level, tmp_path_factory.mktemp("day")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TILLWATCH_DATA_DIR", str(path / "data"))
        for happens in (an_outage, quiet, a_bad_day, a_part_taken, an_end_while_sending):
            happens(path / happens.__name__).close()
    logger.removeHandler(handler)
    logger.setLevel(before)
    return "\n".join(lines)


def test_the_table_has_a_row_for_each_word_and_no_other() -> None:
    assert sorted(rows()) == sorted(ALL_WORDS)


def test_each_word_has_a_metric_that_begins_at_0(tmp_path: Path) -> None:
    desk = a_desk(tmp_path / "desk", Friend())
    daemon = a_daemon(desk)
    daemon.refresh_metrics()
    samples = [sample for family in daemon.metrics.registry.collect() for sample in family.samples]
    desk.close()
    for (what, word), (metric, label, value, _) in rows().items():
        name = f"tillwatch_notifier_{metric}"
        found = {sample.value for sample in samples if sample.name == name and sample.labels[label] == word}
        assert (value, found) == (word, {0.0}), f"{what} {word}"


@pytest.mark.parametrize(("what", "word"), ALL_WORDS)
def test_each_word_is_in_the_log_as_the_docs_say(log: str, what: str, word: str) -> None:
    said = rows()[what, word][3]
    assert word in said or what == "state"
    assert said in log


def test_each_way_an_attempt_ends_is_counted(tmp_path: Path) -> None:
    desk = a_bad_day(tmp_path / "desk")
    assert desk.count("attempts_total", channel="slack", outcome="root_gone") == 1
    assert desk.count("attempts_total", channel="slack", outcome="parked") == 1
    assert desk.count("dead_total", channel="slack", reason="refused") == 1
    assert desk.count("dead_total", channel="slack", reason="gave_up") >= 1
    assert desk.count("muted_total", reason="ended") >= 1
    assert desk.count("probes_total", channel="slack", result="mended") == 1
    assert desk.count("own_alerts_total", rule="tillwatch_missed", status="FIRING") == 1
    desk.close()


class Office:
    """A crew with Slack and a mailbox."""

    def __init__(self, path: Path) -> None:
        self.slack, self.email = Friend(), Friend("email", ("ops@shop.net",))
        self.desk = Desk(path, self.slack)
        routing = fatal_to({"slack": self.slack.destinations, "email": self.email.destinations}).routing
        config = a_config([self.slack, self.email], routing)
        self.crew = Crew(
            config,
            self.desk.dremio,
            self.desk.ledger,
            self.desk.metrics,
            clock=self.desk.clock,
            monotonic=self.desk.monotonic,
        )

    def fails(self, service: str, later: timedelta = timedelta(seconds=1)) -> None:
        self.desk.now += later
        self.desk.fatal(service, service=service)
        self.desk.dremio.publish(self.desk.now)
        self.crew.plan(0.0)
        # Twice: what one of them ends with, the others tell.
        for sender in [*self.crew.senders.values()] * 2:
            while sender.step() == 0.0:
                pass


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    yield opened
    opened.desk.close()


def test_a_dead_message_is_told_by_another_way_once_an_hour_until_its_place_takes_messages(office: Office) -> None:
    office.email.always = Dead("550 5.1.1 no such user.")
    for service in ("payments", "cart", "stock"):
        office.fails(service)
    [told] = [note for note in office.slack.posts if "FATAL in" not in note.title]
    assert (told.status, told.title) == ("FIRING", "A message was given up")
    assert told.body == (
        "email ops@shop.net is not told of fatal_error in payments, and will not be: it is refused. "
        "550 5.1.1 no such user."
    )
    office.slack.posts.clear()
    office.fails("mail", timedelta(hours=2))
    assert [note.title for note in office.slack.posts] == ["FATAL in mail"]
    office.email.always = None
    office.slack.posts.clear()
    office.fails("search")
    assert sorted(note.title for note in office.slack.posts) == ["FATAL in search", "Messages are taken again"]
    # And so on, but not at once.
    office.email.always = Dead("550 5.1.1 no such user.")
    office.slack.posts.clear()
    office.fails("billing")
    assert [note.title for note in office.slack.posts] == ["FATAL in billing", "A message was given up"]


def test_where_no_way_takes_anything_a_dead_message_does_not_go_round(office: Office) -> None:
    office.email.always = office.slack.always = Dead("no form of it is taken")
    for service in ("payments", "cart", "stock"):
        office.fails(service)
    fired = office.desk.count("own_alerts_total", rule="tillwatch_given_up", status="FIRING")
    # Of each place the other is to hear once.
    assert fired == 2


def test_what_a_thread_says_and_what_people_do_is_counted(tmp_path: Path) -> None:
    desk = an_outage(tmp_path / "desk")
    for kind in MessageKind:
        planned, sent = desk.count("planned_total", kind=kind), desk.count("sent_total", channel="slack", kind=kind)
        dropped = desk.count("muted_total", reason="told_by_end") if kind is MessageKind.MORE else 0
        assert planned == sent + dropped > dropped, kind
    for action in set(Action) - {Action.MARKED, Action.RETRIED}:
        assert desk.count("actions_total", action=action, via="console") == 1, action
    # Only names that the notifier gives are labels: who makes tokens makes no series.
    assert desk.count("actions_total", action="marked", via="other") == 1
    assert desk.count("escalations_total") >= 1
    desk.close()


def test_letting_go_of_what_nobody_has_is_no_action(tmp_path: Path) -> None:
    desk = a_desk(tmp_path / "desk", Friend())
    duties = Duties(desk.ledger, desk.planner._router, desk.planner.surroundings, desk.clock)
    people = People(desk.ledger, duties, timedelta(minutes=5), lambda _: None, desk.clock)
    desk.fatal("inc-1")
    desk.publish()
    people.let_go("inc-1", Doer("ada", "slack"))
    assert desk.count("actions_total", action="unacknowledged", via="slack") == 0
    people.take("inc-1", Doer("ada", "slack"), None, "")
    desk.now += timedelta(minutes=6)
    duties.tick()
    assert desk.count("lapses_total") == 1
    desk.close()


def test_a_storm_is_one_digest_begun(tmp_path: Path) -> None:
    desk = a_desk(tmp_path / "desk", Friend(manner=EVERYTHING))
    desk.ledger.storm_after = 2
    for number in range(20):
        desk.fatal(f"inc-{number}", service=f"service-{number}", rule=f"rule-{number % 3}")
    desk.publish()
    desk.run(timedelta(minutes=1))
    assert desk.count("digests_total", channel="slack") == 1
    desk.close()


def test_a_clean_turn_has_nothing_new_to_tell() -> None:
    assert in_words([]) == "nothing new to tell"


@pytest.mark.parametrize(("well", "result", "holds"), [(True, "done", 1), (False, "refused", 0)])
def test_a_reload_is_counted_and_its_hash_is_a_number_that_changes(
    tmp_path: Path, well: bool, result: str, holds: int
) -> None:
    desk = a_desk(tmp_path / "desk", Friend())
    assert desk.count("reload_well") == 1
    desk.metrics.reloaded(well)
    assert desk.count("reloads_total", result=result) == 1
    assert desk.count("reload_well") == holds
    assert desk.count("config_hash") == 0
    desk.metrics.set_config("00000000000a" + "f" * 52)
    assert desk.count("config_hash") == 10
    assert desk.count("config_info", hash="00000000000a" + "f" * 52) == 1
    desk.close()


def test_given_up_after_a_look_in_vain_is_dead_too(tmp_path: Path) -> None:
    desk = a_desk(tmp_path / "desk", Friend(always=Unknown("lost")))
    desk.sender = desk.a_sender(Waits(give_up=timedelta(minutes=5)))
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(minutes=10))
    assert desk.count("dead_total", channel="slack", reason="gave_up") == 1
    desk.close()
