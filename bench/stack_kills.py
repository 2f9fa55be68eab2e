"""kill -9 of the Spark driver at ten named points of a batch and at ten random ones; the tables end as without kills.

The messages are good, bad, late, doubled and of keys used twice. Each start has one of the driver's two ways in turn:
small batches finished in the driver, and all of it by Spark (spark.collect_rows 0).
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.mixture import MixedMessage, mixture
from bench.parity import differences, expected, read
from bench.pipelines import Pipeline, Stack
from bench.processes import free_offset
from bench.report import Report
from bench.servers import Servers

POINTS = (
    "read:2",
    "decoded:2",
    "deduped:2",
    "raw-written:2",
    "dead-letters-written:2",
    "kpis-written:2",
    "alerts-written:3",
    "positions-written:3",
    "before-publish:3",
    "after-publish:3",
)
"""NAME:N, the Nth time a driver comes there: in its second batch. The first publish after a start has no events."""
_POINT_WITHIN_S = 300
_RANDOM_WITHIN_S = 12.0
"""The first batch after a start takes about this long, later ones a second."""


@dataclass
class Killed:
    """What came of it; differences are sentences."""

    points: list[str] = field(default_factory=list)
    at_random: int = 0
    seconds: float = 0.0
    exit_code: int | None = None
    differences: list[str] = field(default_factory=list)


def run(
    pipeline: Pipeline,
    messages: Sequence[MixedMessage],
    points: Sequence[str],
    at_random: int,
    seed: int = 11,
) -> Killed:
    """Send the messages in pieces, a kill during each; at the end all is in."""
    found = Killed()
    draw = random.Random(seed)
    pieces = _pieces(messages, len(points) + at_random + 1)
    began = time.monotonic()
    for number, point in enumerate(points):
        with _sending(pipeline, pieces.pop(0), {**_way(number), "_TILLWATCH_KILL_AT": point}):
            pipeline.wait_killed(_POINT_WITHIN_S)
        found.points.append(point)
    for number in range(at_random):
        with _sending(pipeline, pieces.pop(0), _way(number)):
            pipeline.wait_reading()
            time.sleep(draw.uniform(0, _RANDOM_WITHIN_S))
            pipeline.kill_engine()
        found.at_random += 1
    pipeline.send(pieces.pop())
    pipeline.start_engine()
    pipeline.wait_until_read()
    found.seconds = time.monotonic() - began
    found.differences = differences(read(pipeline.dremio), expected(messages, datetime.now(UTC)))
    found.exit_code = pipeline.stop_engine()
    return found


def _way(number: int) -> dict[str, str]:
    return {"TILLWATCH_SPARK_COLLECT_ROWS": "0"} if number % 2 else {}


def _pieces(messages: Sequence[MixedMessage], count: int) -> list[Sequence[MixedMessage]]:
    size = -(-len(messages) // count)
    return [messages[at : at + size] for at in range(0, size * count, size)]


@contextmanager
def _sending(pipeline: Pipeline, messages: Sequence[MixedMessage], variables: Mapping[str, str]) -> Iterator[None]:
    """A driver that finds half of the messages; the rest comes, bit by bit, once it has published those."""
    half = len(messages) // 2
    pipeline.send(messages[:half])
    pipeline.start_engine(**variables)
    ended = threading.Event()
    failed: list[BaseException] = []

    def trickle() -> None:
        try:
            while pipeline.behind() and not ended.wait(0.2):
                pass
            for piece in _pieces(messages[half:], 10):
                pipeline.send(piece)
                ended.wait(0.5)
        except BaseException as error:
            failed.append(error)

    sender = threading.Thread(target=trickle, daemon=True)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()
    if failed:
        raise failed[0]


def main() -> None:
    """`python -m bench stack_kills`."""
    parser = argparse.ArgumentParser(prog="bench stack_kills", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--random", type=int, default=10, help="kills at random moments (10)")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    messages = mixture(arguments.events, arguments.seed, datetime.now(UTC))
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder,
        Servers(Path(folder) / "servers", free_offset()) as servers,
        Stack(servers, Path(folder) / "stack") as pipeline,
    ):
        found = run(pipeline, messages, POINTS, arguments.random, arguments.seed)
    report = Report("stack_kills", f"{arguments.events:,} events, seed {arguments.seed}; kill -9 of the driver")
    report.row("kills at named points", len(found.points), "", exactly=len(POINTS))
    report.row("kills at random moments", found.at_random, "", exactly=arguments.random)
    report.row("tables that differ from the run without kills", len(found.differences), "", exactly=0)
    report.row("exit code after SIGTERM", float(found.exit_code if found.exit_code is not None else -1), "", exactly=0)
    report.row("time in all", found.seconds, "s")
    for sentence in found.differences:
        print(sentence)
    report.finish()


if __name__ == "__main__":
    main()
