"""Small files answered from memory give the rows that reading them gives, and memory stays bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.shelf import HeldAnswer, Shelf
from embedded.gateway.snapshots import DataFile
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA
from tests.conftest import Shop

EMPTY = "(SELECT CAST(NULL AS INTEGER) AS n WHERE false)"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=10)
    yield opened
    opened.close()


def write(folder: Path, number: int, rows: int) -> DataFile:
    path = folder / f"{number}.parquet"
    pq.write_table(pa.table({"n": pa.array([number] * rows, pa.int32())}), path)
    return DataFile(str(path), rows, {})


@contextmanager
def reading(files: list[DataFile]) -> Iterator[str]:
    yield f"read_parquet({[file.path for file in files]})"


def read(engine: Engine, held: HeldAnswer) -> list[int]:
    """The rows of the files, wherever they are held."""
    parts = []
    if held.numbers:
        parts.append(f"SELECT n FROM {held.table} WHERE __file IN ({', '.join(map(str, held.numbers))})")
    parts += [f"SELECT n FROM read_parquet('{file.path}')" for file in held.rest]
    batches = engine.run(" UNION ALL ".join(parts), lambda: False)
    return sorted(value for batch in batches for value in batch.column(0).to_pylist())


def test_every_commit_answers_alike_from_memory_and_from_files(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    commits = SqliteCommits(tmp_path / "catalog.db")
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=10)
    plain, quick = Statements(commits, engine), Statements(commits, engine, rows_in_memory=10_000)
    seen = []
    # More publishes than small files may stay: some are merged on the way.
    for _ in range(17):
        shop.order()
        shop.pass_time(timedelta(seconds=20))
        shop.publish()
        head = commits.head()
        assert head is not None
        seen.append(head.id)
        for commit in seen[-3:]:
            orders = f'{CATALOG}.{SCHEMA}.orders_processed AT COMMIT "{commit}"'
            revenue = f'{CATALOG}.{SCHEMA}.orders_revenue_per_minute AT COMMIT "{commit}"'
            sql = (
                f"SELECT order_id AS a, order_ts AS b FROM {orders} UNION ALL "
                f"SELECT CAST(orders_count AS VARCHAR), window_start FROM {revenue} ORDER BY a, b"
            )
            answers = [
                pa.Table.from_batches(list(statements.run(statements.plan(sql).ticket, lambda: False).batches))
                for statements in (plain, quick)
            ]
            assert answers[0] == answers[1]
    shop.close()
    engine.close()


OFTEN = 12
"""Asked for so often, a file comes into memory by itself; several come sooner."""


def test_files_asked_for_again_are_read_no_more(tmp_path: Path, engine: Engine) -> None:
    shelf = Shelf(engine.execute, most_rows=1_000)
    files = [write(tmp_path, number, rows=2) for number in range(4)]
    for asked in range(1, 5):
        with shelf.holding("t", "n", EMPTY, files, reading) as held:
            assert read(engine, held) == [0, 0, 1, 1, 2, 2, 3, 3]
            assert len(held.rest) == (4 if asked < 3 else 0)
    with shelf.holding("t", "n", EMPTY, files[1:2], reading) as held:
        assert read(engine, held) == [1, 1]


def test_memory_is_bounded_and_files_nobody_asks_for_make_room(tmp_path: Path, engine: Engine) -> None:
    now = 0.0
    shelf = Shelf(engine.execute, most_rows=100, clock=lambda: now)
    for number in range(30):
        now += 30
        file = write(tmp_path, number, rows=20)
        for _ in range(OFTEN):
            with shelf.holding("t", "n", EMPTY, [file], reading) as held:
                assert read(engine, held) == [number] * 20
        assert not held.rest
    with shelf.holding("t", "n", EMPTY, [], reading) as held:
        counted = engine.run(f"SELECT COUNT(*) FROM {held.table}", lambda: False)
        [[rows]] = [batch.column(0).to_pylist() for batch in counted]
    assert rows <= 100


def test_a_table_that_is_asked_no_more_makes_room_for_another(tmp_path: Path, engine: Engine) -> None:
    now = 0.0
    shelf = Shelf(engine.execute, most_rows=100, clock=lambda: now)
    for number in range(8):
        now += 61 if number in (0, 4) else 0
        file = write(tmp_path, number, rows=20)
        for _ in range(OFTEN):
            with shelf.holding("before" if number < 4 else "after", "n", EMPTY, [file], reading) as held:
                assert read(engine, held) == [number] * 20
        assert not held.rest


def test_statements_side_by_side_see_whole_files(tmp_path: Path, engine: Engine) -> None:
    ticks = iter(range(10_000_000))
    shelf = Shelf(engine.execute, most_rows=400, clock=lambda: next(ticks))
    files = [write(tmp_path, number, rows=20) for number in range(40)]
    wrong: list[object] = []

    def ask(first: int) -> None:
        try:
            for start in range(first, 34):
                with shelf.holding("t", "n", EMPTY, files[start : start + 6], reading) as held:
                    rows = read(engine, held)
                if rows != [number for number in range(start, start + 6) for _ in range(20)]:
                    wrong.append((start, rows))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 0, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
