"""The stack beside a plain job of seven streaming queries: the rates that both reach, and how fresh a KPI is.

Kafka, Nessie, S3 and the gateway on this machine, the same servers for both, one after the other; events are made
before and sent in bulk (`producers load`). The plain job (bench/plain_spark.py) has the session of our driver: heap,
cores, jars. It may write to a branch of its own; both are asked over Flight, in the same way.

Promise: a backlog of 2 million events drains at 12,000 events/s or more; 8,000 events/s come in without growing lag; at
a rate that both keep up with, the p95 of event to KPI row is at most a twentieth of the plain job's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.driver import Batches, batch_rows, handled, phases, sample, write_lag
from bench.freshness import AskedTables, HeadWatch, OrderFreshness, freshness, reached_to
from bench.latency import percentile
from bench.pipelines import Offsets, Stack
from bench.plain_spark import AGAIN, TABLES, WATERMARK_S
from bench.processes import free_offset
from bench.report import Report
from bench.servers import NO_ANCESTOR, Servers
from lakehouse import ROOT
from lakehouse.sinks import KafkaSink
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from pipeline.storage.nessie import Nessie
from producers.load import made_before, send_load
from producers.pace import SystemClock

DRAIN_LIMIT, LIVE_RATE, FRESH_LIMIT = 12_000.0, 8_000.0, 1 / 20
BRANCH = "plain-job"
OURS, PLAIN = AskedTables(), AskedTables(BRANCH, only_ended=True)
SENDERS = 2
WARM_S = 30.0
"""Of each rate's beginning, which is not measured."""
FEW = 20_000
DRAINED_WITHIN_S = 420.0
TAIL_S = 240.0
"""How long an event may take before it counts as never answered."""
_SENT = re.compile(r"([\d,]+) events in ([\d.]+) s")


@dataclass(frozen=True)
class Drained:
    """How a backlog went: from the first batch's begin to the last message's commit."""

    events: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


# ---- what both are given --------------------------------------------------------------------------------------------


def fill(pipeline: Stack, events: int) -> Offsets:
    """Put a backlog into Kafka, by as many senders as there are cores; where it ends."""
    pipeline.sink().close()  # makes the topics
    shares = [events // SENDERS] * (SENDERS - 1) + [events - events // SENDERS * (SENDERS - 1)]
    with ProcessPoolExecutor(SENDERS, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_send, [pipeline.brokers] * SENDERS, range(SENDERS), shares))
    return pipeline.log_ends()


def _send(brokers: str, number: int, events: int) -> None:
    with KafkaSink(brokers) as sink:
        send_load(made_before(1, tuple(TOPICS)), sink, SystemClock(), Stop(), None, events, f"b{number}")


@contextmanager
def loaded(pipeline: Stack, rate: float, seconds: float) -> Iterator[None]:
    """So many events a second while in the block, for at most so many seconds."""
    words = ("load", "--rate", f"{rate:g}", "--duration", f"{seconds:.0f}s", *pipeline.sink_words)
    begin = _size(pipeline.log_of("load"))
    pipeline.start("load", [sys.executable, "-u", "-m", "producers", *words])
    try:
        while _size(pipeline.log_of("load")) == begin:  # what it says first: the events are made
            _check(pipeline, "load")
            time.sleep(0.05)
        yield
    finally:
        pipeline.stop("load")


def sent(pipeline: Stack) -> float:
    """Events a second that the last load has sent."""
    events, seconds = _SENT.findall(pipeline.log_of("load").read_text(encoding="utf-8"))[-1]
    return float(events.replace(",", "")) / float(seconds)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(pipeline: Stack, name: str) -> None:
    """Raises SystemExit when a process ended by itself."""
    if not pipeline.runs(name):
        words = pipeline.log_of(name).read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise SystemExit(f"bench: {name} has ended:\n" + "\n".join(words))


