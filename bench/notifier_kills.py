"""kill -9 of the notifier between Slack's accepting and the record, and each fault of the sandbox; real processes.

Promise: every incident's Slack message is there once, its email at least once and under one Message-ID.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from bench.report import Report
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS
from lakehouse.sinks import EventLogSink
from lakehouse.tokens import FILE

FAULTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("slack", "rate_limited", {"retry_after": "1.5"}),
    ("slack", "error", {}),
    ("slack", "hang", {"hold_s": 4}),
    ("slack", "drop_reply", {}),
    ("slack", "accept_and_hang", {"hold_s": 4}),
    ("smtp", "refuse", {}),
    ("smtp", "hang", {"hold_s": 4}),
    ("smtp", "drop_after_data", {}),
    ("smtp", "accept_and_hang", {"hold_s": 4}),
)
PARTS = ("embedded.ingest", "embedded.gateway", "embedded.sandbox", "notifier")
_direct = build_opener(ProxyHandler({}))


class KillStage:
    """The four processes over one data directory, and an event log to fail into.

    settings: instead of those that are here; names without TILLWATCH_, empty: as shipped.
    """

    def __init__(self, data_dir: Path, offset: int, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.offset = offset
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.failures = 0
        data_dir.mkdir(exist_ok=True)
        self.sink = EventLogSink(data_dir / "events.db")
        ours = {
            "DATA_DIR": str(data_dir),
            "PORT_OFFSET": str(offset),
            "NOTIFIER_SLACK_BASE_URL": f"http://127.0.0.1:{PORTS['sandbox'] + offset}/api/",
            "NOTIFIER_SLACK_TOKEN": "xoxb-bench",
            "NOTIFIER_SLACK_CHANNEL": "C0SANDBOX",
            "NOTIFIER_SLACK_TIMEOUT_S": "2",
            "NOTIFIER_SMTP_TIMEOUT_S": "2",
            "NOTIFIER_SETTLE": "3 s",
            # One service after the other fails: each is to be told by itself.
            "NOTIFIER_STORM_AFTER": "0",
            "NOTIFIER_SMTP_HOST": "127.0.0.1",
            "NOTIFIER_SMTP_PORT": str(PORTS["smtp"] + offset),
            "NOTIFIER_SMTP_SECURITY": "none",
            "NOTIFIER_EMAIL_FROM": "tillwatch@shop.example",
            "NOTIFIER_EMAIL_TO": "oncall@shop.example",
            **(settings or {}),
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
        self.environment = clean | {f"TILLWATCH_{name}": value for name, value in ours.items() if value}

    def start(self, part: str) -> None:
        with (self.data_dir / f"{part}.log").open("ab") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", part], env=self.environment, stdout=log, stderr=log, cwd=ROOT
            )

    def kill(self, part: str) -> None:
        """kill -9."""
        process = self.processes.pop(part)
        process.kill()
        process.wait()

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        self.sink.close()

    def token(self) -> str:
        """One of the notifier's, that may read."""
        tokens = json.loads((self.data_dir / FILE).read_text())
        return str(next(one["token"] for one in tokens if one["name"] == "reader"))

    def ask(self, port: str, path: str, body: Any = None, timeout_s: float = 10) -> Any:
        """JSON of an answer; None when nobody gives one, or says that not all is well."""
        try:
            return json.loads(self.body(port, path, body, timeout_s))
        except (OSError, ValueError):
            return None

    def body(self, port: str, path: str, body: Any = None, timeout_s: float = 30) -> bytes:
        """An answer as it came. Raises OSError when nobody gives one, or says that not all is well."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if path.startswith("/api/"):
            headers["authorization"] = f"Bearer {self.token()}"
        request = Request(f"http://127.0.0.1:{PORTS[port] + self.offset}{path}", data, headers)
        with _direct.open(request, timeout=timeout_s) as answer:
            content: bytes = answer.read()
        return content

    def fail(self, service: str) -> None:
        """A FATAL error of a service, as a producer sends it."""
        self.fail_all([(service, "no answer")])

    def fail_all(self, failures: Iterable[tuple[str, str]]) -> None:
        """FATAL errors, of services with what they say, in one transaction of the log."""
        for service, message in failures:
            self.failures += 1
            event = {
                "error_id": f"bench-{self.failures}-{service}",
                "service_name": service,
                "error_message": message,
                "severity": "FATAL",
                "error_time": datetime.now(UTC).isoformat(),
            }
            self.sink.send("errors_topic", None, json.dumps(event).encode())
        self.sink.flush()

    def slack(self, service: str) -> list[dict[str, Any]]:
        messages = self.ask("sandbox", "/messages") or {"slack": []}
        roots = (row for row in messages["slack"] if "thread_ts" not in row)
        return [row for row in roots if row["text"].partition("\n")[0].endswith(f"in {service}")]

    def email(self, service: str) -> list[dict[str, Any]]:
        messages = self.ask("sandbox", "/messages") or {"email": []}
        firing = (row for row in messages["email"] if row["subject"].startswith("FIRING"))
        return [row for row in firing if row["body"].splitlines()[0].endswith(f"in {service}")]

    def settled(self, firsts: int) -> bool:
        """Whether so many first messages are sent, and nothing waits."""
        answer = self.ask("notifier", "/api/deliveries?limit=10000")
        if answer is None:
            return False
        states = [row["state"] for row in answer["deliveries"] if row["kind"] == "first"]
        return states == ["sent"] * firsts


def wait_for(look: Callable[[], object], seconds: float, what: str) -> float:
    """Seconds until `look` is true; ends the bench with a sentence when it never is."""
    began = time.monotonic()
    while not look():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def run(kills: int, offset: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="tillwatch-kills-") as folder:
        stage = KillStage(Path(folder), offset)
        try:
            for part in PARTS:
                stage.start(part)
            wait_for(lambda: stage.ask("notifier", "/-/ready"), 60, "all parts ready")
            return measure(stage, kills)
        finally:
            stage.close()


def measure(stage: KillStage, kills: int) -> Report:
    services: list[str] = []
    recoveries: list[float] = []
    for number in range(kills):
        service = f"killed-{number:02d}"
        services.append(service)
        stage.ask("sandbox", "/faults", {"service": "slack", "kind": "accept_and_hang", "hold_s": 30})
        if number % 2:
            stage.ask("sandbox", "/faults", {"service": "smtp", "kind": "accept_and_hang", "hold_s": 30})
        stage.fail(service)
        wait_for(lambda service=service: stage.slack(service), 30, f"{service} at Slack")  # type: ignore[misc]
        if number % 2:
            wait_for(lambda service=service: stage.email(service), 30, f"{service} by email")  # type: ignore[misc]
        stage.kill("notifier")
        stage.start("notifier")
        recoveries.append(wait_for(lambda: stage.settled(2 * len(services)), 60, f"{service} settled"))
    for target, kind, options in FAULTS:
        service = f"fault-{target}-{kind}"
        services.append(service)
        stage.ask("sandbox", "/faults", {"service": target, "kind": kind, **options})
        stage.fail(service)
        wait_for(lambda: stage.settled(2 * len(services)), 90, f"{service} settled")
    # Long enough for a message that was sent twice to show.
    time.sleep(5)
    once = sum(len(stage.slack(service)) == 1 for service in services)
    mails = {service: stage.email(service) for service in services}
    report = Report(
        "notifier_kills", f"{kills} x kill -9 while Slack has the message, then each fault once; settle 3 s"
    )
    report.row("Incidents", len(services), "", exactly=kills + len(FAULTS))
    report.row("With exactly one Slack message", once, "", exactly=len(services))
    report.row("With an email", sum(bool(rows) for rows in mails.values()), "", exactly=len(services))
    ids = sum(len({row["message_id"] for row in rows}) == 1 for rows in mails.values())
    report.row("With one Message-ID", ids, "", exactly=len(services))
    report.row("Emails that came again", sum(len(rows) - 1 for rows in mails.values() if rows), "")
    if recoveries:
        report.row("Kill to settled, median", statistics.median(recoveries), "s")
        report.row("Kill to settled, longest", max(recoveries), "s")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--port-offset", type=int, default=7300)
    arguments = parser.parse_args()
    run(arguments.kills, arguments.port_offset).finish()


if __name__ == "__main__":
    main()
