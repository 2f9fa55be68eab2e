"""Objects of JSON: one a line, or the elements of one array, which is never in memory whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from lakehouse.user_error import UserError
from producers.text_file import LONGEST

type Numbered = tuple[int, str, str]
"""A line's or element's number from 1, its place for a reader ("line 3"), and its text."""

_CHUNK = 1 << 16
_BLANKS = " \t\r\n"
_LONGEST_WORD = len("-Infinity")
_decode = json.JSONDecoder().raw_decode


def lines(text: Iterable[str]) -> Iterator[Numbered]:
    """Those that are not blank."""
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield number, f"line {number}", line


def elements(text: TextIO, file: Path) -> Iterator[Numbered]:
    """Those of an array. Raises UserError where it cannot be read on, for nobody knows where the next one begins."""
    window = _Window(text)
    if window.next_mark() != "[":
        raise UserError(f"{file}: '[' is missing before the first element. Nothing was sent; correct --format.")
    window.skip(1)
    number = 0
    while True:
        number += 1
        mark = window.next_mark()
        if mark == "]" and number == 1:
            window.skip(1)
            break
        place = f"element {number} (line {window.line})"
        found = window.element()
        if found is None:
            shown = window.shown
            says = f"the file ends within it, '{shown}'" if window.cut else f"'{shown}' is no JSON"
            raise UserError(f"{file}, {place}: {says}. Nothing was sent; mend the file.")
        yield number, place, found
        mark = window.next_mark()
        window.skip(1)
        if mark == "]":
            break
        if mark != ",":
            raise UserError(
                f"{file}, {place}: "
                + (f"'{mark}' follows it, and no ',' or ']'" if mark else "the file ends behind it, within the array")
                + ". Nothing was sent; mend the file."
            )
    if mark := window.next_mark():
        raise UserError(
            f"{file}, line {window.line}: '{mark}' follows the array. Nothing was sent; JSON lines are --format jsonl."
        )


class _Window:
    """A moving part of a text. `line` is that of its beginning, `cut` whether the text ended within an element."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._held = ""
        self._at = 0
        self._ended = False
        self.line = 1
        self.cut = False

    @property
    def shown(self) -> str:
        start = " ".join(self._held[self._at : self._at + 200].split())
        return start if len(start) <= 60 else f"{start[:57]}..."

    def next_mark(self) -> str:
        """The next character that is no blank, which is not taken; empty at the end."""
        while True:
            end = self._at
            while end < len(self._held) and self._held[end] in _BLANKS:
                end += 1
            self.skip(end - self._at)
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more(_CHUNK):
                return ""

    def skip(self, count: int) -> None:
        self.line += self._held.count("\n", self._at, self._at + count)
        self._at += count

    def element(self) -> str | None:
        """Take the value that begins here; None where there is none, or it is longer than LONGEST."""
        size = _CHUNK
        while True:
            whole = True
            try:
                _, end = _decode(self._held, self._at)
            except RecursionError:
                return None
            except json.JSONDecodeError as error:
                end, whole = len(self._held), False
                # What is wrong well before the end of the window is not mended by what comes.
                if error.pos < end - _LONGEST_WORD and not error.msg.startswith("Unterminated"):
                    return None
            # A number that ends where the window does may go on.
            if whole and (end < len(self._held) or self._ended):
                found = self._held[self._at : end]
                self.skip(end - self._at)
                return found
            if self._ended or len(self._held) - self._at > LONGEST:
                self.cut = self._ended
                return None
            self._more(size)
            size *= 2

    def _more(self, size: int) -> bool:
        """Read on; whether there was more."""
        chunk = self._text.read(size)
        self._ended = not chunk
        self._held, self._at = self._held[self._at :] + chunk, 0
        return bool(chunk)