def minute_now() -> datetime:
    """The minute that is under way."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def measure_freshness(pipeline: Stack, job: str, asked: AskedTables, rate: float, minutes: float) -> OrderFreshness:
    """How fresh the rows of a job, which has caught up, are at a rate."""
    with loaded(pipeline, rate, WARM_S + 60 * minutes + TAIL_S):
        time.sleep(WARM_S)
        since = minute_now()
        watch = HeadWatch(pipeline.dremio, asked, since)
        watch.start()
        begin = time.time()
        while (end := time.time()) < begin + 60 * minutes:
            _check(pipeline, job)
            time.sleep(1)
        # Until the last of them is counted: where a window's row comes once it is much later.
        orders = asked.orders(pipeline.dremio, since)
        while time.time() < end + TAIL_S:
            _check(pipeline, job)
            orders = asked.orders(pipeline.dremio, since)
            wanted = end if asked.only_ended else sum(produced < end for produced, _ in orders)
            if reached_to(watch.raw) >= end and reached_to(watch.kpi) >= wanted:
                break
            time.sleep(2)
        watch.stop()
    return freshness(orders, watch.raw, watch.kpi, asked.only_ended, (begin, end))


# ---- ours -----------------------------------------------------------------------------------------------------------


def drain(pipeline: Stack, ends: Offsets) -> Drained:
    """From the first batch's begin to the publish that holds the last message; the driver has just been started."""
    pipeline.wait_reading()
    began = time.monotonic()
    while any(pipeline.positions().get(place, 0) < end for place, end in ends.items()):
        _check(pipeline, "engine")
        if time.monotonic() > began + DRAINED_WITHIN_S:
            raise SystemExit(f"bench: the backlog is not in after {DRAINED_WITHIN_S:g} s:\n{pipeline.last_words()}")
        time.sleep(0.2)
    return Drained(sum(ends.values()), time.monotonic() - began)


def live(pipeline: Stack, report: Report, rate: float, minutes: float) -> None:
    """A rate that must be held: what comes in goes out, and the lag does not grow."""
    with loaded(pipeline, rate, WARM_S + 60 * minutes):
        time.sleep(WARM_S)
        batches, first, began = Batches(pipeline), sample(pipeline), time.monotonic()
        batches.start()
        time.sleep(60 * minutes - 2)
        last, seconds = sample(pipeline), time.monotonic() - began
        batches.stop()
        while pipeline.runs("load"):
            time.sleep(0.1)
    report.row("ours, live: sent", sent(pipeline), "events/s", at_least=0.98 * rate)
    report.row("ours, live: handled", handled(first, last) / seconds, "events/s", at_least=0.97 * rate)
    write_lag(report, batches.lag, minutes, rate)
    batch_rows(report, [taken for _, taken in batches.taken], phases(first, last))


# ---- the plain job --------------------------------------------------------------------------------------------------


@contextmanager
def plain_job(pipeline: Stack, folder: Path, trigger: str, shuffle_partitions: int) -> Iterator[Path]:
    """The plain job, on a branch of its own that holds nothing yet; the folder of its queries' checkpoints."""
    nessie = Nessie(pipeline.servers.nessie_uri)
    nessie.create(BRANCH, NO_ANCESTOR)
    nessie.close()
    script = "from bench.plain_spark import main; main()"
    words = ("--branch", BRANCH, "--folder", str(folder), "--trigger", trigger)
    path = os.pathsep.join([str(ROOT), str(ROOT / "spark-apps")])
    conf = json.dumps({"spark.sql.shuffle.partitions": str(shuffle_partitions)})
    pipeline.start("plain", [sys.executable, "-c", script, *words], {"PYTHONPATH": path, "TILLWATCH_SPARK_CONF": conf})
    try:
        yield folder / "checkpoints"
    finally:
        pipeline.stop("plain")


def committed(checkpoint: Path) -> Offsets:
    """Up to where a query has committed its sink, a partition: Spark notes a batch's end, later that it is done."""
    done = [int(path.name) for path in (checkpoint / "commits").glob("[0-9]*")]
    if not done:
        return {}
    lines = (checkpoint / "offsets" / str(max(done))).read_text(encoding="utf-8").splitlines()
    return {(topic, int(number)): end for topic, of in json.loads(lines[-1]).items() for number, end in of.items()}


def behind(checkpoints: Path, ends: Offsets) -> int:
    """Messages that the slowest reader of each topic has not committed."""
    missing = 0
    for (topic, number), end in ends.items():
        readers = [committed(checkpoints / table) for table, kind in TABLES.items() if f"{kind}_topic" == topic]
        missing += end - min((found.get((topic, number), 0) for found in readers), default=end)
    return missing


def drain_plain(pipeline: Stack, checkpoints: Path) -> Drained:
    """From the first query's first batch to the commit of the last query's last message."""
    ends = pipeline.log_ends()
    while not list(checkpoints.glob("*/offsets/0")):
        _check(pipeline, "plain")
        time.sleep(0.05)
    began = time.monotonic()
    while behind(checkpoints, ends):
        _check(pipeline, "plain")
        if time.monotonic() > began + DRAINED_WITHIN_S:
            raise SystemExit(f"bench: the plain job has not read the backlog after {DRAINED_WITHIN_S:g} s")
        time.sleep(0.2)
    return Drained(sum(ends.values()), time.monotonic() - began)


# ---- the command ----------------------------------------------------------------------------------------------------


