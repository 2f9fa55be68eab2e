"""What is an alert, when, and that nothing alerts twice."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.decode import EVENT_TYPES, Event
from lakehouse.kpis import OTHER
from lakehouse.rules import Alert, Moment, Received, RuleState, alerting_events, due, evaluate, load_rules, state_rows
from lakehouse.tables import ALERTS, TABLES, arrow_schema
from tests.alerting_cast import LOOKBACK, MAX_AGE, MINUTE, NOON, RULES, SECOND, TOPICS, Ingest, errors, rule, started


def fatal(
    service: str = "payments",
    at: datetime = NOON,
    key: str = "e1",
    message: str = "card declined",
    severity: str = "FATAL",
) -> Event:
    return EVENT_TYPES["errors_topic"](key, "1", service, message, severity, at, None)


# --- fatal errors


def test_a_fatal_error_is_one_alert_with_every_column_filled() -> None:
    [alert] = Ingest(RULES).tick(NOON + SECOND, (fatal(), NOON + SECOND))
    assert [column.name for column in fields(Alert)] == [column.name for column in ALERTS.columns[:-1]]
    assert pa.Table.from_pylist([alert.row() | {"ingested_at": NOON}], schema=arrow_schema(ALERTS)).num_rows == 1
    assert alert.description == "Fatal error in service: payments - card declined"
    assert (alert.alert_type, alert.status, alert.severity, alert.metric_value) == (
        "FATAL_ERROR",
        "FIRING",
        "FATAL",
        1.0,
    )
    assert (alert.alert_timestamp, alert.starts_at, alert.received_at) == (NOON, NOON, NOON + SECOND)
    assert (alert.service_name, alert.threshold) == ("payments", None)
    assert alert.summary
    assert alert.runbook_url


def test_ids_are_the_same_in_every_release() -> None:
    """Written down once: whoever was told of an alert knows it by these, and a replay must not alert anew."""
    told = Ingest(RULES).tick(
        NOON + SECOND,
        (fatal(), NOON + SECOND),
        (fatal(key="e2"), NOON + SECOND),
        (fatal(key="e3", at=NOON - timedelta(days=1)), NOON + SECOND),
    )
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.minutes(0, 7)
    assert [(alert.alert_id, alert.incident_id) for alert in (*told, *ingest.alerts)] == [
        ("fca00e60-02a6-5b30-a8b3-74f0d9136c46", "e7d5c587-cd84-5459-953a-adbbda6c740f"),
        ("8b670b4d-3543-5dca-a506-9b23bebaf44a", "e7d5c587-cd84-5459-953a-adbbda6c740f"),
        ("f9453002-2f64-54f6-8d39-0cc26fc0e302", "39bc9e18-078e-52a7-ba15-d3033b2e44fe"),
        ("df99f74e-ec83-5b3a-9c78-640cb1e973c0", "b7b361df-f42d-5dbf-a7a9-a085b9590425"),
        ("23f4adce-faa2-5853-b3f6-5f6a94f31153", "b7b361df-f42d-5dbf-a7a9-a085b9590425"),
    ]


def test_braces_in_a_message_stay_as_they_are() -> None:
    [alert] = Ingest(RULES).tick(NOON, (fatal(message="{severity} 100% {"), NOON))
    assert alert.description == "Fatal error in service: payments - {severity} 100% {"


def test_only_fatal_errors_need_to_be_passed() -> None:
    wanted = alerting_events(RULES)
    assert list(wanted) == ["errors_topic"]
    assert wanted["errors_topic"](fatal())
    assert not wanted["errors_topic"](fatal(severity="ERROR"))
    assert Ingest(RULES).tick(NOON, (fatal(severity="ERROR"), NOON)) == []


def test_fatal_errors_of_a_service_join_one_incident_until_it_resolves() -> None:
    ingest = Ingest(rule("fatal_error"))
    first, second, other = ingest.tick(
        NOON + 3 * SECOND,
        (fatal(key="a"), NOON + SECOND),
        (fatal(key="b"), NOON + 2 * SECOND),
        (fatal("search", key="c"), NOON + 3 * SECOND),
    )
    assert first.incident_id == second.incident_id != other.incident_id
    assert ingest.tick(NOON + 5 * MINUTE) == []
    resolved = ingest.tick(NOON + 5 * MINUTE + 2 * SECOND)
    assert [(alert.status, alert.service_name) for alert in resolved] == [("RESOLVED", "payments")]
    assert resolved[0].incident_id == first.incident_id
    assert resolved[0].description.startswith("Resolved: FATAL_ERROR of payments")
    assert resolved[0].alert_timestamp == resolved[0].received_at == NOON + 5 * MINUTE + 2 * SECOND
    [again] = ingest.tick(NOON + 6 * MINUTE, (fatal(key="d", at=NOON + 6 * MINUTE), NOON + 6 * MINUTE))[:1]
    assert again.incident_id != first.incident_id
    assert again.starts_at == NOON + 6 * MINUTE


def test_an_incident_that_was_over_is_resolved_though_no_tick_came_between() -> None:
    ingest = Ingest(rule("fatal_error"))
    told = ingest.tick(
        NOON + 7 * MINUTE, (fatal(key="a"), NOON), (fatal(key="b", at=NOON + 7 * MINUTE), NOON + 7 * MINUTE)
    )
    assert [alert.status for alert in told] == ["FIRING", "RESOLVED", "FIRING"]
    assert told[0].incident_id == told[1].incident_id != told[2].incident_id


def test_a_resolved_service_leaves_no_state_behind() -> None:
    ingest = Ingest(rule("fatal_error"))
    ingest.tick(NOON, *((fatal(f"s{n}", key=str(n)), NOON) for n in range(100)))
    assert len(ingest.state) == 100
    assert len(ingest.tick(NOON + 6 * MINUTE)) == 100
    assert ingest.state == {}


def test_an_old_event_is_told_under_its_hour_and_never_resolves() -> None:
    ingest = Ingest(rule("fatal_error"))
    long_ago = NOON - timedelta(days=1)
    live, old, late, old_too = ingest.tick(
        NOON,
        (fatal(key="a"), NOON),
        (fatal(key="b", at=long_ago), NOON),
        (fatal(key="c", at=NOON - MAX_AGE), NOON),
        (fatal(key="d", at=long_ago + 59 * MINUTE), NOON),
    )
    assert old.incident_id == old_too.incident_id != live.incident_id
    assert late.incident_id == live.incident_id, "an hour late is not old"
    assert [alert.status for alert in ingest.tick(NOON + 6 * MINUTE)] == ["RESOLVED"]


def test_after_an_outage_of_the_pipeline_a_fatal_error_is_still_live() -> None:
    ingest = Ingest(rule("fatal_error"))
    [alert] = ingest.tick(NOON, (fatal(), NOON), now=NOON + timedelta(hours=9))
    assert ("fatal_error", '["payments"]') in ingest.state
    assert alert.incident_id == ingest.state["fatal_error", '["payments"]'].incident_id


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_however_events_fall_into_batches_the_same_alerts_fire(data: st.DataObject) -> None:
    gaps = st.sampled_from([timedelta(0), SECOND, 2 * MINUTE, 5 * MINUTE, 9 * MINUTE])
    lateness = st.sampled_from([timedelta(0), MINUTE, MAX_AGE, 2 * MAX_AGE])
    drawn = data.draw(st.lists(st.tuples(gaps, lateness, st.sampled_from("abc")), max_size=12))
    events, clock = [], NOON
    for number, (gap, late, service) in enumerate(drawn):
        clock += gap
        events.append((fatal(service, clock - late, str(number)), clock))
    whole = Ingest(rule("fatal_error"))
    whole.tick(clock, *events)
    parts, rest = Ingest(rule("fatal_error")), events
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        batch, rest = rest[:size], rest[size:]
        parts.tick(batch[-1][1], *batch)
        if data.draw(st.booleans()):
            parts.restart()
    assert firing(parts.alerts) == firing(whole.alerts)
    assert len({alert.alert_id for alert in whole.alerts}) == len(whole.alerts)
    assert {alert.alert_id for alert in parts.alerts} == {alert.alert_id for alert in whole.alerts}


def firing(alerts: Iterable[Alert]) -> list[Alert]:
    return [alert for alert in alerts if alert.status == "FIRING"]


# --- event rules over another topic

BIG_ORDERS = """
rules:
  - {name: big_order, kind: event, topic: orders_topic, severity: WARN, where: {status: [CREATED, PROCESSING]},
     by: [product_id], resolve_after: 5 min, owner: shop, summary: A big order,
     description: "{user_id} ordered {quantity} for {order_total} at {order_ts}",
     runbook_url: "https://runbooks.example.com/big-order"}
