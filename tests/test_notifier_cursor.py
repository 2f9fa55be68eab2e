"""Which alerts the notifier finds: odd ones, those of the future, what a new or an old ledger has not seen."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from lakehouse import ROOT
from lakehouse.dremio.errors import TooLarge
from notifier import cursor, planner
from notifier.clock import to_ms
from notifier.daemon import Daemon
from notifier.model import DeliveryState, Muted
from notifier.routing.decide import Router
from notifier.routing.tree import Routing
from tests.test_notifier import NOON, Desk, Friend, a_config, fatal_to

HOUR = timedelta(hours=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


def test_a_row_of_the_future_is_told_and_does_not_hide_what_comes_after_it(desk: Desk) -> None:
    desk.fatal("inc-future", ingested_at=NOON + timedelta(days=3650))
    desk.publish()
    for minute in range(1, 4):
        desk.now += timedelta(minutes=minute)
        desk.fatal(f"inc-{minute}")
        desk.publish()
    assert len(desk.channel.posts) == 4
    assert desk.ledger.cursor().ingested_ms == to_ms(desk.now)


def test_a_cursor_that_was_saved_in_the_future_heals(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    with desk.ledger._write() as db:
        db.exec_driver_sql("UPDATE cursor SET ingested_ms = ingested_ms + 315360000000")
    desk.now += timedelta(minutes=20)
    desk.publish()
    desk.now += timedelta(seconds=5)
    desk.fatal("inc-2")
    desk.publish()
    assert len(desk.channel.posts) == 2


ODD = [
    ({"severity": "fatal"}, "severity 'fatal'"),
    ({"severity": " Fatal "}, "severity ' Fatal '"),
    ({"severity": None}, "severity None"),
    ({"severity": ""}, "severity ''"),
    ({"status": None}, "status None"),
    ({"status": "firing"}, "status 'firing'"),
    ({"status": "ACTIVE"}, "status 'ACTIVE'"),
    ({"alert_id": None}, "no alert_id"),
    ({"alert_id": "  "}, "no alert_id"),
    ({"incident_id": None}, "no incident_id"),
    ({"incident_id": ""}, "no incident_id"),
    ({"alert_timestamp": None}, "no alert_timestamp"),
    ({"received_at": None}, "no received_at"),
    ({"ingested_at": None}, "no ingested_at"),
    ({"alert_timestamp": None, "received_at": None, "ingested_at": None}, "no alert_timestamp"),
    ({"received_at": datetime(1, 1, 1, tzinfo=UTC)}, "no received_at"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "said"), ODD)
def test_a_fatal_with_an_odd_or_missing_value_is_told_counted_and_shown_once(
    desk: Desk, caplog: pytest.LogCaptureFixture, values: dict[str, Any], said: str
) -> None:
    desk.fatal("inc-odd", **values)
    with caplog.at_level(logging.WARNING):
        desk.publish()
        for _ in range(3):
            desk.now += timedelta(minutes=11)
            desk.publish()
    assert len(desk.channel.posts) == 1
    assert desk.count("bad_rows_total") == 1
    assert sum(said in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("name", ["rule", "alert_type", "description", "starts_at", "service_name", "metric_value"])
def test_a_fatal_without_a_value_that_nobody_needs_is_told(desk: Desk, name: str) -> None:
    desk.fatal("inc-1", **{name: None})
    desk.publish()
    assert len(desk.channel.posts) == 1


@pytest.mark.parametrize("severity", ["CRITICAL", "error", "Warning", "5"])
def test_a_severity_of_no_route_is_listed_and_not_sent(desk: Desk, severity: str) -> None:
    desk.fatal("inc-1", severity=severity)
    desk.publish()
    (row,) = desk.deliveries()
    assert (row.state, row.reason) == (DeliveryState.MUTED, Muted.NO_ROUTE)
    assert desk.channel.posts == []
    assert desk.count("bad_rows_total") == 1
    assert desk.count("muted_total", reason="no_route") == 1


def test_a_resolved_row_in_small_letters_closes_its_thread(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-1", status="resolved")
    desk.publish()
    assert desk.channel.posts[-1].title == "Resolved: FATAL in payments"


def test_a_time_that_is_beyond_the_calendar_stops_nobody(desk: Desk) -> None:
    desk.dremio._connection.execute(
        "INSERT INTO alerts (alert_id, incident_id, status, severity, alert_timestamp, received_at, ingested_at) VALUES"
        " ('a', 'inc-1', 'FIRING', 'FATAL', TIMESTAMP '20000-01-01 00:00:00', TIMESTAMP '2026-03-02 12:00:00',"
        " TIMESTAMP '20000-01-01 00:00:00')"
    )
    desk.fatal("inc-2")
    desk.publish()
    desk.now += timedelta(days=91)
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_a_row_without_ingested_at_that_comes_later_is_found_by_a_sweep(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(minutes=11)
    desk.fatal("inc-2", ingested_at=None)
    desk.publish()
    assert len(desk.channel.posts) == 2


def test_a_new_ledger_looks_back_as_far_as_it_would_remember(desk: Desk) -> None:
    for days in (91, 89):
        past = NOON - timedelta(days=days)
        desk.fatal(f"inc-{days}", at=past, ingested_at=past, received_at=past)
    desk.publish()
    assert [row.incident_id for row in desk.deliveries()] == ["inc-89"]


def test_a_ledger_that_never_saw_an_alert_tells_of_one_that_came_while_it_was_down(desk: Desk) -> None:
    desk.publish()
    desk.now += timedelta(hours=3)
    desk.fatal("inc-1", at=NOON + HOUR, received_at=NOON + HOUR, ingested_at=NOON + HOUR)
    desk.publish()
    assert [post.title for post in desk.channel.posts] == ["FATAL in payments (late: 2.0 h)"]


def test_a_ledger_that_nobody_answered_counts_from_its_birth(desk: Desk) -> None:
    """Made at noon, first answer at three: what was published since eleven is news."""
    desk.now += timedelta(hours=3)
    for minutes in (-61, -59, 60):
        at = NOON + timedelta(minutes=minutes)
        desk.fatal(f"inc{minutes}", at=at, received_at=at, ingested_at=at)
    desk.publish()
    states = {row.incident_id: row.state for row in desk.deliveries()}
    assert states == {"inc-61": DeliveryState.MUTED, "inc-59": DeliveryState.SENT, "inc60": DeliveryState.SENT}


def test_a_poll_reads_any_number_of_rows_in_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "PAGE", 7)
    monkeypatch.setattr(planner, "BATCH", 3)
    for number in range(50):
        at = NOON - timedelta(milliseconds=number // 20)
        desk.fatal(f"inc-{number:02d}", service=f"service-{number}", ingested_at=at)
    for number in range(10):
        desk.fatal(f"inc-0{number}", service=f"service-{number}", status="RESOLVED")
    desk.publish()
    assert len(desk.channel.posts) == 60
    assert desk.dremio.asked.count("alerts_since") == 9


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = desk.dremio.ask

    def narrow(question: str, **asked: Any) -> pa.Table:
        rows = ask(question, **asked)
        if rows.num_rows > 30:
            raise TooLarge("The answer is larger than 30 rows: ask for less.")
        return rows

    monkeypatch.setattr(desk.dremio, "ask", narrow)
    for number in range(100):
        desk.fatal(f"inc-{number}")
    desk.publish()
    assert len(desk.channel.posts) == 100


@pytest.mark.parametrize("ingested_at", [NOON, NOON + timedelta(days=5000), None])
def test_what_a_sweep_would_find_again_is_not_forgotten(desk: Desk, ingested_at: datetime | None) -> None:
    """Nothing was published for longer than the ledger remembers; or the row's time is none."""
    desk.fatal("inc-1", ingested_at=ingested_at)
    desk.publish()
    for _ in range(3):
        desk.now += timedelta(days=91)
        desk.dremio.commits += 1
        desk.planner.poll()
        desk.work()
    assert len(desk.channel.posts) == 1


