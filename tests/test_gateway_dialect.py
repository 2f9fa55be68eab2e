"""The gateway computes what Dremio computes, and refuses what Dremio refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embedded.gateway import functions_page
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.statements import Statements
from lakehouse.user_error import UserError

at = datetime.fromisoformat
_T = "TIMESTAMP '2026-03-02 12:34:56.789'"


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Statements]:
    path: Path = tmp_path_factory.mktemp("empty")
    engine = Engine(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    yield Statements(SqliteCommits(path / "catalog.db"), engine)
    engine.close()


def ask(statements: Statements, sql: str) -> pa.Table:
    planned = statements.plan(sql)
    answer = statements.run(planned.ticket, lambda: False)
    return pa.Table.from_batches(list(answer.batches), schema=planned.schema)


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("5 / 2", pa.int32(), 2),
        ("-5 / 2", pa.int32(), -2),
        ("5 / 2.0E0", pa.float64(), 2.5),
        ("CAST(1 AS DECIMAL(10, 2)) / 3", pa.decimal128(21, 13), Decimal("0.3333333333333")),
        ("COUNT(*) / 2", pa.int64(), 0),
        ("SUM(1)", pa.int64(), 1),
        ("SUM(CAST(1.25 AS DECIMAL(18, 2)))", pa.decimal128(38, 2), Decimal("1.25")),
        ("AVG(CAST(1.25 AS DECIMAL(18, 2)))", pa.float64(), 1.25),
        ("CAST(3 AS FLOAT)", pa.float32(), 3.0),
        ("CAST('2026-03-02' AS DATE)", pa.date64(), date(2026, 3, 2)),
        ("CAST('2026-03-02 12:00:00' AS TIMESTAMP)", pa.timestamp("ms"), at("2026-03-02T12:00:00")),
        (_T, pa.timestamp("ms"), at("2026-03-02T12:34:56.789000")),
        (f"DATE_TRUNC('hour', {_T})", pa.timestamp("ms"), at("2026-03-02T12:00:00")),
        (f"{_T} - INTERVAL '5' MINUTE", pa.timestamp("ms"), at("2026-03-02T12:29:56.789000")),
        (f"TIMESTAMPADD(HOUR, -2, {_T})", pa.timestamp("ms"), at("2026-03-02T10:34:56.789000")),
        (f"TIMESTAMPADD(QUARTER, 1, {_T})", pa.timestamp("ms"), at("2026-06-02T12:34:56.789000")),
        # Complete units only: 59 s are no minute.
        (f"TIMESTAMPDIFF(MINUTE, TIMESTAMP '2026-03-02 12:33:57.790', {_T})", pa.int32(), 0),
        (f"TIMESTAMPDIFF(SECOND, TIMESTAMP '2026-03-02 12:33:57.789', {_T})", pa.int32(), 59),
        (f"TO_CHAR({_T}, 'YYYY-MM-DD HH24:MI:SS')", pa.string(), "2026-03-02 12:34:56"),
        (f"CAST({_T} AS VARCHAR)", pa.string(), "2026-03-02 12:34:56.789"),
        (f"EXTRACT(MINUTE FROM {_T})", pa.int64(), 34),
        ("CONCAT('a', NULL, 'b')", pa.string(), "ab"),
        ("ILIKE('Cart', 'c%')", pa.bool_(), True),
        ("LENGTH('cart')", pa.int32(), 4),
        ("POSITION('r' IN 'cart')", pa.int32(), 3),
        ("CASE WHEN 1 = 2 THEN 1 END", pa.int32(), None),
        ("NULL", pa.int32(), None),
    ],
)
def test_an_expression_has_dremios_type_and_value(
    statements: Statements, expression: str, kind: pa.DataType, value: Any
) -> None:
    table = ask(statements, f"SELECT {expression}")
    assert table.schema == pa.schema([pa.field("EXPR$0", kind)])
    assert table.column(0).to_pylist() == [value]


def test_columns_without_a_name_are_numbered_and_doubles_told_apart(statements: Statements) -> None:
    table = ask(statements, "SELECT a, 1 + 1, a, COUNT(*) FROM (SELECT 1 AS a) AS t GROUP BY a")
    assert table.schema.names == ["a", "EXPR$1", "a0", "EXPR$3"]


def test_the_clock_is_in_utc_without_a_zone(statements: Statements) -> None:
    table = ask(statements, "SELECT CURRENT_TIMESTAMP AS a, NOW() AS b, TIMESTAMPADD(DAY, -1, NOW()) AS c")
    assert set(table.schema.types) == {pa.timestamp("ms")}


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("SELEC 1", ErrorKind.PARSE, "SELEC"),
        ("SELECT 1 FROM", ErrorKind.PARSE, "encountered|breaks off"),
        ("", ErrorKind.PARSE, "empty"),
        ("SELECT 1; SELECT 2", ErrorKind.PARSE, ";"),
        ("SELECT count FROM (SELECT 1 AS n) AS t", ErrorKind.PARSE, "reserved word"),
        ("SELECT 1 AS value", ErrorKind.PARSE, "reserved word"),
        ("SELECT n::int FROM (SELECT 1 AS n) AS t", ErrorKind.PARSE, "::"),
        ("SELECT [1, 2]", ErrorKind.PARSE, r"\["),
        ("SELECT INTERVAL '1' WEEK", ErrorKind.PARSE, "WEEK"),
        ("SELECT ?", ErrorKind.INTERNAL, "RexNode"),
        ("SELECT CAST(3 AS SMALLINT)", ErrorKind.VALIDATION, "SMALLINT"),
        ("SELECT COUNT_IF(TRUE)", ErrorKind.VALIDATION, "COUNT_IF"),
        ("SELECT ANY_VALUE(1)", ErrorKind.VALIDATION, "ANY_VALUE"),
        ("SELECT ARG_MAX(1, 2)", ErrorKind.VALIDATION, "ARG_MAX"),
        ("SELECT STRING_AGG('a', ',')", ErrorKind.VALIDATION, "STRING_AGG"),
        ("SELECT * FROM GENERATE_SERIES(1, 5)", ErrorKind.VALIDATION, "GENERATE_SERIES"),
        (f"SELECT TIME_BUCKET(INTERVAL '1' HOUR, {_T})", ErrorKind.VALIDATION, "TIME_BUCKET"),
        ("SELECT TRY_CAST('a' AS INT)", ErrorKind.VALIDATION, "TRY_CAST"),
        ("SELECT SUM(1) FILTER (WHERE TRUE)", ErrorKind.VALIDATION, "FILTER"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n) SELECT n FROM r", ErrorKind.VALIDATION, "RECURSIVE"),
        ("SELECT 1 FROM (SELECT 1 AS a) AS x NATURAL JOIN (SELECT 1 AS a) AS y", ErrorKind.VALIDATION, "NATURAL"),
        ("SELECT COUNT(DISTINCT n) OVER () FROM (SELECT 1 AS n) AS t", ErrorKind.VALIDATION, "DISTINCT"),
        ("SELECT * FROM read_text('/etc/passwd')", ErrorKind.VALIDATION, "READ_TEXT"),
        ("SELECT * FROM '/etc/passwd'", ErrorKind.VALIDATION, "not found"),
        ("SELECT getenv('HOME')", ErrorKind.VALIDATION, "GETENV"),
        ("SELECT TIMESTAMP '2026-13-01 00:00:00'", ErrorKind.VALIDATION, "Illegal TIMESTAMP literal"),
        ("SELECT nope FROM (SELECT 1 AS n) AS t", ErrorKind.VALIDATION, "Column 'nope' not found in any table"),
        ("SELECT n, COUNT(*) FROM (SELECT 1 AS n) AS t", ErrorKind.VALIDATION, "'n' is not being grouped"),
        ("SELECT 1 / 0", ErrorKind.INTERNAL, "divide by zero"),
        ("SELECT CAST('noon' AS TIMESTAMP)", ErrorKind.INTERNAL, "FUNCTION ERROR"),
        ("DELETE FROM t", ErrorKind.PERMISSION, "DELETE"),
        ("CREATE TABLE t AS SELECT 1 AS n", ErrorKind.PERMISSION, "CREATE TABLE"),
        ("SET x = 1", ErrorKind.PARSE, "SET"),
        ("PRAGMA database_list", ErrorKind.PARSE, "PRAGMA"),
        ("ATTACH 'x.db'", ErrorKind.PARSE, "ATTACH"),
    ],
)
def test_what_dremio_refuses_is_refused(statements: Statements, sql: str, kind: ErrorKind, says: str) -> None:
    with pytest.raises(Refusal, match=says) as caught:
        ask(statements, sql)
    assert caught.value.kind is kind


def test_a_shape_that_was_asked_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question with other times is planned from what is remembered."""
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    statements = Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    described: list[str] = []
    describe = engine.describe

    def counting(sql: str, original: str) -> list[tuple[str, str]]:
        described.append(sql)
        return describe(sql, original)

    monkeypatch.setattr(engine, "describe", counting)
    for day in range(1, 6):
        table = ask(statements, f"SELECT TIMESTAMPADD(DAY, 1, TIMESTAMP '2026-03-0{day} 00:00:00') AS next_day")
        assert table.to_pylist() == [{"next_day": at(f"2026-03-0{day + 1}T00:00:00")}]
    assert len(described) == 1
    engine.close()


