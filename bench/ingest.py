"""Ingest under load: 10,000 events/s for 2 minutes, read as fast as they come.

Promise: lag does not grow: the largest lag of the last 30 s <= 2 x that of the 30 s after the first 30.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.report import Report
from embedded.log import EventLog
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.events import TOPICS
from lakehouse.settings.dremio import DremioSettings


def next_offsets(dremio: Dremio) -> int:
    """Messages that the newest publish holds, over all topics."""
    try:
        rows = dremio.sql("SELECT next_offset FROM nessie_minio_catalog.ecommerce_db.ingest_positions").to_pylist()
    except DremioError:
        return 0
    return sum(int(row["next_offset"]) for row in rows)


def written(log: EventLog) -> int:
    """Messages that the log holds."""
    return sum(log.bounds(topic)[1] for topic in TOPICS)


def main() -> None:
    """`python -m bench ingest`."""
    parser = argparse.ArgumentParser(prog="bench ingest", description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000, help="events/s")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--port-offset", type=int, default=7200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "TILLWATCH_DATA_DIR": folder,
            "TILLWATCH_PORT_OFFSET": str(arguments.port_offset),
        }

        def start(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-m", *words], env=environment, stderr=subprocess.DEVNULL)

        gateway, ingest = start("embedded.gateway"), start("embedded.ingest")
        dremio = Dremio(DremioSettings.load(uri=f"grpc://localhost:{32010 + arguments.port_offset}"))
        try:
            while next_offsets(dremio) == 0 and not (Path(folder) / "catalog.db").exists():
                time.sleep(0.2)
            time.sleep(3)
            producer = start(
                "producers", "shoppers", "--flat", "--rate", str(arguments.rate), "--duration", f"{arguments.seconds}s"
            )
            lags: list[tuple[float, int]] = []
            cpu_before = psutil.Process(ingest.pid).cpu_times()
            started = time.monotonic()
            with EventLog(Path(folder) / "events.db") as log:
                while producer.poll() is None:
                    time.sleep(0.5)
                    held = next_offsets(dremio)
                    lags.append((time.monotonic() - started, written(log) - held))
                ended = time.monotonic()
                total = written(log)
                while next_offsets(dremio) < total and time.monotonic() < ended + 60:
                    time.sleep(0.1)
                drained = time.monotonic() - ended
            process = psutil.Process(ingest.pid)
            cpu_after, memory = process.cpu_times(), process.memory_info().rss / 2**20
        finally:
            dremio.close()
            for part in (ingest, gateway):
                part.terminate()
                part.wait(20)

    def largest(start_s: float, end_s: float) -> int:
        return max((lag for at, lag in lags if start_s <= at < end_s), default=0)

    seconds = ended - started
    cpu = cpu_after.user + cpu_after.system - cpu_before.user - cpu_before.system
    early, late = largest(30, 60), largest(seconds - 30, seconds + 1)
    report = Report("ingest", f"{arguments.rate:,} events/s for {arguments.seconds} s, gateway beside it")
    report.row("events written", total, "")
    report.row("rate written", total / seconds, "events/s", at_least=0.98 * arguments.rate)
    report.row("largest lag, 30 to 60 s", early, "events")
    report.row("largest lag, last 30 s", late, "events")
    report.row("late / early", late / max(early, 1), "x", at_most=2.0)
    report.row("last event in after", drained, "s")
    report.row("CPU of ingest", 100 * cpu / seconds, "% of a core")
    report.row("memory of ingest (RSS)", memory, "MB")
    report.finish()


if __name__ == "__main__":
    main()
