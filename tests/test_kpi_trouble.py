"""KPIs that some events make slow or wrong: only what those spoil is missing, it is said, and comes once it can."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from console.feed.snapshot import FeedAnswer, FeedSnapshot
from console.message import head_part
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse import ROOT
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.kpis import KPIS, Kpi, load_kpis
from lakehouse.kpis.left_out import left_out_words
from lakehouse.topics import TOPICS
from pipeline.batch.kpi_state import unknown
from tests.conftest import NOON, Monotonic, Shop
from tests.test_kept import over_raw, plainly
from tillwatch.status import Data, data_lines

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CLICKS = "clicks_per_minute"
COUNT = "COUNT(*) AS clicks"
FAILS_FOR_BAD = "SUM(CASE WHEN user_id = 'bad' THEN CAST(url AS INT) ELSE 1 END) AS clicks"
TOO_LARGE_FOR_BAD = "SUM(CASE WHEN user_id = 'bad' THEN 9000000000000000000 ELSE 1 END) AS clicks"
NO_VALUE_FOR_BAD = "COUNT(*) // (1 - MAX(CASE WHEN user_id = 'bad' THEN 1 ELSE 0 END)) AS clicks"
_EACH_WITH_EACH = "clicks_processed a, clicks_processed b, clicks_processed c"
SLOW_FOR_MANY = (
    f"COUNT(*) + (SELECT CAST(0 * SUM(LENGTH(a.url) + LENGTH(b.url) * LENGTH(c.url)) AS BIGINT) FROM {_EACH_WITH_EACH})"
    " AS clicks"
)

type Edit = Callable[[str], None]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Edits the SQL file of clicks_per_minute: from the next start on it counts clicks so."""
    shipped = (ROOT / "lakehouse" / "kpis" / f"{CLICKS}.sql").read_text()
    sql = Kpi.sql

    def change(clicks: str) -> None:
        path = tmp_path / f"{CLICKS}.sql"
        assert COUNT in shipped
        path.write_text(shipped.replace(COUNT, clicks))
        edited = load_kpis([path], TOPICS)[CLICKS]
        monkeypatch.setattr(Kpi, "sql", lambda kpi, statuses: sql(edited if kpi.name == CLICKS else kpi, statuses))

    return change


