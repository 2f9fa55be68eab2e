"""What the notifier does with alerts: planned, gathered, sent, settled. In process; the test turns the clock."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.dremio.errors import Unavailable
from lakehouse.roster import Roster
from lakehouse.user_error import UserError
from notifier.attempts import Waits
from notifier.channel import Absent, Channel, Dead, Finding, Outcome, Retry, Sent, Sought, Unknown, Unreadable
from notifier.channels.email import subject_of
from notifier.clock import to_ms
from notifier.config import Config
from notifier.health import Health
from notifier.last_look import LastLook
from notifier.ledger.file import HEAD
from notifier.ledger.ledger import Ledger
from notifier.ledger.rows import Delivery
from notifier.ledger.views import ThreadView
from notifier.ledger.waiting import WaitingBook
from notifier.manner import Manner
from notifier.metrics import Metrics
from notifier.model import (
    NOBODY,
    AlertRow,
    AlertSource,
    DeliveryState,
    Incident,
    MessageKind,
    Muted,
    Target,
    Thread,
    ThreadKind,
    delivery_key,
)
from notifier.planner import Planner
from notifier.planning.order import is_old
from notifier.redact import Redact
from notifier.render import BODY_LIMIT, Notification, Style, as_html, as_text, notification
from notifier.routing.decide import Router
from notifier.routing.tree import Routing
from notifier.sender import Sender
from notifier.settings import NotifierSettings
from notifier.slack_dress import blocks_of, text_of, title_of
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
SLACK = Target("slack", "C0OPS")
STYLE = Style("http://localhost:5006/app", ZoneInfo("UTC"))


@dataclass
class Friend:
    """A channel that answers as it is told to; `posts` is what it took."""

    name: str = "slack"
    destinations: tuple[str, ...] = ("C0OPS",)
    settle_s: float = 20.0
    per_s: float | None = None
    answers: list[Outcome] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    manner: Manner = field(default_factory=Manner)
    posts: list[Notification] = field(default_factory=list)
    attempts: int = 0
    always: Outcome | None = None

    def send(self, destination: str, note: Notification) -> Outcome:
        self.attempts += 1
        answer = self.always or (self.answers.pop(0) if self.answers else Sent(f"ts-{len(self.posts) + 1}"))
        if isinstance(answer, Sent):
            self.posts.append(note)
        return answer

    def find(self, destination: str, sought: Sought) -> Finding:
        return self.findings.pop(0) if self.findings else Absent()

    def check(self) -> str | None:
        return None


def fatal_to(destinations: dict[str, tuple[str, ...]]) -> Router:
    """FATAL to all of these, at once."""
    content = {"routes": [{"name": "all", "when": ["severity = FATAL"], "to": list(destinations)}]}
    return Router(Routing.model_validate(content), destinations)


def a_config(channels: Sequence[Channel], routing: Routing, **settings: Any) -> Config:
    """As load_config makes one of files."""
    return Config(NotifierSettings.load(**settings), tuple(channels), routing, Roster(), timedelta(hours=1))


class Desk:
    """A shop's alerts, a ledger and one channel; `run` lets time pass until everything due is done."""

    def __init__(
        self,
        path: Path,
        channel: Friend,
        *,
        routed: bool = True,
        router: Router | None = None,
        redact: Redact = str,
        now: datetime = NOON,
    ) -> None:
        self.dremio = FakeDremio()
        self.channel = channel
        self.now = now
        self.ledger = Ledger(path / "ledger.db", self.clock, redact)
        self.ledger.manners = {Target(channel.name, place): channel.manner for place in channel.destinations}
        self.metrics = Metrics([channel.name])
        self.ledger.count_in(self.metrics)
        self.planner = Planner(
            self.dremio,
            self.ledger,
            self.metrics,
            router or fatal_to({channel.name: channel.destinations if routed else ()}),
            max_age=timedelta(hours=1),
            overlap=timedelta(minutes=1),
            sweep_every=timedelta(minutes=10),
            keep=timedelta(days=90),
            clock=self.clock,
            monotonic=self.monotonic,
        )
        self.sender = self.a_sender(Waits())

    def a_sender(self, waits: Waits) -> Sender:
        return Sender(
            self.channel,
            self.ledger,
            self.metrics,
            STYLE,
            waits,
            clock=self.clock,
            monotonic=self.monotonic,
            chance=lambda: 1.0,
            last_look=LastLook(
                self.ledger,
                WaitingBook(self.ledger.file, lambda: self.metrics),
                self.planner._router,
                self.planner.surroundings,
                self.clock,
            ),
        )

    def clock(self) -> int:
        return to_ms(self.now)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def fatal(self, incident: str, **values: Any) -> None:
        at = values.pop("at", self.now)
        self.dremio.alert(at, incident, **({"ingested_at": self.now, "received_at": self.now} | values))

    def resolved(self, incident: str) -> None:
        self.fatal(incident, status="RESOLVED")

    def publish(self) -> None:
        """Publish, look and send what is due."""
        self.dremio.publish(self.now)
        self.planner.poll()
        self.work()

    def work(self) -> None:
        while self.sender.step() == 0.0:
            pass

    def run(self, span: timedelta) -> None:
        """Let time pass, and the sender work as things come due."""
        end = self.now + span
        while True:
            wait_s = self.sender.step()
            if self.now + timedelta(seconds=wait_s) > end:
                break
            self.now += timedelta(seconds=wait_s)
        self.now = end

    def deliveries(self) -> list[Delivery]:
        return sorted(self.ledger.deliveries(), key=lambda row: (row.incident_id, row.sequence))

    def count(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"tillwatch_notifier_{metric}", labels) or 0.0

    def close(self) -> None:
        self.ledger.close()
        self.dremio.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


