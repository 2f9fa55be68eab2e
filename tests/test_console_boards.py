"""A board as a tab of the console: what its panels are sent, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.catalogue import SHIPPED, current, put
from console.running import Running
from console.url import parse
from tests.board_cast import BOARD, a_shop_of_ones_own, eventually
from tests.fake_dremio import FakeDremio, a_shop
from tests.test_console_session import NOON, a_console
from tests.test_console_tabs import Opened

STOCK = """
tables:
  - title: Stock
    question: stock
    columns: [{column: product}, {column: pieces, kind: number}]
live:
  - title: Pieces
    kind: line
    question: stock_minutes
    values: [pieces]
"""
STOCK_MINUTES = "-- Pieces in stock by minute.\nSELECT moment, pieces FROM people.stock_minutes"


@pytest.fixture
def dremio() -> Iterator[FakeDremio]:
    fake = FakeDremio()
    a_shop(fake, NOON)
    fake._connection.execute("CREATE SCHEMA people")
    fake._connection.execute("CREATE TABLE people.stock AS SELECT 'tea' AS product, 12 AS pieces")
    fake._connection.execute(
        "CREATE TABLE people.stock_minutes AS SELECT date_trunc('minute', now()::TIMESTAMP) AS moment, 3 AS pieces"
    )
    yield fake
    fake.close()


@pytest.fixture
def opened(dremio: FakeDremio, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    consoles: list[Running] = []

    def page(query: str = "tab=trade&range=1h", board: str = BOARD, **questions: str) -> Opened:
        a_shop_of_ones_own(tmp_path, board, **questions)
        consoles.append(a_console(dremio, config=tmp_path))
        return Opened(consoles[-1], query)

    yield page
    for console in consoles:
        console.boards.close()
        console.asker.close()
    put(())


def drawn(page: Opened) -> dict[str, Any]:
    """Build the live charts, and give what each of them holds."""
    board: Any = page.session.drills["trade"]
    board.draw()
    return {live.kind.name: live.chart.source.data for live in board.live_panels if live.chart is not None}


ALL = ("tile.trade.tile0", "spark.trade.tile0", "legend.trade.live0", "legend.trade.charts0", "list.trade.tables0")


def test_a_board_shows_what_its_questions_answer(opened: Callable[..., Opened], dremio: FakeDremio) -> None:
    page = opened()
    parts = eventually(page, lambda parts: set(ALL) <= set(parts) and parts["tile.trade.tile0"]["change"] != "n/a")
    tile = parts["tile.trade.tile0"]
    [[orders]] = dremio._connection.execute(
        "SELECT sum(orders_count) FROM orders_revenue_per_minute WHERE window_start >= '2026-03-02 11:55:30'"
    ).fetchall()
    assert (tile["text"], tile["base"], tile["state"]) == (str(orders), "5 min, vs the 5 min before", "ok")
    assert len(parts["spark.trade.tile0"]["values"]) == 59
    source = drawn(page)["trade.live0"]
    assert list(source) == ["minute", "middle", "alpha", "then", "CREATED", "DELIVERED", "(other)"]
    [[created]] = dremio._connection.execute(
        "SELECT count(*) FROM orders_processed WHERE status = 'CREATED' AND order_ts >= '2026-03-02 11:01:00'"
    ).fetchall()
    assert sum(source["CREATED"]) == created
    rows = parts["list.trade.tables0"]
    [listed] = current().tabs["trade"].lists()
    assert [column.head for column in listed.columns][:2] == ["Order ts", "Order id"]
    assert rows["rows"][0]["order_ts"] > rows["rows"][1]["order_ts"]
    assert rows["words"] == f"{len(rows['rows'])} rows"
    assert {panel for panel, part in parts.items() if panel.startswith("panel.") and part["words"]} == set()


def test_a_limit_gives_a_tile_its_word(opened: Callable[..., Opened]) -> None:
    page = opened(board=BOARD.replace("below: 5", "above: 5"))
    tile = eventually(page, lambda parts: "tile.trade.tile0" in parts)["tile.trade.tile0"]
    assert (tile["word"], tile["state"]) == ("few", "watch")


def test_filters_and_find_narrow_the_range(opened: Callable[..., Opened]) -> None:
    page = opened("tab=trade&range=1h&product=mug")
    rows = eventually(page, lambda parts: "list.trade.tables0" in parts)["list.trade.tables0"]["rows"]
    assert {row["product_id"] for row in rows} == {"mug"}
    page.session.view = page.session.view.filtered("product", ()).filtered("find", ("TEAP",))
    rows = eventually(page, lambda parts: {row["product_id"] for row in parts["list.trade.tables0"]["rows"]} != {"mug"})
    assert {row["product_id"] for row in rows["list.trade.tables0"]["rows"]} == {"teapot"}
    assert page.session.exported("trade.tables0").num_rows == len(rows["list.trade.tables0"]["rows"])  # type: ignore[union-attr]


def test_a_question_that_fails_says_so_in_its_panel_alone(opened: Callable[..., Opened]) -> None:
    page = opened(
        trade_products="SELECT product_id, SUM(no_such) AS amount FROM {orders_processed} GROUP BY product_id"
    )
    parts = eventually(page, lambda parts: set(ALL) <= set(parts) and parts["panel.trade.charts1"]["words"])
    assert parts["panel.trade.charts1"]["words"].startswith("trade_products.sql: ")
    assert "no_such" in parts["panel.trade.charts1"]["words"]
    assert parts["head"]["failed"]["trade"] == parts["panel.trade.charts1"]["words"]
    assert [part["words"] for name, part in parts.items() if name.startswith("panel.") and part["failed"]] == [
        parts["panel.trade.charts1"]["words"]
    ]


def test_a_slow_question_stops_nothing_else(opened: Callable[..., Opened], dremio: FakeDremio) -> None:
    free = dremio.slow_down("product_id, SUM")
    try:
        page = opened()
        parts = eventually(page, lambda parts: set(ALL) <= set(parts))
        assert "legend.trade.charts1" not in parts
        other = Opened(a_console(dremio), "tab=orders&range=1h")
        assert other.parts()["list.order_rows"]["rows"]
    finally:
        free.set()


def test_a_column_that_is_not_there_is_said_with_its_line(opened: Callable[..., Opened]) -> None:
    page = opened(board=BOARD.replace("    by: status\n    parts", "    by: state\n    parts", 1))
    parts = eventually(page, lambda parts: parts["panel.trade.live0"]["words"])
    assert parts["panel.trade.live0"]["words"] == (
        "trade.yaml, line 17: 'state' is no column of the answer (did you mean 'status'?); it has moment, status, n."
    )


def test_a_board_that_asks_for_a_million_rows_is_bounded_and_says_so(
    opened: Callable[..., Opened], dremio: FakeDremio
) -> None:
    rows = "-- Columns: n int.\nSELECT n FROM {orders_processed}, (SELECT range AS n FROM range(5000)) LIMIT 1000000"
    board = BOARD.replace("    question: trade_rows\n    key: [event_key]", "    question: many")
    bars = "SELECT DATE_TRUNC('MINUTE', order_ts) AS moment, status, 1 AS n FROM {orders_processed}, range(5000)"
    page = opened(board=board, many=rows, trade_over_time=bars)
    parts = eventually(page, lambda parts: "list.trade.tables0" in parts and "legend.trade.charts0" in parts)
    most = page.session.settings.rows_shown
    assert len(parts["list.trade.tables0"]["rows"]) == most
    assert parts["list.trade.tables0"]["words"] == f"1 – {most} shown, and there are more"
    assert parts["panel.trade.charts0"]["words"] == (
        "The question has more than 10\u202f000 rows; shown are the first of them."
    )
    assert any(text.endswith(f"LIMIT {most + 1}") for text in dremio.asked)


def test_rows_go_on_page_by_page_in_the_chosen_order(opened: Callable[..., Opened]) -> None:
    page = opened("tab=trade&range=1h&sort=order_total.asc")
    page.session.settings = page.session.settings.model_copy(update={"rows_shown": 20})
    first = eventually(page, lambda parts: "list.trade.tables0" in parts)["list.trade.tables0"]
    assert first["order"] == {"field": "order_total", "up": True, "page": 1, "pages": 2}
    totals = [Decimal(row["order_total"]) for row in first["rows"]]
    assert totals == sorted(totals)
    page.session.view, notices = parse("tab=trade&range=1h&sort=order_total.asc&page=2")
    assert notices == []
    second = eventually(page, lambda parts: parts["list.trade.tables0"]["order"]["page"] == 2 and
                        parts["list.trade.tables0"]["rows"] != first["rows"])["list.trade.tables0"]  # fmt: skip
    assert Decimal(second["rows"][0]["order_total"]) >= totals[-1]


def test_a_table_of_others_says_when_it_was_read_and_is_left_out_of_a_moment(
    opened: Callable[..., Opened], dremio: FakeDremio
) -> None:
    page = opened(board=BOARD.split("tiles:")[0] + STOCK, stock_minutes=STOCK_MINUTES)
    parts = eventually(page, lambda parts: "list.trade.tables0" in parts and parts["panel.trade.live0"]["read_at"])
    assert parts["list.trade.tables0"]["rows"] == [{"key": "0", "product": "tea", "pieces": "12"}]
    assert parts["panel.trade.tables0"]["read_at"].endswith("Z")
    assert all("AT COMMIT" not in text for text in dremio.asked if "people." in text)
    dremio.publish(NOON + timedelta(seconds=1))
    asked = len([text for text in dremio.asked if "people." in text])
    eventually(page, lambda parts: True)
    assert len([text for text in dremio.asked if "people." in text]) == asked  # it has a cadence of its own
    page.session.view = parse("tab=trade&range=1h&at=2026-03-02T12:00:30Z")[0]
    parts = eventually(page, lambda parts: parts["head"]["frozen"])
    assert "a table that tillwatch does not write" in parts["empty"]["trade.live0"]
    assert parts["panel.trade.tables0"]["words"] == parts["empty"]["trade.live0"]
    assert parts["list.trade.tables0"]["rows"] == []


def test_a_change_of_a_file_is_put_in_place(opened: Callable[..., Opened], tmp_path: Path) -> None:
    page = opened()
    before = current().editions["trade"]
    boards = page.console.boards
    assert not boards.look()
    a_shop_of_ones_own(tmp_path, BOARD.replace("title: Trade", "title: Business"))
    assert boards.look()
    tabs = page.session._message(full=True)["parts"]["boards"]["tabs"]
    assert [title for name, title, _ in tabs if name == "trade"] == ["Business"]
    assert current().editions["trade"] != before
    a_shop_of_ones_own(tmp_path, BOARD.replace("kind: stacked", "kind: heaped"))
    edition = current().editions["trade"]
    assert boards.look()
    assert current().editions["trade"] == edition
    said = page.session._message(full=True)["parts"]["said.trade"]["words"]
    assert "trade.yaml, line 18" in said
    (tmp_path / "boards" / "trade.yaml").unlink()
    assert boards.look()
    assert list(current().tabs) == list(SHIPPED.tabs)
    assert parse("tab=trade")[1] == ["'trade' is no tab; shown is overview."]


def test_a_board_that_never_was_right_is_a_tab_that_says_why(opened: Callable[..., Opened]) -> None:
    page = opened("tab=board_trade", BOARD.replace("order: 25", "order: soon"))
    parts = page.session._message(full=True)["parts"]
    assert "trade.yaml, line 2: 'order' has the value 'soon'" in parts["said.board_trade"]["words"]
    assert parts["view"]["tab"] == "board_trade"