def test_the_page_of_functions_is_what_the_table_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    functions_page.main(["--check"])
    old = tmp_path / "functions.md"
    old.write_text(functions_page.PAGE.read_text(encoding="utf-8").replace("SOUNDEX", "SOUNDER"), encoding="utf-8")
    monkeypatch.setattr(functions_page, "PAGE", old)
    with pytest.raises(UserError, match=r"run python -m embedded\.gateway\.functions_page --write"):
        functions_page.main(["--check"])


def test_a_refusal_says_where_in_the_statement() -> None:
    refusal = Refusal(ErrorKind.VALIDATION, "Column 'nope' not found in any table", start=12, length=4)
    assert refusal.text("SELECT\n  1, nope") == (
        "Column 'nope' not found in any table\nstartLine 2\nstartColumn 6\nendLine 2\nendColumn 9\n"
        "SQL Query SELECT\n  1, nope"
    )


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("SELECT a,\n  ROUND(a, 'x') FROM (SELECT 1 AS a) AS t", "ROUND"),
        (f"SELECT 1 AS n\nWHERE {_T} > {_T} AND LENGTH(7) = 1", "LENGTH"),
        ("SELECT x[0],\n  x['k'] FROM (SELECT ARRAY[1] AS x) AS t", "'k'"),
        ("SELECT ARRAY[1] AS b,\n 2 AS c ORDER BY b", "b"),
        ("SELECT * FROM UNNEST(ARRAY[1]) WITH ORDINALITY AS t (x, i)", "ORDINALITY"),
    ],
)
def test_what_is_refused_is_shown_where_it_stands(statements: Statements, sql: str, where: str) -> None:
    with pytest.raises(Refusal) as caught:
        statements.plan(sql)
    assert caught.value.start == sql.rindex(where)
    assert sql[caught.value.start :][: caught.value.length] == where


def test_a_statement_ends_at_its_time_limit_and_the_next_one_runs(tmp_path: Path) -> None:
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=0.3)
    statements = Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    numbers = f"(VALUES {', '.join(f'({number})' for number in range(40))})"
    many = ", ".join(f"{numbers} AS t{place} (n)" for place in range(8))
    with pytest.raises(Refusal, match="exceeded the runtime limit") as caught:
        ask(statements, f"SELECT SUM(t0.n * t7.n) FROM {many}")
    assert caught.value.kind is ErrorKind.CANCELLED
    assert ask(statements, "SELECT 1 AS n").to_pylist() == [{"n": 1}]
    engine.close()