def test_an_incidents_first_fatal_goes_at_once(desk: Desk) -> None:
    desk.fatal("inc-1", description="Fatal error in service: payments - no answer")
    desk.publish()
    (post,) = desk.channel.posts
    assert post.title == "FATAL in payments"
    assert "no answer" in post.body
    assert "since 2026-03-02 12:00:00 UTC" in post.facts
    assert post.console_url == (
        "http://localhost:5006/app?tab=alerts&incident=inc-1"
        "&from=2026-03-02T11%3A30%3A00Z&to=2026-03-02T12%3A05%3A00Z&at=2026-03-02T12%3A00%3A00Z"
    )


def test_later_fatals_of_an_incident_are_one_message_a_minute_in_its_thread(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    for second in range(150):
        desk.fatal("inc-1", description=f"number {second}")
        desk.publish()
        desk.run(timedelta(seconds=1))
    desk.run(timedelta(minutes=2))
    first, *later = desk.channel.posts
    assert len(later) == 3
    assert [post.root for post in later] == ["ts-1"] * 3
    assert sum(int(post.title.split()[0]) for post in later) == 150
    assert later[-1].body == "number 149"
    assert "151 alerts so far" in later[-1].facts
    assert first.root is None


def test_a_resolved_row_closes_the_thread_once(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(minutes=6)
    desk.resolved("inc-1")
    desk.publish()
    desk.resolved("inc-1")
    desk.publish()
    assert [post.title for post in desk.channel.posts] == ["FATAL in payments", "Resolved: FATAL in payments"]
    assert desk.channel.posts[1].root == "ts-1"
    assert desk.channel.posts[1].facts[2] == "1 alert in all"


def test_a_resolved_row_of_an_incident_nobody_was_told_of_is_not_sent(desk: Desk) -> None:
    desk.resolved("inc-quiet")
    desk.fatal("inc-dead")
    desk.channel.answers = [Dead("Slack refuses: channel_not_found.")]
    desk.publish()
    desk.resolved("inc-dead")
    desk.publish()
    assert desk.channel.posts == []


def test_a_resolved_row_planned_before_its_first_message_died_is_muted(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.resolved("inc-1")
    desk.channel.answers = [Dead("Slack refuses: is_archived.")]
    desk.publish()
    assert [(row.kind, row.state, row.reason) for row in desk.deliveries()] == [
        (MessageKind.FIRST, DeliveryState.DEAD, "refused"),
        (MessageKind.RESOLVED, DeliveryState.MUTED, Muted.NOT_TOLD),
    ]


def test_another_severity_tells_nobody(desk: Desk) -> None:
    desk.fatal("inc-1", severity="ERROR")
    desk.publish()
    assert desk.channel.posts == []
    assert [(row.state, row.reason) for row in desk.deliveries()] == [(DeliveryState.MUTED, Muted.NO_ROUTE)]


def test_an_old_row_is_listed_and_not_sent(desk: Desk) -> None:
    desk.fatal("inc-old", at=NOON - timedelta(minutes=61))
    desk.fatal("inc-old", at=NOON - timedelta(minutes=62))
    desk.publish()
    (row,) = desk.deliveries()
    assert (row.state, row.reason, row.alert_count) == (DeliveryState.MUTED, Muted.OLD, 2)
    assert desk.channel.posts == []
    assert desk.count("muted_total", reason="old") == 1


def test_a_row_late_because_the_pipeline_was_down_still_wakes_somebody(desk: Desk) -> None:
    desk.fatal("inc-0")
    desk.publish()
    desk.now += timedelta(hours=5)
    desk.fatal("inc-late", at=NOON, received_at=NOON)
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_an_empty_ledger_mutes_what_was_published_over_an_hour_ago(desk: Desk) -> None:
    for hours in (50, 3, 0):
        past = NOON - timedelta(hours=hours)
        desk.fatal(f"inc-{hours}", at=past, ingested_at=past, received_at=past)
    desk.publish()
    assert {row.incident_id: row.state for row in desk.deliveries()} == {
        "inc-50": DeliveryState.MUTED,
        "inc-3": DeliveryState.MUTED,
        "inc-0": DeliveryState.SENT,
    }


def test_the_hour_counts_back_from_the_data_and_not_from_its_newest_alert(desk: Desk) -> None:
    desk.dremio.order(NOON)
    past = NOON - timedelta(days=3)
    desk.fatal("inc-1", at=past, ingested_at=past, received_at=past)
    desk.publish()
    assert [row.state for row in desk.deliveries()] == [DeliveryState.MUTED]


def test_an_incident_begun_before_the_first_start_is_told_with_its_first_unmuted_row(desk: Desk) -> None:
    past = NOON - timedelta(hours=2)
    desk.fatal("inc-1", at=past, ingested_at=past, received_at=past)
    desk.fatal("inc-1")
    desk.publish()
    assert [post.title for post in desk.channel.posts] == ["FATAL in payments"]


def test_without_a_channel_alerts_are_listed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Friend(), routed=False)
    desk.fatal("inc-1")
    desk.publish()
    (row,) = desk.deliveries()
    assert (row.channel, row.state, row.reason) == (NOBODY.channel, DeliveryState.MUTED, Muted.NO_CHANNEL)
    desk.close()


def test_the_same_rows_are_planned_once_whatever_is_read_again(desk: Desk) -> None:
    desk.fatal("inc-1", alert_id="a1")
    desk.fatal("inc-1", alert_id="a1")
    desk.publish()
    for _ in range(3):
        desk.publish()
    assert len(desk.deliveries()) == 1
    assert desk.deliveries()[0].alert_count == 1


def test_a_row_published_late_within_the_overlap_is_not_missed(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-2", ingested_at=NOON - timedelta(seconds=30))
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_a_sweep_finds_what_the_overlap_does_not_reach(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(minutes=11)
    desk.fatal("inc-2", ingested_at=NOON - timedelta(minutes=40), received_at=NOON)
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_a_head_that_did_not_move_costs_one_question(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.dremio.asked.clear()
    desk.planner.poll()
    assert desk.dremio.asked == ["head"]


def test_nothing_is_missed_while_nobody_answers(desk: Desk) -> None:
    desk.dremio.down = True
    desk.fatal("inc-1")
    with pytest.raises(Unavailable):
        desk.publish()
    desk.dremio.down = False
    desk.publish()
    assert len(desk.channel.posts) == 1


def test_a_storm_is_one_message_at_once_and_one_more_with_the_count(desk: Desk) -> None:
    desk.dremio._connection.execute(
        """INSERT INTO alerts (alert_id, alert_type, description, alert_timestamp, status, incident_id, starts_at, rule,
           severity, service_name, received_at, ingested_at)
           SELECT 'a' || i, 'FATAL_ERROR', 'number ' || i, t, 'FIRING', 'storm', t, 'fatal_error', 'FATAL', 'payments',
                  t, t
           FROM range(10000) AS r(i), (SELECT TIMESTAMP '2026-03-02 12:00:00' AS t)"""
    )
    desk.publish()
    assert desk.channel.attempts == 1
    desk.run(timedelta(minutes=5))
    assert [post.title for post in desk.channel.posts] == ["FATAL in payments", "9999 more FATAL in payments"]
    assert "10,000 alerts so far" in desk.channel.posts[1].facts


def test_many_incidents_at_once_respect_the_rate(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Friend(per_s=1.0))
    for number in range(100):
        desk.fatal(f"inc-{number}")
    desk.publish()
    desk.run(timedelta(seconds=55))
    assert 55 <= len(desk.channel.posts) <= 62
    desk.run(timedelta(seconds=60))
    assert len(desk.channel.posts) == 100
    desk.close()


def test_a_channel_that_limits_the_rate_is_left_alone_and_loses_nothing(desk: Desk) -> None:
    desk.channel.answers = [Retry("Slack limits the rate: ratelimited.", after_s=30.0)]
    desk.fatal("inc-1")
    desk.fatal("inc-2")
    desk.publish()
    desk.run(timedelta(seconds=29))
    assert desk.channel.attempts == 1
    desk.run(timedelta(seconds=2))
    assert len(desk.channel.posts) == 2


def test_what_a_limit_put_off_keeps_its_turn_before_what_came_later(desk: Desk) -> None:
    desk.channel.answers = [Retry("Slack limits the rate: ratelimited.", after_s=30.0)]
    desk.fatal("inc-1", service="cart")
    desk.publish()
    desk.now += timedelta(seconds=5)
    for number in range(3):
        desk.fatal(f"inc-later-{number}", service=f"later-{number}")
    desk.publish()
    desk.run(timedelta(minutes=1))
    assert desk.channel.posts[0].group == "service_name=cart"
    assert len(desk.channel.posts) == 4


@pytest.mark.parametrize(
    ("case", "answer", "first_wait_s", "state_then"),
    [
        ("refused for now: a second, then doubled", Retry("connection refused"), 1, DeliveryState.RETRY),
        ("unknown: the settle delay", Unknown("answer lost"), 20, DeliveryState.UNKNOWN),
    ],
)
def test_what_fails_waits(desk: Desk, case: str, answer: Outcome, first_wait_s: int, state_then: DeliveryState) -> None:
    desk.channel.answers = [answer]
    desk.fatal("inc-1")
    desk.publish()
    (row,) = desk.deliveries()
    assert row.state is state_then, case
    assert row.not_before_ms - to_ms(NOON) == first_wait_s * 1000, case
    desk.run(timedelta(seconds=first_wait_s))
    assert len(desk.channel.posts) == 1, case


def test_a_channel_that_was_down_for_long_gets_everything_afterwards(desk: Desk) -> None:
    desk.channel.answers = [Retry("connection refused")] * 200
    for number in range(3):
        desk.fatal(f"inc-{number}", service=f"service-{number}")
        desk.fatal(f"inc-{number}", service=f"service-{number}")
    desk.publish()
    desk.run(timedelta(minutes=30))
    desk.channel.answers.clear()
    desk.run(timedelta(minutes=3))
    assert sorted(post.title for post in desk.channel.posts) == sorted(
        title
        for number in range(3)
        for title in (f"FATAL in service-{number} (late: 30 min)", f"1 more FATAL in service-{number}")
    )


def test_what_fails_until_give_up_is_dead_and_counted(desk: Desk) -> None:
    desk.sender = desk.a_sender(Waits(give_up=timedelta(minutes=30)))
    desk.channel.answers = [Retry("connection refused")] * 5000
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(minutes=33))
    assert [(row.state, row.reason) for row in desk.deliveries()] == [(DeliveryState.DEAD, "gave_up")]
    assert desk.count("dead_total", channel="slack", reason="gave_up") == 1
    # Nothing is sent there any more that could tell that it is mended: the check tells.
    desk.now += timedelta(minutes=1)
    desk.sender.access.check()
    assert (desk.sender.access.error, desk.sender.access.trouble) == (None, None)


def test_what_somebody_can_mend_goes_out_once_it_is_mended(desk: Desk) -> None:
    desk.channel.answers = [Retry("Slack refuses: not_in_channel.")] * 12
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(minutes=5))
    assert desk.sender.access.error == "Slack refuses: not_in_channel."
    desk.run(timedelta(minutes=5))
    assert len(desk.channel.posts) == 1
    assert desk.sender.access.failing == {}


def test_a_check_that_lets_us_in_does_not_hide_a_destination_that_fails(desk: Desk) -> None:
    desk.channel.answers = [Retry("Slack refuses: not_in_channel.")]
    desk.fatal("inc-1")
    desk.publish()
    desk.sender.access.check()
    assert desk.sender.access.error == "Slack refuses: not_in_channel."


def test_a_check_that_breaks_does_not_keep_from_sending(desk: Desk) -> None:
    class Broken(Friend):
        def check(self) -> str | None:
            raise UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range(128)")

    desk.sender.channel = channel = Broken()
    desk.fatal("inc-1")
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    thread = threading.Thread(target=desk.sender.run)
    thread.start()
    wait_for(lambda: channel.posts)
    desk.sender.stop()
    thread.join()


def test_a_token_that_is_revoked_in_a_quiet_hour_is_noticed_and_so_is_its_mending(desk: Desk) -> None:
    class Guarded(Friend):
        closed: str | None = None
        asked = 0

        def check(self) -> str | None:
            self.asked += 1
            return self.closed

    channel = desk.channel = Guarded()
    desk.sender = desk.a_sender(Waits())
    thread = threading.Thread(target=desk.sender.run, daemon=True)
    thread.start()
    wait_for(lambda: desk.sender.access.error is None)
    channel.closed = "Slack does not let us in: token_revoked."
    desk.now += timedelta(minutes=3)
    desk.sender.access.check(idle=True)
    assert channel.asked == 1
    # Nothing is sent meanwhile.
    for closed, span in ((channel.closed, timedelta(minutes=4)), (None, timedelta(seconds=6))):
        channel.closed = closed
        desk.now += span
        desk.sender.wake()
        wait_for(lambda closed=closed: desk.sender.access.error == closed)  # type: ignore[misc]
    desk.sender.stop()
    thread.join(10)


def test_an_alert_that_cannot_be_read_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_alert_id: str) -> AlertRow:
        raise RuntimeError("disk I/O error")

    desk.fatal("inc-1")
    with monkeypatch.context() as broken:
        broken.setattr(desk.ledger, "view", unreadable)
        desk.publish()
        assert [row.state for row in desk.deliveries()] == [DeliveryState.RETRY]
    desk.run(timedelta(seconds=5))
    assert [row.state for row in desk.deliveries()] == [DeliveryState.SENT]


def test_the_other_channels_message_says_which_one_fails(desk: Desk) -> None:
    desk.sender._failing_others = lambda: ["Not told on email: Mail server refuses the login: 535 wrong."]
    desk.fatal("inc-1")
    desk.publish()
    (note,) = desk.channel.posts
    for shown in (text_of(note), str(blocks_of(note)), as_text(note), as_html(note)):
        assert "Not told on email: Mail server refuses the login: 535 wrong." in shown


def test_a_dead_first_message_does_not_silence_the_incident(desk: Desk) -> None:
    desk.channel.answers = [Dead("Slack refuses: not_in_channel.")]
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-1")
    desk.publish()
    assert [post.title for post in desk.channel.posts] == ["FATAL in payments"]


def test_an_unknown_outcome_found_in_the_history_is_sent_and_not_repeated(desk: Desk) -> None:
    desk.channel.answers = [Unknown("answer lost")]
    desk.channel.findings = [Sent("ts-found")]
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(seconds=21))
    (row,) = desk.deliveries()
    assert (row.state, row.receipt, desk.channel.attempts) == (DeliveryState.SENT, "ts-found", 1)


def test_an_unknown_outcome_absent_from_the_history_is_sent_again_and_counted(desk: Desk) -> None:
    desk.channel.answers = [Unknown("answer lost")]
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(seconds=21))
    assert len(desk.channel.posts) == 1
    assert not desk.channel.posts[0].possible_repeat
    assert desk.count("resent_unconfirmed_total", channel="slack") == 1