def run_ours(
    pipeline: Stack, ends: Offsets, options: argparse.Namespace, reports: Mapping[str, Report]
) -> OrderFreshness:
    """Everything of our driver; its freshness, of no event where that is not asked for."""
    pipeline.start_engine()
    fresh = OrderFreshness((), ())
    if "drain" in reports:
        drained, report = drain(pipeline, ends), reports["drain"]
        report.row("ours: drained", drained.rate, "events/s", at_least=DRAIN_LIMIT)
        for phase, seconds in phases({}, sample(pipeline)).items():
            report.row(f"ours: phase {phase}, mean", seconds, "s", beside=True)
    else:
        drain(pipeline, ends)
    if "live" in reports:
        live(pipeline, reports["live"], options.live_rate, options.live_minutes)
    if "fresh" in reports:
        fresh = measure_freshness(pipeline, "engine", OURS, options.rate, options.minutes)
    pipeline.stop_engine()
    return fresh


def run_plain(
    pipeline: Stack, folder: Path, options: argparse.Namespace, reports: Mapping[str, Report]
) -> OrderFreshness:
    """The same of the plain job, which is given what ours was."""
    with plain_job(pipeline, folder, options.trigger, options.shuffle_partitions) as checkpoints:
        drained = drain_plain(pipeline, checkpoints)
        if "drain" in reports:
            name = f"plain: drained, of {drained.events:,} events that ours has had by then"
            reports["drain"].row(name, drained.rate, "events/s", beside=True)
        if "fresh" not in reports:
            return OrderFreshness((), ())
        fresh = measure_freshness(pipeline, "plain", PLAIN, options.rate, options.minutes)
        again = pipeline.log_of("plain").read_text(encoding="utf-8", errors="replace").count(AGAIN)
        reports["fresh"].row("plain: queries that failed and were begun again", again, "")
        return fresh


def write_freshness(report: Report, found: OrderFreshness, name: str) -> None:
    for row, seconds in (("raw", found.raw), ("KPI", found.kpi)):
        for per_cent in (50, 95):
            told = f"{name}: event to {row} row, p{per_cent} of {len(seconds)}"
            report.row(told, percentile(seconds, per_cent), "s", beside=True)


def compare(report: Report, ours: OrderFreshness, plain: OrderFreshness) -> None:
    """KPI rows beside KPI rows: they are what the console's tiles show. Raw rows are told, with no limit."""
    write_freshness(report, ours, "ours")
    write_freshness(report, plain, "plain")
    p95 = percentile(plain.kpi, 95)
    report.row("plain: event to KPI row, p95 less the watermark", p95 - WATERMARK_S, "s", beside=True)
    report.row("event to raw row, p95, ours / plain", percentile(ours.raw, 95) / percentile(plain.raw, 95), "x")
    report.row("event to KPI row, p95, ours / plain", percentile(ours.kpi, 95) / p95, "x", at_most=FRESH_LIMIT)


def main() -> None:
    """`python -m bench plain_job`."""
    parser = argparse.ArgumentParser(prog="bench plain_job", description=__doc__)
    parser.add_argument("--part", action="append", choices=("drain", "live", "fresh"), help="repeatable; all")
    parser.add_argument("--events", type=int, default=2_000_000, help="of the backlog")
    parser.add_argument("--live-rate", type=float, default=LIVE_RATE, help="events/s")
    parser.add_argument("--live-minutes", type=float, default=2)
    parser.add_argument("--rate", type=float, default=200, help="events/s at which freshness is compared")
    parser.add_argument("--minutes", type=float, default=3, help="that freshness is measured for")
    parser.add_argument("--trigger", default="0 seconds", help="of the plain job's queries; 0: as soon as they can")
    parser.add_argument("--shuffle-partitions", type=int, default=2, help="of the plain job; Spark's own are 200")
    options = parser.parse_args()
    told = {
        "drain": f"a backlog of {options.events:,} events, from the first batch's begin: the highest rate of each",
        "live": f"{options.live_rate:g} events/s for {options.live_minutes:g} min, made before",
        "fresh": f"{options.rate:g} events/s for {options.minutes:g} min, one job after the other on the same servers; "
        f"the plain one with a trigger of {options.trigger}, {options.shuffle_partitions} shuffle partitions, "
        f"a watermark of {WATERMARK_S} s",
    }
    reports = {part: Report(f"plain_job-{part}", told[part]) for part in options.part or told}
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as name,
        Servers(Path(name) / "servers", free_offset()) as servers,
        Stack(servers, Path(name) / "stack") as pipeline,
    ):
        # Some in any case: the plain job's queries begin with their first message.
        ends = fill(pipeline, options.events if "drain" in reports else FEW)
        ours = run_ours(pipeline, ends, options, reports)
        if reports.keys() != {"live"}:
            plain = run_plain(pipeline, Path(name) / "plain", options, reports)
    if "fresh" in reports:
        compare(reports["fresh"], ours, plain)
    kept = True
    for report in reports.values():
        try:
            report.finish()
        except SystemExit:
            kept = False
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
