"""Random schedules of alerts, people, faults, crashes and clocks: nothing lost, nothing doubled, all ends well."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from notifier.channel import Absent, Broken, Finding, Outcome, Retry, RootGone, Sent, Sought, Unknown, Unreadable
from notifier.channels.email import Email
from notifier.clock import to_ms
from notifier.crew import Crew
from notifier.ledger.ledger import Ledger
from notifier.manner import TELLS, Manner
from notifier.metrics import Metrics
from notifier.model import OPEN, DeliveryState, MessageKind
from notifier.people import Doer, NoIncident
from notifier.render import Notification
from notifier.routing.matchers import parse_matcher
from notifier.routing.tree import Routing
from tests.fake_dremio import FakeDremio
from tests.test_notifier import NOON, Friend, a_config

ADA = Doer("ada", "console")
WHICH = st.sampled_from(range(10))
"""Not integers(): Hypothesis takes some of those from the modules that happen to be loaded."""
SERVICES = ("cart", "search", "stock", "login", "tax")
WEATHERS = ("limited", "refusing", "shut", "lossy", "mute", "root gone", "fair")
ROUTES = """
routes:
  - name: fatal
    when: [severity = FATAL]
    to: [slack, email]
    repeat: 30 min
    escalate: [{after: 10 min, to: [slack]}]
  - {name: rest, to: [slack], wait: 20 s}
