"""Publishes over many hours: what one costs writer and gateway on a catalog of 400 days, beside a fresh catalog.

Every KPI table has one file an hour, written through the catalog as any other (one row each, 9,600 files a table), and
the catalog is opened anew before it is measured. Writer and gateway are processes of their own, each with Python's
collector as it has it. A publish adds 100 rows to three raw tables, and replaces the file of the current hour of every
KPI table; one in 50 begins an hour, one in 20 brings a late event of any old hour. After it the gateway's code reads
the new commit and answers the console's question for the last hour. The first 20 publishes make what is made once.

Promise: the last 50 publishes on 9,600 hours cost at most 1.2 x the first 50 on a fresh catalog (CPU of writer, of the
gateway's reading, and of the question), and write at most 1.5 x the bytes.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from bench.publish import KPI_ROWS, MERGE_AT, RAW, RAW_ROWS, rows_of
from bench.report import Report
from embedded.catalog import Catalog, now_us
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.snapshots import Snapshots
from embedded.gateway.statements import Statements
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.kpis import KPIS
from lakehouse.tables import TABLES, Table

HOUR = timedelta(hours=1)
NEW_HOUR_EVERY, LATE_EVERY = 50, 20
MAINTAINED_EVERY = 50
"""Publishes between two thinnings and sweeps: each 50 that are compared hold one."""
FIRST, COMPARED = 20, 50
"""Publishes in which what is made at the first use is made, and that are compared."""


@dataclass
class Costs:
    """Of each publish: CPU seconds of writer, gateway's reading and question, and bytes written."""

    writer: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    question: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)


def of_hours(table: Table, hours: int, now: datetime) -> pa.Table:
    """A row in each of the hours up to `now`."""
    one = rows_of(table, 1, now)
    at = one.schema.get_field_index(str(table.partition_by))
    times = pa.array([now - number * HOUR for number in range(hours)], one.schema.field(at).type)
    return pa.concat_tables([one] * hours).combine_chunks().set_column(at, one.schema.field(at), times)


def filled(folder: Path, hours: int, now: datetime) -> None:
    """A catalog with a file an hour in every KPI table, of the hours before `now`."""
    catalog = Catalog(folder)
    staged = []
    for name in KPIS:
        writer = catalog.tables[name]
        staged.append(writer.stage(writer.write(of_hours(TABLES[name], hours, now)), [], catalog.sequence + 1))
    catalog.publish(staged, now_us())
    catalog.close()


def publish(catalog: Catalog, now: datetime, late: datetime | None) -> int:
    """One publish; returns the bytes written."""
    sequence = catalog.sequence + 1
    staged = []
    for name in (*RAW, *KPIS, "ingest_positions"):
        table, writer = TABLES[name], catalog.tables[name]
        rows = rows_of(table, RAW_ROWS if name in RAW else KPI_ROWS, now)
        if late is not None and name in KPIS:
            rows = pa.concat_tables([rows, rows_of(table, 1, late)])
        added, removed = writer.write(rows), []
        if name in RAW:
            for level in (0, 1):
                held = writer.hours.get(added[0].hour, {}).values()
                group = [file for file in held if file.level == level]
                if len(group) >= MERGE_AT:
                    added += writer.write(catalog.read(name, group), level + 1)
                    removed = group
                    break
        else:
            removed = [file for new in added for file in writer.hours.get(new.hour, {}).values()]
        staged.append(writer.stage(added, removed, sequence))
    catalog.publish(staged, now_us())
    return sum(path.stat().st_size for path in {path for table in staged for path in table.written})


def files_of_last_hour(snapshots: Snapshots, location: str, column: str, now: datetime) -> int:
    """How many files the gateway finds for a question about an hour."""
    since = int((now - HOUR).timestamp()) * 1_000_000
    files = snapshots.files_in(snapshots.at(location), {column: (since, None)})
    assert files is not None
    return len(files)


