"""Where rules that ask stand, in the ledger's tables."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier.ledger.file import LedgerFile
from notifier.ledger.rows import ASKED, QUESTIONS
from notifier.model import AskedState


class QuestionBook:
    """Every method raises LedgerError when the file cannot be read or written."""

    def __init__(self, file: LedgerFile) -> None:
        self._read, self._write = file.read, file.write

    def judged_ms(self, rule: str) -> int | None:
        """When a rule was judged last."""
        with self._read() as db:
            judged_ms: int | None = db.scalar(sa.select(QUESTIONS.c.judged_ms).where(QUESTIONS.c.rule == rule))
        return judged_ms

    def states(self, rule: str) -> list[AskedState]:
        """Its entities that are pending or firing."""
        query = sa.select(ASKED).where(ASKED.c.rule == rule).order_by(ASKED.c.entity)
        with self._read() as db:
            return [AskedState(**row._mapping) for row in db.execute(query)]

    def put(self, rule: str, judged_ms: int, states: Iterable[AskedState]) -> None:
        """Where a rule stands now."""
        rows = [vars(state) for state in states]
        judged = sqlite_insert(QUESTIONS).values(rule=rule, judged_ms=judged_ms)
        with self._write() as db:
            db.execute(judged.on_conflict_do_update(set_={"judged_ms": judged_ms}))
            db.execute(sa.delete(ASKED).where(ASKED.c.rule == rule))
            if rows:
                db.execute(sa.insert(ASKED), rows)

    def rules(self) -> set[str]:
        """Rules of which something is known."""
        with self._read() as db:
            return {*db.scalars(sa.select(QUESTIONS.c.rule)), *db.scalars(sa.select(ASKED.c.rule))}

    def forget(self, rule: str) -> None:
        """A rule that is no more."""
        with self._write() as db:
            for table in (QUESTIONS, ASKED):
                db.execute(sa.delete(table).where(table.c.rule == rule))
