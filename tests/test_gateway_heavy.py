"""Heavy statements are answered as light ones are: names, versions, types, parameters, and however deep they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from embedded.gateway.apart import Apart
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.prepared import PreparedStatements
from embedded.gateway.paths import Context
from embedded.gateway.sessions import FlightSession
from lakehouse.tables import CATALOG, SCHEMA
from tests.gateway_cast import Desk

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path: Path = tmp_path_factory.mktemp("shop")
    desk = Desk(path)
    yield desk
    desk.close()


def refusal(desk: Desk, sql: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        desk.rows(sql)
    return caught.value


# ---- tables of the gateway's own ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "source"),
    [
        ("TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION", 'INFORMATION_SCHEMA."COLUMNS"'),
        ("TABLE_SCHEMA, TABLE_NAME", 'INFORMATION_SCHEMA."TABLES"'),
        ("file_path, record_count", f"TABLE(table_files('{ORDERS}'))"),
        ("snapshot_id, committed_at", f"TABLE(table_snapshot('{ORDERS}'))"),
    ],
)
def test_what_the_engine_is_given_is_given_to_heavy_statements_too(desk: Desk, columns: str, source: str) -> None:
    light = desk.table(f"SELECT {columns} FROM {source} ORDER BY {columns}")
    heavy = desk.table(f"SELECT {columns}, REPEAT('ab', 2) AS more FROM {source} ORDER BY {columns}")
    assert light.num_rows > 0
    assert set(heavy.column("more").to_pylist()) == {"abab"}
    assert heavy.drop_columns(["more"]) == light


def test_two_of_the_gateways_own_tables_and_one_of_the_shop_are_joined_apart(desk: Desk) -> None:
    sql = (
        f'SELECT COUNT(*) AS n, MAX(REPEAT(c.TABLE_NAME, 2)) AS t FROM INFORMATION_SCHEMA."TABLES" t '
        f"JOIN INFORMATION_SCHEMA.\"COLUMNS\" c ON t.TABLE_NAME = c.TABLE_NAME AND c.COLUMN_NAME = 'order_id' "
        f"CROSS JOIN {ORDERS} o WHERE t.TABLE_NAME = 'orders_processed'"
    )
    [row] = desk.rows(sql)
    assert row["t"] == "orders_processed" * 2
    assert row["n"] == len(desk.rows(f"SELECT order_id FROM {ORDERS}")) > 0


def test_a_bomb_over_information_schema_is_bounded(desk: Desk) -> None:
    found = refusal(desk, 'SELECT MAX(REPEAT(COLUMN_NAME, 10000000)) AS n FROM INFORMATION_SCHEMA."COLUMNS"')
    assert found.kind is ErrorKind.UNAVAILABLE
    assert "exceeded the memory limits" in str(found)
    assert desk.rows("SELECT 1 AS n") == [{"n": 1}]


# ---- depth ----------------------------------------------------------------------------------------------------------


def _deep(inside: str, depth: int = 300) -> str:
    return "(" * depth + inside + ")" * depth


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"SELECT {_deep('order_id')} AS n FROM {ORDERS} ORDER BY 1 LIMIT 1", 1),
        (f"SELECT {_deep('1', 800)} AS n", 1),
        (f"SELECT COUNT(*) AS n FROM {ORDERS} AT {_deep('NOW()', 100)}", 1),
        (f"SELECT {'- ' * 3000}1 AS n", 1),
        (f"SELECT COUNT(*) AS n FROM {ORDERS} AT BRANCH main WHERE {_deep('TRUE')}", 1),
        (f"SELECT n FROM (VALUES {', '.join(f'({n})' for n in range(3000))}) AS t (n)", 3000),
    ],
)
def test_deep_and_long_statements_are_answered_wherever_they_are_deep(desk: Desk, sql: str, rows: int) -> None:
    assert len(desk.rows(sql)) == rows


def test_deep_brackets_are_read_apart(desk: Desk) -> None:
    found = refusal(desk, f"SELECT {'ARRAY[' * 6}1{']' * 6} AS n")
    assert "The gateway does not answer an ARRAY of nothing, of mixed types or of lists yet" in str(found)


def test_explain_plan_for_a_deep_statement_validates_it(desk: Desk) -> None:
    desk.rows(f"EXPLAIN PLAN FOR SELECT {_deep('order_id')} FROM {ORDERS}")
    assert "Column 'nope' not found" in str(refusal(desk, f"EXPLAIN PLAN FOR SELECT {_deep('nope')} FROM {ORDERS}"))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {_deep('1', 5000)} AS n",
        f"EXPLAIN PLAN FOR SELECT {_deep('1', 5000)}",
        f"SELECT {'NOT ' * 3000}TRUE AS n",
        "SELECT " + "CASE WHEN TRUE THEN " * 2000 + "1" + " END" * 2000 + " AS n",
    ],
)
def test_what_is_too_deep_is_told_so(desk: Desk, sql: str) -> None:
    found = refusal(desk, sql)
    assert found.kind in (ErrorKind.PARSE, ErrorKind.VALIDATION), str(found)
    assert "nested too deeply" in str(found)


# ---- types and parameters -------------------------------------------------------------------------------------------


def test_heavy_statements_have_dremios_types(desk: Desk) -> None:
    schema = desk.table(
        f"SELECT price * quantity AS d, price / 3 AS q, REPEAT('a', 2) AS t, order_ts FROM {ORDERS}"
    ).schema
    light = desk.table(f"SELECT price * quantity AS d, price / 3 AS q, 'aa' AS t, order_ts FROM {ORDERS}").schema
    assert schema == light
    assert schema.field("order_ts").type == pa.timestamp("ms")


@pytest.mark.parametrize(
    ("sql", "values", "rows"),
    [
        ("SELECT REPEAT(?, ?) AS t", ["ab", 2], [{"t": "abab"}]),
        (f"SELECT {_deep('? + 1')} AS n", [2], [{"n": 3}]),
        (f"SELECT COUNT(*) AS n FROM (VALUES {', '.join(f'({n})' for n in range(3000))}) t (a) WHERE a < ?", [7],
         [{"n": 7}]),
    ],
)  # fmt: skip
def test_heavy_statements_take_parameters(desk: Desk, sql: str, values: list[Any], rows: list[dict[str, Any]]) -> None:
    asking = Asking(desk.statements, FlightSession("test", Context()), lambda: False)
    statements = PreparedStatements(desk.statements, ttl_s=60)
    handle, _, schema = statements.prepare(sql, asking)
    assert schema is not None
    prepared = statements.opened(handle, "test")
    arrays = [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)]
    statements.bind(prepared, pa.Table.from_arrays(arrays, names=[f"p{n}" for n in range(len(arrays))]))
    answer = asking.run(statements.plan(prepared, asking).ticket)
    assert pa.Table.from_batches(list(answer.batches), answer.schema).to_pylist() == rows


def test_a_known_shape_costs_no_process(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heavy = f"SELECT LPAD(order_id, 90, 'x') AS known FROM {ORDERS} WHERE order_ts < TIMESTAMP '2030-01-0{{}} 00:00:00'"
    desk.statements.plan(heavy.format(1))

    def value(*_: object) -> None:
        raise AssertionError("a process was asked")

    monkeypatch.setattr(Apart, "value", value)
    planned = desk.statements.plan(heavy.format(2))
    assert planned.schema.names == ["known"]
    answer = desk.statements.run(planned.ticket, lambda: False)
    assert {len(text) for batch in answer.batches for text in batch.column(0).to_pylist()} == {90}
    monkeypatch.setattr(Apart, "rows", value)
    assert desk.rows(f"SELECT COUNT(*) + 90 AS n FROM {ORDERS}")[0]["n"] > 90


def test_a_statement_that_grows_when_it_is_written_runs_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    rows = Apart.rows

    def note(self: Apart, task: Any, *rest: Any) -> Any:
        asked.append(task.what)
        return rows(self, task, *rest)

    monkeypatch.setattr(Apart, "rows", note)
    expression = "quantity"
    for _ in range(10):
        expression = f"MOD({expression}, 1000)"
    desk.rows(f"SELECT {expression} AS n FROM {ORDERS}")
    assert asked == ["run"]


def test_what_a_process_that_the_kernel_ended_left_on_disk_is_removed(desk: Desk) -> None:
    columns = 'INFORMATION_SCHEMA."COLUMNS"'
    planned = desk.statements.plan(
        f"SELECT REPEAT(a.COLUMN_NAME, 3) AS t FROM {columns} a CROSS JOIN {columns} b CROSS JOIN {columns} c"
    )
    answer = desk.statements.run(planned.ticket, lambda: False)
    next(answer.batches)
    apart = desk.engine._apart
    assert apart._process is not None
    [child] = psutil.Process(apart._process.pid).children()
    left = apart._room.spill / str(child.pid)
    left.mkdir(parents=True)
    child.kill()
    with pytest.raises(Refusal):
        list(answer.batches)
    until = time.monotonic() + 10
    while left.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not left.exists()
    assert desk.rows("SELECT REPEAT('a', 2) AS t") == [{"t": "aa"}]
