"""What ingest promises: each event once, KPIs that equal raw rows, alerts once, whatever was killed or replayed."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lakehouse.decode.values import page_of
from lakehouse.kpis import KPIS
from lakehouse.settings.shop import OrdersSettings
from lakehouse.user_error import UserError
from pipeline.maintenance import plan
from tests import test_events
from tests.conftest import NOON, Shop

PHASES = ("read", "decode", "dedupe", "raw", "kpis", "alerts", "stage", "publish")
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def test_an_order_becomes_one_row_with_where_it_came_from(shop: Shop) -> None:
    shop.order(quantity=3, price="19.99", event_id="order-1")
    shop.publish()
    (row,) = shop.rows("orders_processed")
    assert (row["event_key"], row["quantity"], row["price"]) == ("order-1", 3, Decimal("19.9900"))
    assert row["order_total"] == Decimal("59.97")
    assert (row["source_partition"], row["source_offset"]) == (0, 0)
    assert row["order_ts"] == row["produced_at"] == row["ingested_at"] == NOON


def test_an_event_read_again_adds_nothing_after_a_restart_and_after_years(shop: Shop) -> None:
    shop.max_event_age = None
    old = datetime(1997, 1, 1, tzinfo=UTC)
    for at in (NOON, old):
        shop.order(at, event_id="same")
    shop.publish()
    assert len(shop.rows("orders_processed")) == 2  # one key, two times: two rows
    shop.restart()
    for at in (old, NOON, NOON):
        shop.order(at, event_id="same")
    shop.publish()
    assert len(shop.rows("orders_processed")) == 2
    assert shop.ingest.core.figures.counts["orders_topic", "duplicate"] == 3


def test_without_an_event_id_equal_fields_are_one_event_and_a_new_status_is_another(shop: Shop) -> None:
    for status in ("CREATED", "CREATED", "SHIPPED"):
        shop.order(NOON, order_id="7", status=status)
    shop.publish()
    assert [row["status"] for row in shop.rows("orders_processed")] == ["CREATED", "SHIPPED"]


def test_the_same_key_with_another_time_is_stored_and_counted(shop: Shop) -> None:
    shop.click(NOON, event_id="a")
    shop.publish()
    shop.click(NOON - SECOND, event_id="a")
    shop.click(NOON, event_id="b")
    shop.click(NOON + SECOND, event_id="b")
    shop.publish()
    assert len(shop.rows("clicks_processed")) == 4
    assert shop.ingest.core.figures.counts["clicks_topic", "key_conflict"] >= 1


def test_a_message_that_cannot_be_read_becomes_a_dead_letter_and_nothing_stops(shop: Shop) -> None:
    shop.message("clicks_topic", b"{broken")
    shop.message("clicks_topic", None)
    shop.click(event_id="after")
    shop.publish()
    letters = shop.rows("dead_letters")
    assert [(row["source_offset"], row["reason"], row["payload"]) for row in letters] == [
        (0, "NOT_JSON", b"{broken"),
        (1, "EMPTY", None),
    ]
    assert [row["event_key"] for row in shop.rows("clicks_processed")] == ["after"]


def test_counters_that_start_again_make_new_events(shop: Shop) -> None:
    """A producer without event ids that restarts sends order 1 again: another order, at another time."""
    shop.order(order_id=1)
    shop.pass_time(MINUTE)
    shop.order(order_id=1)
    shop.publish()
    assert [row["order_id"] for row in shop.rows("orders_processed")] == ["1", "1"]


def test_each_kind_of_bad_message_is_one_dead_letter_with_its_reason_and_the_good_ones_are_in(shop: Shop) -> None:
    shop.now = test_events.NOW
    for _, message, _ in test_events.BAD:
        shop.message("orders_topic", message)
        shop.message("orders_topic", test_events.payload(test_events.ORDER))
    shop.publish()
    letters = sorted(shop.rows("dead_letters"), key=lambda row: row["source_offset"])
    assert [(row["payload"], row["reason"]) for row in letters] == [
        (message, str(reason)) for _, message, reason in test_events.BAD
    ]
    assert len({row["reason"] for row in letters}) == 8
    assert len(shop.rows("orders_processed")) == 1  # the good one, told again and again


def test_pages_in_clicks_per_minute_are_those_of_the_contract(shop: Shop) -> None:
    urls = ["/", "", "/page", "/page/", "/page/cart?x=1", "/cart", "cart", "//a//b", "https://s.example/page/a#b", "?q"]
    for url in urls:
        shop.click(url=url)
    shop.publish()
    clicks = Counter(page_of(url) for url in urls)
    assert {row["page"]: row["clicks"] for row in shop.rows("clicks_per_minute")} == clicks


def recomputed(shop: Shop, table: str) -> list[dict[str, Any]]:
    """The KPI table asked anew of all raw rows."""
    names = {"active_users_per_window": "clicks_processed", "clicks_per_minute": "clicks_processed"}
    names |= {"orders_revenue_per_minute": "orders_processed", "errors_per_minute": "errors_processed"}
    raw = shop.ingest.catalog.rows(names[table])
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register(names[table], raw)
        if table == "active_users_per_window":
            as_of = shop.ingest.core.as_of
            db.execute(
                "CREATE TABLE window_ends AS SELECT unnest(generate_series(?, ?, INTERVAL 1 MINUTE)) AS window_end",
                [NOON - timedelta(hours=2), as_of],
            )
        found: list[dict[str, Any]] = (
            db.execute(KPIS[table].sql(OrdersSettings.load().counting)).to_arrow_table().to_pylist()
        )
    return found


def key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        str(row[name]) for name in ("window_start", "service_name", "severity", "page", "device_type") if name in row
    )


def test_kpis_equal_their_raw_rows_after_late_doubled_and_future_events(shop: Shop) -> None:
    draw = random.Random(7)
    for _ in range(25):
        shop.pass_time(timedelta(seconds=draw.choice((1, 7, 40, 95))))
        for _ in range(draw.randrange(6)):
            late = timedelta(seconds=draw.choice((0, 0, 1, 70, 600, 2000, -120)))
            user, at = f"u{draw.randrange(5)}", shop.now - late
            match draw.randrange(3):
                case 0:
                    shop.order(
                        at, user_id=user, status=draw.choice(("CREATED", "CANCELLED")), price=draw.randrange(900) / 8
                    )
                case 1:
                    shop.click(
                        at, user_id=user, url=draw.choice(("/", "/page/cart", "/cart#x", "https://s.example/page"))
                    )
                case _:
                    shop.error(at, severity=draw.choice(("WARN", "ERROR")), service_name=draw.choice(("a", "b")))
        shop.publish()
        if draw.random() < 0.2:
            shop.restart()
        if draw.random() < 0.2:
            shop.maintain()
    # Ends that time made due come with the next heartbeat.
    shop.pass_time(timedelta(minutes=11))
    shop.ingest.publish(heartbeat=True)
    for table in ("orders_revenue_per_minute", "errors_per_minute", "clicks_per_minute", "active_users_per_window"):
        stored = [{k: v for k, v in row.items() if k != "updated_at"} for row in shop.rows(table)]
        wanted = recomputed(shop, table)
        assert wanted
        assert sorted(stored, key=key) == sorted(wanted, key=key), table


def test_active_users_of_a_topic_that_was_read_far_ahead_of_the_others_come_when_those_catch_up(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path, batch_rows=20)
    for _ in range(45):
        shop.order()
    for _ in range(12):  # two hours
        shop.click()
        shop.pass_time(10 * MINUTE)
    shop.order()
    while shop.ingest.publish():
        shop.restart()
    found = {row["window_end"] for row in shop.rows("active_users_per_window")}
    assert found == {NOON + (10 * click + after) * MINUTE for click in range(12) for after in range(1, 6)}
    shop.close()


def test_active_users_are_the_distinct_users_of_the_five_minutes_before_each_minutes_end(shop: Shop) -> None:
    for minutes, user in ((0, "ada"), (1, "ben"), (1, "ada"), (4, "cy")):
        shop.now = NOON + minutes * MINUTE + SECOND
        shop.click(user_id=user)
        shop.publish()
    shop.now = NOON + 12 * MINUTE
    shop.ingest.publish(heartbeat=True)
    users = {row["window_end"] - NOON: row["active_users_approx"] for row in shop.rows("active_users_per_window")}
    assert [users.get(n * MINUTE) for n in range(12)] == [None, 1, 2, 2, 2, 3, 3, 1, 1, 1, None, None]


def test_a_sum_over_minutes_equals_the_raw_count_in_every_publish(shop: Shop) -> None:
    for step in range(8):
        for _ in range(step):
            shop.order(shop.now - timedelta(seconds=13 * step))
        shop.pass_time(timedelta(seconds=25))
        shop.publish()
        raw, minutes = shop.rows("orders_processed"), shop.rows("orders_revenue_per_minute")
        assert sum(row["orders_count"] for row in minutes) == len(raw)
        assert sum(row["total_revenue"] for row in minutes) == sum(row["order_total"] for row in raw)


def test_a_fatal_error_alerts_once_and_its_incident_resolves(shop: Shop) -> None:
    shop.error(severity="FATAL", error_message="cannot reach the bank", event_id="f-1")
    shop.publish()
    shop.restart()
    shop.error(NOON, severity="FATAL", error_message="cannot reach the bank", event_id="f-1")
    shop.publish()
    (alert,) = shop.rows("alerts")
    assert alert["description"] == "Fatal error in service: payments - cannot reach the bank"
    assert (alert["alert_type"], alert["status"], alert["metric_value"]) == ("FATAL_ERROR", "FIRING", 1.0)
    shop.pass_time(timedelta(minutes=5, seconds=2))
    assert shop.alert_is_due()
    shop.publish()
    resolved = next(row for row in shop.rows("alerts") if row["status"] == "RESOLVED")
    assert resolved["incident_id"] == alert["incident_id"]
    assert resolved["description"].startswith("Resolved: ")


def test_an_order_sent_again_counts_once_where_the_shop_counts_created_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_ORDERS_COUNTED_STATUSES", '["CREATED"]')
    shop = Shop(tmp_path / "shop")
    for status in ("CREATED", "SHIPPED", "CANCELLED"):
        shop.order(NOON, order_id="1", status=status, order_total="5.00")
    shop.publish()
    (minute,) = shop.rows("orders_revenue_per_minute")
    assert (minute["orders_count"], minute["total_revenue"]) == (1, Decimal("5.00"))
    assert (minute["cancelled_count"], minute["cancelled_revenue"]) == (1, Decimal("5.00"))
    shop.close()


def test_as_of_is_what_every_topic_is_read_to_and_a_heartbeat_moves_it(shop: Shop) -> None:
    shop.order()
    shop.publish()
    sequence = shop.ingest.catalog.sequence
    shop.pass_time(timedelta(seconds=15))
    shop.ingest.publish(heartbeat=True)
    assert shop.ingest.catalog.sequence == sequence + 1
    assert {row["read_to"] for row in shop.rows("ingest_positions")} == {NOON + timedelta(seconds=15)}
    metrics = {row["metric"]: row["value"] for row in shop.rows("pipeline_metrics")}
    assert metrics.keys() >= {"heartbeat", "lag", "log_end"}
    phases = [metrics[f"{phase}_seconds"] for phase in PHASES]
    assert metrics["batch_seconds"] >= sum(phases) > 0


def test_what_came_late_and_how_long_the_way_to_the_log_was_is_told(shop: Shop) -> None:
    def sent(seconds: int) -> str:
        return (shop.now - timedelta(seconds=seconds)).isoformat()

    shop.click(produced_at=sent(3))
    shop.publish()
    shop.pass_time(timedelta(minutes=5))
    shop.ingest.publish(heartbeat=True)
    assert {row["value"] for row in shop.rows("pipeline_metrics") if row["metric"] == "to_log_seconds"} == {3}
    for minutes in (4, 3, 0):
        shop.click(shop.now - timedelta(minutes=minutes), produced_at=sent(1))
    shop.order(produced_at=sent(-30))  # by a clock that is ahead
    shop.publish()
    shop.click(shop.now - timedelta(minutes=2), produced_at=sent(2))
    shop.publish()
    shop.pass_time(timedelta(seconds=15))
    shop.ingest.publish(heartbeat=True)
    told = {(row["topic"], row["metric"]): row["value"] for row in shop.rows("pipeline_metrics")}
    assert (told["clicks_topic", "late"], told["clicks_topic", "late_seconds"]) == (3, 240)
    assert ("orders_topic", "late_seconds") not in told
    assert (told["clicks_topic", "to_log_seconds"], told["orders_topic", "to_log_seconds"]) == (1.5, 0)


def test_nothing_is_published_where_there_is_nothing_new(shop: Shop) -> None:
    shop.order(event_id="x")
    shop.publish()
    sequence = shop.ingest.catalog.sequence
    shop.publish()
    shop.order(NOON, event_id="x")
    shop.publish()
    assert shop.ingest.catalog.sequence == sequence


def test_ingested_at_never_goes_back_when_the_clock_does(shop: Shop) -> None:
    shop.order()
    shop.publish()
    shop.now = NOON - timedelta(seconds=30)
    shop.order()
    shop.publish()
    assert [row["ingested_at"] for row in shop.rows("orders_processed")] == [NOON, NOON]


def test_a_clock_far_behind_the_data_stops_the_start_with_both_times(shop: Shop) -> None:
    shop.order()
    shop.publish()
    shop.restart()
    shop.now = NOON - timedelta(hours=1)
    with pytest.raises(UserError, match=r"12:00:00 UTC, but this machine's clock says 2026-03-02 11:00:00 UTC"):
        _ = shop.ingest


def test_positions_beyond_the_logs_end_stop_the_start(shop: Shop) -> None:
    shop.order()
    shop.publish()
    shop.restart()
    with shop.log._connection as db:
        db.execute("UPDATE heads SET next_offset = 0 WHERE topic = 'orders_topic'")
    with pytest.raises(UserError, match="orders_topic was read up to offset 1, but the event log ends at 0"):
        _ = shop.ingest


def test_a_lost_range_is_counted_and_ingest_goes_on(shop: Shop) -> None:
    shop.order()
    shop.publish()
    shop.restart()
    for _ in range(5):
        shop.order()
    shop.log.trim("orders_topic", 4, shop.now + MINUTE)
    shop.publish()
    assert {r["value"] for r in shop.rows("pipeline_metrics") if r["metric"] == "lost"} == {3.0}
    assert [row["source_offset"] for row in shop.rows("orders_processed")] == [0, 4, 5]


def test_another_log_starts_at_its_beginning_and_relies_on_event_keys(tmp_path: Path) -> None:
    first = Shop(tmp_path / "shop")
    first.order(event_id="a")
    first.publish()
    first.close()
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / "shop" / name).unlink(missing_ok=True)
    second = Shop(tmp_path / "shop")
    second.order(NOON, event_id="a")
    second.order(NOON, event_id="b")
    second.publish()
    assert [row["event_key"] for row in second.rows("orders_processed")] == ["a", "b"]
    second.close()


def test_small_files_are_merged_and_still_tell_duplicates(shop: Shop) -> None:
    for number in range(40):
        shop.click(event_id=f"c{number}")
        shop.publish()
        shop.pass_time(SECOND)
    assert len(shop.ingest.catalog.tables["clicks_processed"].live) < 20
    for number in range(40):
        shop.click(NOON + number * SECOND, event_id=f"c{number}")
    shop.publish()
    assert len(shop.rows("clicks_processed")) == 40


def test_files_of_a_busy_hour_that_do_not_all_fit_into_one_are_merged_while_it_lasts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.click()
    shop.publish()
    table = shop.ingest.catalog.tables["clicks_processed"]
    (first,) = table.live.values()
    # The sixteen that are worth a merge are more than one file may hold.
    monkeypatch.setattr(plan, "BYTES_OF_A_MERGED_FILE", 12 * first.bytes)
    monkeypatch.setattr(plan, "BYTES_NOT_SMALL", 2 * first.bytes)
    for _ in range(40):
        shop.click()
        shop.publish()
        shop.ingest.core.workshop.wait()
    assert len(table.live) < 20
    assert max(file.bytes for file in table.live.values()) <= 12 * first.bytes
    assert len(shop.rows("clicks_processed")) == 41


def test_hours_at_rest_become_one_file(shop: Shop) -> None:
    for _ in range(5):
        shop.click()
        shop.publish()
    shop.maintain()
    shop.maintain()
    assert len(shop.ingest.catalog.tables["clicks_processed"].live) == 1
    assert len(shop.rows("clicks_processed")) == 5
    assert shop.rows("maintenance_runs")[-1]["files_merged"] == 5


def test_retention_drops_what_was_ingested_long_ago_and_never_an_open_incident(tmp_path: Path) -> None:
    shop = Shop(
        tmp_path / "shop",
        retention={"raw": "20 min", "kpis": "20 min", "operations": "20 min", "event_log": "1 min"},
    )
    shop.order(event_id="old")
    shop.error(severity="FATAL", event_id="fatal")
    shop.message("clicks_topic", b"")
    shop.publish()
    for _ in range(12):
        shop.pass_time(timedelta(minutes=2))
        shop.error(severity="FATAL", event_id=f"again-{shop.now}")
        shop.publish()
        shop.maintain()
    shop.order(event_id="new")
    shop.publish()
    shop.maintain()
    assert [row["event_key"] for row in shop.rows("orders_processed")] == ["new"]
    assert shop.rows("dead_letters") == []
    assert len(shop.rows("orders_revenue_per_minute")) == 1
    assert len([row for row in shop.rows("alerts") if row["rule"] == "fatal_error"]) == 13
    first, end = shop.log.bounds("errors_topic")
    assert end - first < 5
    shop.close()


def test_a_fatal_error_does_not_wait_for_the_next_publish(shop: Shop) -> None:
    shop.order()
    assert not shop.ingest.step()
    shop.order()
    shop.ingest.step()  # not due yet: the last publish was just now
    assert len(shop.rows("orders_processed")) == 1
    shop.error(severity="FATAL")
    shop.ingest.step()
    assert len(shop.rows("alerts")) == 1
    assert len(shop.rows("orders_processed")) == 2
