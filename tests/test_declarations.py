"""Declarations of topics and KPI tables: what follows from them, and one sentence for what is wrong in one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding import columns_of
from lakehouse.decode import Event, Message, Rejected, decode
from lakehouse.decode.careful import read_carefully
from lakehouse.decode.fast import reader
from lakehouse.kpis import KPIS, Counting, kpis_of, load_kpis
from lakehouse.kpis.check import check_queries
from lakehouse.tables import TABLES, by_name
from lakehouse.topics import TOPICS, Topic, load_topics
from lakehouse.user_error import UserError
from tests.test_events import CLICK, ERROR, NOW, ORDER, payload
from tests.test_recipes_data import PAYMENTS, PAYMENTS_PER_MINUTE

MANY = """\
order: 1
doc: One message a shipment.
time: sent_time
fields:
  parcel_id: {kind: ID, doc: the parcel}
  carrier: {kind: TEXT, doc: who carries it}
  weight: {kind: PRICE, doc: in kg}
  pieces: {kind: COUNT, doc: pieces}
  freight: {kind: MONEY, default: weight * pieces, doc: what it costs}
  sent_time: {kind: TIME, column: sent_ts, doc: when}
  ref: {kind: ID, required: false, doc: their number}
  note: {kind: TEXT, required: false, doc: a remark}
  speed: {kind: CHOICE, choices: [SLOW, FAST], required: false, doc: how}
  stops: {kind: COUNT, required: false, doc: on the way}
  toll: {kind: MONEY, required: false, above: -1, doc: on the way}
  due_time: {kind: TIME, required: false, doc: when it should be there}
