"""A figure beside what is usual: how it is reckoned, against plain Python, and how messages say it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.dremio.errors import QueryError
from lakehouse.dremio.statement import Fragment, fill
from lakehouse.figures.usual import BARS, Comparison, UsualQuestion
from lakehouse.figures.words import BLOCKS, UNKNOWN, bars, in_all_text, standing_text
from lakehouse.rules.figure import MONEY, AlertFigure
from tests.test_usual import BERLIN, DAY, ERRORS, HOUR, MINUTE, NOON, ORDERS, RULES, reckoned


def an_answer(counts: Mapping[int, float], occurs: Collection[int], read_to: datetime | None) -> pa.Table:
    """What the question answers of minutes past noon."""
    rows = [
        {"moment": NOON + n * MINUTE, "total": counts.get(n), "highest": None, "lowest": None, "hidden": 0}
        for n in sorted({*counts, *occurs})
    ]
    nobody: dict[str, Any] = {"moment": None, "total": None, "highest": None, "lowest": None, "hidden": 0}
    rows.append({**nobody, "read_to": read_to, "first_event_at": NOON - 30 * DAY})
    stamp = pa.timestamp("ms", "UTC")
    schema = pa.schema(
        [
            ("moment", stamp),
            ("total", pa.float64()),
            ("highest", pa.float64()),
            ("lowest", pa.float64()),
            ("hidden", pa.int64()),
            ("read_to", stamp),
            ("first_event_at", stamp),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


_MINUTES = st.builds(lambda minute, days: minute - days * 1440, st.integers(-80, 100), st.integers(0, 7))


@given(
    counts=st.dictionaries(_MINUTES, st.integers(0, 500).map(float), max_size=150),
    others=st.frozensets(_MINUTES, max_size=40),
    lasts=st.integers(0, 89),
    fewer=st.booleans(),
)
def test_any_past_is_reckoned_as_plain_python_does(
    counts: dict[int, float], others: frozenset[int], lasts: int, fewer: bool
) -> None:
    now = NOON + lasts * MINUTE + timedelta(seconds=11)
    question = UsualQuestion.of(replace(ORDERS, fewer=fewer), None, starts_at=NOON, ended_at=None, now=now)
    assert question is not None
    found = question.answer(an_answer(counts, others, now))
    by_time = {NOON + n * MINUTE: count for n, count in counts.items()}
    occurs = by_time.keys() | {NOON + n * MINUTE for n in others}
    end = NOON + lasts * MINUTE
    total, usual = reckoned(by_time, occurs, NOON, end, fewer=fewer)
    assert found.usual == (None if usual is None else pytest.approx(usual))
    if lasts and usual is not None:
        assert found.off == pytest.approx(total - usual * lasts, abs=1e-6)
    else:
        assert found.off is None
    assert list(found.bars) == [by_time.get(end - n * MINUTE, 0.0) for n in range(BARS, 0, -1)]


def test_of_a_long_incident_the_last_six_hours_are_compared() -> None:
    began, now = NOON - 30 * HOUR, NOON + timedelta(seconds=11)
    question = UsualQuestion.of(ORDERS, None, starts_at=began, ended_at=None, now=now)
    assert question is not None
    hour = {-30 * 60 - n: 10.0 for n in range(1, 61)}
    # The same minutes of the day before are the incident's own: no history.
    own = {-1440 - n: 2.0 for n in range(1, 361)}
    found = question.answer(an_answer({**hour, **own, -1: 4.0}, (), now))
    assert (found.since, found.until, found.whole) == (NOON - 6 * HOUR, NOON, False)
    assert (found.usual, found.off) == (10.0, 4.0 - 3600.0)
    assert standing_text(ORDERS, found, None, UTC, "$") == (
        "4 orders a minute, usually 10; 3,596 fewer than usual in the last 6 h"
    )
    assert in_all_text(ORDERS, found, "$") == "3,596 orders fewer than usual in its last 6 h"


def test_where_nothing_was_read_nothing_is_known() -> None:
    question = UsualQuestion.of(ORDERS, None, starts_at=NOON, ended_at=None, now=NOON + HOUR)
    assert question is not None
    found = question.answer(an_answer({}, (), None))
    assert set(found.values) == {None}
    assert (found.value, found.usual, found.off) == (None, None, None)
    assert bars(found.bars) == UNKNOWN * BARS


def test_the_question_reads_few_hours_however_long_the_incident_lasts() -> None:
    question = UsualQuestion.of(ERRORS, "a", starts_at=NOON - 40 * DAY, ended_at=None, now=NOON)
    assert question is not None
    rows = question.binds["rows"]
    assert isinstance(rows, Fragment)
    binds: Mapping[str, Any] = rows.binds
    spans = [(binds[f"from_{n}"], binds[f"to_{n}"]) for n in range(len(binds) // 2 - 1)]
    assert len(spans) == 9
    assert sum(((end - start) for start, end in spans), timedelta()) <= 8 * (6 * HOUR + 20 * MINUTE) + HOUR


@pytest.mark.parametrize(
    ("rule", "service", "where"),
    [
        ("fatal_error", "payments", {"severity": ("FATAL",), "service_name": ("payments",)}),
        ("fatal_error", None, None),
        ("many_errors", "payments", {"severity": ("ERROR", "FATAL"), "service_name": ("payments",)}),
        ("few_orders", "payments", {}),
        ("checkout_unused", None, None),
        ("no_orders", None, {}),
    ],
)
def test_a_figure_is_asked_for_only_where_the_alert_tells_whose_it_is(
    rule: str, service: str | None, where: Mapping[str, Sequence[str]] | None
) -> None:
    about = RULES[rule].about
    assert about is not None
    assert about.where_of(service) == where
    assert RULES["unreadable_messages"].about is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"table": "alerts"}, "'alerts' is no KPI table and no table of a topic"),
        ({"table": "errors_per_minute; DROP"}, "is no KPI table"),
        ({"column": "1 FROM x"}, "the table errors_per_minute has no column '1 FROM x'"),
        ({"where": {'severity" OR 1=1': ["a"]}}, "has no column"),
        ({"by": ("host",)}, "has no column 'host'"),
    ],
)
def test_a_figure_names_only_what_the_contract_has(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(ERRORS, **wrong)


def test_what_data_says_is_no_sql() -> None:
    question = UsualQuestion.of(ERRORS, "x') OR 1=1 --", starts_at=NOON, ended_at=None, now=NOON)
    assert question is not None
    sql = fill("SELECT n FROM (:rows) AS facts WHERE :topic = 't'", "abc", question.binds)
    assert "IN ('x'') OR 1=1 --')" in sql
    assert sql.count('errors_per_minute AT COMMIT "abc"') == 8
    with pytest.raises(QueryError, match="needs a value for ':from_0'"):
        fill(":rows", None, {"rows": replace(question.binds["rows"], binds={"in_service_name": "a", "other": "b"})})


# --- words


def compared(
    value: float | None, usual: float | None, off: float | None, at: datetime = NOON, whole: bool = True
) -> Comparison:
    return Comparison(at - HOUR, at, at + MINUTE, whole, (), value, usual, off)


MANY = replace(ERRORS, unit="errors")
SALES = replace(ORDERS, column="total_revenue", unit=MONEY, limited=True)
PEAK = replace(MANY, aggregate="max")


@pytest.mark.parametrize(
    ("figure", "found", "limit", "said"),
    [
        (MANY, compared(82, 11, 214), 60, "82 errors a minute, limit 60, usually 11; 214 more than usual since 12:00"),
        (ORDERS, compared(0, 37, -1240), None, "0 orders a minute, usually 37; 1,240 fewer than usual since 12:00"),
        (MANY, compared(1, 0.04, 1), 0, "1 error a minute, limit 0, usually 0; 1 more than usual since 12:00"),
        (MANY, compared(3, 2.25, 0.4), None, "3 errors a minute, usually 2.2"),
        (MANY, compared(3, 2.25, -9), None, "3 errors a minute, usually 2.2"),
        (MANY, compared(1204, None, None), 60, "1,204 errors a minute, limit 60, usual: n/a"),
        (MANY, compared(None, 9.96, None), 60, "usually 10 errors a minute"),
        (MANY, compared(None, 1, None), 60, "usually 1 error a minute"),
        (MANY, compared(None, None, None), 60, "usual: n/a"),
        (MANY, None, 60, "usual: n/a"),
        (PEAK, compared(82, 11, None), 60, "82 errors, limit 60, usually 11"),
        (
            SALES,
            compared(12.5, 370.4, -1240.4),
            60,
            "€12.50 a minute, limit €60.00, usually €370; €1,240 less than usual since 12:00",
        ),
    ],
)
def test_what_a_message_says_of_a_figure(
    figure: AlertFigure, found: Comparison | None, limit: float | None, said: str
) -> None:
    assert standing_text(figure, found, limit, UTC, "€") == said


@pytest.mark.parametrize(
    ("figure", "found", "said"),
    [
        (ORDERS, compared(0, 37, -214.4), "214 orders fewer than usual in all"),
        (ORDERS, compared(0, 37, -1), "1 order fewer than usual in all"),
        (ORDERS, compared(0, 37, -0.3), ""),
        (MANY, compared(0, 37, 1240), "1,240 errors more than usual in all"),
        (SALES, compared(0, 37, -99.6), "€100 less than usual in all"),
        (MANY, compared(5, None, None), "usual: n/a"),
        (MANY, None, "usual: n/a"),
    ],
)
def test_what_a_message_says_of_a_figure_at_the_end(figure: AlertFigure, found: Comparison | None, said: str) -> None:
    assert in_all_text(figure, found, "€") == said


@pytest.mark.parametrize(
    ("utc", "said"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "01:59"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "03:00"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "02:30"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "02:30"),
    ],
)
def test_since_is_in_the_zone_of_messages_on_a_day_that_changes_it(utc: datetime, said: str) -> None:
    assert standing_text(MANY, compared(9, 1, 8, utc), None, BERLIN, "$").endswith(f"since {said}")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([0, 0.0], "▁▁"),
        ([0, 1, 7, 14], "▁▂▅█"),
        ([None, 0, 5], "·▁█"),
        ([0.001, 1000], "▂█"),
        ([-3, 3], "▁█"),
        ([None, None], "··"),
    ],
)
def test_a_line_of_blocks(values: list[float | None], line: str) -> None:
    assert bars(values) == line


@given(st.lists(st.none() | st.floats(0, 1e300), max_size=40))
def test_a_line_of_blocks_shows_order_gaps_and_nothing(values: list[float | None]) -> None:
    line = bars(values)
    assert len(line) == len(values)
    heights = [(value, BLOCKS.index(block)) for value, block in zip(values, line, strict=True) if value is not None]
    assert all(block == UNKNOWN for value, block in zip(values, line, strict=True) if value is None)
    assert all((height == 0) == (value == 0) for value, height in heights)
    in_order = sorted(heights)
    assert [height for _, height in in_order] == sorted(height for _, height in heights)
    if any(value for value, _ in heights):
        assert in_order[-1][1] == len(BLOCKS) - 1


@given(
    st.none() | st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    st.none() | st.floats(-1e9, 1e9),
    st.sampled_from([MANY, ORDERS, SALES, PEAK]),
)
def test_any_figure_is_said_in_one_short_line(
    value: float | None, usual: float | None, off: float | None, figure: AlertFigure
) -> None:
    found = compared(value, usual, off)
    for said in (standing_text(figure, found, 60, BERLIN, "$"), in_all_text(figure, found, "$")):
        assert "\n" not in said
        assert len(said) < 140
        assert "nan" not in said
        assert "1 errors" not in said.split(", ")[0].split()[:2]
