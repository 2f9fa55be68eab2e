"""A board's file: what it may say, and the one sentence for each thing that it may not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.boards.load import load_board
from console.boards.question import read_question
from console.boards.shelf import BoardShelf
from lakehouse import ROOT
from lakehouse.user_error import UserError
from tests.board_cast import BOARD, QUESTIONS, a_shop_of_ones_own

EXAMPLES = ROOT / "examples"
SINCE, UNTIL = datetime(2026, 3, 2, 11, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)
COMMIT = "ab12"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path


def test_a_board_is_read_with_its_questions(shop: Path) -> None:
    board = load_board(a_shop_of_ones_own(shop))
    assert (board.name, board.trouble) == ("trade", "")
    assert board.spec is not None
    assert [tile.span for tile in board.spec.tiles] == [timedelta(minutes=5)]
    assert sorted(board.questions or {}) == sorted({*QUESTIONS} - {"stock"})


def wrong(shop: Path, board: str, **questions: str) -> str:
    with pytest.raises(UserError) as refused:
        load_board(a_shop_of_ones_own(shop, board, **questions))
    return str(refused.value).replace(f"{shop}/", "")


@pytest.mark.parametrize(
    ("of", "becomes", "sentence"),
    [
        (BOARD, "tiles: []", "boards/trade.yaml, line 1: the key 'title' is missing; add it."),
        ("title: Trade", "title: [", "boards/trade.yaml cannot be read: it is not YAML:"),
        ("title: Trade", "title: Trade\ntitle: Other", "key 'title' stands twice in the mapping at line 1"),
        ("order: 25", "order: soon", "boards/trade.yaml, line 2: 'order' has the value 'soon': input should be"),
        ("order: 25", "ordr: 25", "line 2: the key 'ordr' is unknown (did you mean 'order'?); keys here are title,"),
        ("    good: up", "    god: up", "line 11: the key 'god' is unknown (did you mean 'good'?); keys here are"),
        ("good: up", "good: upp", "line 11: 'good': 'upp' is no direction (did you mean 'up'?); there are up, down"),
        ("column: orders", "colum: orders", "line 10: the key 'colum' is unknown (did you mean 'column'?); keys"),
        ("kind: stacked", "kind: stack", "'stack' is no kind of live chart (did you mean 'stacked'?);"),
        ("kind: ranking", "kind: pie", "line 30: 'kind': 'pie' is no kind of chart; there are bars, ranking, heatmap."),
        ("question: trade_now", "question: trade_nw", "line 9: there is no question 'trade_nw' (did you mean"),
        ("column: orders", "column: order", "line 10: 'order' is no column of 'trade_now' (did you mean 'orders'?)"),
        ("value: amount", "value: amont", "line 32: 'amont' is no column of 'trade_products' (did you mean 'amount'?)"),
        ("filter: product", "filter: produce", "line 34: there is no filter 'produce' (did you mean 'product'?)"),
        ("leads: orders", "leads: order", "line 12: there is no tab 'order' (did you mean 'orders'?)"),
        ("- name: product", "- name: range", "line 5, 'range': 'range' means another thing in an address"),
        ("- name: product", "- name: status", "'status' has other choices than that of another tab; rename"),
        ("state: watch}", "state: wach}", "'wach' is no state (did you mean 'watch'?); there are watch, bad, ok."),
        ("below: 5, ", "", "a limit has one of the keys above and below."),
        ("    by: status\n    parts: [CREATED, DELIVERED]", "    parts: [A]", "by, the column of the parts, and parts"),
        ("title: Trade", "title: Trade\nurl: orders", "line 2: 'orders' is the name of something else in the console"),
        ("title: Trade", "title: Trade\nurl: status", "line 2: 'status' is the name of something else in the console"),
        ("title: Trade", "title: Trade\nurl: My shop", "line 2: 'url' has the value 'My shop': string should match"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_file_and_line(shop: Path, of: str, becomes: str, sentence: str) -> None:
    said = wrong(shop, BOARD.replace(of, becomes, 1))
    assert sentence in said
    assert "\n" not in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("question", "text", "sentence"),
    [
        ("trade_now", "SELECT COUNT(*) AS orders FROM {order_processed}\n", "there is no table 'order_processed'"),
        ("trade_now", "-- Columns: orders number.\nSELECT 1 AS orders\n", "line 1: 'Columns' declares 'orders nu"),
        ("trade_now", "SELECT :from AS orders, 1 AS revenue\n", "'trade_now' needs a value for ':from'; here it is"),
        ("trade_now", "-- nothing\n", "questions/trade_now.sql, line 1: it asks nothing; write a SELECT; trade.yaml"),
        ("trade_now", "-- Every: 1 s\nSELECT 1 AS orders\n", "line 1: 'Every' has the value '1 s'; expected 5 s"),
        ("trade_rows", "SELECT 1 AS event_key\n", "name its columns, or let the question declare them in a line"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_question_is_said_of_its_file(shop: Path, question: str, text: str, sentence: str) -> None:
    assert sentence in wrong(shop, BOARD, **{question: text})


def test_of_two_boards_with_one_name_the_second_is_refused(shop: Path) -> None:
    a_shop_of_ones_own(shop)
    a_shop_of_ones_own(shop, BOARD.replace("title: Trade", "title: Other\nurl: trade"), "trade_too.yaml")
    shelf = BoardShelf(shop)
    assert shelf.look()
    assert [board.name for board in shelf.boards] == ["trade", "board_trade_too"]
    assert shelf.boards[1].trouble.endswith(
        "trade_too.yaml, line 2: 'trade' is the name of trade.yaml already; give one of them another `url:`."
    )


def test_a_wrong_file_keeps_the_last_and_says_why_once(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = a_shop_of_ones_own(shop)
    shelf = BoardShelf(shop)
    assert shelf.look()
    assert not shelf.look()
    path.write_text(BOARD.replace("kind: stacked", "kind: heaped"), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert shelf.look()
        (shop / "questions" / "more.sql").write_text("SELECT 1 AS one", encoding="utf-8")
        assert shelf.look()
    [board] = shelf.boards
    assert board.spec is not None
    assert board.spec.live[0].kind == "stacked"
    assert "'heaped' is no kind of live chart" in board.trouble
    assert caplog.text.count("heaped") == 1
    path.write_text(BOARD.replace("kind: stacked", "kind: heatmap"), encoding="utf-8")
    assert shelf.look()
    assert (shelf.boards[0].trouble, shelf.boards[0].edition == board.edition) == ("", False)


def test_a_question_of_our_tables_alone_is_asked_at_the_commit(shop: Path) -> None:
    a_shop_of_ones_own(shop)
    question = read_question("trade_minutes", shop / "questions")
    text = question.statement(COMMIT, {"since": SINCE, "until": UNTIL, "most": 7}, 100)
    assert 'orders_processed AT COMMIT "ab12"' in text
    assert text.endswith("status\nLIMIT 100")
    assert not question.outside


@pytest.mark.parametrize(
    ("sql", "every_s"),
    [
        ("SELECT product FROM people.stock", 60),
        ("-- Every: 30 s\nSELECT product FROM people.stock", 30),
        ("-- Every: 2 min\nSELECT COUNT(*) AS n FROM {orders_processed}", 120),
        ('SELECT 1 AS n FROM {orders_processed} AS o JOIN "lake"."stock" AS s ON o.product_id = s.product', 60),
        ("SELECT 1 AS n FROM nessie_minio_catalog.ecommerce_db.somebody_elses", 60),
        ("SELECT 'FROM people.stock' AS words FROM {orders_processed} -- FROM people.stock", None),
    ],
)
def test_a_table_that_tillwatch_does_not_write_has_a_cadence_and_no_commit(
    shop: Path, sql: str, every_s: int | None
) -> None:
    a_shop_of_ones_own(shop, asked=sql)
    question = read_question("asked", shop / "questions")
    assert question.every == (timedelta(seconds=every_s) if every_s else None)
    assert ("AT COMMIT" in question.statement(COMMIT, {}, 10)) == (every_s is None)


@pytest.mark.parametrize(
    ("sql", "asked"),
    [
        ("SELECT n FROM (SELECT 1 AS n LIMIT 5)", "SELECT n FROM (SELECT 1 AS n LIMIT 5)\nLIMIT 10"),
        ("SELECT n FROM t LIMIT 1000000;", "SELECT * FROM (\nSELECT n FROM t LIMIT 1000000\n) AS asked\nLIMIT 10"),
        ("SELECT n FROM t ORDER BY n LIMIT 10", "SELECT n FROM t ORDER BY n LIMIT 10"),
        ("SELECT n FROM t LIMIT 2 OFFSET 4", "SELECT * FROM (\nSELECT n FROM t LIMIT 2 OFFSET 4\n) AS asked\nLIMIT 10"),
        ("SELECT n FROM t ORDER BY n LIMIT :most", "SELECT n FROM t ORDER BY n LIMIT 3"),
        ("SELECT ' LIMIT 1' AS words", "SELECT ' LIMIT 1' AS words\nLIMIT 10"),
    ],
)
def test_no_question_asks_for_more_rows_than_are_shown(shop: Path, sql: str, asked: str) -> None:
    a_shop_of_ones_own(shop, asked=sql)
    assert read_question("asked", shop / "questions").statement(None, {"most": 3}, 10) == asked
