"""What the console says of the shop, and how it asks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from console.drill.finding import matching
from console.feed.asker import Asker, Want, want
from console.feed.compared import figures_beside, interest
from console.feed.hub import Hub
from console.feed.incidents import incidents_of
from console.feed.minutes import Minutes, minutes_of
from console.feed.numbers import THIN, short
from console.feed.pins import Pins
from console.feed.poller import Poller
from console.feed.snapshot import FeedSnapshot
from console.feed.tiles import ErrorRateLimits, Tile, tiles_of
from console.live_hour import live_hours
from console.message import head_part
from console.tabs import questions
from console.view import View
from lakehouse.kinds import distinct_orders
from lakehouse.kpis import Counting
from tests.fake_dremio import FakeDremio

EVERY = matching(View("orders"), ())
ROWS = distinct_orders(Counting(()))
NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
ALL = Counting(("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"))


class Somebody:
    """A viewer that counts how often it is woken."""

    def __init__(self, watches: str | None = "overview") -> None:
        self.watches = watches
        self.present = True
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def by_status(commit: str, hours: int) -> Want:
    since = NOON - timedelta(hours=hours)
    return want(
        "orders_by_status", commit, since=since, until=NOON, all_products=1, products=(), matches=EVERY, distinct=ROWS
    )


@pytest.fixture
def dremio() -> Iterator[FakeDremio]:
    fake = FakeDremio()
    yield fake
    fake.close()


def a_poller(
    dremio: FakeDremio, hub: Hub, counting: Counting = ALL, clock: Callable[[], float] = time.monotonic
) -> Poller:
    return Poller(
        dremio,
        hub,
        tabs=questions(),
        refresh_s=1,
        idle_refresh_s=15,
        counting=counting,
        clock=clock,
        now=lambda: NOON,
    )


def snapshot_of(dremio: FakeDremio, counting: Counting = ALL, watches: str = "overview") -> FeedSnapshot:
    """What one look gives to a viewer of the Overview."""
    hub, viewer = Hub(), Somebody(watches)
    hub.join(viewer)
    a_poller(dremio, hub, counting).poll()
    assert hub.snapshot.error is None
    assert not hub.snapshot.failed
    return hub.snapshot


def tiles(snapshot: FeedSnapshot, compare: str = "before") -> dict[str, Tile]:
    row = figures_beside(snapshot.answers["tiles"].table.to_pylist()[0], snapshot, compare)
    return {tile.key: tile for tile in tiles_of(row, minutes_of(snapshot), "$", ErrorRateLimits())}


def the_minutes(snapshot: FeedSnapshot) -> Minutes:
    minutes = minutes_of(snapshot)
    assert minutes is not None
    return minutes


# ---- tiles


def test_tiles_count_the_five_minutes_up_to_as_of_and_compare_with_the_five_before(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=5), "10.00")  # the first moment that counts
    dremio.order(NOON - timedelta(milliseconds=1), "20.00")
    dremio.order(NOON, "1000.00")  # as_of itself does not
    dremio.order(NOON - timedelta(minutes=10), "15.00")
    dremio.publish(NOON)
    found = tiles(snapshot_of(dremio))
    assert found["revenue"].text == "$30.00"
    assert found["revenue"].value == Decimal("30.00")
    assert found["revenue"].change == f"+100{THIN}%"
    assert found["revenue"].good is True
    assert found["revenue"].newest == NOON - timedelta(milliseconds=1)
    assert found["orders"].text == "2"
    assert found["average"].text == "$15.00"


def test_only_counted_statuses_are_orders_but_a_cancelled_one_still_converts(dremio: FakeDremio) -> None:
    at = NOON - timedelta(minutes=1)
    dremio.order(at, "10.00", user_id="ada")
    dremio.order(at, "99.00", user_id="bob", status="CANCELLED")
    for user in ("ada", "bob", "cy", "di"):
        dremio.click(at, user)
    dremio.publish(NOON)
    found = tiles(snapshot_of(dremio, Counting(("CREATED",))))
    assert found["revenue"].text == "$10.00"
    assert found["conversion"].value == 0.5
    assert found["users"].text == "4"


def test_who_ordered_without_a_click_does_not_convert(dremio: FakeDremio) -> None:
    at = NOON - timedelta(minutes=1)
    dremio.order(at, user_id="ghost")
    dremio.click(at, "ada")
    dremio.publish(NOON)
    assert tiles(snapshot_of(dremio))["conversion"].value == 0


def test_errors_per_click_counts_error_and_fatal_and_says_when_it_is_high(dremio: FakeDremio) -> None:
    at = NOON - timedelta(minutes=1)
    for severity in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
        dremio.error(at, severity)
    for _ in range(20):
        dremio.click(at)
    dremio.publish(NOON)
    tile = tiles(snapshot_of(dremio))["error_rate"]
    assert tile.value == 0.1
    assert (tile.state, tile.word) == ("bad", "high")
    assert tile.exact.startswith("2 errors in 20 clicks")


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [(12, 20, "steady"), (20, 12, "steady"), (9, 3, "steady"), (40, 100, "rising"), (100, 40, "fell sharply"),
     (100, 60, "falling"), (20, 0, "fell sharply"), (0, 5, "steady")],
)  # fmt: skip
def test_a_change_that_chance_gives_is_steady(dremio: FakeDremio, before: int, now: int, word: str) -> None:
    for place in range(before):
        dremio.order(NOON - timedelta(minutes=7, seconds=place))
    for place in range(now):
        dremio.order(NOON - timedelta(minutes=2, seconds=place))
    dremio.publish(NOON)
    assert tiles(snapshot_of(dremio))["orders"].word == word


def test_a_zero_below_the_line_is_not_a_number_and_says_why(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(days=1))
    dremio.publish(NOON)
    found = tiles(snapshot_of(dremio))
    assert (found["conversion"].text, found["conversion"].why) == ("n/a", "nobody clicked in 5 min")
    assert (found["error_rate"].text, found["error_rate"].why) == ("n/a", "no click in 5 min")
    assert (found["average"].text, found["average"].why) == ("n/a", "no order in 5 min")
    assert found["orders"].text == "0"
    assert found["orders"].change == "n/a"


def test_net_revenue_is_what_is_left_after_refunds_and_revenue_knows_nothing_of_them(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1), "90.00")
    dremio.refund(NOON - timedelta(minutes=1), "30.50")
    dremio.refund(NOON - timedelta(milliseconds=1), "0.50")
    dremio.refund(NOON - timedelta(minutes=6), "20.00")
    dremio.order(NOON - timedelta(minutes=6), "90.00")
    dremio.publish(NOON)
    snapshot = snapshot_of(dremio)
    found = tiles(snapshot)
    assert list(found)[:2] == ["revenue", "net"]
    assert (found["revenue"].text, found["revenue"].change) == ("$90.00", f"0{THIN}%")
    assert (found["net"].text, found["net"].exact) == ("$59.00", "$90.00 less $31.00 refunded")
    assert (found["net"].change, found["net"].newest) == (f"−16{THIN}%", NOON - timedelta(milliseconds=1))
    minutes = minutes_of(snapshot)
    assert minutes is not None
    assert minutes.net_revenue[-2:] == (59.5, -0.5)
    assert minutes.net_revenue[-7] == 70.0


def test_a_shop_without_refunds_keeps_all_that_it_takes(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1), "90.00")
    dremio.publish(NOON)
    found = tiles(snapshot_of(dremio))
    assert (found["net"].text, found["net"].spark[-2]) == ("$90.00", 90.0)


def test_lines_of_one_order_are_one_order_in_its_tile(dremio: FakeDremio) -> None:
    for total in ("10.00", "5.00"):
        dremio.order(NOON - timedelta(minutes=1), total, order_id="o-1")
    dremio.publish(NOON)
    assert tiles(snapshot_of(dremio))["orders"].text == "2"
    by_line = tiles(snapshot_of(dremio, Counting(ALL.statuses, by_line=True)))
    assert (by_line["orders"].text, by_line["average"].text) == ("1", "$15.00")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (412, "412"), (1204, f"1{THIN}204"), (9999, f"9{THIN}999"), (12408, f"12.41{THIN}k"),
        (999_949, f"999.9{THIN}k"), (2_500_000, f"2.500{THIN}M"), (-1204, f"−1{THIN}204"),
    ],
)  # fmt: skip
def test_a_tile_has_at_most_four_digits_that_count(number: float, text: str) -> None:
    assert short(number, 0) == text


def test_revenue_below_zero_says_so_before_its_currency_and_is_no_base_for_a_change(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1), "-1234.50")
    dremio.order(NOON - timedelta(minutes=6), "100.00")
    dremio.publish(NOON)
    found = tiles(snapshot_of(dremio))
    assert (found["revenue"].text, found["revenue"].exact) == (f"−$1{THIN}234", f"−$1{THIN}234.50")
    assert found["average"].text == f"−$1{THIN}234"
    assert (found["revenue"].good, found["revenue"].change) == (False, f"−1334{THIN}%")
    after = FakeDremio()
    after.order(NOON - timedelta(minutes=6), "-100.00")
    after.order(NOON - timedelta(minutes=1), "50.00")
    after.publish(NOON)
    assert (tiles(snapshot_of(after))["revenue"].change, tiles(snapshot_of(after))["revenue"].good) == ("n/a", None)
    after.close()


# ---- minutes


def test_a_minute_without_rows_is_zero_after_the_first_event_and_a_gap_before(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=3), "5.00")
    dremio.order(NOON - timedelta(minutes=1), "7.00")
    dremio.publish(NOON)
    minutes = the_minutes(snapshot_of(dremio))
    assert len(minutes.starts) == 60
    assert minutes.starts[-1] == NOON.replace(second=0)
    assert minutes.revenue[-5:] == (None, 5.0, 0.0, 7.0, 0.0)
    assert minutes.average[-4:] == (5.0, None, 7.0, None)
    # No error was ever reported: nobody knows whether that topic works.
    assert set(minutes.errors["ERROR"]) == {None}


def test_active_users_are_those_of_the_minute_that_ended(dremio: FakeDremio) -> None:
    dremio.click(NOON - timedelta(minutes=1), "ada")
    dremio.click(NOON - timedelta(minutes=2), "bob")
    dremio.publish(NOON)
    minutes = the_minutes(snapshot_of(dremio))
    assert minutes.users[-3:] == (1.0, 2.0, None)


def test_a_late_order_mends_its_minute(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=20), "5.00")
    dremio.click(NOON - timedelta(minutes=20), "ada")
    dremio.click(NOON - timedelta(minutes=10), "bob")
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    assert the_minutes(hub.snapshot).conversion[-11] == 0.0
    dremio.order(NOON - timedelta(minutes=10), "3.00", user_id="bob")
    dremio.publish(NOON + timedelta(seconds=1))
    poller.poll()
    minutes = the_minutes(hub.snapshot)
    assert minutes.revenue[-11] == 3.0
    assert minutes.conversion[-11] == 1.0


# ---- incidents


def test_an_incident_is_open_until_its_resolved_row_and_an_old_one_never_was(dremio: FakeDremio) -> None:
    dremio.alert(NOON - timedelta(minutes=9), "a")
    dremio.alert(NOON - timedelta(minutes=3), "a", starts_at=NOON - timedelta(minutes=9))
    dremio.alert(NOON - timedelta(minutes=8), "b", service="search")
    dremio.alert(NOON - timedelta(minutes=2), "b", "RESOLVED", service="search")
    dremio.alert(NOON - timedelta(hours=7), "c", received_at=NOON)
    dremio.publish(NOON)
    table = dremio.ask("incidents", since=NOON - timedelta(days=1), until=NOON, most=10)
    found = incidents_of(table.to_pylist(), timedelta(hours=1))
    assert [(one.incident_id, one.state, one.firings) for one in found] == [
        ("a", "open", 2),
        ("c", "old", 1),
        ("b", "resolved", 1),
    ]
    assert not found[2].description.startswith("Resolved: ")


def test_open_incidents_stand_by_severity_then_the_newest_above(dremio: FakeDremio) -> None:
    for minutes_ago, severity in enumerate(("WARN", "ERROR", "FATAL", "ERROR", "FATAL"), start=1):
        at = NOON - timedelta(minutes=minutes_ago)
        dremio.alert(at, f"{severity}-{minutes_ago}", severity=severity, received_at=at)
    dremio.alert(NOON, "over", severity="FATAL")
    dremio.alert(NOON, "over", "RESOLVED", severity="FATAL")
    table = dremio.ask("incidents", since=NOON - timedelta(days=1), until=NOON + timedelta(minutes=1), most=10)
    found = incidents_of(table.to_pylist(), timedelta(hours=1))
    assert [one.incident_id for one in found] == ["FATAL-3", "FATAL-5", "ERROR-2", "ERROR-4", "WARN-1", "over"]


# ---- poller and hub


def test_one_statement_a_look_while_nothing_is_published_whatever_the_number_of_viewers(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1))
    dremio.publish(NOON)
    hub = Hub()
    viewers = [Somebody() for _ in range(20)]
    for viewer in viewers:
        hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    dremio.asked.clear()
    for _ in range(10):
        poller.poll()
    assert dremio.asked == ["head"] * 10
    dremio.publish(NOON + timedelta(seconds=1))
    dremio.asked.clear()
    poller.poll()
    assert dremio.asked == ["head", "as_of", "incidents", "minutes", "tiles", "latest_orders", "latest_errors"]
    assert {viewer.woken for viewer in viewers} == {2}


def test_questions_of_a_tab_nobody_looks_at_are_not_asked(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody("orders")
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    assert "tiles" not in dremio.asked
    viewer.watches = "overview"
    poller.poll()
    assert "tiles" in dremio.asked


def test_a_dead_dremio_keeps_the_last_answers_says_why_and_recovers(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1))
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    good = hub.snapshot
    dremio.down = True
    poller.poll()
    assert "Neither Dremio nor a gateway answers" in str(hub.snapshot.error)
    assert hub.snapshot.answers == good.answers
    assert poller.period_s <= 5
    dremio.down = False
    poller.poll()
    assert hub.snapshot.error is None
    assert viewer.woken == 3


def test_a_question_that_fails_alone_keeps_its_last_answer_and_the_others_go_on(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1))
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    first = hub.snapshot.commit
    dremio.broken.add("tiles")
    second = dremio.publish(NOON + timedelta(seconds=1))
    poller.poll()
    assert hub.snapshot.answers["tiles"].commit == first
    assert hub.snapshot.answers["minutes"].commit == second
    assert "Column 'x' not found" in hub.snapshot.failed["tiles"]


def test_a_refused_question_is_not_asked_again_at_every_look_and_the_others_not_at_all(dremio: FakeDremio) -> None:
    clock = [0.0]
    dremio.order(NOON - timedelta(minutes=1))
    first = dremio.publish(NOON)
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    poller = a_poller(dremio, hub, clock=lambda: clock[0])
    dremio.broken.add("tiles")
    poller.poll()
    dremio.asked.clear()
    for _ in range(120):
        clock[0] += 1
        poller.poll()
        assert "Column 'x' not found" in hub.snapshot.failed["tiles"]
    assert 3 <= dremio.asked.count("tiles") <= 6
    assert set(dremio.asked) == {"head", "as_of", "tiles"}
    dremio.broken.clear()
    clock[0] += 60
    poller.poll()
    assert hub.snapshot.answers["tiles"].commit == first
    assert not hub.snapshot.failed


def test_a_refused_question_is_asked_at_the_next_commit_at_once(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=20), "5.00")
    dremio.click(NOON - timedelta(minutes=20), "ada")
    dremio.click(NOON - timedelta(minutes=10), "bob")
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    dremio.broken.add("conversion_minutes")
    dremio.order(NOON - timedelta(minutes=10), "3.00", user_id="bob")
    dremio.publish(NOON + timedelta(seconds=1))
    poller.poll()
    assert "conversion_minutes" in hub.snapshot.failed
    dremio.broken.clear()
    # The minutes are as they were at the commit before: only that it failed there says that it is due.
    commit = dremio.publish(NOON + timedelta(seconds=2))
    poller.poll()
    assert not hub.snapshot.failed
    assert hub.snapshot.answers["conversion_minutes"].commit == commit
    assert the_minutes(hub.snapshot).conversion[-11] == 1.0


def test_another_tab_asks_at_a_held_commit_only_what_it_lacks(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1))
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody("orders")
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    assert dremio.asked.count("incidents") == 1
    viewer.watches = "overview"
    poller.poll()
    assert dremio.asked.count("incidents") == 1
    assert dremio.asked.count("tiles") == 1


def test_the_poller_survives_whatever_is_thrown_at_it(dremio: FakeDremio, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()

    def surprise() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(dremio, "head", surprise)
    a_poller(dremio, hub).poll()
    assert "ZeroDivisionError" in str(hub.snapshot.error)


def test_looks_do_not_drift(dremio: FakeDremio) -> None:
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    dremio.publish(NOON)
    poller = Poller(dremio, hub, tabs=questions(), refresh_s=0.02, idle_refresh_s=0.02, counting=ALL)
    poller.start()
    time.sleep(1.0)
    poller.stop()
    looks = dremio.asked.count("head")
    assert 30 <= looks <= 55


def test_who_answers_says_how_often_it_is_asked_where_no_setting_does(dremio: FakeDremio) -> None:
    hub, viewer = Hub(), Somebody()
    poller = Poller(dremio, hub, tabs=questions(), refresh_s=0, idle_refresh_s=15, counting=ALL)
    assert poller.period_s == 15
    hub.join(viewer)
    assert poller.period_s == 1.0
    dremio.near = True
    assert poller.period_s == 0.05
    dremio.down = True
    poller.poll()
    assert 0.8 <= poller.period_s <= 1.0


def test_what_kpi_tables_lack_is_said_with_the_reason(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    assert snapshot_of(dremio).kpis_left_out == ""
    for hours in (1, 0, 2):
        dremio.left_out("errors_per_minute", NOON - timedelta(hours=hours), None, f"it took over {hours} s")
    dremio.left_out("clicks_per_minute", None, NOON - timedelta(hours=3), "not filled in yet")
    found = snapshot_of(dremio)
    assert found.kpis_left_out == (
        f"clicks_per_minute is being filled in, back from {NOON - timedelta(hours=3):%d %b %H:%M} UTC; "
        f"errors_per_minute lacks rows of 3 hours, the newest from {NOON:%d %b %H:%M} UTC: it took over 0 s"
    )
    assert head_part(found, viewers=1, open_incidents=0, failed={})["notice"] == found.kpis_left_out


def test_a_commit_speaks_of_no_moment_while_a_partition_was_not_read(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    dremio._connection.execute("UPDATE ingest_positions SET read_to = NULL WHERE topic = 'orders_topic'")
    assert dremio.ask("as_of")["as_of"].to_pylist() == [None]
    hub, viewer = Hub(), Somebody()
    hub.join(viewer)
    a_poller(dremio, hub).poll()
    assert (hub.snapshot.as_of, hub.snapshot.error) == (None, None)


def test_a_broken_session_does_not_keep_the_news_from_the_others() -> None:
    class Broken(Somebody):
        def wake(self) -> None:
            raise RuntimeError("half closed")

    hub, good, broken, hidden = Hub(), Somebody(), Broken(), Somebody(None)
    for viewer in (broken, good, hidden):
        hub.join(viewer)
    hub.publish(FeedSnapshot())
    assert good.woken == 1
    assert hidden.woken == 0
    assert hub.viewers == 2


def test_the_hub_does_not_keep_a_session_alive() -> None:
    hub = Hub()
    hub.join(Somebody())
    assert hub.viewers == 0


def test_a_snapshot_cannot_be_changed(dremio: FakeDremio) -> None:
    dremio.publish(NOON)
    snapshot = snapshot_of(dremio)
    with pytest.raises(FrozenInstanceError):
        snapshot.commit = "other"  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        snapshot.answers["tiles"] = None  # type: ignore[index]  # that is the point


# ---- drill-down


def test_sessions_that_choose_alike_share_one_answer(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1))
    commit = dremio.publish(NOON)
    asker, viewers = Asker(dremio), [Somebody("orders") for _ in range(5)]
    wanted = want(
        "orders_by_status",
        commit,
        since=NOON - timedelta(hours=1),
        until=NOON,
        all_products=1,
        products=(),
        matches=EVERY,
        distinct=ROWS,
    )
    deadline = time.monotonic() + 5
    while any(asker.get(wanted, viewer) is None for viewer in viewers) and time.monotonic() < deadline:
        time.sleep(0.01)
    got = asker.get(wanted, viewers[0])
    assert got is not None
    assert got.table is not None
    assert got.table.to_pylist()[0]["n"] == 1
    assert dremio.asked.count("orders_by_status") == 1
    asker.close()


def test_a_drill_down_that_was_refused_is_asked_again_after_a_while_that_doubles(dremio: FakeDremio) -> None:
    clock = [0.0]
    commit = dremio.publish(NOON)
    asker, viewer = Asker(dremio, clock=lambda: clock[0]), Somebody("orders")
    wanted = want(
        "orders_by_status",
        commit,
        since=NOON - timedelta(hours=1),
        until=NOON,
        all_products=1,
        products=(),
        matches=EVERY,
        distinct=ROWS,
    )

    def looked(seconds: int) -> None:
        """A look a second, each of which waits for what it set off."""
        for _ in range(seconds):
            clock[0] += 1
            asker.get(wanted, viewer)
            deadline = time.monotonic() + 5
            while wanted in asker._waiting and time.monotonic() < deadline:
                time.sleep(0.001)

    dremio.broken.add("orders_by_status")
    looked(120)
    got = asker.get(wanted, viewer)
    assert got is not None
    assert "Column 'x' not found" in str(got.error)
    assert 3 <= dremio.asked.count("orders_by_status") <= 6
    dremio.broken.clear()
    looked(61)
    got = asker.get(wanted, viewer)
    assert got is not None
    assert got.error is None
    asked = dremio.asked.count("orders_by_status")
    looked(3)
    assert dremio.asked.count("orders_by_status") == asked
    # Nobody there is another matter: that may be over any moment.
    other = want(
        "orders_by_status",
        commit,
        since=NOON - timedelta(hours=2),
        until=NOON,
        all_products=1,
        products=(),
        matches=EVERY,
        distinct=ROWS,
    )
    dremio.down, wanted = True, other
    looked(60)
    assert 10 <= dremio.asked.count("orders_by_status") - asked <= 20
    asker.close()


def test_what_nobody_waits_for_any_more_is_not_asked(dremio: FakeDremio) -> None:
    commit = dremio.publish(NOON)
    held, first = threading.Event(), threading.Event()

    class Slow:
        near = False
        state = dremio.state
        head = staticmethod(dremio.head)
        next_head = staticmethod(dremio.next_head)

        @staticmethod
        def ask(question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
            first.set()
            held.wait(10)
            return dremio.ask(question, commit=commit, **binds)

    asker, one, other = Asker(Slow(), threads=1), Somebody("orders"), Somebody("orders")
    wanted = [by_status(commit, hours) for hours in (1, 2, 3)]
    for each in wanted:
        assert asker.get(each, one) is None
    assert asker.get(wanted[2], other) is None
    assert first.wait(10)
    asker.forget(wanted[1:], one)
    held.set()
    deadline = time.monotonic() + 5
    while asker.get(wanted[2], other) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert dremio.asked.count("orders_by_status") == 2
    asker.close()


def test_a_drill_down_stays_on_its_commit_for_its_cadence() -> None:
    clock = [0.0]
    pins = Pins(lambda: clock[0])
    older, newer = FeedSnapshot(1, "aa", NOON), FeedSnapshot(2, "bb", NOON + timedelta(seconds=1))
    pins.pin(older, 5)
    clock[0] = 4
    held = pins.pin(newer, 5)
    assert held is not None
    assert held.commit == "aa"
    clock[0] = 5
    moved = pins.pin(newer, 5)
    assert moved is not None
    assert moved.commit == "bb"


# ---- what may know what


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("console.feed.poller", "panel"), ("console.feed.asker", "bokeh"), ("console.live.active_users", "holoviews")],
)
def test_the_feed_knows_no_panel_and_the_live_charts_no_holoviews(package: str, forbidden: str) -> None:
    code = f"import sys, {package}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- yesterday and last week


def test_what_now_is_compared_with_is_what_sql_says_of_then_at_the_same_commit(dremio: FakeDremio) -> None:
    week = NOON - timedelta(days=7)
    for minutes in (1, 2, 3):
        dremio.order(NOON - timedelta(minutes=minutes), "10.00", user_id="ada")
        dremio.click(NOON - timedelta(minutes=minutes), "ada")
    dremio.order(week - timedelta(minutes=5), "4.00")  # the first moment that counts
    dremio.order(week - timedelta(minutes=5, milliseconds=1), "100.00")
    dremio.order(week, "100.00")
    dremio.click(week - timedelta(minutes=1), "bob")
    dremio.error(week - timedelta(minutes=1))
    dremio.publish(NOON)
    snapshot = snapshot_of(dremio, watches=interest("overview", "week", "1h"))
    found = tiles(snapshot, "week")
    assert found["revenue"].change == f"+650{THIN}%"
    assert found["orders"].change == f"+200{THIN}%"
    assert found["average"].change == f"+150{THIN}%"
    assert found["error_rate"].change == f"−100{THIN}pt"
    assert found["revenue"].value == tiles(snapshot)["revenue"].value == Decimal("30.00")
    # Against the five minutes before it has no base, and neither has a day on which nothing was there yet.
    assert tiles(snapshot)["revenue"].change == "n/a"
    assert tiles(snapshot, "yesterday")["revenue"].change == "n/a"


def test_an_answer_of_the_last_time_that_somebody_compared_is_no_base(dremio: FakeDremio) -> None:
    dremio.order(NOON - timedelta(minutes=1), "10.00")
    dremio.order(NOON - timedelta(days=1, minutes=1), "5.00")
    dremio.publish(NOON)
    hub, viewer = Hub(), Somebody(interest("overview", "yesterday", "1h"))
    hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    assert tiles(hub.snapshot, "yesterday")["orders"].change == f"0{THIN}%"
    viewer.watches = "overview"
    dremio.publish(NOON + timedelta(seconds=1))
    dremio.asked.clear()
    poller.poll()
    assert dremio.asked.count("tiles") == 1
    assert tiles(hub.snapshot, "yesterday")["orders"].change == "n/a"
    assert "then" not in live_hours(hub.snapshot, "yesterday")["orders_per_minute"].series


def test_charts_have_a_line_of_the_same_minutes_of_then(dremio: FakeDremio) -> None:
    day = NOON - timedelta(days=1)
    dremio.order(NOON - timedelta(minutes=3), "10.00")
    for minutes in (2, 3, 3):
        dremio.order(day - timedelta(minutes=minutes), "4.00")
    dremio.error(day - timedelta(minutes=2), "FATAL")
    dremio.error(day - timedelta(minutes=2), "ERROR")
    dremio.error(day - timedelta(minutes=2), "WARN")
    dremio.publish(NOON)
    snapshot = snapshot_of(dremio, watches=interest("overview", "yesterday", "1h"))
    hours = live_hours(snapshot, "yesterday")
    assert hours["revenue_per_minute"].series["then"][-4:] == (8.0, 4.0, 0.0, 0.0)
    assert hours["errors_per_minute"].series["then"][-4:] == (None, 2.0, 0.0, 0.0)
    assert hours["revenue_per_minute"].series["revenue"][-4] == 10.0
    assert "then" not in live_hours(snapshot)["revenue_per_minute"].series