def read(folder: Path, asked: Connection) -> None:
    """The gateway's code in a process of its own: CPU of reading the head and of a question, for each moment told.

    Ends at None.
    """
    engine = Engine(folder / "warehouse", folder / "spill", threads=1, memory_limit_mb=128, timeout_s=60)
    commits, snapshots = SqliteCommits(folder / "catalog.db"), Snapshots()
    statements = Statements(commits, engine, rows_in_memory=200_000)
    gc.freeze()  # as the gateway
    while (now := asked.recv()) is not None:
        began = time.process_time()
        head = commits.head()
        assert head is not None
        for name in KPIS:
            files_of_last_hour(snapshots, head.tables[name], str(TABLES[name].partition_by), now)
        read = time.process_time()
        sql = fill(question_sql("minutes"), head.id, {"since": now - HOUR, "as_of": now + HOUR})
        answer = statements.run(statements.plan(sql).ticket, lambda: False)
        assert sum(batch.num_rows for batch in answer.batches)
        asked.send((read - began, time.process_time() - read))
    engine.close()


def run(folder: Path, publishes: int, now: datetime, hours: int) -> Costs:
    """So many publishes on the catalog of a folder, each read by the gateway's code."""
    costs = Costs()
    catalog = Catalog(folder)
    asks, asked = multiprocessing.Pipe()
    gateway = multiprocessing.get_context("spawn").Process(target=read, args=(folder, asked), daemon=True)
    gateway.start()
    pick = random.Random(7)
    for number in range(publishes):
        if number % NEW_HOUR_EVERY == NEW_HOUR_EVERY - 1:
            now += HOUR
        late = now - pick.randrange(1, hours) * HOUR if number % LATE_EVERY == LATE_EVERY - 1 else None
        began = time.process_time()
        costs.bytes.append(publish(catalog, now, late))
        if number % MAINTAINED_EVERY == MAINTAINED_EVERY - 1:
            # No grace, for a fresh catalog would delete nothing within it.
            catalog.thin(now_us(), timedelta(0), timedelta(hours=6))
            catalog.sweep(now_us(), timedelta(0))
        costs.writer.append(time.process_time() - began)
        asks.send(now)
        reading, question = asks.recv()
        costs.reading.append(reading)
        costs.question.append(question)
    asks.send(None)
    gateway.join()
    catalog.close()
    return costs


def main() -> None:
    """`python -m bench publish_hours`."""
    parser = argparse.ArgumentParser(prog="bench publish_hours", description=__doc__)
    parser.add_argument("--hours", type=int, default=9_600)
    parser.add_argument("--publishes", type=int, default=400)
    arguments = parser.parse_args()
    gc.set_threshold(100_000, 20, 50)  # as ingest
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder), 2, now)  # the question reads two hours
        fresh = run(Path(folder), FIRST + COMPARED, now, arguments.hours)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        filled(Path(folder), arguments.hours, now)
        fill_s = time.monotonic() - began
        began = time.process_time()
        Catalog(Path(folder)).close()
        opened = time.process_time() - began
        full = run(Path(folder), arguments.publishes, now, arguments.hours)
    report = Report(
        "publish_hours",
        f"{len(KPIS)} KPI tables of {arguments.hours} hours (written in {fill_s:.0f} s), {len(RAW)} raw tables, "
        "positions; CPU, mean of 50 publishes",
    )
    report.row("opening the catalog", opened, "s")
    for name, early, late, most in (
        ("writer", fresh.writer, full.writer, 1.2),
        ("gateway's reading of a commit", fresh.reading, full.reading, 1.2),
        ("question", fresh.question, full.question, 1.2),
    ):
        before, after = statistics.mean(early[FIRST:]), statistics.mean(late[-COMPARED:])
        report.row(f"{name}, fresh", before * 1000, "ms")
        report.row(f"{name}, last {COMPARED}", after * 1000, "ms")
        report.row(f"{name}, last / fresh", after / before, "x", at_most=most)
    report.row("writer, most of one publish", max(full.writer) * 1000, "ms")
    before, after = statistics.mean(fresh.bytes[FIRST:]), statistics.mean(full.bytes[-COMPARED:])
    report.row("bytes a publish, fresh", before / 1000, "KB")
    report.row(f"bytes a publish, last {COMPARED}", after / 1000, "KB")
    report.row("bytes, last / fresh", after / before, "x", at_most=1.5)
    report.finish()


if __name__ == "__main__":
    main()
