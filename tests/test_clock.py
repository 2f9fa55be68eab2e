"""A clock that is wrong: it mutes no alert, resolves no incident and blinds no reader, and it is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import pytest

from console.feed.hub import Hub
from console.feed.incidents import incidents_of
from console.feed.poller import Poller
from console.pages.overview import Overview
from lakehouse.clock import clock_words
from lakehouse.kpis import Counting
from lakehouse.rules import RuleState
from lakehouse.rules.state import CLOCK, brought_back
from lakehouse.settings.shop import AlertsSettings
from lakehouse.tables import TABLES
from notifier.clock import to_ms
from notifier.manner import Manner
from notifier.model import AlertRow, MessageKind, Muted, Target
from notifier.planning.board import Worksheet
from notifier.planning.order import in_order, is_old
from notifier.planning.storm import Storms
from notifier.routing.decide import Surroundings
from pipeline.batch.rows import table_of
from pipeline.batch.times import micros
from tests.conftest import NOON, Shop
from tests.fake_dremio import FakeDremio
from tests.test_notifier import fatal_to

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


def fatal(shop: Shop, by: timedelta = timedelta()) -> None:
    """A FATAL that happens now; the clock of what writes the log is ahead."""
    at = shop.now
    with clock_ahead(shop, by):
        shop.error(at, severity="FATAL", error_message="cannot reach the bank")
    shop.publish()


def alerts(shop: Shop, status: str) -> list[dict[str, Any]]:
    return [row for row in shop.rows("alerts") if row["status"] == status and row["rule"] == "fatal_error"]


def as_of(shop: Shop) -> datetime:
    reads: list[datetime] = [row["read_to"] for row in shop.rows("ingest_positions")]
    return min(reads)


def judged_to(shop: Shop) -> datetime:
    """Up to when the rule that is farthest has judged."""
    times: list[datetime] = [row["judged_to"] for row in shop.rows("rule_state") if row["judged_to"]]
    return max(times)


def told(shop: Shop) -> list[tuple[MessageKind, Muted | None]]:
    """What the notifier plans to say of the alerts, and why it would not."""
    names = [field.name for field in fields(AlertRow) if field.name not in ("commit", "source")]
    rows = [AlertRow(commit="c", **{name: row[name] for name in names}) for row in shop.rows("alerts")]
    router = fatal_to({"slack": ("C0OPS",)})
    around = Surroundings(shop.now, lambda alert: is_old(alert, AlertsSettings.load().max_age, None))
    board = Worksheet(to_ms(shop.now), {Target("slack", "C0OPS"): Manner()}, Storms(0, to_ms(shop.now)))
    for alert in in_order(rows):
        if alert.status == "RESOLVED":
            board.resolve(alert)
        else:
            board.hear(alert, router.decide(alert, around), around.old(alert))
    return [(draft.kind, draft.muted) for draft in board.out.drafts.values()]


def figures(shop: Shop, metric: str) -> dict[str, float]:
    return {row["topic"]: row["value"] for row in shop.rows("pipeline_metrics") if row["metric"] == metric}


@pytest.mark.parametrize("by", [timedelta(), AHEAD], ids=["then right again", "still ahead"])
def test_one_flush_of_a_clock_ahead_mutes_no_fatal_and_resolves_no_incident(shop: Shop, by: timedelta) -> None:
    fatal(shop)
    flush_ahead(shop)
    shop.publish()
    shop.pass_time(8 * SECOND)
    shop.ingest.publish(heartbeat=True)
    assert alerts(shop, "RESOLVED") == []
    fatal(shop, by)
    first, second = alerts(shop, "FIRING")
    assert second["incident_id"] == first["incident_id"]
    assert second["received_at"] == shop.now
    shop.pass_time(5 * MINUTE - SECOND)
    shop.ingest.publish(heartbeat=True)
    assert alerts(shop, "RESOLVED") == []
    shop.pass_time(2 * SECOND)
    assert shop.alert_is_due()
    shop.publish()
    (resolved,) = alerts(shop, "RESOLVED")
    assert resolved["alert_timestamp"] == shop.now
    assert told(shop) == [(MessageKind.FIRST, None), (MessageKind.RESOLVED, None)]


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


def test_a_clock_of_years_ahead_keeps_no_letter_from_being_sent_again_once_it_is_right(shop: Shop) -> None:
    flush_ahead(shop, timedelta(days=20))
    shop.publish()
    assert {row["reason"] for row in shop.rows("dead_letters")} == {"STALE_TIME"}
    shop.click(event_id="right")
    shop.publish()
    assert [row["event_key"] for row in shop.rows("clicks_processed")] == ["right"]


def test_a_machine_whose_clock_jumps_ahead_and_back_goes_on_at_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.click()
    shop.publish()
    with clock_ahead(shop):
        shop.click()
        shop.publish()
        shop.ingest.publish(heartbeat=True)
    shop.pass_time(10 * SECOND)
    fatal(shop)
    assert as_of(shop) == shop.now
    (alert,) = alerts(shop, "FIRING")
    assert alert["received_at"] == shop.now
    assert told(shop) == [(MessageKind.FIRST, None)]
    assert judged_to(shop) <= shop.now + MINUTE
    assert "clock went back from 2026-03-03 14:00:00 to 2026-03-02 12:00:10 UTC" in caplog.text
    shop.pass_time(5 * MINUTE)
    shop.ingest.publish(heartbeat=True)
    assert len(alerts(shop, "RESOLVED")) == 1


def test_young_commits_and_the_log_survive_a_clock_that_was_ahead(shop: Shop) -> None:
    """Maintenance goes by the clock, not by ingested_at, which does not go back with it."""
    with clock_ahead(shop, timedelta(days=40)):
        shop.click()
        shop.publish()
    shop.click()
    shop.publish()
    shop.maintain()
    assert len(shop.rows("clicks_processed")) == 2
    assert shop.log.bounds("clicks_topic") == (0, 2)


def test_what_an_older_version_stored_of_a_clock_ahead_is_healed_by_the_next_publish(shop: Shop) -> None:
    fatal(shop)
    ingest, future = shop.ingest, shop.now + AHEAD
    positions = [row | {"read_to": future} for row in shop.rows("ingest_positions")]
    ahead = {"judged_to": future, "newest_received_at": future}
    state = [row | {n: at for n, at in ahead.items() if row[n] is not None} for row in shop.rows("rule_state")]
    staged = []
    for name, rows in (("ingest_positions", positions), ("rule_state", state)):
        table = ingest.catalog.tables[name]
        written = table.write(table_of(TABLES[name], rows))
        staged.append(table.stage(written, list(table.live.values()), ingest.catalog.sequence + 1))
    ingest.catalog.publish(staged, micros(future))
    assert as_of(shop) == future
    shop.restart()
    shop.pass_time(15 * SECOND)
    shop.click()
    shop.ingest.publish(heartbeat=True)
    assert as_of(shop) == shop.now
    assert figures(shop, "late")["clicks_topic"] == 0
    shop.pass_time(5 * MINUTE)
    shop.ingest.publish(heartbeat=True)
    assert len(alerts(shop, "RESOLVED")) == 1
    (users,) = shop.rows("active_users_per_window")[-1:]
    assert users["window_end"] <= shop.now
    assert users["active_users_approx"] == 1
    assert judged_to(shop) <= shop.now + MINUTE


def test_what_a_clock_ahead_writes_counts_in_the_minutes_in_which_it_is_read(shop: Shop) -> None:
    """Else no rule about what cannot be read would hear of it."""
    shop.pass_time(12 * SECOND)
    shop.click()
    shop.publish()
    for _ in range(3):
        shop.pass_time(MINUTE)
        with clock_ahead(shop):
            for _ in range(30):
                shop.message("clicks_topic", b"?")
        shop.publish()
    (alert,) = shop.rows("alerts")
    assert alert["description"] == "100 % of clicks_topic cannot be read, over 5 % for 2 min"


def test_only_what_lies_far_ahead_is_brought_back() -> None:
    near = RuleState("silence", CLOCK, judged_to=NOON + 3 * MINUTE)  # minutes that nobody could read are closed ahead
    state = {("silence", CLOCK): near, ("few", CLOCK): RuleState("few", CLOCK, judged_to=NOON - MINUTE)}
    assert brought_back(state, NOON) is state
    far = RuleState("silence", CLOCK, judged_to=NOON + AHEAD, inside_since=NOON - MINUTE)
    back = brought_back({**state, ("silence", CLOCK): far}, NOON + SECOND)
    assert back["silence", CLOCK] == RuleState("silence", CLOCK, judged_to=NOON, inside_since=NOON - MINUTE)
    assert back["few", CLOCK] is state["few", CLOCK]


def test_the_words_name_the_topics_and_the_farthest() -> None:
    rows = [
        {"topic": "orders_topic", "messages": 3.0, "ahead_s": 90.0},
        {"topic": "clicks_topic", "messages": 0.0, "ahead_s": 0.0},
        {"topic": "errors_topic", "messages": 1200.0, "ahead_s": 93_600.0},
    ]
    assert clock_words(rows) == (
        "in the last hour 1,203 messages of errors_topic, orders_topic had a log time up to 26.0 h ahead of ingest's "
        "clock"
    )
    assert clock_words(rows[1:2]) == ""
    assert clock_words([rows[0] | {"messages": 1.0}]).startswith("in the last hour 1 message of orders_topic had")


# ---- what readers show


@pytest.fixture
def dremio() -> Iterator[FakeDremio]:
    fake = FakeDremio()
    yield fake
    fake.close()


class Somebody:
    """Has the Overview open."""

    watches = "overview"
    present = True

    def wake(self) -> None: ...


def a_poller(dremio: FakeDremio) -> tuple[Hub, Poller]:
    """The console's feed with one viewer."""
    hub = Hub()
    hub.join(Somebody())
    tabs = {"overview": Overview.ask}
    return hub, Poller(dremio, hub, tabs=tabs, refresh_s=1, idle_refresh_s=15, counting=Counting(("CREATED",)))


