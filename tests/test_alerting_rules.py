"""A wrong alerts.yaml is refused at start, in one sentence that names file, rule, key and value."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lakehouse import ROOT
from lakehouse.rules import load_rules
from lakehouse.rules.kinds import kinds
from lakehouse.rules.kinds.question import QuestionRule
from lakehouse.user_error import UserError

EVENT = {
    "name": "fatal_error",
    "kind": "event",
    "severity": "FATAL",
    "where": "{severity: [FATAL]}",
    "by": "[service_name]",
    "resolve_after": "5 min",
    "description": '"{service_name} - {error_message}"',
    "owner": "platform",
    "summary": "A fatal error",
    "runbook_url": "https://runbooks.example.com/fatal",
}
THRESHOLD = {
    "name": "many_errors",
    "kind": "threshold",
    "severity": "ERROR",
    "table": "errors_per_minute",
    "column": "error_count",
    "aggregate": "sum",
    "where": "{severity: [ERROR]}",
    "by": "[service_name]",
    "above": "30",
    "for": "2 min",
    "keep_firing_for": "5 min",
    "description": '"{service_name} {value} {threshold} {for}"',
    "owner": "platform",
    "summary": "Many errors",
    "runbook_url": "https://runbooks.example.com/errors",
}
NO_DATA = {
    "name": "no_orders",
    "kind": "no_data",
    "severity": "ERROR",
    "topic": "orders_topic",
    "for": "5 min",
    "keep_firing_for": "2 min",
    "description": '"{topic} {value}"',
    "owner": "shop",
    "summary": "No orders",
    "runbook_url": "https://runbooks.example.com/orders",
}
QUESTION = {
    "name": "late",
    "kind": "question",
    "severity": "WARN",
    "sql": "SELECT COUNT(*) AS n FROM x.parcels",
    "every": "1 min",
    "value": "n",
    "above": "2",
    "description": '"{n} {value} {threshold} {for}"',
    "owner": "shop",
    "summary": "Late parcels",
}


def write(path: Path, *rules: Mapping[str, str | None]) -> Path:
    lines = ["rules:"]
    for rule in rules:
        given = [f"{key}: {value}" for key, value in rule.items() if value is not None]
        lines += [
            f"  {'-' if first else ' '} {line}" for first, line in zip([True] + [False] * 99, given, strict=False)
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_rules_that_come_with_the_product_load() -> None:
    rules = load_rules(ROOT / "config" / "alerts.yaml")
    assert [rule.alert_type for rule in rules] == [
        *("FATAL_ERROR", "MANY_ERRORS", "UNUSUAL_ERRORS", "FEW_ORDERS", "CHECKOUT_UNUSED"),
        *("NO_ORDERS", "NO_CLICKS", "NO_LOGS", "UNREADABLE_MESSAGES"),
    ]
    assert {rule.model_dump()["kind"] for rule in rules} == {*kinds()} - {"question"}, "one of each kind to copy"
    assert [rule.name for rule in rules if rule.severity == "FATAL"] == ["fatal_error"]


def test_the_rule_that_asks_to_copy_loads(tmp_path: Path) -> None:
    lines = (ROOT / "config" / "alerts.yaml").read_text(encoding="utf-8").splitlines()
    begin = lines.index("#   - name: parcels_late")
    commented = lines[begin : lines.index("rules:")]
    path = tmp_path / "alerts.yaml"
    path.write_text("\n".join(["rules:", *(line.removeprefix("#") for line in commented)]), encoding="utf-8")
    [rule] = load_rules(path)
    assert (rule.name, rule.asks) == ("parcels_late", True)


def test_a_question_of_the_shops_own_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "questions").mkdir()
    question = tmp_path / "questions" / "late.sql"
    question.write_text("-- Late parcels.\n-- Columns: n int.\nSELECT COUNT(*) AS n FROM x.parcels\n", encoding="utf-8")
    path = write(tmp_path / "alerts.yaml", {**QUESTION, "sql": None, "question": "late"})
    [rule] = load_rules(path)
    assert isinstance(rule, QuestionRule)
    assert rule.statement(None, None) == "SELECT COUNT(*) AS n FROM x.parcels"
    for key, value, said in (
        ("question", "lat", "'lat' .did you mean 'late'.*; expected .*NAME.sql; there are late"),
        ("value", "m", "key 'value' has the value 'm'; expected a column of the answer: n"),
        ("description", '"{m}"', "key 'description' has the value 'm'; expected a column of the answer: n"),
    ):
        with pytest.raises(UserError, match=said):
            load_rules(write(tmp_path / "alerts.yaml", {**QUESTION, "sql": None, "question": "late", key: value}))


@pytest.mark.parametrize(
    ("rule", "key", "value", "said"),
    [
        (QUESTION, "sql", None, "key 'sql' has the value 'nothing'; expected one of the keys sql and question"),
        (QUESTION, "sql", "-- later", "key 'sql' has the value '-- later'; expected a statement"),
        (QUESTION, "sql", "DELETE FROM x.parcels", "expected a statement that begins with SELECT, WITH or VALUES"),
        (QUESTION, "sql", "SELECT 1 FROM {order}", "has the value '{order}'; expected a table of the contract"),
        (QUESTION, "sql", "SELECT 1 WHERE x = :now", "has the value ':now'; expected no other binds than :as_of"),
        (QUESTION, "sql", "SELECT 1 WHERE x > :since", "key 'over' has the value 'nothing'; expected a span"),
        (QUESTION, "question", "x", "key 'sql' has the value 'a statement, beside the key question'; expected one"),
        (QUESTION, "every", None, "lacks the key 'every'; add it"),
        (QUESTION, "every", "1 s", "key 'every' has the value '1 s'"),
        (QUESTION, "value", None, "key 'value' has the value 'nothing'; expected the name of a column of the answer"),
        (QUESTION, "below", "3", "key 'above' has the value '2, beside below 3'; expected a number for one of"),
        (QUESTION, "rows", "any", "key 'rows' has the value 'any'; expected either rows: any, or value with above"),
        (QUESTION, "rows", "some", "key 'rows' has the value 'some'"),
        (QUESTION, "by", "[a, a]", "key 'by' has the value 'a, a'; expected each column once"),
        (QUESTION, "by", "a", "key 'by' has the value 'a'"),
        (QUESTION, "most", "5000", "key 'most' has the value '5000'"),
        (QUESTION, "time_limit", "1 h", "key 'time_limit' has the value '1 h'"),
        (QUESTION, "description", '"{n!r}"', "key 'description' has the value '{n!r}'; expected only names in braces"),
        (QUESTION, "summary", '"{n.real}"', "key 'summary' has the value '{n.real}'; expected only names in braces"),
        (EVENT, "owner", None, "lacks the key 'owner'; add it"),
        (EVENT, "owner", "''", "key 'owner' has the value ''"),
        (EVENT, "kind", None, "lacks the key 'kind'; add it with one of anomaly, dead_letters, event, no_data"),
        (
            EVENT,
            "kind",
            "magic",
            "key 'kind' has the value 'magic'; expected one of anomaly, dead_letters, event",
        ),
        (EVENT, "kind", "[event]", "key 'kind' has the value '['event']'"),
        (EVENT, "sevrity", "FATAL", "unknown key 'sevrity' with the value 'FATAL' (did you mean 'severity'?); known"),
        (EVENT, "severity", "DEADLY", "key 'severity' has the value 'DEADLY'"),
        (EVENT, "resolve_after", "soon", "key 'resolve_after' has the value 'soon'; expected a number with a unit"),
        (EVENT, "resolve_after", "0 s", "key 'resolve_after' has the value '0 s'; expected more than '0 s'"),
        (EVENT, "resolve_after", "5", "key 'resolve_after' has the value '5'"),
        (
            EVENT,
            "where",
            "{host: [a]}",
            "key 'where' has the value 'host'; expected a text field of errors_topic: ",
        ),
        (EVENT, "where", "{severity: FATAL}", "key 'where.severity' has the value 'FATAL'"),
        (EVENT, "where", "{severity: []}", "key 'where.severity' has the value '[]'"),
        (
            EVENT,
            "where",
            "{severity: [FATL]}",
            "key 'where.severity' has the value 'FATL' (did you mean 'FATAL'?); expected one of "
            "DEBUG, INFO, WARN, ERROR, FATAL",
        ),
        (
            THRESHOLD,
            "where",
            "{severity: [ERROR, Fatal]}",
            "key 'where.severity' has the value 'Fatal'; expected one of DEBUG, INFO, WARN, ERROR, FATAL",
        ),
        (EVENT, "by", "[host]", "key 'by' has the value 'host'"),
        (EVENT, "description", '"{host}"', "key 'description' has the value '{host}'; expected no other names"),
        (EVENT, "description", '"{severity.real}"', "key 'description' has the value '{severity.real}'"),
        (EVENT, "description", '"{severity"', "key 'description' has the value '{severity'"),
        (
            EVENT,
            "topic",
            "payments_topic",
            "key 'topic' has the value 'payments_topic'; expected one of orders_topic",
        ),
        (EVENT, "topic", "orders_topic", "key 'where' has the value 'severity'; expected a text field of orders_topic"),
        (
            EVENT,
            "where",
            "{error_ts: [a]}",
            "key 'where' has the value 'error_ts' (did you mean 'error_id'?); expected a text field of errors_",
        ),
        (EVENT, "by", "[event_key]", "key 'by' has the value 'event_key'; expected a text field of errors_topic"),
        (EVENT, "name", "Fatal Error", "key 'name' has the value 'Fatal Error'"),
        (EVENT, "runbook_url", "wiki", "key 'runbook_url' has the value 'wiki'; expected an address"),
        (THRESHOLD, "for", None, "lacks the key 'for'; add it"),
        (THRESHOLD, "for", "90 s", "key 'for' has the value '90 s'; expected whole minutes"),
        (THRESHOLD, "keep_firing_for", "0 min", "key 'keep_firing_for' has the value '0 min'; expected whole minutes"),
        (THRESHOLD, "for_", "2 min", "unknown key 'for_'"),
        (THRESHOLD, "table", "orders", "key 'table' has the value 'orders'; expected one of orders_revenue_per_minute"),
        (THRESHOLD, "column", "severity", "key 'column' has the value 'severity'; expected a number in errors_per"),
        (THRESHOLD, "by", "[page]", "key 'by' has the value 'page'; expected a text column of errors_per_minute"),
        (THRESHOLD, "aggregate", "avg", "key 'aggregate' has the value 'avg'"),
        (THRESHOLD, "above", None, "key 'above' has the value 'nothing'; expected a number for one of above and below"),
        (THRESHOLD, "below", "3", "key 'above' has the value '30, beside below 3'; expected a number for one of"),
        (THRESHOLD, "above", "'30'", "key 'above' has the value '30'"),
        (THRESHOLD, "above", "true", "key 'above' has the value 'True'"),
        (THRESHOLD, "above", ".nan", "key 'above' has the value 'nan'"),
        (THRESHOLD, "above", "-1", "key 'above' has the value '-1.0'; expected 0 or more"),
        (
            NO_DATA,
            "topic",
            "payments_topic",
            "key 'topic' has the value 'payments_topic'; expected one of orders_topic",
        ),
        (NO_DATA, "by", "[]", "unknown key 'by'"),
    ],
)
def test_a_wrong_rule(tmp_path: Path, rule: dict[str, str], key: str, value: str | None, said: str) -> None:
    path = write(tmp_path / "alerts.yaml", {**rule, key: value})
    with pytest.raises(UserError) as refused:
        load_rules(path)
    sentence = str(refused.value)
    named = "rule 'Fatal Error'" if key == "name" else f"rule '{rule['name']}'"
    assert said in sentence
    assert re.match(rf"{re.escape(str(path))}, line \d+: {named}", sentence)
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("owner", "''", 19),
        ("where", "{host: [a]}", 15),
        ("sevrity", "FATAL", 22),
        ("kind", "magic", 13),
        ("by", None, 12),
    ],
)
def test_the_line_that_is_wrong_is_named_or_else_where_the_rule_begins(
    tmp_path: Path, key: str, value: str | None, line: int
) -> None:
    path = write(tmp_path / "alerts.yaml", NO_DATA, {**EVENT, key: value})
    with pytest.raises(UserError, match=f"{re.escape(str(path))}, line {line}: rule 'fatal_error'"):
        load_rules(path)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from lakehouse.rules.rule import Rule", "spike.py holds none where one subclass of Rule is the kind 'spike'"),
        (
            "from lakehouse.rules.minute_rule import MinuteRule\nclass SpikeRule(MinuteRule): ...",
            "spike.py: SpikeRule lacks columns, judge, topics; write what MinuteRule or Rule asks for",
        ),
    ],
)
def test_a_file_of_kinds_that_holds_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    (tmp_path / "spike.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr("lakehouse.rules.kinds.__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lakehouse.rules.kinds.spike", raising=False)
    kinds.cache_clear()
    with pytest.raises(UserError, match=said):
        load_rules(write(tmp_path / "alerts.yaml", EVENT))


def test_below_by_service_is_refused_since_a_silent_service_has_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "alerts.yaml", {**THRESHOLD, "above": None, "below": "3"})
    with pytest.raises(UserError, match=r"key 'by' has the value 'service_name'; expected \[\] in a rule with below"):
        load_rules(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold one list under `rules:`"),
        ("rules: 3", "must hold one list under `rules:`"),
        ("rules: []\nroutes: []", "must hold one list under `rules:`"),
        ("rules: [fatal]", "rule 1 has the value 'fatal'; expected `key: value` lines"),
        ("rules:\n  - {kind: event}", "rule 1 lacks the key 'name'; add it"),
        ("rules: [", "it is not YAML"),
        ("rules:\n  - {name: a, name: b}", "key 'name' stands twice in the mapping at line 2"),
    ],
)
def test_a_file_that_holds_no_rules(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load_rules(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_two_rules_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="key 'name' has the value 'no_orders' in two rules"):
        load_rules(write(tmp_path / "alerts.yaml", NO_DATA, NO_DATA))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        load_rules(tmp_path / "alerts.yaml")
