"""Prepared statements: parameters are values, of the types that the statement says, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.prepared import PreparedStatements
from embedded.gateway.paths import Context
from embedded.gateway.sessions import FlightSession
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA
from tests.flight_sql_cast import SqlClient
from tests.test_gateway import Published, start_gateway, stop

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
BY_USER = f"SELECT order_id FROM {ORDERS} WHERE user_id = ?"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    return data_dir


@pytest.fixture(scope="module")
def port(data_dir: Path) -> Iterator[int]:
    process, port = start_gateway(data_dir)
    yield port
    stop(process)


@pytest.fixture
def client(port: int) -> SqlClient:
    return SqlClient(port)


@pytest.fixture(scope="module")
def asking(data_dir: Path) -> Iterator[Asking]:
    engine = Engine(data_dir / "warehouse", data_dir / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
    statements = Statements(SqliteCommits(data_dir / "catalog.db"), engine)
    yield Asking(statements, FlightSession("test", Context()), lambda: False)
    engine.close()


# ---- what a statement takes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        ("user_id = ?", ["string"]),
        ("? = quantity", ["int32"]),
        ("price BETWEEN ? AND ?", ["decimal128(18, 4)"] * 2),
        ("quantity IN (?, 2, ?)", ["int32", "int32"]),
        ("order_ts >= ? AND source_offset < ?", ["timestamp[ms]", "int64"]),
        ("user_id LIKE ? ESCAPE '!'", ["string"]),
        ("LOWER(user_id) = LOWER(?)", ["string"]),
        ("quantity + ? > 3", ["int32"]),
        ("((? + quantity) * ?) - ? > 3", ["int32", "int32", "int32"]),
        ("price * ? > 3 AND ? IS NULL", ["decimal128(18, 4)", "string"]),
        ("COALESCE(?, user_id) = 'a' OR NOT ?", ["string", "bool"]),
        ("CASE WHEN quantity = 1 THEN ? ELSE user_id END = 'x'", ["string"]),
        ("CAST(? AS DATE) = DATE '2026-01-01'", ["date32[day]"]),
        ("EXISTS (SELECT 1 FROM (SELECT 1 AS n) t WHERE n = ? AND quantity = ?)", ["int32", "int32"]),
        ("TIMESTAMPADD(HOUR, ?, order_ts) > order_ts", ["int32"]),
        ("price NOT BETWEEN ? AND ? AND quantity NOT IN (?)", ["decimal128(18, 4)", "decimal128(18, 4)", "int32"]),
        ("SUBSTRING(user_id, ?, 2) = ? || 'a'", ["int32", "string"]),
        (f"quantity = (SELECT MAX(quantity) FROM {ORDERS} WHERE price > ?)", ["decimal128(18, 4)"]),
        ("user_id = ?-- ?\n AND status <> '?' LIMIT ? OFFSET ?", ["string", "int64", "int64"]),
    ],
)
def test_parameters_have_the_types_of_what_they_stand_beside(
    client: SqlClient, condition: str, types: list[str]
) -> None:
    prepared = client.prepare(f"SELECT order_id, quantity FROM {ORDERS} WHERE {condition}")
    assert prepared.parameter_schema is not None
    assert [str(field.type) for field in prepared.parameter_schema] == types
    assert prepared.dataset_schema == pa.schema([("order_id", pa.string()), ("quantity", pa.int32())])
    # Without values there is a schema, and no row.
    assert client.info(prepared.command).schema == prepared.dataset_schema


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        (
            f"WITH q AS (SELECT user_id, quantity FROM {ORDERS} WHERE quantity > ?), "
            "r AS (SELECT user_id FROM q WHERE quantity < ?) SELECT * FROM r WHERE user_id = ?",
            ["int32", "int32", "string"],
        ),
        (f"SELECT COUNT(*) AS n FROM {ORDERS} GROUP BY user_id HAVING COUNT(*) > ?", ["int64"]),
        (f"SELECT 1 AS n FROM {ORDERS} a JOIN {ORDERS} b ON a.quantity = ? AND b.user_id = ?", ["int32", "string"]),
        (
            f"SELECT quantity + ? AS q FROM {ORDERS} UNION ALL SELECT 1 FROM {ORDERS} WHERE price > ?",
            ["int32", "decimal128(18, 4)"],
        ),
        (f"SELECT n FROM (SELECT quantity * 2 AS n FROM {ORDERS}) t WHERE n / ? = 1", ["int32"]),
    ],
)
def test_parameters_are_of_the_query_that_they_stand_in(client: SqlClient, sql: str, types: list[str]) -> None:
    schema = client.prepare(sql).parameter_schema
    assert schema is not None
    assert [str(field.type) for field in schema] == types


def test_a_statement_without_parameters_says_so_and_runs_at_the_newest_commit(client: SqlClient) -> None:
    prepared = client.prepare(f"SELECT COUNT(*) AS n FROM {ORDERS}")
    assert prepared.parameter_schema is None
    assert [prepared.rows() for _ in range(2)] == [[{"n": 3}]] * 2
    assert client.schema(prepared.command) == prepared.dataset_schema


@pytest.mark.parametrize(
    ("sql", "says", "column"),
    [
        ("SELECT ?", "Illegal use of dynamic parameter", 8),
        (f"SELECT 1 AS n WHERE 1 IN (0{', ?' * 1001})", "has 1,001 parameters; 1,000 are the limit", 3030),
        ("SELECT 1 AS n WHERE 1 = ? + ?", "Illegal use of dynamic parameter", 25),
        ("SELECT 1 AS n WHERE ? = ?", "Illegal use of dynamic parameter", 21),
        ("SELECT a FROM (SELECT 1 AS a) t WHERE a = ? AND b = 'x'", "Column 'b' not found", 49),
        ("SELECT DATE ? AS d", "A parameter is not supported here", 13),
        ("SELECT TIMESTAMP ? AS d", "A parameter is not supported here", 18),
        ("SELECT 1 FROM ?", "A parameter is not supported here", 15),
        ("SELECT 1 ?", "A parameter is not supported here", 10),
        ("SELECT 1 AS ?", "A parameter is not supported here", 13),
        ("SELECT 1 AS n WHERE 'a' = ?'b'", "A parameter is not supported here", 27),
        ("SELECT DATE_TRUNC(?, NOW()) AS d", "A parameter is not supported here", 19),
        ("SELECT TIMESTAMPADD(?, 1, NOW()) AS d", "A parameter is not supported here", 21),
        ("SELECT NOW() + INTERVAL ? DAY AS d", "A parameter is not supported here", 25),
        ("SELECT a FROM (SELECT 1 AS a) t ORDER BY ?", "A parameter is not supported here", 42),
        ("SHOW TABLES IN ?", "A parameter is not supported here", 16),
        ("USE ?", "A parameter is not supported here", 5),
        ("?", "A parameter is not supported here", 1),
    ],
)
def test_where_no_value_can_stand_a_parameter_is_refused_in_its_place(
    client: SqlClient, sql: str, says: str, column: int
) -> None:
    with pytest.raises(pa.ArrowInvalid, match=f"{says}[^\n]*\nstartLine 1\nstartColumn {column}\n"):
        client.prepare(sql)


@pytest.mark.parametrize("clause", ["ORDER BY a, ?", "GROUP BY a, ?"])
def test_a_number_that_is_bound_is_no_columns_number(client: SqlClient, clause: str) -> None:
    with pytest.raises(pa.ArrowInvalid, match=r"Illegal use of dynamic parameter|has no effect"):
        client.prepare(f"SELECT a, COUNT(*) AS n FROM (SELECT 1 AS a) t {clause}")


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "value", "comes_back"),
    [
        ("INTEGER", pa.array([7], pa.int8()), 7),
        ("BIGINT", -5_000_000_000, -5_000_000_000),
        ("DECIMAL(18, 4)", Decimal("-12.3400"), Decimal("-12.3400")),
        ("DOUBLE", 0.1, 0.1),
        ("DOUBLE", pa.array([0.1], pa.float32()), 0.1),
        ("DOUBLE", -1e-7, -1e-7),
        ("VARCHAR", 'it\'s "q" -- ? /* \\ \n \x01 é', 'it\'s "q" -- ? /* \\ \n \x01 é'),
        ("VARCHAR", pa.array(["large"], pa.large_string()), "large"),
        ("VARCHAR", pa.array(["told"]).dictionary_encode(), "told"),
        ("VARCHAR", "", ""),
        ("BOOLEAN", False, False),
        ("DATE", date(2026, 3, 2), date(2026, 3, 2)),
        ("DATE", pa.array([date(1969, 3, 2)], pa.date64()), date(1969, 3, 2)),
        ("TIMESTAMP", datetime(2026, 3, 2, 12, 0, 0, 123999), datetime(2026, 3, 2, 12, 0, 0, 123000)),  # noqa: DTZ001
        ("TIMESTAMP", datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 2, 12)),  # noqa: DTZ001
        ("VARCHAR", None, None),
        ("INTEGER", None, None),
        ("TIMESTAMP", pa.nulls(1), None),
    ],
)
def test_a_value_comes_back_as_it_was_bound(client: SqlClient, type_: str, value: object, comes_back: object) -> None:
    prepared = client.prepare(f"SELECT CAST(? AS {type_}) AS v, quantity FROM {ORDERS} WHERE order_id = 'o-1'")
    [row] = prepared.bind(value).rows()
    assert row["v"] == comes_back
    assert client.info(prepared.command).schema == prepared.dataset_schema


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "Parameter 1 cannot be used: NaN is no number of 38 digits"),
        (1e300, "is no number of 38 digits"),
        (1e-40, "is no number of 38 digits"),
        ("a\0b", "Parameter 1 cannot be used: a text with a zero character"),
        (time(12, 0), r"a value of type time64\[us\] is not supported"),
        (b"bytes", "a value of type binary is not supported"),
        ([1], "a value of type list<"),
        (pa.array([2**62], pa.timestamp("s")), "Parameter 1 cannot be used"),
        ("x" * 1_000_001, "The values have more than 1,000,000 characters"),
        ("x" * 9_000_000, "The values have more than 1,000,000 characters"),
    ],
)
def test_a_value_that_cannot_be_said_is_refused(client: SqlClient, value: object, says: str) -> None:
    prepared = client.prepare(BY_USER)
    with pytest.raises(pa.ArrowInvalid, match=says):
        prepared.bind(value)


def test_values_are_bound_anew_and_two_handles_do_not_mix(client: SqlClient) -> None:
    one, other = client.prepare(BY_USER), client.prepare(BY_USER)
    one.bind("grace's")
    other.bind("nobody")
    assert (one.rows(), other.rows()) == ([{"order_id": "o-3"}], [])
    assert one.bind("nobody").rows() == []


def test_one_set_of_values_at_a_time(client: SqlClient) -> None:
    prepared = client.prepare(BY_USER)
    for values, given in ((["a", "b"], "more were"), ([], "none was")):
        with pytest.raises(pa.ArrowNotImplementedError, match=f"One row of values can be bound, and {given} given"):
            client.put(prepared.command, pa.table({"0": pa.array(values, pa.string())}))
    with pytest.raises(pa.ArrowInvalid, match="Parameters of the statement: 1; columns of the values: 2"):
        prepared.bind("a", "b")


def test_without_values_it_does_not_run(client: SqlClient) -> None:
    prepared = client.prepare(BY_USER)
    with pytest.raises(flight.FlightInternalError, match="Cannot convert RexNode"):
        prepared.rows()
    prepared.bind("grace's").rows()
    prepared.close()
    with pytest.raises(flight.FlightInternalError, match="Cannot convert RexNode"):
        prepared.rows()


def test_what_fails_with_a_value_is_told_with_the_statement_as_it_was_written(client: SqlClient) -> None:
    prepared = client.prepare(f"SELECT order_id FROM {ORDERS} WHERE order_ts > CAST(? AS TIMESTAMP) AND quantity = ?")
    with pytest.raises(Exception, match=r"CAST of this text to TIMESTAMP") as caught:
        prepared.bind("x y", 2).rows()
    assert "CAST('x y'" not in str(caught.value)
    prepared = client.prepare(f"SELECT order_id FROM {ORDERS} WHERE quantity / ? = 1")
    with pytest.raises(flight.FlightInternalError, match="divide by zero"):
        prepared.bind(0).rows()


def test_a_client_without_cookies_binds_too_and_names_are_those_of_the_session_that_prepared(port: int) -> None:
    client = SqlClient(port)
    client.set_option("schema", string_value=f"{CATALOG}.{SCHEMA}")
    prepared = client.prepare("SELECT COUNT(*) AS n FROM orders_processed WHERE quantity > ?")
    stranger = SqlClient(port, keeps_cookie=False)
    stranger.put(prepared.command, pa.table({"0": [0]}))
    assert stranger.rows(prepared.command).to_pylist() == [{"n": 3}]


# ---- a value is no text ---------------------------------------------------------------------------------------------

_PIECES = [
    "'",
    "''",
    '"',
    "--",
    "/*",
    "*/",
    ";",
    "\\",
    "?",
    "\n",
    "\x01t0",
    "\x06p0",
    " OR 1=1",
    "x",
    "é",
    "'\x01r0'",
    " ",
]
_TEMPLATES: list[Callable[[str], str]] = [
    lambda table: f"SELECT REPLACE(?, 'absent', '') AS v FROM {table} LIMIT 1",
    lambda table: f"SELECT v FROM (SELECT CAST(? AS VARCHAR) AS v FROM {table}) t LIMIT 1",
    lambda table: f"SELECT COALESCE(?, user_id) AS v FROM {table} WHERE '?' <> 'a' /* ? */ LIMIT 1",
    lambda table: f"SELECT CASE WHEN 1=1THEN?ELSE'a'END AS v FROM {table} LIMIT 1",
]


def test_no_text_that_is_bound_becomes_part_of_the_statement(asking: Asking) -> None:
    """Whatever it holds, it comes back as it is, and the statement gives its one row."""
    prepared = PreparedStatements(asking.statements, ttl_s=60)
    dice = random.Random(24)
    for number in range(200):
        text = "".join(dice.choice(_PIECES) for _ in range(dice.randrange(1, 9)))
        handle, schema, _ = prepared.prepare(_TEMPLATES[number % len(_TEMPLATES)](ORDERS), asking)
        opened = prepared.opened(handle, "test")
        prepared.bind(opened, pa.table({"0": [text]}))
        planned = prepared.plan(opened, asking)
        assert planned.schema == schema
        assert _rows(asking, planned.ticket) == [{"v": text}]


@pytest.mark.parametrize("name", ["secret.csv", "/etc/passwd", "duckdb_settings", "F"])
def test_a_name_that_is_bound_opens_nothing(asking: Asking, name: str) -> None:
    prepared = PreparedStatements(asking.statements, ttl_s=60)
    handle, _, _ = prepared.prepare(f"SELECT COUNT(*) AS n FROM {ORDERS} WHERE user_id = ?", asking)
    opened = prepared.opened(handle, "test")
    prepared.bind(opened, pa.table({"0": [name]}))
    assert _rows(asking, prepared.plan(opened, asking).ticket) == [{"n": 0}]
    for sql in (f'SELECT * FROM "{name}" WHERE 1 = ?', "SELECT * FROM READ_TEXT(?)", "SELECT GETENV(?) = 'a'"):
        with pytest.raises(Refusal):
            prepared.prepare(sql, asking)


def test_values_are_kept_within_bounds(asking: Asking) -> None:
    prepared = PreparedStatements(asking.statements, ttl_s=60)
    handles = [prepared.opened(prepared.prepare(BY_USER, asking)[0], "test") for _ in range(20)]
    for handle in handles:
        prepared.bind(handle, pa.table({"0": ["x" * 900_000]}))
    kept = [handle for handle in handles if prepared.is_bound(handle)]
    assert kept == handles[-17:]


def test_values_are_forgotten_with_time(asking: Asking) -> None:
    prepared = PreparedStatements(asking.statements, ttl_s=0)
    opened = prepared.opened(prepared.prepare(BY_USER, asking)[0], "test")
    prepared.bind(opened, pa.table({"0": ["x"]}))
    assert not prepared.is_bound(opened)


def _rows(asking: Asking, ticket: bytes) -> list[dict[str, Any]]:
    answer = asking.run(ticket)
    rows: list[dict[str, Any]] = pa.Table.from_batches(list(answer.batches), schema=answer.schema).to_pylist()
    return rows