"""


def order(key: str, status: str = "CREATED", product: str = "p1") -> Event:
    return EVENT_TYPES["orders_topic"](
        key, key, "u1", product, 1200, Decimal("1.2500"), Decimal("1500.00"), status, NOON, *(None,) * 3
    )


def test_an_event_rule_alerts_on_the_topic_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(BIG_ORDERS, encoding="utf-8")
    ingest = Ingest((*rule("fatal_error"), *load_rules(path)))
    wanted = alerting_events(ingest.rules)
    assert set(wanted) == {"errors_topic", "orders_topic"}
    assert [wanted["orders_topic"](order("a", status)) for status in ("CREATED", "SHIPPED")] == [True, False]
    told = ingest.tick(
        NOON + 2 * SECOND,
        Received("orders_topic", order("a"), NOON + SECOND),
        (fatal(), NOON),
        Received("orders_topic", order("b"), NOON + 2 * SECOND),
        Received("orders_topic", order("c", "SHIPPED"), NOON),
    )
    assert [alert.alert_type for alert in told] == ["FATAL_ERROR", "BIG_ORDER", "BIG_ORDER"]
    assert told[1].description == "u1 ordered 1,200 for 1,500 at 2026-03-04 12:00:00 UTC"
    assert (told[1].service_name, told[1].severity, told[1].alert_timestamp) == (None, "WARN", NOON)
    assert told[1].incident_id == told[2].incident_id
    resolved = [alert.description for alert in ingest.tick(NOON + 6 * MINUTE)]
    assert resolved == [
        "Resolved: FATAL_ERROR of payments: none for 5 min",
        "Resolved: BIG_ORDER of p1: none for 5 min",
    ]


# --- thresholds: many_errors is ERROR and FATAL by service over 60 for 2 min, resolved after 5 min inside

HOT = [(1, "payments", "ERROR", 70), (2, "payments", "ERROR", 61)]


@pytest.mark.parametrize(
    ("sentence", "rows", "told"),
    [
        ("two minutes over the limit fire", HOT, ["2 FIRING payments", "7 RESOLVED payments"]),
        ("one minute is not enough", HOT[:1], []),
        ("two minutes with a quiet one between are not in a row", [HOT[0], (3, "payments", "ERROR", 70)], []),
        ("the limit itself is inside", [(1, "payments", "ERROR", 60), (2, "payments", "ERROR", 60)], []),
        (
            "severities that the rule names are added up",
            [(m, "payments", s, 31) for m in (1, 2) for s in ("ERROR", "FATAL")],
            ["2 FIRING payments", "7 RESOLVED payments"],
        ),
        ("other severities do not count", [(m, "payments", "WARN", 99) for m in (1, 2, 3)], []),
        (
            "services are judged apart",
            [*HOT, (1, "search", "ERROR", 31), (2, "search", "ERROR", 31)],
            ["2 FIRING payments", "7 RESOLVED payments"],
        ),
        ("services are not added up", [(m, s, "ERROR", 40) for m in (1, 2) for s in ("cart", "search")], []),
        (
            "an incident that goes on is told once",
            [(m, "payments", "ERROR", 80) for m in range(1, 9)],
            ["2 FIRING payments", "13 RESOLVED payments"],
        ),
        (
            "a relapse within keep_firing_for belongs to the incident",
            [*HOT, (6, "payments", "ERROR", 61)],
            ["2 FIRING payments", "11 RESOLVED payments"],
        ),
        (
            "a service that disappears counts as zero and resolves; one below the limit as well",
            [*HOT, *((m, "payments", "ERROR", 1) for m in range(3, 9))],
            ["2 FIRING payments", "7 RESOLVED payments"],
        ),
    ],
)
def test_a_threshold(sentence: str, rows: list[tuple[int, str, str, int]], told: list[str]) -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*rows)})
    assert ingest.minutes(0, 15) == told, sentence
    assert [key[1] for key in ingest.state] == [""], "only the rule's clock stays"


def test_a_threshold_alert_says_what_was_judged() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.minutes(0, 7)
    fires, resolved = ingest.alerts
    end = NOON + 3 * MINUTE
    assert fires.alert_type == "MANY_ERRORS"
    assert fires.description == "Many errors in service: payments - 61 a minute, over 60 for 2 min"
    assert (fires.metric_value, fires.threshold, fires.severity) == (61.0, 60.0, "ERROR")
    assert (fires.alert_timestamp, fires.starts_at, fires.received_at) == (end, end, end)
    assert resolved.description == "Resolved: MANY_ERRORS of payments: 0, inside the limit of 60 for 5 min"
    assert (resolved.incident_id, resolved.starts_at) == (fires.incident_id, end)
    assert (resolved.alert_timestamp, resolved.metric_value) == (NOON + 8 * MINUTE, 0.0)


def test_a_minute_is_closed_ten_seconds_past_its_end() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.minutes(0, 1)
    assert ingest.tick(NOON + 3 * MINUTE + 10 * SECOND) == []
    assert len(ingest.tick(NOON + 3 * MINUTE + 10 * SECOND + timedelta(microseconds=1))) == 1


def test_later_rows_mend_the_figure_and_never_the_verdict() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors()})
    assert ingest.minutes(0, 5) == []
    ingest.kpis["errors_per_minute"] = errors(*HOT)
    assert ingest.minutes(6, 9) == []


def test_a_new_rule_begins_at_the_present() -> None:
    ingest = Ingest(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    assert ingest.tick(NOON + 6 * MINUTE) == []
    assert ingest.asked == []


def test_a_backlog_is_judged_within_the_lookback_only() -> None:
    hot = [(minute, "payments", "ERROR", 99) for minute in range(60)]
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*hot)})
    now = NOON + 60 * MINUTE + 11 * SECOND
    [alert] = ingest.tick(now)
    assert ingest.asked == [("errors_per_minute", NOON + 45 * MINUTE, NOON + 60 * MINUTE)]
    assert alert.alert_timestamp == NOON + 47 * MINUTE
    behind = started(rule("many_errors"), kpis={"errors_per_minute": errors(*hot)})
    assert behind.tick(NOON + 30 * MINUTE, now=now) == []
    assert behind.asked == []


def test_history_raises_nothing_but_fatal_rows_of_the_past() -> None:
    then = datetime(1997, 1, 1, tzinfo=UTC)
    kpis = {"errors_per_minute": errors(*((minute, "payments", "ERROR", 99) for minute in range(-30, 0)))}
    ingest = started(RULES, kpis=kpis)
    told = ingest.tick(NOON + 30 * SECOND, (fatal(at=then), NOON + 30 * SECOND), received={"orders_topic": NOON})
    assert [alert.alert_type for alert in told] == ["FATAL_ERROR"]
    assert [key for key in ingest.state if key[1] != ""] == []


def test_minutes_in_which_the_log_could_not_be_read_and_the_two_after_it_are_not_judged() -> None:
    rows = [(minute, "payments", "ERROR", 99) for minute in range(1, 8)]
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*rows)})
    ingest.unreadable["errors_topic"] = [(NOON + 2 * MINUTE + 50 * SECOND, NOON + 3 * MINUTE + 5 * SECOND)]
    assert ingest.minutes(0, 12) == ["7 FIRING payments", "12 RESOLVED payments"]
    judged = [start for _, start, _ in ingest.asked]
    assert judged == [NOON + minute * MINUTE for minute in (0, 1, 6, 7, 8, 9, 10, 11, 12)]


def test_an_incident_does_not_resolve_in_minutes_that_were_not_seen() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.unreadable["errors_topic"] = [(NOON + 4 * MINUTE, NOON + 5 * MINUTE)]
    assert ingest.minutes(0, 12) == ["2 FIRING payments", "11 RESOLVED payments"]


def test_a_restart_does_not_forget_a_time_that_could_not_be_read() -> None:
    rows = [(minute, "payments", "ERROR", 99) for minute in (3, 4, 5)]
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*rows)})
    ingest.unreadable["errors_topic"] = [(NOON + 2 * MINUTE + 10 * SECOND, NOON + 3 * MINUTE + 30 * SECOND)]
    assert ingest.tick(NOON + 3 * MINUTE + 31 * SECOND) == []
    ingest.restart()
    ingest.unreadable.clear()
    assert ingest.minutes(3, 9) == []


def test_without_the_rows_that_are_due_a_minute_waits() -> None:
    ingest = started(rule("many_errors"))
    moment = Moment(NOON + 2 * MINUTE, {"errors_topic": NOON + 2 * MINUTE})
    alerts, state = evaluate(ingest.rules, ingest.state, moment, max_age=MAX_AGE, max_lookback=LOOKBACK)
    assert alerts == []
    assert due(ingest.rules, state, moment, LOOKBACK) == {"errors_per_minute": ((NOON, NOON + MINUTE),)}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_however_ticks_fall_each_minute_is_judged_once_and_alike(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.sampled_from([0, 5, 61, 99]), min_size=10, max_size=10))
    kpis = {"errors_per_minute": errors(*((m, "payments", "ERROR", count) for m, count in enumerate(counts) if count))}
    steady = started(rule("many_errors"), kpis=kpis)
    steady.minutes(0, 9)
    ingest, seconds = started(rule("many_errors"), kpis=kpis), 11
    while seconds < 611:
        seconds = min(611, seconds + data.draw(st.sampled_from([1, 15, 49, 60, 61, 200])))
        ingest.tick(NOON + seconds * SECOND)
        if data.draw(st.booleans()):
            ingest.restart()
    assert ingest.alerts == steady.alerts
    edges = [edge for _, start, end in ingest.asked for edge in (start, end)]
    assert edges[0] == NOON
    assert edges[-1] == NOON + 10 * MINUTE
    assert edges[1:-1:2] == edges[2::2], "each range begins where the one before ended"


# --- thresholds from below, on a whole shop's figure

REVENUE = """
rules:
  - {name: low_revenue, kind: threshold, severity: WARN, table: orders_revenue_per_minute, column: total_revenue,
     aggregate: sum, by: [], below: 10.5, for: 2 min, keep_firing_for: 1 min, owner: shop, summary: Little revenue,
     description: "Revenue {value}, below {threshold}", runbook_url: "https://runbooks.example.com/revenue"}
