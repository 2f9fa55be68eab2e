"""Thinning commits in Nessie and sweeping files in S3: kept commits read the same, the rest goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable, Table

from bench.processes import free_offset
from bench.servers import Servers
from lakehouse.tables import INGEST_POSITIONS, PIPELINE_METRICS, SCHEMA, arrow_schema
from lakehouse.user_error import UserError
from pipeline.iceberg.schema import iceberg_schema, partition_spec
from pipeline.settings import NessieSettings, RetentionSettings, S3Settings
from pipeline.storage.files import Swept
from pipeline.storage.nessie import Nessie, TableAt
from pipeline.storage.nessie_sweep import NessieSweep
from pipeline.storage.objects import Objects, S3Down, S3Error
from pipeline.storage.repository import copy_repository, refuse_while_driver_runs
from s3 import ensure_bucket
from tests.stack.conftest import Stack, stock_s3

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ZERO = timedelta(0)


@dataclass
class Lake:
    """Two tables in S3 and their commits in Nessie, written by pyiceberg: a metric appended, positions replaced."""

    nessie: Nessie
    s3: Objects
    catalog: SqlCatalog
    warehouse: str
    at: dict[str, TableAt] = field(default_factory=dict)
    sweeps: dict[timedelta, NessieSweep] = field(default_factory=dict)
    written: dict[str, set[str]] = field(default_factory=dict)

    def publish(self, value: float) -> str:
        """One publish on main: the commit."""
        before = self.files()
        metrics = self.catalog.load_table("x.pipeline_metrics")
        positions = self.catalog.load_table("x.ingest_positions")
        metrics.append(metric(value))
        positions.overwrite(position(int(value)))
        commit = self.commit({"pipeline_metrics": metrics, "ingest_positions": positions})
        self.written[commit] = {uri for uri in self.files() - before if "/ingest_positions_1/" in uri}
        return commit

    def left_of(self, commits: list[str]) -> set[str]:
        """What is left of the positions that these commits wrote; each replaced those before."""
        return self.files() & {uri for commit in commits for uri in self.written[commit]}

    def commit(self, tables: dict[str, Table]) -> str:
        for table in tables.values():
            # As a driver does: live metadata lists few snapshots.
            table.maintenance.expire_snapshots().older_than(datetime.now(UTC)).commit()
        put = {name: at(table, self.at.get(name)) for name, table in tables.items()}
        commit = self.nessie.commit("main", self.nessie.head(), put, "publish", () if self.at else (SCHEMA,))
        self.at = self.nessie.tables(commit)
        return commit

    def values(self, commit: str, name: str = "main") -> tuple[list[float], list[int]]:
        """What plain pyiceberg reads of a commit: all metrics, and the position."""
        tables = self.nessie.tables(commit, name)
        read = [
            StaticTable.from_metadata(tables[name].metadata_location, stock_s3()).scan().to_arrow()
            for name in ("pipeline_metrics", "ingest_positions")
        ]
        return sorted(read[0]["value"].to_pylist()), read[1]["next_offset"].to_pylist()

    def is_kept(self, commit: str) -> bool:
        """What a gateway looks at."""
        try:
            self.s3.look(self.nessie.tables(commit)["ingest_positions"].metadata_location)
        except FileNotFoundError:
            return False
        return True

    def files(self) -> set[str]:
        return {file.uri for file in self.s3.list(self.warehouse)}

    def sweep(self, keep: timedelta = ZERO) -> Swept:
        """A run that keeps every commit of the last `keep`, and no others but the head and what is held."""
        # S3 tells times to the second.
        time.sleep(2.1)
        if keep not in self.sweeps:
            self.sweeps[keep] = NessieSweep(self.nessie, self.s3, retention(keep), at_once=True)
        return self.sweeps[keep].run(now(), self.nessie.head())


def retention(every: timedelta) -> RetentionSettings:
    return RetentionSettings(every_commit=every, first_of_minute=ZERO, sweep_age=ZERO)


def now() -> int:
    return time.time_ns() // 1000


def at(table: Table, known: TableAt | None) -> TableAt:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return TableAt(known.id if known else "", table.metadata_location, snapshot.snapshot_id, 0, 0, 0)


def metric(value: float) -> pa.Table:
    row = {"measured_at": NOON, "topic": "orders_topic", "metric": "lag", "value": value, "ingested_at": NOON}
    return pa.Table.from_pylist([row], schema=arrow_schema(PIPELINE_METRICS))


def position(offset: int) -> pa.Table:
    row = dict.fromkeys(arrow_schema(INGEST_POSITIONS).names) | {
        "topic": "orders_topic",
        "source_partition": 0,
        "next_offset": offset,
    }
    schema = arrow_schema(INGEST_POSITIONS)
    filled = {
        field.name: row[field.name]
        if row[field.name] is not None
        else (NOON if pa.types.is_timestamp(field.type) else 0 if pa.types.is_integer(field.type) else "x")
        for field in schema
    }
    return pa.Table.from_pylist([filled], schema=schema)


@pytest.fixture
def lake(stack: Stack) -> Iterator[Lake]:
    settings, s3 = NessieSettings.load(), S3Settings.load()
    ensure_bucket(Objects(s3), s3, settings.bucket)
    stack.tmp.mkdir(exist_ok=True)
    catalog = SqlCatalog("writer", uri=f"sqlite:///{stack.tmp}/writer.db", **stock_s3())
    catalog.create_namespace("x")
    for table in (PIPELINE_METRICS, INGEST_POSITIONS):
        catalog.create_table(
            f"x.{table.name}",
            iceberg_schema(table),
            location=f"{settings.warehouse}/{SCHEMA}/{table.name}_1",
            partition_spec=partition_spec(table),
        )
    nessie, objects = Nessie(settings.uri), Objects(s3)
    yield Lake(nessie, objects, catalog, settings.warehouse)
    catalog.engine.dispose()
    nessie.close()
    objects.close()


def test_only_what_a_kept_commit_needs_stays_and_the_head_reads_the_same(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(6)]
    swept = lake.sweep()
    assert swept.commits_expired == 5
    assert [lake.is_kept(commit) for commit in commits] == [False] * 5 + [True]
    commits.append(lake.publish(6.0))
    before = lake.files()
    swept = lake.sweep()
    assert (swept.commits_expired, swept.files_deleted) == (1, len(before - lake.files()))
    assert lake.left_of(commits[:-1]) == set()
    assert lake.values(commits[-1]) == ([float(n) for n in range(7)], [6])
    assert lake.sweep() == Swept()


def test_commits_of_the_last_minutes_all_read_the_same(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(6)]
    before = lake.files()
    assert lake.sweep(timedelta(minutes=5)) == Swept()
    assert lake.files() == before
    for number, commit in enumerate(commits):
        assert lake.values(commit) == ([float(n) for n in range(number + 1)], [number])


def test_a_tag_and_somebody_elses_branch_hold_their_commits_until_they_are_gone(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(6)]
    lake.nessie.create("backup", commits[1], kind="TAG")
    lake.nessie.create("try-out", commits[3])
    lake.nessie.create("ingest-42", commits[2])
    lake.sweep()
    assert [lake.is_kept(commit) for commit in commits] == [False, True, False, True, False, True]
    for number in (1, 3, 5):
        assert lake.values(commits[number]) == ([float(n) for n in range(number + 1)], [number])
    lake.nessie.delete("backup", commits[1], "TAG")
    lake.nessie.delete("try-out", commits[3])
    assert lake.sweep().files_deleted > 0
    assert [lake.is_kept(commit) for commit in commits] == [False] * 5 + [True]


def test_a_table_that_was_renamed_keeps_its_files(lake: Lake) -> None:
    """The driver's sentence about a table of another type advises it."""
    old = lake.publish(1.0)
    renamed = replace(lake.nessie.tables(old)["ingest_positions"], id="")
    lake.nessie.commit("main", lake.nessie.head(), {"positions_before": renamed}, "renamed")
    newest = [lake.publish(float(n)) for n in range(2, 6)][-1]
    assert lake.sweep().files_deleted > 0
    at = lake.nessie.tables(newest)["positions_before"].metadata_location
    rows = StaticTable.from_metadata(at, stock_s3()).scan().to_arrow()
    assert rows["next_offset"].to_pylist() == [1]


