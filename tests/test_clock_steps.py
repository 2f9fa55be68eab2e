"""A machine's clock that is set while minutes are open: every figure stays what the events say, and nobody waits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.kpis import KPIS
from lakehouse.tables import RAW_OF_TOPIC
from lakehouse.user_error import UserError
from tests.conftest import Monotonic, Shop
from tests.test_kept import over_raw, plainly

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TEN = 10 * MINUTE


class Watched:
    """A shop whose browsers have the right time, while the clock of its machine is set; each publish is checked."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop = shop
        self.true = shop.now
        self._draw = random.Random(seed)
        self._ingested_at: datetime | None = None

    def set_clock(self, by: timedelta) -> None:
        self.shop.now += by

    def pass_time(self, span: timedelta) -> None:
        self.true += span
        self.shop.now += span

    def some_events(self, count: int) -> None:
        draw = self._draw
        for _ in range(count):
            # By the browser's clock, which is right, or by the one that was set.
            at = draw.choice((self.true, self.shop.now)) - timedelta(seconds=draw.choice((0, 1, 50, 200)))
            user = f"u{draw.randrange(6)}"
            match draw.randrange(4):
                case 0:
                    self.shop.order(at, user_id=user, price=draw.randrange(1, 90_000) / 8)
                case 1:
                    self.shop.click(at, user_id=user, url=draw.choice(("/", "/page/cart", "/page/a")))
                case 2:
                    self.shop.refund(at, amount=draw.randrange(1, 900) / 8)
                case _:
                    self.shop.error(at, severity=draw.choice(("WARN", "ERROR")), service_name=draw.choice(("a", "b")))

    def publish(self, heartbeat: bool = False) -> None:
        if heartbeat:
            self.shop.ingest.publish(heartbeat=True)
        else:
            self.shop.publish()
        for name, kpi in KPIS.items():
            assert plainly(self.shop.rows(name)) == plainly(over_raw(self.shop, kpi)), name
        (at,) = {row["updated_at"] for row in self.shop.rows("ingest_positions")}
        assert self._ingested_at is None or at >= self._ingested_at
        self._ingested_at = at

    def some_publishes(self, count: int) -> None:
        """With the clock at rest, each some seconds after the one before; now and then a heartbeat."""
        for number in range(count):
            self.pass_time(timedelta(seconds=self._draw.choice((1, 7, 40))))
            self.some_events(self._draw.randrange(1, 6))
            self.publish(heartbeat=number % 4 == 3)


@pytest.mark.parametrize(
    "steps",
    [(TEN, -TEN), (-TEN,), (-HOUR,), (HOUR, -HOUR), (-SECOND, 2 * SECOND, -MINUTE)],
    ids=["10 min ahead and back", "10 min back", "an hour back", "an hour ahead and back", "here and there"],
)
def test_at_every_publish_kpis_are_what_their_queries_give_whatever_the_clock_is_set_to(
    shop: Shop, steps: Sequence[timedelta]
) -> None:
    watched = Watched(shop, len(steps))
    watched.some_publishes(4)
    for step in steps:
        watched.some_events(4)  # in the log by the old clock, read by the new one
        watched.set_clock(step)
        watched.some_events(4)
        watched.publish()
        watched.some_publishes(5)
    assert all(shop.ingest.core.memory.kept[name].bytes for name in KPIS)  # nothing was thrown away for it
    stored = sum(len(shop.rows(table.name)) for table in RAW_OF_TOPIC.values())
    assert stored + len(shop.rows("dead_letters")) == sum(row["next_offset"] for row in shop.rows("ingest_positions"))


def test_kpis_are_whole_after_a_start_that_finds_a_clock_that_was_ahead(shop: Shop) -> None:
    watched = Watched(shop, 7)
    watched.some_publishes(4)
    watched.set_clock(50 * SECOND)
    watched.some_publishes(4)
    shop.restart()
    watched.set_clock(-50 * SECOND)
    watched.some_publishes(6)


@pytest.mark.parametrize("failed_before", [False, True], ids=["it fails then", "it rests"])
def test_a_kpi_that_is_left_out_when_the_clock_goes_back_keeps_no_row_ahead_of_the_data(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failed_before: bool
) -> None:
    def fail(*_: object) -> None:
        raise UserError("no such luck")

    watched = Watched(shop, 8)
    watched.some_publishes(4)
    watched.set_clock(TEN)
    watched.some_publishes(4)
    kept = shop.ingest.core.memory.kept["active_users_per_window"]
    if failed_before:
        monkeypatch.setattr(kept, "answer", fail)
        shop.click()
        shop.pass_time(MINUTE)
        shop.publish()
    watched.set_clock(-TEN)
    monkeypatch.setattr(kept, "answer", fail)
    shop.click()
    shop.publish()
    as_of = shop.ingest.core.as_of
    assert as_of is not None
    assert shop.rows("active_users_per_window")
    assert max(row["window_end"] for row in shop.rows("active_users_per_window")) <= as_of


@pytest.mark.parametrize("step", [TEN, -TEN, -HOUR], ids=["10 min ahead", "10 min back", "an hour back"])
def test_the_next_publish_and_heartbeat_come_as_soon_as_ever_whatever_the_clock_is_set_to(
    tmp_path: Path, monotonic: Monotonic, step: timedelta
) -> None:
    shop = Shop(tmp_path)
    ingest = shop.ingest

    def wait(seconds: float) -> None:
        monotonic.now += seconds
        shop.pass_time(timedelta(seconds=seconds))

    def orders() -> int:
        return len(shop.rows("orders_processed"))

    shop.order()
    ingest.step()
    wait(0.5)
    shop.now += step
    shop.order()
    ingest.step()
    assert orders() == 1  # few events: 0.75 s from one begin to the next
    wait(0.3)
    ingest.step()
    assert orders() == 2
    sequence = ingest.catalog.sequence
    wait(14.8)
    ingest.step()
    assert ingest.catalog.sequence == sequence
    wait(0.3)
    ingest.step()
    assert ingest.catalog.sequence == sequence + 1
    shop.close()
