"""TABLE(table_files('…')) and its like: Dremio's columns, and what pyiceberg reads in the same metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable, Table
from pyiceberg.transforms import DayTransform, HourTransform, IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.files import LocalFiles
from embedded.gateway.metadata import TableMetadata
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.gateway_cast import Desk

OURS = f"{CATALOG}.{SCHEMA}"
ORDERS = f"{OURS}.orders_processed"

PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
COLUMNS = {
    "table_history": [
        ("made_current_at", pa.timestamp("ms")),
        ("snapshot_id", pa.int64()),
        ("parent_id", pa.int64()),
        ("is_current_ancestor", pa.bool_()),
    ],
    "table_snapshot": [
        ("committed_at", pa.timestamp("ms")),
        ("snapshot_id", pa.int64()),
        ("parent_id", pa.int64()),
        ("operation", pa.string()),
        ("manifest_list", pa.string()),
        ("summary", PAIRS),
    ],
    "table_manifests": [
        ("content", pa.int32()),
        ("path", pa.string()),
        ("length", pa.int64()),
        ("partition_spec_id", pa.int32()),
        ("added_snapshot_id", pa.int64()),
        *(
            (f"{what}_{of}_files_count", pa.int32())
            for of in ("data", "delete")
            for what in ("added", "existing", "deleted")
        ),
        (
            "partition_summaries",
            pa.list_(
                pa.struct(
                    [
                        ("contains_null", pa.bool_()),
                        ("contains_nan", pa.bool_()),
                        ("lower_bound", pa.string()),
                        ("upper_bound", pa.string()),
                    ]
                )
            ),
        ),
    ],
    "table_files": [
        ("content", pa.string()),
        ("file_path", pa.string()),
        ("file_format", pa.string()),
        ("partition", pa.string()),
        ("record_count", pa.int64()),
        ("file_size_in_bytes", pa.int64()),
        *(
            (name, PAIRS)
            for name in (
                *("column_sizes", "value_counts", "null_value_counts", "nan_value_counts"),
                *("lower_bounds", "upper_bounds"),
            )
        ),
        ("split_offsets", pa.list_(pa.int64())),
        ("equality_ids", pa.list_(pa.int32())),
        ("sort_order_id", pa.int32()),
        ("spec_id", pa.int32()),
    ],
    "table_partitions": [
        ("partition", pa.string()),
        ("record_count", pa.int64()),
        ("file_count", pa.int32()),
        ("spec_id", pa.int32()),
    ],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("shop"))
    yield desk
    desk.close()


@pytest.fixture
def desk(shop: Desk) -> Desk:
    return shop.fresh()


def table_at(desk: Desk, table: str, commit: str) -> StaticTable:
    """The table as pyiceberg reads it."""
    [(tables,)] = desk.published.query(f"SELECT tables FROM publications WHERE commit_id = '{commit}'")
    return StaticTable.from_metadata(json.loads(tables)[table])


@pytest.mark.parametrize("function", COLUMNS)
def test_a_function_has_dremios_columns(desk: Desk, function: str) -> None:
    assert desk.table(f"SELECT * FROM TABLE({function}('{ORDERS}'))").schema == pa.schema(COLUMNS[function])
    assert desk.table(f"SELECT * FROM TABLE({function}('{ORDERS}')) AT BRANCH main AS t").num_rows > 0


# ---- on the tables of the shop --------------------------------------------------------------------------------------


def test_they_tell_what_pyiceberg_reads(desk: Desk) -> None:
    inspect = table_at(desk, "orders_processed", desk.published.second).inspect
    snapshots = desk.rows(f"SELECT * FROM TABLE(table_snapshot('{ORDERS}'))")
    wanted = [
        {**row, "summary": [{"key": key, "value": value} for key, value in row["summary"]]}
        for row in inspect.snapshots().to_pylist()
    ]
    assert snapshots == wanted
    assert desk.rows(f"SELECT * FROM TABLE(table_history('{ORDERS}'))") == inspect.history().to_pylist()
    files = desk.rows(f"SELECT file_path, record_count, file_size_in_bytes FROM TABLE(table_files('{ORDERS}'))")
    assert files == inspect.files().select(list(files[0])).to_pylist()
    manifests = desk.rows(f"SELECT path, length, added_snapshot_id FROM TABLE(table_manifests('{ORDERS}'))")
    assert manifests == inspect.manifests().select(list(manifests[0])).to_pylist()
    partitions = desk.rows(f"SELECT * FROM TABLE(table_partitions('{ORDERS}')) ORDER BY 1")
    assert [(row["partition"], row["record_count"], row["file_count"]) for row in partitions] == [
        ("{order_ts_hour=492347}", 2, 2),
        ("{order_ts_hour=492348}", 1, 1),
    ]


def test_bytes_of_each_table_can_be_asked_at_once(desk: Desk) -> None:
    """What a page about storage asks."""
    asked = " UNION ALL ".join(
        f"SELECT '{name}' AS name, COUNT(*) AS files, SUM(record_count) AS n, SUM(file_size_in_bytes) AS bytes "
        f"FROM TABLE(table_files('{OURS}.{name}'))"
        for name in sorted(TABLES)
    )
    found = desk.table(asked)
    assert found.schema.types == [pa.string(), pa.int64(), pa.int64(), pa.int64()]
    for row in found.to_pylist():
        files = table_at(desk, row["name"], desk.published.second).inspect.files().to_pylist()
        assert row["files"] == len(files)
        assert row["bytes"] == (sum(file["file_size_in_bytes"] for file in files) or None)


def test_they_are_relations_like_any_other(desk: Desk) -> None:
    joined = desk.rows(
        f"SELECT s.operation, f.n, o.n AS counted FROM TABLE(TABLE_SNAPSHOT('{ORDERS}')) AS s, "
        f"(SELECT SUM(record_count) AS n FROM TABLE(table_files('{ORDERS}')) AS g WHERE g.content = 'DATA') AS f, "
        f"(SELECT COUNT(*) AS n FROM {ORDERS}) AS o WHERE s.parent_id IS NULL"
    )
    assert joined == [{"operation": "append", "n": 3, "counted": 3}]
    with_query = desk.rows(
        f"WITH big AS (SELECT * FROM TABLE(table_files('{ORDERS}')) WHERE record_count >= 1) "
        "SELECT COUNT(*) AS n FROM big WHERE \"partition\" LIKE '%492348%'"
    )
    assert with_query == [{"n": 1}]
    desk.summary(f"USE {OURS}")
    assert desk.column("SELECT COUNT(*) AS n FROM TABLE(table_files('orders_processed'))") == [3]


def test_they_tell_of_the_commit_that_the_statement_sees(desk: Desk) -> None:
    count = f"SELECT COUNT(*) AS n FROM TABLE(table_files('{ORDERS}'))"
    first = desk.published.first
    assert desk.column(f'{count} AT COMMIT "{first}"') == [1]
    assert desk.column(f"SELECT COUNT(*) AS n FROM TABLE(table_history('{ORDERS}')) AT COMMIT \"{first}\"") == [1]
    snapshot = table_at(desk, "orders_processed", first).current_snapshot()
    assert snapshot is not None
    assert desk.column(f"{count} AT SNAPSHOT '{snapshot.snapshot_id}'") == [1]
    assert desk.column(f"{count} AT NOW() + INTERVAL '1' DAY") == [3]
    desk.summary(f'USE COMMIT "{first}" IN {CATALOG}')
    assert desk.column(count) == [1]
    assert desk.column(f"{count} AT BRANCH main") == [3]


def test_a_planned_question_keeps_its_commit(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    sql = f"SELECT COUNT(*) AS n FROM TABLE(table_files('{ORDERS}'))"
    ticket = desk.statements.plan(sql).ticket
    with desk.commits_later():
        assert desk.column(sql) == [4]
        [batch] = desk.statements.run(ticket, lambda: False).batches
    assert batch.column(0).to_pylist() == [3]
    desk.close()


def test_expressions_over_them_have_dremios_types(desk: Desk) -> None:
    found = desk.table(
        f"SELECT SUM(file_size_in_bytes) / COUNT(*) AS mean, record_count / 2 AS half, spec_id / 2 AS spec "
        f"FROM TABLE(table_files('{ORDERS}')) WHERE record_count = 1 GROUP BY record_count, spec_id"
    )
    assert found.schema.types == [pa.int64(), pa.int64(), pa.int32()]
    assert found.column("half").to_pylist() == [0]
    sql = "SELECT DATE_TRUNC('day', committed_at) AS d, TIMESTAMPADD(DAY, 1, committed_at) AS t"
    times = desk.table(f"{sql} FROM TABLE(table_snapshot('{ORDERS}'))")
    assert times.schema.types == [pa.timestamp("ms"), pa.timestamp("ms")]
    assert desk.table("SELECT ORDINAL_POSITION / 2 AS h FROM INFORMATION_SCHEMA.COLUMNS").schema.types == [pa.int32()]


def test_parts_of_their_lists_and_structs_can_be_asked_for(desk: Desk) -> None:
    whole = (
        desk.table(f"SELECT partition_summaries AS p FROM TABLE(table_manifests('{ORDERS}'))").column("p").to_pylist()
    )
    parts = desk.table(
        f"SELECT m.partition_summaries[0]['LOWER_BOUND'] AS low, partition_summaries[9] AS beyond "
        f"FROM TABLE(table_manifests('{ORDERS}')) AS m WHERE partition_summaries[0]['contains_null'] = FALSE"
    )
    assert parts.schema.field("low").type == pa.string()
    assert sorted(parts.column("low").to_pylist()) == sorted(one[0]["lower_bound"] for one in whole)
    assert set(parts.column("beyond").to_pylist()) == {None}


def test_columns_of_a_table_become_rows(desk: Desk) -> None:
    price = f"SELECT order_id, price AS v FROM {ORDERS}"
    rows = desk.table(f"SELECT order_id, k, v FROM {ORDERS} AT BRANCH main UNPIVOT (v FOR k IN (price, order_total))")
    assert rows.num_rows == 2 * desk.table(price).num_rows
    assert sorted((row["order_id"], row["v"]) for row in rows.to_pylist() if row["k"] == "price") == sorted(
        (row["order_id"], row["v"]) for row in desk.table(price).to_pylist()
    )


class Counted(LocalFiles):
    """Files of this machine, and which were read."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def read(self, locations: Sequence[str]) -> list[bytes]:
        self.seen += locations
        return super().read(locations)


