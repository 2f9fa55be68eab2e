"""A FATAL that comes while large merges are due, beside the time those merges take: nobody waits for them.

Promise: with 64 merges of 64 MB due, a FATAL is published within 1 s of its append.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from bench.report import Report
from embedded.catalog import Catalog
from embedded.ingest import POLL, Ingest
from embedded.log import EventLog
from lakehouse.settings.base import Shared
from lakehouse.sinks import EventLogSink
from lakehouse.tables import TABLES
from pipeline.batch.terms import Terms
from pipeline.storage.files import row_schema

TABLE = TABLES["errors_processed"]
BYTES_A_ROW = 1000  # random: nothing of them can be packed
FATAL_EVERY = 1.0  # s


def rows_of(draw: np.random.Generator, hour: datetime, count: int) -> pa.Table:
    """Errors of one hour with messages that do not compress."""
    text = draw.integers(0x20, 0x7F, count * BYTES_A_ROW, dtype=np.uint8)
    offsets = pa.py_buffer(np.arange(0, (count + 1) * BYTES_A_ROW, BYTES_A_ROW, dtype=np.int32))
    messages = pa.Array.from_buffers(pa.string(), count, [None, offsets, pa.py_buffer(text)])
    times = pa.array(np.linspace(0, 3_599_000_000, count).astype(np.int64) + int(hour.timestamp()) * 1_000_000)
    values: dict[str, pa.Array] = {}
    for field in row_schema(TABLE):
        if field.name == "error_message":
            values[field.name] = messages
        elif pa.types.is_timestamp(field.type):
            values[field.name] = times.cast(pa.timestamp("us")).cast(field.type)
        elif pa.types.is_string(field.type):
            values[field.name] = pa.repeat(pa.scalar(f"{field.name}-{hour:%d%H}"), count)
        else:
            values[field.name] = pa.array(np.arange(count)).cast(field.type)
    return pa.table(values, schema=row_schema(TABLE))


def fill(data_dir: Path, merges: int, megabytes: int, files: int) -> None:
    """Hours at rest, each with small files of `megabytes` in all."""
    draw = np.random.default_rng(7)
    catalog = Catalog(data_dir)
    writer = catalog.tables[TABLE.name]
    count = megabytes * 1_000_000 // files // BYTES_A_ROW
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for number in range(merges):
        hour = now - timedelta(hours=number + 2)
        added = [file for _ in range(files) for file in writer.write(rows_of(draw, hour, count))]
        catalog.publish([writer.stage(added, [], catalog.sequence + 1)], None)
    catalog.close()


@contextmanager
def ingest(data_dir: Path) -> Iterator[Ingest]:
    with EventLog(data_dir / "events.db") as log:
        opened = Ingest(data_dir, log, Terms.load(Shared.load()))
        yield opened
        opened.close()


def publish_fatal(running: Ingest, sink: EventLogSink, number: int) -> float:
    """Append a FATAL and go round the loop until its alert is published; the seconds that took."""
    fields = {
        "error_id": f"fatal-{number}",
        "service_name": "payments",
        "error_message": "cannot reach the bank",
        "severity": "FATAL",
        "error_time": datetime.now(UTC).isoformat(),
    }
    before = running.catalog.tables["alerts"].row_count
    sink.send("errors_topic", None, msgspec.json.encode(fields))
    sink.flush()
    began = time.monotonic()
    while running.catalog.tables["alerts"].row_count == before:
        if not running.step():
            time.sleep(POLL)
    return time.monotonic() - began


def main() -> None:
    """`python -m bench merges`."""
    parser = argparse.ArgumentParser(prog="bench merges", description=__doc__)
    parser.add_argument("--merges", type=int, default=64)
    parser.add_argument("--megabytes", type=int, default=64, help="of each merge (64)")
    parser.add_argument("--files", type=int, default=4, help="that become one (4)")
    arguments = parser.parse_args()
    waits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder:
        data_dir = Path(folder)
        fill(data_dir, arguments.merges, arguments.megabytes, arguments.files)
        with EventLogSink(data_dir / "events.db") as sink, ingest(data_dir) as running:
            core = running.core
            publish_fatal(running, sink, 0)  # the first publish of a start reads tables
            core.maintain()
            began = time.monotonic()
            while not core.workshop.rests:
                waits.append(publish_fatal(running, sink, len(waits) + 1))
                rest = time.monotonic() + FATAL_EVERY
                while time.monotonic() < rest:
                    running.step()
                    time.sleep(POLL)
            took = time.monotonic() - began
            while running.step() or not core.idle:
                time.sleep(POLL)
            runs = running.catalog.rows("maintenance_runs").to_pylist()
    merged = sum(row["files_merged"] for row in runs)
    report = Report(
        "merges",
        f"{arguments.merges} merges of {arguments.files} files, {arguments.megabytes} MB each, a FATAL every second",
    )
    report.row("FATALs while merges were under way", len(waits), "", at_least=10)
    report.row("FATAL to its publish, slowest", max(waits), "s", at_most=1)
    report.row("all merges, which a FATAL would wait for otherwise", took, "s")
    report.row("files merged", merged, "", exactly=arguments.merges * arguments.files)
    report.finish()


if __name__ == "__main__":
    main()
