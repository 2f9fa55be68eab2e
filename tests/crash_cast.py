"""A notifier over one of the four channels, whose process ends at a point and begins anew, and what was got of it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from embedded.sandbox.inbox import Inbox
from notifier.channel import Channel
from notifier.channels.email import Email
from notifier.channels.pagerduty import PagerDuty
from notifier.channels.slack import Slack
from notifier.channels.webhook import Webhook
from notifier.clock import to_ms
from notifier.crew import Crew
from notifier.ledger.ledger import Ledger
from notifier.ledger.people import StoredAnswer
from notifier.metrics import Metrics
from notifier.model import OPEN, DeliveryState
from notifier.people import Doer
from notifier.reconcile import reconcile
from notifier.routing.tree import Routing
from tests.crash_points import Crash, Points, Watched
from tests.fake_dremio import FakeDremio
from tests.sandbox_cast import SandboxServer
from tests.test_notifier import NOON, a_config

ADA = Doer("ada", "console")
CHANNELS = ("slack", "email", "pagerduty", "webhook")
LEFT_S = 900.0
"""What is left over has so long after a scene."""
RESTART_S = 0.5


def routing(channel: str) -> Routing:
    steps = [{"after": after, "to": [channel]} for after in ("2 min", "4 min")]
    route = {"name": "fatal", "when": ["severity = FATAL"], "to": [channel], "interval": "10 s", "escalate": steps}
    return Routing.model_validate({"routes": [route]})


class Town:
    """What outlives a notifier: the sandbox that it tells, the table it reads, a clock, a ledger that is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOON
        self.dremio = FakeDremio()
        self.inbox = Inbox(":memory:", clock=lambda: to_ms(self.now) * 1000)
        self.sandbox = SandboxServer(self.inbox, mail=True)
        Ledger(folder / "new.db", lambda: to_ms(NOON)).close()

    def close(self) -> None:
        self.sandbox.close()
        self.inbox.close()
        self.dremio.close()

    def begin(self) -> Path:
        """As before anything happened; the ledger."""
        self.now = NOON
        self.dremio.delete("alerts", "status", ("FIRING", "RESOLVED"))
        self.dremio.commits = 0
        self.inbox.clear()
        for old in self.folder.glob("ledger.db*"):
            old.unlink()
        shutil.copy(self.folder / "new.db", self.folder / "ledger.db")
        return self.folder / "ledger.db"

    def channel(self, name: str) -> Channel:
        url = self.sandbox.url
        match name:
            case "slack":
                return Slack("xoxb-1", ("C0OPS",), base_url=f"{url}/api/", timeout_s=5.0, settle_s=1.0)
            case "email":
                port = self.sandbox.smtp_port
                assert port is not None
                return Email("127.0.0.1", port, "tillwatch@shop.example", ("ops@shop.example",), security="none")
            case "pagerduty":
                return PagerDuty({"events": "k" * 32}, url=f"{url}/v2/enqueue", timeout_s=5.0)
        return Webhook({"ops": f"{url}/hooks/ops"}, timeout_s=5.0)