def test_a_new_commit_costs_the_manifests_that_it_wrote(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    files = Counted()
    desk.statements = Statements(desk.commits, desk.engine, files=files)
    asked = (
        f"SELECT SUM(record_count) AS n FROM TABLE(table_files('{ORDERS}'))",
        f"SELECT SUM(record_count) AS n FROM TABLE(table_partitions('{ORDERS}'))",
    )
    assert [desk.column(sql) for sql in asked] == [[3], [3]]
    manifests = {location for location in files.seen if location.endswith("-m0.avro")}
    assert manifests
    with desk.commits_later():
        files.seen.clear()
        assert [desk.column(sql) for sql in asked] == [[4], [4]]
    again = [location for location in files.seen if location.endswith("-m0.avro")]
    assert len(set(again)) == 1
    assert not manifests & set(again)
    desk.close()


@pytest.mark.parametrize(
    ("asked", "kind", "says", "place"),
    [
        (f"table_files('{OURS}.sales')", ErrorKind.VALIDATION, f"Table '{OURS}.sales' not found", "TABLE("),
        ("table_files('orders_processed')", ErrorKind.VALIDATION, "Table 'orders_processed' not found", "TABLE("),
        (f"table_files('\"{OURS}\".orders_processed')", ErrorKind.VALIDATION, "not found", "TABLE("),
        ("table_files('INFORMATION_SCHEMA.VIEWS')", ErrorKind.VALIDATION, "not found", "TABLE("),
        ("table_files('a..b')", ErrorKind.VALIDATION, "Invalid table identifier", "TABLE("),
        ("table_files('')", ErrorKind.VALIDATION, "Invalid table identifier", "TABLE("),
        ("table_files(alerts)", ErrorKind.VALIDATION, "takes the path of a table in single quotes", "table_files"),
        ("table_files('a', 'b')", ErrorKind.VALIDATION, "takes the path of a table in single quotes", "table_files"),
        (
            "table_rows('alerts')",
            ErrorKind.VALIDATION,
            "No match found for function signature TABLE_ROWS",
            "table_rows",
        ),
        ("clustering_information('a')", ErrorKind.VALIDATION, "Not supported by the gateway yet", "clustering"),
        (
            f"table_partitions('{OURS}.ingest_positions')",
            ErrorKind.VALIDATION,
            f"Table {OURS}.ingest_positions is not partitioned.",
            "TABLE(",
        ),
    ],
)
def test_what_dremio_refuses_is_refused(desk: Desk, asked: str, kind: ErrorKind, says: str, place: str) -> None:
    sql = f"SELECT * FROM TABLE({asked})"
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (kind, True), str(refusal)
    assert sql[refusal.start or 0 :].startswith(place)


@pytest.mark.parametrize("function", ["table_history", "table_snapshot", "table_manifests", "table_partitions"])
@pytest.mark.parametrize("at", ["AT SNAPSHOT '1'", "AT TIMESTAMP '2026-01-01 00:00:00'", "AT NOW()"])
def test_only_files_are_shown_of_a_past_time(desk: Desk, function: str, at: str) -> None:
    refusal = desk.refused(f"SELECT * FROM TABLE({function}('{ORDERS}')) {at}")
    assert f"Time Travel is not supported on metadata function: '{function.upper()}'" in str(refusal)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT TABLE(table_files('{ORDERS}'))",
        f"SELECT 1 AS TABLE(table_files('{ORDERS}'))",
        f"SELECT 1 FROM {ORDERS} AS TABLE(table_files('{ORDERS}'))",
        f"SELECT 1 FROM {ORDERS} TABLE(table_files('{ORDERS}'))",
    ],
)
def test_it_stands_where_a_table_stands_and_nowhere_else(desk: Desk, sql: str) -> None:
    refusal = desk.refused(sql)
    assert (refusal.kind, str(refusal)) == (ErrorKind.PARSE, 'Failure parsing the query: encountered "TABLE".')


