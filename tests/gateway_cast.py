"""A gateway in this process, over a shop with two publishes: for tests that need no wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.paths import Context
from embedded.gateway.statements import Statements
from tests.conftest import Shop
from tests.test_gateway import Published


class Desk:
    """Asks statements one after the other, as one session does: what USE sets, the next statement has."""

    def __init__(self, data_dir: Path) -> None:
        self.published = Published(data_dir)
        self.commits = SqliteCommits(data_dir / "catalog.db")
        self.engine = Engine(data_dir, data_dir / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
        self.statements = Statements(self.commits, self.engine)
        self.context = Context()

    def table(self, sql: str) -> pa.Table:
        planned = self.statements.plan(sql, self.context)
        answer = self.statements.run(planned.ticket, lambda: False)
        assert answer.schema == planned.schema
        table = pa.Table.from_batches(list(answer.batches), schema=answer.schema)
        self.context = answer.uses or self.context
        return table

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.table(sql).to_pylist()
        return found

    def column(self, sql: str) -> list[Any]:
        """The first column."""
        found: list[Any] = self.table(sql).column(0).to_pylist()
        return found

    def fresh(self) -> Desk:
        """The same, in a session that has set nothing."""
        self.context = Context()
        return self

    def refused(self, sql: str) -> Refusal:
        """What is said of a statement that is refused."""
        with pytest.raises(Refusal) as caught:
            self.table(sql)
        return caught.value

    def summary(self, sql: str) -> str:
        """What a statement that is done says."""
        [row] = self.rows(sql)
        assert row["ok"]
        return str(row["summary"])

    @contextmanager
    def commits_later(self) -> Iterator[None]:
        """One more publish, with an order in it."""
        shop = Shop(self.published.data_dir)
        shop.pass_time(timedelta(minutes=5))
        shop.order()
        shop.publish()
        yield
        shop.close()

    def close(self) -> None:
        self.engine.close()
