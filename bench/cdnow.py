"""A real order history through the whole embedded pipeline, with ingest killed again and again.

Promise: 6,919 rows and 244,091.94 in orders_processed and over the minutes of orders_revenue_per_minute, asked through
the Flight port: after one replay, after 20 x kill -9 of ingest during a replay, and after a second replay of the file.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.pipelines import Embedded, Pipeline
from bench.report import Report
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio

CDNOW = ROOT / "tests" / "data" / "cdnow_sample.txt"
ROWS, TOTAL = 6919, Decimal("244091.94")
KILL_WITHIN = 3.0  # s after ingest is ready


@dataclass(frozen=True)
class Sums:
    """Orders and revenue, of raw rows and over the minutes."""

    rows: int
    total: Decimal
    minutes_rows: int
    minutes_total: Decimal

    @property
    def right(self) -> bool:
        return (self.rows, self.total, self.minutes_rows, self.minutes_total) == (ROWS, TOTAL, ROWS, TOTAL)


SETTINGS = {
    "MAX_EVENT_AGE": "off",
    # A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
    "INGEST_HEARTBEAT_EVERY": "2 s",
}
"""What a pipeline needs for this history."""


def sums(dremio: Dremio) -> Sums:
    """What the Flight port answers, both questions at one commit."""
    at = f'AT COMMIT "{dremio.head()}"'
    raw = dremio.sql(
        f"SELECT COUNT(*) AS n, SUM(order_total) AS total FROM nessie_minio_catalog.ecommerce_db.orders_processed {at}"
    ).to_pylist()[0]
    minutes = dremio.sql(
        "SELECT SUM(orders_count) AS n, SUM(total_revenue) AS total "
        f"FROM nessie_minio_catalog.ecommerce_db.orders_revenue_per_minute {at}"
    ).to_pylist()[0]
    return Sums(raw["n"], raw["total"] or Decimal(0), minutes["n"] or 0, minutes["total"] or Decimal(0))


def replay(pipeline: Pipeline, rate: float | None = None) -> subprocess.Popen[bytes]:
    """Send the history; with a rate in lines/s in the background."""
    command = [sys.executable, "-m", "producers", "replay", str(CDNOW), "--format", "cdnow", "--original-times"]
    if rate is not None:
        command += ["--rate", str(rate)]
    return subprocess.Popen(
        [*command, *pipeline.sink_words],
        cwd=ROOT,
        env=pipeline.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def plain(pipeline: Pipeline) -> dict[str, Any]:
    """Replay once whole: its sums, and how long it took in s."""
    started = time.monotonic()
    pipeline.start_engine()
    _whole(replay(pipeline))
    pipeline.wait_until_read()
    return {"once": sums(pipeline.dremio), "plain seconds": time.monotonic() - started}


def killed(pipeline: Pipeline, kills: int, rate: float, kill_within: float) -> dict[str, Any]:
    """Replay with kills of the engine, then once more: the sums of each, and how long it took in s."""
    started = time.monotonic()
    draw = random.Random(11)
    pipeline.start_engine()
    running = replay(pipeline, rate)
    for _ in range(kills):
        pipeline.wait_reading()
        time.sleep(draw.uniform(0, kill_within))
        pipeline.kill_engine()
        pipeline.start_engine()
    _whole(running)
    pipeline.wait_until_read()
    found: dict[str, Any] = {"after kills": sums(pipeline.dremio)}
    _whole(replay(pipeline))
    pipeline.wait_until_read()
    found["after a second replay"] = sums(pipeline.dremio)
    return found | {"killed seconds": time.monotonic() - started}


def _whole(running: subprocess.Popen[bytes]) -> None:
    if running.wait() != 0:
        raise RuntimeError(f"the replay of {CDNOW.name} ended with {running.returncode}")


def run(folder: Path, port_offset: int, kills: int, rate: float, kill_within: float = KILL_WITHIN) -> dict[str, Any]:
    """On the embedded engine: replay once whole; replay with kills, then once more."""
    with Embedded(folder / "plain", port_offset, SETTINGS) as pipeline:
        found = plain(pipeline)
    with Embedded(folder / "killed", port_offset, SETTINGS) as pipeline:
        return found | killed(pipeline, kills, rate, kill_within)


def main() -> None:
    """`python -m bench cdnow`."""
    parser = argparse.ArgumentParser(prog="bench cdnow", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=float, default=200, help="lines/s of the replay with kills")
    parser.add_argument("--port-offset", type=int, default=7100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), arguments.port_offset, arguments.kills, arguments.rate)
    report = Report("cdnow", f"{CDNOW.name} --original-times, {arguments.kills} kills at {arguments.rate:g} lines/s")
    for name in ("once", "after kills", "after a second replay"):
        sums = found[name]
        report.row(f"{name}: rows", sums.rows, "", exactly=ROWS)
        report.row(f"{name}: total", float(sums.total), "$")
        report.row(f"{name}: rows over minutes", sums.minutes_rows, "")
        report.row(f"{name}: total over minutes", float(sums.minutes_total), "$", exactly=float(TOTAL))
    report.row("time of the plain replay", found["plain seconds"], "s")
    report.row("time with kills and second replay", found["killed seconds"], "s")
    report.finish()


if __name__ == "__main__":
    main()
