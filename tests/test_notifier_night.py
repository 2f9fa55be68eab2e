"""A whole night on a fake clock: what each place gets, message by message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from lakehouse.dremio.errors import DremioError
from lakehouse.roster import NOBODY, Person, Role, Roster
from notifier.channel import Broken, Channel, Outcome, Sent
from notifier.channels.email import Email
from notifier.clock import to_ms
from notifier.crew import Crew
from notifier.freshness import Freshness
from notifier.ledger.ledger import Ledger
from notifier.manner import TELLS, Manner
from notifier.metrics import Metrics
from notifier.model import MessageKind
from notifier.people import Doer
from notifier.render import Notification
from notifier.routing.matchers import parse_matcher
from notifier.routing.tree import Routing
from tests.fake_dremio import FakeDremio
from tests.test_notifier import Friend, a_config

BERLIN = ZoneInfo("Europe/Berlin")
MIDNIGHT = datetime(2026, 10, 25, tzinfo=BERLIN)
"""Of the night in which clocks go back from 03:00 to 02:00."""
ROUTES = """
routes:
  - name: fatal
    when: [severity = FATAL]
    to: ["slack:C0OPS", email]
    repeat: 2 h
    escalate: [{after: 30 min, to: ["slack:C0LEADS"]}]
  - name: errors
    when: [severity = ERROR]
    to: ["slack:C0OPS"]
    wait: 30 s
    interval: 5 min
"""
ADA, BOB = Doer("ada", "console"), Doer("bob", "slack")


class Night:
    """A crew with a Slack of two conversations and a mailbox; `until` lets the night pass, data fresh or not."""

    def __init__(self, path: Path, routes: str = ROUTES, roster: Roster = NOBODY) -> None:
        self.now = MIDNIGHT
        self.fresh = True
        self.dremio = FakeDremio()
        self.sent: list[tuple[str, str, str, str]] = []
        slack = Friend("slack", ("C0OPS", "C0LEADS"), manner=Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5000))
        email = Friend("email", ("ops@shop.net",), manner=Email.manner)
        self.slack, self.email = slack, email
        channels: list[Channel] = [_Noted(self, slack), _Noted(self, email)]
        config = a_config(channels, Routing.model_validate(yaml.safe_load(routes)), timezone="Europe/Berlin")
        config = replace(config, roster=roster)
        self.ledger = Ledger(path / "ledger.db", self.clock)
        metrics = Metrics(["slack", "email"])
        self.crew = Crew(config, self.dremio, self.ledger, metrics, clock=self.clock, monotonic=self.monotonic)
        self.freshness = Freshness(self.dremio, config.settings.judge_within, self.clock, self.monotonic)

    def clock(self) -> int:
        return to_ms(self.now)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def until(self, hour: int, minute: int, second: int = 0, fold: int = 0) -> None:
        """Let time pass up to a time of the wall clock; fold 1: the second 02:30 of this night."""
        end = datetime(2026, 10, 25, hour, minute, second, tzinfo=BERLIN, fold=fold)
        busy_until = self.now.timestamp() + 7
        while self.now.timestamp() < end.timestamp():
            step = 1 if self.now.timestamp() < busy_until else 30
            left = end.timestamp() - self.now.timestamp()
            before = len(self.sent)
            self._turn(min(step, left))
            if len(self.sent) > before:
                busy_until = self.now.timestamp() + 7

    def _turn(self, seconds: float) -> None:
        self.now = datetime.fromtimestamp(self.now.timestamp() + seconds, BERLIN)
        if self.fresh:
            self.dremio.publish(self.now)
        error = None
        try:
            self.crew.plan(0.0)
        except DremioError as caught:
            error = str(caught)
        self.freshness.look(error)
        judges = self.freshness.verdict()
        if judges is not None:
            self.crew.announcer.judged(judges, self.freshness.since, self.freshness.error or "")
        self.crew.do_due()
        for sender in self.crew.senders.values():
            while sender.step() == 0.0:
                pass

    def alert(
        self, incident: str, service: str, severity: str = "FATAL", rule: str = "fatal_error", status: str = "FIRING"
    ) -> None:
        self.dremio.alert(
            self.now,
            incident,
            status,
            severity=severity,
            rule=rule,
            service=service,
            received_at=self.now,
            ingested_at=self.now,
            description=f"{rule} in {service}",
        )

    def resolved(self, incident: str, service: str, severity: str = "FATAL", rule: str = "fatal_error") -> None:
        self.alert(incident, service, severity, rule, status="RESOLVED")

    def got(self, place: str) -> list[str]:
        """What came there since the last look, a line each: time, how many alike, kind and title."""
        found = [
            (at, f"{kind}: {re.sub(r'worker-[0-9]+', 'worker-…', title)}")
            for at, where, kind, title in self.sent
            if where == place
        ]
        self.sent = [row for row in self.sent if row[1] != place]
        lines = []
        for at, together in groupby(found, key=lambda row: row[0]):
            alike = Counter(text for _, text in together)
            lines += [f"{at} {count} {text}" if count > 1 else f"{at} {text}" for text, count in sorted(alike.items())]
        return lines

    def close(self) -> None:
        self.ledger.close()
        self.dremio.close()


class _Noted:
    """A friend whose messages the night keeps, each with its time on the wall clock."""

    def __init__(self, night: Night, friend: Friend) -> None:
        self._night = night
        self._friend = friend
        self.name, self.destinations, self.manner = friend.name, friend.destinations, friend.manner
        self.settle_s, self.per_s, self.find, self.check = friend.settle_s, friend.per_s, friend.find, friend.check

    def send(self, destination: str, note: Notification) -> Outcome:
        outcome = self._friend.send(destination, note)
        if isinstance(outcome, Sent):
            self._night.sent.append((f"{self._night.now:%H:%M:%S}", destination, note.kind, note.title))
        return outcome


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    opened = Night(tmp_path)
    yield opened
    opened.close()


PEOPLE = Roster(
    tuple(Person(person=name, role=Role.VIEWER, email=f"{name}@shop.net") for name in ("ada", "bob", "eve"))
)
"""Of whom the routes below name two."""
TO_PEOPLE = """
routes:
  - {name: all, to: ["slack:C0OPS", "@ada"], escalate: [{after: 30 min, to: ["@bob"]}]}
