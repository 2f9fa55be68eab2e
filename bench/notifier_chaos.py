"""10,000 incidents, 20 kill -9 and a Slack that breaks one post in five; Alertmanager beside us, under the same.

Promise: each incident's message is there once: none is lost and none comes twice, by the sandbox's count; and reconcile
finds nothing missing.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.alertmanager import SCALE, VERSION, Alertmanager, built
from bench.latency import percentile
from bench.notifier_kills import PARTS, KillStage, wait_for
from bench.pipelines import with_rules
from bench.report import Report
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS
from notifier.ledger.file import NAME
from tillwatch.jars import user_cache

FAULTS: tuple[dict[str, Any], ...] = (
    # Of 10 s. Alertmanager reads whole seconds only, and waits as after any failure.
    {"kind": "rate_limited", "share": 0.10, "retry_after": f"{10 / SCALE:g}"},
    {"kind": "drop_reply", "share": 0.05},
    {"kind": "error", "share": 0.05},
)
"""Of the posts: each Slack breaks the same ones, by number."""
RULE = {
    "name": "fatal_error",
    "kind": "event",
    "severity": "FATAL",
    "where": {"severity": ["FATAL"]},
    "by": ["service_name"],
    "unit": "fatal errors",
    # No incident ends within the run.
    "resolve_after": "1 d",
    "description": "Fatal error in service: {service_name} - {error_message}",
    "owner": "platform",
    "summary": "A service reported a fatal error",
    "runbook_url": "https://runbooks.example.com/fatal-error",
}
APART = 50
"""Between the ports of the two Slacks."""
STILL_S = 24.0
"""Alertmanager flushes a group each 6 s: where nothing came for so long, nothing comes any more."""
BACKLOG = 300
"""So many incidents wait to be told by ours, at most; then no more begin."""
STUCK_S = 120.0
"""Where ours tells nobody of anything for so long, something is wrong."""
_INCIDENT = re.compile(r"chaos-\d{5}-\d{2}")


def names(incidents: int, conversations: int) -> list[str]:
    """The services that fail, an incident each; a name ends with its conversation's number."""
    return [f"chaos-{number:05d}-{number % conversations:02d}" for number in range(incidents)]


def conversation_of(name: str) -> str:
    return f"C0CHAOS{name[-2:]}"


@dataclass
class SlackTold:
    """What a Slack has: when (ms) it got messages of an incident, replies aside."""

    arrived: dict[str, list[int]] = field(default_factory=dict)
    newest_ms: int = 0
    astray: int = 0
    """Messages that name no incident, or several, or stand in another conversation."""
    marked: int = 0
    """Messages that say of themselves that they may have come before."""

    @classmethod
    def of(cls, messages: list[dict[str, Any]]) -> SlackTold:
        told = cls()
        for message in messages:
            told.newest_ms = max(told.newest_ms, message["arrived_ms"])
            if "thread_ts" in message:
                continue
            text = json.dumps([message["text"], message.get("blocks"), message.get("attachments")])
            told.marked += "possible repeat" in text
            found = {*_INCIDENT.findall(text)}
            if len(found) == 1 and message["channel"] == conversation_of(min(found)):
                told.arrived.setdefault(found.pop(), []).append(message["arrived_ms"])
            else:
                told.astray += 1
        return told

    def times(self, every: Iterable[str]) -> Counter[int]:
        """How many incidents were told how many times."""
        return Counter(len(self.arrived.get(name, ())) for name in every)

    def rows(self, report: Report, who: str, fired_ms: dict[str, int], promised: bool) -> None:
        """How many of these incidents were told how often, and how soon."""

        def row(name: str, value: int, exactly: int | None) -> None:
            report.row(f"{who}: {name}", value, "", exactly=exactly if promised else None)

        times = self.times(fired_ms)
        row("told exactly once", times[1], len(fired_ms))
        row("lost", times[0], 0)
        row("told more than once", len(fired_ms) - times[0] - times[1], 0)
        report.row(f"{who}: messages too many", sum(times[n] * (n - 1) for n in times if n > 1), "")
        row("messages of nothing that was asked for", self.astray, 0)
        waits = [(min(arrived) - fired_ms[name]) / 1000 for name, arrived in self.arrived.items()]
        if waits:
            report.row(f"{who}: first failure to last incident told", self.span_s(fired_ms), "s")
            report.row(f"{who}: failure to told, median", percentile(waits, 50), "s")
            report.row(f"{who}: failure to told, p99", percentile(waits, 99), "s")

    def span_s(self, fired_ms: dict[str, int]) -> float:
        """From the first failure to the first message of the incident that was told last."""
        return (max(map(min, self.arrived.values())) - min(fired_ms.values())) / 1000


