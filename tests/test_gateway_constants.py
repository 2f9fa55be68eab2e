"""A statement whose answer is always the same runs once, and no other is taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.paths import Context
from embedded.gateway.server import Gateway
from embedded.gateway.sessions import Sessions
from embedded.gateway.statements import Statements
from embedded.gateway.users import Users
from lakehouse.dremio.flight_sql import statement_query
from lakehouse.tables import CATALOG, SCHEMA
from tests.gateway_cast import Desk

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path: Path = tmp_path_factory.mktemp("shop")
    desk = Desk(path)
    yield desk
    desk.close()


def constant(sql: str) -> bool:
    statement = Dialect().read(sql)
    return isinstance(statement, Statement) and statement.shape.constant


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("SELECT 1 AS n", {"n": 1}),
        ("SELECT 1", {"EXPR$0": 1}),
        ("SELECT 1 + 2 * 3 AS n, 'a' || 'b' AS t, NULL AS z", {"n": 7, "t": "ab", "z": None}),
    ],
)  # fmt: skip
def test_it_is_planned_and_run_once(desk: Desk, monkeypatch: pytest.MonkeyPatch, sql: str, row: dict[str, Any]) -> None:
    assert desk.rows(sql) == [row]

    def never(*_: object) -> None:
        raise AssertionError("DuckDB was asked")

    monkeypatch.setattr(Engine, "run", never)
    monkeypatch.setattr(Engine, "describe", never)
    assert desk.rows(sql) == [row]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT NOW() AS n",
        "SELECT RANDOM() AS n",
        "SELECT USER AS n",
        "SELECT CURRENT_DATE AS n",
        "SELECT CAST('2026-01-01' AS DATE) AS n",
        "SELECT (SELECT 1) AS n",
        f"SELECT COUNT(*) AS n FROM {ORDERS}",
        f"SELECT 1 AS n FROM {ORDERS}",
        f"SELECT 1 AS n WHERE EXISTS (SELECT * FROM {ORDERS})",
        "SELECT n FROM (SELECT 1 AS n) AS t",
    ],
)
def test_what_may_answer_otherwise_the_next_time_is_none(sql: str) -> None:
    assert not constant(sql)
    assert constant("SELECT 1 AS n")


def test_what_fails_fails_each_time(desk: Desk) -> None:
    for _ in range(2):
        with pytest.raises(Refusal, match="divide by zero"):
            desk.rows("SELECT 1 / 0 AS n")


def test_its_ticket_says_nothing_of_the_session_that_asked_first(desk: Desk) -> None:
    first = desk.statements.plan("SELECT 4711 AS n", Context(("INFORMATION_SCHEMA",)))
    assert first == desk.statements.plan("SELECT 4711 AS n", Context((CATALOG, SCHEMA)))
    assert b"INFORMATION_SCHEMA" not in first.ticket


def test_constants_without_end_take_no_memory_that_grows(desk: Desk) -> None:
    for number in range(1_200):
        assert desk.rows(f"SELECT {number} AS n, '{'x' * 900}' AS t")[0]["n"] == number
    constants = desk.statements._constants
    assert 0 < constants._plans.currsize <= 1_000_000
    assert 0 < constants._answers.currsize <= 1_000_000
    assert len(constants._answers) < 600


@pytest.mark.parametrize("flight_sql", [False, True])
def test_over_the_wire_the_second_asks_neither_the_planner_nor_duckdb(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, flight_sql: bool
) -> None:
    sessions = Sessions(Users({"dremio": "dremio123", "ada": "lovelace"}), ttl_s=60)
    server = Gateway("grpc://127.0.0.1:0", sessions, desk.statements)
    try:
        command = statement_query("SELECT 23 AS n") if flight_sql else b"SELECT 23 AS n"
        with flight.FlightClient(f"grpc://127.0.0.1:{server.port}") as client:

            def ask(user: str, password: str) -> pa.Table:
                options = flight.FlightCallOptions(headers=[client.authenticate_basic_token(user, password)])
                info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
                assert info.schema.field("n").metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"INTEGER"
                return client.do_get(info.endpoints[0].ticket, options).read_all()

            first = ask("dremio", "dremio123")

            def never(*_: object) -> None:
                raise AssertionError("it was planned or run again")

            monkeypatch.setattr(Statements, "plan", never)
            monkeypatch.setattr(Statements, "run", never)
            assert ask("ada", "lovelace") == first == pa.table({"n": pa.array([23], pa.int32())})
            with pytest.raises(flight.FlightUnauthenticatedError):
                client.get_flight_info(flight.FlightDescriptor.for_command(command))
    finally:
        server.shutdown()