def test_a_clock_that_was_ahead_is_said_for_an_hour_and_seldom_asked_for(dremio: FakeDremio) -> None:
    dremio.clock_ahead(NOON - timedelta(minutes=59), "errors_topic", 12, 93_600.0)
    dremio.publish(NOON)
    hub, poller = a_poller(dremio)
    poller.poll()
    assert hub.snapshot.clock_ahead.endswith(
        "12 messages of errors_topic had a log time up to 26.0 h ahead of ingest's clock"
    )
    for seconds in range(1, 15):
        dremio.publish(NOON + timedelta(seconds=seconds))
        poller.poll()
    assert dremio.asked.count("clock_ahead") == 1
    dremio.publish(NOON + timedelta(minutes=2))
    poller.poll()
    assert hub.snapshot.clock_ahead == ""


def test_a_fatal_of_a_clock_ahead_is_open_now_and_not_when_its_time_comes(dremio: FakeDremio) -> None:
    dremio.alert(NOON + timedelta(hours=26), "i-1", received_at=NOON, ingested_at=NOON)
    dremio.publish(NOON)
    hub, poller = a_poller(dremio)
    poller.poll()
    rows = hub.snapshot.answers["incidents"].table.to_pylist()
    (incident,) = incidents_of(rows, timedelta(hours=1))
    assert (incident.state, incident.touched_at) == ("open", NOON)
