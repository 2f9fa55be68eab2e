"""Where two parts of the gateway could read a statement differently, they do not: comments, marks, bounds, counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.paths import Context
from lakehouse.tables import CATALOG, SCHEMA
from tests.gateway_cast import Desk

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path: Path = tmp_path_factory.mktemp("shop")
    desk = Desk(path)
    yield desk
    desk.close()


def shape_of(dialect: Dialect, sql: str) -> Statement:
    statement = dialect.read(sql)
    assert isinstance(statement, Statement)
    return statement


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        # A line ends with a carriage return too: nothing behind it goes by unseen.
        ("SELECT 1 -- c\r ::VARCHAR", "::"),
        ("SELECT 1 -- c\r , READ_TEXT('x')", "No match found for function signature READ_TEXT"),
        (f"SELECT {'DECIMAL(' * 40}1{')' * 40} AS n", "No match found for function signature DECIMAL"),
        (f"SELECT {'VARCHAR(' * 40}1{')' * 40} AS n", "No match found for function signature VARCHAR"),
        ("SELECT * FROM (VALUES (1), (1)) AS t (x) ORDER BY x FETCH FIRST 1 ROWS WITH TIES", "WITH TIES"),
        ("SELECT * FROM (VALUES (1), (1)) AS t (x) FETCH FIRST 50 PERCENT ROWS ONLY", "PERCENT"),
        ("SELECT * FROM (VALUES (1), (1)) AS t (x) LIMIT 2+1", "LIMIT takes a whole number"),
        ("SELECT * FROM (VALUES (1), (1)) AS t (x) LIMIT '1'", "LIMIT takes a whole number"),
        ("SELECT * FROM (VALUES (1), (1)) AS t (x) LIMIT 1 OFFSET 1.5", "OFFSET takes a whole number"),
    ],
)
def test_what_only_one_of_them_would_see_is_refused(desk: Desk, sql: str, says: str) -> None:
    with pytest.raises(Refusal) as caught:
        desk.rows(sql)
    assert says in str(caught.value)


def test_a_comment_ends_at_its_first_end(desk: Desk) -> None:
    assert desk.rows("SELECT 1 /* /* */ + 1 -- */\n AS n") == [{"n": 2}]
    assert desk.rows("SELECT 1 -- one\r + 1 AS n") == [{"n": 2}]
    assert desk.rows("SELECT x FROM (VALUES (1), (2)) AS t (x) ORDER BY x OFFSET 1 FETCH NEXT 1 ROWS ONLY") == [
        {"x": 2}
    ]


@pytest.mark.parametrize(
    "sql", [f"SELECT * FROM {ORDERS} AT BRANCH main", "SELECT TIMESTAMP '2026-03-02 12:00:00' AS t"]
)
def test_a_text_that_looks_like_the_gateways_own_changes_nobodys_statement(sql: str) -> None:
    honest, dialect = shape_of(Dialect(), sql), Dialect()
    made = honest.shape.sql
    assert made != sql
    with suppress(Refusal):
        shape_of(dialect, made)
    found = shape_of(dialect, sql)
    assert (found.shape.mark, found.shape.relations) == (honest.shape.mark, honest.shape.relations)


def test_only_conditions_on_a_files_own_column_leave_files_out(desk: Desk) -> None:
    first, last = "TIMESTAMP '2026-03-02 00:00:00'", "TIMESTAMP '2026-03-03 00:00:00'"
    every = desk.column(f"SELECT order_id FROM {ORDERS} ORDER BY order_id")
    for low, high in ((first, last), (last, first)):
        sql = f"SELECT order_id FROM {ORDERS} WHERE order_ts BETWEEN SYMMETRIC {low} AND {high} ORDER BY order_id"
        assert desk.column(sql) == every
    named = shape_of(Dialect(), "SELECT id FROM t AS instr (id, b, a) WHERE a > TIMESTAMP '2026-02-01 00:00:00'")
    plain = shape_of(Dialect(), "SELECT id FROM t AS instr WHERE a > TIMESTAMP '2026-02-01 00:00:00'")
    assert [len(one.shape.relations[0].bounds) for one in (named, plain)] == [0, 1]


def test_a_statement_that_is_refused_once_it_is_read_leaves_nothing(desk: Desk) -> None:
    for sql in ("SELECT a + 0 FROM nosuch", f"SELECT nosuch + 1 AS n FROM {ORDERS}"):
        with pytest.raises(Refusal):
            desk.rows(sql)
        assert shape_of(desk.statements._dialect, sql).shape.tree is None


def test_whoever_reads_no_more_keeps_no_heavy_statement_waiting(tmp_path: Path) -> None:
    engine = Engine(tmp_path, tmp_path / "spill", 1, 128, timeout_s=2, heavy_at_once=1)
    sql = "SELECT repeat('x', 500) AS x FROM range(2000000)"
    stalled = engine.run_apart(sql, {}, lambda: False)
    assert next(stalled).num_rows > 0
    answers: list[pa.RecordBatch] = []
    # One after the other may wait for its turn as long as one may run.
    for _ in range(3):
        try:
            answers += engine.run_apart("SELECT repeat('y', 3) AS y", {}, lambda: False)
        except Refusal:
            continue
        break
    assert [batch.to_pydict() for batch in answers] == [{"y": ["yyy"]}]
    with pytest.raises(Refusal, match="time"):
        list(stalled)
    assert not [thread for thread in threading.enumerate() if thread.name == "deadline"]
    engine.close()


def test_who_asks_and_in_which_schema_is_told_to_each_alone(desk: Desk) -> None:
    sql = 'SELECT USER AS "name", CURRENT_SCHEMA AS "schema"'
    context = Context((CATALOG, "a b"))

    def told(user: str, context: Context) -> list[dict[str, str]]:
        ticket = desk.statements.plan(sql, context, user=user).ticket
        [batch] = desk.statements.run(ticket, lambda: False, user).batches
        rows: list[dict[str, str]] = batch.to_pylist()
        return rows

    for user in ("ada", "gr'ace", "{0}\\", '"\x01r0"', "'\x01u1'"):
        assert told(user, Context()) == [{"name": user, "schema": ""}]
        assert told(user, context) == [{"name": user, "schema": f'{CATALOG}."a b"'}]
