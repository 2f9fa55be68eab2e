"""Text that somebody else wrote, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

REASON_LETTERS = 600
"""Of a server's reason, which may quote a whole statement."""

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Letters by their category, which nevertheless look like nothing.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_JOINERS = "\u200c\u200d"
_KEPT = "\n\t"


def visible(text: str, most: int = 300) -> str:
    r"""`text` without a character that acts unseen, at most `most` characters long and then with an ellipsis.

    Characters that turn the direction of what follows, have no width, or steer a terminal stand as their escape:
    U+202E as `\u202e`. Line breaks and tabs stay, and so do the joiners inside of emoji and of scripts that need them.
    """
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if _is_seen(letter, text[at - 1] if at else " ") else _escape(letter) for at, letter in enumerate(text)
    )


def label(text: str, most: int) -> str:
    """`text` for one line of a chart: `visible`, with every run of blanks and line breaks as one blank."""
    return visible(" ".join(text[: 4 * most].split()), most)


def near(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` of the known name that is most like `name`; empty where none is."""
    found = get_close_matches(name[:100], list(known), 1, 0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""


def is_hidden(letter: str) -> bool:
    """Whether a character acts or stands there unseen; so do line breaks, tabs and the joiners of scripts and emoji."""
    return unicodedata.category(letter) in _HIDDEN or letter in _BLANK


def _is_seen(letter: str, before: str) -> bool:
    if letter in _KEPT:
        return True
    if letter in _JOINERS:
        return not before.isascii()
    return not is_hidden(letter)


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
