"""An hour of a KPI table that has many rows: what is written anew with each publish."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.batch import kpi_files
from pipeline.batch.kpi_files import OPEN
from tests.conftest import NOON, Shop

KPI = "errors_per_minute"
SERVICES = 20


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose hours count as large from 100 rows on."""
    monkeypatch.setattr(kpi_files, "LARGE", 100)
    return Shop(tmp_path)


def fail(shop: Shop, ago: timedelta = timedelta(0)) -> None:
    """An error of each service, published."""
    for service in range(SERVICES):
        shop.error(shop.now - ago, service_name=f"service-{service}")
    shop.publish()


def written(shop: Shop, before: set[str]) -> int:
    """Rows of the files that the last publish has added to the KPI table."""
    return sum(file.rows for uri, file in shop.ingest.catalog.tables[KPI].live.items() if uri not in before)


def test_a_publish_writes_what_is_open_however_many_rows_the_hour_has(shop: Shop) -> None:
    most = []
    for _ in range(50):
        shop.pass_time(timedelta(minutes=1))
        before = set(shop.ingest.catalog.tables[KPI].live)
        fail(shop)
        most.append(written(shop, before))
        # Again within the minute: what is usual.
        before = set(shop.ingest.catalog.tables[KPI].live)
        fail(shop)
        assert written(shop, before) <= 2 * OPEN * SERVICES
    assert sum(rows > 2 * OPEN * SERVICES for rows in most) <= 50 / OPEN
    assert len(shop.ingest.catalog.tables[KPI].live) == 2
    rows = shop.rows(KPI)
    assert len(rows) == 50 * SERVICES
    assert {row["error_count"] for row in rows} == {2}
    shop.close()


def test_a_late_event_and_a_restart_change_what_is_closed(shop: Shop) -> None:
    for _ in range(20):
        shop.pass_time(timedelta(minutes=1))
        fail(shop)
    before = set(shop.ingest.catalog.tables[KPI].live)
    fail(shop, ago=timedelta(minutes=15))
    assert len(before & set(shop.ingest.catalog.tables[KPI].live)) == 1
    shop.restart()
    shop.pass_time(timedelta(minutes=1))
    fail(shop)
    assert len(shop.ingest.catalog.tables[KPI].live) == 2
    counts = {row["window_start"]: row["error_count"] for row in shop.rows(KPI)}
    assert [counts[at] for at in sorted(counts)] == [2 if minute == 5 else 1 for minute in range(1, 22)]
    assert min(counts) == NOON + timedelta(minutes=1)
    shop.close()
