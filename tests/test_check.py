"""`tillwatch check`: everything that is wrong in config/, each once, and nothing that only follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from embedded.catalog.catalog import Catalog
from tests.own_cast import EXAMPLE, Own
from tests.test_gateway import start_gateway, stop
from tests.test_own_files import KPI, KPIS_WRONG, TOPIC, TOPICS_WRONG
from tillwatch.overlay import lay_over


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_nothing_is_wrong_in_what_is_shipped_nor_in_the_example(own: Own) -> None:
    settings = lay_over([EXAMPLE], own.data_dir)
    nobody = {"TILLWATCH_CONFIG": str(settings), "TILLWATCH_DREMIO_URI": "grpc://127.0.0.1:1"}
    done = own.run("-m", "tillwatch", "check", **nobody)
    *notes, last = done.stdout.splitlines()
    assert (done.returncode, done.stderr, last) == (0, "", f"Nothing is wrong in {settings.parent}")
    assert [note.partition(",")[0] for note in notes] == ["Note: Statements were planned over empty tables of ours"]


def rule(name: str, **keys: object) -> dict[str, object]:
    given: dict[str, object] = {
        "name": name,
        "kind": "threshold",
        "severity": "WARN",
        "table": "payments_per_minute",
        "owner": "me",
    }
    given |= {"column": "payments", "aggregate": "sum", "by": [], "above": 3, "for": "1 min", "summary": "x"}
    return given | {"keep_firing_for": "1 min", "description": "x"} | keys


def test_all_that_is_wrong_is_told_once_and_what_follows_from_it_is_not(own: Own) -> None:
    expected = []
    for number, (_, old, new, sentence) in enumerate(TOPICS_WRONG[:-1]):
        path = own.add(f"topics/wrong{number}_topic.yaml", TOPIC.replace(old, new))
        expected.append(f"{path}, {sentence}")
    for number, (old, new, sentence) in enumerate(KPIS_WRONG[:-1]):
        path = own.add(f"kpis/wrong{number}.sql", KPI.replace(old, new))
        expected.append(f"{path}, {sentence}")
    own.add("topics/payments_topic.yaml", TOPIC)
    own.add("kpis/payments_per_minute.sql", KPI)
    own.add("kpis/more.sql", KPI)
    own.add("kpis/follows.sql", KPI.replace("topic: payments_topic", "topic: wrong0_topic"))
    rules = [
        rule("good"),
        rule("no_column", column="payment"),
        rule("no_table", table="payments_a_minute"),
        rule("no_number", above="many"),
        rule("no_field", kind="events"),
        rule("follows", table="wrong1"),
        rule("follows_from_what_follows", table="follows"),
        {"name": "follows_too", "kind": "no_data", "topic": "wrong0_topic", "severity": "WARN", "for": "1 min"}
        | {"keep_firing_for": "1 min", "description": "x", "owner": "me", "summary": "x"},
        rule("good"),
    ]
    alerts = own.add("alerts.yaml", "\n".join(["rules:", *(f"  - {json.dumps(each)}" for each in rules)]))
    expected += [
        f"{alerts}, line 3: rule 'no_column', key 'column' has the value 'payment'"
        " (did you mean 'payments'?); expected a number in payments_per_minute: payments, amount.",
        f"{alerts}, line 4: rule 'no_table', key 'table' has the value 'payments_a_minute' "
        "(did you mean 'payments_per_minute'?); expected one of ",
        f"{alerts}, line 5: rule 'no_number', key 'above' has the value 'many'; ",
        f"{alerts}, line 6: rule 'no_field', key 'kind' has the value 'events' (did you mean 'event'?); ",
        f"{alerts}, line 10: key 'name' has the value 'good' in two rules; give one another name.",
    ]
    own.add("sources.yaml", "follows: {topic: wrong0_topic, map: {payment_id: id}}\n")
    for name, table in (("of_a_topic", "wrong0_processed"), ("of_a_kpi", "wrong1"), ("of_what_follows", "follows")):
        own.add(f"questions/{name}.sql", f"SELECT COUNT(*) AS n FROM {{{table}}}\n")
    asking = own.add("questions/asking.sql", "SELECT COUNT(*) AS n FROM {more} WHERE paymnts > 1\n")
    tiles = [{"title": "x", "question": name, "column": "n"} for name in ("of_a_topic", "of_a_kpi", "of_what_follows")]
    more = [{"title": "x", "question": name, "column": "m"} for name in ("asking", "askin", "good")]
    own.add("questions/good.sql", "SELECT COUNT(*) AS n FROM {payments_processed}\n")
    board = own.add("boards/many.yaml", json.dumps({"title": "Many", "tiles": [*tiles, *more]}))
    expected += [
        f"{asking}, line 1, column 40: Column 'paymnts' (did you mean 'payments'?) not found in any table.",
        f"{board}, line 1: there is no question 'askin' (did you mean 'asking'?); write questions/askin.sql.",
        f"{board}, line 1: 'm' is no column of 'good'; it has n.",
    ]
    routes = own.add("routes.yaml", "routes:\n- {name: a, to: [slak]}\n- {name: a, to: [all], mute: [night]}\n")
    expected += [
        f"{routes}, line 2, 'a': 'slak' is no channel (did you mean 'slack'?); channels are ",
        f"{routes}, line 3, 'a': 'a' is the name of two routes; give one another name.",
        f"{routes}, line 3, 'a': 'night' is no name under `times:`; there are no times.",
    ]
    own.settings.write_text("ingest: {publish_every: fast, batch_rows: -1}\nkpis: {time_limits: 3 s}\n")
    expected += [
        "Setting 'ingest.publish_every' has the value 'fast': ",
        "Setting 'ingest.batch_rows' has the value '-1': ",
        f"Unknown setting 'kpis.time_limits' in {own.settings}, line 2 (did you mean 'time_limit'?); known are ",
    ]
    # Whatever runs on this machine is not asked.
    done = own.run("-m", "tillwatch", "check", "--json", TILLWATCH_DREMIO_URI="grpc://127.0.0.1:1")
    assert done.returncode == 1, done.stderr
    told = [each["says"] for each in json.loads(done.stdout)["mistakes"]]
    assert [sentence for sentence in expected if not any(one.startswith(sentence) for one in told)] == []
    assert [one for one in told if not any(one.startswith(sentence) for sentence in expected)] == []
    assert len(told) == len(expected) > 25
    assert "Traceback" not in done.stderr


def test_a_route_to_which_no_alert_comes_is_told(own: Own) -> None:
    routes = [
        {"name": "nobodys", "when": ["owner = platforms"], "to": []},
        {"name": "mail", "when": ["severity =~ ERROR|WARN"], "to": [], "routes": [
            {"name": "inner", "when": ["severity = FATAL"]}, {"name": "of a service", "when": ["service_name = a"]}]},
        {"name": "late", "when": ["rule = few_orders"], "to": []},
        {"name": "rest", "to": []},
    ]  # fmt: skip
    path = own.add("routes.yaml", yaml.safe_dump({"routes": routes}, sort_keys=False))
    done = own.run("-m", "tillwatch", "check")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{path}, line 4, 'nobodys': no rule of alerts.yaml meets the condition 'owner = platforms' (did you mean "
        "'platform'?); there are platform, shop.",
        f"{path}, line 11, 'inner': no alert that comes to the route around it meets its conditions; mend its `when`.",
        f"{path}, line 17, 'late': routes before it take all that it asks for; mend its `when`, or let it stand before "
        "them.",
        f"3 to mend in {own.config}",
    ]


def test_a_table_that_is_newer_than_what_runs_is_planned_as_its_file_declares_it(own: Own, tmp_path: Path) -> None:
    own.add("topics/payments_topic.yaml")
    own.add("kpis/payments_per_minute.sql")
    own.add("questions/paid.sql", "SELECT SUM(amount) AS paid FROM {payments_per_minute}\n")
    wrong = own.add("questions/wrong.sql", "SELECT SUM(amounts) AS paid FROM {payments_processed}\n")
    gone = own.add("questions/gone.sql", "SELECT COUNT(*) AS n FROM warehouse.sales.orders\n")
    Catalog(tmp_path / "running")
    process, port = start_gateway(tmp_path / "running")
    try:
        done = own.run("-m", "tillwatch", "check", TILLWATCH_DREMIO_URI=f"grpc://127.0.0.1:{port}")
    finally:
        stop(process)
    first, second, *notes, last = done.stdout.splitlines()
    assert first.startswith(f"{gone}, line 1, column 43: Object 'orders' not found within 'warehouse")
    assert second == f"{wrong}, line 1, column 12: Column 'amounts' (did you mean 'amount'?) not found in any table."
    assert notes == [
        "Note: Statements over own tables were planned as their files declare them: what runs has other ones, until it "
        "is started again.",
        f"Note: {own.config}/questions/paid.sql is asked by no board and no rule.",
    ]
    assert last == f"2 to mend in {own.config}"