def test_a_history_unreadable_for_two_minutes_means_a_marked_repeat(desk: Desk) -> None:
    desk.channel.answers = [Unknown("answer lost")]
    desk.channel.findings = [Unreadable("missing_scope")] * 100
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(seconds=125))
    assert desk.channel.posts == []
    desk.run(timedelta(seconds=30))
    assert [post.possible_repeat for post in desk.channel.posts] == [True]
    assert text_of(desk.channel.posts[0]).startswith("FATAL in payments (late: 2 min) (possible repeat)")


@pytest.mark.parametrize("kind", [MessageKind.FIRST, MessageKind.RESOLVED])
def test_an_unknown_outcome_is_looked_up_before_anything_new_is_sent(tmp_path: Path, kind: MessageKind) -> None:
    class Noting(Friend):
        def find(self, destination: str, sought: Sought) -> Finding:
            done.append("looked up")
            return Sent("ts-found")

        def send(self, destination: str, note: Notification) -> Outcome:
            done.append(note.title)
            return super().send(destination, note)

    done: list[str] = []
    channel = Noting(answers=[Unknown("no answer")])
    desk = Desk(tmp_path, channel)
    if kind is MessageKind.RESOLVED:
        channel.answers.insert(0, Sent("ts-1"))
        desk.fatal("inc-1")
        desk.publish()
        desk.resolved("inc-1")
    else:
        desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(seconds=30)
    done.clear()
    for service in ("cart", "stock"):
        desk.fatal(service, service=service)
    desk.publish()
    assert (done[0], sorted(done[1:])) == ("looked up", ["FATAL in cart", "FATAL in stock"])
    desk.close()


