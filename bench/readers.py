"""A reader every 50 ms while ingest publishes, is killed, merges, expires and sweeps: always whole publishes.

Promise: KPIs and raw rows of one commit never disagree, no row is there twice, no statement and no batch fails; at the
end every kept commit still reads what it read first, every other one is refused with a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bench.latency import percentile
from bench.pipelines import Embedded, Pipeline, patient
from bench.processes import free_offset
from bench.report import Report
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.dremio.statement import fill
from lakehouse.tables import RAW_OF_TOPIC

EVERY_S = 0.05
WHOLE_EVERY_S = 2.0
"""How often the reader looks for rows that are there twice, too: that reads all of them."""

# Retention in small, so that all of it happens within the run.
SETTINGS: Mapping[str, str] = {
    "INGEST_MAINTENANCE_EVERY": "5 s",
    "INGEST_HEARTBEAT_EVERY": "5 s",
    "RETENTION_EVERY_COMMIT": "30 s",
    "RETENTION_FIRST_OF_MINUTE": "3 min",
    "RETENTION_SWEEP_AGE": "5 s",
}

# Each pair of lines must agree. Offsets make the fingerprint of a commit's rows.
_SUMS = """
SELECT 'orders' AS what, COUNT(*) AS n, SUM(order_total) AS total, SUM(source_offset) AS offsets
FROM {orders_processed}
UNION ALL
SELECT 'orders per minute', SUM(orders_count), SUM(total_revenue), 0 FROM {orders_revenue_per_minute}
UNION ALL
SELECT 'clicks', COUNT(*), CAST(0 AS DECIMAL(38, 2)), SUM(source_offset) FROM {clicks_processed}
UNION ALL
SELECT 'clicks per minute', SUM(clicks), CAST(0 AS DECIMAL(38, 2)), 0 FROM {clicks_per_minute}
UNION ALL
SELECT 'errors', COUNT(*), CAST(0 AS DECIMAL(38, 2)), SUM(source_offset) FROM {errors_processed}
UNION ALL
SELECT 'errors per minute', SUM(error_count), CAST(0 AS DECIMAL(38, 2)), 0 FROM {errors_per_minute}
"""
_PAIRS = (("orders", "orders per minute"), ("clicks", "clicks per minute"), ("errors", "errors per minute"))
_TWICE = """
SELECT COUNT(*) AS n FROM (
  SELECT event_key, {time} FROM {{{table}}} GROUP BY event_key, {time} HAVING COUNT(*) > 1
) AS doubled
"""
_RAW = {table.name: table.event_time for table in RAW_OF_TOPIC.values()}

type Fingerprint = tuple[tuple[str, Any, Any, Any], ...]


def fingerprint(dremio: Dremio, commit: str) -> Fingerprint:
    """Counts and sums of raw rows and KPIs at one commit."""
    rows = dremio.sql(fill(_SUMS, commit, {})).to_pylist()
    return tuple(sorted((row["what"], row["n"] or 0, row["total"] or 0, row["offsets"] or 0) for row in rows))


def disagreements(found: Fingerprint) -> list[str]:
    """Sentences where KPIs are not the sums of the raw rows."""
    by_name = {what: (n, total) for what, n, total, _ in found}
    return [f"{raw} {by_name[raw]}, {kpi} {by_name[kpi]}" for raw, kpi in _PAIRS if by_name[raw] != by_name[kpi]]


class HeadReader(threading.Thread):
    """Asks the head and what it holds every 50 ms until `stop`; `problems` is what it saw that must not be."""

    def __init__(self, uri: str, every_s: float = EVERY_S) -> None:
        super().__init__(name="reader", daemon=True)
        self._dremio = patient(uri)
        self._every_s = every_s
        self._ended = threading.Event()
        self.seen: dict[str, Fingerprint] = {}
        """Commit -> what it held when it was first seen; in the order they came."""
        self.problems: list[str] = []
        self.asked = 0
        self.taken: list[float] = []

    def run(self) -> None:
        newest, whole_at = "", time.monotonic()
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                commit = self._dremio.head()
                found = fingerprint(self._dremio, commit)
                if began - whole_at >= WHOLE_EVERY_S:
                    whole_at = began
                    self._look_for_doubles(commit)
            except NotFound:
                if self.seen:
                    self.problems.append(f"a table is gone after {len(self.seen)} commits")
            except DremioError as error:
                self.problems.append(f"{type(error).__name__}: {error}")
            else:
                self._note(commit, newest, found)
                newest = commit
            self.taken.append(time.monotonic() - began)
            self._ended.wait(max(0.0, self._every_s - (time.monotonic() - began)))

    def _note(self, commit: str, newest: str, found: Fingerprint) -> None:
        self.asked += 1
        self.problems += [f"commit {commit[:8]}: {sentence}" for sentence in disagreements(found)]
        if commit not in self.seen:
            self.seen[commit] = found
        elif commit != newest:
            self.problems.append(f"main went back to {commit[:8]}")
        elif found != self.seen[commit]:
            self.problems.append(f"commit {commit[:8]} held {self.seen[commit]}, then {found}")

    def _look_for_doubles(self, commit: str) -> None:
        for table, moment in _RAW.items():
            rows = self._dremio.sql(fill(_TWICE.format(time=moment, table=table), commit, {})).to_pylist()
            if rows[0]["n"]:
                self.problems.append(f"commit {commit[:8]}: {rows[0]['n']} rows of {table} are there twice")

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._dremio.close()


class PublishHistory(Protocol):
    """What the catalog says of the publishes."""

    def count(self) -> int:
        """How many there were so far."""

    def must_be_kept(self, ended: datetime) -> set[str]:
        """Commits that have to be readable where the engine ended at this time."""


class PublicationsAsked:
    """The history of the embedded engine, from its catalog file."""

    def __init__(self, pipeline: Embedded) -> None:
        self._path = pipeline.data_dir / "catalog.db"

    def count(self) -> int:
        return self._ask("SELECT MAX(sequence) FROM publications")[0][0] or 0

    def must_be_kept(self, ended: datetime) -> set[str]:
        """All that it lists."""
        return {commit for (commit,) in self._ask("SELECT commit_id FROM publications")}

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as catalog:
            return catalog.execute(statement).fetchall()


@dataclass
class Read:
    """What a run gave. `gone` are commits that were refused at the end with a sentence, as thinning wants it."""

    publishes: int = 0
    kills: int = 0
    asked: int = 0
    commits_seen: int = 0
    kept: int = 0
    gone: int = 0
    merged: int = 0
    deleted: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def write(self, report: Report, publishes: int, kills: int) -> None:
        """The figures as rows of a report, and the first problems on the screen."""
        report.row("publishes", self.publishes, "", at_least=publishes)
        report.row("kill -9", self.kills, "", exactly=kills)
        report.row("questions asked", self.asked, "")
        report.row("commits seen", self.commits_seen, "")
        report.row("answer, p50", percentile(self.taken, 50) * 1000, "ms")
        report.row("answer, p95", percentile(self.taken, 95) * 1000, "ms")
        report.row("seen commits that read the same at the end", self.kept, "", at_least=1)
        report.row("seen commits refused at the end", self.gone, "", at_least=1)
        report.row("small files merged meanwhile", self.merged, "", at_least=1)
        report.row("files deleted meanwhile", self.deleted, "", at_least=1)
        report.row("batches that failed and were begun again", self.failed, "", exactly=0)
        report.row("violations found", len(self.problems), "", exactly=0)
        report.row("time in all", self.seconds, "s")
        for sentence in self.problems[:20]:
            print(sentence)


def run(pipeline: Pipeline, history: PublishHistory, publishes: int, kills: int, rate: float, seed: int = 3) -> Read:
    """Shoppers at a rate, an engine that runs and is killed, a reader; until there are so many publishes."""
    found = Read(kills=kills)
    draw = random.Random(seed)
    began = time.monotonic()
    reader = HeadReader(pipeline.uri)
    with shoppers(pipeline, rate):
        reader.start()
        for number in range(1, kills + 1):
            _wait_for(pipeline, history, publishes * number // (kills + 1))
            time.sleep(draw.uniform(0, 1.5))
            pipeline.kill_engine()
            pipeline.start_engine()
        _wait_for(pipeline, history, publishes)
    pipeline.wait_until_read()
    reader.stop()
    # From here on nothing is thinned, so that what must be kept is that for as long as the reading takes.
    code, ended = pipeline.stop_engine(), datetime.now(UTC)
    found.publishes = history.count()
    found.asked, found.commits_seen, found.taken = reader.asked, len(reader.seen), reader.taken
    found.problems = reader.problems
    _read_again(pipeline, reader, history.must_be_kept(ended), found)
    _look_at_maintenance(pipeline, found)
    found.problems += lost(pipeline)
    failures = pipeline.failures()
    found.failed = len(failures)
    found.problems += failures
    if code:
        found.problems.append(f"the engine ended with {code} on SIGTERM")
    found.seconds = time.monotonic() - began
    return found


@contextlib.contextmanager
def shoppers(pipeline: Pipeline, rate: float, *words: str) -> Iterator[None]:
    """Simulated people, while the block lasts."""
    command = [sys.executable, "-m", "producers", "shoppers", "--rate", f"{rate:g}", "--flat", *words]
    with (pipeline.data_dir / "shoppers.log").open("ab") as log:
        child = subprocess.Popen(
            [*command, *pipeline.sink_words],
            cwd=ROOT,
            env=pipeline.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_for(pipeline: Pipeline, history: PublishHistory, publishes: int) -> None:
    """Until there are so many publishes. Raises TimeoutError where there is none for two minutes."""
    before, moved_at = -1, time.monotonic()
    while (made := history.count()) < publishes:
        if made > before:
            before, moved_at = made, time.monotonic()
        if pipeline.engine.poll() is not None:
            raise RuntimeError(f"the engine ended with {pipeline.engine.returncode}:\n{pipeline.last_words()}")
        if time.monotonic() - moved_at > 120:
            raise TimeoutError(f"no publish after the {made}th:\n{pipeline.last_words()}")
        time.sleep(0.5)


def _read_again(pipeline: Pipeline, reader: HeadReader, must: set[str], found: Read) -> None:
    """Every commit that the reader saw: as it was, or refused; those that must be kept are."""
    for commit, first in reader.seen.items():
        try:
            again = fingerprint(pipeline.dremio, commit)
        except QueryError as error:
            found.gone += 1
            if commit in must:
                found.problems.append(f"commit {commit[:8]} must be kept, but: {error}")
            elif not str(error):
                found.problems.append(f"commit {commit[:8]} was refused without a sentence")
        except DremioError as error:
            found.problems.append(f"commit {commit[:8]}: {type(error).__name__}: {error}")
        else:
            found.kept += 1
            if again != first:
                found.problems.append(f"commit {commit[:8]} held {first}, at the end {again}")


def _look_at_maintenance(pipeline: Pipeline, found: Read) -> None:
    rows = pipeline.dremio.sql(
        fill("SELECT SUM(files_merged) AS merged, SUM(files_deleted) AS deleted FROM {maintenance_runs}", None, {})
    ).to_pylist()
    found.merged, found.deleted = rows[0]["merged"] or 0, rows[0]["deleted"] or 0


def lost(pipeline: Pipeline) -> list[str]:
    """Whether each message is a row, once: shoppers send none twice."""
    rows = 0
    for table in (*_RAW, "dead_letters"):
        try:
            rows += pipeline.dremio.sql(fill(f"SELECT COUNT(*) AS n FROM {{{table}}}", None, {}))["n"][0].as_py()
        except NotFound:
            continue
    sent = sum(pipeline.log_ends().values())
    return [] if rows == sent else [f"{sent} messages are in the log, {rows} rows in the tables"]


def main() -> None:
    """`python -m bench readers`."""
    parser = argparse.ArgumentParser(prog="bench readers", description=__doc__)
    parser.add_argument("--publishes", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100, help="events/s (100)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder,
        Embedded(Path(folder), free_offset(), SETTINGS) as pipeline,
    ):
        pipeline.start_engine()
        pipeline.wait_reading()
        found = run(pipeline, PublicationsAsked(pipeline), arguments.publishes, arguments.kills, arguments.rate)
    report = Report("readers", f"{arguments.rate:g} events/s, a reader every {EVERY_S * 1000:g} ms")
    found.write(report, arguments.publishes, arguments.kills)
    report.finish()


if __name__ == "__main__":
    main()
