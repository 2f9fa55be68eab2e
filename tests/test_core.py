"""What the core promises beside its batches: merges that nobody waits for, bounded memory, nothing half-remembered."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embedded.catalog import TableWriter
from lakehouse.kpis import Kpi
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.minutes import MinuteRows
from pipeline.batch.pace import Pace
from tests.conftest import NOON, Shop

SECOND = timedelta(seconds=1)


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(level, thread) of every data file that is written."""
    seen: list[tuple[int, str]] = []
    write = TableWriter.write

    def noted(self: TableWriter, rows: pa.Table, level: int = 0) -> Sequence[Any]:
        seen.append((level, threading.current_thread().name))
        return write(self, rows, level)

    monkeypatch.setattr(TableWriter, "write", noted)
    return seen


def test_no_merge_is_made_by_the_thread_that_publishes(shop: Shop, writers: list[tuple[int, str]]) -> None:
    for number in range(40):
        shop.click(event_id=f"c{number}")
        shop.publish()
        shop.pass_time(SECOND)
    shop.pass_time(timedelta(hours=2))
    shop.maintain()
    shop.maintain()
    merges = [thread for level, thread in writers if level]
    assert len(merges) >= 3
    assert set(merges) == {"merge"}
    assert len(shop.ingest.catalog.tables["clicks_processed"].live) == 1
    assert len(shop.rows("clicks_processed")) == 40


def test_a_fatal_is_published_while_merges_are_due_and_under_way(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(6):
        for _ in range(2):
            shop.click(NOON - timedelta(hours=hour))
            shop.publish()
    held = threading.Event()
    read = type(shop.ingest.catalog).read

    def slow(self: Any, *words: Any) -> pa.Table:
        if threading.current_thread().name == "merge":
            held.wait()
        return read(self, *words)

    monkeypatch.setattr(type(shop.ingest.catalog), "read", slow)
    core = shop.ingest.core
    core.maintain()
    core.maintain()
    assert not core.workshop.rests
    shop.error(severity="FATAL")
    shop.ingest.step()
    assert len(shop.rows("alerts")) == 1
    assert not core.workshop.rests
    held.set()
    core.workshop.wait()
    core.tick()
    assert shop.rows("maintenance_runs")[-1]["files_merged"] == 12
    assert len(shop.rows("clicks_processed")) == 12


def test_a_merge_whose_source_is_gone_meanwhile_is_dropped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        shop.click()
        shop.publish()
    core, table = shop.ingest.core, shop.ingest.catalog.tables["clicks_processed"]
    core.maintain()
    core.maintain()
    core.workshop.wait()
    gone = next(iter(table.live.values()))
    shop.ingest.catalog.publish([table.stage([], [gone], shop.ingest.catalog.sequence + 1)], None)
    core.tick()
    assert len(table.live) == 1
    (kept,) = table.live.values()
    assert kept.level == 0
    # What was made of both lies nowhere: the other file is kept for readers of the past.
    assert {path.name[0] for path in kept.path.parent.iterdir()} == {"0"}


def test_nothing_is_built_upon_a_batch_that_failed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.order(event_id="a")
    shop.publish()
    shop.order(event_id="b")
    with monkeypatch.context() as broken:
        broken.setattr(type(shop.ingest.catalog), "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            shop.publish()
    with pytest.raises(RuntimeError, match="A batch has failed"):
        shop.publish()
    shop.restart()
    shop.publish()
    assert [row["event_key"] for row in shop.rows("orders_processed")] == ["a", "b"]
    assert [row["orders_count"] for row in shop.rows("orders_revenue_per_minute")] == [2]


@pytest.mark.parametrize("bound", [0, 2_000, 1 << 20])
def test_rows_at_rest_take_no_more_bytes_than_they_may(shop: Shop, bound: int) -> None:
    for minute in range(10):
        for _ in range(5):
            shop.click(NOON - timedelta(minutes=minute), url="/" + "x" * 100)
    shop.publish()
    table = RAW_OF_TOPIC["clicks_topic"]
    rows = MinuteRows(shop.ingest.core.store, table, ("click_ts", "url"), bound)
    noon = int(NOON.timestamp()) // 60
    for minute in range(10):
        rows.fetch({noon - minute})
        assert rows.rows([noon - minute]).num_rows == 5
        rows.trim()
        assert rows._at_rest.currsize <= bound
    if bound == 1 << 20:
        assert len(rows._at_rest) == 10


def test_what_was_lost_is_told_once_whatever_ends_the_first_start(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.order()
    shop.publish()
    for _ in range(5):
        shop.order()
    shop.restart()
    shop.log.trim("orders_topic", 4, shop.now + timedelta(minutes=1))
    _ = shop.ingest  # found, and killed before anything was published
    shop.restart()
    shop.publish()
    shop.pass_time(timedelta(minutes=2))
    shop.ingest.publish(heartbeat=True)
    shop.restart()
    shop.ingest.publish(heartbeat=True)
    assert [row["value"] for row in shop.rows("pipeline_metrics") if row["metric"] == "lost"] == [3.0]
    shop.close()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("DATE_TRUNC('minute', ", "DATE_TRUNC('hour', ", r"row whose window_start is .*:00:00Z, which is no minute"),
        ("COUNT(DISTINCT CASE", "NULLIF(1, 1) + COUNT(DISTINCT CASE", "'buyers' without a value for some minute;"),
    ],
)
def test_a_kpi_that_gives_what_its_table_cannot_hold_is_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, old: str, new: str, says: str
) -> None:
    sql = Kpi.sql
    monkeypatch.setattr(Kpi, "sql", lambda self, statuses: sql(self, statuses).replace(old, new))
    shop.order(NOON - timedelta(minutes=7))
    shop.publish()
    why = [row["reason"] for row in shop.rows("kpi_state") if row["hour_start"] is not None]
    assert re.match(f"lakehouse/kpis/orders_revenue_per_minute.sql: the query .*{says}", *why)
    assert shop.rows("orders_revenue_per_minute") == []


def test_publishes_come_less_often_while_few_events_do() -> None:
    now = [100.0]
    pace = Pace(timedelta(milliseconds=500), lambda: now[0])
    assert pace.every_s == 0.75
    pace.note(now[0], 500)
    assert pace.every_s == 0.5
    now[0] += 11
    assert pace.every_s == 0.75


def test_a_backlog_waits_for_no_pace(tmp_path: Path) -> None:
    shop = Shop(tmp_path, batch_rows=5, publish_every="1 h")
    for _ in range(12):
        shop.order()
    assert [shop.ingest.step() for _ in range(3)] == [True, True, False]
    assert len(shop.rows("orders_processed")) == 12
    shop.order()
    assert not shop.ingest.step()
    assert len(shop.rows("orders_processed")) == 12  # it is read when its time comes
    shop.close()