class LedgerLook:
    """A look into the notifier's ledger, whether or not it runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, sql: str, *values: object) -> int:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as db:
            return int(db.execute(sql, values).fetchone()[0])

    def on_the_wire(self, since_ms: int) -> bool:
        """Whether a message is being sent, by an attempt that began since."""
        return bool(self.ask("SELECT count(*) FROM deliveries WHERE state = 'sending' AND attempt_ms > ?", since_ms))

    def told(self) -> int:
        return self.ask("SELECT count(*) FROM deliveries WHERE kind = 'first' AND state = 'sent'")

    def waiting(self) -> int:
        return self.ask("SELECT count(*) FROM deliveries WHERE state NOT IN ('sent', 'muted', 'dead')")

    def states(self) -> list[tuple[str, str, int, str]]:
        """Of what waits: kind, state, how many, and the last error of one of them."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(
                "SELECT kind, state, count(*), max(coalesce(error, '')) FROM deliveries "
                "WHERE state NOT IN ('sent', 'muted', 'dead') GROUP BY kind, state"
            ).fetchall()


def settings_of(folder: Path, conversations: int) -> dict[str, str]:
    """Ours: one rule, a route to each conversation, and waits that are as much shorter as Alertmanager's."""
    configuration = with_rules(folder, RULE)
    places = {f"{number:02d}": conversation_of(f"{number:02d}") for number in range(conversations)}
    routes = [
        {"name": place, "when": ["severity = FATAL", f"service_name =~ chaos-.*-{number}"], "to": [f"slack:{place}"]}
        for number, place in places.items()
    ]
    (folder / "routes.yaml").write_text(json.dumps({"routes": routes}), encoding="utf-8")
    (folder / "people.yaml").write_text("people: []\n", encoding="utf-8")
    return configuration | {
        "NOTIFIER_SLACK_CHANNEL": ",".join(places.values()),
        "NOTIFIER_SLACK_PER_S": str(SCALE),
        # Many at a time: it is counted how often each is told, not how soon.
        "NOTIFIER_POLL_S": "1",
        # Not shortened: none of the faults holds a call, and a machine that is busy for a moment is none of them.
        "NOTIFIER_SLACK_TIMEOUT_S": "10",
        "NOTIFIER_SETTLE": f"{20_000 // SCALE} ms",
        "NOTIFIER_UNREADABLE": f"{120_000 // SCALE} ms",
        "NOTIFIER_SMTP_HOST": "",
        "NOTIFIER_EMAIL_FROM": "",
        "NOTIFIER_EMAIL_TO": "",
        **KEEPS_ALL,
    }


KEEPS_ALL = {"SANDBOX_KEEP_MESSAGES": "1000000"}


@dataclass(frozen=True)
class ChaosPlan:
    """What is to happen. per_s: failures a second."""

    incidents: int
    kills: int
    conversations: int
    per_s: float
    seed: int


