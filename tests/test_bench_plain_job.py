"""The arithmetic of bench plain_job: who waits how long for a row, and how far a query has come."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.driver import handled, write_lag
from bench.freshness import OrderFreshness, freshness, reached_to, waits
from bench.plain_job import Drained, behind, committed, compare
from bench.plain_spark import TABLES
from bench.report import Report

MINUTE = 1_790_000_040.0


def test_an_event_waits_for_the_first_answer_that_reaches_it() -> None:
    produced = [10.0, 11.0, 12.0]
    reached = [(9.0, 10.5), (11.0, 12.0), (10.0, 12.5), (11.5, 13.0)]
    assert waits(produced, produced, reached) == [2.0, 1.0, math.inf]
    assert waits(produced, produced, []) == [math.inf] * 3
    assert (reached_to(reached), reached_to([])) == (11.5, -math.inf)


def test_a_sum_of_counts_holds_as_many_orders_as_it_says() -> None:
    orders = [(MINUTE + second, MINUTE + second) for second in (1.0, 2.0, 3.0, 4.0)]
    raw = [(MINUTE + 3.0, MINUTE + 3.5), (MINUTE + 4.0, MINUTE + 4.5)]
    kpi = [(2.0, MINUTE + 3.0), (3.0, MINUTE + 3.75), (4.0, MINUTE + 6.0)]
    found = freshness(orders, raw, kpi, False, (MINUTE + 2.0, MINUTE + 4.0))
    assert found.raw == [1.5, 0.5]
    assert found.kpi == [1.0, 0.75]


def test_the_row_of_a_window_holds_what_came_before_its_end() -> None:
    orders = [(MINUTE + second, MINUTE + second) for second in (29.0, 30.0, 59.0)]
    kpi = [(MINUTE + 30.0, MINUTE + 95.0), (MINUTE + 60.0, MINUTE + 125.0)]
    found = freshness(orders, [], kpi, True, (MINUTE, MINUTE + 60.0))
    assert found.kpi == [66.0, 95.0, 66.0]
    assert found.raw == [math.inf] * 3


def _query(folder: Path, table: str, ends: dict[int, int], done: int) -> None:
    """The checkpoint of a query: where each batch ends, and which are done."""
    for name in ("offsets", "commits"):
        (folder / table / name).mkdir(parents=True)
    for batch, end in ends.items():
        topic = f"{TABLES[table]}_topic"
        lines = ("v1", "{}", json.dumps({topic: {"0": end}}))
        (folder / table / "offsets" / str(batch)).write_text("\n".join(lines), encoding="utf-8")
    for batch in range(done + 1):
        (folder / table / "commits" / str(batch)).write_text("v1\n{}", encoding="utf-8")
        (folder / table / "commits" / f".{batch}.crc").write_bytes(b"")


def test_a_query_has_come_as_far_as_its_last_batch_that_is_done(tmp_path: Path) -> None:
    assert committed(tmp_path / "orders_processed") == {}
    _query(tmp_path, "orders_processed", {9: 90, 10: 100, 11: 110}, 10)
    assert committed(tmp_path / "orders_processed") == {("orders_topic", 0): 100}


def test_a_topic_is_as_far_behind_as_its_slowest_query(tmp_path: Path) -> None:
    ends = {("orders_topic", 0): 120, ("clicks_topic", 0): 7}
    for table, kind in TABLES.items():
        _query(tmp_path, table, {0: 120 if kind == "orders" else 7}, 0)
    assert behind(tmp_path, ends) == 0
    (tmp_path / "orders_revenue_per_minute" / "commits" / "0").unlink()
    assert behind(tmp_path, ends) == 120
    assert Drained(120, 4.0).rate == 30


def test_what_came_in_is_what_became_a_row_or_a_dead_letter() -> None:
    name = "tillwatch_ingest_events_total"
    before = {(name, 'topic="clicks_topic",outcome="good"'): 10.0}
    after = {
        (name, 'topic="clicks_topic",outcome="good"'): 110.0,
        (name, 'topic="clicks_topic",outcome="bad"'): 5.0,
        (name, 'topic="clicks_topic",outcome="late"'): 3.0,
    }
    assert handled(before, after) == 105


def test_a_lag_has_grown_by_the_difference_of_its_first_and_last_third() -> None:
    report = Report("lag", "")
    write_lag(report, [(0.5, 100), (0.9, 300), (1.5, 9_000), (2.5, 1_200)], 3, 500)
    assert [figure.value for figure in report.figures] == [200, 1_200, 2.0]
    assert report.figures[-1].kept is False


def test_kpi_rows_are_compared_and_raw_rows_are_told() -> None:
    report = Report("fresh", "")
    compare(report, OrderFreshness([1.0], [1.2]), OrderFreshness([3.0], [90.0]))
    promised = {figure.name: figure.value for figure in report.figures if figure.kept is not None}
    assert promised == {"event to KPI row, p95, ours / plain": pytest.approx(1.2 / 90)}
