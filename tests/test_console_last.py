"""How many minutes the live charts show: 15 min, an hour or 3 h, each session as it chooses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bokeh.document.json import PatchJson
from bokeh.models import IndexFilter
from bokeh.models.renderers import GlyphRenderer

from console.drill.tab import DrillTab
from console.feed.compared import interest
from console.feed.hub import Hub
from console.feed.poller import Poller
from console.feed.snapshot import FeedSnapshot
from console.live_hour import empty_part, live_hours
from console.live_page import LivePage
from console.session import PageSession
from console.straight import Patch
from console.tabs import TABS, questions
from console.view import LASTS
from lakehouse.kpis import Counting
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for
from tests.test_console_session import a_console, a_document

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=30)


class Viewer:
    present = True

    def __init__(self, last: str, compare: str = "before") -> None:
        self.watches = interest("overview", compare, last)

    def wake(self) -> None: ...


@pytest.fixture
def dremio() -> Iterator[FakeDremio]:
    """Trade since long ago: an order and a click in each of the last 200 minutes, and twice as much yesterday."""
    fake = FakeDremio()
    fake.order(LONG_AGO, "1.00")
    fake.click(LONG_AGO)
    for back in range(200):
        at = NOON - timedelta(minutes=back)
        fake.order(at, f"{1 + back % 7}.00")
        fake.order(at - timedelta(days=1), f"{2 + back % 7}.00")
        fake.click(at, "ada")
    fake.publish(NOON)
    yield fake
    fake.close()


def a_poller(dremio: FakeDremio, hub: Hub) -> Poller:
    counting = Counting(("CREATED",))
    return Poller(dremio, hub, tabs=questions(), refresh_s=1, idle_refresh_s=15, counting=counting, now=lambda: NOON)


def polled(dremio: FakeDremio, *viewers: Viewer) -> tuple[Hub, Poller]:
    hub = Hub()
    for viewer in viewers:
        hub.join(viewer)
    poller = a_poller(dremio, hub)
    poller.poll()
    assert hub.snapshot.error is None
    return hub, poller


def by_sql(dremio: FakeDremio, minutes: int, back: timedelta = timedelta(0)) -> list[float]:
    """Revenue of so many minutes up to the open one."""
    last = (NOON - back).replace(second=0, tzinfo=None)
    rows = dremio.sql(
        "SELECT DATE_TRUNC('minute', order_ts) AS moment, SUM(order_total) AS n FROM orders_processed GROUP BY 1"
    ).to_pylist()
    found = {row["moment"].replace(tzinfo=None): float(row["n"]) for row in rows}
    return [found.get(last - timedelta(minutes=place), 0.0) for place in range(minutes - 1, -1, -1)]


@pytest.mark.parametrize("last", LASTS)
def test_each_length_shows_what_sql_says_of_its_minutes_also_as_they_were_yesterday(
    dremio: FakeDremio, last: str
) -> None:
    viewer = Viewer(last, "yesterday")
    snapshot = polled(dremio, viewer)[0].snapshot
    revenue = live_hours(snapshot, "yesterday", last)["revenue_per_minute"]
    assert list(revenue.series["revenue"]) == by_sql(dremio, LASTS[last])
    # Then is known up to the same moment: its open minute is no whole one either.
    assert list(revenue.series["then"])[:-1] == by_sql(dremio, LASTS[last], timedelta(days=1))[:-1]
    assert len(revenue.starts) == LASTS[last]
    assert revenue.starts[-1] == NOON.replace(second=0)


def test_who_looks_at_less_is_shown_what_is_asked_for_who_looks_at_more(dremio: FakeDremio) -> None:
    for watched in (["1h"], ["3h"], ["15m"] * 200, ["15m", "1h", "3h"] * 60):
        dremio.asked.clear()
        viewers = [Viewer(last) for last in watched]
        snapshot = polled(dremio, *viewers)[0].snapshot
        assert dremio.asked.count("minutes") == 1, watched
        for last in set(watched):
            orders = live_hours(snapshot, last=last)["revenue_per_minute"].series["revenue"]
            assert sum(value or 0 for value in orders) == sum(by_sql(dremio, LASTS[last])), last
        assert dremio.asked.count("conversion_minutes") == 1


def test_who_chooses_more_at_a_commit_is_asked_for_and_sees_gaps_until_then(dremio: FakeDremio) -> None:
    hour, more = Viewer("1h"), Viewer("3h")
    hub, poller = polled(dremio, hour)

    def shown(snapshot: FeedSnapshot, last: str) -> list[float | None]:
        return list(live_hours(snapshot, last=last)["revenue_per_minute"].series["revenue"])

    # What was not asked for is not zero: nobody knows it.
    assert shown(hub.snapshot, "3h")[:120] == [None] * 120
    hub.join(more)
    poller.poll()
    assert shown(hub.snapshot, "3h") == by_sql(dremio, 180)
    assert shown(hub.snapshot, "1h") == by_sql(dremio, 60)
    hub.leave(more)
    dremio.publish(NOON + timedelta(seconds=1))
    poller.poll()
    assert shown(hub.snapshot, "1h") == by_sql(dremio, 60)
    assert shown(hub.snapshot, "3h")[:120] == [None] * 120


def told(page: LivePage, snapshot: FeedSnapshot, last: str) -> list[dict[str, Any]]:
    """What a browser is told; applied to a document of its own it gives the figures of the page's."""
    doc, _context = a_document()
    other, _other = a_document()
    for chart in page.charts:
        if chart.root.document is None:
            doc.add_root(chart.root)
    doc = page.charts[0].root.document or doc
    other.replace_with_json(doc.to_json())
    patch = Patch()
    with patch.seldom(doc):
        page.draw(snapshot, "before", last, patch)
    events: list[dict[str, Any]] = [json.loads(event) for event in patch._events]
    if events:
        other.apply_json_patch(PatchJson(events=events))  # type: ignore[typeddict-item]  # read as a browser does
    for chart in page.charts:
        browsers: Any = other.get_model_by_id(chart.source.id)
        assert {name: [f"{value:g}" for value in values] for name, values in browsers.data.items()} == {
            name: [f"{value:g}" for value in values] for name, values in chart.source.data.items()
        }
    return events


