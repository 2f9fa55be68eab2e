"""The gateway answers from Nessie's tables in S3 as it does from embedded ingest's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

from bench.mirror import Mirror
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError, NotFound, QueryError, Unavailable
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import TableAt
from tests.conftest import Shop
from tests.stack.conftest import Stack, stock_s3

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
REVENUE = f"{CATALOG}.{SCHEMA}.orders_revenue_per_minute"


class Doubled:
    """A shop whose publishes stand in S3 and Nessie too; `commits` are pairs of ids, embedded's and Nessie's."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.shop = Shop(data_dir)
        self._embedded = SqliteCommits(data_dir / "catalog.db")
        self._engine = Engine(data_dir, data_dir / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
        self._statements = Statements(self._embedded, self._engine)
        self.mirror: Mirror | None = None
        self.commits: list[tuple[str, str]] = []

    def publish(self) -> str:
        self.shop.publish()
        self.mirror = self.mirror or Mirror(self.data_dir, NessieSettings.load(), S3Settings.load())
        head = self._embedded.head()
        assert head is not None
        self.commits.append((head.id, self.mirror.publish()))
        return self.commits[-1][1]

    def day(self) -> None:
        """A few publishes with something in every table of rows."""
        for minute in range(4):
            self.shop.order(user_id=f"u-{minute}")
            self.shop.click()
            self.shop.error(severity="FATAL" if minute else "ERROR")
            self.shop.message("orders_topic", b"{")
            self.shop.pass_time(timedelta(minutes=1))
            self.publish()

    def answer(self, sql: str) -> pa.Table:
        answer = self._statements.run(self._statements.plan(sql).ticket, lambda: False)
        return pa.Table.from_batches(list(answer.batches), schema=answer.schema)

    def close(self) -> None:
        self.shop.close()
        self._engine.close()


@pytest.fixture
def doubled(stack: Stack, tmp_path: Path) -> Doubled:
    return Doubled(tmp_path / "shop")


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with times as both ends know them."""
    return [
        {name: value.replace(tzinfo=None) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in table.to_pylist()
    ]


def count(dremio: Dremio, at: str = "", table: str = ORDERS) -> int:
    found: int = dremio.sql(f"SELECT COUNT(*) AS n FROM {table} {at}").to_pylist()[0]["n"]
    return found


def asked_until_refused(dremio: Dremio, at: str, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        count(dremio, at)
        time.sleep(0.5)


def until(what: Callable[[], Any], within_s: float = 30) -> Any:
    """Its result, once it no longer raises."""
    end = time.monotonic() + within_s
    while True:
        try:
            return what()
        except DremioError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_every_table_and_commit_reads_alike_from_both_catalogs(stack: Stack, doubled: Doubled) -> None:
    doubled.day()
    with stack.gateway() as dremio:
        assert until(dremio.head) == doubled.commits[-1][1]
        for table in TABLES:
            for embedded, nessie in doubled.commits:
                sql = f'SELECT * FROM {CATALOG}.{SCHEMA}.{table} AT COMMIT "{{}}" ORDER BY 1, 2'
                assert rows(dremio.sql(sql.format(nessie))) == rows(doubled.answer(sql.format(embedded))), table
        for sql in (
            f"SHOW TABLES IN {CATALOG}.{SCHEMA}",
            f"DESCRIBE {ORDERS}",
            "SELECT * FROM INFORMATION_SCHEMA.COLUMNS ORDER BY TABLE_NAME, ORDINAL_POSITION",
            f"SELECT r.window_start, SUM(o.order_total) AS total, MAX(r.total_revenue) AS same FROM {ORDERS} o "
            f"JOIN {REVENUE} r ON o.order_ts >= r.window_start AND o.order_ts < r.window_end "
            "GROUP BY r.window_start ORDER BY 1",
            f"SELECT \"partition\", record_count, file_size_in_bytes FROM TABLE(table_files('{ORDERS}')) ORDER BY 1, 2",
            f"SELECT content, added_data_files_count AS n FROM TABLE(table_manifests('{ORDERS}')) ORDER BY 1, 2",
            f"SELECT * FROM TABLE(table_partitions('{ORDERS}')) ORDER BY 1",
        ):
            assert rows(dremio.sql(sql)) == rows(doubled.answer(sql)), sql
        # Often enough for rows to come into memory.
        assert {count(dremio) for _ in range(15)} == {4}
    doubled.close()


def test_the_past_is_found_by_time_tag_branch_and_snapshot_and_what_is_thinned_is_refused(
    stack: Stack, doubled: Doubled
) -> None:
    doubled.day()
    mirror = doubled.mirror
    assert mirror is not None
    first, second, third, head = (commit for _, commit in doubled.commits)
    nessie = mirror.nessie
    times = {entry.hash: entry.committed_at for entry in nessie.history()}
    nessie.create("audit", second, kind="TAG")
    nessie.create("ingest-1", head)
    doubled.shop.order()
    doubled.shop.publish()
    unpublished = mirror.publish("ingest-1")

    def at(moment: datetime) -> str:
        return f"AT TIMESTAMP '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"

    with stack.gateway() as dremio:
        assert until(dremio.head) == head
        assert {row["refName"]: row["commitHash"] for row in dremio.sql(f"SHOW BRANCHES IN {CATALOG}").to_pylist()} == {
            "main": head,
            "ingest-1": unpublished,
        }
        assert dremio.sql(f"SHOW TAGS IN {CATALOG}").to_pylist() == [
            {"type": "Tag", "refName": "audit", "commitHash": second}
        ]
        assert count(dremio) == 4
        assert count(dremio, 'AT BRANCH "ingest-1"') == 5
        assert count(dremio, "AT TAG audit") == 2
        logged = dremio.sql(f"SHOW LOGS AT TAG audit IN {CATALOG}").column("commitHash").to_pylist()
        assert logged[:2] == [second, first]
        assert (
            count(dremio, f"AT BRANCH \"ingest-1\" AS OF '{times[second] + timedelta(milliseconds=1):%F %T.%f}'") == 2
        )
        # SQL's times are cut to milliseconds.
        millisecond = timedelta(milliseconds=1)
        assert count(dremio, at(times[third] + millisecond)) == 3
        assert count(dremio, at(times[third] - millisecond)) == 2
        snapshot = nessie.tables(first)["orders_processed"].snapshot_id
        assert count(dremio, f"AT SNAPSHOT '{snapshot}'") == 1
        with pytest.raises(QueryError, match="No commit of branch main was in force"):
            count(dremio, at(times[first] - timedelta(seconds=1)))

        positions = nessie.tables(third)["ingest_positions"].metadata_location
        mirror.files.delete_file(positions.removeprefix("s3://"))
        # It was asked for a moment ago, and stays good for 10 s.
        with pytest.raises(NotFound, match=f"Commit '{third}' not found .*: it never was, or is kept no longer"):
            asked_until_refused(dremio, f'AT COMMIT "{third}"')
        assert count(dremio, at(times[third] + millisecond)) == 2
        assert count(dremio, f'AT COMMIT "{second}"') == 2
    doubled.close()


def test_servers_that_are_away_are_named_and_come_back_by_themselves(stack: Stack, doubled: Doubled) -> None:
    doubled.day()
    head = doubled.commits[-1][1]
    stack.servers.kill("nessie")
    with stack.gateway() as dremio:
        with pytest.raises(Unavailable, match=r"Nessie at http://127.0.0.1:\d+/api/v2 does not answer"):
            dremio.head()
        stack.servers.start("nessie")
        assert until(dremio.head) == head
        stack.servers.kill("s3")
        # The head needs Nessie only; rows need S3.
        assert dremio.head() == head
        with pytest.raises(Unavailable, match=r"S3 at http://127.0.0.1:\d+ does not answer: connection refused"):
            count(dremio)
        stack.servers.start("s3")
        assert until(lambda: count(dremio)) == 4
    doubled.close()


def test_wrong_credentials_are_said_and_not_taken_for_an_outage(stack: Stack, doubled: Doubled) -> None:
    doubled.day()
    with (
        stack.gateway(S3_SECRET_KEY="guess") as dremio,
        pytest.raises(QueryError, match=r"refuses key 'admin' .*: check section s3"),
    ):
        count(dremio)
    doubled.close()


def test_tables_whose_columns_changed_are_read_right(stack: Stack, doubled: Doubled) -> None:
    doubled.shop.order()
    doubled.publish()
    assert doubled.mirror is not None
    mirror = doubled.mirror
    catalog = InMemoryCatalog("spare", warehouse=NessieSettings.load().warehouse, **stock_s3())
    catalog.create_namespace(SCHEMA)
    schema = Schema(NestedField(1, "n", IntegerType()), NestedField(2, "old", StringType()))
    tables: dict[str, Table] = {}
    for name in ("added", "widened"):
        table = tables[name] = catalog.create_table(f"{SCHEMA}.{name}", schema)
        table.append(pa.table({"n": pa.array([1], pa.int32()), "old": ["a"]}))
        if name == "added":
            with table.update_schema() as update:
                update.rename_column("old", "new")
            with table.update_schema() as update:
                update.add_column("old", StringType())
        else:
            with table.update_schema() as update:
                update.update_column("n", LongType())
        last = {"new": ["b"], "old": ["c"]} if name == "added" else {"old": ["b"]}
        number = pa.int32() if name == "added" else pa.int64()
        table.append(pa.table({"n": pa.array([2], number), **last}))
    mirror.commit(
        {
            name: TableAt("", table.metadata_location, table.metadata.current_snapshot_id or 0, 0, 0, 0)
            for name, table in tables.items()
        }
    )
    with stack.gateway() as dremio:
        for _ in range(15):
            added = dremio.sql(f"SELECT * FROM {CATALOG}.{SCHEMA}.added ORDER BY n").to_pylist()
            assert added == [{"n": 1, "new": "a", "old": None}, {"n": 2, "new": "b", "old": "c"}]
        widened = dremio.sql(f"SELECT * FROM {CATALOG}.{SCHEMA}.widened ORDER BY n")
        assert widened.to_pylist() == [{"n": 1, "old": "a"}, {"n": 2, "old": "b"}]
        assert widened.schema.field("n").type == pa.int64()
    doubled.close()
