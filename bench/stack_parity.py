"""The same events through both engines: good, bad, late, doubled and of keys used twice; equal row by row.

The Spark driver runs them in both of its ways: batches finished in the driver, and all by Spark on three partitions;
and in both by turns, so that each way finds what the other has left in tables and in memory.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.mixture import MixedMessage, mixture
from bench.parity import Tables, differences, expected, read
from bench.pipelines import Embedded, Pipeline, Stack
from bench.processes import free_offset
from bench.report import Report
from bench.servers import Servers

# A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
SETTINGS: Mapping[str, str] = {"INGEST_HEARTBEAT_EVERY": "2 s"}
BY_TURNS = "small batches in the driver, large ones by Spark"
COLLECT_ROWS = 700
WAYS: Mapping[str, Mapping[str, str]] = {
    "small batches finished in the driver": {},
    "all by Spark, three partitions": {"SPARK_COLLECT_ROWS": "0", "KAFKA_PARTITIONS": "3"},
    BY_TURNS: {"SPARK_COLLECT_ROWS": str(COLLECT_ROWS)},
}


def embedded(messages: Sequence[MixedMessage], folder: Path, batch_rows: int) -> Tables:
    """The tables that the embedded engine makes."""
    with Embedded(folder, free_offset(), {**SETTINGS, "INGEST_BATCH_ROWS": str(batch_rows)}) as pipeline:
        pipeline.send(messages)
        pipeline.start_engine()
        pipeline.wait_until_read()
        return read(pipeline.dremio)


def in_pieces(pipeline: Pipeline, messages: Sequence[MixedMessage], pieces: Sequence[int]) -> Tables:
    """The tables that an engine makes: half of the messages in one batch, the rest in pieces of these sizes by turns.

    So what comes again finds the first in a table, in memory or beside it.
    """
    half = len(messages) // 2
    pipeline.send(messages[:half])
    pipeline.start_engine()
    pipeline.wait_until_read()
    at, sizes = half, itertools.cycle(pieces)
    while at < len(messages):
        size = next(sizes)
        pipeline.send(messages[at : at + size])
        pipeline.wait_until_read()
        at += size
    return read(pipeline.dremio)


def by_turns(pipeline: Stack) -> tuple[int, int]:
    """How many batches were finished in the driver, and how many worked by Spark, where COLLECT_ROWS parts them."""
    sizes = [size for size in pipeline.batch_sizes() if size]
    by_spark = sum(size > COLLECT_ROWS for size in sizes)
    return len(sizes) - by_spark, by_spark


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
                    pieces = (500, 5000) if way == BY_TURNS else (5000,)
                    wrong = differences(in_pieces(pipeline, messages, pieces), ours)
                    pipeline.stop_engine()
                    in_driver, by_spark = by_turns(pipeline)
                report.row(way, time.monotonic() - began, "s")
                if way == BY_TURNS:
                    report.row("by turns: batches finished in the driver", in_driver, "", at_least=1)
                    report.row("by turns: batches worked by Spark", by_spark, "", at_least=1)
                report.row(f"{way}: tables that differ", len(wrong), "", exactly=0)
                told += wrong
    for sentence in told:
        print(sentence)
    report.finish()


if __name__ == "__main__":
    main()
