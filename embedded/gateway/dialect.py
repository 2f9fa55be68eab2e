"""Dremio's SQL to DuckDB's: what a statement asks for, told apart from the values that change at each question.

`prepare` cuts a statement into a *shape* (everything but its timestamps and AT clauses) and those values. Shapes are
translated once: a console that asks the same question at every commit pays for a look into a dictionary.
What Dremio does not have is refused here, although DuckDB may know it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cachetools import LRUCache

from embedded.gateway.errors import ErrorKind, Refusal, TooDeep
from embedded.gateway.table_functions import without_table_functions
from embedded.gateway.tokens import Word, words_of
from embedded.gateway.translation import Shape, check_functions, check_words, digest_of, translate
from embedded.gateway.values import cut
from embedded.gateway.versions import At
from embedded.gateway.weight import LONG, is_long

# One of these stands before the names that the gateway puts into a text: the first that the statement itself lacks.
_MARKS = "\x01\x02\x03\x04\x05\x06"
_SHAPES_LETTERS = 1_000_000
_LETTERS_A_SHAPE = 4_000  # what it takes besides its text, about
_TEXTS_KEPT = 64
_LETTERS_KEPT = 2_000_000


@dataclass(frozen=True, slots=True)
class Statement:
    """A query, its times as DuckDB writes them (quoted, without the keyword) and its AT clauses."""

    shape: Shape
    times: tuple[str, ...]
    ats: tuple[At, ...]


type Elsewhere = Callable[[str], Statement | list[Word]]
"""Reads a statement that is too long or too deep to be read here, where it would hold others up."""


class Dialect:
    """Prepares statements; keeps the shapes it met last. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shapes: LRUCache[bytes, Shape] = LRUCache(
            _SHAPES_LETTERS, lambda shape: len(shape.sql) + _LETTERS_A_SHAPE
        )
        # Long ones count for more, so that a few dozen of them do not fill the memory.
        self._planned: LRUCache[str, Statement] = LRUCache(
            _LETTERS_KEPT, lambda statement: max(len(statement.shape.sql), _LETTERS_KEPT // _TEXTS_KEPT)
        )

    def read(self, sql: str, elsewhere: Elsewhere | None = None) -> Statement | list[Word]:
        """A query as shape and values; the words of any other statement. Raises Refusal for what Dremio would not take.

        Each text comes twice, to be planned and to be run: the newest ones are remembered.
        """
        with self._lock:
            known = self._planned.get(sql)
        if known is not None:
            return known
        statement = elsewhere(sql) if elsewhere and len(sql) > LONG else self._read(sql, elsewhere)
        if isinstance(statement, Statement):
            with self._lock, suppress(ValueError):  # larger than all that is kept
                self._planned[sql] = statement
        return statement

    def _read(self, sql: str, elsewhere: Elsewhere | None) -> Statement | list[Word]:
        words = words_of(sql)
        if elsewhere and is_long(words):
            return elsewhere(sql)
        if words[0].upper not in ("SELECT", "WITH", "VALUES", "("):
            return words
        try:
            return self._prepare(sql, words)
        except TooDeep:
            if elsewhere is None:
                raise
        return elsewhere(sql)

    def _prepare(self, sql: str, words: list[Word]) -> Statement:
        mark = _mark(sql)
        text, times, ats, left = cut(sql, words, mark)
        key = digest_of(text, mark)
        with self._lock:
            shape = self._shapes.get(key)
        if shape is None:
            plain = without_table_functions(words)
            check_words(plain)
            check_functions(plain)
            shape = translate(sql, text, mark, key, left)
            if shape.heavy:
                shape.tree = None  # it is written apart, from its text
            if len(text) <= LONG:
                with self._lock:
                    self._shapes[key] = shape
        return Statement(shape, times, ats)


def _mark(sql: str) -> str:
    """A character for the gateway's own names, one that the statement does not hold: so no text is taken for a name."""
    for mark in _MARKS:
        if mark not in sql:
            return mark
    raise Refusal(ErrorKind.PARSE, "Failure parsing the query: it holds too many control characters.", 0)