class Days:
    """A shop, the clock it waits by, and what its readers are told of KPIs that lack rows."""

    def __init__(self, shop: Shop, monotonic: Monotonic) -> None:
        self.shop = shop
        self.monotonic = monotonic

    def rest(self, span: timedelta) -> None:
        """Time in which nothing comes: ingest ticks, as it does several times a second."""
        for _ in range(int(span / (5 * SECOND))):
            self.monotonic.now += 5
            self.shop.pass_time(5 * SECOND)
            for _ in range(4):
                self.shop.ingest.log.look()
                self.shop.ingest.core.tick()

    def clicks(self) -> dict[int, int]:
        """As the table has them: by how many minutes after noon."""
        found = Counter[int]()
        for row in self.shop.rows(CLICKS):
            found[(row["window_start"] - NOON) // MINUTE] += row["clicks"]
        return dict(found)

    def as_the_query_gives(self) -> bool:
        return plainly(self.shop.rows(CLICKS)) == plainly(over_raw(self.shop, KPIS[CLICKS]))

    def told(self) -> str:
        """The answer to kpis_left_out in words, as status, console and small page have them; the same on all."""
        table = self._ask("kpis_left_out")
        words = left_out_words(table.to_pylist())
        snapshot = FeedSnapshot(answers={"kpis_left_out": FeedAnswer(table, "c", self.shop.now)})
        assert snapshot.kpis_left_out == words
        assert (head_part(snapshot, viewers=1, open_incidents=0, failed={})["notice"] or "") == words
        lines = data_lines(Data("c", self.shop.now, Counter(), {}, "", words), None, self.shop.now)
        assert [line for line in lines if "KPIs" in line] == (
            [f"[dim]KPIs[/]      [yellow]{words}[/]"] if words else []
        )
        return words

    def _ask(self, question: str) -> pa.Table:
        data_dir = self.shop.data_dir
        engine = Engine(data_dir, data_dir / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
        try:
            statements = Statements(SqliteCommits(data_dir / "catalog.db"), engine)
            planned = statements.plan(fill(question_sql(question), None, {}, question))
            return pa.Table.from_batches(list(statements.run(planned.ticket, lambda: False).batches), planned.schema)
        finally:
            engine.close()


def many_clicks(shop: Shop, count: int) -> None:
    """In one go, as a flood of them comes."""
    for number in range(count):
        click: dict[str, Any] = {"click_id": f"m{number}", "user_id": f"u{number % 7}", "url": "/page/cart"}
        click |= {"device_type": "mobile", "click_time": shop.now.isoformat()}
        shop.sink.send("clicks_topic", None, json.dumps(click).encode())
    shop.sink.flush()


def test_what_only_a_large_batch_makes_slow_is_left_out_alone_said_and_mended_by_another_query(
    tmp_path: Path, monotonic: Monotonic, edit: Edit
) -> None:
    edit(SLOW_FOR_MANY)
    shop = Shop(tmp_path / "shop", kpis={"time_limit": "250 ms"})
    days = Days(shop, monotonic)
    shop.click()
    shop.publish()
    assert days.clicks() == {0: 1}
    shop.pass_time(MINUTE)
    many_clicks(shop, 1000)
    shop.publish()
    assert len(shop.rows("clicks_processed")) == 1001  # nothing waits for it
    slow = f"{CLICKS} lacks rows of 1 hour, the newest from 02 Mar 12:00 UTC: it took over 0.25 s"
    assert days.told() == slow
    days.rest(40 * SECOND)
    shop.pass_time(2 * MINUTE)
    shop.click()
    shop.publish()
    assert days.clicks() == {0: 1, 3: 1}  # as soon as it has rested, what comes now is computed
    assert days.told() == slow
    shop.restart()
    shop.click()
    shop.publish()
    assert days.clicks() == {0: 1, 3: 2}
    assert days.told() == slow
    shop.restart()
    edit("COUNT(*) + 0 AS clicks")
    days.rest(20 * SECOND)
    assert days.clicks() == {0: 1, 1: 1000, 3: 2}
    assert days.told() == ""
    assert days.as_the_query_gives()
    shop.close()


@pytest.mark.parametrize(
    ("clicks", "why"),
    [
        (FAILS_FOR_BAD, "Conversion Error: Could not convert string '/page/cart?step=1' to INT32"),
        (
            TOO_LARGE_FOR_BAD,
            f"lakehouse/kpis/{CLICKS}.sql: the query gives 'clicks' a value that its type, int64, does",
        ),
        (NO_VALUE_FOR_BAD, f"lakehouse/kpis/{CLICKS}.sql: the query gives 'clicks' without a value for some minute;"),
    ],
    ids=["cannot be cast", "too large for its type", "divided by zero"],
)
def test_an_event_that_a_query_fails_for_spoils_its_hour_and_no_other(
    tmp_path: Path, monotonic: Monotonic, edit: Edit, clicks: str, why: str
) -> None:
    edit(clicks)
    shop = Shop(tmp_path / "shop")
    days = Days(shop, monotonic)
    shop.click(NOON - HOUR)
    shop.click(user_id="bad")
    shop.click(user_id="bad")
    shop.publish()
    assert days.clicks() == {}
    assert days.told().startswith(f"{CLICKS} lacks rows of 2 hours, the newest from 02 Mar 12:00 UTC: {why}")
    days.rest(100 * SECOND)
    # Of the two hours that were left out together one has come, whichever was tried first and however often.
    assert days.clicks() == {-60: 1}
    assert days.told().startswith(f"{CLICKS} lacks rows of 1 hour, the newest from 02 Mar 12:00 UTC: ")
    shop.now = NOON + HOUR + 5 * SECOND
    for minute in range(61, 66):
        shop.click()
        shop.publish()
        assert days.clicks()[minute - 1] == 1  # at once, though noon fails again and again
        assert unknown(shop.ingest.core.kpis.state) == {"clicks_topic": [(NOON, NOON + HOUR)]}
        days.rest(MINUTE)
    shop.restart()
    edit("COUNT(*) AS clicks")
    days.rest(20 * SECOND)
    assert days.clicks() == {-60: 1, 0: 2} | dict.fromkeys(range(60, 65), 1)
    assert days.told() == ""
    shop.close()


def test_a_changed_query_that_fails_for_an_old_hour_is_filled_in_before_and_after_it(
    tmp_path: Path, monotonic: Monotonic, edit: Edit
) -> None:
    shop = Shop(tmp_path / "shop")
    days = Days(shop, monotonic)
    for hour in range(5):
        shop.click(NOON - hour * HOUR, user_id="bad" if hour == 2 else "ada")
    shop.publish()
    shop.restart()
    edit(FAILS_FOR_BAD.replace("ELSE 1", "ELSE 10"))
    shop.click()
    shop.publish()
    assert days.clicks()[0] == 20
    days.rest(60 * SECOND)
    assert days.clicks() == {0: 20, -60: 10, -120: 1, -180: 10, -240: 10}
    assert days.told().startswith(f"{CLICKS} lacks rows of 1 hour, the newest from 02 Mar 10:00 UTC: ")
    shop.click()
    shop.publish()
    assert days.clicks()[1] == 10
    shop.close()


def test_a_query_that_always_fails_is_tried_ever_less_often(
    tmp_path: Path, monotonic: Monotonic, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit("COUNT(*) + ERROR('no') AS clicks")
    shop = Shop(tmp_path / "shop", heartbeat_every="10 min", maintenance_every="1 h")
    days = Days(shop, monotonic)
    for _ in range(40):
        shop.click()
        shop.publish()
        days.rest(15 * SECOND)
    # Ten minutes of failure: some tries of what comes, as many of what was left out.
    assert len([line for line in caplog.messages if "clicks_per_minute is left out" in line]) <= 10
    assert shop.rows(CLICKS) == []
    assert len(shop.rows("clicks_processed")) == 40
    shop.close()
