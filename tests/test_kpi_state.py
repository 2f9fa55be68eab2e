"""KPIs that fail, are slow, new or changed: nothing waits for them, what is missing is said, and comes later."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse.kpis import KPIS, Kpi
from pipeline.batch import kpis as module
from pipeline.batch.kpi_state import unknown
from tests.conftest import NOON, Shop
from tests.test_kept import over_raw, plainly

HOUR = timedelta(hours=1)
CLICKS = "clicks_per_minute"


@pytest.fixture
def query(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], str]], None]:
    """Changes the query of clicks_per_minute from the next start on."""
    sql = Kpi.sql

    def change(how: Callable[[str], str]) -> None:
        monkeypatch.setattr(
            Kpi, "sql", lambda kpi, statuses: how(sql(kpi, statuses)) if kpi.name == CLICKS else sql(kpi, statuses)
        )

    return change


def state(shop: Shop) -> dict[Any, tuple[Any, str | None]]:
    """What kpi_state says of clicks_per_minute: of an hour (None: of the table) what is filled in, and why not."""
    rows = [row for row in shop.rows("kpi_state") if row["kpi"] == CLICKS]
    return {row["hour_start"]: (row["filled_to"], row["reason"]) for row in rows}


def tick_until(shop: Shop, done: Callable[[], bool]) -> int:
    """Pieces of work it took."""
    for number in range(200):
        if done():
            return number
        shop.ingest.core.tick()
    raise AssertionError(state(shop))


def as_its_query_gives(shop: Shop) -> bool:
    return plainly(shop.rows(CLICKS)) == plainly(over_raw(shop, KPIS[CLICKS]))


def fails_for_bad_users(sql: str) -> str:
    return sql.replace(
        "COUNT(*) AS clicks", "SUM(CASE WHEN user_id = 'bad' THEN CAST(url AS INT) ELSE 1 END) AS clicks"
    )


def test_a_query_that_fails_holds_up_nothing_is_said_and_mended_later(
    shop: Shop, query: Callable[[Callable[[str], str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    query(fails_for_bad_users)
    shop.click()
    shop.publish()
    assert state(shop) == {None: (None, None)}
    shop.click(user_id="bad")
    shop.order()
    shop.error(severity="FATAL")
    shop.publish()
    assert len(shop.rows("clicks_processed")) == 2
    assert [row["orders_count"] for row in shop.rows("orders_revenue_per_minute")] == [1]
    assert len(shop.rows("alerts")) == 1
    [(hour, (_, why))] = [(hour, said) for hour, said in state(shop).items() if hour is not None]
    assert hour == NOON
    assert "Could not convert string" in str(why)
    assert caplog.text.count("clicks_per_minute is left out, again in 30 s: ") == 1
    shop.click()
    shop.publish()
    assert [row["clicks"] for row in shop.rows(CLICKS)] == [1]  # as before: it rests
    shop.restart()
    query(str)
    tick_until(shop, lambda: as_its_query_gives(shop))
    assert [row["clicks"] for row in shop.rows(CLICKS)] == [3]
    tick_until(shop, lambda: shop.ingest.core.kpis.state[CLICKS].filled_to is None)
    shop.ingest.publish(heartbeat=True)
    assert state(shop) == {None: (None, None)}


def test_a_query_that_takes_too_long_is_given_up(
    tmp_path: Path,
    query: Callable[[Callable[[str], str]], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(tmp_path, kpis={"time_limit": "100 ms"})
    forever = "(SELECT SUM(a.range + b.range) FROM range(1000000) a, range(1000000) b)"
    query(lambda sql: sql.replace("COUNT(*) AS clicks", f"COUNT(*) + {forever} AS clicks"))
    shop.click()
    shop.publish()
    assert state(shop)[NOON] == (None, "it took over 0.1 s")
    assert [row["active_users_approx"] for row in shop.rows("active_users_per_window")] == []
    assert len(shop.rows("clicks_processed")) == 1
    # It rests, then fails again, and rests for twice as long.
    rest = shop.ingest.core.kpis._rests[CLICKS]
    assert shop.ingest.core.kpis.piece(0, None) is None
    monkeypatch.setattr(time, "monotonic", lambda: rest.until + 1)
    shop.ingest.core.tick()  # the heartbeat, which is due by that clock
    shop.ingest.core.tick()
    assert "clicks_per_minute is left out, again in 60 s: it took over 0.1 s" in caplog.text
    assert shop.ingest.core.kpis.piece(0, None) is None
    shop.close()


def test_what_lacks_rows_is_judged_by_no_rule(shop: Shop, query: Callable[[Callable[[str], str]], None]) -> None:
    query(fails_for_bad_users)
    shop.click(user_id="bad")
    shop.publish()
    assert unknown(shop.ingest.core.kpis.state) == {"clicks_topic": [(NOON, NOON + HOUR)]}


def test_an_hour_whose_raw_rows_are_gone_is_computed_no_more(
    tmp_path: Path, query: Callable[[Callable[[str], str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(tmp_path, retention={"raw": "17 d"})
    query(fails_for_bad_users)
    shop.click()
    shop.publish()
    shop.click(user_id="bad")
    shop.publish()
    assert NOON in state(shop)
    shop.restart()
    shop.pass_time(timedelta(days=18))
    shop.maintain()
    assert shop.rows("clicks_processed") == []
    shop.ingest.core.tick()
    assert "clicks_per_minute: rows of 1 hours cannot be computed any more" in caplog.text
    shop.ingest.publish(heartbeat=True)
    assert state(shop) == {None: (None, None)}
    assert [row["clicks"] for row in shop.rows(CLICKS)] == [1]
    shop.close()


def test_a_query_that_only_duckdb_reads_is_run_over_all_rows(
    shop: Shop, query: Callable[[Callable[[str], str]], None]
) -> None:
    # DuckDB's own order of words, with a list comprehension; sqlglot knows no such lambda.
    query(lambda sql: f"FROM ({sql}) SELECT * EXCLUDE (clicks), len([x for x in range(clicks)]) AS clicks")
    for _ in range(3):
        shop.click()
        shop.publish()
    assert CLICKS not in shop.ingest.core.memory.kept
    assert [row["clicks"] for row in shop.rows(CLICKS)] == [3]


@pytest.mark.parametrize("piece_rows", [5, 200_000])
def test_a_changed_query_is_filled_in_from_the_newest_hour_on(
    shop: Shop, query: Callable[[Callable[[str], str]], None], monkeypatch: pytest.MonkeyPatch, piece_rows: int
) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", piece_rows)
    for hour in range(6):
        for minute in range(0, 60, 7):
            shop.click(NOON - hour * HOUR - timedelta(minutes=minute))
    shop.publish()
    assert as_its_query_gives(shop)
    shop.restart()
    query(lambda sql: sql.replace("COUNT(*) AS clicks", "COUNT(*) * 10 AS clicks"))
    shop.click()
    shop.publish()
    assert state(shop)[None][1] == "not filled in yet"
    shop.ingest.core.tick()
    shop.ingest.core.tick()
    done = {row["window_start"] for row in shop.rows(CLICKS) if row["clicks"] >= 10}
    rest = {row["window_start"] for row in shop.rows(CLICKS) if row["clicks"] < 10}
    assert done
    assert rest
    assert min(done) > max(rest)
    shop.restart()  # it goes on from there
    shop.click(NOON - 3 * HOUR)
    shop.publish()
    pieces = tick_until(shop, lambda: state(shop) == {None: (None, None)} or bool(shop.ingest.publish(heartbeat=True)))
    assert as_its_query_gives(shop)
    assert len(shop.rows(CLICKS)) == 54
    assert (pieces < 10) == (piece_rows > 5)


def test_what_is_filled_in_holds_back_no_heartbeat(
    shop: Shop, query: Callable[[Callable[[str], str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 1)
    for minute in range(30):
        shop.click(NOON - timedelta(minutes=minute))
    shop.publish()
    shop.restart()
    query(lambda sql: sql.replace("COUNT(*) AS clicks", "COUNT(*) * 10 AS clicks"))
    shop.ingest.publish(heartbeat=True)
    core, as_of = shop.ingest.core, shop.ingest.core.as_of
    assert as_of is not None
    core._published_at -= 14
    for _ in range(4):
        core.tick()
    assert state(shop)[None][1] == "not filled in yet"
    assert core.as_of == as_of
    core._published_at -= 2  # 15 s since something was said of the log, though pieces were published meanwhile
    shop.pass_time(timedelta(seconds=16))
    shop.ingest.log.look()
    core.tick()
    assert core.as_of == as_of + timedelta(seconds=16)


def test_a_new_kpi_is_filled_in_and_one_from_before_there_was_a_word_of_it_is_left(shop: Shop) -> None:
    for hour in range(3):
        shop.click(NOON - hour * HOUR)
    shop.publish()
    catalog = shop.ingest.catalog
    before = plainly(shop.rows(CLICKS))
    for names, filled in ((["kpi_state"], False), (["kpi_state", CLICKS], True)):
        staged = [
            catalog.tables[name].stage([], list(catalog.tables[name].live.values()), catalog.sequence + 1)
            for name in names
        ]
        catalog.publish(staged, 0)
        shop.restart()
        assert (shop.ingest.core.kpis.state[CLICKS].filled_to is not None) == filled
        tick_until(shop, lambda: plainly(shop.rows(CLICKS)) == before)
        catalog = shop.ingest.catalog


def test_what_has_lost_raw_rows_to_retention_is_not_filled_in(
    tmp_path: Path, query: Callable[[Callable[[str], str]], None]
) -> None:
    shop = Shop(tmp_path, retention={"raw": "17 d"})
    shop.click()
    shop.publish()
    shop.pass_time(timedelta(days=16, hours=23))
    shop.click()
    shop.publish()
    shop.restart()
    query(lambda sql: sql.replace("COUNT(*) AS clicks", "COUNT(*) * 10 AS clicks"))
    tick_until(shop, lambda: shop.ingest.core.kpis.state[CLICKS].filled_to is None)
    assert [row["clicks"] for row in shop.rows(CLICKS)] == [1, 10]
    shop.close()
