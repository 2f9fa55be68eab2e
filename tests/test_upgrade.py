"""A data directory that an older version wrote goes on under this one: nothing is lost, nothing is there twice.

tests/data/upgrade/README.md tells what is in the archives and how they were made.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import StaticTable

from bench.mixture import MixedMessage
from bench.parity import LEFT_OUT, agree, expected
from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import RAW_OF_TOPIC, TABLES, full_name
from lakehouse.topics import TOPICS
from tests.conftest import Shop
from tests.test_gateway import start_gateway, stop

ARCHIVES = Path(__file__).parent / "data" / "upgrade"
LENGTH = 200
PLACEHOLDER = "/where/the/test/puts/it/".ljust(LENGTH, "_")
MINUTE = timedelta(minutes=1)
APPENDED = (*(table.name for table in RAW_OF_TOPIC.values()), "alerts", "dead_letters", "pipeline_metrics")

type Rows = dict[str, list[str]]
"""Rows of each table as JSON, in order."""


def unpack(archive: str, folder: Path) -> tuple[Path, dict[str, Rows]]:
    """The data directory, as its writer left it; and what readers saw of it then, by commit, the head last.

    Iceberg names files by absolute path, and Avro writes a text's length before it: a path as long as the writer's
    takes its place.
    """
    data_dir = folder / ("_" * (LENGTH - len(str(folder)) - 1))
    assert len(os.fsencode(data_dir)) == LENGTH, "the directory of temporary files has too long a path"
    before: dict[str, Rows] = {}
    with tarfile.open(ARCHIVES / archive) as found:
        for entry in found:
            held = found.extractfile(entry)
            assert held is not None
            content = held.read()
            if entry.name == "before.json":
                before = json.loads(content)
                continue
            path = data_dir / entry.name.removeprefix("data/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(PLACEHOLDER.encode(), os.fsencode(data_dir)))
            os.utime(path, (entry.mtime, entry.mtime))
    # Not byte by byte: SQLite cuts a long text into pages.
    with closing(sqlite3.connect(data_dir / "catalog.db")) as db, db:
        for table, column in (
            ("publications", "tables"),
            ("retired", "path"),
            ("iceberg_tables", "metadata_location"),
            ("iceberg_tables", "previous_metadata_location"),
        ):
            db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (PLACEHOLDER, str(data_dir)))
    return data_dir, before


@contextmanager
def reader(data_dir: Path) -> Iterator[Dremio]:
    process, port = start_gateway(data_dir)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            yield dremio
    finally:
        stop(process)


def seen(dremio: Dremio, commit: str, tables: Iterable[str] = TABLES) -> Rows:
    """Every row of these tables at a commit: there were fewer once."""
    rows = {}
    for name in tables:
        found = dremio.sql(f'SELECT * FROM {full_name(TABLES[name])} AT COMMIT "{commit}"').to_pylist()
        rows[name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in found)
    return rows


@dataclass
class Upgraded:
    """A directory of before, opened at `reopened_at`, a minute after its last message came."""

    shop: Shop
    before: dict[str, Rows]
    sent: list[MixedMessage]
    unread: int

    @classmethod
    def of(cls, archive: str, folder: Path) -> Upgraded:
        data_dir, before = unpack(archive, folder)
        shop = Shop(data_dir)
        logs = {topic: shop.log.read(topic, 0, 10_000) for topic in TOPICS}
        shop.now = max(record.received_at for log in logs.values() for record in log) + MINUTE
        sent = [MixedMessage(topic, record.key, record.value, "") for topic, log in logs.items() for record in log]
        positions = [json.loads(row) for row in list(before.values())[-1]["ingest_positions"]]
        return cls(shop, before, sent, len(sent) - sum(row["next_offset"] for row in positions))

    @property
    def newest(self) -> Rows:
        """What readers saw at the last commit of before."""
        return list(self.before.values())[-1]

    def go_on(self) -> None:
        """Read what was left, then all of it once more, and then something new."""
        assert self.unread > 20
        self.shop.publish()
        for message in self.sent:
            self.shop.message(message.topic, message.value)
        self.shop.publish()
        self.shop.pass_time(MINUTE)
        self.shop._number = 10_000
        self.shop.order(event_id="new-order", status="CANCELLED")
        self.shop.click(event_id="new-click")
        self.shop.error(event_id="new-error")
        self.shop.refund(event_id="new-refund")
        self.shop.publish()
        self.shop.pass_time(MINUTE)
        self.shop.ingest.publish(heartbeat=True)  # the window that has ended since
        for topic in TOPICS:
            newest = self.shop.log.read(topic, self.shop.log.bounds(topic)[1] - 1, 1)[-1]
            self.sent.append(MixedMessage(topic, newest.key, newest.value, ""))

    def alerts(self) -> list[dict[str, Any]]:
        return self.shop.rows("alerts")


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("TILLWATCH_"):
                patch.delenv(name)
        found = Upgraded.of("embedded.tar.xz", tmp_path_factory.mktemp("before"))
        found.go_on()
        yield found
        found.shop.close()


@pytest.fixture(scope="module")
def dremio(upgraded: Upgraded) -> Iterator[Dremio]:
    with reader(upgraded.shop.data_dir) as client:
        yield client


def test_each_event_of_before_and_after_is_there_once_and_the_kpis_are_those_of_all(
    upgraded: Upgraded, dremio: Dremio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows of before hold nothing in a column that came since.
    monkeypatch.setitem(LEFT_OUT, "alerts", LEFT_OUT["alerts"] | {"owner"})
    wanted = expected(upgraded.sent, upgraded.shop.now)
    assert agree(dremio, wanted, delivered_again=True) == []
    # A dead letter has no key by which a second reading would be told: five were sent, and sent again.
    assert len(upgraded.shop.rows("dead_letters")) == 2 * wanted["dead_letters"].total() == 10


def test_past_commits_are_read_as_before(upgraded: Upgraded, dremio: Dremio) -> None:
    assert len(upgraded.before) == 3
    for commit, rows in upgraded.before.items():
        assert seen(dremio, commit, rows) == rows


def test_rows_of_before_stay_as_they_were(upgraded: Upgraded, dremio: Dremio) -> None:
    now = seen(dremio, dremio.head())
    assert upgraded.newest.keys() & APPENDED == set(APPENDED) - {"refunds_processed"}  # which came since
    for name in upgraded.newest.keys() & APPENDED:
        assert upgraded.newest[name]
        # Some columns came since: what was there holds nothing in them.
        bare = (re.sub(r'"(owner|original_currency|original_total)": null, ', "", row) for row in now[name])
        assert Counter(upgraded.newest[name]) <= Counter(bare), name


def test_reading_goes_on_where_it_stopped(upgraded: Upgraded) -> None:
    before = {row["topic"]: row for row in map(json.loads, upgraded.newest["ingest_positions"])}
    after = {row["topic"]: row for row in upgraded.shop.rows("ingest_positions")}
    assert after.keys() == set(TOPICS)
    assert before.keys() == set(TOPICS) - {"refunds_topic"}
    for topic in before:
        row = after[topic]
        assert row["cluster_id"] == before[topic]["cluster_id"]
        assert row["next_offset"] == upgraded.shop.log.bounds(topic)[1]
        assert str(row["first_event_at"])[:19] == before[topic]["first_event_at"][:19]


def test_an_open_incident_goes_on_and_ends_once(upgraded: Upgraded) -> None:
    told = [json.loads(row) for row in upgraded.newest["alerts"]]
    (opened,) = [row for row in told if row["service_name"] == "accounts"]
    found = [row for row in upgraded.alerts() if row["service_name"] == "accounts"]
    assert [row["status"] for row in found] == ["FIRING", "FIRING"]
    assert {row["incident_id"] for row in found} == {opened["incident_id"]}
    upgraded.shop.pass_time(6 * MINUTE)
    for _ in range(2):
        upgraded.shop.ingest.publish(heartbeat=True)
    found = [row for row in upgraded.alerts() if row["service_name"] == "accounts"]
    assert sorted(row["status"] for row in found) == ["FIRING", "FIRING", "RESOLVED"]
    assert {row["incident_id"] for row in found} == {opened["incident_id"]}
    ids = [row["alert_id"] for row in upgraded.alerts()]
    assert len(ids) == len(set(ids))


def test_maintenance_and_a_restart_lose_nothing(upgraded: Upgraded) -> None:
    def content() -> dict[str, Counter[str]]:
        return {name: Counter(map(repr, upgraded.shop.rows(name))) for name in TABLES if name != "ingest_positions"}

    before = content()
    for _ in range(2):
        upgraded.shop.maintain()
    upgraded.shop.restart()
    after = content()
    for name, rows in before.items():
        if name in ("maintenance_runs", "pipeline_metrics"):  # these tell of it
            assert rows < after[name], name
        else:
            assert rows == after[name], name


# What an older contract lacks -----------------------------------------------------------------------------------------


def test_columns_that_an_older_version_did_not_have_are_added(tmp_path: Path) -> None:
    """clicks_processed has no produced_at there, orders_revenue_per_minute no cancelled_revenue; neither comes last."""
    old = Upgraded.of("embedded-older.tar.xz", tmp_path)
    shop = old.shop
    stored = {row["event_key"]: row for row in map(json.loads, old.newest["clicks_processed"])}
    assert all("produced_at" not in row for row in stored.values())
    old.go_on()
    rows = shop.rows("clicks_processed")
    clicks = {row["event_key"]: row for row in rows}
    assert len(rows) == len(clicks) > len(stored) + 1
    # Rows of before hold nothing in it, those that came since hold what the event said; nothing else has moved.
    assert all((row["produced_at"] is None) == (key in stored) for key, row in clicks.items())
    for key, row in stored.items():
        for name in ("click_id", "user_id", "url", "source_offset"):
            assert clicks[key][name] == row[name]
        assert str(clicks[key]["ingested_at"])[:19] == row["ingested_at"][:19]
    check_revenue(old)
    before = shop.ingest.catalog.sequence
    shop.restart()
    assert shop.ingest.catalog.sequence == before, "columns were added again"
    shop.maintain()  # files with the columns and files without become one
    shop.restart()
    assert {row["event_key"]: row for row in shop.rows("clicks_processed")} == clicks
    with reader(shop.data_dir) as dremio:
        for commit, of_then in old.before.items():
            assert seen(dremio, commit, of_then) == of_then
        table = full_name(TABLES["clicks_processed"])
        told = dremio.sql(f"SELECT event_key, produced_at FROM {table}").to_pylist()
        assert {row["event_key"]: row["produced_at"] for row in told} == {
            key: row["produced_at"] for key, row in clicks.items()
        }
    with closing(sqlite3.connect(shop.data_dir / "catalog.db")) as db:
        (location,) = db.execute(
            "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'clicks_processed'"
        ).fetchone()
    assert {row["event_key"]: row for row in read_plainly(location)} == clicks
    shop.close()


def check_revenue(old: Upgraded) -> None:
    """A minute that was computed anew is whole, one that was not holds nothing in the new column."""
    stored = {json.loads(row)["event_key"] for row in old.newest["orders_processed"]}
    counts: Counter[datetime] = Counter()
    lost: dict[datetime, Decimal] = {}
    touched = set()
    for row in old.shop.rows("orders_processed"):
        minute = row["order_ts"].replace(second=0, microsecond=0)
        counts[minute] += 1
        lost[minute] = lost.get(minute, Decimal(0)) + (row["order_total"] if row["status"] == "CANCELLED" else 0)
        if row["event_key"] not in stored:
            touched.add(minute)
    minutes = {row["window_start"]: row for row in old.shop.rows("orders_revenue_per_minute")}
    assert {at: row["orders_count"] for at, row in minutes.items()} == counts
    assert 0 < len(touched) < len(minutes)
    for at, row in minutes.items():
        assert row["cancelled_revenue"] == (lost[at] if at in touched else None), at
    assert any(row["cancelled_revenue"] for row in minutes.values())


def read_plainly(location: str, **properties: str) -> list[dict[str, Any]]:
    """Rows of clicks_processed as pyiceberg reads them, which knows columns by field id alone; it must leave files out
    by the right column."""
    table = StaticTable.from_metadata(location, properties)
    ids = {field.name: field.field_id for field in table.schema().fields}
    assert (ids["event_key"], ids["ingested_at"], ids["produced_at"]) == (6, 7, 10)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist()
    for column in ("click_ts", "ingested_at"):
        middle = sorted(row[column] for row in rows)[len(rows) // 2]
        found = table.scan(row_filter=f"{column} >= '{middle.isoformat()}'").to_arrow()
        assert found.num_rows == sum(row[column] >= middle for row in rows), column
    return rows
