"""A real order history through the whole embedded pipeline, with ingest killed again and again.

Promise: 6,919 rows and 244,091.94 in orders_processed and over the minutes of orders_revenue_per_minute, asked through
the Flight port: after one replay, after 20 x kill -9 of ingest during a replay, and after a second replay of the file.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.report import Report
from lakehouse.dremio import Dremio, DremioError
from lakehouse.settings import ROOT, DremioSettings

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


class Pipeline:
    """Ingest and gateway as processes on a data directory; end it with `close`."""

    def __init__(self, data_dir: Path, port_offset: int) -> None:
        self.environment = os.environ | {
            "TILLWATCH_DATA_DIR": str(data_dir),
            "TILLWATCH_PORT_OFFSET": str(port_offset),
            "TILLWATCH_MAX_EVENT_AGE": "off",
            # A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
            "TILLWATCH_INGEST_HEARTBEAT_EVERY": "2 s",
        }
        self.gateway = subprocess.Popen(
            [sys.executable, "-m", "embedded.gateway"], env=self.environment, stderr=subprocess.DEVNULL
        )
        self.ingest = self._start_ingest()
        uri = f"grpc://localhost:{32010 + port_offset}"
        self.dremio = Dremio(DremioSettings.load(uri=uri))

    def _start_ingest(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "embedded.ingest"], env=self.environment, stderr=subprocess.PIPE, text=True
        )

    def kill_ingest(self, after: float) -> None:
        """kill -9 so many seconds after ingest is ready, then start it again."""
        assert self.ingest.stderr is not None
        for line in self.ingest.stderr:
            if " reading " in line:
                break
        time.sleep(after)
        self.ingest.kill()
        self.ingest.wait()
        self.ingest.stderr.close()
        self.ingest = self._start_ingest()

    def replay(self, rate: float | None = None) -> subprocess.Popen[bytes]:
        """Send the history; with a rate in lines/s in the background."""
        command = [sys.executable, "-m", "producers", "replay", str(CDNOW), "--format", "cdnow", "--original-times"]
        if rate is not None:
            command += ["--rate", str(rate)]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sums(self) -> Sums:
        """What the Flight port answers, both questions at one commit."""
        head = self.dremio.head()
        at = f'AT COMMIT "{head}"'
        raw = self.dremio.sql(
            "SELECT COUNT(*) AS n, SUM(order_total) AS total "
            f"FROM nessie_minio_catalog.ecommerce_db.orders_processed {at}"
        ).to_pylist()[0]
        minutes = self.dremio.sql(
            "SELECT SUM(orders_count) AS n, SUM(total_revenue) AS total "
            f"FROM nessie_minio_catalog.ecommerce_db.orders_revenue_per_minute {at}"
        ).to_pylist()[0]
        return Sums(raw["n"], raw["total"] or Decimal(0), minutes["n"] or 0, minutes["total"] or Decimal(0))

    def read_to(self) -> int:
        """The next offset of orders_topic in the newest publish."""
        rows = self.dremio.sql(
            "SELECT next_offset FROM nessie_minio_catalog.ecommerce_db.ingest_positions WHERE topic = 'orders_topic'"
        ).to_pylist()
        return int(rows[0]["next_offset"]) if rows else 0

    def wait_until_read(self, offset: int, seconds: float = 120) -> None:
        """Wait until the publish that holds `offset` messages of orders_topic. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.read_to() >= offset:
                    return
            except DremioError:
                pass  # the gateway is starting
            time.sleep(0.2)
        raise TimeoutError(f"ingest did not come to offset {offset} of orders_topic within {seconds:.0f} s")

    def close(self) -> None:
        self.dremio.close()
        for process in (self.ingest, self.gateway):
            process.terminate()
        for process in (self.ingest, self.gateway):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.ingest.stderr is not None:
            self.ingest.stderr.close()


def run(folder: Path, port_offset: int, kills: int, rate: float, kill_within: float = KILL_WITHIN) -> dict[str, Any]:
    """Replay once whole; replay with kills, then once more. Returns the sums of each, and how long each took in s."""
    found: dict[str, Any] = {}
    for name in ("plain", "killed"):
        (folder / name).mkdir()
        pipeline = Pipeline(folder / name, port_offset)
        started = time.monotonic()
        try:
            if name == "plain":
                pipeline.replay().wait()
                pipeline.wait_until_read(ROWS)
                found["once"] = pipeline.sums()
            else:
                replay = pipeline.replay(rate)
                draw = random.Random(11)
                for _ in range(kills):
                    pipeline.kill_ingest(draw.uniform(0, kill_within))
                replay.wait()
                pipeline.wait_until_read(ROWS)
                found["after kills"] = pipeline.sums()
                pipeline.replay().wait()
                pipeline.wait_until_read(2 * ROWS)
                found["after a second replay"] = pipeline.sums()
        finally:
            pipeline.close()
        found[f"{name} seconds"] = time.monotonic() - started
    return found


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
