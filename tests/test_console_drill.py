"""What the drill-down draws and links: any name, any range, any sign."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import holoviews as hv
import pytest
from bokeh.models import ColumnDataSource, CrosshairTool

from console import look
from console.drill.charts import Ranking, RankingChart, TimeBars, TimeChart, bar_start, step_of
from console.drill.heat import HeatCells, HeatChart
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.pointed import Pointed
from console.drill.tab import whole_bars
from console.look import bokeh_theme
from console.pages.customers import COLOURS
from console.pages.orders import ROWS as ORDER_ROWS
from console.pages.orders import moved
from console.pages.pipeline import PHASES, VERDICTS
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
        chart.tapped(1.0, factor)
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


@pytest.mark.parametrize(
    ("length", "begins"),
    [
        (timedelta(minutes=15), datetime(2026, 3, 2, 11, 45, tzinfo=UTC)),
        (timedelta(hours=24), datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
        (timedelta(days=7), datetime(2026, 2, 23, 12, 0, tzinfo=UTC)),
    ],
)
def test_a_range_that_ends_now_begins_with_a_whole_bar(length: timedelta, begins: datetime) -> None:
    assert whole_bars((NOON - length, NOON)) == (begins, NOON)


def test_a_bar_that_is_not_full_stays_pale_under_a_selection() -> None:
    minute = NOON.replace(second=0)
    counts = {(minute - timedelta(minutes=1), "a"): 3.0, (minute, "a"): 1000.0, (minute, "b"): 2.0}
    colours = {"a": "#112233", "b": "#445566"}
    bars = TimeBars(counts, colours, timedelta(minutes=1), (NOON - timedelta(hours=1), NOON), None, "orders")
    frame = bars.frame()
    assert list(frame["color"]) == ["#112233", "#11223373", "#44556673"]
    assert list(frame["n"]) == [3.0, 1000.0, 2.0]


def test_charts_over_time_of_a_tab_are_pointed_at_together() -> None:
    minute, theme = NOON.replace(second=0), bokeh_theme("dark")
    width, span = timedelta(minutes=1), (NOON - timedelta(hours=1), NOON)
    counts = {(minute, "a"): 2.0}
    bars = TimeBars(counts, {"a": "#112233"}, width, span, None, "s", "0.000")
    cells = HeatCells(counts, ["a"], width, span, "errors", "#000")
    shared = Pointed()
    charts: list[TimeChart | HeatChart] = [
        TimeChart(bars, theme, lambda _span: None),
        HeatChart(cells, theme, lambda _name, _span: None),
    ]
    tags, lines = [], []
    for chart in charts:
        chart.pointed = shared
        figure = hv.renderer("bokeh").get_plot(chart.pane.object).state
        tags.append(figure.tags)
        lines += [tool.overlay for tool in figure.tools if isinstance(tool, CrosshairTool)]
        # What is said of a time is made of these in the browser.
        [source] = [one for one in figure.select(ColumnDataSource) if "start" in one.data]
        assert {"closes", "n"} <= source.data.keys()
    assert lines == [shared.line, shared.line]
    assert tags == [["s", 3, 3], ["errors", 0, 0]]


def test_lines_of_a_heat_chart_are_named_and_each_is_clicked_as_itself() -> None:
    names = ["payments", "x" * 300, "cart"]
    counts = {(NOON.replace(second=0), "payments"): 9.0, (NOON.replace(second=0), "cart"): 1.0}
    minute, clicked = NOON.replace(second=0), []
    cells = HeatCells(counts, names, timedelta(minutes=1), (NOON - timedelta(hours=1), NOON), "errors", "#000")
    chart = HeatChart(cells, bokeh_theme("dark"), lambda name, span: clicked.append((name, span)))
    figure = hv.renderer("bokeh").get_plot(chart.pane.object).state
    assert list(figure.yaxis[0].major_label_overrides.values()) == ["payments", "x" * 23 + "…", "cart"]
    for place in (2.5, 1.5, 0.5, -0.5, 3.5):
        chart.tapped(NOON, place)
    chart.tapped(NOON - timedelta(minutes=9), 0.5)
    cell = (minute, minute + timedelta(minutes=1))
    assert clicked == [("payments", cell), (names[1], None), ("cart", cell), ("cart", None)]


def test_a_cell_with_the_worst_is_told_by_its_colour_and_in_words() -> None:
    minute = NOON.replace(second=0)
    made_of = {(minute, "cart"): {"ERROR": 8.0, "FATAL": 1.0}, (minute, "mail"): {"ERROR": 9.0}}
    counts = {at: sum(parts.values()) for at, parts in made_of.items()}
    parts = {"FATAL": "#d55e00", "ERROR": "#e69f00"}
    span = (NOON - timedelta(hours=1), NOON)
    frame = HeatCells(counts, ["cart", "mail"], timedelta(minutes=1), span, "errors", "#000", parts, made_of).frame()
    cells = frame[frame["n"] > 0]
    assert list(zip(cells["name"], cells["color"], cells["made_of"], strict=True)) == [
        ("cart", "#d55e00", "FATAL 1, ERROR 8"),
        ("mail", "#e69f00", "ERROR 9"),
    ]


def test_the_bar_that_is_still_filling_is_drawn_whole() -> None:
    span = whole_bars((NOON - timedelta(minutes=15), NOON))
    bars = TimeBars({(NOON.replace(second=0), "a"): 1.0}, {"a": "#112233"}, timedelta(minutes=1), span, None, "orders")
    chart = TimeChart(bars, bokeh_theme("dark"), lambda _span: None)
    figure = hv.renderer("bokeh").get_plot(chart.pane.object).state
    end = NOON.replace(second=0, tzinfo=None) + timedelta(minutes=1)
    assert (figure.x_range.start, figure.x_range.end) == (span[0].replace(tzinfo=None), end)


@pytest.mark.parametrize(
    ("since", "until", "begins", "ends"),
    [
        ("2026-11-28T09:05:30", "2026-11-28T12:05:30", "2026-11-28T09:00:00", "2026-11-28T12:10:00"),
        ("2026-11-28T09:05:30", "2026-11-28T09:25:00", "2026-11-28T09:05:00", "2026-11-28T09:25:00"),
        ("2026-11-28T09:00:00", "2026-11-28T12:00:00", "2026-11-28T09:00:00", "2026-11-28T12:00:00"),
        ("2023-11-29T12:00:00", "2026-11-28T00:00:00", "2023-11-27T00:00:00", "2026-11-28T00:00:00"),
    ],
)
def test_a_range_that_begins_within_a_bar_has_that_bar_whole_and_pale(
    since: str, until: str, begins: str, ends: str
) -> None:
    span = (datetime.fromisoformat(f"{since}Z"), datetime.fromisoformat(f"{until}Z"))
    _, width = step_of(span)
    first = bar_start(span[0], width)
    counts = {(first, "a"): 1.0, (first + width, "a"): 2.0}
    bars = TimeBars(counts, {"a": "#112233"}, width, span, None, "orders")
    cells = HeatCells(counts, ["a"], width, span, "errors", "#000")
    theme = bokeh_theme("dark")
    for chart in (TimeChart(bars, theme, lambda _span: None), HeatChart(cells, theme, lambda _name, _span: None)):
        axis = hv.renderer("bokeh").get_plot(chart.pane.object).state.x_range
        assert (axis.start, axis.end) == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))
    assert list(bars.frame()["color"]) == ["#112233" if since == begins else "#11223373", "#112233"]


def test_a_product_says_how_many_places_it_went_since_the_time_before() -> None:
    assert moved(["tea", "mug", "pot"], ["mug", "pot", "tea", "honey"]) == {
        "mug": "▲1",
        "pot": "▲1",
        "tea": "▼2",
        "honey": "new",
    }
    assert moved([], ["mug"]) == {}
    long = "a product whose name is long enough"
    ranking = Ranking([(long, 1.0, "", False), (f"{long}!", 1.0, "", False)], "", {long: "▲1", f"{long}!": "▲1"})
    words = ranking.labels()
    assert list(words.values()) == [long, f"{long}!"]
    assert all(len(one) <= 24 and one.endswith(" ▲1") for one in words)


def test_pages_are_as_many_as_rows_need_and_an_address_can_name() -> None:
    assert order_part(View("orders"), ORDER_ROWS, 200, 0)["order"] == {
        "field": "at",
        "up": False,
        "page": 1,
        "pages": 1,
    }
    assert order_part(View("orders", sort="total.asc"), ORDER_ROWS, 200, 201)["order"]["pages"] == 2
    assert order_part(View("orders"), ORDER_ROWS, 10, 10**6)["order"]["pages"] == 999
    asked = ordering(View("orders", sort="total.asc", page=3), ORDER_ROWS, 200)
    assert (asked["sorted"].template, asked["most"], asked["skip"]) == (
        "order_total ASC NULLS LAST, event_key",
        200,
        400,
    )
    # A field of another list, as another tab may have been ordered by.
    assert (
        ordering(View("orders", sort="message"), ORDER_ROWS, 200)["sorted"].template
        == "order_ts DESC NULLS LAST, event_key"
    )
    assert shown_words(View("orders", page=2), 0, 200, 150) == "none on this page"


@pytest.mark.parametrize("parts", [PHASES, VERDICTS, dict(zip("abcdef", (*COLOURS, "text-quiet"), strict=True))])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_two_parts_of_a_chart_have_one_colour(parts: dict[str, str], theme: Literal["dark", "light"]) -> None:
    colours = look.tokens(theme)
    assert len({colours[colour] for colour in parts.values()}) == len(parts)
