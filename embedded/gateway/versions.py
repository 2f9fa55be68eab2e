"""Versions of tables: AT BRANCH, TAG, COMMIT, REF, SNAPSHOT or a time, wherever a statement may say one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from embedded.gateway.errors import validation
from embedded.gateway.tokens import Word, encountered

REFERENCES = ("BRANCH", "TAG", "COMMIT", "REF", "REFERENCE")
_LITERALS = ("TIMESTAMP", "DATE", "TIME")
_SIGNS = ("+", "-", "*", "/", "%", "||")
_SAID = {"REF": "reference"}

type Literal = Callable[[Word], str]
"""A time in quotes as text; raises Refusal for what is none."""


@dataclass(frozen=True, slots=True)
class At:
    """Which version: kind is BRANCH, TAG, COMMIT, REF, SNAPSHOT, TIMESTAMP, or EXPRESSION, whose value is SQL.

    `as_of` is a time: the newest commit of the branch or tag by then. `start` is the place in the statement.
    """

    kind: str
    value: str
    start: int = 0
    as_of: str | None = None

    def __str__(self) -> str:
        """As Dremio's messages name it."""
        as_of = f" as of timestamp {self.as_of}" if self.as_of else ""
        return f"{_SAID.get(self.kind, self.kind.lower())} {self.value}{as_of}"


def at_clause(sql: str, words: list[Word], index: int, literal: Literal) -> tuple[At, int] | None:
    """The clause that begins with the AT at `index`, and the index of the word after it. Raises Refusal.

    None for AT TIME ZONE, which is no such clause.
    """
    place = index + 1
    word = _word(words, place)
    match word.upper:
        case kind if kind in REFERENCES and word.kind == "word":
            return reference(words, place, literal)
        case "SNAPSHOT":
            value = _word(words, place + 1)
            if value.kind != "text":
                raise validation("AT SNAPSHOT takes a text in single quotes", value.start, len(value.text))
            return At("SNAPSHOT", value.plain, words[index].start), place + 2
        case "TIME" if _word(words, place + 1).kind != "text":
            return None
        case "LOCAL":
            return None
    after = _expression(words, place)
    if after == place + 2 and word.upper == "TIMESTAMP":
        return At("TIMESTAMP", literal(words[place + 1]).strip("'"), words[index].start), after
    for inner in words[place:after]:
        if inner.upper == "SELECT":
            raise encountered(inner.text, inner.start)
    last = words[after - 1]
    return At("EXPRESSION", sql[word.start : last.start + len(last.text)], word.start), after


def reference(words: list[Word], index: int, literal: Literal) -> tuple[At, int]:
    """`BRANCH name [AS OF 'time']` and its like at `index`, and the index of the word after it. Raises Refusal."""
    said = words[index]
    kind = "REF" if said.upper == "REFERENCE" else said.upper
    name = _word(words, index + 1)
    if name.kind not in ("word", "name"):
        raise validation(f'{kind} takes a name, in double quotes if need be: {kind} "ab12…"', name.start, 1)
    as_of = None
    after = index + 2
    if [word.upper for word in words[after : after + 2]] == ["AS", "OF"]:
        if kind == "COMMIT":
            raise validation("Reference type 'Commit' cannot be used with AS OF syntax.", words[after].start, 5)
        time = _word(words, after + 2)
        if time.kind != "text":
            raise encountered(time.text, time.start)
        as_of = literal(time).strip("'")
        after += 3
    return At(kind, name.plain, said.start, as_of), after


def _word(words: list[Word], index: int) -> Word:
    if index >= len(words):
        last = words[-1]
        raise encountered("<EOF>", last.start + len(last.text))
    return words[index]


def _expression(words: list[Word], index: int) -> int:
    """Where the expression ends that begins at `index`: operands with signs between them."""
    while True:
        index = _operand(words, index)
        if index >= len(words) or words[index].text not in _SIGNS:
            return index
        index += 1


def _operand(words: list[Word], index: int) -> int:
    word = _word(words, index)
    if word.text in ("+", "-"):
        return _operand(words, index + 1)
    if word.text == "(":
        return _closed(words, index)
    if word.kind in ("text", "number"):
        return index + 1
    if word.kind not in ("word", "name") or word.upper == "AS":
        raise encountered(word.text, word.start)
    after = words[index + 1] if index + 1 < len(words) else None
    if word.upper in _LITERALS and after is not None:
        if after.kind != "text":
            raise encountered(after.text, after.start)
        return index + 2
    if word.upper == "INTERVAL" and after is not None and after.kind == "text":
        _word(words, index + 2)  # its unit
        return index + (5 if [word.upper for word in words[index + 3 : index + 4]] == ["TO"] else 3)
    return _closed(words, index + 1) if after is not None and after.text == "(" else index + 1


def _closed(words: list[Word], index: int) -> int:
    """The index after the bracket that closes the one at `index`."""
    depth = 0
    for place in range(index, len(words)):
        if words[place].text == "(":
            depth += 1
        elif words[place].text == ")":
            depth -= 1
            if not depth:
                return place + 1
    last = words[-1]
    raise encountered("<EOF>", last.start + len(last.text))