def test_the_thread_waits_for_a_first_message_whose_outcome_is_unknown(desk: Desk) -> None:
    desk.channel.answers = [Unknown("answer lost")]
    desk.channel.findings = [Sent("ts-found")]
    desk.fatal("inc-1")
    desk.publish()
    desk.resolved("inc-1")
    desk.publish()
    assert desk.channel.posts == []
    desk.run(timedelta(seconds=21))
    assert [post.root for post in desk.channel.posts] == ["ts-found"]


def test_a_clock_set_back_by_an_hour_delays_nothing(desk: Desk) -> None:
    desk.channel.answers = [Retry("connection refused")]
    desk.fatal("inc-1")
    desk.publish()
    desk.now -= timedelta(hours=1)
    desk.work()
    assert len(desk.channel.posts) == 1


def test_a_channel_that_raises_leaves_an_unknown_outcome_and_the_next_goes_out(desk: Desk) -> None:
    class Broken(Friend):
        def send(self, destination: str, note: Notification) -> Outcome:
            if not self.attempts:
                self.attempts += 1
                raise RuntimeError("a bug")
            return super().send(destination, note)

    desk.sender.channel = Broken()
    desk.fatal("inc-1")
    desk.fatal("inc-2", service="cart")
    desk.publish()
    assert sorted(row.state for row in desk.deliveries()) == [DeliveryState.SENT, DeliveryState.UNKNOWN]


