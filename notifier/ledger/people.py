"""What people have said, in the ledger's tables: silences, marks, and what was answered to whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier.clock import from_ms, to_ms
from notifier.ledger.boards import next_revision
from notifier.ledger.file import LedgerFile
from notifier.ledger.rows import ANSWERS, HISTORY, INCIDENTS, MARKS, SILENCES, Mark, to_mark
from notifier.routing.decide import Silence
from notifier.routing.matchers import Matcher

ANSWERS_KEPT_MS = 24 * 3_600_000


@dataclass(frozen=True)
class StoredAnswer:
    """What was answered to a request with an Idempotency-Key; `request` is a digest of it."""

    request: str
    status: int
    answer: str


class PeopleBook:
    """Every method raises LedgerError when the file cannot be read or written."""

    def __init__(self, file: LedgerFile) -> None:
        self._read, self._write = file.read, file.write

    # ---- silences

    def silence(self, silence: Silence) -> None:
        with self._write() as db:
            db.execute(
                sa.insert(SILENCES).values(
                    silence_id=silence.silence_id,
                    matchers=json.dumps([[m.column, m.op, m.value] for m in silence.matchers]),
                    reason=silence.reason,
                    who=silence.by,
                    via=silence.via,
                    created_ms=to_ms(silence.created),
                    until_ms=to_ms(silence.until),
                )
            )
            next_revision(db)

    def end_silence(self, silence_id: str, who: str, now_ms: int) -> bool:
        """False where there is none of that id that holds."""
        s = SILENCES
        with self._write() as db:
            ended = db.execute(
                sa.update(s)
                .where(s.c.silence_id == silence_id, s.c.ended_ms.is_(None), s.c.until_ms > now_ms)
                .values(ended_ms=now_ms, ended_by=who)
            ).rowcount
            if ended:
                next_revision(db)
        return bool(ended)

    def silences(self, holding_at_ms: int | None = None, limit: int = 1000) -> list[Silence]:
        """The newest first; those alone that hold at a time, where one is given."""
        with self._read() as db:
            return silences_of(db, holding_at_ms, limit)

    # ---- marks and notes

    def mark(self, text: str, who: str, via: str, now_ms: int) -> Mark:
        with self._write() as db:
            insert = sa.insert(MARKS).values(text=text, who=who, via=via, at_ms=now_ms).returning(MARKS.c.number)
            number = db.execute(insert).scalar_one()
            next_revision(db)
        return Mark(number, now_ms, text, who, via)

    def marks(self, since_ms: int = 0, until_ms: int | None = None, limit: int = 100) -> list[Mark]:
        """The newest first."""
        m = MARKS
        query = sa.select(m).where(m.c.at_ms >= since_ms).order_by(m.c.at_ms.desc()).limit(limit)
        if until_ms is not None:
            query = query.where(m.c.at_ms < until_ms)
        with self._read() as db:
            return [to_mark(row) for row in db.execute(query)]

    def note(self, incident_id: str, who: str, via: str, text: str, now_ms: int) -> int:
        """A line of an incident's history; the revision that it makes."""
        with self._write() as db:
            db.execute(
                sa.insert(HISTORY).values(
                    incident_id=incident_id, who=who, via=via, action="noted", note=text, at_ms=now_ms
                )
            )
            revision = next_revision(db)
            db.execute(sa.update(INCIDENTS).where(INCIDENTS.c.incident_id == incident_id).values(revision=revision))
        return revision

    # ---- requests that came before

    def answered(self, key: str) -> StoredAnswer | None:
        with self._read() as db:
            row = db.execute(sa.select(ANSWERS).where(ANSWERS.c.key == key)).first()
        return StoredAnswer(row.request, row.status, row.answer) if row else None

    def answer(self, key: str, answer: StoredAnswer, now_ms: int) -> None:
        """What a later request with the same key is answered; those of long ago are forgotten."""
        with self._write() as db:
            db.execute(sa.delete(ANSWERS).where(ANSWERS.c.at_ms < now_ms - ANSWERS_KEPT_MS))
            insert = sqlite_insert(ANSWERS).values(key=key, at_ms=now_ms, **vars_of(answer))
            db.execute(insert.on_conflict_do_nothing())


def vars_of(answer: StoredAnswer) -> dict[str, Any]:
    return {"request": answer.request, "status": answer.status, "answer": answer.answer}


def silences_of(db: sa.Connection, holding_at_ms: int | None = None, limit: int = 1000) -> list[Silence]:
    """The newest first; those alone that hold at a time, where one is given."""
    s = SILENCES
    query = sa.select(s).order_by(s.c.created_ms.desc()).limit(limit)
    if holding_at_ms is not None:
        query = query.where(s.c.until_ms > holding_at_ms, s.c.ended_ms.is_(None))
    return [_to_silence(row) for row in db.execute(query)]


def _to_silence(row: Any) -> Silence:
    matchers: Sequence[Sequence[str]] = json.loads(row.matchers)
    return Silence(
        row.silence_id,
        tuple(Matcher(*parts) for parts in matchers),
        row.reason,
        row.who,
        from_ms(row.until_ms),
        from_ms(row.created_ms),
        row.via,
        None if row.ended_ms is None else from_ms(row.ended_ms),
    )
