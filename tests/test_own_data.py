"""A shop's own topics and KPI tables: files in config/, no line of code, on the embedded product."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

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
SECOND = timedelta(seconds=1)


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


@pytest.fixture
def payments(own: Own) -> Own:
    own.add(TOPIC)
    own.add(KPI)
    return own


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
        "TILLWATCH_NOTIFIER_CONSOLE_URL": "https://shop.example.org/app",
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


def test_what_a_file_that_was_taken_away_declared_stays_and_goes_on_once_it_is_back(payments: Own) -> None:
    payments.shop([payment(1), ["publish"]])
    payments.take_away(TOPIC)
    payments.take_away(KPI)
    # Sent while nothing reads it.
    payments.shop([["at", 60], payment(2, NOON + 60 * SECOND), ["publish"], ["tick"], ["sweep"]])
    process, port = start_gateway(payments.data_dir)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            there = dremio.sql("SELECT payment_id FROM nessie_minio_catalog.ecommerce_db.payments_processed")
            assert there.to_pylist() == [{"payment_id": "p-1"}]
    finally:
        stop(process)
    payments.add(TOPIC)
    payments.add(KPI)
    steps = [["at", 120], ["publish"], ["tick"], ["tick"], payment(3, NOON + 120 * SECOND), ["publish"]]
    rows = payments.shop(steps, "payments_processed", "payments_per_minute")
    assert [row["payment_id"] for row in rows["payments_processed"]] == ["p-1", "p-2", "p-3"]
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1, 1, 1]


def test_a_kpi_that_was_away_for_a_while_lacks_nothing(payments: Own) -> None:
    payments.shop([payment(1), ["publish"]])
    payments.take_away(KPI)
    payments.shop([["at", 60], payment(2, NOON + 60 * SECOND), ["publish"]])
    payments.add(KPI)
    steps = [["at", 120], payment(3, NOON + 120 * SECOND), ["publish"], ["tick"], ["tick"], ["publish"]]
    rows = payments.shop(steps, "payments_per_minute")
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1, 1, 1]


FAILS = "SUM(CASE WHEN order_id = 'o-2' THEN CAST(payment_id AS INT) ELSE 1 END)"
SLOW = (
    "COUNT(*) + MAX(CASE WHEN order_id = 'o-2' THEN LIST_SUM(LIST_TRANSFORM(RANGE(30000000 + LENGTH(order_id)), "
    "x -> x % 7)) * 0 ELSE 0 END)"
)


@pytest.mark.parametrize(("spoilt", "why"), [(FAILS, "Could not convert string 'p-2' to INT32"), (SLOW, "0.3 s")])
def test_a_query_that_fails_or_is_slow_is_left_out_said_and_mended(payments: Own, spoilt: str, why: str) -> None:
    text = (EXAMPLE / KPI).read_text()
    payments.add(KPI, text.replace("COUNT(*)", spoilt))
    steps = [payment(1), ["publish"], ["at", 3600], payment(2, NOON + 3600 * SECOND), ["publish"]]
    rows = payments.shop(steps, "payments_processed", "payments_per_minute", "kpi_state")
    assert len(rows["payments_processed"]) == 2
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1]
    (said,) = [row for row in rows["kpi_state"] if row["kpi"] == "payments_per_minute" and row["hour_start"]]
    assert said["hour_start"] == "2026-03-02 13:00:00+00:00"
    assert why in said["reason"]
    payments.add(KPI)
    rows = payments.shop([["at", 3660], *[["tick"]] * 4, ["publish"]], "payments_per_minute", "kpi_state")
    assert [row["payments"] for row in rows["payments_per_minute"]] == [1, 1]
    assert not [row for row in rows["kpi_state"] if row["hour_start"]]


def test_the_contract_is_printed_with_what_is_own_and_written_without(payments: Own) -> None:
    page = payments.run("-m", "tillwatch", "contract").stdout
    assert "### payments_topic\n\nOne message for each step of a payment" in page
    assert "| `amount` | decimal(38,2) | currency of the shop | amount | may be |" in page
    assert payments.run("-m", "lakehouse.contract", "--check").returncode == 0


def test_a_wrong_file_stops_every_part_with_one_sentence(payments: Own) -> None:
    payments.add(TOPIC, (EXAMPLE / TOPIC).read_text().replace("MONEY", "MONEYS"))
    for part in ("embedded.ingest", "embedded.gateway", "notifier", "producers"):
        done = payments.run("-m", part, "load" if part == "producers" else "--help")
        assert (done.returncode, done.stdout, done.stderr) == (
            2,
            "",
            f"tillwatch: {payments.config / TOPIC}, line 6, 'amount': 'kind' is 'MONEYS' (did you mean 'MONEY'?); "
            "expected one of ID, TEXT, CHOICE, COUNT, PRICE, MONEY, TIME.\n",
        )
