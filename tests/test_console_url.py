"""A page's URL says what it shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.url import RANGES, SEVERITIES, STATUSES, TABS, THEMES, ZONES, View, parse

moments = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001  # hypothesis wants bare bounds
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
spans = st.tuples(moments, st.timedeltas(timedelta(seconds=1), timedelta(days=3000))).map(
    lambda pair: (pair[0], (pair[0] + pair[1]).replace(microsecond=0) + timedelta(seconds=1))
)
names = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=4)
views = st.builds(
    View,
    tab=st.sampled_from(TABS),
    range=st.sampled_from(tuple(RANGES)),
    span=st.none() | spans,
    theme=st.sampled_from(THEMES),
    zone=st.sampled_from(ZONES),
    statuses=st.sets(st.sampled_from(STATUSES)).map(lambda chosen: tuple(s for s in STATUSES if s in chosen)),
    products=names.map(lambda values: tuple(sorted(set(values)))),
    severities=st.sets(st.sampled_from(SEVERITIES)).map(lambda chosen: tuple(s for s in SEVERITIES if s in chosen)),
    services=names.map(lambda values: tuple(sorted(set(values)))),
    brush=st.none() | spans,
    incident=st.sampled_from(["", "0b7b3c1e-0000-5000-8000-000000000001"]),
).map(lambda view: view if view.span is None else View(**{**vars(view), "range": "live"}))


@given(views)
def test_a_copied_url_shows_the_same_view(view: View) -> None:
    again, notices = parse(view.query())
    assert again == view
    assert notices == []


@given(st.text(max_size=200))
def test_any_query_gives_a_view(query: str) -> None:
    view, _ = parse(query)
    assert view.tab in TABS


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("tab=customers", "'customers' is no tab; shown is overview."),
        ("zone=mars", "'mars' is no zone; shown is local."),
        ("range=3w", "'3w' is no range; shown is live."),
        ("status=LOST", "'LOST' is no status; it is left out."),
        ("from=1998-01-01&to=1997-01-01", "needs two times in order"),
        ("from=yesterday", "needs two times in order"),
        ("brush=~", "nothing is brushed"),
        ("incident='; DROP TABLE", "is no incident"),
    ],
)
def test_a_value_that_cannot_be_used_falls_back_with_a_sentence(query: str, sentence: str) -> None:
    view, notices = parse(query)
    assert view == View()
    assert sentence in " ".join(notices)


def test_a_time_without_an_offset_is_utc() -> None:
    view, _ = parse("from=1997-01-01&to=1998-07-01T02:00:00%2B02:00")
    assert view.span == (datetime(1997, 1, 1, tzinfo=UTC), datetime(1998, 7, 1, tzinfo=UTC))


def test_what_a_tab_does_not_heed_is_kept_and_said() -> None:
    query = "range=24h&status=CANCELLED&service=payments&brush=2026-03-02T11:00:00Z~2026-03-02T11:10:00Z"
    said = {tab: parse(f"tab={tab}&{query}")[0].without_effect() for tab in TABS}
    assert said == {
        "overview": ["the range 24h", "the brushed time", "status CANCELLED", "service payments"],
        "orders": ["service payments"],
        "errors": ["status CANCELLED"],
        "alerts": ["the brushed time", "status CANCELLED", "service payments"],
    }
