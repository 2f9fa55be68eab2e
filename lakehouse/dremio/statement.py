"""SQL from a question's text: tables by their paths, values as literals."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from lakehouse import ROOT
from lakehouse.dremio.errors import ProtocolError, QueryError
from lakehouse.tables import TABLES, full_name

QUESTIONS = ROOT / "lakehouse" / "questions"
type Value = str | int | float | bool | Decimal | datetime | date | list[Value] | tuple[Value, ...] | None


@dataclass(frozen=True)
class Fragment:
    """Part of a template, with binds of its own, that stands where another template has a bind.

    Whoever makes one takes names from lakehouse.tables; data comes as binds.
    """

    template: str
    binds: Mapping[str, Value | Fragment]

    def __hash__(self) -> int:
        return hash((self.template, tuple(self.binds)))


def literal(value: Value) -> str:
    """A value as Dremio writes it: the only way a value gets into SQL.

    A datetime must know its zone; it is written in UTC and cut to milliseconds. A list becomes `a, b` for IN; an empty
    one matches nothing (so it has no place under NOT IN). None is NULL as text.
    """
    match value:
        case None:
            return "CAST(NULL AS VARCHAR)"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            # In brackets, for `a -:b` with a negative b would begin a comment.
            return str(value) if value >= 0 else f"({value})"
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} has no place in SQL")
            return f"{value:f}" if value >= 0 else f"({value:f})"
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} has no place in SQL")
            return f"CAST({value!r} AS DOUBLE)"
        case str():
            if "\0" in value:
                raise ValueError("a text with a zero character has no place in SQL")
            return "'" + value.replace("'", "''") + "'"
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{value} has no time zone; give it in UTC")
            return f"TIMESTAMP '{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'milliseconds')}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case list() | tuple():
            return ", ".join(map(literal, value)) or "CAST(NULL AS VARCHAR)"
    raise TypeError(f"a value of type {type(value).__name__} has no place in SQL")


_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*\n?|/\*.*?\*/)
      | (?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | \{(?P<table>\w+)\}
      | (?<![:\w]):(?P<bind>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d\.\d{3})Z")


@cache
def question_sql(question: str) -> str:
    """The text of lakehouse/questions/<question>.sql, as written."""
    path = QUESTIONS / f"{question}.sql"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise ProtocolError(f"There is no question '{question}': {path.name} is not in {QUESTIONS}.") from None


def named_in(template: str) -> tuple[set[str], set[str]]:
    """The tables that a template names in braces, and its binds."""
    found = list(_TOKEN.finditer(template))
    return {one["table"] for one in found if one["table"]}, {one["bind"] for one in found if one["bind"]}


def without_comments(template: str) -> str:
    """A template as it is asked, but for its tables and binds."""
    return _TOKEN.sub(lambda found: " " if found["comment"] else found[0], template)


def fill(template: str, commit: str | None, binds: Mapping[str, Value | Fragment], name: str = "the statement") -> str:
    """SQL from a template: {table} becomes the table's path (AT the commit, if one is given), :name a literal.

    A time in place of a commit's id, as 2026-11-28T09:14:00.000Z, means the commit that was the newest then. Comments
    are dropped. Raises QueryError naming an unknown table, and a bind that is missing, unused or no value.
    """
    text = "".join(piece.text for piece in _pieces(template, commit, binds, name))
    return text.strip().removesuffix(";")


def written_at(
    template: str, commit: str | None, binds: Mapping[str, Value | Fragment], line: int, column: int
) -> tuple[int, int]:
    """Line and column (from 1) in a template of what stands at these in the statement that `fill` makes of it.

    What stands within a value is where its bind is.
    """
    pieces = _pieces(template, commit, binds, "the statement")
    text = "".join(piece.text for piece in pieces)
    lines = text.strip().split("\n")[: line - 1]
    left = len(text) - len(text.lstrip()) + sum(len(one) + 1 for one in lines) + column - 1
    start = 0
    for piece in pieces:
        start = piece.start + (min(left, len(piece.text)) if piece.written else 0)
        if left < len(piece.text):
            break
        left -= len(piece.text)
    before = template[:start]
    return before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1


class _Piece(NamedTuple):
    """Part of a statement: from where in the template it comes, and whether it stands there as it is."""

    start: int
    text: str
    written: bool


def _pieces(template: str, commit: str | None, binds: Mapping[str, Value | Fragment], name: str) -> list[_Piece]:
    at = ""
    if commit is not None:
        if then := _MOMENT.fullmatch(commit):
            at = f" AT TIMESTAMP '{then[1]} {then[2]}'"
        elif re.fullmatch(r"[0-9A-Za-z]{1,64}", commit):
            at = f' AT COMMIT "{commit}"'
        else:
            raise QueryError(f"'{commit}' is no commit id; expected hex digits.", template)
    unused = set(binds)

    def replace(match: re.Match[str]) -> str:
        if match["comment"]:
            return "\n" if match["comment"].endswith("\n") else " "
        if table := match["table"]:
            if table not in TABLES:
                raise QueryError(f"{name} asks for the table '{table}', which the contract does not have.", template)
            return full_name(TABLES[table]) + at
        if bind := match["bind"]:
            if bind not in binds:
                raise QueryError(f"{name} needs a value for ':{bind}', and none was given.", template)
            unused.discard(bind)
            value = binds[bind]
            if isinstance(value, Fragment):
                return fill(value.template, commit, value.binds, name)
            try:
                return literal(value)
            except (TypeError, ValueError) as error:
                raise QueryError(f"The value of ':{bind}' in {name} cannot be used: {error}.", template) from None
        return match[0]

    pieces: list[_Piece] = []
    done = 0
    for match in _TOKEN.finditer(template):
        pieces.append(_Piece(done, template[done : match.start()], written=True))
        text = replace(match)
        pieces.append(_Piece(match.start(), text, written=text == match[0]))
        done = match.end()
    pieces.append(_Piece(done, template[done:], written=True))
    if unused:
        raise QueryError(f"{name} has no place for ':{min(unused)}'.", template)
    return pieces