key: [parcel_id, carrier, weight, pieces, freight, sent_time]
table: {name: parcels_processed, doc: Parcels.}
"""
PARCEL = {
    "parcel_id": '"p"',
    "carrier": '"post"',
    "weight": "1.5",
    "pieces": "2",
    "sent_time": '"2026-11-23T11:00:00Z"',
}


def topic(tmp_path: Path, text: str = PAYMENTS, name: str = "payments_topic") -> Topic:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    return load_topics([path])[name]


@pytest.mark.parametrize(
    ("name", "sample", "plain", "produced"),
    [
        ("orders_topic", ORDER, "37f6d7c911d93af67023c35e580e5710", "e624380a3f02299dca20c2ad3ff4dbe3"),
        ("clicks_topic", CLICK, "299412e22181a7d47704d46319f0479d", "65a91bd6fe282aebf83d8256106bd5ac"),
        ("errors_topic", ERROR, "72a13fcfbad4c2ea1591f8b61d44884b", "9fe2fda19055216a73949e414bb57b05"),
    ],
)
def test_keys_are_those_of_all_versions_before(name: str, sample: dict[str, str], plain: str, produced: str) -> None:
    keys = []
    for more in ({}, {"produced_at": '"2026-11-23T12:00:00Z"'}):
        (event,) = decode(name, Message(payload(sample, **more), NOW), None)
        assert isinstance(event, Event)
        keys.append(event.event_key)
    assert keys == [plain, produced]


def test_a_given_total_is_part_of_the_key_as_before() -> None:
    (event,) = decode("orders_topic", Message(payload(ORDER, order_total='"5.005"'), NOW), None)
    assert isinstance(event, Event)
    assert event.event_key == "937c3527aa709ae74b4b59a1b53e0c57"


def test_a_field_that_came_later_enters_the_key_only_where_it_is_given(tmp_path: Path) -> None:
    before = topic(tmp_path, PAYMENTS)
    later = PAYMENTS.replace("key:", "  channel: {kind: TEXT, required: false, doc: how}\nkey:")
    after = topic(tmp_path, later)
    sample = {"payment_id": "1", "order_id": "2", "amount": "3", "state": '"FAILED"', "payment_time": '"2026-11-23"'}

    def key(declared: Topic, **more: str) -> str:
        found = read_carefully(declared, payload(sample, **more))
        assert isinstance(found, Event)
        assert found == reader(declared)(payload(sample, **more)) or declared is before
        return found.event_key

    assert key(after) == key(before)
    assert key(after, channel='"web"') != key(after) != key(after, channel='"shop"')


def test_an_event_is_read_by_what_its_topic_declares(tmp_path: Path) -> None:
    event = reader(topic(tmp_path, MANY, "parcels_topic"))(payload(PARCEL, ref="7", note='" "', toll="0"))
    assert event is not None
    assert (event.parcel_id, event.weight, event.freight) == ("p", Decimal("1.5000"), Decimal("3.00"))
    assert (event.ref, event.note, event.speed, event.stops, event.toll) == ("7", None, None, None, Decimal("0.00"))
    assert event.sent_ts == datetime(2026, 11, 23, 11, tzinfo=UTC)


_VALUES = st.sampled_from(
    ['"p"', '""', '" "', "7", "0", "-1", "2.5", "1e3", "null", '"SLOW"', '"slow"', "[]", "true", '"2026-11-23"', '"x"']
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*PARCEL, "ref", "note", "speed", "stops", "toll", "due_time"]), _VALUES))
def test_both_ways_of_reading_agree_for_every_kind_of_field(parcels: Topic, fast: Any, changed: dict[str, str]) -> None:
    message = payload(PARCEL, **changed)
    try:
        found = fast(message)
    except Exception:  # looked at carefully then
        found = None
    if found is not None:
        assert read_carefully(parcels, message) == found
    assert isinstance(read_carefully(parcels, message), Event | Rejected)


@pytest.fixture(scope="module")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Topic:
    return topic(tmp_path_factory.mktemp("topics"), MANY, "parcels_topic")


@pytest.fixture(scope="module")
def fast(parcels: Topic) -> Any:
    return reader(parcels)


WRONG_TOPICS = [
    ("a missing key", "doc: One message a payment.\n", "", "line 1: the key 'doc' is missing; add it."),
    ("a missing key of a table", "  name: payments_processed\n", "", "line 11: the key 'name' is missing; add it."),
    (
        "a missing key of a field",
        "{kind: ID, doc: the order it pays}",
        "{kind: ID}",
        "line 6, 'order_id': the key 'doc' is missing; add it.",
    ),
    (
        "an unknown key",
        "order: 4",
        "order: 4\nretention: 3",
        "line 2: the key 'retention' is unknown; known are order, doc, time, fields, key, table, message_key.",
    ),
    (
        "another type",
        "order: 4",
        "order: four",
        "line 1: 'order' is of another type: expected a whole number, got text; correct it.",
    ),
    (
        "an unknown kind",
        "kind: MONEY",
        "kind: EURO",
        "line 7, 'amount': 'kind' is 'EURO'; expected one of ID, TEXT, CHOICE, COUNT, PRICE, MONEY, TIME, CURRENCY.",
    ),
    (
        "a currency that is needed",
        "order_id: {kind: ID",
        "order_id: {kind: CURRENCY",
        "line 6, 'order_id': an event without a currency is in the shop's; say `required: false`.",
    ),
    (
        "an original without a currency",
        "kind: MONEY",
        "kind: MONEY, original: given_amount",
        "line 7, 'amount': 'original' goes with a field of the kind CURRENCY; add one.",
    ),
    (
        "an original of a text",
        "kind: CHOICE",
        "kind: CHOICE, original: given_state",
        "line 8, 'state': 'original' goes with the kinds PRICE and MONEY; leave it out.",
    ),
    (
        "a guest who is no id",
        "kind: CHOICE",
        "kind: CHOICE, guest: true",
        "line 8, 'state': 'guest' goes with a required field of the kind ID; leave it out.",
    ),
    (
        "choices that lack",
        "choices: [AUTHORISED, CAPTURED, FAILED], ",
        "",
        "line 8, 'state': 'choices' goes with the kind CHOICE, which needs one or more.",
    ),
    (
        "a field that is no mapping",
        "{kind: ID, doc: the order it pays}",
        "ID",
        "line 6, 'order_id': 'order_id' is of another type: expected keys, got text; correct it.",
    ),
    (
        "a choice that is blank",
        "[AUTHORISED, CAPTURED, FAILED]",
        "[AUTHORISED, ' ', FAILED]",
        "line 8, 'state': 'choices' has one that is blank or has blanks around it; correct it.",
    ),
    (
        "a time that is no field",
        "time: payment_time\n",
        "time: paid_at\n",
        "line 3: 'time' is 'paid_at'; expected a required field of the kind TIME.",
    ),
    (
        "a key that lacks a field",
        "amount, state, payment_time]",
        "state, payment_time]",
        "line 10: 'key' lacks 'amount', which every event has; add it.",
    ),
    (
        "a key of no field",
        "amount, state, payment_time]",
        "amount, state, payment_time, iban]",
        "line 10: 'key' names 'iban', which is no field of this topic; correct it.",
    ),
    (
        "a field that all have",
        "  payment_time: {",
        "  event_id: {kind: ID, doc: x}\n  payment_time: {",
        "line 9, 'event_id': every topic has the field 'event_id' already; leave it out.",
    ),
    (
        "a column that is there",
        "column: payment_ts",
        "column: state",
        "line 9, 'payment_time': there are two columns 'state'; give the field another name, or `column:`.",
    ),
    (
        "a product of text",
        "kind: MONEY, above: 0,",
        "kind: MONEY, default: state * order_id,",
        "line 7, 'amount': 'default' names 'state'; expected a required field of the kind COUNT, PRICE or MONEY.",
    ),
    (
        "another form of a product",
        "kind: MONEY, above: 0,",
        "kind: MONEY, default: order_id + 1,",
        "line 7, 'amount': 'default' is 'order_id + 1'; expected FIELD * FIELD.",
    ),
]


@pytest.mark.parametrize(("old", "new", "says"), [case[1:] for case in WRONG_TOPICS], ids=[c[0] for c in WRONG_TOPICS])
def test_a_topic_that_is_wrong_is_refused_by_file_line_and_name(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in PAYMENTS
    with pytest.raises(UserError) as refused:
        topic(tmp_path, PAYMENTS.replace(old, new, 1))
    assert str(refused.value) == f"{tmp_path}/payments_topic.yaml, {says}"


def test_what_is_no_yaml_or_says_a_name_twice_is_refused(tmp_path: Path) -> None:
    for text, says in (
        (PAYMENTS + "doc: again\n", "key 'doc' stands twice"),
        ("- a list\n", "holds no `key: value` lines"),
        ("a: [1\n", "it is not YAML"),
        (PAYMENTS.replace("  order_id:", "  on:"), "the key 'on' at line 6 is no text to YAML; quote it"),
    ):
        with pytest.raises(UserError, match=f"payments_topic.yaml.*{says}"):
            topic(tmp_path, text)


def test_two_topics_of_one_table_are_refused(tmp_path: Path) -> None:
    for name in ("payments_topic", "refunds_topic"):
        (tmp_path / f"{name}.yaml").write_text(PAYMENTS)
    with pytest.raises(UserError, match=r"refunds_topic.yaml, line 12: the table 'payments_processed' is that of pay"):
        load_topics(sorted(tmp_path.glob("*.yaml")))


ERRORS = """\
/*
order: 1
topic: errors_topic
doc: Errors by service.
grain: one row a minute and service
columns:
  service_name:
  errors: {type: long, doc: errors}
*/
SELECT
  DATE_TRUNC('minute', error_ts) AS window_start,
  DATE_TRUNC('minute', error_ts) + INTERVAL '1' MINUTE AS window_end,
  service_name,
  COUNT(*) AS errors
