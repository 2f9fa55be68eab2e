"""The words of a command, taken one after the other, and what several commands say alike."""

from __future__ import annotations

import re
from collections.abc import Callable

from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.paths import INFORMATION_SCHEMA, Context, Path, is_ours
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.values import time_literal
from embedded.gateway.versions import REFERENCES, At, reference
from embedded.gateway.words import RESERVED
from lakehouse.tables import CATALOG


class RemainingWords:
    """The words of a statement from `place` on, taken one after the other. Each may raise Refusal."""

    def __init__(self, words: list[Word], place: int) -> None:
        self.words = words
        self.place = place

    def take(self, *wanted: str) -> bool:
        """Whether one of these words comes next; it is taken then."""
        found = self.place < len(self.words) and self.words[self.place].upper in wanted
        self.place += found
        return found

    def start(self) -> int:
        """Where the next word stands."""
        last = self.words[-1]
        return self.words[self.place].start if self.place < len(self.words) else last.start + len(last.text)

    def path(self) -> Path:
        """A dotted path."""
        parts: list[str] = []
        while True:
            word = self.words[self.place] if self.place < len(self.words) else None
            if word is None or word.kind not in ("word", "name") or word.upper in RESERVED:
                raise encountered(word.text if word else "<EOF>", self.start())
            parts.append(word.plain)
            self.place += 1
            if not self.take("."):
                return tuple(parts)

    def at(self) -> At | None:
        """AT BRANCH, TAG, COMMIT or REF."""
        if not self.take("AT"):
            return None
        word = self.words[self.place] if self.place < len(self.words) else None
        if word is None or word.upper not in REFERENCES:
            raise encountered(word.text if word else "<EOF>", self.start())
        at, self.place = reference(self.words, self.place, time_literal)
        return at

    def like(self) -> Callable[[str], bool]:
        """Whether a name is LIKE 'pattern'; all are where it is not there."""
        pattern = "%"
        if self.take("LIKE"):
            word = self.words[self.place] if self.place < len(self.words) else None
            if word is None or word.kind != "text":
                raise encountered(word.text if word else "<EOF>", self.start())
            pattern = re.sub("%+", "%", word.plain.strip().lower())
            self.place += 1
        return lambda name: _is_like(name.lower(), pattern)

    def end(self) -> None:
        if self.place < len(self.words):
            raise encountered(self.words[self.place].text, self.start())


def _is_like(name: str, pattern: str) -> bool:
    """Whether the whole name fits: % (never two in a row) is any text, _ any letter.

    Takes at most 2 * len(name) ** 2 steps, whatever the pattern.
    """
    fits = [True] + [False] * len(name)  # how much of the name the pattern so far fits
    for sign in pattern:
        first = next((place for place, fit in enumerate(fits) if fit), None)
        if first is None:
            return False
        if sign == "%":
            fits = [place >= first for place in range(len(fits))]
        else:
            fits = [False, *(fit and sign in ("_", letter) for fit, letter in zip(fits, name, strict=False))]
    return fits[-1]


def source_of(rest: RemainingWords, context: Context) -> str:
    """The source of `IN source` at the end of a statement, which must be ours; without it the session's."""
    start = rest.start()
    if rest.take("IN"):
        path = rest.path()
        rest.end()
    else:
        rest.end()
        path = context.schema
        if not path:
            raise validation(
                'Unable to choose a source. "[ IN sourceName ]" was not specified and current context was not found.',
                start,
            )
        path = path[:1]
    if len(path) == 1 and path[0].upper() == INFORMATION_SCHEMA:
        raise unsupported(f"Source {path[0]} does not support versioning.")
    if len(path) != 1 or not is_ours(path):
        raise validation(f"Source {'.'.join(path)} does not exist.", start)
    return path[0]


def unsupported(message: str) -> Refusal:
    return Refusal(ErrorKind.INTERNAL, f"UNSUPPORTED_OPERATION ERROR: {message}")


def read_only(words: list[Word]) -> Refusal:
    first = words[0].upper
    second = words[1].upper if len(words) > 1 else ""
    what = f"{first} {second}" if second in ("TABLE", "VIEW", "INTO", "BRANCH", "TAG", "FOLDER") else first
    return Refusal(ErrorKind.PERMISSION, f"PERMISSION ERROR: {what} is not allowed: source {CATALOG} is read-only")


def explained(words: list[Word]) -> int:
    """Where the query begins after EXPLAIN PLAN … FOR."""
    rest = RemainingWords(words, 2)
    if rest.take("INCLUDING", "EXCLUDING"):
        rest.take("ALL")
        if not rest.take("ATTRIBUTES"):
            rest.end()
    if rest.take("WITH"):
        if not rest.take("TYPE", "IMPLEMENTATION"):
            rest.end()
    elif rest.take("WITHOUT") and not rest.take("IMPLEMENTATION"):
        rest.end()
    if rest.take("AS") and not rest.take("XML", "JSON"):
        rest.end()
    if not rest.take("FOR"):
        rest.end()
    inner = words[rest.place :]
    if not inner:
        raise encountered("<EOF>", rest.start())
    if inner[0].upper in ("INSERT", "UPDATE", "DELETE", "MERGE"):
        raise read_only(inner)
    if inner[0].upper not in ("SELECT", "WITH", "VALUES", "("):
        raise encountered(inner[0].text, inner[0].start)
    return inner[0].start
