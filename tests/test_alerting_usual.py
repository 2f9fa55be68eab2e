"""Rules that know what is usual, and the share of dead letters: what they raise, and when they keep quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.tables import TABLES, arrow_schema
from pipeline.judging.watch import Tally, Watch
from tests.alerting_cast import MINUTE, NOON, SECOND, Ingest, errors, rule, started

DAY = 24 * 60
# A quiet hour before noon: 8 to 12 buyers a minute.
USUAL = {minute: 10 + (-2, 1, 0, 2, -1)[minute % 5] for minute in range(-60, 0)}


def orders(buyers: Mapping[int, int]) -> pa.Table:
    """orders_revenue_per_minute rows by minutes past noon; a minute without buyers has none."""
    rows = [
        {
            "window_start": NOON + minute * MINUTE,
            "window_end": NOON + (minute + 1) * MINUTE,
            "orders_count": 3 * count,
            "total_revenue": 90 * count,
            "cancelled_count": 0,
            "cancelled_revenue": 0,
            "buyers": count,
            "updated_at": NOON,
        }
        for minute, count in buyers.items()
        if count
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(TABLES["orders_revenue_per_minute"]))


def clicks(rows: Iterable[tuple[int, str, int]]) -> pa.Table:
    """clicks_per_minute rows of (minutes past noon, page, clicks)."""
    return pa.Table.from_pylist(
        [
            {
                "window_start": NOON + minute * MINUTE,
                "window_end": NOON + (minute + 1) * MINUTE,
                "page": page,
                "device_type": "mobile",
                "clicks": count,
                "users": count,
                "updated_at": NOON,
            }
            for minute, page, count in rows
        ],
        schema=arrow_schema(TABLES["clicks_per_minute"]),
    )


def shop(buyers: Mapping[int, int]) -> Ingest:
    """few_orders over such a shop, in which everything was judged up to noon, and watched for a while."""
    ingest = Ingest(rule("few_orders"), kpis={"orders_revenue_per_minute": orders(buyers)})
    ingest.tick(NOON - 5 * MINUTE + 11 * SECOND)
    ingest.minutes(-5, -1)
    return ingest


# --- anomaly: few_orders is the mean of 4 min, 3.25 deviations and half under the usual


@pytest.mark.parametrize(
    ("sentence", "after", "told"),
    [
        ("as ever", lambda m: 10, []),
        ("a third fewer is a slow quarter of an hour", lambda m: 7 if m < 15 else 10, []),
        ("70 % fewer is found within 5 minutes", lambda m: 3 if m < 20 else 10, ["2 FIRING None", "29 RESOLVED None"]),
        ("none at all is found too", lambda m: 0 if m < 20 else 10, ["2 FIRING None", "30 RESOLVED None"]),
        ("two empty minutes are chance", lambda m: 0 if m < 2 else 10, []),
        ("many more are no harm", lambda m: 90, []),
    ],
)
def test_few_orders(sentence: str, after: Callable[[int], int], told: list[str]) -> None:
    ingest = shop(USUAL | {minute: after(minute) for minute in range(60)})
    assert ingest.minutes(0, 59) == told, sentence


def test_an_anomaly_says_what_is_usual_and_where_its_limit_was() -> None:
    ingest = shop(USUAL | dict.fromkeys(range(20), 0) | dict.fromkeys(range(20, 60), 10))
    ingest.minutes(0, 59)
    fires, resolved = ingest.alerts
    assert fires.description == "Few orders: 2.25 buyers a minute over 4 min, usually 10"
    assert fires.metric_value == 2.25
    assert fires.threshold == pytest.approx(4.52, abs=0.01), "3.25 deviations of a mean of 4 minutes, at 10 a minute"
    assert resolved.description == "Resolved: FEW_ORDERS: 10, inside the limit of 4.53 for 10 min"


def test_an_incident_is_judged_by_the_time_before_it_until_it_has_lasted_an_hour() -> None:
    ingest = shop(USUAL | dict.fromkeys(range(180), 3))
    assert ingest.minutes(0, 55) == ["2 FIRING None"]
    assert ingest.minutes(56, 120) == ["71 RESOLVED None"], "three buyers a minute are usual by now"


def test_it_needs_half_a_window_of_minutes_with_rows() -> None:
    young = {minute: count for minute, count in USUAL.items() if minute >= -10}
    ingest = shop(young | dict.fromkeys(range(30), 0))
    assert ingest.minutes(0, 29) == [], "ten minutes do not tell what is usual"


def test_a_tiny_shop_is_left_alone() -> None:
    ingest = shop(dict.fromkeys(range(-60, 0), 2) | dict.fromkeys(range(30), 0))
    assert ingest.minutes(0, 29) == []


def test_the_same_minutes_of_past_days_excuse_what_happens_every_day() -> None:
    closing_time = dict.fromkeys(range(-60, 0), 10) | dict.fromkeys(range(60), 1)
    assert shop(closing_time).minutes(0, 10) == ["2 FIRING None"]
    yesterday = {minute - DAY: count for minute, count in closing_time.items()}
    assert shop(closing_time | yesterday).minutes(0, 59) == []


def test_past_days_excuse_nothing_else() -> None:
    days = {minute - back * DAY: 10 for minute in range(-60, 60) for back in range(1, 8)}
    ingest = shop(days | USUAL | dict.fromkeys(range(20), 3))
    assert ingest.minutes(0, 10) == ["2 FIRING None"]


def test_a_bounded_past_is_read_and_only_when_a_minute_closes() -> None:
    ingest = shop(USUAL | dict.fromkeys(range(5), 10))
    ingest.asked.clear()
    ingest.minutes(0, 0)
    spans = [(start, end) for _, start, end in ingest.asked]
    assert spans[-1] == (NOON - 33 * MINUTE, NOON + MINUTE)
    assert len(spans) == 8, "the window, and seven days"
    assert sum(((end - start) for start, end in spans), timedelta()) < timedelta(hours=4)
    ingest.asked.clear()
    ingest.tick(NOON + MINUTE + 30 * SECOND)
    assert ingest.asked == []


def test_a_pause_of_everything_is_no_lack_of_orders() -> None:
    """A laptop that slept for three minutes: they are left out, and the rule waits until it has seen four again."""
    pause = NOON + 5 * SECOND, NOON + 2 * MINUTE + 50 * SECOND
    counts = USUAL | {0: 1, 1: 0, 2: 2} | dict.fromkeys(range(3, 30), 10)
    blind = shop(counts)
    assert blind.minutes(0, 8) == ["2 FIRING None"]
    ingest = shop(counts)
    ingest.unwatched = [pause]
    ingest.tick(pause[1])
    assert ingest.minutes(2, 29) == []
    ingest.restart()
    ingest.unwatched.clear()
    ingest.kpis["orders_revenue_per_minute"] = orders(counts | dict.fromkeys(range(30, 40), 0))
    assert ingest.minutes(30, 39) == ["32 FIRING None"], "afterwards it works as before"


def test_a_start_after_a_night_raises_nothing() -> None:
    awake = {minute + 600: 10 + minute % 3 for minute in range(60)}
    ingest = shop(USUAL | awake)
    ingest.unwatched = [(NOON, NOON + 600 * MINUTE)]
    ingest.tick(NOON + 600 * MINUTE + 5 * SECOND)
    assert ingest.minutes(600, 659) == []


def test_an_outage_of_the_log_raises_nothing() -> None:
    counts = USUAL | {0: 2, 1: 0, 2: 1, 3: 5} | dict.fromkeys(range(4, 30), 10)
    ingest = shop(counts)
    ingest.unreadable["orders_topic"] = [(NOON + 10 * SECOND, NOON + 2 * MINUTE + 30 * SECOND)]
    assert ingest.minutes(0, 29) == []


def test_a_service_that_logs_five_times_as_much_is_named() -> None:
    calm = [(m, s, "INFO", 4 + m % 3) for m in range(-60, 30) for s in ("search", "mailer")]
    loud = [(m, "mailer", "ERROR", 20) for m in range(5, 12)]
    ingest = started(rule("unusual_errors"), kpis={"errors_per_minute": errors(*calm, *loud)})
    assert ingest.minutes(0, 29) == ["6 FIRING mailer", "17 RESOLVED mailer"]
    assert ingest.alerts[0].description == (
        "Unusually many messages of service: mailer - 18.33 a minute over 3 min, usually 5"
    )


def test_a_single_burst_is_not_unusual() -> None:
    calm = [(m, "search", "INFO", 9 + m % 3) for m in range(-60, 30)]
    ingest = started(rule("unusual_errors"), kpis={"errors_per_minute": errors(*calm, (9, "search", "ERROR", 20))})
    assert ingest.minutes(0, 29) == []


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_however_ticks_fall_an_anomaly_is_found_alike(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.sampled_from([2, 8, 30]), min_size=12, max_size=12))
    rows = [(m, "payments", "ERROR", 6 + m % 3) for m in range(-40, 0)]
    rows += [(m, "payments", "ERROR", count) for m, count in enumerate(counts)]
    steady = started(rule("unusual_errors"), kpis={"errors_per_minute": errors(*rows)})
    steady.minutes(0, 11)
    ingest, seconds = started(rule("unusual_errors"), kpis=steady.kpis), 11
    while seconds < 731:
        seconds = min(731, seconds + data.draw(st.sampled_from([15, 60, 61, 200])))
        ingest.tick(NOON + seconds * SECOND)
        if data.draw(st.booleans()):
            ingest.restart()
    assert ingest.alerts == steady.alerts


# --- zero: checkout_unused is cart or checkout at 0 for 3 min, where 5 clicks a minute are usual


@pytest.mark.parametrize(
    ("sentence", "until", "told"),
    [
        ("three minutes without a click", {"checkout": 10}, ["12 FIRING", "22 RESOLVED"]),
        ("two are chance", {"checkout": 18}, []),
        ("a page that was rarely opened", {"gift": 10}, []),
        ("both pages, each by itself", {"checkout": 10, "cart": 10}, ["12 FIRING", "12 FIRING"] + 2 * ["22 RESOLVED"]),
    ],
)
def test_a_page_that_nobody_opens(sentence: str, until: Mapping[str, int], told: list[str]) -> None:
    pages = {"home": 50, "cart": 12, "checkout": 6, "gift": 1}
    rows = [
        (minute, page, usual)
        for minute in range(-40, 40)
        for page, usual in pages.items()
        if not until.get(page, 99) <= minute < 20
    ]
    ingest = started(rule("checkout_unused"), kpis={"clicks_per_minute": clicks(rows)})
    assert [text.removesuffix(" None") for text in ingest.minutes(0, 39)] == told, sentence


def test_zero_alerts_name_the_page() -> None:
    rows = [(m, page, 6) for m in range(-40, 20) for page in ("home", "checkout") if page == "home" or m < 0]
    ingest = started(rule("checkout_unused"), kpis={"clicks_per_minute": clicks(rows)})
    ingest.minutes(0, 2)
    [alert] = ingest.alerts
    assert alert.description == "Nobody opens the page: checkout - for 3 min, usually 6 clicks a minute"
    assert (alert.metric_value, alert.threshold) == (0.0, None)


# --- dead letters: unreadable_messages is over 5 % and at least 10 a minute, for 2 min


@pytest.mark.parametrize(
    ("sentence", "counts", "told"),
    [
        ("6 % for two minutes", [(1000, 60), (1000, 61), (1000, 0)], ["1 FIRING", "6 RESOLVED"]),
        ("5 % are inside", [(1000, 50)] * 3, []),
        ("one minute is not enough", [(1000, 900), (1000, 0)], []),
        ("nine of nine are too few to say", [(9, 9)] * 4, []),
        ("a topic on which nothing comes has no share", [], []),
    ],
)
def test_dead_letters(sentence: str, counts: list[tuple[int, int]], told: list[str]) -> None:
    ingest = started(rule("unreadable_messages"))
    ingest.read = {"clicks_topic": {NOON + minute * MINUTE: count for minute, count in enumerate(counts)}}
    assert [text.removesuffix(" None") for text in ingest.minutes(0, 9)] == told, sentence
    if told:
        assert ingest.alerts[0].description == "6.10 % of clicks_topic cannot be read, over 5 % for 2 min"


# --- what an engine remembers


def test_a_batch_is_counted_by_the_minutes_of_the_log() -> None:
    tally = Tally(timedelta(minutes=15))
    times = [NOON + second * SECOND for second in (1, 2, 59, 60, 61)]
    tally.add("orders_topic", times, [times[2], times[3]])
    tally.add("orders_topic", times[4:], [])
    assert tally.counts["orders_topic"] == {NOON: (3, 1), NOON + MINUTE: (3, 1)}
    for minute in range(600):
        tally.add("orders_topic", [NOON + minute * MINUTE], [])
    assert len(tally.counts["orders_topic"]) == 17


def test_a_pause_is_told_until_it_is_long_past() -> None:
    def at(seconds: int) -> datetime:
        return NOON + seconds * SECOND

    watch = Watch(at(0), timedelta(minutes=15))
    assert watch.look(at(20)) == [], "a quick restart"
    assert watch.look(at(60)) == [(at(20), at(60))]
    assert watch.look(at(61)) == [(at(20), at(60))]
    for second in range(62, 970, 15):
        pauses = watch.look(at(second))
    assert pauses == []
    assert Watch(None, timedelta(minutes=15)).look(at(0)) == [], "a first start"