def test_what_was_in_hand_at_a_stop_becomes_unknown(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    (row,) = desk.deliveries()
    desk.ledger.outbox.begin(row.delivery_key, desk.clock())
    assert desk.ledger.outbox.interrupt("ended", desk.clock(), 20_000) == 1
    assert desk.deliveries()[0].state is DeliveryState.UNKNOWN


def test_planning_is_all_or_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fatal("inc-1")
    desk.publish()
    before = desk.ledger.cursor()
    desk.now += timedelta(seconds=5)
    desk.fatal("inc-2", service="cart")
    monkeypatch.setattr("notifier.ledger.boards.planned_row", lambda draft, now_ms: {"delivery_key": None})
    with pytest.raises(Exception, match="NOT NULL"):
        desk.publish()
    assert desk.ledger.cursor() == before
    monkeypatch.undo()
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_the_ledger_forgets_what_is_old_and_nothing_open(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(days=91)
    desk.channel.answers = [Retry("down")] * 10
    desk.fatal("inc-2")
    desk.publish()
    desk.ledger.prune(desk.clock() - 90 * 86_400_000)
    assert [row.incident_id for row in desk.deliveries()] == ["inc-2"]


def test_a_ledger_in_use_is_refused_with_a_sentence(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="held by another notifier"):
        Ledger(tmp_path / "ledger.db")


def test_a_ledger_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    with ledger._write() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    ledger.close()
    with pytest.raises(UserError, match="another version of tillwatch"):
        Ledger(tmp_path / "ledger.db")


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    files = sorted(Path("notifier/migrations/versions").glob("[0-9]*.py"))
    assert files[-1].name.startswith(f"{HEAD}_")


def test_a_delivery_key_is_the_same_on_every_machine_and_differs_in_each_part() -> None:
    keys = {
        delivery_key(target, incident, kind, sequence)
        for target in (SLACK, Target("email", "C0OPS"), Target("slack", "C0DEV"))
        for incident in ("a", "b")
        for kind in MessageKind
        for sequence in (1, 2)
    }
    assert len(keys) == 12 * len(MessageKind)
    assert delivery_key(SLACK, "a", MessageKind.FIRST, 1).startswith("d34d08f6537e")


@pytest.mark.parametrize(
    ("case", "age", "ingested_ago", "old"),
    [
        ("just now", timedelta(0), timedelta(0), False),
        ("an hour old to the second", timedelta(hours=1), timedelta(0), False),
        ("a second more", timedelta(hours=1, seconds=1), timedelta(0), True),
        ("published before the first start's hour", timedelta(0), timedelta(hours=2), True),
    ],
)
def test_which_alert_is_news_of_the_past(case: str, age: timedelta, ingested_ago: timedelta, old: bool) -> None:
    alert = an_alert(alert_timestamp=NOON - age, received_at=NOON, ingested_at=NOON - ingested_ago)
    assert is_old(alert, timedelta(hours=1), NOON - timedelta(hours=1)) is old, case


def an_alert(**values: Any) -> AlertRow:
    defaults: dict[str, Any] = {
        "alert_id": "a1",
        "incident_id": "inc-1",
        "alert_type": "FATAL_ERROR",
        "rule": "fatal_error",
        "severity": "FATAL",
        "status": "FIRING",
        "description": "Fatal error in service: payments - no answer",
        "alert_timestamp": NOON,
        "received_at": NOON,
        "ingested_at": NOON,
        "starts_at": NOON,
        "commit": "8841ab12cd34" + "0" * 52,
        "service_name": "payments",
    }
    return AlertRow(**(defaults | values))


def a_thread(alert: AlertRow, **values: Any) -> ThreadView:
    thread = Thread("t" * 64, SLACK, "g", ThreadKind.GROUP, "f", alert.severity, to_ms(NOON))
    incident = Incident(
        alert.incident_id,
        alert.rule,
        alert.severity,
        alert.service_name,
        None,
        AlertSource.TABLE,
        to_ms(NOON),
        to_ms(NOON),
        alert.alert_id,
        1,
    )
    defaults: dict[str, Any] = {"incidents": [incident], "open": 1, "alerts": 1, "starts_ms": to_ms(NOON)}
    return ThreadView(thread, **(defaults | {"severity": alert.severity} | values))


def a_message(alert: AlertRow, style: Style = STYLE, **values: Any) -> Notification:
    delivery = Delivery(
        "k" * 64,
        "slack",
        "C0OPS",
        alert.incident_id,
        "t" * 64,
        MessageKind.FIRST,
        1,
        DeliveryState.SENDING,
        None,
        None,
        None,
        alert.alert_id,
        1,
        to_ms(NOON),
        to_ms(NOON),
        1,
        None,
        None,
        None,
        False,
        False,
        None,
        None,
        None,
        to_ms(NOON),
        None,
    )
    return notification(replace(delivery, **values), alert, a_thread(alert), style, to_ms(NOON))


def test_a_message_says_service_text_time_commit_console_and_runbook() -> None:
    text = text_of(a_message(an_alert(runbook_url="https://wiki.example/payments?a=1&b=2")))
    assert text == (
        "FATAL in payments\n"
        "Fatal error in service: payments - no answer\n"
        "since 2026-03-02 12:00:00 UTC · 1 alert so far · commit 8841ab12cd34\n".replace(":00:", ":\u200b00:")
        + "Open in the console: http://localhost:5006/app?tab=alerts&amp;incident=inc-1&amp;"
        "from=2026-03-02T11%3A30%3A00Z&amp;to=2026-03-02T12%3A05%3A00Z&amp;at=2026-03-02T12%3A00%3A00Z\n"
        "Runbook: https://wiki.example/payments?a=1&amp;b=2"
    )


def test_times_are_told_in_the_zone_of_the_settings() -> None:
    style = Style("http://c/app", ZoneInfo("Europe/Berlin"))
    assert "since 2026-03-02 13:00:00 CET" in a_message(an_alert(), style=style).facts


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=6000), service=st.text(min_size=1, max_size=300), url=st.text(max_size=50))
def test_no_data_breaks_a_message_or_calls_people(text: str, service: str, url: str) -> None:
    evil = text + "<!channel> @channel @Here & <script>" + text
    note = a_message(an_alert(description=evil, service_name=service, incident_id=url or "x", runbook_url=url))
    plain, blocks = text_of(note), blocks_of(note)
    assert len(plain) <= 4000
    assert len(note.body) <= BODY_LIMIT
    assert "<!" not in plain
    assert "@channel" not in plain.lower()
    assert "@here" not in plain.lower()
    sections = [section for block in (title_of(note), *blocks) for section in block["elements"]]
    elements = [element for section in sections for element in section["elements"]]
    assert {element["type"] for element in elements} == {"text", "link", "date"}
    shown = [element.get("text") or element["fallback"] for element in elements]
    assert all(shown)
    assert max(map(len, shown)) <= 3000
    subject, html = subject_of(note), as_html(note)
    assert "\n" not in subject
    assert "<script" not in html


