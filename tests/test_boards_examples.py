"""The boards that are there to be copied, in examples/ and docs/your-shop.md: right, and answered by the gateway."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from console.boards import question as questions
from console.boards.load import Board, load_board
from console.boards.question import read_question
from console.catalogue import put
from console.running import Running
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.statement import QUESTIONS, Fragment, fill
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.shop import OrdersSettings
from lakehouse.tables import TABLES
from tests.board_cast import eventually
from tests.conftest import Shop
from tests.test_console_session import a_console
from tests.test_console_tabs import Opened
from tests.test_gateway import start_gateway, stop

SINCE, UNTIL = datetime(2026, 3, 2, 11, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)
ANY = Fragment("(1 = 1)", {})


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Statements]:
    path: Path = tmp_path_factory.mktemp("shop")
    shop = Shop(path)
    shop.order()
    shop.publish()
    shop.close()
    engine = Engine(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    yield Statements(SqliteCommits(path / "catalog.db"), engine)
    engine.close()


def written_in_the_docs(folder: Path) -> Path:
    """The files that docs/your-shop.md shows, as they stand there."""
    text = (ROOT / "docs" / "your-shop.md").read_text(encoding="utf-8")
    for name, block in re.findall(
        r"^`config/((?:questions|boards)/\w+\.\w+)`:\n\n((?:    .*\n|\n)+)", text, re.MULTILINE
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(re.sub(r"^    ", "", block, flags=re.MULTILINE), encoding="utf-8")
    return folder / "boards" / "trade.yaml"


def answered(statements: Statements, board: Board) -> None:
    """Ask all that a board asks, with a value for each that it gives."""
    assert board.spec is not None
    assert board.questions is not None
    for _, name, columns, given in board.spec.asking():
        binds: dict[str, Any] = dict.fromkeys(given, ANY)
        binds |= {"since": SINCE, "until": UNTIL, "as_of": UNTIL, "step": "MINUTE", "most": 7, "skip": 0}
        binds["sorted"] = Fragment("1 DESC NULLS LAST", {})
        question = board.questions[name]
        planned = statements.plan(question.statement(None, binds, 10))
        question.check(planned.schema)
        assert {*columns} <= {*planned.schema.names}
        list(statements.run(planned.ticket, lambda: False).batches)


def test_the_overview_as_a_board_is_right_and_answered(statements: Statements) -> None:
    board = load_board(ROOT / "examples" / "overview" / "boards" / "shop.yaml")
    assert board.spec is not None
    assert [tile.title for tile in board.spec.tiles] == [
        "Revenue 5 min", "Net revenue 5 min", "Orders 5 min", "Average order", "Active users", "Conversion",
        "Error rate",
    ]  # fmt: skip
    answered(statements, board)


@pytest.mark.parametrize("grain", ["order", "line"])
def test_the_figures_of_the_overview_as_a_board_are_the_overviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grain: str
) -> None:
    monkeypatch.setenv("TILLWATCH_ORDERS_COUNTED_STATUSES", '["CREATED"]')
    monkeypatch.setenv("TILLWATCH_ORDERS_GRAIN", grain)
    shop = Shop(tmp_path)
    for status in ("CREATED", "CREATED", "CANCELLED", "SHIPPED"):
        shop.order(status=status, order_id="one" if status == "CREATED" else status, event_id=str(uuid4()))
    shop.order(user_id="bob")
    for user in ("ada", "bob", "eve"):
        shop.click(user_id=user)
    shop.refund(amount=3)
    shop.error(severity="ERROR")
    shop.now += timedelta(seconds=5)
    shop.publish()
    shop.close()
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    statements = Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    since, until = shop.now - timedelta(minutes=5), shop.now + timedelta(seconds=1)

    def asked(sql: str) -> dict[str, Any]:
        [batch] = statements.run(statements.plan(sql).ticket, lambda: False).batches
        [row] = batch.to_pylist()
        return row  # type: ignore[no-any-return]  # of what the gateway answers

    board = read_question("shop_figures", ROOT / "examples" / "overview" / "questions")
    mine = asked(board.statement(None, {"since": since, "until": until}, 10))
    counting = OrdersSettings.load().counting
    template = counting.filled((QUESTIONS / "tiles.sql").read_text())
    tiles = asked(fill(template, None, {"before": since, "since": since, "as_of": until}))
    engine.close()
    assert mine["orders"] == tiles["orders"] == (2 if grain == "line" else 3)
    assert (mine["revenue"], mine["users"]) == (tiles["revenue"], tiles["users"])
    assert mine["net"] == tiles["revenue"] - tiles["refunded"]
    assert mine["conversion"] == pytest.approx(100 * tiles["buyers"] / tiles["users"])
    assert mine["error_rate"] == pytest.approx(100 * tiles["errors"] / tiles["clicks"])


def test_the_board_of_the_docs_is_right_and_answered(statements: Statements, tmp_path: Path) -> None:
    board = load_board(written_in_the_docs(tmp_path))
    assert sorted(path.name for path in (tmp_path / "questions").iterdir()) == [
        "trade_by_status.sql", "trade_minutes.sql", "trade_now.sql", "trade_rows.sql",
    ]  # fmt: skip
    answered(statements, board)


def test_the_board_of_the_docs_shows_what_the_gateway_answers(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "data")
    for _ in range(3):
        shop.order()
    shop.now += timedelta(seconds=30)
    shop.publish()
    shop.close()
    written_in_the_docs(tmp_path)
    process, port = start_gateway(tmp_path / "data")
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://127.0.0.1:{port}")) as dremio:
            shows_the_orders(a_console(dremio, now=shop.now, config=tmp_path))  # type: ignore[arg-type]  # asks alike
    finally:
        put(())
        stop(process)


def shows_the_orders(console: Running) -> None:
    page = Opened(console, "tab=trade&range=1h")
    parts = eventually(page, lambda parts: {"tile.trade.tile0", "list.trade.tables0"} <= set(parts))
    rows = parts["list.trade.tables0"]["rows"]
    assert len(rows) == 3
    assert parts["head"]["commit"] == console.hub.snapshot.commit
    page.session.view = page.session.view.filtered("find", (rows[0]["order_id"],))
    parts = eventually(page, lambda parts: len(parts["list.trade.tables0"]["rows"]) < 3)
    assert parts["list.trade.tables0"]["rows"] == [rows[0]]
    assert [part["words"] for name, part in parts.items() if name.startswith("panel.") and part["words"]] == []
    console.boards.close()
    console.asker.close()


def test_a_bound_stands_around_one_that_the_question_has(statements: Statements, tmp_path: Path) -> None:
    path = written_in_the_docs(tmp_path)
    (tmp_path / "questions" / "trade_minutes.sql").write_text(
        "SELECT window_start AS moment, orders_count AS orders, total_revenue AS revenue\n"
        "FROM {orders_revenue_per_minute} ORDER BY 1 LIMIT 1000000",
        encoding="utf-8",
    )
    answered(statements, load_board(path))


def test_the_payments_board_is_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {*TABLES, "payments_processed", "payments_per_minute"}
    monkeypatch.setattr(questions, "TABLES", dict.fromkeys(known))
    shutil.copytree(ROOT / "examples" / "payments", tmp_path / "payments")
    board = load_board(tmp_path / "payments" / "boards" / "payments.yaml")
    assert (board.name, [one.outside for one in (board.questions or {}).values()]) == ("payments", [False] * 5)
