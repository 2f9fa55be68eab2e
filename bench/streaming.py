"""The real stack with a viewer: event to Flight answer, to pixel, to Slack; 5,000 events/s; 45 minutes' growth.

Promise: event to Flight answer p95 <= 1.5 s for raw and KPI rows, event to pixel p95 <= 2 s, first FATAL of an incident
to Slack p95 <= 2 s; 5,000 events/s without growing lag; p95 of batch time and of each console question in the last five
of 45 minutes <= 1.5 x that of minutes 5 to 10, on an hour filled at the same rate; PSS of all processes <= 5 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.browser import browser_page, changes, watch
from bench.driver import Batches, batch_rows, handled, phases, sample, total, write_lag
from bench.latency import first_seen, per_element, percentile
from bench.live import dremio_of, events_of, fatals, fatals_of, to_slack
from bench.processes import MEMORY, Cpu, Demo, directory_mb, memory_by_part
from bench.report import Report
from bench.soak import Questions
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.kinds import distinct_orders
from lakehouse.settings.ports import PORTS
from lakehouse.settings.shop import OrdersSettings
from lakehouse.tables import RAW_OF_TOPIC

COMMAND = (sys.executable, "-m", "tillwatch", "stack")
FLIGHT_LIMIT_S, PIXEL_LIMIT_S, SLACK_LIMIT_S = 1.5, 2.0, 2.0
GROWTH_LIMIT, MEMORY_LIMIT_MB = 1.5, 5000.0
THROUGHPUT = 5000.0
LIVE_WITHIN_S = 300
FILLED_WITHIN_S = 900
TAIL_S = 15.0
"""How long an event may take before it counts as never answered."""
ASK_EVERY_S = 0.05

_PRODUCED = """SELECT produced_at, source_partition, source_offset FROM {{{table}}}
WHERE produced_at >= :since AND produced_at < :until AND {time} >= :lately"""
_POSITIONS = "SELECT topic, source_partition, next_offset FROM {ingest_positions}"


def stack(words: Sequence[str] = ()) -> Demo:
    """`tillwatch stack` in a directory and on ports of its own."""
    return Demo(words, command=COMMAND)


# ---- event to Flight answer -----------------------------------------------------------------------------------------


@dataclass
class Answered:
    """One commit, and when the answers of a raw and of a KPI question at it had come (seconds since the epoch)."""

    commit: str
    raw_at: float
    kpi_at: float
    positions: Mapping[tuple[str, int], int]


class Probe(threading.Thread):
    """Asks the head 20 times a second, and two of the console's questions of every new commit, until `stop`."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(name="probe", daemon=True)
        self._dremio = Dremio(dremio_of(demo))
        self._counting = OrdersSettings.load().counting
        self._ended = threading.Event()
        self.answered: list[Answered] = []
        self.failed = 0

    def run(self) -> None:
        last = ""
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                commit = self._dremio.head()
                if commit != last:
                    self.answered.append(self._ask(commit))
                    last = commit
            except DremioError:
                self.failed += 1
            self._ended.wait(max(0.0, ASK_EVERY_S - (time.monotonic() - began)))

    def _ask(self, commit: str) -> Answered:
        # Until now, not as_of: what is answered counts, and an event that just came lies after as_of.
        now = datetime.now(UTC) + timedelta(minutes=1)
        since = now - timedelta(minutes=6)
        self._dremio.ask(
            "tiles",
            commit=commit,
            before=since - timedelta(minutes=5),
            since=since,
            as_of=now,
            counted_statuses=self._counting.statuses,
            distinct=distinct_orders(self._counting),
        )
        raw_at = time.time()
        self._dremio.ask("minutes", commit=commit, since=now - timedelta(hours=1), as_of=now)
        kpi_at = time.time()  # the raw question's time counts too, as in a page that asks both
        rows = self._dremio.sql(fill(_POSITIONS, commit, {})).to_pylist()
        positions = {(row["topic"], row["source_partition"]): row["next_offset"] for row in rows}
        return Answered(commit, raw_at, kpi_at, positions)

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._dremio.close()