def test_random_weather_loses_nothing_and_repeats_nothing_silently(tmp_path: Path) -> None:
    """200 incidents through a channel that fails in every way: each is there, and once, but for marked repeats."""
    chance = random.Random(7)
    taken: dict[str, int] = {}

    class Weather(Friend):
        def send(self, destination: str, note: Notification) -> Outcome:
            kind = chance.random()
            if kind < 0.1:
                return Retry("refused")
            if kind < 0.15:
                return Retry("limited", after_s=2.0)
            if kind < 0.25:
                return Unknown("lost before it was taken")
            taken[note.delivery_key] = taken.get(note.delivery_key, 0) + 1
            return Unknown("lost after it was taken") if kind < 0.4 else Sent(note.delivery_key)

        def find(self, destination: str, sought: Sought) -> Finding:
            if chance.random() < 0.3:
                return Unreadable("hiccup")
            return Sent(sought.delivery_key) if sought.delivery_key in taken else Absent()

    desk = Desk(tmp_path, Weather())
    for number in range(200):
        desk.fatal(f"inc-{number}")
    desk.publish()
    desk.run(timedelta(hours=1))
    assert {row.state for row in desk.deliveries()} == {DeliveryState.SENT}
    assert len(taken) == 200
    assert max(taken.values()) == 1
    desk.close()


