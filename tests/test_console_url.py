"""A page's URL says what it shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.choices import SEVERITIES, STATUSES
from console.tabs import HOME, TABS
from console.url import LONGEST_QUERY, fitting, parse, query, query_of, without_effect
from console.view import COMPARED, LASTS, RANGES, THEMES, ZONES, View

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
moments = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001  # hypothesis wants bare bounds
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
spans = st.tuples(moments, st.timedeltas(timedelta(seconds=1), timedelta(days=3000))).map(
    lambda pair: (pair[0], (pair[0] + pair[1]).replace(microsecond=0) + timedelta(seconds=1))
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
names = st.lists(texts, max_size=4).map(lambda values: tuple(sorted(set(values))))


def some(choices: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(st.sampled_from(choices)).map(lambda chosen: tuple(one for one in choices if one in chosen))


views = st.builds(
    View,
    tab=st.sampled_from(tuple(TABS)),
    range=st.sampled_from(tuple(RANGES)),
    span=st.none() | spans,
    theme=st.sampled_from(THEMES),
    zone=st.sampled_from(ZONES),
    filters=st.fixed_dictionaries(
        {"status": some(STATUSES), "product": names, "severity": some(SEVERITIES), "service": names}
    ).map(lambda filters: {name: values for name, values in filters.items() if values}),
    brush=st.none() | spans,
    incident=st.sampled_from(["", "0b7b3c1e-0000-5000-8000-000000000001"]),
    compare=st.sampled_from(tuple(COMPARED)),
    last=st.sampled_from(tuple(LASTS)),
    sort=st.sampled_from(["", "total", "at.asc"]),
    page=st.integers(1, 999),
).map(lambda view: view if view.span is None else View(**{**vars(view), "range": "live"}))


@given(views)
def test_a_copied_url_shows_the_same_view(view: View) -> None:
    again, notices = parse(query(view))
    assert again == view
    assert notices == []


@given(st.text(max_size=200))
def test_any_query_gives_a_view(asked: str) -> None:
    view, _ = parse(asked)
    assert view.tab in TABS


def test_a_shop_without_a_zone_of_its_own_has_none_to_show() -> None:
    assert parse("zone=shop", shop_zone=False) == (View(HOME), ["'shop' is no zone; shown is local."])
    assert parse("zone=shop")[0].zone == "shop"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("tab=buyers", "'buyers' is no tab; shown is overview."),
        ("zone=mars", "'mars' is no zone; shown is local."),
        ("range=3w", "'3w' is no range; shown is live."),
        ("status=LOST", "'LOST' is no status; it is left out."),
        (
            "from=1998-01-01&to=1997-01-01",
            "'to' (1997-01-01T00:00:00Z) is not after 'from' (1998-01-01T00:00:00Z); shown is live.",
        ),
        ("from=yesterday", "'yesterday' is no time for 'from', which is like 1997-01-01T00:00:00Z"),
        ("from=1997-01-01", "needs two times, and 'to' is not given"),
        ("from=1850-01-01&to=1997-01-01", "'from' (1850-01-01) lies outside the years 1900 to 2200"),
        ("from=0001-01-01T00:00:00%2B05:00&to=1997-01-01", "is no time for 'from'"),
        ("service=%FF%FEpay", "'\\udcff\\udcfepay' is no service, for it is not text; it is left out."),
        ("product=a%00b", "'a\\x00b' is no product, for it is not text; it is left out."),
        ("tab=%E2%80%AEsredro", "'\\u202esredro' is no tab"),
        ("from=" + "9" * 5000, f"'{'9' * 39}…' is no time for 'from'"),
        ("cut=1", "longer than 4000 characters"),
        ("brush=~", "nothing is brushed"),
        ("compare=never", "'never' is no compare; shown is before."),
        ("last=2h", "'2h' is no last; shown is 1h."),
        ("sort=order_total;--", "'order_total;--' is no column that rows are ordered by"),
        ("page=0", "'0' is no page; shown is the first."),
        ("incident='; DROP TABLE", "is no incident"),
    ],
)
def test_a_value_that_cannot_be_used_falls_back_with_a_sentence(asked: str, sentence: str) -> None:
    view, notices = parse(asked)
    assert view == View(HOME)
    assert sentence in " ".join(notices)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("at=2100-01-01", "The moment cannot be shown: 'at' (2100-01-01T00:00:00Z) lies in the future; shown is now."),
        ("at=2026-03-02T12:00:06Z", "lies in the future; shown is now."),
        ("from=2100-01-01&to=2101-01-01", "'from' (2100-01-01T00:00:00Z) lies in the future; shown is live."),
    ],
)
def test_a_time_that_has_not_come_yet_falls_back_with_a_sentence(asked: str, sentence: str) -> None:
    view, [notice] = parse(asked, NOON)
    assert view == View(HOME)
    assert sentence in notice


@pytest.mark.parametrize(
    "asked",
    [
        "at=2026-03-02T12:00:00Z",
        "at=2026-03-02T12:00:04Z",  # by a clock that is a little ahead
        "from=2026-03-02&to=2026-03-03",  # today, all of it
        "from=2026-03-03T14:00:00Z&to=2026-03-03T15:00:00Z",  # events of a clock that is a day ahead
    ],
)
def test_a_time_that_may_be_there_is_taken(asked: str) -> None:
    assert parse(asked, NOON) == parse(asked)
    assert parse(asked)[1] == []


def test_thousands_of_parameters_are_read_and_those_that_nobody_knows_are_ignored() -> None:
    view, notices = parse("&".join([*(f"x{number}={number}" for number in range(5000)), "tab=errors", "%FF=%FE"]))
    assert (view, notices) == (View("errors"), [])


def test_parameters_without_a_value_are_as_if_they_were_not_there() -> None:
    assert parse("tab=&range=&theme=&status=&product=&severity=&service=&incident=&&=") == (View(HOME), [])


def test_of_too_many_values_some_are_taken_and_it_is_told() -> None:
    view, notices = parse("&".join(f"service=s{number}" for number in range(60)))
    assert len(view.chosen("service")) == 50
    assert notices == ["60 values of service are given; the first 50 are taken."]


def test_a_range_of_sixteen_years_is_a_range() -> None:
    view, notices = parse("from=2010-01-01&to=2026-01-01&brush=2010-06-01~2025-06-01")
    assert notices == []
    assert view.span == (datetime(2010, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert view.brush == (datetime(2010, 6, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=700), max_size=30))
def test_a_view_that_is_too_long_for_a_url_is_cut_to_one_that_is_not(services: list[str]) -> None:
    view = View("errors").filtered("service", tuple(sorted(set(services)))).filtered("severity", ("FATAL",))
    cut = fitting(view)
    assert len(query(cut)) < LONGEST_QUERY
    assert set(cut.chosen("service")) <= set(view.chosen("service"))
    assert cut == view or len(query(view)) > LONGEST_QUERY - 10
    assert (cut.tab, cut.chosen("severity")) == ("errors", ("FATAL",))
    # What the server makes of the shorter address is not too long either, else the browser would be sent on for ever.
    asked = {
        "tab": [b"errors"],
        "service": [one.encode() for one in cut.chosen("service")],
        "severity": [b"FATAL"],
        "cut": [b"1"],
    }
    assert len(query_of(asked)) <= LONGEST_QUERY


def test_a_time_without_an_offset_is_utc() -> None:
    view, _ = parse("from=1997-01-01&to=1998-07-01T02:00:00%2B02:00")
    assert view.span == (datetime(1997, 1, 1, tzinfo=UTC), datetime(1998, 7, 1, tzinfo=UTC))


def test_what_a_tab_does_not_heed_is_kept_and_said() -> None:
    asked = "compare=week&range=24h&status=CANCELLED&service=payments&brush=2026-03-02T11:00:00Z~2026-03-02T11:10:00Z"
    said = {tab: without_effect(parse(f"tab={tab}&{asked}")[0]) for tab in TABS}
    assert said == {
        "overview": ["the range 24h", "the brushed time", "status CANCELLED", "service payments"],
        "orders": ["the comparison with last week", "service payments"],
        "customers": ["the comparison with last week", "status CANCELLED", "service payments"],
        "errors": ["the comparison with last week", "status CANCELLED"],
        "alerts": ["the brushed time", "the comparison with last week", "status CANCELLED", "service payments"],
        "pipeline": ["the comparison with last week", "status CANCELLED", "service payments"],
    }