def test_a_column_that_it_has_not_is_refused(desk: Desk) -> None:
    sql = f"SELECT bytes FROM TABLE(table_files('{ORDERS}')) AS f"
    refusal = desk.refused(sql)
    assert (str(refusal), refusal.start) == ("Column 'bytes' not found in any table", 7)


# ---- on a table of another writer -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table whose partitioning changed, with statistics of all kinds of columns."""
    folder = tmp_path_factory.mktemp("foreign")
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("db")
    schema = Schema(
        NestedField(1, "region", StringType(), required=False),
        NestedField(2, "day", DateType(), required=False),
        NestedField(3, "at", TimestamptzType(), required=False),
        NestedField(4, "price", DecimalType(9, 2), required=False),
        NestedField(5, "ratio", DoubleType(), required=False),
        NestedField(6, "n", LongType(), required=False),
        NestedField(7, "ok", BooleanType(), required=False),
        NestedField(8, "raw", BinaryType(), required=False),
        NestedField(9, "share", FloatType(), required=False),
    )
    spec = PartitionSpec(
        PartitionField(1, 1000, IdentityTransform(), "region"),
        PartitionField(3, 1001, DayTransform(), "at_day"),
    )
    table = catalog.create_table("db.sales", schema, partition_spec=spec)
    row = {
        "region": "north",
        "day": date(2026, 3, 2),
        "at": datetime(2026, 3, 2, 12, 30, tzinfo=UTC),
        "price": Decimal("19.90"),
        "ratio": 1.5e10,
        "n": 7,
        "ok": True,
        "raw": b"abc",
        "share": 0.1,
    }
    arrow = table.schema().as_arrow()
    table.append(pa.Table.from_pylist([row, {**row, "ratio": float("nan"), "price": Decimal("-0.05")}], schema=arrow))
    table.append(pa.Table.from_pylist([{**row, "region": None, "n": None}], schema=arrow))
    with table.update_spec() as update:
        update.remove_field("region")
        update.remove_field("at_day")
        update.add_field("at", HourTransform(), "at_hour")
    table.append(pa.Table.from_pylist([row], schema=arrow))
    table.delete("region IS NULL")
    return table


