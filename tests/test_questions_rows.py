"""Every question has the rows that its SQL means: the gateway's, held against DuckDB over the same tables by itself.

DuckDB is asked with the question's own text, over tables that it got without the gateway. It is asked twice: with the
rows shuffled and NULLs first where nothing else is said, so that what only happens to come first is found out.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from console.boards.load import load_board
from console.drill.finding import matching
from console.view import View
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from embedded.gateway.tokens import words_of
from lakehouse import ROOT
from lakehouse.dremio.statement import Fragment, fill, question_sql
from lakehouse.rules.figure import AlertFigure
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.conftest import NOON, Shop
from tests.test_boards_examples import written_in_the_docs
from tests.test_questions import ALL, _Binds

HOUR = timedelta(hours=1)
USERS, PRODUCTS, SERVICES = ("ada", "bob", "eve", "Ödön"), ("book", "mug", "tea"), ("payments", "cart")
# Of files and not of rows: Dremio's own table function tells it.
OF_FILES = {"table_sizes"}


class Both(NamedTuple):
    """The gateway, and two DuckDBs that have its tables."""

    statements: Statements
    plain: duckdb.DuckDBPyConnection
    shuffled: duckdb.DuckDBPyConnection
    values: dict[str, Any]


def filled(folder: Path) -> tuple[dict[str, pa.Table], datetime]:
    """A shop's tables after an hour of events, with ties, odd letters and what is left out; and its time then."""
    chance = random.Random(7)
    shop = Shop(folder)
    for minute in range(60):
        at = NOON - HOUR + timedelta(minutes=minute)
        for place in range(6):
            # Two at the same moment, so that they tie.
            when = at + timedelta(seconds=place // 2 * 9)
            kind = chance.randrange(8)
            user = chance.choice(USERS)
            if kind < 3:
                status = chance.choice(["CREATED", "CREATED", "SHIPPED", "CANCELLED"])
                shop.order(
                    when, user_id=user, product_id=chance.choice(PRODUCTS), quantity=chance.randint(1, 3), status=status
                )
            elif kind < 6:
                page = chance.choice(["/page/home", "/page/product?id=7", "/page/cart?step=1", "/page/checkout"])
                shop.click(when, user_id=user, url=page, device_type=chance.choice(["mobile", "desktop"]))
            elif kind == 6:
                shop.error(
                    when,
                    service_name=chance.choice(SERVICES),
                    severity=chance.choice(["WARN", "ERROR", "ERROR", "FATAL"]),
                    error_message=f"card {UUID(int=chance.getrandbits(128))} timed out after {chance.randint(1, 9)} s",
                )
            else:
                shop.refund(when, order_id=f"o-{chance.randint(1, 40)}", amount=chance.choice([1, 10.5]))
        if minute % 7 == 0:
            shop.message("orders_topic", b"{no JSON")
            shop.message("clicks_topic", b'{"click_id": "half"}')
    shop.publish()
    for minute in range(3):
        shop.now += timedelta(minutes=1)
        shop.order(shop.now - timedelta(minutes=20 * minute))
        shop.error(shop.now - timedelta(seconds=30), severity="FATAL")
        shop.ingest.publish(heartbeat=True)
    shop.maintain()
    tables = {name: shop.ingest.catalog.rows(name) for name in TABLES}
    now = shop.now
    shop.close()
    return tables, now


def in_memory(tables: dict[str, pa.Table], shuffle: random.Random | None, nulls: str) -> duckdb.DuckDBPyConnection:
    """Tables under their names in Dremio, whole numbers divided as Dremio does; times are cut as it cuts them."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(f"ATTACH ':memory:' AS {CATALOG}; CREATE SCHEMA {CATALOG}.{SCHEMA}")
    connection.execute(f"SET integer_division = true; SET default_null_order = '{nulls}'")
    # Dremio's replaces all that it finds, DuckDB's the first.
    connection.execute("CREATE MACRO replace_all(s, of, b) AS regexp_replace(s, of, b, 'g')")
    for name, rows in tables.items():
        table = rows
        for index, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                column = table.column(index).cast(pa.timestamp("us")).cast(pa.timestamp("ms"), safe=False)
                table = table.set_column(index, field.name, column.cast(pa.timestamp("us")))
        if shuffle is not None:
            order = list(range(table.num_rows))
            shuffle.shuffle(order)
            table = table.take(pa.array(order, pa.int64()))
        connection.register("given", table)
        connection.execute(f'CREATE TABLE {CATALOG}.{SCHEMA}."{name}" AS SELECT * FROM given')
        connection.unregister("given")
    return connection


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    path: Path = tmp_path_factory.mktemp("shop")
    tables, now = filled(path)
    engine = Engine(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
    known, alone = values(tables, now), in_memory(tables, None, "nulls_last")
    kinds = question_sql("error_kinds")
    known["kinds"] = sorted({row[0] for row in by_itself(alone, fill(kinds, None, binds_of(kinds, known)))})
    shuffled = in_memory(tables, random.Random(3), "nulls_first")
    yield Both(Statements(SqliteCommits(path / "catalog.db"), engine), alone, shuffled, known)
    engine.close()


def values(tables: dict[str, pa.Table], now: datetime) -> dict[str, Any]:
    """What questions are asked with, so that they find rows."""

    def seen(table: str, column: str) -> list[Any]:
        return sorted(set(tables[table].column(column).to_pylist()) - {None})

    since, until = NOON - HOUR, now + timedelta(seconds=1)
    figure = AlertFigure(table="errors_per_minute", column="error_count", unit="errors", fewer=False)
    spans = [(since, NOON - HOUR / 2), (NOON - HOUR / 2, until)]
    [incident, *_] = seen("alerts", "incident_id")
    return {
        "since": since, "start": since, "first": since, "after": since, "before": since,
        "until": until, "end": until, "last": until, "as_of": now,
        "users": list(USERS), "products": list(PRODUCTS), "services": list(SERVICES),
        "statuses": seen("orders_processed", "status"), "counted_statuses": ["CREATED", "SHIPPED"],
        "severities": ["WARN", "ERROR", "FATAL"], "severity": "ERROR", "service_name": "payments",
        "devices": ["mobile", "desktop"], "orders": seen("orders_processed", "order_id")[:20],
        "topics": seen("dead_letters", "topic"), "reasons": seen("dead_letters", "reason"),
        "metrics": seen("pipeline_metrics", "metric"), "incident_id": incident,
        "topic": "orders_topic", "partition": 0, "offsets": seen("dead_letters", "source_offset"),
        "most": 500, "limit": 500, "skip": 0, "worst": "FATAL", "step": "MINUTE", "steps": [1, 2, 3, 4, 5],
        "rows": figure.rows({"service_name": list(SERVICES)}, spans),
    }  # fmt: skip


def binds_of(template: str, known: dict[str, Any]) -> dict[str, Any]:
    binds: dict[str, Any] = _Binds(template)
    binds |= {name: known[name] for name in binds if name in known}
    letters = "{dead_letters}" in template
    if "matches" in binds:
        binds["matches"] = matching(View("errors").filtered("find", ("C",)), ["topic" if letters else "event_key"])
    if "sorted" in binds:
        # As the console orders a list: by a column, and what is equal in it by what differs.
        tie = "topic, source_partition, source_offset" if letters else "event_key" if "event_key" in template else "1"
        binds["sorted"] = Fragment(f"{binds['sorted'].template} NULLS LAST, {tie}", {})
    return binds


def is_ordered(sql: str) -> bool:
    depth = 0
    for word in words_of(sql):
        depth += {"(": 1, ")": -1}.get(word.text, 0)
        if depth == 0 and word.upper == "ORDER" and word.kind == "word":
            return True
    return False


def plain(value: Any) -> Any:
    """A value without what only its type says: zone, scale, whole or not."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None, microsecond=value.microsecond // 1000 * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    return value if isinstance(value, int) else float(value)


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def by_itself(connection: duckdb.DuckDBPyConnection, sql: str) -> list[list[Any]]:
    sql = re.sub(r"TIMESTAMPADD\((\w+), (-?\d+), (\w+)\)", r"(\3 + INTERVAL (\2) \1)", sql)
    found = connection.execute(sql.replace("REGEXP_REPLACE(", "replace_all(")).fetchall()
    return [[plain(value) for value in row] for row in found]


def by_gateway(statements: Statements, sql: str) -> list[list[Any]]:
    planned = statements.plan(sql)
    answer = statements.run(planned.ticket, lambda: False)
    table = pa.Table.from_batches(list(answer.batches), schema=planned.schema)
    return [[plain(value) for value in row.values()] for row in table.to_pylist()]


def compared(both: Both, sql: str) -> list[list[Any]]:
    """The rows of a statement, which must be the same three times."""
    rows = by_gateway(both.statements, sql)
    for connection in (both.plain, both.shuffled):
        other = by_itself(connection, sql)
        mine = rows
        if not is_ordered(sql):
            mine, other = sorted(rows, key=repr), sorted(other, key=repr)
        assert len(mine) == len(other)
        for one, its in zip(mine, other, strict=True):
            assert all(map(alike, one, its)), (one, its)
    return rows


@pytest.mark.parametrize("question", [name for name in ALL if name not in OF_FILES])
def test_the_rows_of_a_question_are_those_that_its_sql_means(both: Both, question: str) -> None:
    template = question_sql(question)
    rows = compared(both, fill(template, None, binds_of(template, both.values), question))
    assert rows or question in FINDS_NOTHING


# In this shop every clock is right, every alert has its time, and there was nothing to leave out or to mend.
FINDS_NOTHING = {"alerts_unstamped", "clock_ahead", "kpis_left_out", "maintenance"}


def test_the_rows_of_a_boards_questions_are_those_that_their_sql_means(both: Both, tmp_path: Path) -> None:
    asked = 0
    for path in (ROOT / "examples" / "overview" / "boards" / "shop.yaml", written_in_the_docs(tmp_path)):
        board = load_board(path)
        assert board.spec is not None
        assert board.questions is not None
        for _, name, _, given in board.spec.asking():
            question = board.questions[name]
            assert question.columns is not None
            # Its filters are conditions, which nobody has set; a list is ordered by all that it shows.
            binds = dict.fromkeys(given, Fragment("(1 = 1)", {})) | {
                name: value for name, value in both.values.items() if name in question.binds
            }
            places = ", ".join(f"{place} DESC NULLS LAST" for place in range(1, len(question.columns.kinds) + 1))
            binds["sorted"] = Fragment(places, {})
            assert compared(both, question.statement(None, binds, 10_000)), name
            asked += 1
    assert asked > 10


def test_the_tables_hold_what_could_be_told_wrong(both: Both) -> None:
    """NULLs, and rows that tie: without them nothing is shown above."""
    table = f"{CATALOG}.{SCHEMA}.alerts"
    assert both.plain.execute(f"SELECT COUNT(*) FROM {table} WHERE threshold IS NULL").fetchone() != (0,)
    orders = f"{CATALOG}.{SCHEMA}.orders_processed"
    tied = f"SELECT COUNT(*) - COUNT(DISTINCT order_ts) FROM {orders}"
    assert (both.plain.execute(tied).fetchone() or (0,))[0] > 10