def test_a_branch_with_changes_of_its_own_holds_them_and_the_commit_it_was_made_from(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(3)]
    lake.nessie.create("try-out", commits[1])
    metrics = lake.catalog.load_table("x.pipeline_metrics")
    metrics.append(metric(99.0))
    other = lake.nessie.commit(
        "try-out",
        commits[1],
        {"pipeline_metrics": at(metrics, lake.at["pipeline_metrics"])},
        "what if",
    )
    lake.catalog.load_table("x.ingest_positions")
    newest = lake.publish(3.0)
    lake.sweep()
    assert lake.values(other, "try-out") == ([0.0, 1.0, 2.0, 99.0], [1])
    assert [lake.is_kept(commit) for commit in commits] == [False, True, False]
    assert lake.values(commits[1]) == ([0.0, 1.0], [1])
    assert lake.values(newest) == ([0.0, 1.0, 2.0, 3.0, 99.0], [3])


def test_files_that_no_commit_has_yet_stay_and_what_a_killed_publish_left_goes_later(lake: Lake) -> None:
    lake.publish(0.0)
    metrics = lake.catalog.load_table("x.pipeline_metrics")
    metrics.append(metric(1.0))  # written, not published: what a batch under way has
    lake.sweep()
    assert lake.values(lake.commit({"pipeline_metrics": metrics})) == ([0.0, 1.0], [0])
    lake.catalog.load_table("x.pipeline_metrics").append(metric(2.0))  # and now one that was killed
    killed = lake.catalog.load_table("x.pipeline_metrics").metadata_location
    lake.catalog.drop_table("x.pipeline_metrics")
    lake.catalog.register_table("x.pipeline_metrics", metrics.metadata_location)
    time.sleep(2.1)
    head = lake.publish(3.0)
    lake.sweep()
    assert killed not in lake.files()
    assert lake.values(head) == ([0.0, 1.0, 3.0], [3])