"""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("nobody answers", "The data does not answer: Neither Dremio nor a gateway answers at grpc://localhost:1"),
        ("nothing is published", "Ingest is down, or cannot read: nothing new is published."),
    ],
)
def test_that_no_alerts_can_be_judged_is_with_everybody_in_90_s(tmp_path: Path, how: str, why: str) -> None:
    night = Night(tmp_path, TO_PEOPLE, PEOPLE)
    night.until(0, 5)
    night.fresh, night.dremio.down = False, how == "nobody answers"
    for _ in range(90):
        night._turn(1)
    for place in ("C0OPS", "C0LEADS", "ops@shop.net", "ada@shop.net", "bob@shop.net"):
        [line] = night.got(place)
        assert line.endswith("first: No alerts can be judged"), place
    assert night.got("eve@shop.net") == []
    assert night.slack.posts[-1].body.startswith(f"No alerts can be judged since 00:05. {why}")
    night.close()


@pytest.mark.timeout(600)
def test_a_whole_night(night: Night) -> None:
    # An outage that three rules see; ada takes it, and falls asleep.
    night.until(0, 10)
    night.alert("p-fatal", "payments")
    night.until(0, 12)
    night.alert("p-many", "payments", "ERROR", "many_errors")
    night.until(0, 13)
    night.alert("p-odd", "payments", "ERROR", "unusual_errors")
    night.until(0, 20)
    for incident in ("p-fatal", "p-many", "p-odd"):
        night.crew.people.take(incident, ADA, datetime(2026, 10, 25, 1, 20, tzinfo=BERLIN), "on it")
    night.until(1, 0)
    night.crew.people.silence([parse_matcher("service_name = search")], "a move", night.now + timedelta(hours=1), ADA)
    night.until(1, 30)
    night.alert("s-fatal", "search")
    night.until(2, 30)
    night.crew.people.take("p-fatal", BOB, None, "")
    night.resolved("p-many", "payments", "ERROR", "many_errors")
    night.resolved("p-odd", "payments", "ERROR", "unusual_errors")
    night.resolved("s-fatal", "search")
    night.until(2, 40)
    night.resolved("p-fatal", "payments")
    # Clocks go back: two hours after the second 02:10 is 04:10.
    night.until(2, 10, fold=1)
    night.alert("c-fatal", "checkout")
    night.until(3, 20)
    # Her hold lapses at 01:20, the leads are called half an hour later; the silence ends at 02:00; what stays open is
    # told again after two hours, however clocks are set.
    assert night.got("C0OPS") == [
        "00:10:01 first: FATAL in payments",
        "00:12:01 edit: FATAL in payments · 2 incidents",
        "00:12:01 joined: Also ERROR in payments: many_errors",
        "00:13:01 edit: FATAL in payments · 3 incidents",
        "00:13:01 joined: Also ERROR in payments: unusual_errors",
        "00:20:01 edit: FATAL in payments · 3 incidents",
        "01:20:07 edit: FATAL in payments · 3 incidents",
        "01:50:07 edit: FATAL in payments · 3 incidents",
        "02:00:14 first: FATAL in search (late: 30 min)",
        "02:13:28 reminder: Still open after 2.1 h: FATAL in payments",
        "02:30:01 cleared: Resolved: 2 incidents; 1 still open",
        "02:30:01 edit: FATAL in payments",
        "02:30:01 edit: Resolved: FATAL in search",
        "02:30:01 resolved: Resolved: FATAL in search",
        "02:40:01 edit: Resolved: FATAL in payments",
        "02:40:01 resolved: Resolved: FATAL in payments",
        "02:10:01 first: FATAL in checkout",
        "02:40:08 edit: FATAL in checkout",
    ]
    assert night.got("C0LEADS") == [
        "01:50:07 first: Nobody has taken it for 30 min: FATAL in payments",
        "02:30:01 edit: FATAL in payments",
        "02:40:01 edit: Resolved: FATAL in payments",
        "02:40:01 resolved: Resolved: FATAL in payments",
        "02:40:08 first: Nobody has taken it for 30 min: FATAL in checkout",
    ]
    assert night.got("ops@shop.net") == [
        "00:10:01 first: FATAL in payments",
        "02:00:14 first: FATAL in search (late: 30 min)",
        "02:10:21 reminder: Still open after 2.0 h: FATAL in payments",
        "02:30:01 resolved: Resolved: FATAL in search",
        "02:40:01 resolved: Resolved: FATAL in payments",
        "02:10:01 first: FATAL in checkout",
    ]
    # A wrong token for 40 minutes.
    night.slack.always = Broken("Slack refuses: invalid_auth.", whole=True)
    night.until(3, 30)
    night.alert("k-fatal", "cart")
    night.until(3, 35)
    night.alert("i-fatal", "inventory")
    night.until(3, 45)
    night.resolved("i-fatal", "inventory")
    night.until(4, 0)
    night.slack.always = None
    night.until(4, 20)
    # What cannot be told in Slack goes by mail; once it can be, what is open is told, and what ended in one message.
    assert night.got("C0OPS") == [
        "04:00:37 edit: FATAL in cart",
        "04:00:37 first: FATAL in cart (late: 31 min)",
        "04:00:37 first: What was missed here",
        "04:10:14 reminder: Still open after 2.0 h: FATAL in checkout",
    ]
    assert night.got("C0LEADS") == [
        "04:00:37 first: Nobody has taken it for 31 min: FATAL in cart",
    ]
    assert night.got("ops@shop.net") == [
        "03:30:01 first: A channel has to be mended",
        "03:30:01 first: FATAL in cart",
        "03:35:01 first: FATAL in inventory",
        "03:45:01 resolved: Resolved: FATAL in inventory",
        "04:00:37 resolved: A channel is mended",
        "04:10:14 reminder: Still open after 2.0 h: FATAL in checkout",
    ]
    # Ingest dies for 20 minutes.
    night.fresh = False
    night.until(4, 40)
    night.fresh = True
    night.resolved("c-fatal", "checkout")
    night.resolved("k-fatal", "cart")
    night.until(5, 0)
    assert night.got("C0OPS") == [
        "04:21:37 first: No alerts can be judged",
        "04:40:01 edit: Resolved: FATAL in cart",
        "04:40:01 edit: Resolved: FATAL in checkout",
        "04:40:01 resolved: Resolved: FATAL in cart",
        "04:40:01 resolved: Resolved: FATAL in checkout",
        "04:40:05 edit: Alerts are judged again",
        "04:40:05 resolved: Alerts are judged again",
    ]
    assert night.got("C0LEADS") == [
        "04:21:37 first: No alerts can be judged",
        "04:40:01 edit: Resolved: FATAL in cart",
        "04:40:01 edit: Resolved: FATAL in checkout",
        "04:40:01 resolved: Resolved: FATAL in cart",
        "04:40:01 resolved: Resolved: FATAL in checkout",
        "04:40:05 edit: Alerts are judged again",
        "04:40:05 resolved: Alerts are judged again",
    ]
    assert night.got("ops@shop.net") == [
        "04:21:37 first: No alerts can be judged",
        "04:40:01 resolved: Resolved: FATAL in cart",
        "04:40:01 resolved: Resolved: FATAL in checkout",
        "04:40:05 resolved: Alerts are judged again",
    ]
    # A storm over 200 services, and one of another kind in it.
    for number in range(200):
        night.alert(f"w-{number}", f"worker-{number}")
    night.until(5, 0, 20)
    night.alert("other", "billing", rule="dead_letters")
    night.until(5, 10)
    for number in range(200):
        night.resolved(f"w-{number}", f"worker-{number}")
    night.resolved("other", "billing", rule="dead_letters")
    night.until(5, 30)
    assert night.got("C0OPS") == [
        "05:00:01 10 first: FATAL in worker-…",
        "05:00:01 first: Storm: 190 incidents open, FATAL in 190 services",
        "05:00:21 first: FATAL in billing",
        "05:10:01 edit: Resolved: FATAL in 190 services",
        "05:10:01 edit: Resolved: FATAL in billing",
        "05:10:01 10 edit: Resolved: FATAL in worker-…",
        "05:10:01 resolved: Resolved: FATAL in 190 services",
        "05:10:01 resolved: Resolved: FATAL in billing",
        "05:10:01 10 resolved: Resolved: FATAL in worker-…",
    ]
    assert night.got("C0LEADS") == []
    assert night.got("ops@shop.net") == [
        "05:00:01 3 first: FATAL in worker-…",
        "05:00:01 first: Storm: 197 incidents open, FATAL in 197 services",
        "05:00:21 first: FATAL in billing",
        "05:05:28 more: Storm: 197 incidents open, FATAL in 197 services",
        "05:10:01 resolved: Resolved: FATAL in 197 services",
        "05:10:01 resolved: Resolved: FATAL in billing",
        "05:10:01 3 resolved: Resolved: FATAL in worker-…",
    ]
