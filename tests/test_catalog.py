"""Publishing many Iceberg tables at once, and keeping past commits readable while the disk stays flat."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable
from pyiceberg.types import StringType

from embedded.catalog import Catalog, now_us, only_writer
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse.tables import (
    CATALOG,
    MAINTENANCE_RUNS,
    PIPELINE_METRICS,
    SCHEMA,
    TABLES,
    arrow_schema,
)
from lakehouse.user_error import UserError
from pipeline.iceberg.manifests import MOST_SMALL
from pipeline.iceberg.schema import iceberg_schema, partition_spec
from pipeline.storage.files import path_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ZERO = timedelta(0)


def metric(value: float, at: datetime = NOON) -> pa.Table:
    row = {"measured_at": at, "topic": "orders_topic", "metric": "lag", "value": value, "ingested_at": at}
    return pa.Table.from_pylist([row], schema=arrow_schema(PIPELINE_METRICS))


def errors(count: int) -> pa.Table:
    row = {
        "window_start": NOON,
        "window_end": NOON + timedelta(minutes=1),
        "service_name": "payments",
        "severity": "ERROR",
        "error_count": count,
        "updated_at": NOON,
    }
    return pa.Table.from_pylist([row], schema=arrow_schema(TABLES["errors_per_minute"]))


def publish(catalog: Catalog, value: float) -> str:
    """One appended metric, and the hour's errors replaced."""
    sequence = catalog.sequence + 1
    metrics, kpi = catalog.tables["pipeline_metrics"], catalog.tables["errors_per_minute"]
    staged = [
        metrics.stage(metrics.write(metric(value)), [], sequence),
        kpi.stage(kpi.write(errors(int(value))), list(kpi.live.values()), sequence),
    ]
    return catalog.publish(staged, None)


def change(catalog: Catalog, statement: str, *values: object) -> None:
    with sqlite3.connect(catalog.path) as db:
        db.execute(statement, values)


def stock(catalog: Catalog) -> SqlCatalog:
    return SqlCatalog(CATALOG, uri=f"sqlite:///{catalog.path}", warehouse=f"file://{catalog.warehouse}")


def values_at(catalog: Catalog, commit_id: str) -> tuple[list[float], list[int]]:
    """What plain pyiceberg reads of a past commit: metrics in order, and the errors' count."""
    with sqlite3.connect(catalog.path) as db:
        tables = json.loads(
            db.execute("SELECT tables FROM publications WHERE commit_id = ?", (commit_id,)).fetchone()[0]
        )
    metrics = StaticTable.from_metadata(tables["pipeline_metrics"]).scan().to_arrow()["value"].to_pylist()
    counts = StaticTable.from_metadata(tables["errors_per_minute"]).scan().to_arrow()["error_count"].to_pylist()
    return sorted(metrics), counts


