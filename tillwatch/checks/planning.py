"""Who plans statements: Dremio or the gateway that runs, else a gateway of this process over empty tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pyarrow as pa

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.user_error import UserError

ASK_WITHIN = timedelta(seconds=5)


class Planning(Protocol):
    """knows_all: whether a table that it does not know is not there. note: what was looked at in its place."""

    knows_all: bool
    note: str

    def schema(self, sql: str) -> pa.Schema:
        """The columns of an answer. Raises DremioError."""


@dataclass
class _Running:
    dremio: Dremio
    knows_all: bool = True
    note: str = ""

    def schema(self, sql: str) -> pa.Schema:
        return self.dremio.columns(sql)


@contextmanager
def planning() -> Iterator[Planning]:
    """Whoever answers; Dremio's own settings say where it is looked for."""
    try:
        settings = DremioSettings.load()
    except UserError:
        settings = None
    if settings is not None:
        quick = settings.model_copy(update={"plan_timeout": ASK_WITHIN, "fetch_timeout": ASK_WITHIN})
        with Dremio(quick) as dremio:
            try:
                dremio.head()
                yield _Running(dremio)
                return
            except DremioError as error:
                why = str(error)
    else:
        why = "The settings of Dremio are wrong."
    with TemporaryDirectory() as folder, _empty(Path(folder), why) as plans:
        yield plans


@contextmanager
def _empty(folder: Path, why: str) -> Iterator[Planning]:
    # Imported here: where somebody answers, nobody needs it.
    from embedded.catalog.catalog import Catalog
    from embedded.gateway.commits import SqliteCommits
    from embedded.gateway.engine import Engine
    from embedded.gateway.errors import Refusal
    from embedded.gateway.statements import Statements

    Catalog(folder)
    engine = Engine(folder, folder / "spill", threads=1, memory_limit_mb=64, timeout_s=ASK_WITHIN.total_seconds())
    statements = Statements(SqliteCommits(folder / "catalog.db"), engine)

    class _Here:
        knows_all = False
        note = f"Statements were planned over empty tables of ours, for nobody answers: {why}"

        def schema(self, sql: str) -> pa.Schema:
            try:
                return statements.plan(sql).schema
            except Refusal as refusal:
                message = f"{str(refusal).rstrip('.')}."
                line = sql.count("\n", 0, refusal.start) + 1 if refusal.start is not None else None
                kind = NotFound if message.startswith("Object ") else QueryError
                raise kind(message, sql, line) from None

    try:
        yield _Here()
    finally:
        engine.close()
