"""A storm: thousands of FATALs in one publish, storm as shipped, told by Slack and mail; real processes.

Promise: the first message at once, few messages, an unrelated FATAL is not kept waiting, and every count is exact.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.notifier_kills import PARTS, KillStage, wait_for
from bench.report import Report
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from notifier.clock import to_ms
from notifier.model import AlertRow
from notifier.past import read_alerts

AS_SHIPPED = {"NOTIFIER_STORM_AFTER": "", "NOTIFIER_SLACK_TIMEOUT_S": "", "NOTIFIER_SMTP_TIMEOUT_S": ""}
OTHER = "tax-office"
"""The service that fails in another way, in the middle of the storm."""
CALLS = ("chat.postMessage", "chat.update")
MINUTE_S = 60.0
RESOLVED_WITHIN_S = 480.0
"""The rule ends an incident after five minutes without an alert."""


@dataclass(frozen=True)
class ThreadsTold:
    """What the threads of a destination tell together."""

    services: int
    alerts: int


def told(texts: Iterable[str]) -> ThreadsTold:
    """The sum of roots, or of the newest mails of threads: each says where, and how many alerts there are."""
    services = alerts = 0
    for text in texts:
        title = text.partition("\n")[0]
        many = re.search(r" in ([\d,]+) services?\b", title)
        services += int(many[1].replace(",", "")) if many else 1
        counts = re.findall(r"\b([\d,]+) alerts? (?:so far|in all)\b", text)
        alerts += int(counts[-1].replace(",", "")) if counts else 0
    return ThreadsTold(services, alerts)


def roots(messages: dict[str, Any]) -> list[str]:
    """Texts of the first messages in Slack, as they stand now, without the other service's."""
    found = [row["text"] for row in messages["slack"] if "thread_ts" not in row]
    return [text for text in found if OTHER not in text.partition("\n")[0]]


def newest_mails(messages: dict[str, Any]) -> list[str]:
    """The text of each thread's newest mail, without the other service's."""
    newest = {}
    for row in messages["email"]:
        if OTHER not in row["body"].partition("\n")[0]:
            newest[row["subject"].rpartition("[")[2]] = row["body"]
    return list(newest.values())


def a_reader(offset: int) -> Dremio:
    """Of the tables, as anybody reads them."""
    return Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + offset}"))


def published(offset: int) -> list[AlertRow]:
    """All alerts of the last hour that the table has."""
    with a_reader(offset) as dremio:
        return read_alerts(dremio, dremio.head(), datetime.now(UTC) - timedelta(hours=1))


def missing(stage: KillStage) -> int:
    """What `notifier reconcile` finds: alerts that the ledger does not know, and places that were not told."""
    command = [sys.executable, "-m", "notifier", "reconcile", "--json"]
    ran = subprocess.run(command, env=stage.environment, capture_output=True, text=True, cwd=ROOT, check=False)
    if ran.returncode not in (0, 1):
        raise SystemExit(f"reconcile: {ran.stderr.strip()}")
    found = json.loads(ran.stdout)
    return len(found["unseen"]) + len(found["untold"])


def failures(services: int, alerts: int) -> list[tuple[str, str]]:
    return [(f"shop-{number % services:04d}", f"no answer from shard {number}") for number in range(alerts)]


def run(services: int, alerts: int, to_the_end: bool, offset: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="tillwatch-storm-") as folder:
        stage = KillStage(Path(folder), offset, AS_SHIPPED)
        try:
            for part in PARTS:
                stage.start(part)
            wait_for(lambda: stage.ask("notifier", "/-/ready"), 60, "all parts ready")
            return measure(stage, services, alerts, to_the_end)
        finally:
            stage.close()


def calls(messages: dict[str, Any]) -> int:
    return sum(messages["calls"].get(method, 0) for method in CALLS)


