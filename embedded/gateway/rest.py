"""The words of a command, taken one after the other."""

from __future__ import annotations

from collections.abc import Callable

from embedded.gateway.paths import Path
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.values import time_literal
from embedded.gateway.versions import REFERENCES, At, reference
from embedded.gateway.words import RESERVED


class Rest:
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
            pattern = word.plain.strip()
            self.place += 1
        return lambda name: _is_like(name.lower(), pattern.lower())

    def end(self) -> None:
        if self.place < len(self.words):
            raise encountered(self.words[self.place].text, self.start())


def _is_like(name: str, pattern: str) -> bool:
    """Whether the whole name fits: % is any text, _ any letter. Takes as long as both are, whatever the pattern."""
    fits = [True] + [False] * len(name)  # how much of the name the pattern so far fits
    for sign in pattern:
        if sign == "%":
            first = next((place for place, fit in enumerate(fits) if fit), len(fits))
            fits = [place >= first for place in range(len(fits))]
        else:
            fits = [False, *(fit and sign in ("_", letter) for fit, letter in zip(fits, name, strict=False))]
    return fits[-1]
