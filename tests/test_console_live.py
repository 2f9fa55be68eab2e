"""The live charts send only what is new."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
import pytest
from bokeh.core.types import ID
from bokeh.document import Document
from bokeh.document.json import PatchJson
from bokeh.models import DataRange1d, IndexFilter
from bokeh.models.annotations import Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.server.session import ServerSession

from console import look
from console.feed.incidents import ListedIncident
from console.feed.minutes import Series
from console.feed.snapshot import FeedAnswer, FeedSnapshot
from console.live_chart import THEN, Events, LiveChart, base_rows, last_hour, move, series_from
from console.live_events import incident_rows, limits_of, mark_rows
from console.on_call.figure import figures_of
from console.on_call.watch import Duty
from console.straight import Patch
from console.tabs import CHARTS
from lakehouse import ROOT
from lakehouse.oncall import OnCallMark
from tests.test_console_session import a_document

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def the_hour(last: datetime, open_orders: float = 3.0, **changes: float | None) -> tuple[tuple[datetime, ...], Series]:
    """An hour of steady trade that ends with the minute `last`; `changes` sets minutes back, as back_5=7.0."""
    starts = tuple(last - timedelta(minutes=back) for back in range(59, -1, -1))
    values: list[float | None] = [float(start.minute) for start in starts]
    values[-1] = open_orders
    for name, value in changes.items():
        values[-1 - int(name.removeprefix("back_"))] = value
    return starts, tuple(values)


def show(chart: LiveChart, hour: tuple[tuple[datetime, ...], Series]) -> None:
    chart.update(hour[0], dict.fromkeys(chart.values, hour[1]))


@pytest.fixture(params=CHARTS.values(), ids=lambda kind: kind.__name__)
def chart(request: pytest.FixtureRequest) -> LiveChart:
    kind: type[LiveChart] = request.param
    return kind(look.tokens("dark"), last_hour())


def events_of(chart: LiveChart, hour: tuple[tuple[datetime, ...], Series]) -> list[dict[str, Any]]:
    """What a browser is told, as it would read it; applied to a second document it gives the first one's figures."""
    doc, browsers = Document(), Document()
    doc.add_root(chart.root)
    browsers.replace_with_json(doc.to_json())
    patch = Patch()
    with patch.seldom(doc):
        chart.update(hour[0], dict.fromkeys(chart.values, hour[1]), patch)
    events: list[dict[str, Any]] = [json.loads(event) for event in patch._events]
    if events:
        browsers.apply_json_patch(PatchJson(events=events))  # type: ignore[typeddict-item]  # read as a browser does
    assert _figures(browsers.get_model_by_id(chart.source.id)) == _figures(chart.source)
    return events


def _figures(source: Any) -> dict[str, list[str]]:
    return {name: [f"{value:g}" for value in values] for name, values in source.data.items()}


def test_a_full_hour_is_shown_with_the_open_minute_apart(chart: LiveChart) -> None:
    show(chart, the_hour(NOON))
    assert len(chart.source.data["minute"]) == 60
    assert list(chart.source.data["alpha"]) == [1.0] * 59 + [0.35]
    glyphs = [renderer for renderer in chart.root.renderers if isinstance(renderer, GlyphRenderer)]
    hatched = [renderer for renderer in glyphs if getattr(renderer.glyph, "hatch_pattern", None)]
    views = [renderer.view.filter for renderer in hatched]
    assert all(isinstance(view, IndexFilter) and view.indices == [59] for view in views)


def test_within_a_minute_only_its_own_cells_are_sent(chart: LiveChart) -> None:
    show(chart, the_hour(NOON))
    events = events_of(chart, the_hour(NOON, open_orders=4.0))
    assert [event["kind"] for event in events] == ["ColumnsPatched"]


def test_a_new_minute_is_streamed_and_a_late_order_patched(chart: LiveChart) -> None:
    show(chart, the_hour(NOON))
    events = events_of(chart, the_hour(NOON + timedelta(minutes=1), back_7=99.0))
    assert {event["kind"] for event in events} == {"ColumnsPatched", "ColumnsStreamed"}
    assert len(chart.source.data["minute"]) == 60
    value_columns = set(chart.values)
    assert all(chart.source.data[name][-8] == 99.0 for name in value_columns)


