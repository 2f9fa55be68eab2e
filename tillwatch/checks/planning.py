"""Who plans statements: Dremio or the gateway that runs, else a gateway of this process over empty tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pyarrow as pa

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import TABLES
from lakehouse.texts import near
from lakehouse.user_error import UserError

ASK_WITHIN = timedelta(seconds=5)


_MISSING = re.compile(r"(Column|Object) '(\w+)' not found")


def with_near(error: DremioError, tables: Iterable[str]) -> str:
    """What it says, and which column of these tables of ours, or which table, was likely meant."""
    missing = _MISSING.search(str(error))
    if missing is None:
        return str(error)
    known = {column.name for name in tables if name in TABLES for column in TABLES[name].columns}
    hint = near(missing[2], known if missing[1] == "Column" else TABLES)
    return f"{str(error)[: missing.end(2) + 1]}{hint}{str(error)[missing.end(2) + 1 :]}"


class Planning(Protocol):
    """knows_all: whether a table that it does not know is not there. note: what was looked at in its place."""

    knows_all: bool
    note: str

    def schema(self, sql: str) -> pa.Schema: ...


@dataclass
class _Running:
    dremio: Dremio
    knows_all: bool = True
    note: str = ""

    def schema(self, sql: str) -> pa.Schema:
        return self.dremio.columns(sql)


class StatementPlanner:
    """Plans statements; whoever does is asked for with the first one. `notes` gets what was not looked at, and why."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._held = ExitStack()
        self._plans: Planning | None = None
        self._ours: Planning | None = None

    def schema(self, sql: str, tables: Iterable[str] = ()) -> pa.Schema:
        """The columns of an answer. tables: those of ours that it reads. Raises DremioError."""
        plans = self._asked()
        try:
            return plans.schema(sql)
        except QueryError:
            if not plans.knows_all or not any(TABLES[name].own for name in tables if name in TABLES):
                raise
            # What runs has what config/ held when it was started.
            if self._ours is None:
                self._ours = self._held.enter_context(over_empty_tables(""))
            try:
                schema = self._ours.schema(sql)
            except NotFound as error:
                raise DremioError(str(error)) from None
        note = (
            "Statements over own tables were planned as their files declare them: what runs has other ones, until it "
        )
        self._say(f"{note}is started again.")
        return schema

    def knows(self, error: DremioError) -> bool:
        """Whether a statement is wrong, and not only its table unknown to who planned it."""
        return isinstance(error, QueryError) and (self._asked().knows_all or not isinstance(error, NotFound))

    def _asked(self) -> Planning:
        if self._plans is None:
            self._plans = self._held.enter_context(whoever_answers())
            if self._plans.note:
                self._say(self._plans.note)
        return self._plans

    def _say(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def close(self) -> None:
        self._held.close()


@contextmanager
def whoever_answers() -> Iterator[Planning]:
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
    with over_empty_tables(why) as plans:
        yield plans


@contextmanager
def over_empty_tables(why: str) -> Iterator[Planning]:
    """A gateway over empty tables. why: nobody else answers."""
    # Imported here: where somebody answers, nobody needs it.
    from embedded.catalog.catalog import Catalog
    from embedded.gateway.commits import SqliteCommits
    from embedded.gateway.engine import Engine
    from embedded.gateway.errors import Refusal
    from embedded.gateway.statements import Statements

    with TemporaryDirectory() as name:
        folder = Path(name)
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
                    kind = NotFound if message.startswith("Object ") else QueryError
                    if refusal.start is None:
                        raise kind(message, sql) from None
                    before = sql[: refusal.start]
                    raise kind(message, sql, before.count("\n") + 1, len(before) - before.rfind("\n")) from None

        try:
            yield _Here()
        finally:
            engine.close()