@contextmanager
def older_ledger(path: Path, revision: str) -> Iterator[sa.Connection]:
    """A ledger as the version of this revision made it, open to be written."""
    engine = sa.create_engine(f"sqlite:///{path / 'ledger.db'}")
    config = Config()
    config.set_main_option("script_location", str(ROOT / "notifier" / "migrations"))
    with engine.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, revision)
        yield db
    engine.dispose()


def test_what_older_versions_passed_over_is_not_told_when_all_severities_are_looked_at(tmp_path: Path) -> None:
    with older_ledger(tmp_path, "0002") as db:
        held = (to_ms(NOON), 0, to_ms(NOON - HOUR))
        db.exec_driver_sql("UPDATE cursor SET ingested_ms = ?, mute_before_ms = ?, born_ms = ?", held)
    content = {"routes": [{"name": "all", "to": ["slack"]}]}
    router = Router(Routing.model_validate(content), {"slack": Friend().destinations})
    again = Desk(tmp_path, Friend(), router=router)
    earlier = NOON - timedelta(minutes=5)
    again.fatal("passed over", severity="ERROR", at=earlier, ingested_at=earlier, received_at=earlier)
    again.now += timedelta(seconds=5)
    again.fatal("new", severity="ERROR")
    again.publish()
    assert {row.incident_id: (row.state, row.reason) for row in again.deliveries()} == {
        "passed over": (DeliveryState.MUTED, Muted.OLD),
        "new": (DeliveryState.SENT, None),
    }
    again.close()