def measure(stage: KillStage, services: int, alerts: int, to_the_end: bool) -> Report:
    def seen() -> dict[str, Any]:
        found: dict[str, Any] = stage.ask("sandbox", "/messages")
        return found

    with a_reader(stage.offset) as reader:
        before = reader.head()
        written_ms = time.time() * 1000
        stage.fail_all(failures(services, alerts))
        wait_for(lambda: reader.head() != before, 60, "the publish")
        published_ms = time.time() * 1000
    wait_for(lambda: seen()["slack"], 60, "the first message")
    time.sleep(15)
    stage.fail_all([(OTHER, "its certificate has expired")])
    wait_for(lambda: stage.slack(OTHER), 60, f"{OTHER} at Slack")
    rows = [alert for alert in published(stage.offset) if alert.service_name != OTHER]
    began_ms = min(to_ms(alert.ingested_at) for alert in rows)
    time.sleep(max(0.0, began_ms / 1000 + MINUTE_S - time.time()))
    minute = seen()

    report = Report("notifier_storm", f"{alerts:,} FATALs over {services:,} services, Slack and mail of the sandbox")
    report.row("FATALs in the table", len(rows), "", exactly=alerts)
    report.row("in so many publishes", len({alert.ingested_at for alert in rows}), "", exactly=1)
    first_ms = min(row["arrived_ms"] for row in minute["slack"])
    report.row("events written to their publish", (published_ms - written_ms) / 1000, "s")
    report.row("publish to first Slack message", (first_ms - published_ms) / 1000, "s", at_most=3)
    first_mail_ms = min(row["arrived_ms"] for row in minute["email"])
    report.row("publish to first mail", (first_mail_ms - published_ms) / 1000, "s", at_most=3)
    [other] = [alert for alert in published(stage.offset) if alert.service_name == OTHER]
    [there] = stage.slack(OTHER)
    late_s = (there["arrived_ms"] - to_ms(other.ingested_at)) / 1000
    report.row("FATAL of another kind in the middle, publish to Slack", late_s, "s", at_most=5)
    report.row("Slack calls in the first minute", calls(minute), "", at_most=60)
    report.row("mails in the first minute", len(minute["email"]), "", at_most=5)
    in_slack = told(roots(minute))
    report.row("after a minute Slack tells of services", in_slack.services, "", exactly=services)
    report.row("of FATALs", in_slack.alerts, "", exactly=alerts)
    report.row("reconcile, in the storm: missing", missing(stage), "", exactly=0)
    if to_the_end:
        ended(stage, report, services, alerts)
    return report


def ended(stage: KillStage, report: Report, services: int, alerts: int) -> None:
    """Wait for the last resolve, and count again."""

    def over() -> bool:
        messages = stage.ask("sandbox", "/messages")
        texts = [*roots(messages), *newest_mails(messages)]
        return all(text.startswith("Resolved: ") for text in texts)

    wait_for(over, RESOLVED_WITHIN_S, "all resolved at both")
    time.sleep(5)
    messages = stage.ask("sandbox", "/messages")
    for name, texts in (("Slack", roots(messages)), ("mail", newest_mails(messages))):
        last = told(texts)
        report.row(f"at the end {name} tells of services", last.services, "", exactly=services)
        report.row(f"at the end {name} tells of FATALs", last.alerts, "", exactly=alerts)
    again = Counter(row["metadata"]["event_payload"]["delivery_key"] for row in messages["slack"])
    again.update(row["message_id"] for row in messages["email"])
    report.row("messages that came twice", sum(count - 1 for count in again.values()), "", exactly=0)
    open_rows = stage.ask("notifier", "/api/incidents?status=open&limit=10000")["incidents"]
    left = [row for row in open_rows if row["rule"] == "fatal_error" and row["service_name"] != OTHER]
    report.row("incidents of the storm that are open", len(left), "", exactly=0)
    report.row("reconcile, after it: missing", missing(stage), "", exactly=0)
    report.row("Slack calls, in all", calls(messages), "")
    report.row("mails, in all", len(messages["email"]), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--not-to-the-end", action="store_true", help="the first minute alone, of some seven")
    parser.add_argument("--port-offset", type=int, default=7500)
    arguments = parser.parse_args()
    run(arguments.services, arguments.alerts, not arguments.not_to_the_end, arguments.port_offset).finish()


if __name__ == "__main__":
    main()
