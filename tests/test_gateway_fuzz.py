"""Statements that nobody would write: the gateway answers or refuses, and reaches nothing that it should not.

2,000 of each kind at a time; FUZZED_STATEMENTS=20000 for more.
"""

from __future__ import annotations

import gc
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.sql.table import TABLE
from embedded.gateway.statements import Statements
from embedded.gateway.translation import WrittenShape
from lakehouse.memory import give_back
from tests.test_gateway_closed import CALLS, reached
from tests.test_gateway_statements import FILES, cases

MANY = int(os.environ.get("FUZZED_STATEMENTS", "2000"))
MOST_GROWN_MB = 60

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\w+|\s+|.", re.DOTALL)
_ODD = [
    "'", '"', "--", "/*", "*/", ";", "\\", "\x01r0", "'\x01t0'", "::", "[", "]", "{", "}", "{0}", "$1", "?", "NULL",
    "SELECT", "FROM", "1e999", "99999999999999999999", "'F'", '"F"', "lambda x: x", "x -> x", "OVER ()", "𝄞", "\t",
]  # fmt: skip


class _Recorded(Engine):
    """Remembers what reached the planner."""

    planned: list[str]

    def describe(self, sql: str, original: str) -> list[tuple[str, str]]:
        self.planned = [*getattr(self, "planned", [])[-50:], sql]
        return super().describe(sql, original)

    def write_apart(self, *rest: Any) -> WrittenShape:
        written = super().write_apart(*rest)
        self.planned = [*getattr(self, "planned", [])[-50:], written.sql]
        return written


class Fuzz:
    """A gateway without tables, and what it may reach: what the statements of tests/dialect do."""

    def __init__(self, path: Path) -> None:
        self.engine = _Recorded(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=2)
        self._statements = Statements(SqliteCommits(path / "catalog.db"), self.engine)
        self.written = [case.sql for name in FILES for case in cases(name)]
        # What nobody can know beforehand.
        self.written += ["SELECT RANDOM(), NOW(), UNIX_TIMESTAMP(), LOCALTIME", "SELECT CURRENT_DATE(), CURRENT_TIME()"]
        self._known: set[str] = set()
        for sql in self.written:
            self._known |= self._reached(sql)

    def _reached(self, sql: str) -> set[str]:
        """Functions that came to the engine. Fails for anything but a Refusal, and for any table."""
        self.engine.planned = []
        said = ""
        try:
            planned = self._statements.plan(sql)
            pa.Table.from_batches(list(self._statements.run(planned.ticket, lambda: False).batches), planned.schema)
        except Refusal as refusal:
            said = str(refusal)
        assert not re.search(r"Traceback|pyarrow|duckdb|sqlglot|\.py\b", said), sql
        found: set[str] = set()
        for text in self.engine.planned:
            functions, tables = reached(text)
            assert not tables, (sql, tables)
            found |= functions
        return found

    def try_(self, sql: str) -> None:
        assert self._reached(sql) <= self._known, (sql, self._reached(sql) - self._known)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    fuzz = Fuzz(tmp_path_factory.mktemp("empty"))
    yield fuzz
    fuzz.engine.close()


def _mutated(chance: random.Random, sql: str, others: list[str]) -> str:
    """A statement with a few tokens dropped, doubled, exchanged, or replaced by what stands elsewhere."""
    tokens = _TOKEN.findall(sql)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(tokens))
        match chance.randrange(6):
            case 0:
                tokens[place] = ""
            case 1:
                tokens[place] *= 2
            case 2:
                other = chance.randrange(len(tokens))
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case 3:
                tokens[place] = chance.choice(_TOKEN.findall(chance.choice(others)))
            case 4:
                tokens[place] = chance.choice(_ODD)
            case _:
                tokens[place] = chance.choice(CALLS).partition("(")[0]
    return "".join(tokens)


def test_mutated_statements_are_answered_or_refused_and_leave_nothing_in_memory(fuzz: Fuzz) -> None:
    chance, before_mb = random.Random(11), 0.0
    for number in range(MANY):
        if number == MANY // 4:
            before_mb = _memory_mb()  # with whatever is kept for the next ones
        fuzz.try_(_mutated(chance, chance.choice(fuzz.written), fuzz.written))
    grown_mb = _memory_mb() - before_mb
    assert grown_mb < MOST_GROWN_MB, f"{MANY:,} statements took {grown_mb:.1f} MB"


def _memory_mb() -> float:
    gc.collect()
    give_back()
    mb: float = psutil.Process().memory_info().rss / 1e6
    return mb


def _spelled(chance: random.Random, name: str) -> str:
    quoted = f'"{name}"'
    return chance.choice(
        [quoted, quoted, f'"{name.lower()}"', f"main.{name}", f"system.main.{quoted}", f"{name} /* {name} */"]
    )


def _value(chance: random.Random, depth: int) -> str:
    if depth > 2 or chance.random() < 0.2:
        return chance.choice(["1", "-2.5", "1e0", "'a'", "NULL", "x", "t.x", '"F"', "DATE '2026-01-01'", "TRUE", "*"])
    if chance.random() < 0.2:
        name, _, rest = chance.choice(CALLS).partition("(")
        return f"{_spelled(chance, name)}({rest}"
    inner = ", ".join(_value(chance, depth + 1) for _ in range(chance.randint(0, 3)))
    call = f"{_spelled(chance, chance.choice(list(TABLE)))}({inner})"
    return chance.choice([call, call, call, f"{call} OVER (ORDER BY x)", f"({call} + 1)", f"CAST({call} AS VARCHAR)"])


def test_statements_of_quoted_dotted_and_aliased_functions_reach_dremios_alone(fuzz: Fuzz) -> None:
    chance = random.Random(13)
    for _ in range(MANY):
        alias = chance.choice(["", ' AS "F"', " AS count_star", ' AS "read_csv"'])
        source = chance.choice(["(VALUES (1), (NULL)) AS t (x)", '(SELECT 1 AS x) AS "t"', '"F"', "F AS t"])
        fuzz.try_(f"SELECT {_value(chance, 0)}{alias} FROM {source}")
