"""`tillwatch check`: each wrong file is named by one sentence and no other; what several files tell together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse import ROOT, mistakes
from lakehouse.tables import CATALOG, SCHEMA
from lakehouse.yaml_file import read_yaml
from tests.asking_cast import LIMIT, rule_text
from tests.check_cast import FILES, MORE, OWN, a_config, change
from tillwatch.__main__ import app
from tillwatch.check import look
from tillwatch.checks import planning

WRONG = [case for name in ("alerting", "own") for case in read_yaml(ROOT / "tests" / "data" / "wrong" / f"{name}.yaml")]

# One that declares topics is looked at by a process of its own, in test_check.py.
EXAMPLES = [one for one in sorted((ROOT / "examples").iterdir()) if one.is_dir() and not (one / "topics").exists()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config/ with rules, routes and people of the shop's own, in which nothing is wrong."""
    config = a_config(tmp_path, FILES)
    monkeypatch.setenv("TILLWATCH_CONFIG", str(config / "tillwatch.yaml"))
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "data"))
    # What one look has found is nothing to the next.
    monkeypatch.setattr(mistakes, "_found", None)
    monkeypatch.setattr(mistakes, "_left_out", set())
    return config


@pytest.fixture
def whole(folder: Path) -> Path:
    """The same with sources, rates, boards and questions."""
    for name, text in MORE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gateway runs: statements are planned in this process."""
    monkeypatch.setenv("TILLWATCH_DREMIO_URI", "grpc://127.0.0.1:1")


@pytest.fixture(scope="module")
def a_gateway() -> Iterator[planning.Planning]:
    with planning.over_empty_tables("") as plans:
        yield plans


@pytest.fixture
def planned(a_gateway: planning.Planning, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that `check` would make for each look, once for all of them."""

    @contextmanager
    def same() -> Iterator[planning.Planning]:
        yield a_gateway

    monkeypatch.setattr(planning, "whoever_answers", same)


@pytest.mark.usefixtures("nobody")
def test_what_is_shipped_and_what_is_the_shops_own_are_right(whole: Path) -> None:
    found, [note] = look()
    assert found == []
    assert note.startswith("Statements were planned over empty tables of ours, for nobody answers: Neither Dremio nor")


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case['file']} {case.get('to', '')[:30]}")
def test_a_mistake_is_told_in_one_sentence_and_no_other(whole: Path, case: dict[str, Any]) -> None:
    if "text" in case:
        (whole / case["file"]).write_text(case["text"], encoding="utf-8")
    else:
        change(whole / case["file"], case["change"], case["to"])
    found, _ = look()
    said = [each.sentence.replace(str(whole), "config") for each in found]
    says, cut, _ = case["says"].partition("…")
    assert [sentence[: len(says)] if cut else sentence for sentence in said] == [says]


def test_there_are_wrong_files_of_every_kind() -> None:
    kinds = {Path(case["file"]).parts[0] for case in WRONG}
    assert kinds == {*FILES, "alerts.yaml", "sources.yaml", "rates.csv", "boards", "questions"}
    assert len(WRONG) > 60


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_what_is_there_to_be_copied_is_right(folder: Path, example: Path) -> None:
    shutil.copytree(example, folder, dirs_exist_ok=True)
    found, notes = look()
    assert found == []
    # That nobody answers; nothing of it is of no use.
    assert len(notes) == 1


@pytest.mark.usefixtures("nobody")
def test_all_mistakes_of_all_files_are_listed_and_the_command_exits_1(whole: Path) -> None:
    change(whole / "tillwatch.yaml", "storm_after: 10", "storm_after: -1")
    change(whole / "tillwatch.yaml", "refresh_s", "refrsh_s")
    change(whole / "alerts.yaml", "    above: 60", "    abov: 60")
    change(whole / "alerts.yaml", "    column: buyers", "    column: buyer")
    change(whole / "sources.yaml", "gone: SHIPPED", "gone: SHIPED")
    change(whole / "sources.yaml", "minor: 2", "minor: two")
    change(whole / "sources.yaml", "epoch: ms", "epoch: millis")
    change(whole / "rates.csv", "USD,0.9132", "usd,0.9132")
    change(whole / "rates.csv", "0.006", "-1")
    change(whole / "questions/trade_now.sql", "SUM(orders_count)", "SUM(order_count)")
    change(whole / "questions/trade_rows.sql", "{orders_processed}", "{order_processed}")
    change(whole / "boards/trade.yaml", "value: n", "value: m")
    change(whole / "boards/trade.yaml", "value: amount", "value: amont")
    change(whole / "boards/trade.yaml", "leads: orders", "leads: order")
    answer = CliRunner().invoke(app, ["check", "--json"])
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert [(Path(each["file"]).name, each["line"]) for each in told["mistakes"]] == [
        ("alerts.yaml", 110), ("alerts.yaml", 143), ("trade.yaml", 12), ("trade.yaml", 20), ("trade.yaml", 32),
        ("trade_now.sql", 3), ("trade_rows.sql", 5), ("rates.csv", 2), ("rates.csv", 4), ("sources.yaml", 16),
        ("sources.yaml", 19), ("sources.yaml", 26), ("tillwatch.yaml", 2), ("tillwatch.yaml", 5),
    ]  # fmt: skip


