"""The simulated weeks: drawn as the shoppers behave, scored as a person would, and a short one judged."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

import bench.rules
from bench.rules import APART, RATE, Fired, MinuteMeans, Trouble, draw_week, judge, plan, score
from lakehouse import ROOT
from lakehouse.rules import load_rules
from producers import shop
from producers.shoppers import Shop, busyness


def test_an_alert_is_right_within_five_minutes_of_what_it_is_about() -> None:
    planted = [
        Trouble("errors", "errors_topic", "search", 600, 1_200),
        Trouble("silence", "orders_topic", None, 9_000, 9_600),
        Trouble("fewer orders", "orders_topic", None, 20_000, 20_600),
    ]
    fired = [
        Fired("unusual_errors", "errors_topic", "search", 900),
        Fired("unusual_errors", "errors_topic", "mailer", 900),
        Fired("few_orders", "orders_topic", None, 9_180),
        Fired("no_orders", "orders_topic", None, 9_240),
        Fired("few_orders", "orders_topic", None, 20_301),
    ]
    found = score(planted, fired)
    assert found.found == {"errors": 1, "silence": 1}
    assert found.right == {"unusual_errors": 1, "few_orders": 1, "no_orders": 1}
    assert found.false == 2, "another service, and a second too late"


def test_a_planned_week_has_seven_incidents_of_each_kind_at_any_hour() -> None:
    weeks = [plan(seed) for seed in range(20)]
    assert weeks[0] == plan(0) != weeks[1]
    for incidents in weeks:
        assert set(Counter(incident.kind for incident in incidents).values()) == {7}
        assert all(300 <= incident.end - incident.start <= 1_800 for incident in incidents)
        assert all(b.start >= a.end + APART for a, b in pairwise(incidents))
    assert {incident.start // 3_600 % 24 for incidents in weeks for incident in incidents} == set(range(24))


def test_a_drawn_week_has_the_counts_of_the_shoppers_themselves() -> None:
    """Six hours of real messages, minute by minute, beside a drawn week, both without the day curve."""
    minutes, rate = 6 * 60, 5.0
    real: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(minutes))
    buyers: defaultdict[int, set[bytes]] = defaultdict(set)
    begin = 86_400_000
    for batch in Shop(rate=rate, flat=True, outages=False).messages(begin, begin + minutes * 60_000):
        for time_ms, _, topic, key, body in batch:
            minute = (time_ms - begin) // 60_000
            real[topic][minute] += 1
            if topic == "orders_topic":
                buyers[minute].add(key)
            elif b'"/checkout"' in body:
                real["checkout"][minute] += 1
            elif key == b"payments":
                real["payments"][minute] += 1
    real["buyers"] = np.array([float(len(buyers[minute])) for minute in range(minutes)])
    week = draw_week(1, rate, [], flat=True)
    drawn = {topic: week.total(topic) for topic in ("orders_topic", "clicks_topic", "errors_topic")}
    drawn |= {"checkout": week.clicks["checkout"], "payments": week.messages[:, 0].sum(axis=1), "buyers": week.buyers}
    for name, counts in drawn.items():
        error = real[name].std() / math.sqrt(minutes)
        assert abs(real[name].mean() - counts.mean()) < 4 * error, name
        if name in ("orders_topic", "buyers", "payments"):
            assert real[name].std() == pytest.approx(float(counts.std()), rel=0.2), f"{name} jumps about as much"


def test_the_quietest_hour_of_the_judged_shop_is_as_promised() -> None:
    rates = MinuteMeans.of(RATE)
    night = min(np.mean([busyness((60 * hour + m) * 60_000) for m in range(60)]) for hour in range(24))
    orders = rates.buyers * sum(size * chance for size, chance in enumerate(shop.BASKET, start=1))
    assert orders * night >= 10
    assert rates.log_lines * min(shop.SERVICE_SHARE) * night >= 2


def test_the_shipped_rules_find_a_shop_without_orders_and_leave_a_quiet_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hours, as `python -m bench rules` judges whole weeks."""
    monkeypatch.setattr(bench.rules, "MINUTES", 120)
    shipped = load_rules(ROOT / "config" / "alerts.yaml")
    assert judge(draw_week(3, RATE, []), shipped) == []
    begin = 80 * 60 + 17
    incident = Trouble("no orders", "orders_topic", None, begin, begin + 900)
    fired = judge(draw_week(3, RATE, [incident]), shipped)
    assert {alert.rule for alert in fired} == {"few_orders", "no_orders"}
    assert score([incident], fired).false == 0
