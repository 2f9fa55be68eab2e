"""The same events through both engines: good, bad, late, doubled and of keys used twice; equal row by row.

The Spark driver runs them in both of its ways: batches finished in the driver, and all by Spark on three partitions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.mixture import Message, mixture
from bench.parity import Tables, differences, expected, read
from bench.pipelines import Embedded, Pipeline, Stack
from bench.processes import free_offset
from bench.report import Report
from bench.servers import Servers

# A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
SETTINGS: Mapping[str, str] = {"INGEST_HEARTBEAT_EVERY": "2 s"}
WAYS: Mapping[str, Mapping[str, str]] = {
    "small batches finished in the driver": {},
    "all by Spark, three partitions": {"SPARK_COLLECT_ROWS": "0", "KAFKA_PARTITIONS": "3"},
}


def embedded(messages: Sequence[Message], folder: Path, batch_rows: int) -> Tables:
    """The tables that the embedded engine makes."""
    with Embedded(folder, free_offset(), {**SETTINGS, "INGEST_BATCH_ROWS": str(batch_rows)}) as pipeline:
        pipeline.send(messages)
        pipeline.start_engine()
        pipeline.wait_until_read()
        return read(pipeline.dremio)


def in_pieces(pipeline: Pipeline, messages: Sequence[Message], piece: int) -> Tables:
    """The tables that an engine makes: half of the messages in one batch, the rest in pieces.

    So what comes again finds the first in a table, in memory or beside it.
    """
    half = len(messages) // 2
    pipeline.send(messages[:half])
    pipeline.start_engine()
    pipeline.wait_until_read()
    for at in range(half, len(messages), piece):
        pipeline.send(messages[at : at + piece])
        pipeline.wait_until_read()
    return read(pipeline.dremio)


def main() -> None:
    """`python -m bench stack_parity`."""
    parser = argparse.ArgumentParser(prog="bench stack_parity", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    messages = mixture(arguments.events, arguments.seed, datetime.now(UTC))
    report = Report("stack_parity", f"{arguments.events:,} events, seed {arguments.seed}")
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as name:
        folder = Path(name)
        began = time.monotonic()
        ours = embedded(messages, folder / "embedded", 5000)
        report.row("rows compared", sum(rows.total() for rows in ours.values()), "", at_least=1)
        report.row("embedded engine", time.monotonic() - began, "s")
        wrong = differences(ours, expected(messages, datetime.now(UTC)))
        report.row("tables that differ from plain Python's", len(wrong), "", exactly=0)
        told += wrong
        with Servers(folder / "servers", free_offset()) as servers:
            for number, (way, settings) in enumerate(WAYS.items()):
                servers.clean()
                began = time.monotonic()
                with Stack(servers, folder / f"stack-{number}", {**SETTINGS, **settings}) as pipeline:
                    wrong = differences(in_pieces(pipeline, messages, 5000), ours)
                    pipeline.stop_engine()
                report.row(way, time.monotonic() - began, "s")
                report.row(f"{way}: tables that differ", len(wrong), "", exactly=0)
                told += wrong
    for sentence in told:
        print(sentence)
    report.finish()


if __name__ == "__main__":
    main()
