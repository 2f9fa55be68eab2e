"""What is usual of an alert's figure, against plain Python over the same events: by the question, on a real gateway."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.figures.usual import Comparison, UsualQuestion
from lakehouse.figures.words import in_all_text, standing_text
from lakehouse.kpis import OTHER
from lakehouse.rules import Rule, load_rules
from lakehouse.rules.figure import AlertFigure
from lakehouse.settings.dremio import DremioSettings
from tests.conftest import Shop
from tests.test_dremio_bootstrap import SECRETS, a_gateway

RULES = {rule.name: rule for rule in load_rules(ROOT / "config" / "alerts.yaml")}
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ERRORS = AlertFigure(
    table="errors_per_minute", column="error_count", by=("service_name",), unit="errors", fewer=False, limited=True
)
ORDERS = AlertFigure(table="orders_revenue_per_minute", column="orders_count", unit="orders", fewer=True)


def reckoned(
    counts: Mapping[datetime, float], occurs: Collection[datetime], began: datetime, end: datetime, *, fewer: bool
) -> tuple[float, float | None]:
    """By plain Python: the sum of the minutes [began, end), and what is usual of one.

    counts: the figure by minute; occurs: the minutes in which the table has any row.
    """

    def history(start: datetime, stop: datetime) -> list[float]:
        minutes = [start + n * MINUTE for n in range((stop - start) // MINUTE)]
        if not any(minute in occurs for minute in minutes):
            return []
        runs = [(there, list(run)) for there, run in groupby(minutes, lambda minute: minute in occurs)]
        return [counts.get(m, 0.0) for there, run in runs if there or len(run) < 30 for m in run if m < began]

    around = 10 * MINUTE
    hour = history(began - HOUR, began)
    last = max(end, began + MINUTE)
    days = [v for d in range(1, 8) for v in history(began - around - d * DAY, last + around - d * DAY)]
    means = [fmean(values) for values in (hour, days) if len(values) >= 10]
    total = sum(counts.get(began + n * MINUTE, 0.0) for n in range((end - began) // MINUTE))
    return total, (min(means) if fewer else max(means)) if means else None


# --- on a gateway


@dataclass
class Fact:
    at: datetime
    service: str = "payments"
    severity: str = "ERROR"
    user: str = ""


class Past:
    """A shop with a past, and a gateway over it. Services log and people order at other rates each day."""

    def __init__(self, shop: Shop, dremio: Dremio) -> None:
        self.shop = shop
        self.dremio = dremio
        self.errors: list[Fact] = []
        self.orders: list[Fact] = []

    def fill(self, start: datetime, minutes: int, *, errors: float = 0, orders: float = 0, seed: int = 1) -> None:
        """So many a minute, more or less, and in each fifth minute of the hour nothing at all."""
        draw = random.Random(seed)
        for minute in range(minutes):
            at = start + minute * MINUTE
            if at.minute % 5 == 4:
                continue
            for _ in range(round(draw.uniform(0, 2 * errors))):
                service, severity = draw.choice(["payments", "search"]), draw.choice(["WARN", "ERROR", "FATAL"])
                self.errors.append(Fact(at + draw.random() * MINUTE, service, severity))
            for _ in range(round(draw.uniform(0, 2 * orders))):
                self.orders.append(Fact(at + draw.random() * MINUTE, user=f"u{draw.randrange(5)}"))

    def publish(self, errors: Sequence[Fact], orders: Sequence[Fact], now: datetime) -> None:
        self.shop.now = now
        for number, fact in enumerate(errors):
            self._send(
                "errors_topic",
                error_id=f"{now} {number}",
                service_name=fact.service,
                error_message="declined",
                severity=fact.severity,
                error_time=fact.at.isoformat(),
            )
        for number, fact in enumerate(orders):
            self._send(
                "orders_topic",
                order_id=f"{now} {number}",
                user_id=fact.user,
                product_id="tea",
                quantity=1,
                price=2.5,
                status="CREATED",
                order_time=fact.at.isoformat(),
            )
        self.shop.sink.flush()
        self.shop.publish()
        self.shop.ingest.publish(heartbeat=True)

    def publish_all(self, now: datetime) -> None:
        self.publish(self.errors, self.orders, now)

    def _send(self, topic: str, **fields: Any) -> None:
        self.shop.sink.send(topic, None, json.dumps(fields).encode())

    def compared(self, rule: Rule, service: str | None, starts_at: datetime, ended_at: datetime | None) -> Comparison:
        assert rule.about is not None
        return self.ask(rule.about, service, starts_at, ended_at)

    def ask(
        self, figure: AlertFigure, service: str | None, starts_at: datetime, ended_at: datetime | None
    ) -> Comparison:
        question = UsualQuestion.of(figure, service, starts_at=starts_at, ended_at=ended_at, now=self.shop.now)
        assert question is not None
        return question.answer(self.dremio.ask("usual", **question.binds))


@pytest.fixture
def past(shop: Shop) -> Iterator[Past]:
    with a_gateway(shop.data_dir) as port:
        settings = DremioSettings.load(uri=f"grpc://localhost:{port}", password=SECRETS["TILLWATCH_DREMIO_PASSWORD"])
        with Dremio(settings) as dremio:
            yield Past(shop, dremio)


def minute_of(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def by_minute(facts: Sequence[Fact], *, service: str | None = None, severities: Collection[str] = ()) -> Counter[Any]:
    return Counter(
        minute_of(fact.at)
        for fact in facts
        if service in (None, fact.service) and (not severities or fact.severity in severities)
    )


def a_week(past: Past) -> None:
    """Six of the seven days before have rows around noon: one only for a quarter of an hour, one with a pause."""
    for day in (1, 2, 4, 5):
        past.fill(NOON - day * DAY - HOUR, 150, errors=4 + day, orders=6 + day, seed=day)
    past.fill(NOON - 6 * DAY - HOUR, 75, errors=9, orders=3, seed=6)
    past.fill(NOON - 7 * DAY - HOUR, 70, errors=9, orders=3, seed=7)
    past.fill(NOON - 7 * DAY + 50 * MINUTE, 40, errors=9, orders=3, seed=8)


def test_what_is_over_the_usual_is_counted_from_the_first_minute_outside(past: Past) -> None:
    a_week(past)
    past.fill(NOON - 90 * MINUTE, 90, errors=5)
    past.fill(NOON, 41, errors=40)
    now = NOON + 40 * MINUTE + timedelta(seconds=30)
    past.publish_all(now)
    # for: 2 min, so it fires at the end of the second minute outside.
    found = past.compared(RULES["many_errors"], "payments", NOON + 2 * MINUTE, None)
    counts = by_minute(past.errors, service="payments", severities=("ERROR", "FATAL"))
    total, usual = reckoned(counts, by_minute(past.errors), NOON, NOON + 40 * MINUTE, fewer=False)
    assert found.since == NOON
    assert found.until == NOON + 40 * MINUTE
    assert usual is not None
    assert found.usual == pytest.approx(usual)
    assert found.off == pytest.approx(total - 40 * usual)
    assert list(found.bars) == [counts[NOON + n * MINUTE] for n in range(10, 40)]
    assert found.value == counts[NOON + 39 * MINUTE]
    assert found.first == NOON - HOUR
    assert list(found.values) == [counts[NOON + n * MINUTE] for n in range(-60, 40)]


def test_what_is_short_is_counted_up_to_the_end(past: Past) -> None:
    a_week(past)
    past.fill(NOON - 80 * MINUTE, 80, orders=8)
    past.fill(NOON, 30, orders=1)
    past.fill(NOON + 30 * MINUTE, 20, orders=8)
    past.publish_all(NOON + 55 * MINUTE)
    rule = RULES["few_orders"]
    # The mean of 4 minutes; resolved when it was inside for 10.
    found = past.compared(rule, None, NOON + 4 * MINUTE, NOON + 40 * MINUTE)
    buyers = {
        minute: float(len({fact.user for fact in group}))
        for minute, group in groupby(sorted(past.orders, key=lambda fact: fact.at), lambda fact: minute_of(fact.at))
    }
    total, usual = reckoned(buyers, buyers, NOON, NOON + 30 * MINUTE, fewer=True)
    assert (found.since, found.until, found.whole) == (NOON, NOON + 30 * MINUTE, True)
    assert usual is not None
    assert found.usual == pytest.approx(usual)
    assert found.off == pytest.approx(total - 30 * usual)
    assert rule.about is not None
    assert in_all_text(rule.about, found, "$") == f"{round(30 * usual - total)} buyers fewer than usual in all"


def test_silence_is_missed_events_of_the_topic(past: Past) -> None:
    past.fill(NOON - 2 * HOUR, 120, orders=24)
    past.fill(NOON - 2 * HOUR, 140, errors=2)
    past.publish_all(NOON + 20 * MINUTE + timedelta(seconds=11))
    found = past.compared(RULES["no_orders"], None, NOON + 4 * MINUTE, None)
    orders = by_minute(past.orders)
    total, usual = reckoned(orders, orders, NOON, NOON + 20 * MINUTE, fewer=True)
    assert usual is not None
    assert (total, found.value) == (0, 0.0)
    assert found.usual == pytest.approx(usual)
    assert RULES["no_orders"].about is not None
    said = standing_text(RULES["no_orders"].about, found, 4.0, BERLIN, "$")
    # Not the limit, which is in minutes; 12:00 UTC is 14:00 on the day on which summer time began.
    assert said == f"0 orders a minute, usually {usual:.0f}; {round(20 * usual)} fewer than usual since 14:00"


def test_rows_that_come_late_mend_what_was_said(past: Past) -> None:
    past.fill(NOON - 2 * HOUR, 125, errors=6)
    past.publish_all(NOON + 10 * MINUTE)
    before = past.compared(RULES["unusual_errors"], "search", NOON, None)
    late = [Fact(NOON + n * MINUTE, "search", "INFO") for n in (-30, 2, 2)]
    past.publish(late, [], NOON + 10 * MINUTE + timedelta(seconds=1))
    after = past.compared(RULES["unusual_errors"], "search", NOON, None)
    counts = by_minute([*past.errors, *late], service="search")
    began = NOON - 3 * MINUTE  # the mean of 3 minutes
    total, usual = reckoned(counts, by_minute([*past.errors, *late]), began, NOON + 9 * MINUTE, fewer=False)
    assert usual is not None
    assert after.off == pytest.approx(total - 12 * usual)
    assert after.usual == pytest.approx(usual)
    assert after.off != before.off


def test_an_incident_of_before_there_was_a_history_has_no_usual(past: Past) -> None:
    past.fill(NOON, 30, errors=9)
    past.errors.append(Fact(NOON + timedelta(seconds=1), "payments", "FATAL"))
    past.publish_all(NOON + 31 * MINUTE)
    found = past.compared(RULES["fatal_error"], "payments", NOON + timedelta(seconds=1), None)
    counts = by_minute(past.errors, service="payments", severities=("FATAL",))
    assert (found.usual, found.off, found.value) == (None, None, counts[NOON + 29 * MINUTE])
    assert RULES["fatal_error"].about is not None
    said = standing_text(RULES["fatal_error"].about, found, None, UTC, "$")
    assert said.endswith("fatal errors a minute, usual: n/a")
    earlier = past.compared(RULES["fatal_error"], "payments", NOON + 9 * MINUTE, None)
    assert earlier.usual is None, "nine minutes are no history"
    assert past.compared(RULES["fatal_error"], "payments", NOON + 10 * MINUTE, None).usual is not None


def test_of_an_incident_that_begins_this_minute_what_is_usual_is_known(past: Past) -> None:
    past.fill(NOON - 20 * MINUTE, 20, errors=9)
    past.errors.append(Fact(NOON + timedelta(seconds=3), "payments", "FATAL"))
    past.publish_all(NOON + timedelta(seconds=4))
    found = past.compared(RULES["fatal_error"], "payments", NOON + timedelta(seconds=3), None)
    counts = by_minute(past.errors, service="payments", severities=("FATAL",))
    minutes = [counts[NOON + n * MINUTE] for n in range(-20, -1)]
    assert (found.value, found.off) == (None, None)
    # 11:59 is not closed yet: 10 s after its end.
    assert found.usual == pytest.approx(fmean(minutes))
    assert list(found.bars) == [None] * 11 + minutes
    assert RULES["fatal_error"].about is not None
    said = standing_text(RULES["fatal_error"].about, found, None, UTC, "$")
    assert said == f"usually {fmean(minutes):.1f} fatal errors a minute"


def test_a_minute_that_is_not_read_to_its_end_is_not_counted(past: Past) -> None:
    past.fill(NOON - HOUR, 70, orders=5)
    past.publish_all(NOON + 3 * MINUTE + timedelta(seconds=9))
    # The reader's clock says more time has passed: ingest is down.
    past.shop.now = NOON + 10 * MINUTE
    found = past.ask(ORDERS, None, NOON, None)
    assert found.until == NOON + 2 * MINUTE
    assert found.value == by_minute(past.orders)[NOON + MINUTE]


def test_the_row_that_stands_for_many_makes_a_minute_unknown(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", kpis={"most_groups": 2})
    shop.now = NOON + 5 * MINUTE
    for minute, services in ((0, "ab"), (1, "bbbcca"), (2, "ab")):
        for service in services:
            shop.error(NOON + minute * MINUTE, service_name=service)
    shop.publish()
    assert OTHER in {row["service_name"] for row in shop.rows("errors_per_minute")}
    with a_gateway(shop.data_dir) as port:
        settings = DremioSettings.load(uri=f"grpc://localhost:{port}", password=SECRETS["TILLWATCH_DREMIO_PASSWORD"])
        with Dremio(settings) as dremio:
            past = Past(shop, dremio)
            assert past.ask(ERRORS, "a", NOON, None).values[-4:] == (1, None, 1, 0)
            assert past.ask(ERRORS, "b", NOON, None).values[-4:] == (1, 3, 1, 0)
            every = replace(ERRORS, by=())
            assert past.ask(every, None, NOON, None).values[-4:] == (2, 6, 2, 0)
            part = replace(every, where={"service_name": ["a", "b"]})
            assert past.ask(part, None, NOON, None).values[-4:] == (2, None, 2, 0)
    shop.close()


@pytest.mark.parametrize(("aggregate", "values"), [("max", (5, 0, 1)), ("min", (1, 0, 1)), ("sum", (6, 0, 1))])
def test_a_figure_is_as_large_as_its_rule_takes_it(
    past: Past, aggregate: Literal["sum", "max", "min"], values: tuple[float, ...]
) -> None:
    past.errors = [Fact(NOON, severity="WARN"), *[Fact(NOON)] * 5, Fact(NOON + 2 * MINUTE)]
    past.publish_all(NOON + 4 * MINUTE)
    figure = replace(ERRORS, aggregate=aggregate)
    found = past.ask(figure, "payments", NOON, None)
    assert found.values[-3:] == values
    assert figure.adds_up is (aggregate == "sum")


def test_users_of_five_minutes_are_of_the_minute_at_whose_end_they_are_counted(past: Past) -> None:
    past.shop.now = NOON + 4 * MINUTE
    for user in ("ada", "grace"):
        past.shop.click(NOON + timedelta(seconds=61), user_id=user)
    past.shop.publish()
    past.shop.ingest.publish(heartbeat=True)
    figure = AlertFigure(table="active_users_per_window", column="active_users_approx", unit="active users", fewer=True)
    found = past.ask(figure, None, NOON, None)
    assert found.values[-3:] == (None, 2, 2), "before the topic's first event nobody knows"
    assert not figure.adds_up
