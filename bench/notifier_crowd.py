"""Ten thousand open incidents: the API's answers, many who wait for a change, memory and starts; real processes.

Promise: lists stay quick, whoever waits for a change is told of it at once, and a FATAL is not kept waiting by them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from bench.latency import percentile
from bench.notifier_kills import PARTS, KillStage, wait_for
from bench.notifier_storm import AS_SHIPPED, missing, published
from bench.processes import memory_mb
from bench.report import Report
from lakehouse import ROOT
from lakehouse.oncall import WAIT_S, OnCall
from lakehouse.settings.ports import PORTS
from notifier.clock import to_ms

LISTED = 100
INHIBIT = """
inhibit:
  - name: bench
    source: [severity = FATAL, service_name != other]
    target: [service_name = other]
    equal: [alert_id]
"""
"""Looks at all that is open for each alert of one service, and mutes none."""
_direct = build_opener(ProxyHandler({}))


def settings_in(folder: Path) -> dict[str, str]:
    """The shop's configuration, with an inhibition and incidents that stay open for as long as this takes."""
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    rules = config / "alerts.yaml"
    rules.write_text(rules.read_text(encoding="utf-8").replace("resolve_after: 5 min", "resolve_after: 2 h"))
    with (config / "routes.yaml").open("a", encoding="utf-8") as routes:
        routes.write(INHIBIT)
    return AS_SHIPPED | {"CONFIG": str(config / "tillwatch.yaml")}


def metric(stage: KillStage, line: str) -> float:
    """A metric of the notifier; 0 while nobody answers."""
    try:
        with _direct.open(f"http://127.0.0.1:{PORTS['notifier'] + stage.offset}/metrics", timeout=10) as answer:
            found = re.search(rf"^{re.escape(line)} (\S+)$", answer.read().decode(), re.MULTILINE)
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


def there(stage: KillStage, line: str, count: int) -> bool:
    """Whether a metric has reached a count; asked seldom, as whoever scrapes metrics does."""
    time.sleep(2)
    return metric(stage, line) == count


class Waiters:
    """Who waits for the next change, each on a connection of its own; `changed` has when each had its answer."""

    def __init__(self, stage: KillStage, count: int, known: int) -> None:
        url = f"http://127.0.0.1:{PORTS['notifier'] + stage.offset}/api/incidents?limit={LISTED}&wait={WAIT_S}"
        headers = {"Authorization": f"Bearer {stage.token()}", "If-None-Match": f'"{known}"'}
        self.changed: list[float] = []
        self._threads = [
            threading.Thread(target=self._wait, args=(Request(url, headers=headers),)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _wait(self, request: Request) -> None:
        try:
            with _direct.open(request, timeout=2 * WAIT_S) as answer:
                answer.read()
        except OSError:
            return
        # What a console makes of it then is its own matter: all of them are this one process here.
        self.changed.append(time.time())

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def run(incidents: int, waiters: int, offset: int) -> Report:
    with tempfile.TemporaryDirectory(prefix="tillwatch-crowd-") as folder:
        stage = KillStage(Path(folder) / "data", offset, settings_in(Path(folder)))
        try:
            for part in PARTS:
                stage.start(part)
            wait_for(lambda: stage.ask("notifier", "/-/ready"), 60, "all parts ready")
            return measure(stage, incidents, waiters)
        finally:
            stage.close()


def measure(stage: KillStage, incidents: int, waiters: int) -> Report:
    report = Report("notifier_crowd", f"{incidents:,} incidents open, told in a storm; an inhibition in the routes")
    stage.fail_all((f"shop-{number:05d}", "no answer") for number in range(incidents))
    line = 'tillwatch_notifier_incidents_open{severity="FATAL"}'
    wait_for(lambda: there(stage, line, incidents), 120, "all incidents in the ledger")
    # Messages of the first minute, and a digest that is edited.
    for number in range(6):
        time.sleep(6)
        stage.fail_all([(f"shop-{number:05d}", "no answer")])
    report.row("incidents open", metric(stage, line), "", exactly=incidents)
    report.row("reconcile: missing", missing(stage), "", exactly=0)
    process = psutil.Process(stage.processes["notifier"].pid)
    report.row("memory of the notifier (PSS)", memory_mb(process) or 0, "MB", at_most=150)
    lists(stage, report, incidents)
    waits(stage, report, waiters)
    report.row("memory of the notifier after all that (PSS)", memory_mb(process) or 0, "MB")
    return report


def a_client(stage: KillStage) -> OnCall:
    return OnCall(f"http://127.0.0.1:{PORTS['notifier'] + stage.offset}/api", stage.token(), timeout_s=60)


def lists(stage: KillStage, report: Report, incidents: int) -> None:
    """How long an answer takes, over one connection."""
    client = a_client(stage)
    for limit, times in ((LISTED, 20), (incidents, 3)):
        took = []
        for _ in range(times):
            began = time.monotonic()
            client.incidents(limit=limit)
            took.append(time.monotonic() - began)
        size = len(stage.body("notifier", f"/api/incidents?limit={limit}"))
        promised = 0.3 if limit == LISTED else None
        report.row(f"list of {limit:,} incidents, median", statistics.median(took), "s", at_most=promised)
        report.row(f"list of {limit:,} incidents", size / 1000, "kB")
    client.close()


def waits(stage: KillStage, report: Report, waiters: int) -> None:
    """Many wait for the next change; a FATAL is what changes."""
    pid = stage.processes["notifier"].pid
    crowd = Waiters(stage, waiters, stage.ask("notifier", "/api/incidents?limit=1")["revision"])
    time.sleep(2)
    before = psutil.Process(pid).cpu_times()
    time.sleep(5)
    after = psutil.Process(pid).cpu_times()
    report.row(f"CPU while {waiters} wait", 20 * (sum(after[:2]) - sum(before[:2])), "% of a core")
    report.row("threads of the notifier", psutil.Process(pid).num_threads(), "")
    stage.fail_all([("other", "its certificate has expired")])
    wait_for(lambda: stage.slack("other"), 60, "the other FATAL at Slack")
    crowd.join()
    [other] = [alert for alert in published(stage.offset) if alert.service_name == "other"]
    at_s = to_ms(other.ingested_at) / 1000
    asked = f"/api/deliveries?incident={other.incident_id}&limit=10000"
    planned = [row["planned_at"] for row in stage.ask("notifier", asked)["deliveries"] if row["kind"] == "first"]
    changed_s = to_ms(datetime.fromisoformat(min(planned))) / 1000
    told_s = [moment - changed_s for moment in crowd.changed]
    report.row(f"of {waiters} who wait, answered", len(told_s), "", exactly=waiters)
    report.row("change of the ledger to the answer, median", percentile(told_s, 50), "s")
    report.row("change of the ledger to the answer, slowest", max(told_s), "s", at_most=1)
    [message] = stage.slack("other")
    report.row("publish to Slack, meanwhile", (message["arrived_ms"] / 1000) - at_s, "s", at_most=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--waiters", type=int, default=200)
    parser.add_argument("--port-offset", type=int, default=7600)
    arguments = parser.parse_args()
    run(arguments.incidents, arguments.waiters, arguments.port_offset).finish()


if __name__ == "__main__":
    main()
