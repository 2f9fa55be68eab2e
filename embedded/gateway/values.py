"""What differs each time a statement is asked: its timestamps and its AT clauses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from embedded.gateway.errors import validation
from embedded.gateway.tokens import Word, encountered

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What AT TIMESTAMP takes, CAST(… AS TIMESTAMP), and TIMESTAMP '…', each less than the one before.
_TIME = re.compile(r"\d{4}-\d\d?-\d\d?([ T]\d\d?:\d\d?(:\d\d?(\.\d{1,9})?)?)?")
_CAST = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,9})?)?")
_LITERAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?")
_REFS = ("BRANCH", "TAG", "COMMIT", "REF", "REFERENCE")


@dataclass(frozen=True, slots=True)
class At:
    """An AT clause: kind is BRANCH, TAG, COMMIT, REF, SNAPSHOT or TIMESTAMP."""

    kind: str
    value: str
    start: int


def time_us(literal: str) -> int:
    """A time in quotes as us since the epoch. Raises ValueError when it is none."""
    value = datetime.fromisoformat(literal.strip("'"))
    if value.tzinfo is not None:
        raise ValueError(literal)
    return int((value.replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1000 + 0.5) * 1000


def cut(sql: str, words: list[Word], mark: str) -> tuple[str, tuple[str, ...], tuple[At, ...]]:
    """The text with marks for timestamps and AT clauses, and what stood there; every place keeps its offset."""
    times: list[str] = []
    ats: list[At] = []
    pieces: list[str] = []
    done = 0
    index = 0

    def put(start: int, end: int, name: str) -> None:
        nonlocal done
        pieces.append(sql[done:start])
        # As long as what it stands for, as far as that goes: sqlglot's offsets stay those of the statement.
        pieces.append(name.ljust(end - start))
        done = end

    while index < len(words):
        word = words[index]
        if word.upper == "AT" and word.kind == "word" and index and words[index - 1].kind in ("word", "name"):
            found = _at_clause(words, index)
            if found is not None:
                at, after, end = found
                put(word.start, end, f'."{mark}a{len(ats)}"')
                ats.append(at)
                index = after
                continue
        if word.kind == "text" and (casted := _is_time(words, index)) is not None:
            literal = _time(word, _CAST if casted else _LITERAL)
            if literal is not None:
                put(word.start, word.start + len(word.text), f"'{mark}t{len(times)}'")
                times.append(literal)
        index += 1
    pieces.append(sql[done:])
    return "".join(pieces), tuple(times), tuple(ats)


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


def _at_clause(words: list[Word], index: int) -> tuple[At, int, int] | None:
    """The clause that begins with the AT at `index`, the index of the word after it, and where its text ends."""
    rest = words[index + 1 : index + 8]
    if not rest or rest[0].upper not in (*_REFS, "SNAPSHOT", "TIMESTAMP"):
        return None
    start = words[index].start
    kind = "REF" if rest[0].upper == "REFERENCE" else rest[0].upper
    used = 1
    if kind in ("SNAPSHOT", "TIMESTAMP"):
        upper = [word.upper for word in rest]
        if upper[1:3] == ["CAST", "("] and upper[4:7] == ["AS", "TIMESTAMP", ")"]:
            value, used = rest[3], 7
        else:
            used += kind == "TIMESTAMP" and upper[1:2] == ["TIMESTAMP"]
            if len(rest) <= used:
                raise encountered("<EOF>", rest[-1].start)
            value, used = rest[used], used + 1
        if value.kind != "text":
            raise validation(f"AT {kind} takes a text in single quotes here", value.start, len(value.text))
    else:
        if len(rest) < 2 or rest[1].kind not in ("word", "name"):
            raise validation(
                f'AT {kind} takes a name, in double quotes if need be: AT COMMIT "ab12…"', rest[-1].start, 1
            )
        value, used = rest[1], 2
    last = rest[used - 1]
    plain = value.plain
    if kind == "TIMESTAMP":
        plain = (_time(value, _TIME) or "").strip("'")
    after = index + 1 + used
    if kind in _REFS and [word.upper for word in words[after : after + 2]] == ["AS", "OF"]:
        raise validation("AS OF after a branch or tag is not supported; use AT TIMESTAMP", words[after].start, 5)
    return At(kind, plain, start), after, last.start + len(last.text)