def test_a_ledger_of_an_older_version_that_never_looked_counts_from_when_it_was_written(tmp_path: Path) -> None:
    with older_ledger(tmp_path, "0001"):
        pass
    written = NOON - timedelta(hours=30)
    os.utime(tmp_path / "ledger.db", (NOON.timestamp(), written.timestamp()))
    again = Desk(tmp_path, Friend())
    for minutes in (-80 * 24 * 60, -61, -59, 60):
        at = written + timedelta(minutes=minutes)
        again.fatal(f"inc{minutes}", at=at, received_at=at, ingested_at=at)
    again.publish()
    states = {row.incident_id: row.state for row in again.deliveries()}
    again.close()
    assert states == {
        "inc-115200": DeliveryState.MUTED,
        "inc-61": DeliveryState.MUTED,
        "inc-59": DeliveryState.SENT,
        "inc60": DeliveryState.SENT,
    }


def test_a_ledger_without_alerts_does_not_look_back_so_far_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime] = []
    ask = desk.dremio.ask

    def noting(question: str, **values: Any) -> pa.Table:
        if question == "alerts_since":
            asked.append(values["since"])
        return ask(question, **values)

    monkeypatch.setattr(desk.dremio, "ask", noting)
    desk.publish()
    desk.now += timedelta(seconds=5)
    desk.publish()
    assert asked == [NOON - timedelta(days=90), NOON - timedelta(minutes=1)]


def test_a_ledgers_birth_is_written_when_its_file_is_made(desk: Desk) -> None:
    assert desk.ledger.cursor().born_ms == to_ms(NOON)


def test_what_nobody_answers_of_rows_without_ingested_at_stops_nothing_else(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.dremio.broken.add("alerts_unstamped")
    desk.fatal("inc-0", ingested_at=None)
    with caplog.at_level(logging.INFO):
        for number in range(1, 4):
            desk.fatal(f"inc-{number}")
            desk.publish()
            desk.now += timedelta(seconds=5)
        assert (len(desk.channel.posts), desk.dremio.asked.count("alerts_unstamped")) == (3, 1)
        desk.now += timedelta(minutes=10)
        desk.publish()
        assert desk.dremio.asked.count("alerts_unstamped") == 2
        assert "Column 'x' not found" in (desk.planner.unstamped_error or "")
        desk.dremio.broken.clear()
        desk.now += timedelta(minutes=10)
        desk.planner.poll()  # of the commit that was seen last
        desk.work()
    assert desk.planner.unstamped_error is None
    assert len(desk.channel.posts) == 4
    assert [record.levelname for record in caplog.records if "without an ingested_at" in record.getMessage()] == [
        "WARNING",
        "INFO",
    ]


def test_a_ledger_forgets_also_while_rows_without_ingested_at_cannot_be_asked_for(desk: Desk) -> None:
    desk.dremio.broken.add("alerts_unstamped")
    desk.fatal("inc-1")
    desk.publish()
    desk.now += timedelta(days=91)
    desk.fatal("inc-2")
    desk.publish()
    assert [row.incident_id for row in desk.deliveries()] == ["inc-2"]


@pytest.mark.parametrize("ingested_at", [NOON, None])
def test_pages_of_rows_that_differ_in_their_text_alone_skip_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ingested_at: datetime | None
) -> None:
    """Each page is a statement of its own, which may read the table's files in another order."""
    monkeypatch.setattr(cursor, "PAGE", 3)
    ask = desk.dremio.ask

    def turning(question: str, **asked: Any) -> pa.Table:
        rows = ask(question, **asked)
        desk.dremio._connection.execute("CREATE OR REPLACE TABLE alerts AS SELECT * FROM alerts ORDER BY rowid DESC")
        return rows

    monkeypatch.setattr(desk.dremio, "ask", turning)
    for number in range(10):
        desk.fatal("inc-1", alert_id=None, ingested_at=ingested_at, description=f"number {number}")
    desk.publish()
    assert [incident.alerts for incident in desk.ledger.incidents()] == [10]


