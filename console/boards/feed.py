"""What tiles and live charts of boards ask: once for all who look, each by itself: a slow one stops no other."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
from cachetools import LRUCache

from console.boards.question import Question
from console.feed.hub import Viewer
from console.feed.poller import FIRST_RETRY_S, LONGEST_RETRY_S
from console.feed.questions import first_minute
from console.feed.snapshot import FeedSnapshot, now_utc
from console.metrics import POLL_FAILURES, STATEMENTS
from lakehouse.dremio.errors import DremioError, QueryError

logger = logging.getLogger(__name__)

KEPT = 256
LIVE_ROWS = 10_000
"""Most rows of an answer for a tile or a chart."""
QUICK_S = 0.25
PACE = 3.0
"""A question that is not quick rests as many times as long as its answer took: however dear, it is asked a quarter of
the time."""


class AsksSql(Protocol):
    """As much of the client as boards need."""

    def sql(self, text: str) -> pa.Table: ...


@dataclass(frozen=True)
class LiveAsk:
    """A question about the last `span`, or the sixty minutes of the live charts (None), as it was `back` ago."""

    question: Question
    span: timedelta | None
    back: timedelta = timedelta(0)

    def binds(self, as_of: datetime) -> dict[str, datetime]:
        end = as_of - self.back
        since = first_minute(end) if self.span is None else end - self.span
        return {"since": since, "until": end, "as_of": end}


@dataclass(frozen=True, eq=False)
class BoardAnswer:
    """The last good answer and the time it speaks of, and in `error` why there is no newer one. `read_at` is when a
    table that no commit of ours holds was read."""

    table: pa.Table | None = None
    as_of: datetime | None = None
    commit: str | None = None
    read_at: datetime | None = None
    error: str | None = None


@dataclass(eq=False)
class _Entry:
    told: BoardAnswer = field(default_factory=BoardAnswer)
    asked: str | None = None
    busy: bool = False
    due: float = float("-inf")
    tries: int = 0
    waiting: weakref.WeakSet[Viewer] = field(default_factory=weakref.WeakSet)


class BoardFeed:
    """Answers from memory, and asks anew where the commit moved and the question has rested; nothing here blocks."""

    def __init__(
        self,
        dremio: AsksSql,
        *,
        threads: int = 8,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = now_utc,
    ) -> None:
        self._dremio = dremio
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="boards")
        self._entries: LRUCache[tuple[LiveAsk, str], _Entry] = LRUCache(KEPT)

    def get(self, ask: LiveAsk, snapshot: FeedSnapshot, viewer: Viewer, *, frozen: bool = False) -> BoardAnswer:
        """What is known now; `viewer` is woken when there is more. Empty before the first answer."""
        if snapshot.commit is None or snapshot.as_of is None:
            return BoardAnswer()
        outside = ask.question.every
        if outside is not None:
            wanted, as_of = "outside", self._now()
        else:
            wanted, as_of = snapshot.commit, snapshot.as_of
        key = (ask, wanted if frozen else "")
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry()
            news = entry.asked != wanted or outside is not None or entry.told.error is not None
            asks = news and not entry.busy and self._clock() >= entry.due
            if asks:
                entry.busy, entry.asked = True, wanted
            if entry.busy:
                entry.waiting.add(viewer)
        if asks:
            self._threads.submit(self._ask, entry, ask, None if outside else wanted, as_of)
        return entry.told

    def _ask(self, entry: _Entry, ask: LiveAsk, commit: str | None, as_of: datetime) -> None:
        started = self._clock()
        before = entry.told
        STATEMENTS.inc()
        try:
            table = answer_of(self._dremio, ask.question, commit, ask.binds(as_of), LIVE_ROWS)
            told = BoardAnswer(table, as_of - ask.back, commit, as_of if commit is None else None)
            entry.tries = 0
        except DremioError as error:
            POLL_FAILURES.inc()
            told = self._failed(before, ask.question, ask.question.told(str(error)))
            entry.tries += 1
        except Exception as error:
            logger.exception("%s failed", ask.question.key)
            said = f"{ask.question.path.name} could not be read ({type(error).__name__}); see the console's log."
            told = self._failed(before, ask.question, said)
            entry.tries += 1
        took = self._clock() - started
        rest = PACE * took if took > QUICK_S else 0.0
        if ask.question.every is not None:
            rest = ask.question.every.total_seconds()
        if told.error is not None:
            rest = max(rest, min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(entry.tries - 1, 10)))
        with self._lock:
            entry.told, entry.busy, entry.due = told, False, self._clock() + rest
            viewers = list(entry.waiting)
            entry.waiting.clear()
        for viewer in viewers:
            viewer.wake()

    def _failed(self, before: BoardAnswer, question: Question, error: str) -> BoardAnswer:
        if before.error != error:
            logger.warning("%s failed: %s", question.key, error)
        return BoardAnswer(before.table, before.as_of, before.commit, before.read_at, error)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def answer_of(dremio: AsksSql, question: Question, commit: str | None, binds: dict[str, Any], most: int) -> pa.Table:
    """An answer of at most `most` rows, whose columns are those that the question declares. Raises DremioError."""
    try:
        table = dremio.sql(question.statement(commit, binds, most))
    except QueryError as error:
        if place := question.place(error, commit, binds, most):
            raise type(error)(f"{place}: {error}", error.sql, error.line, error.column) from None
        raise
    question.check(table.schema)
    return table