class Chaos:
    """Ours and, where there is a program, Alertmanager, each with a Slack of its own."""

    def __init__(self, plan: ChaosPlan, folder: Path, offset: int, program: Path | None) -> None:
        self.plan = plan
        self.ours = KillStage(_made(folder / "ours"), offset, settings_of(folder / "config", plan.conversations))
        self.ledger = LedgerLook(folder / "ours" / NAME)
        self.theirs: KillStage | None = None
        self.alertmanager: Alertmanager | None = None
        if program is not None:
            self.theirs = KillStage(_made(folder / "theirs"), offset + APART, KEEPS_ALL)
            slack = f"http://127.0.0.1:{PORTS['sandbox'] + offset + APART}/api/"
            port = PORTS["notifier"] + offset + APART
            self.alertmanager = Alertmanager(program, folder / "alertmanager", port, slack)
        self.fired_ms: dict[str, int] = {}
        self.kills = 0
        self._chance = random.Random(plan.seed)
        self._killed_ms = 0

    def start(self) -> None:
        for part in PARTS:
            self.ours.start(part)
        if self.theirs and self.alertmanager:
            self.theirs.start("embedded.sandbox")
            wait_for(lambda: self.theirs.ask("sandbox", "/-/healthy"), 60, "Alertmanager's Slack")  # type: ignore[union-attr]
            self.alertmanager.start()
        wait_for(lambda: self.ours.ask("notifier", "/-/ready"), 60, "all parts ready")
        for stage in filter(None, (self.ours, self.theirs)):
            for fault in FAULTS:
                assert stage.ask("sandbox", "/faults", {"service": "slack", "seed": self.plan.seed, **fault})

    def run(self) -> None:
        """Let one service after the other fail, and kill both notifiers between, at moments that the seed says."""
        every = names(self.plan.incidents, self.plan.conversations)
        killed_at = {*self._chance.sample(range(1, len(every)), self.plan.kills)}
        began = time.monotonic()
        for number, name in enumerate(every):
            time.sleep(max(0.0, began + number / self.plan.per_s - time.monotonic()))
            if number % 10 == 0:
                # No faster than a busy machine tells them, on either side.
                began += self._wait_until_told(number - BACKLOG)
            self.fired_ms[name] = time.time_ns() // 1_000_000
            self.ours.fail(name)
            if self.alertmanager:
                self.alertmanager.fire(name, conversation_of(name), datetime.now(UTC))
            if number in killed_at:
                self._kill()
                print(f"bench: killed after {number:,} failures, {self.ledger.told():,} told", file=sys.stderr)
        self._wait_until_told(len(every))
        # Edits go last: where messages were always due, many wait now.
        self._wait(lambda: -self.ledger.waiting(), 0, "what waits is not sent")

    def _wait_until_told(self, incidents: int) -> float:
        """Until ours has told so many; after how many seconds. Ends the bench where it tells no more."""
        return self._wait(self.ledger.told, incidents, "not all incidents are told")

    def _wait(self, count: Callable[[], int], enough: int, else_: str) -> float:
        began = more_at = time.monotonic()
        has = count()
        while has < enough:
            time.sleep(0.2)
            had, has = has, count()
            if has > had:
                more_at = time.monotonic()
            elif time.monotonic() - more_at > STUCK_S:
                raise SystemExit(f"bench: {else_}, and no more for {STUCK_S:g} s; what waits: {self.ledger.states()}")
        return time.monotonic() - began

    def _kill(self) -> None:
        """Ours while a message is on the wire."""
        if self.alertmanager:
            self.alertmanager.kill()
            self.alertmanager.start()
        wait_for(lambda: self.ledger.on_the_wire(self._killed_ms), 60, "a message on the wire")
        time.sleep(self._chance.uniform(0, 0.01))
        self._killed_ms = time.time_ns() // 1_000_000
        self.ours.kill("notifier")
        self.ours.start("notifier")
        self.kills += 1

    def close(self) -> None:
        if self.alertmanager:
            self.alertmanager.close()
        for stage in filter(None, (self.ours, self.theirs)):
            stage.close()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def messages_of(stage: KillStage, since_ms: int = 0) -> list[dict[str, Any]]:
    answer = stage.ask("sandbox", f"/messages?since_ms={since_ms}", timeout_s=120)
    if answer is None:
        raise SystemExit("the sandbox does not tell what arrived")
    return list(answer["slack"])


