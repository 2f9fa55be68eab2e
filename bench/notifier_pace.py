"""An alert a second to Slack, email, PagerDuty and a webhook, and how soon a started notifier looks; real processes.

Promise: from its publish an alert is at each of them within a poll interval and a second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from bench.latency import percentile
from bench.notifier_crowd import metric
from bench.notifier_kills import PARTS, KillStage, wait_for
from bench.notifier_storm import published
from bench.report import Report
from lakehouse.dremio.nearby import NEAR_S
from lakehouse.settings.ports import PORTS
from notifier.clock import to_ms

CHANNELS = ("slack", "email", "pagerduty", "webhook")
ROUTES = f"routes:\n  - {{name: fatal, when: [severity = FATAL], to: [{', '.join(CHANNELS)}]}}\n"
SLOWEST_POLL_S = 1.0


def settings_in(folder: Path, offset: int) -> dict[str, str]:
    """Four channels, each at the pace that is shipped; each alert is told by itself."""
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES, encoding="utf-8")
    sandbox = f"http://127.0.0.1:{PORTS['sandbox'] + offset}"
    return {
        "NOTIFIER_ROUTES": str(routes),
        "NOTIFIER_PAGERDUTY_KEY": "0123456789abcdef0123456789abcdef",
        "NOTIFIER_PAGERDUTY_URL": f"{sandbox}/v2/enqueue",
        "NOTIFIER_WEBHOOK_URL": f"{sandbox}/hooks/bench",
        "SANDBOX_KEEP_MESSAGES": "10000",
    }


def run(seconds: int, starts: int, offset: int) -> Report:
    report = Report("notifier_pace", f"an alert a second for {seconds} s to {', '.join(CHANNELS)}; {starts} starts")
    for near in (True, False):
        with tempfile.TemporaryDirectory(prefix="tillwatch-pace-") as folder:
            here = offset if near else offset + 50
            settings = settings_in(Path(folder), here) | {"NOTIFIER_POLL_S": "" if near else f"{SLOWEST_POLL_S:g}"}
            stage = KillStage(Path(folder) / "data", here, settings)
            try:
                for part in PARTS:
                    stage.start(part)
                wait_for(lambda stage=stage: stage.ask("notifier", "/-/ready"), 60, "all parts ready")  # type: ignore[misc]
                pace(stage, report, seconds, near)
                if near:
                    begin(stage, report, starts)
            finally:
                stage.close()
    return report


def pace(stage: KillStage, report: Report, seconds: int, near: bool) -> None:
    """One service after the other fails. near: the gateway of this machine tells of a commit; else it is polled."""
    began = time.monotonic()
    chance = random.Random(seconds)
    for number in range(seconds):
        # Anywhere in its second, or each would meet the poll at the same distance.
        time.sleep(max(0.0, began + number + chance.random() - time.monotonic()))
        stage.fail(f"shop-{number:04d}")

    def receipts() -> list[tuple[str, str, str]]:
        """Incident, channel and when: edits are sent too, but tell nobody of an incident."""
        heard = stage.ask("notifier", "/api/incidents?limit=10000")["incidents"]
        return [
            (one["incident_id"], told["channel"], told["at"])
            for one in heard
            for told in one["told"]
            if told["state"] == "sent"
        ]

    wait_for(lambda: len(receipts()) >= seconds * len(CHANNELS), 60, "all told")
    at_ms = {alert.incident_id: to_ms(alert.ingested_at) for alert in published(stage.offset)}
    took: dict[str, list[float]] = {name: [] for name in CHANNELS}
    for incident, channel, at in receipts():
        took[channel].append((_ms(at) - at_ms[incident]) / 1000)
    interval_s, how = (NEAR_S, "told by the gateway") if near else (SLOWEST_POLL_S, f"polled each {SLOWEST_POLL_S:g} s")
    for name in CHANNELS:
        report.row(f"{how}: alerts told by {name}", len(took[name]), "", exactly=seconds)
        report.row(f"{how}: publish to receipt of {name}, median", statistics.median(took[name]), "s")
        report.row(f"{how}: publish to receipt of {name}, p95", percentile(took[name], 95), "s", at_most=interval_s + 1)


def begin(stage: KillStage, report: Report, starts: int) -> None:
    """From the start of the process to the first good look at the data, over the ledger that is there."""
    took = []
    for _ in range(starts):
        stage.kill("notifier")
        began = time.monotonic()
        stage.start("notifier")
        wait_for(lambda: looked(stage), 60, "a first look")
        took.append(time.monotonic() - began)
    report.row("start to first look, median", statistics.median(took), "s")
    report.row("start to first look, slowest", max(took), "s", at_most=3)


def looked(stage: KillStage) -> bool:
    return any(
        metric(stage, f'tillwatch_notifier_polls_total{{outcome="{outcome}"}}')
        for outcome in ("planned", "nothing_new", "unchanged")
    )


def _ms(moment: str) -> int:
    return to_ms(datetime.fromisoformat(moment))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--port-offset", type=int, default=7700)
    arguments = parser.parse_args()
    run(arguments.seconds, arguments.starts, arguments.port_offset).finish()


if __name__ == "__main__":
    main()
