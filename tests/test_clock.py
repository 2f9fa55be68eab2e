"""A clock that is wrong: it mutes no alert, resolves no incident and blinds no reader, and it is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from lakehouse.alerting.alerts import is_old
from lakehouse.settings import AlertsSettings
from tests.conftest import Shop

AHEAD = timedelta(hours=26)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@contextmanager
def clock_ahead(shop: Shop, by: timedelta = AHEAD) -> Iterator[None]:
    """What is sent in here is sent by somebody whose clock is ahead."""
    shop.now += by
    yield
    shop.now -= by


def flush_ahead(shop: Shop, by: timedelta = AHEAD) -> None:
    """One message of each topic from a clock that is ahead."""
    at = shop.now
    with clock_ahead(shop, by):
        shop.order(at)
        shop.click(at)
        shop.error(at, severity="INFO")


def fatal(shop: Shop) -> None:
    shop.error(severity="FATAL", error_message="cannot reach the bank")
    shop.publish()


def alerts(shop: Shop, status: str) -> list[dict[str, Any]]:
    return [row for row in shop.rows("alerts") if row["status"] == status and row["rule"] == "fatal_error"]


def as_of(shop: Shop) -> datetime:
    return min(row["read_to"] for row in shop.rows("ingest_positions"))


def figures(shop: Shop, metric: str) -> dict[str, float]:
    return {row["topic"]: row["value"] for row in shop.rows("pipeline_metrics") if row["metric"] == metric}


def test_one_flush_of_a_clock_ahead_mutes_no_fatal_and_resolves_no_incident(shop: Shop) -> None:
    fatal(shop)
    flush_ahead(shop)
    shop.publish()
    shop.pass_time(8 * SECOND)
    shop.ingest.publish(heartbeat=True)
    assert alerts(shop, "RESOLVED") == []
    fatal(shop)
    first, second = alerts(shop, "FIRING")
    assert second["incident_id"] == first["incident_id"]
    assert second["received_at"] == shop.now
    assert not is_old(second["alert_timestamp"], second["received_at"], AlertsSettings.load().max_age)
    shop.pass_time(5 * MINUTE - SECOND)
    shop.ingest.publish(heartbeat=True)
    assert alerts(shop, "RESOLVED") == []
    shop.pass_time(2 * SECOND)
    assert shop.ingest._alert_is_due()
    shop.publish()
    (resolved,) = alerts(shop, "RESOLVED")
    assert resolved["alert_timestamp"] == shop.now


def test_a_clock_ahead_moves_no_reader_and_is_counted(shop: Shop) -> None:
    shop.click()
    shop.publish()
    flush_ahead(shop)
    shop.pass_time(15 * SECOND)
    shop.ingest.publish(heartbeat=True)
    assert as_of(shop) == shop.now
    assert figures(shop, "clock_ahead") == {"orders_topic": 1, "clicks_topic": 1, "errors_topic": 1}
    assert figures(shop, "clock_ahead_seconds") == pytest.approx(
        dict.fromkeys(figures(shop, "clock_ahead"), (AHEAD - 15 * SECOND).total_seconds())
    )
    assert len(shop.rows("clicks_processed")) == 2
    assert figures(shop, "late").get("clicks_topic", 0) == 0
