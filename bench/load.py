"""Load on the embedded pipeline: what an event costs as the rate grows, 50,000 a second live, a backlog of 5 million.

Events are made before and sent in bulk (`producers load`), the gateway beside it is asked each half second. Promise:
50,000 events/s for 2 minutes without growing lag; CPU of ingest grows from 25,000 to 50,000/s at most 1.2 x as much as
from 5,000 to 25,000/s, an event; a backlog of 5 million drains at 100,000/s or more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.ingest import next_offsets, written
from bench.processes import free_offset
from bench.report import Report
from embedded.log import EventLog
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from lakehouse.sinks import EventLogSink
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from producers.load import made_before, send_load
from producers.pace import SystemClock

RATES = (5_000, 25_000, 50_000)
WARM_S = 15.0
"""Of the beginning, which is not measured: what is made at the first use, and the first minutes of the tables."""


@dataclass(frozen=True)
class Loaded:
    """What one rate gave. `cpu`: seconds of ingest a second of load; lags in events; `rate`: events a second sent."""

    rate: float
    cpu: float
    early: int
    late: int
    memory_mb: float


class Pipe:
    """Gateway and ingest of a data directory, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        offset = free_offset()
        self._environment = os.environ | {"TILLWATCH_DATA_DIR": str(folder), "TILLWATCH_PORT_OFFSET": str(offset)}
        self.gateway = self.start("embedded.gateway")
        self.dremio = Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + offset}"))
        self.ingest: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begin(self) -> None:
        """Start ingest, and wait for its first publish."""
        self.ingest = self.start("embedded.ingest")
        while not (self.folder / "catalog.db").exists() or self.dremio.state.status != "up":
            time.sleep(0.1)
            next_offsets(self.dremio)

    def cpu_s(self) -> float:
        assert self.ingest is not None
        times = psutil.Process(self.ingest.pid).cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        assert self.ingest is not None
        return float(psutil.Process(self.ingest.pid).memory_info().rss) / 2**20

    def close(self) -> None:
        self.dremio.close()
        for part in (self.ingest, self.gateway):
            if part is not None:
                part.terminate()
                part.wait(20)


@contextmanager
def pipe() -> Iterator[Pipe]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Pipe(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def live(rate: int, seconds: float) -> Loaded:
    """One rate for so many seconds, after WARM_S of it."""
    with pipe() as opened:
        opened.begin()
        producer = opened.start("producers", "load", "--rate", str(rate), "--duration", f"{WARM_S + seconds:g}s")
        assert producer.stdout is not None
        producer.stdout.readline()  # the events are made
        time.sleep(WARM_S)
        lags: list[tuple[float, int]] = []
        with EventLog(opened.folder / "events.db") as log:
            began, cpu, sent = time.monotonic(), opened.cpu_s(), written(log)
            while producer.poll() is None:
                time.sleep(0.5)
                held = next_offsets(opened.dremio)
                lags.append((time.monotonic() - began, written(log) - held))
            took = time.monotonic() - began
            sent = written(log) - sent
        cpu = opened.cpu_s() - cpu
        third = took / 3
        early = max(lag for at, lag in lags if at < third)
        late = max(lag for at, lag in lags if at >= 2 * third)
        return Loaded(sent / took, cpu / took, early, late, opened.memory_mb())


def backlog(events: int) -> tuple[float, float]:
    """Events a second, and CPU seconds of ingest, for a log that holds so many when ingest starts."""
    with pipe() as opened:
        messages = made_before(1, tuple(TOPICS))
        with EventLogSink(opened.folder / "events.db") as sink:
            send_load(messages, sink, SystemClock(), Stop(), None, events, "b-1")
        with EventLog(opened.folder / "events.db") as log:
            total = written(log)
        began = time.monotonic()
        opened.begin()
        while next_offsets(opened.dremio) < total:
            time.sleep(0.1)
        return total / (time.monotonic() - began), opened.cpu_s()


def main() -> None:
    """`python -m bench load`."""
    parser = argparse.ArgumentParser(prog="bench load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="at the highest rate; half of it at the others")
    parser.add_argument("--backlog", type=int, default=5_000_000, help="events; 0: none")
    arguments = parser.parse_args()
    found = {rate: live(rate, arguments.seconds if rate == RATES[-1] else arguments.seconds / 2) for rate in RATES}
    report = Report(
        "load",
        f"{', '.join(f'{rate:,}' for rate in RATES)} events/s for {arguments.seconds:g} s and half of it; gateway "
        f"beside it; a backlog of {arguments.backlog:,} events, from the start of ingest",
    )
    for rate, run in found.items():
        report.row(f"{rate:,}/s: sent", run.rate, "events/s", at_least=0.98 * rate)
        report.row(f"{rate:,}/s: CPU of ingest", 100 * run.cpu, "% of a core")
        report.row(f"{rate:,}/s: largest lag, last third / first", run.late / max(run.early, 1), "x", at_most=2.0)
        report.row(f"{rate:,}/s: largest lag", max(run.early, run.late), "events")
        report.row(f"{rate:,}/s: memory of ingest (RSS)", run.memory_mb, "MB")
    low, middle, high = (found[rate] for rate in RATES)
    lower = (middle.cpu - low.cpu) / (middle.rate - low.rate)
    upper = (high.cpu - middle.cpu) / (high.rate - middle.rate)
    report.row("an event more, 5,000 to 25,000/s", lower * 1e6, "us of CPU", beside=True)
    report.row("an event more, 25,000 to 50,000/s", upper * 1e6, "us of CPU", beside=True)
    report.row("an event more, the upper step / the lower", upper / lower, "x", at_most=1.2)
    if arguments.backlog:
        drained, cpu = backlog(arguments.backlog)
        report.row("backlog: drained", drained, "events/s", at_least=100_000)
        report.row("backlog: CPU of ingest", cpu / arguments.backlog * 1e6, "us an event", beside=True)
    report.finish()


if __name__ == "__main__":
    main()