def test_plain_pyiceberg_reads_every_table_of_the_contract(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    publish(catalog, 7.0)
    reader = stock(catalog)
    assert {name for _, name in reader.list_tables(SCHEMA)} == set(TABLES)
    assert reader.load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow()["value"].to_pylist() == [7.0]


def test_nothing_of_a_staged_publish_is_seen_before_it_is_published(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    publish(catalog, 1.0)
    writer = catalog.tables["pipeline_metrics"]
    writer.stage(writer.write(metric(2.0)), [], catalog.sequence + 1)
    reader = stock(catalog)
    assert reader.load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow()["value"].to_pylist() == [1.0]


def test_a_table_changed_by_another_process_stops_the_publish_and_shows_nothing(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    publish(catalog, 1.0)
    stock(catalog).load_table(f"{SCHEMA}.errors_per_minute").append(errors(99))
    with pytest.raises(RuntimeError, match="errors_per_minute was changed by another process"):
        publish(catalog, 2.0)
    reader = stock(catalog)
    assert reader.load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow()["value"].to_pylist() == [1.0]


def test_a_kept_commit_reads_the_same_after_hundreds_of_publishes_and_sweeps(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    kept = {}
    for number in range(60):
        commit_id = publish(catalog, float(number))
        if number in (3, 17, 40):
            kept[commit_id] = [float(n) for n in range(number + 1)], [number]
            change(catalog, "UPDATE publications SET tag = 'backup' WHERE commit_id = ?", commit_id)
        catalog.thin(now_us() + 1, ZERO, ZERO)
        catalog.sweep(now_us() + 1, ZERO)
    assert {commit_id: values_at(catalog, commit_id) for commit_id in kept} == kept


def test_a_sweep_leaves_only_what_a_kept_commit_reaches(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for number in range(40):
        publish(catalog, float(number))
    before = sum(1 for path in catalog.warehouse.rglob("*") if path.is_file())
    assert catalog.thin(now_us() + 1, ZERO, ZERO) == 40  # the first, empty publish is one of them
    deleted, size = catalog.sweep(now_us() + 1, ZERO)
    after = sum(1 for path in catalog.warehouse.rglob("*") if path.is_file())
    assert deleted == before - after
    assert size > 0
    # Every metric's file is live; of the replaced errors only what the three listed snapshots hold.
    assert len(list((catalog.warehouse / SCHEMA / "errors_per_minute" / "data").rglob("*.parquet"))) == 3
    assert stock(catalog).load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow().num_rows == 40
    for snapshot in stock(catalog).load_table(f"{SCHEMA}.errors_per_minute").metadata.snapshots:
        table = stock(catalog).load_table(f"{SCHEMA}.errors_per_minute")
        assert table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows == 1


def test_manifests_stay_few(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for number in range(72):
        publish(catalog, float(number))
    assert len(catalog.tables["pipeline_metrics"].manifests) <= MOST_SMALL + 4
    assert len(catalog.tables["errors_per_minute"].manifests) == 1
    assert catalog.tables["pipeline_metrics"].row_count == 72


def test_a_restart_goes_on_where_the_last_publish_ended_and_clears_what_a_kill_left(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for number in range(5):
        publish(catalog, float(number))
    writer = catalog.tables["pipeline_metrics"]
    writer.stage(writer.write(metric(99.0)), [], catalog.sequence + 1)  # killed before the publish
    catalog.close()
    again = Catalog(tmp_path)
    assert again.sweep_orphans(ZERO) == 4  # data file, manifest, manifest list, metadata
    publish(again, 5.0)
    assert again.sweep_orphans(ZERO) == 0
    assert sorted(again.rows("pipeline_metrics")["value"].to_pylist()) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    again.thin(now_us() + 1, ZERO, ZERO)
    again.sweep(now_us() + 1, ZERO)
    assert stock(again).load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow().num_rows == 6


def test_the_first_publish_of_each_minute_is_kept_and_the_rest_goes(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    ids = [publish(catalog, float(number)) for number in range(6)]
    minute = 60_000_000
    start = (now_us() // minute - 600) * minute
    for number, commit_id in enumerate(ids):  # three publishes in each of two minutes, ten hours ago
        at = start + (number // 3) * minute + (number % 3) * 1_000_000
        change(catalog, "UPDATE publications SET published_at = ? WHERE commit_id = ?", at, commit_id)
    catalog.thin(start + 60 * minute, timedelta(minutes=5), timedelta(hours=6))
    with sqlite3.connect(catalog.path) as db:
        left = [row[0] for row in db.execute("SELECT commit_id FROM publications ORDER BY sequence")]
    assert [commit_id for commit_id in ids if commit_id in left] == [ids[0], ids[3], ids[5]]  # and the head


def test_rows_of_many_hours_go_into_a_file_each_and_negative_times_too(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    times = [NOON, NOON + timedelta(hours=2), datetime(1969, 12, 31, 23, 30, tzinfo=UTC), NOON + timedelta(minutes=59)]
    rows = pa.concat_tables([metric(float(n), at) for n, at in enumerate(times)])
    writer = catalog.tables["pipeline_metrics"]
    files = writer.write(rows)
    assert sorted((file.hour, file.rows) for file in files) == [(-1, 1), (492348, 2), (492350, 1)]
    catalog.publish([writer.stage(files, [], catalog.sequence + 1)], None)
    found = (
        stock(catalog)
        .load_table(f"{SCHEMA}.pipeline_metrics")
        .scan(row_filter="measured_at < '1970-01-01T00:00:00+00:00'")
    )
    assert found.to_arrow()["value"].to_pylist() == [2.0]


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from embedded.catalog import only_writer\n"
        f"with only_writer(Path({str(tmp_path)!r})): pass"
    )
    with only_writer(tmp_path):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Another ingest (process " in run.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def older(catalog: Catalog, name: str, *columns: str) -> None:
    """Make a table one of a version that did not know these columns, with a row from then."""
    old = dataclasses.replace(
        TABLES[name], columns=tuple(column for column in TABLES[name].columns if column.name not in columns)
    )
    reader = stock(catalog)
    location = reader.load_table(f"{SCHEMA}.{name}").location()
    reader.drop_table(f"{SCHEMA}.{name}")
    shutil.rmtree(path_of(location))
    table = reader.create_table(
        f"{SCHEMA}.{name}", schema=iceberg_schema(old), partition_spec=partition_spec(old), location=location
    )
    table.append(metric(1.0).drop_columns(columns))


def test_columns_that_a_table_lacks_are_added_and_rows_of_before_hold_nothing_in_them(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    older(catalog, "pipeline_metrics", "topic", "value")
    catalog.close()
    again = Catalog(tmp_path)
    publish(again, 2.0)
    rows = again.rows("pipeline_metrics").sort_by("value").to_pylist()
    assert [(row["metric"], row["topic"], row["value"]) for row in rows] == [
        ("lag", "orders_topic", 2.0),
        ("lag", None, None),
    ]
    table = stock(again).load_table(f"{SCHEMA}.pipeline_metrics")
    ids = {field.name: (field.field_id, field.required) for field in table.schema().fields}
    # No places: the ids of before stay, the new ones follow.
    assert ids == {
        "measured_at": (1, True),
        "metric": (2, True),
        "ingested_at": (3, True),
        "topic": (4, False),
        "value": (5, False),
    }
    assert sorted(table.scan().to_arrow()["value"].to_pylist(), key=str) == [2.0, None]
    statements = Statements(
        SqliteCommits(again.path),
        Engine(again.warehouse, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=9),
    )
    asked = f'SELECT metric, topic, "value" FROM {CATALOG}.{SCHEMA}.pipeline_metrics ORDER BY "value"'
    answer = statements.run(statements.plan(asked).ticket, lambda: False)
    found = [tuple(row.values()) for batch in answer.batches for row in batch.to_pylist()]
    assert found == [("lag", "orders_topic", 2.0), ("lag", None, None)]


def test_a_table_gets_its_columns_once_in_a_publish_that_a_sweep_leaves_whole(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    older(catalog, "pipeline_metrics", "value")
    catalog.close()
    again = Catalog(tmp_path)
    publish(again, 2.0)
    first = again.sequence
    again.close()
    third = Catalog(tmp_path)
    assert third.sequence == first
    third.thin(now_us() + 1, ZERO, ZERO)
    third.sweep(now_us() + 1, ZERO)
    third.sweep_orphans(ZERO)
    assert third.rows("pipeline_metrics").num_rows == 2
    assert stock(third).load_table(f"{SCHEMA}.pipeline_metrics").scan().to_arrow().num_rows == 2


def test_a_column_that_is_no_more_in_the_contract_holds_nothing_in_new_rows(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    table = stock(catalog).load_table(f"{SCHEMA}.pipeline_metrics")
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column("unit", StringType(), required=True, default_value="count")
    catalog.close()
    again = Catalog(tmp_path)
    publish(again, 2.0)
    field = stock(again).load_table(f"{SCHEMA}.pipeline_metrics").schema().find_field("unit")
    assert not field.required
    assert again.rows("pipeline_metrics")["value"].to_pylist() == [2.0]


def test_a_table_of_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    table = stock(catalog).load_table(f"{SCHEMA}.{MAINTENANCE_RUNS.name}")
    with table.update_schema() as update:
        update.rename_column("seconds", "took")
    with table.update_schema() as update:
        update.add_column("seconds", StringType())
    catalog.close()
    with pytest.raises(UserError, match=r"maintenance_runs of .* has column seconds as string, not double; the data "):
        Catalog(tmp_path)