def wait_until_still(stage: KillStage, still_s: float) -> None:
    """Until a Slack has got nothing for so long; ten minutes at most."""
    since_ms = time.time_ns() // 1_000_000
    until = time.monotonic() + 600
    while time.time_ns() // 1_000_000 - since_ms < 1000 * still_s and time.monotonic() < until:
        since_ms = max([since_ms, *(message["arrived_ms"] for message in messages_of(stage, since_ms))])
        time.sleep(1)


def reconciled(stage: KillStage) -> dict[str, Any]:
    """What `reconcile` finds."""
    command = [sys.executable, "-m", "notifier", "reconcile", "--json"]
    ran = subprocess.run(command, env=stage.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode not in (0, 1):
        raise SystemExit(f"reconcile: {ran.stderr.strip()}")
    content: dict[str, Any] = json.loads(ran.stdout)
    return content


def measure(chaos: Chaos) -> Report:
    plan, fired_ms = chaos.plan, chaos.fired_ms
    wait_until_still(chaos.ours, 3)
    told = SlackTold.of(messages_of(chaos.ours))
    found = reconciled(chaos.ours)
    log = (chaos.ours.data_dir / "notifier.log").read_text(encoding="utf-8")
    report = Report(
        "notifier_chaos",
        f"{plan.incidents:,} incidents over {plan.conversations} conversations at {plan.per_s:g}/s at most; 10 % of "
        f"posts 429, 5 % taken without a reply, 5 % 500; {plan.kills} kill -9 while messages are on their way; "
        f"waits 1:{SCALE}, seed {plan.seed}",
    )
    report.row("Incidents", len(fired_ms), "", exactly=plan.incidents)
    report.row("kill -9", chaos.kills, "", exactly=plan.kills)
    report.row("ours: kills that left a message on the wire", log.count("sending when the notifier ended"), "")
    told.rows(report, "ours", fired_ms, promised=True)
    report.row("ours: marked (possible repeat)", told.marked, "")
    report.row("reconcile: alerts of the table", found["alerts"], "", exactly=plan.incidents)
    report.row("reconcile: not in the ledger, or not told", len(found["unseen"]) + len(found["untold"]), "", exactly=0)
    if chaos.theirs:
        wait_until_still(chaos.theirs, STILL_S)
        beside = SlackTold.of(messages_of(chaos.theirs))
        beside.rows(report, f"Alertmanager {VERSION}", fired_ms, promised=False)
        times = beside.times(fired_ms)
        report.conditions += (
            f"; Alertmanager {VERSION} under the same: {times[0]:,} lost, "
            f"{times.total() - times[0] - times[1]:,} told more than once"
        )
    return report


def run(plan: ChaosPlan, offset: int, program: Path | None) -> Report:
    with tempfile.TemporaryDirectory(prefix="tillwatch-chaos-") as folder:
        chaos = Chaos(plan, Path(folder), offset, program)
        try:
            chaos.start()
            chaos.run()
            return measure(chaos)
        finally:
            chaos.close()


def program_of(given: str | None) -> Path | None:
    """Alertmanager's: the one that is given, else ours to build; None, and a sentence, where there is none."""
    if given == "none":
        return None
    program = Path(given).absolute() if given else built(user_cache() / "bench")
    if isinstance(program, str):
        print(f"bench: {program}", file=sys.stderr)
        return None
    if not program.is_file():
        raise SystemExit(f"bench: there is no file {program}; --alertmanager takes the program, or none.")
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--conversations", type=int, default=20, help="1 to 99")
    parser.add_argument("--per-s", type=float, default=12.0, help="incidents that begin in a second")
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--alertmanager", metavar="PATH", help="the program, or none; left out: built with Go")
    parser.add_argument("--port-offset", type=int, default=7300)
    given = parser.parse_args()
    if not 1 <= given.conversations <= 99 or not 0 <= given.kills < given.incidents <= 99_999:
        parser.error("it takes 1 to 99 conversations, up to 99,999 incidents, and fewer kills than these")
    program = program_of(given.alertmanager)
    plan = ChaosPlan(given.incidents, given.kills, given.conversations, given.per_s, given.seed)
    run(plan, given.port_offset, program).finish()


if __name__ == "__main__":
    main()
