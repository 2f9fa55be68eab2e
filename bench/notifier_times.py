"""Steps of escalation and reminders while the clock is set forth and back, in nights of summer time; on a fake clock.

Promise: each is on time to two seconds, by a clock that nobody sets.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from bench.report import Report
from notifier.channel import Outcome, Sent
from notifier.clock import from_ms, to_ms
from notifier.daemon import Daemon
from notifier.ledger.ledger import Ledger
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind
from notifier.render import Notification
from notifier.routing.tree import Routing
from tests.fake_dremio import FakeDremio
from tests.test_notifier import Friend, a_config

BEGINS = (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), datetime(2026, 10, 24, 23, 30, tzinfo=UTC))
"""Half an hour or more before clocks are set in Berlin, to summer time and back."""
OPS, LEADS = "C0OPS", "C0LEADS"
FIRST_STEP_S, SECOND_STEP_S, REPEAT_S = 600, 1500, 1800
ROUTES = f"""
routes:
  - name: all
    to: ["slack:{OPS}"]
    repeat: 30 min
    escalate: [{{after: 10 min, to: ["slack:{LEADS}"]}}, {{after: 25 min, to: ["slack:{OPS}"]}}]
"""
EDITS = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5000)
ALERTS_FOR_S, NIGHT_S = 9_000, 14_400
NEAR_S, FAR_S = 4, 30
"""Time passes by the second around whatever is expected, else faster."""


@dataclass
class Noted(Friend):
    """Conversations that note how late each message is, by the clock that nobody sets; early is less than 0."""

    steady: float = 0.0
    late: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "reminder": []})
    expected: set[float] = field(default_factory=set)
    _told: dict[str, float] = field(default_factory=dict)
    _newest: dict[str, float] = field(default_factory=dict)

    def send(self, destination: str, note: Notification) -> Outcome:
        if note.kind is MessageKind.EDIT or not note.group.startswith("service_name="):
            # Whether alerts can be judged at such a clock is told as well, and is another matter.
            return Sent(note.root or "ts-0")
        now = self.steady
        if note.kind is MessageKind.REMINDER:
            self.late["reminder"].append(now - self._newest[note.thread_id] - REPEAT_S)
        elif note.kind is MessageKind.ESCALATED:
            self.late["step"].append(now - self._told[note.group] - SECOND_STEP_S)
        elif destination == LEADS:
            self.late["step"].append(now - self._told[note.group] - FIRST_STEP_S)
        else:
            self._told[note.group] = now
            self.expected |= {now + FIRST_STEP_S, now + SECOND_STEP_S}
        self._newest[note.thread_id] = now
        self.expected.add(now + REPEAT_S)
        self.attempts += 1
        return Sent(f"ts-{self.attempts}")


class Night:
    """A daemon of which no thread runs: its turns are ours, and so are its clocks."""

    def __init__(self, folder: Path, begins: datetime) -> None:
        self.dremio = FakeDremio()
        self.channel = Noted("slack", (OPS, LEADS), manner=EDITS)
        self._apart_ms = to_ms(begins)
        self._ingested = begins
        self.ledger = Ledger(folder / "ledger.db", self.clock)
        routing = Routing.model_validate(yaml.safe_load(ROUTES))
        config = a_config([self.channel], routing, storm_after=0, timezone="Europe/Berlin")
        self.daemon = Daemon(config, self.dremio, self.ledger, clock=self.clock, steady=lambda: self.channel.steady)

    def clock(self) -> int:
        return self._apart_ms + int(self.channel.steady * 1000)

    def set_clock(self, hours: int) -> None:
        self._apart_ms += hours * 3_600_000

    def fail(self, service: str) -> None:
        now = from_ms(self.clock())
        # As ingest writes it: it never goes back, whatever the clock does.
        self._ingested = max(self._ingested, now)
        values = {"received_at": now, "ingested_at": self._ingested, "rule": "fatal_error", "severity": "FATAL"}
        self.dremio.alert(now, f"inc-{service}", "FIRING", service=service, **values)
        self.dremio.publish(self._ingested)

    def turn(self) -> None:
        """What the daemon's threads do within a second, in the worst order: a step of the clock is seen last."""
        self.daemon.cycle()
        self._send()
        self.daemon.do_due()
        self._send()

    def _send(self) -> None:
        for sender in self.daemon.senders.values():
            while sender.step() == 0.0:
                pass

    def close(self) -> None:
        self.daemon.stop()
        self.ledger.close()
        self.dremio.close()


def pass_night(folder: Path, begins: datetime, incidents: int, steps: int, chance: random.Random) -> Night:
    """Let services fail and the clock be set at random moments, half of these in the very second of an alert."""
    night = Night(folder, begins)
    failing = {float(moment): number for number, moment in enumerate(chance.sample(range(60, ALERTS_FOR_S), incidents))}
    stepping = [*chance.sample(sorted(failing), steps // 2)]
    stepping += map(float, chance.sample(range(60, NIGHT_S), steps - len(stepping)))
    hours = {moment: (1, -1)[place % 2] for place, moment in enumerate(sorted(stepping))}
    channel = night.channel
    channel.expected |= {*failing, *hours}
    try:
        while channel.steady < NIGHT_S:
            ahead = min((moment for moment in channel.expected if moment > channel.steady - NEAR_S), default=NIGHT_S)
            near = ahead - channel.steady <= NEAR_S
            channel.steady += 1 if near else min(FAR_S, int(ahead - channel.steady - NEAR_S) + 1)
            if channel.steady in hours:
                night.set_clock(hours[channel.steady])
            if channel.steady in failing:
                night.fail(f"shop-{failing[channel.steady]:03d}")
            night.turn()
    finally:
        night.close()
    return night


def run(nights: int, incidents: int, steps: int, seed: int) -> Report:
    chance = random.Random(seed)
    # The clock that is set is said each time.
    logging.getLogger("notifier").setLevel(logging.ERROR)
    late: dict[str, list[float]] = {"step": [], "reminder": []}
    for number in range(nights):
        with tempfile.TemporaryDirectory(prefix="tillwatch-times-") as folder:
            night = pass_night(Path(folder), BEGINS[number % 2], incidents, steps, chance)
        for name, seconds in night.channel.late.items():
            late[name] += seconds
    report = Report(
        "notifier_times",
        f"{nights} nights of 4 h with a change of summer time, {incidents} incidents and {steps} steps of the clock "
        f"(+1 h, -1 h) in each, seed {seed}",
    )
    report.row("steps of escalation", len(late["step"]), "", exactly=2 * nights * incidents)
    report.row("reminders", len(late["reminder"]), "", at_least=nights * incidents)
    for name, words in (("step", "step of escalation"), ("reminder", "reminder")):
        report.row(f"{words}, the latest", max(late[name], default=0.0), "s", at_most=2)
        report.row(f"{words}, the earliest", min(late[name], default=0.0), "s", at_least=-2)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nights", type=int, default=4)
    parser.add_argument("--incidents", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run(arguments.nights, arguments.incidents, arguments.steps, arguments.seed).finish()


if __name__ == "__main__":
    main()
