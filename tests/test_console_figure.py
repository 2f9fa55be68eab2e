"""The incident's page: how its figure goes, beside its limit and what is usual, and what else is open there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bokeh.models import CrosshairTool
from bokeh.plotting import figure

from console.on_call.figure import figures_of
from console.parts import iso_ms
from console.session import PageSession
from console.url import parse
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for
from tests.test_console_session import a_console, a_document
from tests.test_notifier import NOON

MINUTE = timedelta(minutes=1)
BEGAN = NOON - 10 * MINUTE
MANY, ODD, ELSEWHERE = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


@pytest.fixture
def dremio() -> FakeDremio:
    """Two errors a minute for an hour, then ten minutes of 82: many_errors fired, and two more."""
    opened = FakeDremio()
    for minute in range(-70, 0):
        for _ in range(82 if minute >= -10 else 2):
            opened.error(NOON + minute * MINUTE)
    fired: dict[str, Any] = {"severity": "ERROR", "received_at": BEGAN, "ingested_at": BEGAN}
    opened.alert(BEGAN, MANY, rule="many_errors", metric_value=82.0, threshold=60.0, **fired)
    opened.alert(BEGAN, ODD, rule="unusual_errors", **fired)
    opened.alert(BEGAN, ELSEWHERE, rule="many_errors", service="cart", **fired)
    opened.publish(NOON + timedelta(seconds=11))
    return opened


class Page:
    def __init__(self, dremio: FakeDremio, query: str) -> None:
        doc, self._context = a_document()
        self.session = PageSession(doc, a_console(dremio, now=NOON + timedelta(seconds=11)), query)
        self.session.build()

    def until(self, look: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        def found() -> object:
            parts = self.session._message(full=True)["parts"]
            return "list.incident_rows" in parts and look(parts)

        wait_for(found)
        return dict(self.session._message(full=True)["parts"])


def test_an_incidents_page_says_how_its_figure_stands_and_draws_it(dremio: FakeDremio) -> None:
    page = Page(dremio, f"tab=alerts&incident={MANY}")
    parts = page.until(lambda parts: parts["figure"]["drawn"] and parts["trade"]["drawn"])
    assert parts["figure"]["facts"] == [
        ["82 errors a minute, limit 60, usually 2", None],
        # The rule judges a minute once it is closed, and fires at the second.
        ["800 more than usual since", iso_ms(BEGAN - 2 * MINUTE)],
    ]
    assert [row["key"] for row in parts["list.beside"]["rows"]] == [ODD]
    alerts = page.session.drills["alerts"]
    page.until(lambda parts: parts["conversion"]["drawn"])
    alerts.draw()
    assert list(alerts.charts) == ["incident_figure", "incident_trade", "incident_conversion"]
    # Another incident is another figure; none is drawn for it until it is known.
    page.session.show(f"tab=alerts&incident={ELSEWHERE}")
    parts = page.until(lambda parts: parts["figure"]["facts"] and not parts["list.beside"]["rows"])
    assert parts["figure"]["facts"][0] == ["0 errors a minute, usually 0", None]


def test_figure_orders_and_conversion_are_on_one_time_axis_on_which_it_is_shaded_while_it_fires(
    dremio: FakeDremio,
) -> None:
    for minute in range(-70, 0):
        for user in ("ada", "bob", "eve", "joe"):
            dremio.click(NOON + minute * MINUTE, user)
        for user in ("ada",) if minute >= -10 else ("ada", "bob", "eve"):
            dremio.order(NOON + minute * MINUTE, user_id=user)
    dremio.click(NOON - 90 * MINUTE)
    dremio.publish(NOON + timedelta(seconds=11))
    page = Page(dremio, f"tab=alerts&incident={MANY}")
    page.until(lambda parts: parts["conversion"]["drawn"] and parts["trade"]["drawn"] and parts["figure"]["drawn"])
    alerts: Any = page.session.drills["alerts"]
    alerts.draw()
    places = ("incident_figure", "incident_trade", "incident_conversion")
    drawn = {place: alerts.charts[place]._data for place in places}
    # The rule judges a minute once it is closed: its figure began before the first alert, and an hour before is shown.
    axis = (BEGAN - 62 * MINUTE, NOON)
    assert [data.axis for data in drawn.values()] == [axis] * 3
    assert [data.since for data in drawn.values()] == [BEGAN - 2 * MINUTE, BEGAN, BEGAN - 2 * MINUTE]
    assert {data.until for data in drawn.values()} == {NOON}
    conversion = drawn["incident_conversion"]
    assert (conversion.first, conversion.unit) == (axis[0], "%")
    assert list(conversion.values) == [None] * 2 + [75.0] * 60 + [25.0] * 10
    # One range of the browser's, and one line where any of them is pointed at.
    roots = [alerts.places[place].get_root().references() for place in places]
    figures = [next(model for model in models if isinstance(model, figure)) for models in roots]
    lines = [next(model.overlay for model in models if isinstance(model, CrosshairTool)) for models in roots]
    assert {id(one) for one in lines} == {id(alerts._axis.line)}
    assert {id(one.x_range) for one in figures} == {id(alerts._axis.range)}
    shown = (alerts._axis.range.start, alerts._axis.range.end)
    assert shown == tuple(moment.replace(tzinfo=None) for moment in axis)


def test_conversion_fails_alone(dremio: FakeDremio) -> None:
    dremio.broken = {"conversion_minutes"}
    parts = Page(dremio, f"tab=alerts&incident={MANY}").until(
        lambda parts: parts["conversion"]["error"] and parts["trade"]["drawn"]
    )
    assert "Column 'x' not found" in parts["conversion"]["error"]
    assert (parts["conversion"]["drawn"], parts["drill.alerts"]["error"]) == (False, None)


def test_whatever_an_incident_is_of_its_page_says_what_it_costs_in_orders(dremio: FakeDremio) -> None:
    for minute in range(-70, 10):
        for _ in range(1 if minute >= 0 else 4):
            dremio.order(BEGAN + minute * MINUTE)
    dremio.publish(NOON + timedelta(seconds=10))
    page = Page(dremio, f"tab=alerts&incident={MANY}")
    parts = page.until(lambda parts: parts["trade"]["drawn"])
    (rate, _), (short, since) = parts["trade"]["facts"]
    assert rate == "1 order a minute, usually 4"
    assert short == "27 fewer than usual since"
    assert since == iso_ms(BEGAN)


def test_what_an_incident_rests_on_is_grouped_by_what_it_says_with_the_way_to_all_of_it(dremio: FakeDremio) -> None:
    for number in range(3):
        dremio.error(NOON - MINUTE, error_message=f"Charge {number} timed out")
    dremio.error(NOON - MINUTE, "FATAL", error_message="no connection")
    dremio.publish(NOON + timedelta(seconds=12))
    parts = Page(dremio, f"tab=alerts&incident={MANY}").until(
        lambda parts: parts.get("list.behind_kinds", {}).get("rows")
    )
    often, seldom = parts["list.behind_kinds"]["rows"]
    assert (often["words"], often["example"]) == ("card declined", "card declined")
    assert (seldom["words"], seldom["count"]) == ("Charge … timed out", "3")
    there, notices = parse(seldom["href"].partition("?")[2])
    assert (there.tab, there.chosen("kind"), notices) == ("errors", ("Charge … timed out",), [])
    assert (there.chosen("service"), there.chosen("severity")) == (("payments",), ("ERROR",))
    assert there.span is not None
    assert there.span[0] < BEGAN < there.span[1]


def test_what_is_usual_fails_alone(dremio: FakeDremio) -> None:
    dremio.broken = {"usual"}
    page = Page(dremio, f"tab=alerts&incident={MANY}")
    parts = page.until(lambda parts: parts["figure"]["error"] and parts["list.behind_alerts"]["rows"])
    assert "Column 'x' not found" in parts["figure"]["error"]
    assert (parts["figure"]["facts"], parts["figure"]["drawn"]) == ([], False)
    assert parts["drill.alerts"]["error"] is None


def test_rules_that_cannot_be_read_leave_the_console_running(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "alerts.yaml").write_text("rules: [{name: 1")
    assert figures_of(tmp_path / "alerts.yaml") == {}
    assert "do not say what is usual" in caplog.text
    assert figures_of(tmp_path / "nothing.yaml") == {}
