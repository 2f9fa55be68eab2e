"""`tillwatch check`: each wrong file is named by one sentence and no other; what several files tell together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse import ROOT, mistakes
from lakehouse.tables import CATALOG, SCHEMA
from tests.asking_cast import LIMIT, rule_text
from tillwatch.__main__ import app
from tillwatch.check import look

OWN = rule_text(**LIMIT, severity="ERROR")
"""A rule that asks, of the shop's own."""
ROUTES = """routes:
  - name: fatal
    when: [severity = FATAL]
    to: [slack, email]
  - name: shop
    when: [owner = shop]
    to: [slack]
    routes:
      - {name: much, when: [rule = much_sold], to: ["@ada"]}
times:
  - {name: night, hours: ["22:00-24:00"], weekdays: [monday]}
inhibit:
  - {name: quiet, source: [rule = no_logs], target: [owner = platform]}
maintenance:
  - {name: move, when: [owner = shop], from: 2027-01-01 00:00, until: 2027-01-02 00:00}
"""
SETTINGS = """console:
  refresh_s: 1
notifier:
  judge_within: 75 s
  storm_after: 10
  timezone: UTC
  give_up: 1 d
"""
PEOPLE = "people:\n  - {person: ada, role: operator, email: ada@shop.example}\n  - {person: bob, role: viewer}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config/ as it is shipped, with a rule, routes and people of the shop's own."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    monkeypatch.setenv("TILLWATCH_CONFIG", str(config / "tillwatch.yaml"))
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "data"))
    # What one look has found is nothing to the next.
    monkeypatch.setattr(mistakes, "_found", None)
    (config / "alerts.yaml").write_text(
        (ROOT / "config" / "alerts.yaml").read_text(encoding="utf-8").rstrip() + "\n" + OWN, encoding="utf-8"
    )
    (config / "tillwatch.yaml").write_text(SETTINGS, encoding="utf-8")
    (config / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    (config / "people.yaml").write_text(PEOPLE, encoding="utf-8")
    return config


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gateway runs: statements are planned in this process, once for all tests."""
    monkeypatch.setenv("TILLWATCH_DREMIO_URI", "grpc://127.0.0.1:1")


def change(path: Path, before: str, after: str) -> int:
    """Put a mistake into a file; the line it stands in."""
    text = path.read_text(encoding="utf-8")
    assert before in text
    at = text.index(before)
    path.write_text(text[:at] + after + text[at + len(before) :], encoding="utf-8")
    return text[:at].count("\n") + 1


@pytest.mark.usefixtures("nobody")
def test_what_is_shipped_and_a_rule_of_the_shops_own_are_right(folder: Path) -> None:
    found, [note] = look()
    assert found == []
    assert note.startswith("Statements were planned over empty tables of ours, for nobody answers: Neither Dremio nor")


WRONG = (
    # settings
    ("tillwatch.yaml", "within: 75 s", "within: 75", "'notifier.judge_within' has the value '75': expected a number"),
    ("tillwatch.yaml", "judge_within", "judge_whitin", "line 4 (did you mean 'judge_within'?); known are ack_for, "),
    ("tillwatch.yaml", "notifier:", "notifer:", "line 3 (did you mean 'notifier'?); known are alerts, console, "),
    ("tillwatch.yaml", "storm_after: 10", "storm_after: -1", "Setting 'notifier.storm_after' has the value '-1'"),
    ("tillwatch.yaml", "zone: UTC", "zone: Berlin", "'notifier.timezone' has the value 'Berlin': expected an IANA"),
    ("tillwatch.yaml", "give_up: 1 d", "give_up: 200 d", "'notifier.give_up' is 200 d, which is not shorter than"),
    # rules
    ("alerts.yaml", "kind: zero", "kind: zer0", "key 'kind' has the value 'zer0'; expected one of anomaly"),
    ("alerts.yaml", " above: 60", " abov: 60", "unknown key 'abov' with the value '60' (did you mean 'above'?)"),
    ("alerts.yaml", "column: buyers", "column: buyer", "key 'column' has the value 'buyer'; expected a number"),
    ("alerts.yaml", " table: clicks_per_minute", " table: clicks", "key 'table' has the value 'clicks'; expected"),
    ("alerts.yaml", "    for: 2 min", "    for: 2", "key 'for' has the value '2'; expected a number with a unit"),
    ("alerts.yaml", "name: no_logs", "name: no_clicks", "'no_clicks' in two rules; give one another name"),
    ("alerts.yaml", "every: 10 s", "every: 1 s", "rule 'much_sold', key 'every' has the value '1 s'"),
    ("alerts.yaml", "{orders_processed}", "{orders_procesed}", "a table of the contract (did you mean 'orders_pro"),
    ("alerts.yaml", ":since GROUP", ":sinc GROUP", "key 'sql' has the value ':sinc'; expected no other binds"),
    ("alerts.yaml", "    over: 10 min\n", "", "key 'over' has the value 'nothing'; expected a span like '10 min'"),
    # statements of rules
    ("alerts.yaml", "SELECT product_id", "SELECT prod, product_id", "'much_sold', key 'sql': Column 'prod' not found"),
    ("alerts.yaml", "*) AS n FROM", "* AS n FROM", "rule 'much_sold', key 'sql': "),
    ("alerts.yaml", "COUNT(*) AS n", "FROBNICATE(1) AS n", "rule 'much_sold', key 'sql': "),
    ("alerts.yaml", "    value: n\n", "    value: m\n", "its key 'value' names the column 'm', which its answer does"),
    ("alerts.yaml", "by: [product_id]", "by: [product]", "'product', which its answer does not have (did you mean"),
    ("alerts.yaml", "    value: n\n", "    value: product_id\n", "'product_id' of the type string; expected a number."),
    ("alerts.yaml", "{product_id}: {n}", "{product_id}: {m}", "its key 'description' names the column 'm', which"),
    # routes
    ("routes.yaml", "[slack, email]", "[slak, email]", "'fatal': 'slak' is no channel (did you mean 'slack'?)"),
    ("routes.yaml", "severity = FATAL", "severity = FATL", "'FATL' is no severity (did you mean 'FATAL'?)"),
    ("routes.yaml", "severity = F", "sevrity = F", "'sevrity' is no column of alerts (did you mean 'severity'?)"),
    ("routes.yaml", "owner = shop", "owner == shop", "'==' is none of = != =~ !~; one = is enough"),
    ("routes.yaml", '"@ada"', '"@bob"', "'@bob' has no email in people.yaml; add it, or name a channel"),
    ("routes.yaml", '"@ada"', '"@eve"', "'@eve' is nobody in people.yaml; people are ada, bob"),
    ("routes.yaml", "name: much", "name: shop", "'shop' is the name of two routes; give one another name"),
    ("routes.yaml", "[monday]", "[moonday]", "'night': "),
    ("routes.yaml", "until: 2027-01-02", "until: 2026-01-02", "'until' is not after 'from'; mend one of them"),
    # rules beside routes
    ("routes.yaml", "= much_sold", "= much_solt", "'rule = much_solt' (did you mean 'much_sold'?); there are check"),
    ("routes.yaml", "owner = shop]\n    to", "owner = shp]\n    to", "'owner = shp' (did you mean 'shop'?); there are"),
    ("routes.yaml", "rule = much_sold", "rule = no_logs", "'much': no alert that comes to the route around it meets"),
    ("routes.yaml", "    when: [severity = FATAL]\n", "", "'shop': routes before it take all that it asks for"),
    ("routes.yaml", "= no_logs", "= no_log", "'quiet': no rule of alerts.yaml meets the condition 'rule = no_log'"),
    ("routes.yaml", "[owner = platform]", "[rule = few_orders, severity = INFO]", "'quiet': no rule of alerts.yaml"),
    ("routes.yaml", "[owner = shop], from", "[alert_type = SALE], from", "'move': no rule of alerts.yaml meets the"),
    # people
    ("people.yaml", "role: viewer", "role: boss", "'role': input should be 'viewer' or 'operator'"),
    ("people.yaml", "role: viewer", "rol: viewer", "the key 'rol' is unknown (did you mean 'role'?)"),
    ("people.yaml", "person: bob", "person: ada", "'ada' stands twice under `people:`; give one another name"),
    ("alerts.yaml", "owner: platform", "ownr: platform", "unknown key 'ownr' with the value 'platform' (did you mean"),
    ("people.yaml", "ada@shop.example", "ada at shop", "'email': expected an address like ada@shop.example"),
)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("file", "before", "after", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_sentence_with_file_and_line(
    folder: Path, file: str, before: str, after: str, said: str
) -> None:
    line = change(folder / file, before, after)
    [found], _ = look()
    sentence = found.sentence
    place = f"{folder / file}, line "
    assert said in sentence
    if "give_up" not in said:
        assert place in sentence
        named = int(sentence.partition(place)[2].split(",")[0].split(":")[0].split(" ")[0].rstrip("."))
        # What is missing is said of where it belongs.
        assert named <= line + after.count("\n") + 1


@pytest.mark.usefixtures("nobody")
def test_all_mistakes_of_all_files_are_listed_and_the_command_exits_1(folder: Path) -> None:
    change(folder / "tillwatch.yaml", "storm_after: 10", "storm_after: -1")
    change(folder / "tillwatch.yaml", "refresh_s", "refrsh_s")
    change(folder / "alerts.yaml", "    above: 60", "    abov: 60")
    change(folder / "alerts.yaml", "    column: buyers", "    column: buyer")
    answer = CliRunner().invoke(app, ["check", "--json"])
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert [Path(each["file"]).name for each in told["mistakes"]] == [*["alerts.yaml"] * 2, *["tillwatch.yaml"] * 2]
    assert all(isinstance(each["line"], int) for each in told["mistakes"])


@pytest.mark.usefixtures("nobody")
def test_two_mistakes_of_one_routes_file_are_two_sentences(folder: Path) -> None:
    change(folder / "routes.yaml", "to: [slack, email]", "to: [slak, emial]")
    change(folder / "routes.yaml", '"@ada"', '"@eve"')
    answer = CliRunner().invoke(app, ["check"])
    assert answer.exit_code == 1
    lines = answer.stdout.splitlines()
    assert [line.partition("': '")[2].partition("'")[0] for line in lines[:3]] == ["slak", "emial", "@eve"]
    assert lines[-1] == f"3 to mend in {folder}"


@pytest.mark.usefixtures("nobody")
def test_a_table_that_only_dremio_has_is_a_note_while_nobody_answers(folder: Path) -> None:
    change(folder / "alerts.yaml", "{orders_processed}", "warehouse.sales.orders")
    found, notes = look()
    assert found == []
    assert notes[-1].startswith("The rule much_sold was not planned: Object 'orders' not found within 'warehouse")


@pytest.mark.usefixtures("nobody")
def test_a_question_in_a_file_is_named_by_its_own_line(folder: Path) -> None:
    (folder / "questions").mkdir()
    text = f"-- How much is sold.\n\nSELECT product_id,\n  nothing AS n\nFROM {CATALOG}.{SCHEMA}.orders_processed\n"
    (folder / "questions" / "sold.sql").write_text(text, encoding="utf-8")
    keys = dict(LIMIT) | {"sql": "", "question": "sold", "over": ""}
    change(folder / "alerts.yaml", OWN, rule_text(**keys, severity="ERROR"))
    found, _ = look()
    assert [each.sentence for each in found] == [
        f"{folder / 'questions' / 'sold.sql'}, line 4: rule 'much_sold': Column 'nothing' not found in any table."
    ]