class Night:
    """One run of a notifier: it ends where `points` says, and begins anew on the same ledger.

    channel: where alerts go; others: what is set up beside it.
    """

    def __init__(
        self, town: Town, channel: str, points: Points, *, storm_after: int = 0, others: Sequence[str] = ()
    ) -> None:
        self.town = town
        self.name = channel
        self.points = points
        self.steady = 0.0
        self._crew: Crew | None = None
        self._ledger: Ledger | None = None
        self._path = town.begin()
        self._acts = 0
        self._names = [channel, *others]
        self._metrics = Metrics(self._names)
        self._config = a_config((), routing(channel), storm_after=storm_after)
        self._wake_up()

    @property
    def crew(self) -> Crew:
        assert self._crew is not None
        return self._crew

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    def close(self) -> None:
        if self._crew is not None:
            self._crew.stop(0.0)
        if self._ledger is not None:
            self._ledger.close()
        self._crew = self._ledger = None

    def clock(self) -> int:
        return to_ms(self.town.now)

    def _wake_up(self) -> None:
        """As notifier.daemon starts."""
        channels = tuple(Watched(self.town.channel(name), self.points) for name in self._names)
        config = replace(self._config, channels=channels)
        self._ledger = Ledger(self._path, self.clock)
        self._crew = Crew(
            config,
            self.town.dremio,
            self.ledger,
            self._metrics,
            clock=self.clock,
            monotonic=lambda: self.steady,
        )
        self.ledger.outbox.interrupt("The notifier ended before the answer.", self.clock(), self.crew.settle_ms)
        self.ledger.outbox.drop_places(config.manners, self.clock())

    def _through[T](self, do: Callable[[], T]) -> T:
        """Do it, and again where the process ends meanwhile."""
        while True:
            try:
                if self._crew is None:
                    self._wake_up()
                return do()
            except Crash:
                self.close()
                self._pass(RESTART_S)

    def _pass(self, seconds: float) -> None:
        self.town.now += timedelta(seconds=seconds)
        self.steady += seconds

    def _look(self) -> None:
        self.crew.plan(0.0)
        self.crew.do_due()
        for sender in self.crew.senders.values():
            while sender.step() == 0.0:
                pass

    # ---- what happens

    def fires(self, incident: str, service: str, rule: str = "fatal_error", status: str = "FIRING") -> None:
        """A row of the table alerts, which is published; each is of a moment of its own."""
        dremio, now = self.town.dremio, self.town.now
        dremio.commits += 1
        at, alert_id = now + timedelta(milliseconds=dremio.commits), f"alert-{dremio.commits}"
        dremio.alert(at, incident, status, alert_id=alert_id, service=service, rule=rule, ingested_at=now)

    def ends(self, incident: str, service: str, rule: str = "fatal_error") -> None:
        self.fires(incident, service, rule, "RESOLVED")

    def ada(self, do: Callable[[Crew], object]) -> None:
        """She asks for it by the API, and, where no answer comes, again with the same Idempotency-Key."""
        self._acts += 1
        key = f"act-{self._acts}"

        def ask() -> None:
            crew = self.crew

            def act() -> StoredAnswer:
                do(crew)
                return StoredAnswer(key, 200, "")

            self.ledger.once(key, act, self.clock())

        self._through(ask)

    def until(self, second: float) -> None:
        """It does what is due until so long after noon."""
        end = NOON + timedelta(seconds=second)
        while True:
            self._through(self._look)
            due_ms = self._through(self._next_ms)
            if due_ms is None or due_ms >= to_ms(end):
                break
            self._pass((due_ms + 1 - self.clock()) / 1000)
        self._pass(max(0.0, (end - self.town.now).total_seconds()))

    def clear_up(self) -> None:
        """Time for all that is left."""
        for wait in (LEFT_S, LEFT_S / 10):
            self.until((self.town.now - NOON).total_seconds() + wait)

    def _next_ms(self) -> int | None:
        outbox, now = self.ledger.outbox, self.clock()
        due = [outbox.next_ms(name, now) for name in self._names]
        due += [place.until_ms for place in outbox.parked() if place.until_ms > now]
        return min((ms for ms in due if ms is not None), default=None)

    def got(self) -> Got:
        """What came of it."""
        ledger = self.ledger
        rows = ledger.deliveries(limit=1000)
        wrong = [f"{row.kind} is {row.state}" for row in rows if row.state in (*OPEN, DeliveryState.DEAD)]
        config = self.crew.config
        missing = reconcile(
            ledger.file.read, (), config.router(), config.manners, clock=self.clock, sleep=lambda seconds: None
        )
        wrong += [f"{one.incident.incident_id} is untold: {one.why}" for one in missing.untold]
        alerts = [f"alert-{number + 1}" for number in range(self.town.dremio.commits)]
        wrong += [f"{alert} is not known" for alert in set(alerts) - ledger.known(alerts)]
        incidents = sorted(one.incident_id for one in ledger.incidents())
        said = [
            re.sub(r"\d{13}", "", f"{incident} {note.action} by {note.who}")
            for incident in incidents
            for note in ledger.history(incident)
        ]
        said += sorted(f"silence by {one.by}: {one.reason}" for one in ledger.people.silences())
        inbox = self.town.inbox.messages()
        messages: Counter[str] = Counter()
        again = 0
        for name in self._names:
            came, stands = _received(name, inbox)
            # Slack has no key by which it would know what comes again.
            counted = list(came) if name == "slack" else sorted(set(came))
            again += len(came) - len(counted)
            messages += Counter(f"{name}: {text}" for _, text in counted)
            messages += Counter(f"{name} stands: {text}" for text in stands)
        return Got(messages, Counter(said), tuple(wrong), again)


@dataclass(frozen=True)
class Got:
    """What came of a run.

    messages: how often each came, under ids of its own where a channel has one, and what stands there at the end; said:
    lines of histories, and silences; wrong: what a ledger that is well has not; again: messages that came once more
    under their id.
    """

    messages: Counter[str]
    said: Counter[str]
    wrong: tuple[str, ...]
    again: int

    def against(self, meant: Got) -> Difference:
        """What a crash has changed. meant: what came of the run without one."""
        lost = (meant.messages - self.messages) + (meant.said - self.said)
        doubled = (self.messages - meant.messages) + (self.said - meant.said)
        return Difference(tuple(lost.elements()), tuple(doubled.elements()), self.wrong)


@dataclass(frozen=True)
class Difference:
    """Lost and doubled: messages, and what people did. wrong: see Got."""

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    wrong: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.wrong)


def _received(channel: str, inbox: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    """What came, by its id and what it says; and what stands there at the end, in the way of the channel."""
    match channel:
        case "slack":
            came = [(row["ts"], _words(row["text"])) for row in inbox["slack"] if "thread_ts" in row]
            return came, [_words(row["text"]) for row in inbox["slack"] if "thread_ts" not in row]
        case "email":
            return [(row["message_id"], row["subject"].partition("[")[0]) for row in inbox["email"]], []
        case "pagerduty":
            # Those that change no incident only ask whether the key is right.
            events = [row for row in inbox["pagerduty"]["events"] if row["incident"]]
            said = [(row["action"], row["event"].get("payload", {}).get("summary", "")) for row in events]
            came = [
                (row["dedup_key"], f"{action} {_words(text)}") for row, (action, text) in zip(events, said, strict=True)
            ]
            return came, [row["state"] for row in inbox["pagerduty"]["incidents"]]
    bodies = [(row["delivery"], json.loads(row["body"])) for row in inbox["webhook"]]
    return [(key, f"{body['status']} {_words(body['tillwatch']['title'])}") for key, body in bodies], []


def _words(text: str) -> str:
    """What a message says, without the times that a crash may move."""
    lines = [line for line in text.splitlines() if not line.startswith("Open in the console")]
    return re.sub(r"\d{4}-\S+ \S+ UTC|(?<=for )\d+ \w+|(?<=From )\S+ to \S+| \(late: [^)]*\)", "", " / ".join(lines))