@pytest.mark.parametrize(
    ("case", "in_a_look", "seconds", "well"),
    [
        ("between two looks", False, 1.5, True),
        ("the timer waits, its clock was set back", False, 5.0, False),
        ("a look takes long", True, 50.0, True),
        ("a look hangs", True, 61.0, False),
    ],
)
def test_health_is_judged_by_looks_that_end(case: str, in_a_look: bool, seconds: float, well: bool) -> None:
    now = 100.0
    health = Health(1.0, monotonic=lambda: now)
    health.ended(None)
    if in_a_look:
        health.began()
    now += seconds
    assert (health.stalled_s() == 0) is well, case


def test_every_metric_stands_at_zero_from_the_start(desk: Desk) -> None:
    for outcome in ("sent", "retry", "unknown", "dead"):
        assert (
            desk.metrics.registry.get_sample_value(
                "tillwatch_notifier_attempts_total", {"channel": "slack", "outcome": outcome}
            )
            == 0.0
        )
    for reason in Muted:
        assert desk.metrics.registry.get_sample_value("tillwatch_notifier_muted_total", {"reason": reason}) == 0.0


def test_what_was_not_tried_yet_goes_before_what_failed_often(tmp_path: Path) -> None:
    channel = Friend(answers=[Retry("550 no such user")] * 5)
    desk = Desk(tmp_path, channel)
    for number in range(5):
        desk.fatal(f"bad-{number}", service=f"bad-{number}")
    desk.publish()
    desk.now += timedelta(minutes=5)
    # Of those that failed one may have its turn first.
    channel.answers = [Retry("550 no such user"), Sent("ts-1")]
    desk.fatal("good", service="good")
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    desk.sender.step()
    desk.sender.step()
    assert [row.incident_id for row in desk.deliveries() if row.state is DeliveryState.SENT] == ["good"]
    desk.close()


def test_a_channel_that_does_not_let_us_in_is_told_by_the_other_from_the_first_alert_on(tmp_path: Path) -> None:
    class Closed(Friend):
        def check(self) -> str | None:
            return "Slack refuses the token."

    desk = Desk(tmp_path, Closed())
    desk.sender.access.check()
    assert desk.sender.access.trouble == "Slack refuses the token."
    desk.close()