def rows(table: Table, function: str, snapshot_id: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        TableMetadata(LocalFiles(), table.metadata_location.removeprefix("file://"), snapshot_id)
        .rows(function)
        .to_pylist()
    )
    return found


def pairs(values: list[dict[str, str]]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in values}


def test_partitions_are_written_with_the_values_of_their_transforms(foreign: Table) -> None:
    days = (date(2026, 3, 2) - date(1970, 1, 1)).days
    files = rows(foreign, "TABLE_FILES")
    assert sorted((file["partition"], file["spec_id"]) for file in files) == sorted(
        [(f"{{region=north, at_day={days}}}", 0), (f"{{at_hour={days * 24 + 12}}}", foreign.spec().spec_id)]
    )
    assert sorted((row["partition"], row["record_count"]) for row in rows(foreign, "TABLE_PARTITIONS")) == sorted(
        [(f"{{region=north, at_day={days}}}", 2), (f"{{at_hour={days * 24 + 12}}}", 1)]
    )


def test_a_partition_without_a_value_is_null_in_files_and_left_out_of_partitions(foreign: Table) -> None:
    second = foreign.snapshots()[1].snapshot_id
    days = (date(2026, 3, 2) - date(1970, 1, 1)).days
    assert f"{{region=null, at_day={days}}}" in [file["partition"] for file in rows(foreign, "TABLE_FILES", second)]
    assert f"{{at_day={days}}}" in [row["partition"] for row in rows(foreign, "TABLE_PARTITIONS", second)]