"""


def test_revenue_below_a_limit_fires_from_the_first_order_on(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(REVENUE, encoding="utf-8")
    rows = [
        {
            "window_start": NOON + minute * MINUTE,
            "window_end": NOON + (minute + 1) * MINUTE,
            "orders_count": 1,
            "total_revenue": revenue,
            "cancelled_count": 0,
            "cancelled_revenue": 0,
            "buyers": 1,
            "updated_at": NOON,
        }
        for minute, revenue in ((3, 20), (4, 20), (6, 4), (7, 20))
    ]
    orders = pa.Table.from_pylist(rows, schema=arrow_schema(TABLES["orders_revenue_per_minute"]))
    ingest = started(load_rules(path), kpis={"orders_revenue_per_minute": orders})
    assert ingest.minutes(0, 2) == [], "a shop without a first order has no revenue to miss"
    ingest.first_event_at["orders_topic"] = NOON + 3 * MINUTE
    assert ingest.minutes(3, 7) == ["6 FIRING None", "7 RESOLVED None"]
    assert ingest.alerts[0].description == "Revenue 4, below 10.50"
    assert ingest.minutes(8, 9) == ["9 FIRING None"], "minutes without rows are zero"


# --- no data: no_orders is 4 min without an order, resolved after 2 min with some


def silence(ingest: Ingest, first: int, last: int, heard: Iterable[int] = ()) -> list[str]:
    """Tick every 20 s of the minutes past noon, with orders in the minutes named."""
    told = []
    for step in range(first * 3, last * 3 + 3):
        at = NOON + step * 20 * SECOND
        received = {"orders_topic": at} if step // 3 in heard else {}
        told += [f"{alert.alert_timestamp:%H:%M} {alert.status}" for alert in ingest.tick(at, received=received)]
    return told


def test_four_silent_minutes_fire_and_two_with_orders_resolve() -> None:
    ingest = Ingest(rule("no_orders"))
    assert silence(ingest, 0, 12, heard=(0, 9, 10, 11, 12)) == ["12:05 FIRING", "12:10 RESOLVED"]
    fires, _ = ingest.alerts
    assert fires.description == "No orders for 4 min"
    assert (fires.metric_value, fires.threshold, fires.service_name) == (4.0, 4.0, None)


def test_three_silent_minutes_are_a_pause() -> None:
    assert silence(Ingest(rule("no_orders")), 0, 15, heard=(0, 4, 8, 12)) == []


def test_a_topic_without_a_first_event_is_not_silent() -> None:
    assert silence(Ingest(rule("no_orders")), 0, 15) == []


def test_a_rule_that_is_switched_on_in_a_silence_counts_from_then() -> None:
    ingest = Ingest(rule("no_orders"), first_event_at={"orders_topic": NOON - timedelta(days=3)})
    assert silence(ingest, 0, 15) == ["12:03 FIRING"]


def test_a_silence_goes_on_over_a_quick_restart() -> None:
    ingest = Ingest(rule("no_orders"))
    silence(ingest, 0, 3, heard=(0,))
    ingest.restart()
    assert silence(ingest, 4, 8) == ["12:05 FIRING"]


def test_while_ingest_was_down_nobody_knows_whether_the_shop_was_silent() -> None:
    ingest = Ingest(rule("no_orders"))
    silence(ingest, 0, 2, heard=(0, 1, 2))
    ingest.restart()
    assert silence(ingest, 600, 602) == [], "the next morning"
    assert silence(ingest, 603, 609) == ["22:03 FIRING"]


def test_an_unreadable_log_is_not_a_silent_shop() -> None:
    ingest = Ingest(rule("no_orders"))
    ingest.unreadable["orders_topic"] = [(NOON + 2 * MINUTE, NOON + 4 * MINUTE)]
    assert silence(ingest, 0, 9, heard=(0, 1)) == []
    assert silence(ingest, 10, 12) == ["12:10 FIRING"], "minutes 4 and 5 are left out too"


# --- rules that change, cost


def test_taking_a_rule_out_ends_its_incidents() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.minutes(0, 2)
    ingest.rules = rule("fatal_error")
    [resolved] = ingest.tick(NOON + 4 * MINUTE)
    assert (resolved.status, resolved.incident_id) == ("RESOLVED", ingest.alerts[0].incident_id)
    assert resolved.description == "Resolved: MANY_ERRORS of payments: the rule was taken out"
    assert ingest.state == {}


def test_a_rule_that_judges_by_something_else_now_ends_its_incidents() -> None:
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*HOT)})
    ingest.minutes(0, 2)
    ingest.rules = [ingest.rules[0].model_copy(update={"by": ("service_name", "severity")})]
    assert ingest.minutes(3, 7) == ["7 RESOLVED payments"]


def test_the_state_survives_its_table() -> None:
    ingest = started(RULES, kpis={"errors_per_minute": errors(*HOT)})
    ingest.tick(NOON + 2 * MINUTE + 12 * SECOND, (fatal(), NOON + 2 * MINUTE))
    before = ingest.state
    ingest.restart()
    assert ingest.state == before
    assert len(before) == 10, "eight clocks, one pending service, one incident"


def test_a_tick_without_anything_to_judge_costs_next_to_nothing() -> None:
    ingest = started(RULES, kpis={"errors_per_minute": errors()})
    ingest.tick(NOON + 12 * SECOND, *((fatal(f"s{n}", key=str(n)), NOON) for n in range(10)))
    moment = Moment(NOON + 13 * SECOND, dict.fromkeys(TOPICS, NOON + 13 * SECOND), {"orders_topic": NOON})
    _, state = evaluate(RULES, ingest.state, moment, max_age=MAX_AGE, max_lookback=LOOKBACK)
    calls = Counter[str]()
    sys.setprofile(lambda _, event, __: calls.update([event]))
    try:
        found = due(RULES, state, moment, LOOKBACK)
        alerts, after = evaluate(RULES, state, moment, max_age=MAX_AGE, max_lookback=LOOKBACK)
    finally:
        sys.setprofile(None)
    assert (found, alerts) == ({}, [])
    assert after is state, "so the caller writes no rule_state"
    assert calls["call"] + calls["c_call"] < 50 * len(RULES), calls


def test_who_may_be_in_the_row_that_stands_for_many_is_not_taken_for_zero() -> None:
    rows = [(minute, "payments", "ERROR", 100) for minute in range(4)]
    rows += [(minute, OTHER, OTHER, 900) for minute in range(4, 20)] + [(4, "search", "ERROR", 100)]
    rows += [(5, "search", "ERROR", 100), (6, "search", "ERROR", 100)]
    ingest = started(rule("many_errors"), kpis={"errors_per_minute": errors(*rows)})
    told = ingest.minutes(0, 19)
    # payments fires, and is not resolved by minutes in which it has no row of its own; search, which has, fires too.
    assert [what for what in told if "payments" in what] == ["1 FIRING payments"]
    assert [what.split()[1:] for what in told if "search" in what] == [["FIRING", "search"]]
    assert not [what for what in told if OTHER in what]
    # Once there are few again, zero is zero.
    assert [what.split()[1] for what in ingest.minutes(20, 40)] == ["RESOLVED", "RESOLVED"]


def test_a_publish_copies_nothing_of_the_incidents_that_are_open() -> None:
    held = RuleState("fatal_error", '["payments"]', incident_id="i1", starts_at=NOON, newest_received_at=NOON)
    [row] = state_rows({(held.rule, held.entity): held}, NOON)
    assert row == held.row() | {"updated_at": NOON}
    assert row["incident_id"] == "i1"
    # Copies of the times of every open incident, at every publish, are what made publishes slow.
    assert row["starts_at"] is held.starts_at
