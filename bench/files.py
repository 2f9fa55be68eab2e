"""Files of other shops through the whole embedded pipeline, with ingest killed again and again.

Promise: three order histories from Python packages and four shapes of exports, each through the sources.yaml of its
example: orders, revenue, clicks and refunds asked through the Flight port are what the csv module and Decimal count in
the files, to the cent, after 10 x kill -9 of ingest during the replays, and after a second replay of all of them.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import cdnow
from bench.histories import HISTORIES, Counted, History, configured
from bench.pipelines import Embedded, Pipeline
from bench.report import Report
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.tables import CATALOG, SCHEMA

KILL_WITHIN = 3.0  # s after ingest is ready


@dataclass(frozen=True)
class PortAnswer:
    """What the Flight port answers, at one commit: of the raw rows, and of orders over their minutes."""

    raw: Counted
    minutes: Counted

    def right(self, counted: Counted) -> bool:
        return self.raw == counted and self.minutes == counted


def asked(dremio: Dremio) -> PortAnswer:
    at = f'AT COMMIT "{dremio.head()}"'

    def one(what: str, table: str) -> dict[str, Any]:
        row: dict[str, Any] = dremio.sql(f"SELECT {what} FROM {CATALOG}.{SCHEMA}.{table} {at}").to_pylist()[0]
        return {name: value or Decimal(0) for name, value in row.items()}

    cancelled = "SUM(CASE WHEN status = 'CANCELLED' THEN order_total END)"
    raw = one(f"COUNT(*) AS n, SUM(order_total) AS total, {cancelled} AS cancelled", "orders_processed")
    kpi = one(
        "SUM(orders_count) AS n, SUM(total_revenue) AS total, SUM(cancelled_revenue) AS cancelled",
        "orders_revenue_per_minute",
    )
    clicks = one("COUNT(*) AS n", "clicks_processed")["n"]
    by_minute = one("SUM(clicks) AS n", "clicks_per_minute")["n"]
    refunds = one("COUNT(*) AS n, SUM(amount) AS total", "refunds_processed")
    refunded = one("SUM(refunds_count) AS n, SUM(refunded_amount) AS total", "refunds_per_minute")
    return PortAnswer(
        Counted(int(raw["n"]), raw["total"], raw["cancelled"], int(clicks), int(refunds["n"]), refunds["total"]),
        Counted(int(kpi["n"]), kpi["total"], kpi["cancelled"], int(by_minute), int(refunded["n"]), refunded["total"]),
    )


def replay(pipeline: Pipeline, histories: Sequence[History], rate: float | None = None) -> None:
    """Send all files, one after the other; rate: lines/s. Raises RuntimeError where one is not sent."""
    for history in histories:
        command = [sys.executable, "-m", "producers", *history.command(pipeline.data_dir), *pipeline.sink_words]
        if rate is not None:
            command += ["--rate", str(rate)]
        done = subprocess.run(command, cwd=ROOT, env=pipeline.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the replay of {history.file.name} ended with {done.returncode}: {done.stderr}")


def run(
    folder: Path,
    port_offset: int,
    kills: int,
    rate: float,
    histories: Sequence[History] = HISTORIES,
    kill_within: float = KILL_WITHIN,
) -> dict[str, Any]:
    """On the embedded engine: replay with kills, then once more; what is asked after each, and the time in s."""
    settings = {**cdnow.SETTINGS, "CONFIG": str(configured(folder / "config"))}
    draw, started, failed = random.Random(25), time.monotonic(), list[BaseException]()

    def send() -> None:
        try:
            replay(pipeline, histories, rate)
        except BaseException as error:
            failed.append(error)

    with Embedded(folder / "killed", port_offset, settings) as pipeline:
        pipeline.start_engine()
        sending = threading.Thread(target=send, name="replay")
        sending.start()
        for _ in range(kills):
            pipeline.wait_reading()
            time.sleep(draw.uniform(0, kill_within))
            pipeline.kill_engine()
            pipeline.start_engine()
        sending.join()
        if failed:
            raise failed[0]
        pipeline.wait_until_read()
        found: dict[str, Any] = {"after kills": asked(pipeline.dremio)}
        replay(pipeline, histories)
        pipeline.wait_until_read()
        found["after a second replay"] = asked(pipeline.dremio)
    return found | {"seconds": time.monotonic() - started}


def main() -> None:
    """`python -m bench files`."""
    parser = argparse.ArgumentParser(prog="bench files", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=700, help="lines/s of the replays with kills")
    parser.add_argument("--port-offset", type=int, default=7150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), arguments.port_offset, arguments.kills, arguments.rate)
    counted = sum((history.counted() for history in HISTORIES), Counted())
    report = Report("files", f"{len(HISTORIES)} files, {arguments.kills} kills at {arguments.rate:g} lines/s")
    for name in ("after kills", "after a second replay"):
        for where, sums in (("", found[name].raw), (" over minutes", found[name].minutes)):
            report.row(f"{name}: orders{where}", sums.orders, "", exactly=counted.orders)
            report.row(f"{name}: total{where}", float(sums.total), "", exactly=float(counted.total))
            report.row(f"{name}: cancelled{where}", float(sums.cancelled), "", exactly=float(counted.cancelled))
            report.row(f"{name}: clicks{where}", sums.clicks, "", exactly=counted.clicks)
            report.row(f"{name}: refunds{where}", sums.refunds, "", exactly=counted.refunds)
            report.row(f"{name}: refunded{where}", float(sums.refunded), "", exactly=float(counted.refunded))
    report.row("time with kills and second replay", found["seconds"], "s")
    report.finish()


if __name__ == "__main__":
    main()
