"""Rules that ask: when they fire and end, what becomes of them at a restart, and what cannot be judged. In process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.dremio.errors import Timeout
from notifier.clock import span_ms
from notifier.model import AlertSource, DeliveryState
from tests.asking_cast import LIMIT, Asking, rule_text
from tests.test_notifier import NOON

MUCH = "Much of tea: 3, over 2 for 20 s"
OVER = "Resolved: MUCH_SOLD of tea: no row for 20 s"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    opened = Asking(tmp_path, rule_text(**LIMIT))
    yield opened
    opened.close()


def test_it_fires_after_for_and_ends_after_keep_firing_for(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.sold("mug", 2)
    assert asking.turns(2) == []
    assert asking.turn() == [MUCH]
    [incident] = asking.incidents()
    assert (incident.source, incident.severity, incident.owner) == (AlertSource.QUESTION, "FATAL", "shop")
    assert asking.turns(2) == []
    # Ten minutes later none of them is in the range that is asked for.
    asking.desk.now = NOON + timedelta(minutes=11)
    assert asking.turns(2) == []
    assert asking.turn() == [OVER]
    assert [each.resolved_ms is None for each in asking.incidents()] == [False]
    assert asking.desk.count("question_alerts_total", status="FIRING") == 1


def test_what_goes_back_inside_before_for_is_over_says_nothing(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(2)
    asking.desk.dremio.delete("orders_processed", "product_id", ("tea",))
    assert asking.turns(3) == []
    asking.sold("tea", 3)
    assert asking.turns(2) == []
    assert asking.turn() == [MUCH]


def test_a_restart_goes_on_and_doubles_nothing(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(2)
    asking.restart()
    assert asking.turn() == [MUCH]
    [incident] = asking.incidents()
    asking.restart()
    assert asking.turns(5) == []
    assert [each.incident_id for each in asking.incidents()] == [incident.incident_id]
    assert [row.state for row in asking.desk.deliveries()] == [DeliveryState.SENT]


def test_a_kill_between_a_verdict_and_what_is_told_of_it_loses_neither(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.sold("tea", 3)
    asking.turns(2)
    with monkeypatch.context() as killed:
        killed.setattr(asking.desk.ledger, "plan", lambda *_, **__: 1 / 0)
        assert asking.turn() == []
    asking.restart()
    assert asking.incidents() == []
    assert asking.turn() == [MUCH]
    assert asking.turns(3) == []


def test_a_long_pause_is_no_proof_that_it_was_outside_all_the_time(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(2)
    asking.desk.now += timedelta(minutes=2)
    assert asking.turns(2) == []
    assert asking.turn() == [MUCH]


def test_what_ends_while_nobody_looks_is_open_until_it_was_inside_for_long_enough(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    asking.desk.now += timedelta(hours=1)
    asking.restart()
    assert asking.turns(2) == []
    assert asking.turn() == [OVER]


def test_another_outage_of_the_same_is_another_incident(asking: Asking) -> None:
    for _ in range(2):
        asking.sold("tea", 3)
        asking.turns(3)
        asking.desk.dremio.delete("orders_processed", "product_id", ("tea",))
        asking.turns(3)
    assert len({each.incident_id for each in asking.incidents()}) == 2
    assert [each.resolved_ms is not None for each in asking.incidents()] == [True, True]


def test_rows_alone_are_a_condition_and_count(tmp_path: Path) -> None:
    sql = "SELECT order_id, status FROM {orders_processed} WHERE product_id = 'lost'"
    asking = Asking(tmp_path, rule_text(sql=sql, rows="any", description='"{value} lost, {status}"'))
    assert asking.turn() == []
    asking.sold("lost", 2)
    assert asking.turn() == ["2 lost, CREATED"]
    asking.desk.dremio.delete("orders_processed", "product_id", ("lost",))
    assert asking.turn() == ["Resolved: MUCH_SOLD: no row"]
    asking.close()


def test_below_judges_what_the_answer_has(tmp_path: Path) -> None:
    sql = "SELECT COUNT(*) AS n FROM {orders_processed} WHERE order_ts >= :since"
    asking = Asking(tmp_path, rule_text(sql=sql, over="5 min", value="n", below="1", description='"{n} sold"'))
    assert asking.turn() == ["0 sold"]
    asking.sold("tea")
    assert asking.turn() == ["Resolved: MUCH_SOLD: 1, inside the limit of 1"]
    asking.close()


def test_a_column_says_how_bad_it_is_and_what_gets_worse_is_told_again(tmp_path: Path) -> None:
    sql = "SELECT COUNT(*) AS n, CASE WHEN COUNT(*) > 3 THEN 'FATAL' WHEN COUNT(*) > 1 THEN 'warn' END AS level"
    text = rule_text(
        sql=f"{sql} FROM {{orders_processed}}", value="n", above="0", severity="ERROR", severity_from="level"
    )
    asking = Asking(tmp_path, text.replace("description: x", 'description: "{n} is {level}"'))
    asking.sold("tea", 2)
    assert asking.turn() == ["2 is warn"]
    assert asking.incidents()[0].severity == "WARN"
    asking.sold("tea", 2)
    asking.desk.now += timedelta(minutes=2)
    assert asking.turn() == ["4 is FATAL"]
    assert [(each.severity, each.alerts) for each in asking.incidents()] == [("FATAL", 2)]
    assert asking.turns(3) == []
    asking.close()


def test_null_says_nothing_and_ends_nothing(tmp_path: Path) -> None:
    sql = "SELECT product_id AS p, SUM(CASE WHEN user_id = 'ada' THEN 1 END) AS n FROM {orders_processed} GROUP BY 1"
    asking = Asking(tmp_path, rule_text(sql=sql, value="n", above="0", by="[p]", description='"{p} {n}"'))
    asking.sold("tea")
    asking.desk.dremio.order(asking.desk.now, product_id="mug", user_id="bob")
    assert asking.turn() == ["tea 1"]
    asking.desk.dremio.delete("orders_processed", "user_id", ("ada",))
    asking.desk.dremio.order(asking.desk.now, product_id="tea", user_id="bob")
    assert asking.turns(3) == []
    assert [each.resolved_ms for each in asking.incidents()] == [None]
    asking.close()


def test_of_too_many_entities_the_first_are_judged_and_the_rest_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sql = "SELECT product_id AS p, COUNT(*) AS n FROM {orders_processed} GROUP BY 1 ORDER BY n DESC, 1"
    asking = Asking(tmp_path, rule_text(sql=sql, value="n", above="0", by="[p]", most="3", description='"{p}"'))
    for number in range(6):
        asking.sold(f"p{number}")
    assert asking.turn() == ["p0", "p1", "p2"]
    asking.sold("p9", 5)
    # Those that are known stay: none of them ends because another is worse.
    assert asking.turns(2) == []
    assert asking.desk.count("question_left_out", rule="much_sold") == 4
    assert caplog.text.count("entities are outside beyond the 3 that it may have") == 1
    asking.desk.dremio.delete("orders_processed", "product_id", ("p0", "p1", "p2"))
    ends = [f"Resolved: MUCH_SOLD of p{number}: no row" for number in range(3)]
    assert sorted(asking.turn()) == [*ends, "p3", "p4", "p9"]
    asking.close()


def test_a_storm_of_entities_is_told_as_a_storm(tmp_path: Path) -> None:
    sql = "SELECT product_id AS p, COUNT(*) AS n FROM {orders_processed} GROUP BY 1"
    asking = Asking(tmp_path, rule_text(sql=sql, value="n", above="0", by="[p]", description='"{p} is gone"'))
    for number in range(60):
        asking.sold(f"p{number}")
    asking.turn()
    assert len(asking.incidents()) == 60
    posts = asking.desk.channel.posts
    # Ten of them by themselves, and one digest of all others.
    assert len(posts) == 11
    assert posts[-1].title == "Storm: 50 incidents open, FATAL in 1 service"
    asking.close()


# ---- what cannot be judged


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sql": "SELECT nothing FROM {orders_processed}"}, 'Referenced column "nothing" not found'),
        ({"value": "many"}, "Its key 'value' names the column 'many', which its answer does not have; there are n, p."),
        ({"by": "[pp]"}, "'by' names the column 'pp', which its answer does not have (did you mean 'p'?)"),
        ({"value": "p"}, "Its key 'value' names the column 'p' of the type string; expected a number."),
        ({"severity_from": "n"}, "Its key 'severity_from' names the column 'n' of the type int32; expected a text."),
        ({"description": '"{q}"'}, "Its key 'description' names the column 'q', which its answer does not have"),
        ({"sql": "SELECT 1 AS n, 2 AS n, 'x' AS p"}, "Its answer has two columns 'n'; give one another name with AS."),
        ({"sql": "SELECT 1 AS n, [1, 2] AS p"}, "expected a text, a number or a time."),
    ],
)
def test_a_question_that_is_wrong_is_said_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, keys: dict[str, str], said: str
) -> None:
    usual = {"sql": "SELECT 1 AS n, 'x' AS p", "value": "n", "above": "0", "by": "[p]"}
    asking = Asking(tmp_path, rule_text(**(usual | keys)))
    asking.turns(2)
    assert said in asking.crew.questions.errors["much_sold"]
    trouble = asking.daemon().readiness()["questions"]
    assert trouble is not None
    assert trouble.startswith("The rule much_sold is not judged: ")
    assert caplog.text.count(said) == 1
    assert asking.desk.count("questions_failing") == 1
    assert asking.desk.count("questions_total", outcome="failed") == 2
    asking.close()


def test_after_five_minutes_people_are_told_that_a_rule_cannot_be_judged(asking: Asking) -> None:
    asking.desk.dremio.broken = {"product_id"}
    asking.turns(30)
    assert asking.own() == []
    [said] = asking.turn()
    assert said == "The rule much_sold is not judged since 12:00. Column 'x' not found in any table."
    [incident] = asking.incidents()
    assert (incident.source, incident.severity) == (AlertSource.OWN, "FATAL")
    assert asking.turns(10) == []
    # A restart tells it no second time, and ends it all the same.
    asking.restart()
    asking.turns(40)
    assert len(asking.own()) == 1
    asking.desk.dremio.broken = set()
    assert asking.turn() == ["Resolved: the rule much_sold is judged again."]
    assert asking.crew.questions.trouble is None


def test_a_slow_question_names_its_own_limit(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(text: str, *, within_s: float | None = None) -> None:
        assert within_s == 10
        raise Timeout("Dremio did not finish its answer within 10 s.")

    monkeypatch.setattr(asking.desk.dremio, "sql", late)
    asking.turn()
    assert asking.crew.questions.errors == {
        "much_sold": "It got no answer within 10 s, its time_limit; ask for less, or raise it."
    }


def test_while_nobody_answers_nothing_is_judged_and_what_is_open_stays(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    asking.desk.dremio.down = True
    assert asking.turns(60) == []
    assert asking.own() == []  # the data's trouble, which is told once for all
    assert asking.crew.questions.trouble is None
    asking.desk.dremio.down = False
    assert asking.turns(2) == []
    assert asking.turn() == [OVER]
    assert asking.desk.count("questions_total", outcome="no_data") == 60


def test_data_that_is_too_old_is_not_judged_but_a_table_of_others_is(tmp_path: Path) -> None:
    own = {"value": "n", "above": "0", "description": '"{n} of ours"'}
    other = own | {"sql": "SELECT COUNT(*) AS n FROM other", "description": '"{n} of others"'}
    asking = Asking(
        tmp_path,
        rule_text("ours", sql="SELECT COUNT(*) AS n FROM {orders_processed}", **own),
        rule_text("others", **other),
    )
    asking.desk.dremio._connection.execute("CREATE TABLE other AS SELECT 1 AS x")
    asking.desk.dremio.publish(asking.desk.now)
    asking.desk.now += timedelta(minutes=2)
    asking.sold("tea")
    assert asking.turn(publish=False) == ["1 of others"]
    assert asking.turn() == ["1 of ours"]
    asking.close()


@pytest.mark.parametrize(
    ("table", "ours"),
    [
        ("{orders_processed}", True),
        ("nessie_minio_catalog.ecommerce_db.orders_processed", True),
        ('"nessie_minio_catalog"."ecommerce_db"."ORDERS_PROCESSED"', True),
        ("nessie_minio_catalog.ecommerce_db.stock", False),
        ("people.stock", False),
    ],
)
def test_a_table_beside_ours_is_somebody_elses(tmp_path: Path, table: str, ours: bool) -> None:
    sql = json.dumps(f"SELECT COUNT(*) AS n FROM {table}")
    asking = Asking(tmp_path, rule_text("r", sql=sql, value="n", above="0", description='"{n}"'))
    assert asking.rule.reads_ours is ours
    asking.close()


# ---- rules come and go


def test_a_rule_that_is_taken_out_ends_its_incidents(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    asking.take()
    asking.work()
    assert [each.resolved_ms is None for each in asking.incidents()] == [False]
    said = asking.desk.channel.posts[-1].body.partition("\n")[0]
    assert said == "Resolved: MUCH_SOLD of tea: the rule was taken out"
    # It comes back as a new one.
    asking.take(rule_text(**LIMIT))
    assert asking.turns(3) == [MUCH]
    assert len(asking.incidents()) == 2


def test_a_rule_that_is_taken_out_is_no_longer_said_to_fail(asking: Asking) -> None:
    asking.desk.dremio.broken = {"product_id"}
    asking.turns(31)
    asking.take(rule_text("another", **LIMIT))
    assert asking.own() == []
    assert asking.desk.ledger.questions.rules() == set()


def test_a_rule_that_is_added_is_asked_at_once(asking: Asking) -> None:
    asking.take(rule_text(**LIMIT), rule_text("sales", sql="SELECT 1 AS n", value="n", above="0"))
    assert asking.turn() == ["x"]


def test_a_turn_asks_what_is_due_and_no_more(asking: Asking) -> None:
    asking.desk.dremio.publish(asking.desk.now)
    asked = []

    def count() -> int:
        asking.crew.questions.turn()
        asking.crew.questions._turns["much_sold"].asking.result(5)  # type: ignore[union-attr]  # begun by the turn
        asked.append(sum("product_id" in what for what in asking.desk.dremio.asked))
        return asked[-1]

    assert count() == 1
    asking.desk.now += timedelta(seconds=9)
    assert count() == 1
    asking.desk.now += timedelta(seconds=1)
    assert count() == 2


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_is_set_makes_nothing_fire_early_or_late(asking: Asking, step: timedelta) -> None:
    asking.sold("tea", 3)
    asking.turns(2)
    asking.desk.now += step
    asking.desk.ledger.shift(span_ms(step))
    asking.desk.dremio.delete("orders_processed", "product_id", ("tea",))
    asking.sold("tea", 3)
    assert asking.turn() == [MUCH]


def test_an_incident_that_is_open_is_never_forgotten(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    ages = asking.desk.clock() + span_ms(timedelta(days=200))
    assert asking.desk.ledger.prune(ages, ages) == 0
    asking.desk.dremio.delete("orders_processed", "product_id", ("tea",))
    assert asking.turns(3) == [OVER]
    assert asking.desk.ledger.prune(ages, ages) == 2
