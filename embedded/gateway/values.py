"""What differs each time a statement is asked: its timestamps and its AT clauses. Table functions become tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from embedded.gateway.errors import validation
from embedded.gateway.table_functions import table_function
from embedded.gateway.tokens import Word
from embedded.gateway.versions import At, at_clause

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What AT TIMESTAMP takes, CAST(… AS TIMESTAMP), and TIMESTAMP '…', each less than the one before.
_TIME = re.compile(r"\d{4}-\d\d?-\d\d?([ T]\d\d?:\d\d?(:\d\d?(\.\d{1,9})?)?)?")
_CAST = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,9})?)?")
_LITERAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?")


def time_us(literal: str) -> int:
    """A time in quotes as us since the epoch. Raises ValueError when it is none."""
    value = datetime.fromisoformat(literal.strip("'"))
    if value.tzinfo is not None:
        raise ValueError(literal)
    return int((value.replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1000 + 0.5) * 1000


class Cut(NamedTuple):
    """A text with marks for timestamps and AT clauses, what stood there, and the words of the text."""

    text: str
    times: tuple[str, ...]
    ats: tuple[At, ...]
    words: list[Word]


def cut(sql: str, words: list[Word], mark: str) -> Cut:
    """The statement taken apart; every place keeps its offset, unless a mark is longer than what it stands for."""
    times: list[str] = []
    ats: list[At] = []
    pieces: list[str] = []
    left: list[Word] = []
    done = moved = 0
    index = 0
    named = False  # whether a table function stands before

    def put(start: int, end: int, name: str) -> None:
        nonlocal done, moved
        pieces.append(sql[done:start])
        # As long as what it stands for, as far as that goes: sqlglot's offsets stay those of the statement.
        pieces.append(name.ljust(end - start))
        done = end
        here = start + moved
        if name[0] == ".":
            left.append(Word("sign", ".", here, "."))
            here, name = here + 1, name[1:]
        left.append(Word("text" if name[0] == "'" else "name", name, here, name))
        moved += max(0, here - start - moved + len(name) - (end - start))

    while index < len(words):
        word = words[index]
        kind = word.kind
        if kind not in ("word", "text"):
            named = False
            left.append(word if not moved else word._replace(start=word.start + moved))
            index += 1
            continue
        upper = word.upper
        if upper == "AT" and kind == "word" and index and (named or words[index - 1].kind in ("word", "name")):
            clause = at_clause(sql, words, index, time_literal)
            if clause is not None:
                at, index = clause
                last = words[index - 1]
                put(word.start, last.start + len(last.text), f'."{mark}a{len(ats)}"')
                ats.append(at)
                named = False
                continue
        named = False
        if upper == "TABLE" and kind == "word" and (call := table_function(words, index)) is not None:
            function, index = call
            last = words[index - 1]
            escaped = function.table.replace('"', '""')
            put(word.start, last.start + len(last.text), f'"{mark}f{function.name} {escaped}"')
            named = True
            continue
        if kind == "text" and (casted := _is_time(words, index)) is not None:
            literal = _time(word, _CAST if casted else _LITERAL)
            if literal is not None:
                put(word.start, word.start + len(word.text), f"'{mark}t{len(times)}'")
                times.append(literal)
                index += 1
                continue
        left.append(word if not moved else word._replace(start=word.start + moved))
        index += 1
    pieces.append(sql[done:])
    return Cut("".join(pieces), tuple(times), tuple(ats), left)


def _is_time(words: list[Word], index: int) -> bool | None:
    """Whether the text is that of TIMESTAMP '…' (False) or CAST('…' AS TIMESTAMP) (True); None: neither."""
    before = [word.upper for word in words[max(0, index - 2) : index]]
    if before[-1:] == ["TIMESTAMP"]:
        return False
    after = [word.upper for word in words[index + 1 : index + 4]]
    return True if before == ["CAST", "("] and after == ["AS", "TIMESTAMP", ")"] else None


def _time(word: Word, form: re.Pattern[str]) -> str | None:
    """A time cut to milliseconds, in quotes. None for a CAST of something else: that fails when it runs."""
    text = word.plain.strip()
    try:
        if not form.fullmatch(text):
            raise ValueError(text)
        day, _, clock = text.replace("T", " ").partition(" ")
        year, month, date = map(int, day.split("-"))
        whole, _, fraction = clock.partition(".")
        hour, minute, second = [*map(int, whole.split(":") if whole else ()), 0, 0, 0][:3]
        milliseconds = int(fraction[:3].ljust(3, "0")) if fraction else 0
        value = datetime(year, month, date, hour, minute, second, milliseconds * 1000)  # noqa: DTZ001  # as SQL has it
    except ValueError:
        if form is _CAST:
            return None
        raise validation(
            f"Illegal TIMESTAMP literal '{text}': not in format 'yyyy-MM-dd HH:mm:ss.SSS'", word.start, len(word.text)
        ) from None
    return f"'{value.isoformat(' ', 'milliseconds')}'"


def time_literal(word: Word) -> str:
    """The time of TIMESTAMP '…', cut to milliseconds, in quotes. Raises Refusal for what is none."""
    return _time(word, _TIME) or ""
