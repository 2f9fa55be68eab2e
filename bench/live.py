"""Event to pixel, FATAL to Slack, CPU and memory of `tillwatch demo` with one viewer, at 20 and at 100 events/s."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.browser import browser_page, changes, watch
from bench.driver import mean_batch, phases, sample
from bench.latency import SentEvent, first_seen, per_element, percentile
from bench.processes import MEMORY, Cpu, Demo, memory_by_part
from bench.report import Report
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.statement import fill
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS

PIXEL_LIMIT_S: Mapping[float, float] = {20: 1.3, 100: 1.0}
SLACK_LIMIT_S = 0.3
CPU_LIMIT, MEMORY_LIMIT_MB = 30.0, 1000.0
FILLED_LIMIT_S, WHILE_FILLING_LIMIT_S = 90.0, 3.0
TAIL_S = 10.0
"""How long an event may take to be seen before it counts as never seen."""

# Events produced in a span. Those of the past that is being filled in meanwhile have an older time.
_ORDERS = """SELECT produced_at FROM {orders_processed}
WHERE produced_at >= :since AND produced_at < :until AND order_ts >= :lately"""
_CLICKS = """SELECT produced_at FROM {clicks_processed}
WHERE produced_at >= :since AND produced_at < :until AND click_ts >= :lately"""
_ERRORS = """SELECT produced_at FROM {errors_processed}
WHERE produced_at >= :since AND produced_at < :until AND error_ts >= :lately AND severity IN ('ERROR', 'FATAL')"""
_READ = """SELECT produced_at, ingested_at FROM {orders_processed}
WHERE produced_at >= :since AND produced_at < :until AND order_ts >= :lately"""
_FATALS = """SELECT service_name, MIN(produced_at) AS produced_at FROM {errors_processed}
WHERE produced_at >= :since AND produced_at < :until AND severity = 'FATAL' AND service_name LIKE 'bench-%'
GROUP BY service_name"""


@dataclass
class Measured:
    """What one run gave. Seconds; CPU in per cent of a core and memory in MB, by part.

    `filled_s` is when the past was filled in, from the start, 0 without; `while_filling` is event to pixel until then.
    `statements` are those that the console sends a minute. `to_ingest` is from an order to when ingest read it, `batch`
    the mean from there to its publish, `phases` that of each of its phases.
    """

    events: int
    by_element: dict[str, list[float]]
    first: list[float]
    to_slack: list[float]
    cpu: dict[str, float]
    memory: dict[str, float]
    filled_s: float
    while_filling: list[float]
    statements: float
    to_ingest: list[float]
    batch: float
    phases: dict[str, float]


def measure(rate: float, minutes: float, fatal_every_s: float, words: Sequence[str]) -> Measured:
    """One demo at a rate: so many minutes after it has filled in the past. `words` go to it too."""
    with browser_page() as page, Demo(("--rate", f"{rate:g}", *words)) as demo:
        demo.wait_live()
        watch(page, demo.url("console"))
        opened = _now()
        filled_s = 0.0 if "--no-fill" in words else demo.wait_filled()
        filled = _now() - timedelta(seconds=demo.seconds - filled_s)
        with fatals(demo, fatal_every_s):
            since, cpu, asked, begun = _now(), Cpu(demo), statements(demo), sample(demo, "ingest")
            demo.sleep(60 * minutes, cpu)
            asked, ended = statements(demo) - asked, sample(demo, "ingest")
            until, used, memory = _now(), cpu.percent(), memory_by_part(demo)
            demo.sleep(TAIL_S)
        seen = changes(page)
        with Dremio(dremio_of(demo)) as dremio:
            events = events_of(dremio, since, until)
            early = events_of(dremio, opened, filled) if filled > opened else []
            fatal = fatals_of(dremio, since, until) if fatal_every_s else []
            read = _rows(dremio, _READ, since, until)
        return Measured(
            len(events),
            per_element(events, seen),
            first_seen(events, seen),
            to_slack(fatal, demo) if fatal_every_s else [],
            used,
            memory,
            filled_s,
            first_seen(early, seen),
            asked / minutes,
            [(_ms(row["ingested_at"]) - _ms(row["produced_at"])) / 1000 for row in read],
            mean_batch(begun, ended),
            phases(begun, ended),
        )


def statements(demo: Demo) -> float:
    """How many the console has sent so far, looks at the head among them."""
    return sample(demo, "console")["tillwatch_console_statements_total", ""]


@contextlib.contextmanager
def fatals(demo: Demo, every_s: float, *words: str) -> Iterator[None]:
    """While it lasts, beside the demo's shoppers: a FATAL each so many seconds, of another service each time."""
    if not every_s:
        yield
        return
    words = ("--rate", "0.01", "--fatal-every", f"{every_s:g}", "--no-outages", "--seed", "7", *words)
    with shoppers(demo, *words):
        yield