def test_a_row_without_ingested_at_from_before_the_ledgers_memory_is_listed_and_not_sent(desk: Desk) -> None:
    """As at the first sweep after an upgrade: the ledger is old, and no version before asked for such rows."""
    with desk.ledger._write() as db:
        db.exec_driver_sql("UPDATE cursor SET mute_before_ms = 0")
    for days in (89, 91, 400):
        past = NOON - timedelta(days=days)
        desk.fatal(f"inc-{days}", at=past, received_at=past, ingested_at=None)
    past = NOON - timedelta(days=91)
    desk.fatal("inc-unread", at=past, received_at=None, ingested_at=None)
    desk.publish()
    states = {row.incident_id: row.state for row in desk.deliveries()}
    assert states == {
        "inc-89": DeliveryState.SENT,
        "inc-91": DeliveryState.MUTED,
        "inc-400": DeliveryState.MUTED,
        "inc-unread": DeliveryState.MUTED,
    }
    assert desk.count("muted_total", reason="old") == 3


def test_a_turn_waits_for_the_next_commit_where_it_is_told_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(a_config([], fatal_to({}).routing), desk.dremio, desk.ledger)
    waits: list[float] = []

    def next_head(known: str, wait_s: float) -> str:
        waits.append(wait_s)
        return desk.dremio.head()

    monkeypatch.setattr(desk.dremio, "next_head", next_head)
    daemon.cycle()
    assert waits == [0.0]
    desk.dremio.near = True
    daemon.cycle()
    # One look at once, then as long as the turn lasts.
    assert waits[1] == 0.0
    assert 0.8 < waits[2] < 1.0
    assert sorted(waits[2:], reverse=True) == waits[2:]
    desk.dremio.down = True
    before = len(waits)
    daemon.cycle()
    assert len(waits) == before + 1


def test_a_turn_that_is_over_late_goes_on_until_the_one_that_the_timer_will_give(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that ends past the beginning of the next turn: the timer has left that out."""
    steady, ended = 100.0, list[float]()
    daemon = Daemon(a_config([], fatal_to({}).routing), desk.dremio, desk.ledger, steady=lambda: steady)
    takes = iter([0.01, 0.99, 0.01])

    def next_head(known: str, wait_s: float) -> str:
        nonlocal steady
        steady += next(takes, wait_s)
        ended.append(steady - 100)
        return desk.dremio.head()

    monkeypatch.setattr(desk.dremio, "next_head", next_head)
    desk.dremio.near = True
    daemon.cycle()
    assert [*map(pytest.approx, ended)] == [0.01, 1.0, 1.01, 1.95]


@pytest.mark.parametrize("slow", ["ask", "plan"])
def test_a_look_that_moves_on_is_not_ended_however_long_it_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """50 s for each page or each batch; then one question of 130 s."""
    monkeypatch.setattr(cursor, "PAGE", 5 if slow == "ask" else 50)
    monkeypatch.setattr(planner, "BATCH", 5)
    daemon = Daemon(a_config([desk.channel], fatal_to({}).routing), desk.dremio, desk.ledger)
    now, step_s, watched = [100.0], 50.0, list[bool]()
    monkeypatch.setattr(daemon.health, "_monotonic", lambda: now[0])
    work = getattr(desk.dremio if slow == "ask" else desk.ledger, slow)

    def slowly(*args: Any, **values: Any) -> Any:
        now[0] += step_s
        watched.append(daemon.watch())
        return work(*args, **values)

    monkeypatch.setattr(desk.dremio if slow == "ask" else desk.ledger, slow, slowly)
    for number in range(25):
        desk.fatal(f"inc-{number}")
    desk.dremio.publish(desk.now)
    daemon.cycle()
    assert daemon.health.data_error is None
    assert len(watched) >= 5
    assert all(watched)
    step_s = 130.0
    desk.fatal("inc-late")
    desk.dremio.publish(desk.now)
    daemon.cycle()
    assert False in watched