def test_a_sweep_that_starts_anew_finds_what_was_thinned_and_what_was_left_before(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(5)]
    lake.sweep()
    lake.nessie.create("late", commits[0], kind="TAG")  # on a commit that is not kept any more: it holds nothing
    assert lake.left_of(commits)  # too young yet
    time.sleep(2.1)
    commits.append(lake.publish(5.0))
    lake.sweeps.clear()
    lake.sweep()
    assert lake.left_of(commits[:-1]) == set()
    assert lake.values(commits[-1]) == ([float(n) for n in range(6)], [5])


def test_main_put_back_to_an_older_commit_is_the_new_truth(lake: Lake) -> None:
    commits = [lake.publish(float(n)) for n in range(5)]
    lake.nessie.create("backup", commits[2], kind="TAG")
    lake.sweep()
    lake.nessie.assign("main", commits[4], commits[2])
    lake.catalog.drop_table("x.ingest_positions")
    lake.catalog.register_table(
        "x.ingest_positions", lake.nessie.tables(commits[2])["ingest_positions"].metadata_location
    )
    time.sleep(2.1)
    newest = lake.publish(7.0)
    lake.sweep()
    assert lake.left_of(commits[3:]) == set()
    assert lake.values(commits[2]) == ([0.0, 1.0, 2.0], [2])
    assert lake.values(newest)[1] == [7]


def test_without_s3_a_run_says_so_and_the_next_one_goes_on(lake: Lake, stack: Stack) -> None:
    commits = [lake.publish(float(n)) for n in range(3)]
    stack.servers.freeze("s3")
    try:
        impatient = Objects(S3Settings.load(), timeout_s=0.5)
        sweep = NessieSweep(lake.nessie, impatient, retention(ZERO), at_once=True)
        with pytest.raises(S3Down, match="does not answer: timed out"):
            sweep.run(now(), commits[-1])
    finally:
        stack.servers.freeze("s3", False)
    time.sleep(2.1)
    assert sweep.run(now(), commits[-1]).commits_expired == 2
    assert lake.values(commits[-1]) == ([0.0, 1.0, 2.0], [2])


def test_a_new_repository_has_the_head_and_the_tags_and_reads_the_same(
    lake: Lake, stack: Stack, tmp_path: Path
) -> None:
    commits = [lake.publish(float(n)) for n in range(3)]
    lake.nessie.create("backup/monday", commits[0], kind="TAG")
    lake.nessie.create("ingest-42", commits[1])  # a driver's that was killed: not missed
    servers = Servers(tmp_path, free_offset())
    try:
        servers.start("nessie")
        with contextlib.closing(Nessie(servers.nessie_uri)) as new:
            copied = copy_repository(lake.nessie, new)
            assert (copied.head, copied.contents, copied.tags) == (new.head(), 2, 1)
            assert {reference.name for reference in new.references()} == {"backup/monday", "main"}
            lake.nessie = new
            assert lake.values(copied.head) == ([0.0, 1.0, 2.0], [2])
            assert lake.values(new.head("backup/monday")) == ([0.0], [0])
            lake.at = new.tables(copied.head)
            assert lake.values(lake.publish(3.0)) == ([0.0, 1.0, 2.0, 3.0], [3])
            with pytest.raises(UserError, match="is not empty"):
                copy_repository(Nessie(stack.servers.nessie_uri), new)
    finally:
        servers.__exit__(None, None, None)


def test_a_new_repository_is_refused_where_something_would_be_lost_or_a_driver_runs(lake: Lake) -> None:
    commit = lake.publish(0.0)
    refuse_while_driver_runs(lake.nessie, timedelta(seconds=15))
    lake.nessie.create("ingest-42", commit)
    with pytest.raises(UserError, match=r"A driver seems to run: main .* the working branch ingest-42"):
        refuse_while_driver_runs(lake.nessie, timedelta(seconds=15))
    refuse_while_driver_runs(lake.nessie, timedelta(seconds=15), datetime.now(UTC) + timedelta(seconds=60))
    lake.nessie.create("try-out", commit)
    with pytest.raises(UserError, match="has the branches try-out, which a new repository would not have"):
        copy_repository(lake.nessie, lake.nessie)


def test_wrong_accounts_and_buckets_are_a_sentence(stack: Stack) -> None:
    settings = S3Settings.load()
    stranger = Objects(settings.model_copy(update={"access_key": "nobody"}))
    with pytest.raises(S3Error, match=r"correct s3.access_key"):
        list(stranger.list("s3://warehouse/x"))
    with pytest.raises(S3Error, match=r"has no bucket 'nowhere'"):
        list(Objects(settings).list("s3://nowhere/x"))