def to_answer(
    dremio: Dremio, answered: Sequence[Answered], since: datetime, until: datetime
) -> tuple[list[float], list[float]]:
    """Seconds from each event produced in [since, until) to the first raw and to the first KPI answer that holds it."""
    raw: list[float] = []
    kpi: list[float] = []
    for topic, table in RAW_OF_TOPIC.items():
        template = _PRODUCED.format(table=table.name, time=table.event_time)
        binds = {"since": since, "until": until, "lately": since - timedelta(minutes=1)}
        reached: dict[int, list[int]] = {}
        for row in dremio.sql(fill(template, None, binds)).to_pylist():
            partition = row["source_partition"]
            if partition not in reached:
                reached[partition] = [found.positions.get((topic, partition), 0) for found in answered]
            index = bisect_right(reached[partition], row["source_offset"])
            produced = row["produced_at"].timestamp()
            if index == len(answered):
                raw.append(float("inf"))
                kpi.append(float("inf"))
            else:
                raw.append(answered[index].raw_at - produced)
                kpi.append(answered[index].kpi_at - produced)
    return raw, kpi


# ---- the parts ------------------------------------------------------------------------------------------------------


def latency(report: Report, rate: float, minutes: float) -> None:
    """Event to Flight, to pixel and to Slack."""
    with browser_page() as page, stack(("--rate", f"{rate:g}", "--no-fill", "--no-incident")) as demo:
        demo.wait_live(LIVE_WITHIN_S)
        watch(page, demo.url("console"))
        demo.sleep(60)  # until Java has compiled what runs often
        probe, batches = Probe(demo), Batches(demo)
        probe.start()
        batches.start()
        with fatals(demo, 5.0, *_sink(demo)):
            demo.sleep(5)
            since, first, cpu = datetime.now(UTC), sample(demo), Cpu(demo)
            demo.sleep(60 * minutes, cpu)
            until, last, used = datetime.now(UTC), sample(demo), cpu.percent()
            demo.sleep(TAIL_S)
        probe.stop()
        batches.stop()
        seen = changes(page)
        with Dremio(dremio_of(demo)) as dremio:
            raw, kpi = to_answer(dremio, probe.answered, since, until)
            events = events_of(dremio, since, until)
            slack = to_slack(fatals_of(dremio, since, until), demo)
        by_element = per_element(events, seen)
    report.row("events", len(raw), "")
    for name, seconds in (("raw", raw), ("KPI", kpi)):
        for per_cent in (50, 95, 99):
            limit = FLIGHT_LIMIT_S if per_cent == 95 else None
            report.row(
                f"event to Flight answer, {name}, p{per_cent}", percentile(seconds, per_cent), "s", at_most=limit
            )
    p95 = {element: percentile(seconds, 95) for element, seconds in by_element.items() if seconds}
    slowest = max(p95, key=lambda element: p95[element])
    for per_cent in (50, 95, 99):
        report.row(
            f"event to pixel, slowest ({slowest}), p{per_cent}",
            percentile(by_element[slowest], per_cent),
            "s",
            at_most=PIXEL_LIMIT_S if per_cent == 95 else None,
        )
    report.row("event to first pixel, p95", percentile(first_seen(events, seen), 95), "s")
    report.row(f"FATAL to Slack, p50 of {len(slack)}", percentile(slack, 50), "s")
    report.row("FATAL to Slack, p95", percentile(slack, 95), "s", at_most=SLACK_LIMIT_S)
    batch_rows(report, [seconds for _, seconds in batches.taken], phases(first, last))
    for part, percent in used.items():
        report.row(f"CPU of {part}", percent, "% of a core")


def throughput(report: Report, rate: float, minutes: float) -> None:
    """A rate that must be held: what comes in goes out, and the lag does not grow."""
    words = ("--rate", f"{rate:g}", "--no-fill", "--no-incident")
    with browser_page() as page, stack(words) as demo:
        demo.wait_live(LIVE_WITHIN_S)
        watch(page, demo.url("console"))
        demo.sleep(60)
        batches, first, began = Batches(demo), sample(demo), time.monotonic()
        batches.start()
        cpu = Cpu(demo)
        demo.sleep(60 * minutes, cpu)
        last, seconds, used = sample(demo), time.monotonic() - began, cpu.percent()
        batches.stop()
        memory = sum(memory_by_part(demo).values())
    report.row("asked for", rate, "events/s")
    report.row("handled", handled(first, last) / seconds, "events/s", at_least=0.97 * rate)
    write_lag(report, batches.lag, minutes, rate)
    batch_rows(report, [taken for _, taken in batches.taken], phases(first, last))
    report.row(f"memory ({MEMORY})", memory, "MB")
    for part, percent in used.items():
        report.row(f"CPU of {part}", percent, "% of a core")


