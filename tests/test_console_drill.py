"""What the drill-down draws and links: any name, any range, any sign."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import holoviews as hv
import pytest

from console.drill.charts import Ranking, RankingChart, step_of
from console.look import bokeh_theme
from console.parts import money
from console.url import link, parse
from console.view import View

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
NAMES = [
    "R&D #1",
    "a=b&status=LOST",
    "50 %",
    "c++",
    'say "hi"',
    "it's",
    "zahlung/größe?x#y",
    "支払い",
    "a;b",
    "x\u202ey",
    " ",
]


def drawn(ranking: Ranking, told: Callable[[str], None] = lambda _name: None) -> tuple[RankingChart, Any]:
    chart = RankingChart(ranking, bokeh_theme("dark"), told)
    return chart, hv.renderer("bokeh").get_plot(chart.pane.object).state


@pytest.mark.parametrize("service", NAMES)
def test_a_link_that_names_a_service_is_read_as_that_service(service: str) -> None:
    span = (NOON, NOON + timedelta(minutes=3))
    view, notices = parse(link(View("errors", span=span, filters={"service": (service,)})))
    assert notices == []
    assert (view.tab, view.span, view.filters) == ("errors", span, {"service": (service,)})


def test_a_bar_below_zero_is_within_the_scale() -> None:
    _, figure = drawn(Ranking([("tea", 120.0, "#000", False), ("refund", -80.0, "#000", False)], "revenue"))
    assert figure.x_range.start < -80
    _, figure = drawn(Ranking([("tea", 120.0, "#000", False)], "revenue"))
    assert figure.x_range.start == 0


def test_long_names_leave_room_for_bars_and_each_is_clicked_as_itself() -> None:
    names = [f"{'x' * 6000}{number}" for number in range(3)] + ["line\nbreak", "turned\u202e"]
    clicked: list[str] = []
    chart, figure = drawn(Ranking([(name, 1.0, "#000", False) for name in names], "orders"), clicked.append)
    factors = list(figure.y_range.factors)
    assert len(set(factors)) == len(names)
    assert max(map(len, factors)) <= 24 + len("\\u202e")
    assert not any("\u202e" in factor or "\n" in factor for factor in factors)
    for factor in reversed(factors):
        chart._tapped(1.0, factor)
    assert clicked == names


@pytest.mark.parametrize(("years", "unit"), [(1, "DAY"), (16, "WEEK"), (300, "MONTH")])
def test_a_range_of_any_length_has_bars_that_a_browser_can_draw(years: int, unit: str) -> None:
    span = (datetime(1900, 1, 1, tzinfo=UTC), datetime(1900 + years, 1, 1, tzinfo=UTC))
    step, width = step_of(span)
    assert step == unit
    assert (span[1] - span[0]) / width < 4000


def test_money_below_zero_has_its_sign_before_the_currency() -> None:
    assert money(Decimal("-12.5000"), "$") == "−$12.50"
    assert money(Decimal("12.5"), "$") == "$12.50"