@contextlib.contextmanager
def shoppers(demo: Demo, *words: str) -> Iterator[None]:
    """While it lasts, further shoppers, as their command's words say."""
    child = subprocess.Popen(
        [sys.executable, "-m", "producers", "shoppers", *words],
        cwd=demo.cwd,
        env=demo.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def fatals_of(dremio: Dremio, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Each service of `fatals` that failed in [since, until): service_name, and produced_at of its first FATAL."""
    return _rows(dremio, _FATALS, since, until)


def events_of(dremio: Dremio, since: datetime, until: datetime) -> list[SentEvent]:
    """Every event produced in [since, until) that the Overview shows, from the raw tables."""
    events = [SentEvent("order", _ms(row["produced_at"])) for row in _rows(dremio, _ORDERS, since, until)]
    events += [SentEvent("click", _ms(row["produced_at"])) for row in _rows(dremio, _CLICKS, since, until)]
    events += [SentEvent("failure", _ms(row["produced_at"])) for row in _rows(dremio, _ERRORS, since, until)]
    return events


def to_slack(fatal: list[dict[str, Any]], demo: Demo) -> list[float]:
    """Seconds from each service's first FATAL to the first message that names it; infinity where none does."""
    with urllib.request.urlopen(demo.url("sandbox", "/messages"), timeout=10) as answer:
        messages = json.loads(answer.read())["slack"]
    arrived: dict[str, int] = {}
    for message in messages:
        for service in re.findall(r"bench-\d+", json.dumps(message)):
            arrived[service] = min(arrived.get(service, message["arrived_ms"]), message["arrived_ms"])
    return [(arrived.get(row["service_name"], float("inf")) - _ms(row["produced_at"])) / 1000 for row in fatal]


def _rows(dremio: Dremio, template: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    binds = {"since": since, "until": until}
    if ":lately" in template:
        binds["lately"] = since - timedelta(minutes=1)
    found: list[dict[str, Any]] = dremio.sql(fill(template, None, binds)).to_pylist()
    return found


def dremio_of(demo: Demo) -> DremioSettings:
    """Where its gateway is."""
    return DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + demo.offset}")


def _now() -> datetime:
    return datetime.now(UTC)


def _ms(moment: datetime) -> float:
    return moment.timestamp() * 1000


def tell(rate: float, minutes: float, fatal_every_s: float, found: Measured) -> Report:
    """The figures of one run; the promise is judged on the slowest tile or list."""
    limit = PIXEL_LIMIT_S.get(rate)
    extra = f", a FATAL each {fatal_every_s:g} s" if fatal_every_s else ""
    report = Report(
        f"live-{rate:g}",
        f"tillwatch demo --rate {rate:g}, one viewer in headless Chromium{extra}; {found.events:,} events "
        f"in {minutes:g} min" + (" after the past is filled in" if found.filled_s else ", without a past"),
    )
    p95 = {element: percentile(seconds, 95) for element, seconds in found.by_element.items() if seconds}
    slowest = max(p95, key=lambda element: p95[element])
    for per_cent in (50, 95, 99):
        report.row(
            f"event to pixel, slowest ({slowest}), p{per_cent}",
            percentile(found.by_element[slowest], per_cent),
            "s",
            at_most=limit if per_cent == 95 else None,
        )
    for per_cent in (50, 95, 99):
        seconds = percentile(found.first, per_cent)
        report.row(f"event to first pixel, p{per_cent}", seconds, "s", beside=per_cent == 95)
    # The way of an event: it is read, goes through the batch to its publish, and is asked for and drawn.
    report.row("order to ingest, p95", percentile(found.to_ingest, 95), "s", beside=True)
    report.row("batch to its publish, mean", found.batch, "s", beside=True)
    for phase, seconds in found.phases.items():
        report.row(f"phase {phase}, mean", seconds, "s", beside=True)
    for element in found.by_element:
        if element in p95 and element != slowest:
            report.row(f"event to {element}, p95", p95[element], "s")
    report.row("events never seen", sum(1 for seconds in found.first if seconds == float("inf")), "", at_most=0)
    if found.while_filling:
        seconds = percentile(found.while_filling, 95)
        report.row(
            "while the past is filled in: event to first pixel, p95", seconds, "s", at_most=WHILE_FILLING_LIMIT_S
        )
    if found.to_slack:
        report.row(f"FATAL to Slack, p50 of {len(found.to_slack)}", percentile(found.to_slack, 50), "s")
        report.row("FATAL to Slack, p95", percentile(found.to_slack, 95), "s", at_most=SLACK_LIMIT_S)
    report.row("statements of the console", found.statements, "a minute", beside=True)
    default = rate == 20
    if found.filled_s:
        report.row("start to past filled in", found.filled_s, "s", at_most=FILLED_LIMIT_S if default else None)
    report.row("CPU", sum(found.cpu.values()), "% of a core", at_most=CPU_LIMIT if default else None)
    for part, used in found.cpu.items():
        report.row(f"CPU of {part}", used, "% of a core", beside=part == "ingest")
    total = sum(found.memory.values())
    report.row(f"memory at the end ({MEMORY})", total, "MB", at_most=MEMORY_LIMIT_MB if default else None)
    for part, used in sorted(found.memory.items()):
        report.row(f"memory of {part}", used, "MB")
    return report


def main() -> None:
    """`python -m bench live`."""
    parser = argparse.ArgumentParser(prog="bench live", description=__doc__)
    parser.add_argument("--rate", type=float, action="append", help="events/s; repeatable (20 and 100)")
    parser.add_argument("--minutes", type=float, default=3, help="at each rate, after the past is filled in (3)")
    parser.add_argument("--fatal-every", type=float, default=2.0, help="seconds, above 50 events/s; 0: none (2)")
    parser.add_argument("--no-fill", action="store_true", help="leave the past empty: a shorter run")
    arguments = parser.parse_args()
    words = ("--no-fill",) if arguments.no_fill else ()
    kept = True
    for rate in arguments.rate or (20.0, 100.0):
        fatal_every_s = arguments.fatal_every if rate > 50 else 0.0
        started = time.monotonic()
        found = measure(rate, arguments.minutes, fatal_every_s, words)
        try:
            tell(rate, arguments.minutes, fatal_every_s, found).finish()
        except SystemExit:
            kept = False
        print(f"({time.monotonic() - started:.0f} s)")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
