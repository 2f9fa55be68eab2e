"""Every question keeps to the SQL that Dremio and the gateway both have."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.drill.finding import matching
from console.pages.pipeline import _sizes
from console.view import View
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from embedded.gateway.tokens import words_of
from lakehouse.dremio.statement import QUESTIONS, Fragment, fill, question_sql
from lakehouse.kinds import CLICK_PAGE, ERROR_KIND, distinct_orders
from lakehouse.kpis import Counting
from lakehouse.rules.figure import AlertFigure
from lakehouse.tables import KPI_TABLES, RAW_OF_TOPIC, TABLES
from tests.conftest import Shop

ALL = sorted(path.stem for path in QUESTIONS.glob("*.sql"))

# What may stand before an opening bracket: functions that every Dremio has and computes alike.
_SAFE = """
AND AS AVG BETWEEN BY CASE CAST COALESCE COUNT DATE_TRUNC DECIMAL DISTINCT ELSE EXISTS FROM IN JOIN LENGTH LOWER MAX MIN
NOT NULLIF ON OR OVER ROUND ROW_NUMBER SELECT SUM THEN UNION ALL UPPER USING VALUES VARCHAR WHEN WHERE LIKE SUBSTR
SUBSTRING TABLE TABLE_FILES CONCAT WITH POSITION REPLACE REGEXP_REPLACE
"""
SAFE = frozenset(_SAFE.split())
_LISTS = "orders severities services statuses products counted_statuses topics reasons kinds devices users metrics"
LISTS = frozenset(_LISTS.split())
# They count whole tables, which reads no rows.
WITHOUT_RANGE = {"demo_rows"}
TIMES = {table.event_time for table in (*RAW_OF_TOPIC.values(), *KPI_TABLES)}


class _Binds(dict[str, Any]):
    """A value for every bind of a template, of the kind that its name tells."""

    def __init__(self, template: str) -> None:
        text = re.sub(r"--[^\n]*|'[^']*'", "", template)
        names = re.findall(r"(?<![:\w]):([a-z_]\w*)", text)
        letters = "{dead_letters}" in template
        super().__init__({name: _value(name, letters=letters) for name in names})
        if "sorted" in self:
            # By a column that it gives.
            self["sorted"] = Fragment(re.findall(r"-- Columns: (\w+)", template)[0] + " DESC", {})


def _value(name: str, *, letters: bool = False) -> Any:
    """`letters`: what is asked about are dead letters, which are no events."""
    if name == "rows":
        moment = datetime(2026, 3, 2, tzinfo=UTC)
        figure = AlertFigure(table="errors_per_minute", column="error_count", unit="errors", fewer=False)
        return figure.rows({"service_name": ["a"], "severity": ["b"]}, [(moment, moment), (moment, moment)])
    if name == "matches":
        return matching(View("errors").filtered("find", ("x",)), ["topic" if letters else "event_key"])
    if name == "tables":
        return _sizes()
    if name == "distinct":
        return distinct_orders(Counting((), by_line=True))
    if name in ("kind", "page"):
        return ERROR_KIND if name == "kind" else CLICK_PAGE
    if name == "steps":
        return [1, 2]
    if name == "step":
        return "MINUTE"
    if name in ("most", "limit", "skip", "partition", "offsets") or name.startswith("all_"):
        return 1
    if name in LISTS:
        return ["a", "b"]
    if name in ("since", "until", "start", "end", "as_of", "before", "after", "first", "last"):
        return datetime(2026, 3, 2, tzinfo=UTC)
    return "a"


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


@pytest.mark.parametrize("question", ALL)
def test_a_question_can_be_asked(statements: Statements, question: str) -> None:
    template = question_sql(question)
    planned = statements.plan(fill(template, None, _Binds(template), question))
    assert not [name for name in planned.schema.names if name.startswith("EXPR$")], "every column has a name"
    list(statements.run(planned.ticket, lambda: False).batches)


@pytest.mark.parametrize("question", ALL)
def test_a_question_keeps_to_the_safe_subset(question: str) -> None:
    template = question_sql(question)
    assert template.startswith("-- "), "the first line says what it answers"
    words = words_of(fill(template, None, _Binds(template), question))
    called = {word.upper for word, after in itertools.pairwise(words) if word.kind == "word" and after.text == "("}
    assert called <= SAFE
    assert ("SELECT", "*") not in {(word.upper, after.text) for word, after in itertools.pairwise(words)}


@pytest.mark.parametrize("question", [question for question in ALL if question not in WITHOUT_RANGE])
def test_a_question_on_events_or_minutes_names_its_time_range(question: str) -> None:
    template = question_sql(question)
    sql = fill(template, None, _Binds(template), question)
    statement = Dialect().read(sql)
    assert isinstance(statement, Statement)
    for relation in statement.shape.relations:
        if relation.function is not None:
            continue  # it reads what is written of files, and no row
        table = relation.path[-1]
        if table in {table.name for table in (*RAW_OF_TOPIC.values(), *KPI_TABLES)}:
            ops = {bound.op for bound in relation.bounds if bound.column in TIMES}
            assert ops & {">", ">="}, f"{table} is read from its first row on"


# Counts, and a CASE of required columns.
NEVER_NULL = {"letters", "n", "moment"}


@pytest.mark.parametrize("question", ALL)
def test_a_question_writes_out_where_nulls_stand(question: str) -> None:
    """NULLs are high in Dremio: DESC puts them first, where nothing else is said."""
    required = {column.name for table in TABLES.values() for column in table.columns if column.required}
    for name in re.findall(r"(\w+) DESC\b(?! NULLS)", question_sql(question)):
        assert name in required | NEVER_NULL, f"{name} may be NULL"