@pytest.mark.usefixtures("planned")
def test_what_builds_on_a_wrong_question_says_nothing_of_it(whole: Path) -> None:
    change(whole / "questions/trade_now.sql", "-- Columns: orders int", "-- Columns: order int")
    (whole / "boards" / "other.yaml").write_text("title: Other\ntiles: [{title: a, question: trade_now, column: x}]\n")
    keys = dict(LIMIT) | {
        "sql": "",
        "question": "trade_now",
        "over": "",
        "value": "order",
        "by": "",
        "description": "x",
    }
    change(whole / "alerts.yaml", OWN, rule_text(**keys, severity="ERROR"))
    (found,), _ = look()
    assert found.sentence == (
        f"{whole}/questions/trade_now.sql, line 2: 'order' is declared, which the answer does not have (did you mean "
        "'orders'?); it has orders, revenue."
    )


@pytest.mark.usefixtures("planned")
def test_what_is_right_and_of_no_use_is_a_note(whole: Path) -> None:
    (whole / "questions" / "idle.sql").write_text("SELECT COUNT(*) AS n FROM {orders_processed}\n", encoding="utf-8")
    change(whole / "boards/trade.yaml", "filters:\n", "filters:\n  - {name: size}\n")
    found, notes = look()
    assert found == []
    assert [note.replace(str(whole), "config") for note in notes[1:]] == [
        "The filter 'size' of trade.yaml changes nothing: no question of it asks for :size.",
        "config/questions/idle.sql is asked by no board and no rule.",
    ]


@pytest.mark.usefixtures("planned")
def test_two_mistakes_of_one_routes_file_are_two_sentences(folder: Path) -> None:
    change(folder / "routes.yaml", "to: [slack, email]", "to: [slak, emial]")
    change(folder / "routes.yaml", '"@ada"', '"@eve"')
    answer = CliRunner().invoke(app, ["check"])
    assert answer.exit_code == 1
    lines = answer.stdout.splitlines()
    assert [line.partition("': '")[2].partition("'")[0] for line in lines[:3]] == ["slak", "emial", "@eve"]
    assert lines[-1] == f"3 to mend in {folder}"


@pytest.mark.usefixtures("nobody")
def test_a_table_that_only_dremio_has_is_a_note_while_nobody_answers(whole: Path) -> None:
    change(whole / "alerts.yaml", "{orders_processed}", "warehouse.sales.orders")
    change(whole / "questions/trade_minutes.sql", ".orders_processed", ".order_processed")
    found, notes = look()
    assert found == []
    assert [note.partition(" not found within")[0] for note in notes[1:]] == [
        "The question trade_minutes.sql was not planned: Object 'order_processed' (did you mean 'orders_processed'?)",
        "The rule much_sold was not planned: Object 'orders'",
    ]


@pytest.mark.usefixtures("planned")
def test_a_question_in_a_file_is_named_by_its_own_line_and_once(folder: Path) -> None:
    (folder / "questions").mkdir()
    text = f"-- How much is sold.\n\nSELECT product_id,\n  nothing AS n\nFROM {CATALOG}.{SCHEMA}.orders_processed\n"
    (folder / "questions" / "sold.sql").write_text(text, encoding="utf-8")
    keys = dict(LIMIT) | {"sql": "", "question": "sold", "over": ""}
    change(folder / "alerts.yaml", OWN, rule_text(**keys, severity="ERROR"))
    found, _ = look()
    assert [each.sentence for each in found] == [
        f"{folder / 'questions' / 'sold.sql'}, line 4, column 3: Column 'nothing' not found in any table."
    ]
