"""A rate that goes from very many events to none and back: nothing is lost, and nothing is done for nobody."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.kpis import KPIS
from tests.conftest import Monotonic, Shop
from tests.test_kept import over_raw, plainly

A_SECOND = 2_400  # events
BATCH = 1_000
KEPT_BYTES = 60_000


class Rates:
    """A shop whose two clocks go together, and what each step of its ingest published."""

    def __init__(self, data_dir: Path, monotonic: Monotonic) -> None:
        self.shop = Shop(
            data_dir, batch_rows=BATCH, heartbeat_every="2 min", maintenance_every="5 min", kpis={"memory": KEPT_BYTES}
        )
        self.monotonic = monotonic
        self.sent = 0

    def send(self, count: int) -> None:
        at = self.shop.now.isoformat()
        for number in range(self.sent, self.sent + count):
            click = {"click_id": f"c{number}", "user_id": f"u{number % 97}", "url": f"/page/p{number % 5}"}
            click |= {"device_type": "mobile", "click_time": at}
            self.shop.sink.send("clicks_topic", None, json.dumps(click).encode())
        self.shop.sink.flush()
        self.sent += count

    def wait(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.shop.pass_time(timedelta(seconds=seconds))

    def step(self) -> int:
        """As the loop does until it would rest; how many publishes it made."""
        sequence = self.shop.ingest.catalog.sequence
        while self.shop.ingest.step():
            assert all(kept.bytes <= KEPT_BYTES for kept in self.shop.ingest.core.memory.kept.values())
        return self.shop.ingest.catalog.sequence - sequence

    def loud(self, seconds: int) -> None:
        """So many events in each half of a second, and all of them published in it; the first one may take longer."""
        self.wait(0.5)
        for _ in range(2 * seconds):
            self.send(A_SECOND // 2)
            self.wait(0.5)
            assert self.step() == A_SECOND // 2 // BATCH + 1
        self.check()

    def news(self) -> Counter[str]:
        """Rows that let ingest publish where no event comes."""
        found = Counter(heartbeat=sum(row["metric"] == "heartbeat" for row in self.shop.rows("pipeline_metrics")))
        found.update(
            {name: len(self.shop.rows(name)) for name in ("maintenance_runs", "alerts", "active_users_per_window")}
        )
        return found

    def check(self) -> None:
        assert len(self.shop.rows("clicks_processed")) == self.sent
        for name in ("clicks_per_minute", "active_users_per_window"):
            assert plainly(self.shop.rows(name)) == plainly(over_raw(self.shop, KPIS[name])), name


def test_a_flood_that_ends_and_comes_again_is_all_there_and_the_silence_between_costs_nothing(
    tmp_path: Path, monotonic: Monotonic
) -> None:
    rates = Rates(tmp_path, monotonic)
    shop, core = rates.shop, rates.shop.ingest.core
    rates.step()
    rates.loud(2)
    assert core.memory.kept["clicks_per_minute"].bytes > 0
    # Silence: heartbeats, a run of maintenance, alerts and window ends that time makes; no publish is without one.
    begin, news = shop.ingest.catalog.sequence, rates.news()
    for _ in range(105):
        rates.wait(10)
        if published := rates.step():
            assert rates.news().total() >= news.total() + published
            news = rates.news()
        core.workshop.wait()
    assert news["heartbeat"] >= 5
    assert shop.ingest.catalog.sequence - begin <= 16
    # What was not used for ten minutes is let go.
    assert [kept.bytes for kept in core.memory.kept.values()] == [0] * len(KPIS)
    assert core.memory.keys["clicks_topic"]._held.currsize == 0
    rates.check()
    # One event is no hurry: half as long again from one publish to the next.
    for wait, publishes in ((1, 1), (0.6, 0), (0.2, 1)):
        rates.send(1)
        rates.wait(wait)
        assert rates.step() == publishes
    rates.loud(2)
    assert core.memory.kept["clicks_per_minute"].bytes > 0
    rates.send(1)
    rates.wait(0.5)
    assert rates.step() == 1
    rates.check()
    shop.restart()
    rates.loud(1)
    shop.close()


@pytest.mark.parametrize("sent", [2 * BATCH, 1], ids=["a backlog", "publishes as slow as their pace"])
def test_the_log_is_trimmed_however_busy_ingest_is(tmp_path: Path, monotonic: Monotonic, sent: int) -> None:
    rates = Rates(tmp_path, monotonic)
    rates.step()
    rates.send(7)
    rates.wait(1)
    rates.step()
    rates.wait(25 * 3600)
    for _ in range(8):
        rates.send(sent)
        rates.wait(1)
        rates.shop.ingest.step()
    assert [row["log_rows_deleted"] for row in rates.shop.rows("maintenance_runs")] == [7]
    rates.shop.close()