"""
EDITS = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5000)
EXAMPLES = int(os.environ.get("NIGHTS", "50"))
"""How many nights; bench/notifier_nights.py asks for more."""


@dataclass
class Fickle(Friend):
    """A channel with a memory, whose weather changes: what it took, and what stands in its roots."""

    weather: str = "fair"
    reads: bool = True
    taken: list[Notification] = field(default_factory=list)
    roots: dict[str, Notification] = field(default_factory=dict)

    def send(self, destination: str, note: Notification) -> Outcome:
        match self.weather:
            case "limited":
                self.weather = "fair"
                return Retry("limited", after_s=2.0)
            case "refusing":
                return Retry("refused")
            case "shut":
                return Broken("not_in_channel")
            case "lossy":
                self.weather = "fair"
                return Unknown("lost before it was taken")
            case "root gone" if note.root in self.roots:
                self.weather = "fair"
                del self.roots[note.root]
                return RootGone("the root is gone")
        receipt = self._take(note)
        if self.weather == "mute":
            self.weather = "fair"
            return Unknown("taken, and no answer")
        return Sent(receipt)

    def _take(self, note: Notification) -> str:
        if note.edits and note.root is not None:
            self.roots[note.root] = note
            return note.root
        self.taken.append(note)
        receipt = f"{self.name}-{len(self.taken)}"
        if note.root is None:
            self.roots[receipt] = note
        return receipt

    def find(self, destination: str, sought: Sought) -> Finding:
        if not self.reads:
            return Unreadable("the history does not answer")
        if self.name != "slack":
            return Absent()
        place = next((n for n, note in enumerate(self.taken, 1) if note.delivery_key == sought.delivery_key), None)
        return Absent() if place is None else Sent(f"{self.name}-{place}")


class Nights(RuleBasedStateMachine):
    """One night: what is drawn happens, then the weather clears, and all has to be well."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.now = NOON
        self.steady = 0.0
        self.dremio = FakeDremio()
        self.slack = Fickle("slack", ("C0OPS",), manner=EDITS)
        self.email = Fickle("email", ("ops@shop.net",), manner=Email.manner)
        self.fired: Counter[str] = Counter()
        self.open: dict[str, tuple[str, str]] = {}
        self.number = 0
        self.silent_until = NOON
        self._wake_up()

    def _wake_up(self) -> None:
        config = a_config([self.slack, self.email], Routing.model_validate(yaml.safe_load(ROUTES)), storm_after=3)
        self.ledger = Ledger(self.path / "ledger.db", self.clock)
        self.crew = Crew(
            config,
            self.dremio,
            self.ledger,
            Metrics(["slack", "email"]),
            clock=self.clock,
            monotonic=lambda: self.steady,
        )
        self.ledger.outbox.interrupt("it ended", self.clock(), 20_000)

    def clock(self) -> int:
        return to_ms(self.now)

    def teardown(self) -> None:
        try:
            self._clear_up()
        finally:
            self.ledger.close()
            self.dremio.close()
            shutil.rmtree(self.path)

    # ---- what happens

    @rule(
        service=st.sampled_from(SERVICES),
        severity=st.sampled_from(["FATAL", "ERROR"]),
    )
    def fire(self, service: str, severity: str) -> None:
        incident = next((name for name, of in self.open.items() if of == (service, severity)), None)
        if incident is None:
            self.number += 1
            incident = f"inc-{self.number}"
            self.open[incident] = (service, severity)
        self.fired[incident] += 1
        self._row(incident, "FIRING", service, severity)
        self._turn(0)

    @rule(which=WHICH)
    def resolve(self, which: int) -> None:
        if self.open:
            incident = sorted(self.open)[which % len(self.open)]
            self._row(incident, "RESOLVED", *self.open.pop(incident))
            self._turn(0)

    @rule(seconds=st.sampled_from([1, 5, 30, 90, 700]))
    def time_passes(self, seconds: int) -> None:
        for _ in range(4):
            self._turn(seconds / 4)

    @rule(
        channel=st.sampled_from(["slack", "email"]),
        weather=st.sampled_from(WEATHERS),
    )
    def weather_changes(self, channel: str, weather: str) -> None:
        (self.slack if channel == "slack" else self.email).weather = weather

    @rule(reads=st.booleans())
    def history(self, reads: bool) -> None:
        self.slack.reads = reads

    @rule(which=WHICH, back=st.booleans())
    def somebody_acts(self, which: int, back: bool) -> None:
        if self.open:
            incident = sorted(self.open)[which % len(self.open)]
            try:
                if back:
                    self.crew.people.let_go(incident, ADA)
                else:
                    self.crew.people.take(incident, ADA, None, "")
            except NoIncident:
                pass  # not heard of yet

    @rule(service=st.sampled_from(["cart", "search"]), minutes=st.sampled_from([1, 20]))
    def silence(self, service: str, minutes: int) -> None:
        until = self.now + timedelta(minutes=minutes)
        self.silent_until = max(self.silent_until, until)
        self.crew.people.silence([parse_matcher(f"service_name = {service}")], "test", until, ADA)

    @rule()
    def it_is_killed(self) -> None:
        """Whatever is in hand: a message that is marked, and whose sending never came to anything that is known."""
        for sender in self.crew.senders.values():
            due = self.ledger.outbox.due(sender.channel.name, self.clock(), 600_000)
            if due is not None and due.state in (DeliveryState.PLANNED, DeliveryState.RETRY):
                self.ledger.outbox.begin(due.delivery_key, self.clock())
        self.ledger.close()
        self._wake_up()

    @rule(hours=st.sampled_from([-1, 1]))
    def the_clock_is_set(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.ledger.shift(hours * 3_600_000)

    # ---- what has to hold

    def _clear_up(self) -> None:
        self.slack.weather = self.email.weather = "fair"
        self.slack.reads = True
        # Somebody has said until when: where clocks were set back since, that is hours away.
        while self.now <= self.silent_until:
            self._turn(600)
        for _ in range(24):
            self._turn(150)
        rows = self.ledger.deliveries(limit=10_000)
        assert not [row for row in rows if row.state in OPEN], "something is on its way for ever"
        assert not [row for row in rows if row.state is DeliveryState.DEAD], "something was given up"
        keys = Counter(note.delivery_key for note in self.slack.taken if not note.possible_repeat)
        assert max(keys.values(), default=1) == 1, "Slack got a message twice"
        for incident, (_, severity) in self.open.items():
            places = [self.slack] if severity == "ERROR" else [self.slack, self.email]
            for channel in places:
                assert self._is_told(channel, incident), f"{incident} is open, and {channel.name} was not told"
        for root in self.slack.roots.values():
            over = all(told.incident.incident_id not in self.open for told in root.told)
            assert (root.status == "RESOLVED") == (over and not root.left_out), root.title

    def _is_told(self, channel: Fickle, incident: str) -> bool:
        notes = (*channel.taken, *channel.roots.values())
        return any(told.incident.incident_id == incident for note in notes for told in note.told)

    def _row(self, incident: str, status: str, service: str, severity: str) -> None:
        self.dremio.alert(
            self.now,
            incident,
            status,
            service=service,
            severity=severity,
            rule=f"{severity.lower()}s",
            received_at=self.now,
            ingested_at=self.now,
        )

    def _turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.steady += seconds
        self.dremio.publish(self.now)
        self.crew.plan(0.0)
        self.crew.do_due()
        for sender in self.crew.senders.values():
            while sender.step() == 0.0:
                pass


Nights.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES == 50,
)
TestNights = pytest.mark.timeout(600 if EXAMPLES == 50 else 0)(Nights.TestCase)
