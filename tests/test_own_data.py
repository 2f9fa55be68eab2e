"""A shop's own topics and KPI tables: files in config/, no line of code, on the embedded product."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.gateway.commits import SqliteCommits
from lakehouse.dremio.client import Dremio
from lakehouse.kpis import load_kpis
from lakehouse.settings.dremio import DremioSettings
from lakehouse.topics import load_topics
from lakehouse.user_error import UserError
from pipeline.iceberg.schema import evolved, first_metadata
from tests.conftest import NOON
from tests.own_cast import EXAMPLE, Own, payment
from tests.test_gateway import start_gateway, stop
from tillwatch.overlay import lay_over

TOPIC, KPI = "topics/payments_topic.yaml", "kpis/payments_per_minute.sql"
ORDERS = "kpis/orders_by_status.sql"
ORDERS_BY_STATUS = """\
/*
topic: orders_topic
*/
SELECT
  DATE_TRUNC('minute', order_ts) AS window_start,
  DATE_TRUNC('minute', order_ts) + INTERVAL '1' MINUTE AS window_end,
  status,
  COUNT(*) AS orders
FROM orders_processed
GROUP BY DATE_TRUNC('minute', order_ts), status
"""
SECOND = timedelta(seconds=1)


def order(number: int) -> list[Any]:
    """A step that sends an order of the minute `number - 1` past noon."""
    fields = {"order_id": f"o-{number}", "user_id": "ada", "product_id": "book", "quantity": 1, "price": 1}
    at = NOON + (number - 1) * 60 * SECOND
    return ["send", "orders_topic", fields | {"status": "CREATED", "order_time": at.isoformat()}]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


@pytest.fixture
def payments(own: Own) -> Own:
    own.add(TOPIC)
    own.add(KPI)
    return own


def test_a_field_may_have_a_name_that_sql_keeps_for_itself(own: Own) -> None:
    own.add(TOPIC, "fields: {payment_id: ID, order: MONEY, group: [select, from], user: TEXT, payment_time: TIME}\n")
    minute = "DATE_TRUNC('minute', payment_time)"
    own.add(KPI, f"""/*\ntopic: payments_topic\n*/
SELECT {minute} AS window_start, {minute} + INTERVAL '1' MINUTE AS window_end, "group", COUNT(*) AS "count",
  COUNT(DISTINCT "user") AS "table", SUM("order") AS "order"