def test_another_length_moves_axis_and_hatch_and_then_a_tick_sends_only_what_is_new(dremio: FakeDremio) -> None:
    viewers = [Viewer("3h")]
    hub, poller = polled(dremio, *viewers)
    page = LivePage({})
    for last, minutes in (("1h", 60), ("3h", 180), ("15m", 15), ("3h", 180)):
        told(page, hub.snapshot, last)
        for chart in page.charts:
            assert len(chart.source.data["minute"]) == minutes
            x_range: Any = chart.root.x_range
            assert (x_range.end - x_range.start) / 60_000 == minutes
            drawn = [one for one in chart.root.renderers if isinstance(one, GlyphRenderer)]
            hatched = [one.view.filter for one in drawn if getattr(one.glyph, "hatch_pattern", None)]
            assert all(isinstance(one, IndexFilter) and one.indices == [minutes - 1] for one in hatched)
            assert chart.source.data["alpha"][-1] < 1
    dremio.order(NOON, "5.00")
    dremio.publish(NOON + timedelta(seconds=1))
    poller.poll()
    events = told(page, hub.snapshot, "3h")
    assert {event["kind"] for event in events} == {"ColumnsPatched"}
    dremio.publish(NOON + timedelta(minutes=1))
    poller.poll()
    events = told(page, hub.snapshot, "3h")
    assert [event["rollover"] for event in events if event["kind"] == "ColumnsStreamed"] == [180] * 4
    assert len(json.dumps(events)) < 2048


def test_an_empty_chart_says_of_which_minutes_it_speaks() -> None:
    dremio = FakeDremio()
    dremio.order(NOON - timedelta(minutes=30), "1.00")
    dremio.publish(NOON)
    viewer = Viewer("3h")
    snapshot = polled(dremio, viewer)[0].snapshot
    assert empty_part(snapshot, "15m")["orders_per_minute"] == "No order in the last 15 min."
    assert empty_part(snapshot, "1h")["orders_per_minute"] is None
    assert empty_part(snapshot, "1h")["errors_per_minute"] == "No error reported in the last hour."
    assert empty_part(snapshot, "3h")["errors_per_minute"] == "No error reported in the last 3 h."
    dremio.close()


def a_page(dremio: FakeDremio, query: str) -> PageSession:
    session = PageSession(a_document()[0], a_console(dremio, now=NOON), query)
    session.build()
    return session


def parts_of(session: PageSession) -> Mapping[str, Any]:
    parts: Mapping[str, Any] = session._message(full=True)["parts"]
    return parts


@pytest.mark.parametrize("last", LASTS)
def test_a_file_holds_the_minutes_that_are_shown(dremio: FakeDremio, last: str) -> None:
    session = a_page(dremio, f"last={last}")
    # The others look at more and at less.
    others = [Viewer(one) for one in LASTS]
    for other in others:
        session.hub.join(other)
    a_poller(dremio, session.hub).poll()
    session._message()
    table = session.exported("revenue_per_minute")
    assert table is not None
    since = NOON.replace(second=0) - timedelta(minutes=LASTS[last] - 1)
    wanted = dremio.ask("minutes", since=since, as_of=NOON)
    rows = sorted(map(str, table.to_pylist()))
    assert rows == sorted(map(str, wanted.to_pylist()))
    assert rows


def test_the_length_stands_in_the_url_and_is_kept_and_said_where_it_has_no_effect(dremio: FakeDremio) -> None:
    session = a_page(dremio, "last=3h")
    parts = parts_of(session)
    assert parts["view"]["last"] == "3h"
    assert parts["view"]["query"] == "last=3h"
    assert parts["view"]["without_effect"] == []
    for tab in (tab for tab in TABS.values() if issubclass(tab, DrillTab)):
        session.show(f"tab={tab.name}&last=3h")
        assert parts_of(session)["view"]["without_effect"] == ["the last 3 h of live charts"], tab.name


def test_what_alike_views_draw_is_one_object(dremio: FakeDremio) -> None:
    viewer = Viewer("3h")
    snapshot = polled(dremio, viewer)[0].snapshot
    one, other = LivePage({}), LivePage({})
    for page in (one, other):
        page.draw(snapshot, "before", "3h", None)
    assert all(a._held is b._held for a, b in zip(one.charts, other.charts, strict=True))
    assert not any(math.isnan(value) for value in one.charts[0].source.data["revenue"])


def test_a_moment_of_the_past_has_all_its_minutes(dremio: FakeDremio) -> None:
    session = a_page(dremio, "")
    session.show(f"at={NOON:%Y-%m-%dT%H:%M:%SZ}&last=3h")
    wait_for(lambda: "tile.revenue" in parts_of(session))
    revenue = live_hours(session._shown, last="3h")["revenue_per_minute"].series["revenue"]
    assert list(revenue) == by_sql(dremio, 180)


def test_a_paused_page_goes_on_with_another_length(dremio: FakeDremio) -> None:
    session = a_page(dremio, "")
    parts_of(session)
    session._told(json.dumps({"paused": True}))
    assert parts_of(session)["head"]["paused"] is not None
    session.show("last=15m")
    assert parts_of(session)["head"]["paused"] is None
