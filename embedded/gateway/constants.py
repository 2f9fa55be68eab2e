"""Statements whose answer is always the same: a connection that asks SELECT 1 whether anybody is there, say.

Each is planned and run once, and then remembered: its ticket by what was asked, its rows by the ticket.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pyarrow as pa
from cachetools import LRUCache

_MOST_BYTES = 1_000_000
_MOST_ROWS_BYTES = 50_000
_EACH = 1_000  # what Python keeps for an entry, about


@dataclass(frozen=True, slots=True)
class Planned:
    """`told` is the schema as clients are told of it before the rows; what is `constant` has always the same rows."""

    schema: pa.Schema
    told: pa.Schema
    ticket: bytes
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a statement, with the types of the wire."""

    sql: str
    rows: pa.Table


class Constants:
    """Plans by statement or command, and answers by ticket: the newest used of each. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: LRUCache[str | bytes, Planned] = LRUCache(_MOST_BYTES, lambda plan: len(plan.ticket) * 3 + _EACH)
        self._answers: LRUCache[bytes, Answer] = LRUCache(_MOST_BYTES, _bytes_of)

    def plan(self, asked: str | bytes) -> Planned | None:
        with self._lock:
            return self._plans.get(asked)

    def answer(self, ticket: bytes) -> Answer | None:
        with self._lock:
            return self._answers.get(ticket)

    def planned(self, asked: str | bytes, plan: Planned) -> None:
        with self._lock:
            self._plans[asked] = plan

    def answered(self, ticket: bytes, answer: Answer) -> None:
        """Remember the rows, unless they are many."""
        if answer.rows.nbytes <= _MOST_ROWS_BYTES:
            with self._lock:
                self._answers[ticket] = answer


def _bytes_of(answer: Answer) -> int:
    return int(len(answer.sql) * 3 + answer.rows.nbytes + _EACH)