FROM payments_processed
GROUP BY {minute}, "group"
""")  # fmt: skip
    fields = {"payment_id": "p", "order": "2.5", "group": "select", "user": "ada", "payment_time": NOON.isoformat()}
    rows = own.shop([["send", "payments_topic", fields], ["publish"]], "payments_per_minute")["payments_per_minute"]
    assert [[row[name] for name in ("group", "count", "table", "order")] for row in rows] == [["select", 1, 1, "2.50"]]


def test_the_example_stores_counts_alerts_and_routes_without_a_line_of_code(own: Own) -> None:
    own.settings = lay_over([EXAMPLE], own.data_dir)
    failed = [payment(number, NOON + number * SECOND, state="FAILED") for number in range(6)]
    again = payment(7, amount="0.005", payment_time="2026-03-02T13:00:05+01:00")
    bad = [payment(8, amount=0), payment(9, state="LOST")]
    steps = [["at", 30], *failed, again, again, *bad, ["publish"], ["at", 80], payment(10, NOON + 80 * SECOND)]
    rows = own.shop([*steps, ["publish"]], "alerts", "dead_letters")
    fired = [(row["rule"], row["description"]) for row in rows["alerts"]]
    assert fired[:6] == [("payment_failed", f"Payment p-{n} of order o-{n} failed: 2.50") for n in range(6)]
    assert fired[6:] == [("payments_failing", "Payments fail: 6 in a minute, over 4")]
    assert [row["detail"] for row in rows["dead_letters"]] == [
        "amount is 0, not above 0",
        "state is 'LOST', not one of AUTHORISED CAPTURED FAILED",
    ]
    process, port = start_gateway(own.data_dir, TILLWATCH_CONFIG=str(own.settings))
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            found = dremio.sql(
                "SELECT window_start, state, payments, amount FROM nessie_minio_catalog.ecommerce_db."
                "payments_per_minute ORDER BY 1, 2"
            )
            told = [tuple(map(str, row.values())) for row in found.to_pylist()]
    finally:
        stop(process)
    assert told == [
        ("2026-03-02 12:00:00+00:00", "CAPTURED", "1", "0.01"),
        ("2026-03-02 12:00:00+00:00", "FAILED", "6", "15.00"),
        ("2026-03-02 12:01:00+00:00", "CAPTURED", "1", "2.50"),
    ]
    slack = {
        "TILLWATCH_NOTIFIER_SLACK_TOKEN": "xoxb-1",
        "TILLWATCH_NOTIFIER_SLACK_CHANNEL": "C0123456789",
        "TILLWATCH_NOTIFIER_SLACK_BASE_URL": "http://127.0.0.1:5008/api/",
    }
    words = ("routes", "test", "rule=payments_failing", "owner=payments", "severity=WARN", "--json")
    (routed,) = json.loads(own.run("-m", "notifier", *words, **slack).stdout)
    assert (routed["route"], routed["destination"]) == (["payments"], "C0123456789")


def test_columns_may_be_added_not_changed_nor_removed(payments: Own) -> None:
    payments.shop([payment(1), ["publish"]])
    text = (EXAMPLE / TOPIC).read_text()
    payments.add(TOPIC, text + "  provider: {kind: TEXT, required: false}\n")
    later = payment(2, NOON + 60 * SECOND, provider="acme")
    rows = payments.shop([["at", 60], later, ["publish"]], "payments_processed", "payments_per_minute")
    assert [row["provider"] for row in rows["payments_processed"]] == [None, "acme"]
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1, 1]

    payments.add(TOPIC, text)
    done = payments.run("-m", "embedded.ingest")
    assert (done.returncode, done.stderr) == (
        2,
        f"tillwatch: {payments.config / TOPIC}, line 2: the table ecommerce_db.payments_processed has the column "
        "'provider' (string), which is declared no more; columns may be added, not removed: put it back, or give the "
        "table another name.\n",
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "MONEY",
            "PRICE",
            "line 6: the table ecommerce_db.payments_processed has the column 'amount' as decimal(18,2), and here it "
            "is decimal(18,4); make it decimal(18,2) again, or give it another name.",
        ),
        (
            "payment_time: TIME",
            "payment_time: {kind: TIME, required: false}\n  paid_at: TIME",
            "line 9: the rows of ecommerce_db.payments_processed lie by the time 'payment_time', not by 'paid_at'; let "
            "'payment_time' be the time again, or give the table another name.",
        ),
    ],
)
def test_what_is_stored_is_not_changed(own: Own, old: str, new: str, sentence: str) -> None:
    path = own.add(TOPIC)
    stored = first_metadata(load_topics([], [path])["payments_topic"].table, "file:///t", {})
    own.add(TOPIC, (EXAMPLE / TOPIC).read_text().replace(old, new))
    with pytest.raises(UserError) as refused:
        evolved(load_topics([], [path])["payments_topic"].table, stored, {})
    assert str(refused.value) == f"{path}, {sentence}"


def test_a_query_may_not_change_what_its_table_holds(own: Own) -> None:
    topics, path = load_topics([], [own.add(TOPIC)]), own.add(KPI)
    stored = first_metadata(load_kpis([], topics, [path])["payments_per_minute"].table, "file:///t", {})
    own.add(KPI, (EXAMPLE / KPI).read_text().replace("SUM(amount)", "AVG(amount)"))
    with pytest.raises(UserError, match=r"sql, line 6: the table .* as decimal\(38,2\), and here it is double;"):
        evolved(load_kpis([], topics, [path])["payments_per_minute"].table, stored, {})


def test_a_field_that_need_not_be_there_any_more_may_be_left_out(own: Own) -> None:
    path = own.add(TOPIC)
    stored = first_metadata(load_topics([], [path])["payments_topic"].table, "file:///t", {})
    own.add(
        TOPIC, (EXAMPLE / TOPIC).read_text().replace("{kind: ID, doc: the order it pays}", "{kind: ID, required: no}")
    )
    changed = evolved(load_topics([], [path])["payments_topic"].table, stored, {})
    assert changed is not None
    assert [field.name for field in changed.schema().fields if not field.required] == ["order_id", "produced_at"]


def test_a_changed_query_is_filled_in_anew(payments: Own) -> None:
    payments.shop([payment(1), payment(2, state="FAILED"), ["publish"]])
    payments.add(KPI, (EXAMPLE / KPI).read_text().replace("COUNT(*)", "10 * COUNT(*)"))
    later = payment(3, NOON + 120 * SECOND)
    rows = payments.shop([["at", 120], ["publish"], ["tick"], ["tick"], later, ["publish"]], "payments_per_minute")
    assert [row["payments"] for row in rows["payments_per_minute"]] == [10, 10, 10]


def test_what_a_file_that_was_taken_away_declared_stays_and_lacks_nothing_once_it_is_back(payments: Own) -> None:
    payments.add(ORDERS, ORDERS_BY_STATUS)
    payments.shop([payment(1), order(1), ["publish"]])
    for name in (TOPIC, KPI, ORDERS):
        payments.take_away(name)
    # A payment that nothing reads, and an order that its KPI does not see.
    payments.shop([["at", 60], payment(2, NOON + 60 * SECOND), order(2), ["publish"], ["tick"], ["sweep"]])
    head = SqliteCommits(payments.data_dir / "catalog.db").head()
    assert head is not None
    assert {"payments_processed", "payments_per_minute"} <= set(head.tables)  # readers still see them
    for name, text in ((TOPIC, None), (KPI, None), (ORDERS, ORDERS_BY_STATUS)):
        payments.add(name, text)
    steps = [["at", 120], *[["tick"]] * 4, payment(3, NOON + 120 * SECOND), order(3), ["publish"], ["tick"]]
    rows = payments.shop(steps, "payments_processed", "payments_per_minute", "orders_by_status")
    assert [row["payment_id"] for row in rows["payments_processed"]] == ["p-1", "p-2", "p-3"]
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1, 1, 1]
    assert [row["orders"] for row in rows["orders_by_status"]] == [1, 1, 1]


SLOW = (
    "COUNT(*) + MAX(CASE WHEN order_id = 'o-2' THEN LIST_SUM(LIST_TRANSFORM(RANGE(30000000 + LENGTH(order_id)), "
    "x -> x % 7)) * 0 ELSE 0 END)"
)
FAILS = "SUM(CASE WHEN order_id = 'o-2' THEN CAST(payment_id AS INT) ELSE 1 END)"


def test_a_query_that_fails_or_is_slow_is_left_out_said_and_mended(payments: Own) -> None:
    text = (EXAMPLE / KPI).read_text()
    for name, spoilt in (("fails", FAILS), ("slow", SLOW)):
        payments.add(f"kpis/{name}.sql", text.replace("COUNT(*)", spoilt))
    steps = [payment(1), ["publish"], ["at", 3600], payment(2, NOON + 3600 * SECOND), ["publish"]]
    rows = payments.shop(steps, "payments_processed", "payments_per_minute", "fails", "slow", "kpi_state")
    assert [len(rows[name]) for name in ("payments_processed", "payments_per_minute", "fails", "slow")] == [2, 2, 1, 1]
    said = {row["kpi"]: (row["hour_start"], row["reason"]) for row in rows["kpi_state"] if row["hour_start"]}
    assert said == {
        "fails": ("2026-03-02 13:00:00+00:00", said["fails"][1]),
        "slow": ("2026-03-02 13:00:00+00:00", "it took over 0.3 s"),
    }
    assert "Could not convert string 'p-2' to INT32" in said["fails"][1]
    for name in ("fails", "slow"):
        payments.add(f"kpis/{name}.sql", text)
    rows = payments.shop([["at", 3660], *[["tick"]] * 8, ["publish"]], "fails", "slow", "kpi_state")
    assert [[row["payments"] for row in rows[name]] for name in ("fails", "slow")] == [[1, 1], [1, 1]]
    assert not [row for row in rows["kpi_state"] if row["hour_start"]]


RULES: list[dict[str, Any]] = [
    {"name": "fell_to_zero", "kind": "zero", "table": "payments_per_minute", "column": "payments", "by": ["state"]}
    | {"window": "10 min", "at_least": 3, "for": "2 min", "description": "{state}: {usual}"},
    {"name": "few", "kind": "anomaly", "table": "payments_per_minute", "column": "amount", "by": [], "over": "2 min"}
    | {"below": 3, "change": 0.5, "window": "10 min", "days": 0, "at_least": 3, "for": "1 min"}
    | {"description": "{value} of {usual}"},
    {"name": "silent", "kind": "no_data", "topic": "payments_topic", "for": "3 min", "description": "{topic} {value}"},
    {"name": "unread", "kind": "dead_letters", "topics": ["payments_topic"], "above": 5, "at_least": 2, "for": "1 min"}
    | {"description": "{value} % of {topic}"},
]


def test_every_kind_of_rule_judges_own_topics_and_kpis(payments: Own) -> None:
    common = {"severity": "WARN", "keep_firing_for": "5 min", "owner": "me", "summary": "x"}
    payments.add("alerts.yaml", json.dumps({"rules": [rule | common for rule in RULES]}))
    steps: list[Any] = [["at", 0]]
    minutes = [*range(-20, 3)]
    steps += [payment(10 * m + n, NOON + (60 * m + n) * SECOND) for m in minutes[:20] for n in range(6)]
    for minute in range(7):
        for part in range(3):  # as it happens: what is not read for half a minute is not watched
            steps += [["at", 60 * minute + 12 + 20 * part], order(1 + minute)]
            if part == 2 and minute in minutes:
                steps += [payment(10 * minute + n, NOON + (60 * minute + n) * SECOND) for n in range(6)]
                steps += [payment(900, amount="x"), payment(901, amount="x")] if minute == 1 else []
            steps += [["publish"]]
    told = {row["rule"]: row["description"] for row in payments.shop(steps, "alerts")["alerts"]}
    assert told == {
        "fell_to_zero": "CAPTURED: 6",
        "few": "0 of 15",
        "silent": "payments_topic 3",
        "unread": "25 % of payments_topic",
    }


def test_the_contract_is_printed_with_what_is_own_and_written_without(payments: Own) -> None:
    page = payments.run("-m", "tillwatch", "contract").stdout
    assert "### payments_topic\n\nOne message for each step of a payment" in page
    assert "| `amount` | decimal(38,2) | currency of the shop | amount | may be |" in page
    assert payments.run("-m", "lakehouse.contract", "--check").returncode == 0


def test_a_wrong_file_stops_every_part_with_one_sentence(payments: Own) -> None:
    payments.add(TOPIC, (EXAMPLE / TOPIC).read_text().replace("MONEY", "MONEYS"))
    for part in ("embedded.ingest", "notifier"):
        done = payments.run("-m", part, "--help")
        assert (done.returncode, done.stdout, done.stderr) == (
            2,
            "",
            f"tillwatch: {payments.config / TOPIC}, line 6, 'amount': 'kind' is 'MONEYS' (did you mean 'MONEY'?); "
            "expected one of ID, TEXT, CHOICE, COUNT, PRICE, MONEY, TIME, CURRENCY.\n",
        )