FROM errors_processed
GROUP BY DATE_TRUNC('minute', error_ts), service_name
"""
WRONG_KPIS = [
    ("no header", "/*", "--", "line 1: a comment /* … */ that declares the table must come first; add it."),
    ("a missing key", "grain: one row a minute and service\n", "", "line 2: the key 'grain' is missing; add it."),
    (
        "no such topic",
        "topic: errors_topic",
        "topic: errors",
        "line 3: 'topic' is 'errors', which is no topic (did you mean 'errors_topic'?); expected one of orders_topic, "
        "clicks_topic, errors_topic, refunds_topic.",
    ),
    (
        "a column like none",
        "  service_name:\n",
        "  service:\n",
        "line 7, 'service': errors_processed has no column 'service' to be like; say type and doc.",
    ),
    (
        "a column that all have",
        "  service_name:\n",
        "  updated_at:\n",
        "line 7, 'updated_at': every KPI table has the column 'updated_at' already; leave it out.",
    ),
    (
        "no such type",
        "type: long",
        "type: integer",
        "line 8, 'errors': 'type' is 'integer'; expected string, int, long, double, boolean, timestamptz, binary or "
        "decimal(P,S).",
    ),
    (
        "a window of a day",
        "order: 1",
        "order: 1\nwindow: 1440",
        "line 3: 'window' is 1440; expected 1 to 60 minutes.",
    ),
    ("a query that is none", "FROM errors_processed", "FORM errors_processed", "line 15: DuckDB refuses the query: "),
    ("no such column", "  service_name,\n", "  service,\n", "line 13: DuckDB refuses the query: "),
    ("another table", "FROM errors_processed", "FROM orders_processed", "line 15: DuckDB refuses the query: "),
    (
        "a column that is not given",
        "AS errors",
        "AS failures",
        "line 10: the query gives no column 'errors', which its header declares; correct one.",
    ),
    (
        "a column that is not declared",
        "AS errors",
        "AS errors, 1 AS one",
        "line 10: the query gives the column 'one', which its header does not declare; declare it there or leave it "
        "out.",
    ),
    (
        "another type",
        "COUNT(*) AS errors",
        "AVG(1) AS errors",
        "line 10: the query gives 'errors' as double, its header declares long; correct one, or use CAST.",
    ),
    (
        "a narrower type",
        "type: long",
        "type: int",
        "line 10: the query gives 'errors' as int64, its header declares int; correct one, or use CAST.",
    ),
    (
        "fewer digits before the point",
        "  errors: {type: long, doc: errors}\n*/\nSELECT\n",
        '  errors: {type: long, doc: errors}\n  sum: {type: "decimal(5,2)", doc: sum}\n*/\nSELECT\n'
        "  SUM(CAST(1 AS DECIMAL(18,2))) AS sum,\n",
        "line 11: the query gives 'sum' as decimal128(38, 2), its header declares decimal(5,2); correct one, or use",
    ),
    (
        "digits that no type has",
        "type: long",
        'type: "decimal(99,2)"',
        "line 8, 'errors': 'type' is 'decimal(99,2)'; expected string",
    ),
    (
        "a window without its ends",
        "order: 1",
        "order: 1\nwindow: 5",
        "line 3: 'window' is over 1, but the query does not join window_ends; join it.",
    ),
    (
        "a column that is no mapping",
        "errors: {type: long, doc: errors}",
        "errors: long",
        "line 8, 'errors': 'errors' is of another type: expected keys, got text; correct it.",
    ),
    (
        "no value in some minutes",
        "COUNT(*) AS errors",
        "SUM(CASE WHEN severity = 'FATAL' THEN 1 END) AS errors",
        "line 10: the query gives 'errors' without a value for some minutes; declare it `required: false`, or use "
        "COALESCE.",
    ),
    (
        "an hour",
        "  DATE_TRUNC('minute', error_ts) AS window_start,\n",
        "  DATE_TRUNC('hour', MIN(error_ts)) AS window_start,\n",
        "line 10: the query gives a row whose window_start is 10:00:00 of events in the minutes 10:07, 10:08, 10:09, "
        "10:10, 10:11; let it group by minutes of the event's time.",
    ),
    (
        "a file",
        "FROM errors_processed",
        "FROM errors_processed, read_csv('/etc/passwd')",
        "line 15: DuckDB refuses the query: ",
    ),
    ("two statements", "SELECT\n", "SELECT 1;\nSELECT\n", ""),
    ("another statement", "SELECT\n", "CREATE TABLE t AS SELECT\n", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "says"), [case[1:] for case in WRONG_KPIS], ids=[case[0] for case in WRONG_KPIS]
)
def test_a_kpi_table_that_is_wrong_is_refused_by_file_line_and_name(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tmp_path / "errors_by_service.sql"
    path.write_text(ERRORS)
    check_queries(load_kpis([path], TOPICS).values(), Counting(("CREATED",)))
    assert old in ERRORS
    path.write_text(ERRORS.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        check_queries(load_kpis([path], TOPICS).values(), Counting(("CREATED",)))
    wanted = f"{path}, {says or 'line 10: here must stand one SELECT and nothing else; write it.'}"
    assert str(refused.value).startswith(wanted)


def test_a_kpi_table_of_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders_processed.sql"
    path.write_text(ERRORS)
    with pytest.raises(UserError, match=r"line 2: 'orders_processed' is the table of orders_topic; give the file anot"):
        load_kpis([path], TOPICS)
    path = path.rename(tmp_path / "alerts.sql")
    (kpi,) = load_kpis([path], TOPICS).values()
    with pytest.raises(UserError, match=r"Two tables are called 'alerts': .*/alerts.sql and lakehouse/tables.py; give"):
        by_name([kpi.table, TABLES["alerts"]])


def test_a_topic_may_have_several_kpi_tables_or_none(tmp_path: Path) -> None:
    payments = topic(tmp_path)
    assert [kpi.name for kpi in kpis_of("clicks_topic")] == ["active_users_per_window", "clicks_per_minute"]
    path = tmp_path / "payments_per_minute.sql"
    path.write_text(PAYMENTS_PER_MINUTE)
    (kpi,) = load_kpis([path], {payments.name: payments}).values()
    assert (kpi.topic, kpi.reads) == ("payments_topic", ("amount", "state", "payment_ts"))
    assert kpis_of("payments_topic") == ()


def test_the_shipped_queries_give_what_is_declared_and_read_no_more_than_they_need() -> None:
    check_queries(KPIS.values(), Counting(("CREATED", "SHIPPED")))
    assert KPIS["orders_revenue_per_minute"].reads == ("order_id", "user_id", "order_total", "status", "order_ts")


def test_on_spark_two_topics_share_a_column_of_one_type_and_no_other(tmp_path: Path) -> None:
    more = "  quantity: {kind: TEXT, doc: x}\n  reason: {kind: TEXT, doc: x}\nkey: [quantity, reason, "
    text = PAYMENTS.replace("key: [", more)
    columns = columns_of({**TOPICS, "payments_topic": topic(tmp_path, text)})
    assert columns["payments_topic"]["order_id"] == columns["orders_topic"]["order_id"] == "order_id"
    assert columns["payments_topic"]["quantity"] == "quantity_of_payments_topic"
    assert columns["orders_topic"]["quantity"] == "quantity_of_orders_topic"
    assert columns["payments_topic"]["reason"] == "reason_of_payments_topic"  # DECODED has a reason of its own
    assert columns["payments_topic"]["payment_ts"] == columns["orders_topic"]["order_ts"] == "event_at"