def test_statistics_are_pairs_of_text_as_java_writes_values(foreign: Table) -> None:
    file = next(file for file in rows(foreign, "TABLE_FILES") if file["record_count"] == 2)
    assert (file["content"], file["file_format"], file["equality_ids"]) == ("DATA", "PARQUET", None)
    assert pairs(file["value_counts"])["5"] == "2"
    assert pairs(file["null_value_counts"])["6"] == "0"
    lower, upper = pairs(file["lower_bounds"]), pairs(file["upper_bounds"])
    assert lower["1"] == "north"
    assert lower["2"] == str((date(2026, 3, 2) - date(1970, 1, 1)).days)
    assert lower["3"] == str(int(datetime(2026, 3, 2, 12, 30, tzinfo=UTC).timestamp() * 1e6))
    assert (lower["4"], upper["4"]) == ("-0.05", "19.90")
    assert lower["6"] == "7"
    assert lower["7"] == "true"
    assert lower["9"] == "0.1"
    assert lower["8"] == "java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]"
    single = next(file for file in rows(foreign, "TABLE_FILES") if file["record_count"] == 1)
    assert pairs(single["lower_bounds"])["5"] == "1.5E10"


def test_manifests_tell_their_counts_and_partitions_for_people(foreign: Table) -> None:
    found = {row["path"]: row for row in rows(foreign, "TABLE_MANIFESTS")}
    wanted = foreign.inspect.manifests().to_pylist()
    assert len(found) == len(wanted)
    for row in wanted:
        ours = found[row["path"]]
        assert {key: ours[key] for key in ours if key != "partition_summaries"} == {
            key: row[key] for key in ours if key != "partition_summaries"
        }
    texts = {item["lower_bound"] for row in found.values() for item in row["partition_summaries"]}
    assert {"north", "2026-03-02", "2026-03-02-12"} <= texts


def test_a_snapshot_that_no_longer_leads_here_is_no_ancestor(foreign: Table) -> None:
    first = foreign.snapshots()[0].snapshot_id
    metadata = json.loads(Path(foreign.metadata_location.removeprefix("file://")).read_text())
    metadata["current-snapshot-id"] = first
    told = Path(foreign.metadata_location.removeprefix("file://")).with_name("rolled-back.metadata.json")
    told.write_text(json.dumps(metadata))
    history = TableMetadata(LocalFiles(), str(told)).rows("TABLE_HISTORY").to_pylist()
    assert [row["is_current_ancestor"] for row in history] == [True] + [False] * (len(history) - 1)


def test_a_table_without_a_snapshot_has_no_files(tmp_path: Path) -> None:
    catalog = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("db")
    table = catalog.create_table("db.none", Schema(NestedField(1, "n", LongType(), required=False)))
    for function in ("TABLE_FILES", "TABLE_MANIFESTS", "TABLE_HISTORY", "TABLE_SNAPSHOT", "TABLE_PARTITIONS"):
        assert rows(table, function) == []


def test_metadata_that_cannot_be_read_is_not_named_to_the_client(foreign: Table, tmp_path: Path) -> None:
    bad = tmp_path / "bad.metadata.json"
    bad.write_text("{")
    for location in (str(bad), str(tmp_path / "gone.metadata.json")):
        with pytest.raises(Refusal, match="DATA_READ ERROR: a file of a table cannot be read"):
            TableMetadata(LocalFiles(), location)
