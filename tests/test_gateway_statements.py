"""The statements of tests/dialect: what Dremio's reference, rules and tests say of each, and what the gateway answers.

A statement is answered as Dremio does, type and value, or refused: never answered otherwise. The expected values come
from the source that stands beside each, worked out by hand or by arithmetic.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.statements import Statements

FOLDER = Path(__file__).parent / "dialect"
FILES = sorted(path.stem for path in FOLDER.glob("*.csv"))


class Case(NamedTuple):
    """A row: a statement (or an expression to SELECT), Arrow types by semicolons or "refused" or "names", and JSON."""

    statement: str
    type: str
    value: Any
    source: str

    @property
    def sql(self) -> str:
        first = self.statement.split(maxsplit=1)[0].upper()
        whole = first in ("SELECT", "WITH", "VALUES", "FROM")
        return self.statement if whole else f"SELECT {self.statement} AS v"


def cases(name: str) -> list[Case]:
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return [
            Case(row["statement"], row["type"], json.loads(row["value"]), row["source"]) for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Statements]:
    path: Path = tmp_path_factory.mktemp("empty")
    engine = Engine(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    yield Statements(SqliteCommits(path / "catalog.db"), engine)
    engine.close()


def ask(statements: Statements, sql: str) -> pa.Table:
    planned = statements.plan(sql, user="dremio")
    answer = statements.run(planned.ticket, lambda: False, "dremio")
    return pa.Table.from_batches(list(answer.batches), schema=planned.schema)


def as_written(value: Any) -> Any:
    """A value as the tables write it."""
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat(" ", "milliseconds")
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case float() if math.isnan(value):
            return "NaN"
        case list() | tuple():
            return [as_written(item) for item in value]
    return value


def alike(found: Any, expected: Any) -> bool:
    """Equal, doubles but for their last digits."""
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-15)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    return type(found) is type(expected) and bool(found == expected)


def wrong(statements: Statements, case: Case) -> str:
    """What is answered otherwise than Dremio does; empty for an equal answer, the sentence of a refusal for none."""
    try:
        table = ask(statements, case.sql)
    except Refusal as refusal:
        said = str(refusal)
        if case.type == "refused":
            return "" if case.value in said or case.value in said.upper() else f"refused, but with: {said}"
        return said if "The gateway does not answer" in said else f"refused as Dremio would not: {said}"
    if case.type == "names":
        return "" if table.column_names == case.value else f"answered the names {table.column_names}"
    if case.type == "refused":
        return f"answered: {table.to_pylist()}"
    types = ";".join(str(field.type) for field in table.schema)
    rows = [[as_written(row) for row in line.values()] for line in table.to_pylist()]
    expected = case.value if case.sql == case.statement else [[case.value]]
    if types != case.type or not alike(rows, expected):
        return f"answered {types} {rows}, not {case.type} {expected}"
    return ""


@pytest.mark.parametrize("name", FILES)
def test_no_statement_is_answered_otherwise_than_dremio_does(statements: Statements, name: str) -> None:
    found = {case.statement: wrong(statements, case) for case in cases(name)}
    bad = {statement: said for statement, said in found.items() if said and "The gateway does not answer" not in said}
    assert not bad


def test_nineteen_of_twenty_statements_are_answered_as_dremio_does(statements: Statements) -> None:
    every = [case for name in FILES for case in cases(name)]
    assert len({case.statement for case in every}) >= 600
    assert all(case.source for case in every)
    equal = sum(not wrong(statements, case) for case in every)
    assert equal >= 0.95 * len(every)


def test_what_is_not_answered_yet_is_told_so(statements: Statements) -> None:
    for case in cases("not_yet"):
        assert "The gateway does not answer" in wrong(statements, case), case.statement