def test_nothing_new_sends_nothing(chart: LiveChart) -> None:
    show(chart, the_hour(NOON, back_3=None))
    assert events_of(chart, the_hour(NOON, back_3=None)) == []


def test_a_gap_is_no_number(chart: LiveChart) -> None:
    show(chart, the_hour(NOON, back_3=None))
    value_columns = set(chart.values)
    assert all(math.isnan(chart.source.data[name][-4]) for name in value_columns)


def test_the_axis_ends_with_the_open_minute() -> None:
    hour = last_hour()
    move(hour, the_hour(NOON)[0])
    assert hour.end == (NOON + timedelta(minutes=1)).timestamp() * 1000


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_can_be_read(theme: str) -> None:
    """Contrast of at least 4.5 on the page and on a card (WCAG 2.1)."""
    colours = look.tokens(theme)
    for text in ("text", "text-quiet", "state-bad", "state-watch", "state-ok", "accent"):
        for ground in ("page", "card", "card-high"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_minute_below_zero_is_within_the_scale_and_zero_stays_in_it() -> None:

    def begins() -> Any:
        assert isinstance(revenue.root.y_range, DataRange1d)
        return revenue.root.y_range.start

    revenue = CHARTS["revenue_per_minute"](look.tokens("dark"), last_hour())
    show(revenue, the_hour(NOON))
    assert begins() == 0
    show(revenue, the_hour(NOON, back_5=-70_000.0))
    assert begins() < -70_000
    assert revenue.source.data["revenue"][-6] == -70_000
    show(revenue, the_hour(NOON))
    assert begins() == 0


def test_a_chart_of_a_question_of_its_own_has_zeros_where_nothing_happened_and_gaps_where_nobody_knows() -> None:
    minutes = [NOON - timedelta(minutes=back) for back in (4, 2, 1)]
    table = pa.table(
        {"moment": pa.array(minutes, pa.timestamp("ms", "UTC")), "clicks": [7, None, 3], "more": [1, 1, 1]}
    )
    as_of = NOON + timedelta(seconds=30)
    snapshot = FeedSnapshot(
        answers={"phone_clicks": FeedAnswer(table, "aa", as_of)},
        first_events={"first_click_at": NOON - timedelta(minutes=5), "first_order_at": None},
    )
    series = series_from(snapshot, "phone_clicks", ["clicks"])
    assert series is not None
    assert list(series) == ["clicks"]
    assert series["clicks"][-7:] == (None, 0.0, 7.0, 0.0, None, 3.0, 0.0)
    assert series_from(snapshot, "another", ["clicks"]) is None


def test_what_is_compared_with_is_a_column_that_comes_and_goes(chart: LiveChart) -> None:
    starts, values = the_hour(NOON)
    show(chart, (starts, values))
    assert all(math.isnan(value) for value in chart.source.data[THEN])
    chart.update(starts, {**dict.fromkeys(chart.values, values), THEN: values})
    assert list(chart.source.data[THEN]) == list(values)
    show(chart, (starts, values))
    assert all(math.isnan(value) for value in chart.source.data[THEN])


def test_incidents_and_marks_of_the_hour_stand_behind_all_charts() -> None:
    def incident(state: Literal["open", "resolved"], began: int, ended: int | None, severity: str) -> ListedIncident:
        at = NOON - timedelta(minutes=began)
        until = None if ended is None else NOON - timedelta(minutes=ended)
        return ListedIncident(
            "id", "fatal_error", "payments", severity, "refused", state, 1, at, at, until, at, runbook_url=""
        )  # fmt: skip

    since, until = NOON - timedelta(minutes=59), NOON + timedelta(minutes=1)
    listed = (
        incident("open", 7, None, "FATAL"),
        incident("resolved", 90, 30, "ERROR"),
        incident("resolved", 90, 60, "ERROR"),
    )
    rows = incident_rows(listed, since, until)
    assert [(_minutes(start), _minutes(end)) for start, end in zip(rows["start"], rows["end"], strict=True)] == [
        (-7, 1),
        (-90, -30),
    ]
    assert rows["words"] == ["FATAL payments: refused", "ERROR payments: refused"]
    assert rows["color"][0] == look.tokens("dark")["severity-fatal"]
    marks = (OnCallMark(at=NOON, text="deploy 7", who="ada"), OnCallMark(at=since - timedelta(1), text="x", who="y"))
    duty = Duty(1, {}, None, marks)
    assert mark_rows(duty, since, until) == {"at": [int(NOON.timestamp() * 1000)], "words": ["deploy 7 (ada)"]}
    events = Events()
    for kind in CHARTS.values():
        events.behind(kind(look.tokens("dark"), last_hour()), look.tokens("dark"), {})
    events.show(rows, mark_rows(duty, since, until))
    assert list(events.incidents.data["words"]) == rows["words"]


def test_a_limit_of_a_rule_is_a_line_across_the_chart_that_shows_its_figure() -> None:
    figures = figures_of(ROOT / "config" / "alerts.yaml")
    found: dict[str, dict[str, object]] = {}
    for name, kind in CHARTS.items():
        chart = kind(look.tokens("dark"), last_hour())
        Events().behind(chart, look.tokens("dark"), limits_of(figures, *kind.shows))
        lines = [line for line in chart.root.center if isinstance(line, Span)]
        found[name] = {line.name: line.location for line in lines if line.name}
    assert found.pop("errors_per_minute") == {"Limit of many_errors: 60 errors a minute of one service": 60.0}
    # Unusual is no line, but what moves with the time of day.
    assert not any(found.values())


def _minutes(at: int) -> float:
    return (at / 1000 - NOON.timestamp()) / 60


def test_what_seldom_changes_goes_with_the_rest_in_one_message_to_who_holds_the_page() -> None:
    doc, context = a_document()
    chart = CHARTS["revenue_per_minute"](look.tokens("dark"), last_hour())
    doc.add_root(chart.root)
    show(chart, the_hour(NOON))
    session = ServerSession(ID("id"), doc)
    context._set_session(session)
    told: list[Any] = []

    class Connection:
        async def send_message(self, message: Any) -> None:
            told.append(json.loads(message.content_json)["events"])

    async def both() -> None:
        session._subscribed_connections.add(Connection())  # type: ignore[arg-type]
        for hour in (the_hour(NOON, open_orders=-9.0), the_hour(NOON, open_orders=-9.0)):
            patch = Patch()
            with patch.seldom(doc):
                chart.update(hour[0], dict.fromkeys(chart.values, hour[1]), patch)
            await patch.send(session)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, both()).result()
    [[patched, scaled]] = told
    assert (patched["kind"], scaled["kind"], scaled["attr"]) == ("ColumnsPatched", "ModelChanged", "start")


def test_what_a_browser_claims_to_have_changed_changes_nothing_for_others() -> None:
    one, other = (CHARTS["orders_per_minute"](look.tokens("dark"), last_hour()) for _ in range(2))
    hour = the_hour(NOON)
    series = {"orders": hour[1]}
    doc = Document()
    doc.add_root(one.root)
    for chart in (one, other):
        chart.update(hour[0], series)
    ref = {"id": one.source.id}
    for event in (
        {"kind": "ColumnsPatched", "model": ref, "attr": "data", "patches": {"minute": [[59, "x"]]}},
        {"kind": "ColumnsStreamed", "model": ref, "attr": "data", "rollover": None,
         "data": {name: [1] for name in one.source.data}},
    ):  # fmt: skip
        with contextlib.suppress(Exception):
            doc.apply_json_patch(PatchJson(events=[event]))  # type: ignore[list-item]  # as a browser may send it
    assert list(other.source.data["minute"]) == list(base_rows(hour[0])["minute"])
    other.update(hour[0], {"orders": the_hour(NOON, open_orders=9.0)[1]})
    assert other.source.data["orders"][-1] == 9.0
