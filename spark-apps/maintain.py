"""Maintenance of a stopped pipeline: `python spark-apps/maintain.py`.

A running driver does the same between its batches. Here all that waits is done at once: small files become large ones,
rows past their retention go, past commits are thinned, and files that no kept commit needs are deleted.

`python spark-apps/maintain.py new-repository --to http://HOST:PORT/api/v2` leaves a Nessie store behind that has grown
large: the head of main and all tags are put into the empty Nessie at that address.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.logs import log_to_stderr
from lakehouse.rules import state_from_rows
from lakehouse.settings.base import Shared
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.tables import TABLES
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.batch.rows import table_of
from pipeline.batch.times import micros
from pipeline.maintenance.jobs import work
from pipeline.maintenance.plan import Maintenance, Plan
from pipeline.maintenance.run import Run
from pipeline.settings import IngestSettings, NessieSettings, RetentionSettings, S3Settings, check_spans
from pipeline.storage.files import Change, LiveFile
from pipeline.storage.nessie import Nessie, NessieError
from pipeline.storage.nessie_sweep import NessieSweep
from pipeline.storage.objects import Objects, S3Error
from pipeline.storage.repository import copy_repository, refuse_while_driver_runs
from session import SparkSettings, open_session
from store import NessieStore, NewerDriver

logger = logging.getLogger("tillwatch.maintain")

Rows = list[dict[str, Any]]


def maintain(store: NessieStore, retention: RetentionSettings, sweep: NessieSweep) -> Run:
    """All there is to do, published; the figures of all of it."""
    total = Run()
    positions: Rows = store.rows("ingest_positions").to_pylist()
    if not positions:
        raise UserError("There is nothing to maintain: no driver has published anything yet.")
    now = datetime.now(UTC)
    at = max(now, *(row["updated_at"] for row in positions))
    state = state_from_rows(store.rows("rule_state").to_pylist())
    open_incidents = {row.incident_id for row in state.values() if row.incident_id is not None}
    maintenance = Maintenance(store, retention)
    while changes := _changes(store, maintenance.plan(micros(now), open_incidents), total):
        _publish(store, positions, at, changes)
        maintenance.note(changes)
        logger.info("%d files merged, %d rows expired", total.files_merged, total.rows_expired)
    swept = sweep.run(micros(datetime.now(UTC)), store.head)
    total.commits_expired, total.files_deleted, total.bytes_deleted = astuple(swept)
    row = total.row(at)
    written: Sequence[LiveFile] = store.tables["maintenance_runs"].write(table_of(TABLES["maintenance_runs"], [row]))
    _publish(store, positions, at, {"maintenance_runs": Change(written)})
    return total


def _changes(store: NessieStore, plan: Plan, total: Run) -> dict[str, Change]:
    """Do what is planned; what of it is to be published."""
    removed: dict[str, list[LiveFile]] = {name: list(files) for name, files in plan.gone.items()}
    added: dict[str, list[LiveFile]] = {}
    total.rows_expired += plan.run.rows_expired
    for job in plan.jobs:
        done = work(job, store)
        if done.fits(store.tables[job.name].live, removed.get(job.name, [])):
            removed.setdefault(job.name, []).extend(job.sources)
            added.setdefault(job.name, []).extend(done.files)
            done.tell(total)
    return {name: Change(added.get(name, []), files) for name, files in removed.items()}


def _publish(store: NessieStore, positions: Rows, at: datetime, changes: dict[str, Change]) -> None:
    """One commit; like every other it has the positions, which stay where they are."""
    files = store.tables["ingest_positions"]
    rows = table_of(files.table, [{**row, "updated_at": at} for row in positions])
    changes = {**changes, files.table.name: Change(files.write(rows), list(files.live.values()))}
    store.stage(changes)
    store.publish(changes, None, "maintenance")


def run_tables() -> None:
    """`maintain.py`: refuse while a driver runs; then everything, and no working branch is left."""
    shared, spark_settings, nessie_settings = Shared.load(), SparkSettings.load(), NessieSettings.load()
    s3, log = S3Settings.load(), ("kafka.retention", KafkaSettings.load().retention)
    retention = check_spans(RetentionSettings.load(), shared, log)
    nessie, objects = Nessie(nessie_settings.uri), Objects(s3)
    refuse_while_driver_runs(nessie, IngestSettings.load().heartbeat_every)
    with TemporaryDirectory(prefix="tillwatch-maintain-") as scratch:
        spark: SparkSession = open_session(spark_settings, nessie_settings, s3, Path(scratch))
        try:
            store = NessieStore(spark, nessie, nessie_settings, s3)
            try:
                done = maintain(store, retention, NessieSweep(nessie, objects, retention, at_once=True))
            finally:
                store.close()
        finally:
            spark.stop()
    print(
        f"{done.files_merged} files merged, {done.rows_expired} rows expired, {done.commits_expired} commits thinned, "
        f"{done.files_deleted} files deleted ({done.bytes_deleted / 1e6:.1f} MB)"
    )


def run_new_repository(to: str) -> None:
    """`maintain.py new-repository`: refuse while a driver runs; then copy, and say what to do next."""
    settings = NessieSettings.load()
    target = NessieSettings.load(uri=to).uri
    old, new = Nessie(settings.uri), Nessie(target)
    refuse_while_driver_runs(old, IngestSettings.load().heartbeat_every)
    copied = copy_repository(old, new)
    print(
        f"{copied.contents} tables and views and {copied.tags} tags of {settings.uri} are in {target}, main at "
        f"{copied.head}. Let Nessie run on that store from now on, and delete the old one."
    )


def main() -> None:
    """`python spark-apps/maintain.py [new-repository --to URI]`."""
    parser = argparse.ArgumentParser(prog="maintain.py", description="Maintenance of a stopped pipeline.")
    parser.add_argument(
        "what",
        nargs="?",
        default="tables",
        choices=("tables", "new-repository"),
        help="tables (default): merge, expire, thin and sweep; new-repository: leave a large Nessie store behind",
    )
    parser.add_argument("--to", metavar="URI", help="with new-repository: API v2 of a Nessie with an empty store")
    arguments = parser.parse_args()
    if (arguments.what == "new-repository") != (arguments.to is not None):
        parser.error("new-repository and --to URI belong together")
    log_to_stderr("pyiceberg", "urllib3", "py4j")
    with exit_on_user_error():
        try:
            if arguments.what == "tables":
                run_tables()
            else:
                run_new_repository(arguments.to)
        except NewerDriver as error:
            raise UserError(f"{error} Stop it, and start this again.") from None
        except (NessieError, S3Error) as error:
            raise UserError(str(error)) from None


if __name__ == "__main__":
    main()