def growth(report: Report, rate: float, minutes: float) -> None:
    """Batch time, questions and memory, early and late, on an hour filled at the same rate."""
    words = ("--rate", f"{rate:g}", "--fill-rate", f"{rate:g}", "--no-incident")
    with browser_page() as page, stack(words) as demo:
        demo.wait_live(LIVE_WITHIN_S)
        filled_s = demo.wait_filled(FILLED_WITHIN_S)
        _wait_caught_up(demo, rate)
        watch(page, demo.url("console"))
        dremio = Dremio(dremio_of(demo))
        questions, batches, first = Questions(dremio), Batches(demo), sample(demo)
        probe = Probe(demo)
        since = datetime.now(UTC)
        batches.start()
        probe.start()
        began = time.monotonic()
        while (minute := (time.monotonic() - began) / 60) < minutes:
            with contextlib.suppress(DremioError):
                questions.round(minute)
            demo.sleep(2.0)
        until = datetime.now(UTC)
        last, memory, size = sample(demo), memory_by_part(demo), directory_mb(demo.data_dir)
        batches.stop()
        probe.stop()
        window = until - timedelta(minutes=5)
        raw, kpi = to_answer(dremio, probe.answered, max(since, window), until - timedelta(seconds=TAIL_S))
        dremio.close()
    report.row("start to past filled in", filled_s, "s")
    early, late = batches.between(5, 10), batches.between(minutes - 5, minutes + 1)
    report.row("batch time, p95 of minutes 5 to 10", percentile(early, 95), "s")
    report.row("batch time, p95 of the last 5 minutes", percentile(late, 95), "s")
    report.row("batch time, late / early", percentile(late, 95) / percentile(early, 95), "x", at_most=GROWTH_LIMIT)
    ratios = {}
    for question in sorted(questions.taken):
        before, after = questions.p95(question, 5, 10), questions.p95(question, minutes - 5, minutes + 1)
        ratios[question] = after / before
        report.row(f"p95 of {question}, minutes 5 to 10", before, "ms")
        report.row(f"p95 of {question}, last 5 minutes", after, "ms")
    worst = max(ratios, key=lambda question: ratios[question])
    report.row(f"p95 of the worst question ({worst}), late / early", ratios[worst], "x", at_most=GROWTH_LIMIT)
    report.row("event to Flight answer, raw, p95 of the last 5 minutes", percentile(raw, 95), "s")
    report.row("event to Flight answer, KPI, p95 of the last 5 minutes", percentile(kpi, 95), "s")
    batch_rows(report, [seconds for _, seconds in batches.taken], phases(first, last))
    report.row("failed batches", total(last, "tillwatch_ingest_failures_total"), "", exactly=0)
    report.row(f"memory at the end ({MEMORY})", sum(memory.values()), "MB", at_most=MEMORY_LIMIT_MB)
    for part, megabytes in sorted(memory.items()):
        report.row(f"memory of {part}", megabytes, "MB")
    report.row("data directory at the end", size, "MB")


def _wait_caught_up(demo: Demo, rate: float) -> None:
    """Until the driver is at most two seconds of events behind."""
    until = time.monotonic() + FILLED_WITHIN_S
    while time.monotonic() < until:
        found = sample(demo)
        if found and total(found, "tillwatch_ingest_lag") <= 2 * rate:
            return
        demo.sleep(1)
    raise SystemExit("bench: the driver does not catch up with the past that was filled in.")


def _sink(demo: Demo) -> tuple[str, ...]:
    return ("--sink", f"kafka://127.0.0.1:{PORTS['kafka'] + demo.offset}")


type Part = Callable[[Report, float, float], None]

PARTS: dict[str, tuple[Part, float, float, str]] = {
    "latency": (latency, 200, 10, "{rate:g} events/s for {minutes:g} min"),
    "throughput": (throughput, THROUGHPUT, 5, "{rate:g} events/s for {minutes:g} min"),
    "growth": (growth, 200, 45, "{rate:g} events/s for {minutes:g} min on an hour filled at the same rate"),
}
"""Each with its rate, its minutes and its conditions."""


def main() -> None:
    """`python -m bench streaming`."""
    parser = argparse.ArgumentParser(prog="bench streaming", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="repeatable; all")
    parser.add_argument("--rate", type=float, help="events/s (200, throughput 5000)")
    parser.add_argument("--minutes", type=float, help="of each part (10, 5, 45)")
    arguments = parser.parse_args()
    kept = True
    for name in arguments.part or list(PARTS):
        part, rate, minutes, conditions = PARTS[name]
        rate, minutes = arguments.rate or rate, arguments.minutes or minutes
        told = conditions.format(rate=rate, minutes=minutes)
        report = Report(f"streaming-{name}", f"tillwatch stack, {told}, one viewer in headless Chromium")
        began = time.monotonic()
        part(report, rate, minutes)
        try:
            report.finish()
        except SystemExit:
            kept = False
        print(f"({time.monotonic() - began:.0f} s)")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
