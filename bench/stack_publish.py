"""Publishes of the Spark driver's store over many hours: what one costs on 2,000 hours, beside a fresh catalog.

Nessie and S3 of our own, the driver's store in this process, and no Kafka: files are written, staged and published as a
small batch does. A publish adds 100 rows to three raw tables and replaces the file of the current hour of every KPI
table; one in 50 begins an hour, one in 20 brings a late event of any old hour.

Promise: the last 50 publishes on 2,000 hours take at most 1.2 x the first 50 on a fresh catalog (CPU of Python and
Java together, mean).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyarrow as pa

from bench.processes import free_offset
from bench.publish import KPI_ROWS, MERGE_AT, RAW, RAW_ROWS, rows_of
from bench.publish_hours import HOUR, LATE_EVERY, NEW_HOUR_EVERY, of_hours
from bench.report import Report
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.kpis import KPIS
from lakehouse.tables import TABLES
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.files import Change
from pipeline.storage.nessie import Nessie
from pipeline.storage.objects import Objects
from pipeline.storage.reading import ReadOnlyIO

if TYPE_CHECKING:
    from store import NessieStore


@dataclass
class CommitCosts:
    """Seconds of each publish."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def cpu_of(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def publish(store: NessieStore, now: datetime, late: datetime | None) -> None:
    """One batch's worth."""
    changes = {}
    for name in (*RAW, *KPIS, "ingest_positions"):
        table, files = TABLES[name], store.tables[name]
        rows = rows_of(table, RAW_ROWS if name in RAW else KPI_ROWS, now)
        if late is not None and name in KPIS:
            rows = pa.concat_tables([rows, rows_of(table, 1, late)])
        added = files.write(rows)
        if name in RAW:
            held = files.hours.get(added[0].hour, {}).values()
            removed = [file for file in held if file.level == 0]
            if len(removed) < MERGE_AT:
                removed = []
            else:
                added += files.write(store.read(name, removed), 1)
        else:
            removed = [file for new in added for file in files.hours.get(new.hour, {}).values()]
        changes[name] = Change(added, removed)
    store.stage(changes)
    store.publish(changes, now, "bench")


def run(store: NessieStore, processes: list[psutil.Process], publishes: int, now: datetime, hours: int) -> CommitCosts:
    costs, pick = CommitCosts(), random.Random(7)
    for number in range(publishes):
        if number % NEW_HOUR_EVERY == NEW_HOUR_EVERY - 1:
            now += HOUR
        late = now - pick.randrange(1, hours) * HOUR if number % LATE_EVERY == LATE_EVERY - 1 else None
        cpu, wall = cpu_of(processes), time.perf_counter()
        publish(store, now, late)
        costs.cpu.append(cpu_of(processes) - cpu)
        costs.wall.append(time.perf_counter() - wall)
    return costs


def fill(store: NessieStore, hours: int, now: datetime) -> None:
    """A file an hour in every KPI table, of the hours before the last `hours`."""
    changes = {}
    for name in KPIS:
        files = store.tables[name]
        new = files.write(of_hours(TABLES[name], hours, now))
        changes[name] = Change(new, [file for each in new for file in files.hours.get(each.hour, {}).values()])
    store.stage(changes)
    store.publish(changes, now, "fill")


def main() -> None:
    """`python -m bench stack_publish`."""
    parser = argparse.ArgumentParser(prog="bench stack_publish", description=__doc__)
    parser.add_argument("--hours", type=int, default=2_000)
    parser.add_argument("--publishes", type=int, default=400)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "spark-apps"))
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with (
        tempfile.TemporaryDirectory() as folder,
        Servers(Path(folder) / "servers", free_offset(), names=("nessie", "s3")) as servers,
    ):
        os.environ |= servers.variables
        from session import SparkSettings, open_session
        from store import NessieStore

        nessie, s3 = NessieSettings.load(), S3Settings.load()
        spark = open_session(SparkSettings.load(), nessie, s3, Path(folder) / "spark")
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        processes = [each for each in processes if each.pid not in {servers.pid("nessie"), servers.pid("s3")}]

        def opened(work: Callable[[NessieStore], CommitCosts]) -> CommitCosts:
            store = NessieStore(spark, Nessie(nessie.uri), nessie, s3)
            try:
                return work(store)
            finally:
                store.close()

        def fresh(store: NessieStore) -> CommitCosts:
            fill(store, 2, now)
            run(store, processes, 40, now, 2)  # Java compiles what is used
            return run(store, processes, 50, now, 2)

        def filling(store: NessieStore) -> CommitCosts:
            fill(store, arguments.hours, now)
            return CommitCosts()

        def full(store: NessieStore) -> CommitCosts:
            return run(store, processes, arguments.publishes, now + HOUR, arguments.hours)

        early = opened(fresh)
        began = time.monotonic()
        opened(filling)
        fill_s = time.monotonic() - began
        late = opened(full)
        manifests = _manifests(nessie, s3)
        spark.stop()
    report = Report(
        "stack_publish",
        f"{len(KPIS)} KPI tables of {arguments.hours} hours (written in {fill_s:.0f} s), {len(RAW)} raw tables, "
        "positions; Nessie and S3 on this machine; mean of 50 publishes",
    )
    for name, first, last, most in (
        ("CPU", early.cpu, late.cpu[-50:], 1.2),
        ("time", early.wall, late.wall[-50:], None),
    ):
        report.row(f"{name}, fresh", statistics.mean(first) * 1000, "ms")
        report.row(f"{name}, last 50", statistics.mean(last) * 1000, "ms")
        report.row(f"{name}, last / fresh", statistics.mean(last) / statistics.mean(first), "x", at_most=most)
    report.row("manifests of a KPI table, most", max(map(len, manifests)), "")
    report.row("files of a manifest, most", max(max(each) for each in manifests), "")
    report.finish()


def _manifests(nessie: NessieSettings, s3: S3Settings) -> list[list[int]]:
    """Live files of each manifest, a KPI table."""
    from pyiceberg.serializers import FromInputFile

    io, client = ReadOnlyIO(Objects(s3).read), Nessie(nessie.uri)
    found = []
    for name, at in client.tables(client.head()).items():
        if name in KPIS:
            snapshot = FromInputFile.table_metadata(io.new_input(at.metadata_location)).current_snapshot()
            assert snapshot is not None
            counts = [(m.added_files_count or 0) + (m.existing_files_count or 0) for m in snapshot.manifests(io)]
            print(name, sorted(counts), [m.manifest_length for m in snapshot.manifests(io)], file=sys.stderr)
            found.append(counts)
    return found


if __name__ == "__main__":
    main()
