"""Secrets do not leave: what is logged, shown, kept or answered goes through one function."""

from __future__ import annotations

import html
import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "(hidden)"
SHORTEST = 4
"""Shorter secrets are not looked for: they stand in every other word."""

type Redact = Callable[[str], str]


class Redactor:
    """Hides secrets in a text. logins: a user's name, or nothing, and the secret.

    Hidden are the secret and each of its lines, as they are and as others write them: in a URL, in JSON, in HTML, in
    Python's repr, and in base64, alone or with the user's name as HTTP, Flight and SMTP send it.
    """

    def __init__(self, *logins: tuple[str, str]) -> None:
        self._forms: set[str] = set()
        self._whole = self._cut = _any_of(())
        self.learn(*logins)

    def learn(self, *logins: tuple[str, str]) -> None:
        """Hide these too from now on."""
        self._forms |= {form for user, secret in logins for form in _forms(user, secret)}
        self._whole = _any_of(self._forms)
        # An error may have been cut within a secret.
        self._cut = _any_of({form[:end] + "…" for form in self._forms for end in range(SHORTEST, len(form))})

    def __call__(self, text: str) -> str:
        hidden = self._whole.sub(HIDDEN, text)
        return self._cut.sub(f"{HIDDEN}…", hidden) if "…" in hidden else hidden


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    # Nothing to look for is found nowhere.
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)")


def _forms(user: str, secret: str) -> set[str]:
    # Errors are folded onto one line.
    parts = (secret, " ".join(secret.split()), *secret.splitlines())
    whole = {part for part in parts if len(part) >= SHORTEST}
    written = {write(part) for part in whole for write in _WRITERS}
    if whole:
        sent = (secret, f"{user}:{secret}", f"\0{user}\0{secret}", f"{user}\0{user}\0{secret}")
        written |= {b64encode(text.encode("utf-8", "surrogateescape")).decode() for text in sent}
    return whole | written


_WRITERS: tuple[Callable[[str], str], ...] = (
    lambda text: quote(text, safe="", errors="replace"),
    lambda text: quote_plus(text, errors="replace"),
    lambda text: json.dumps(text)[1:-1],
    lambda text: repr(text)[1:-1],
    html.escape,
)


class RedactingFormatter(logging.Formatter):
    """Formats a record as ever, traceback and all, and hides secrets in the whole of it."""

    def __init__(self, fmt: str, redact: Redact) -> None:
        super().__init__(fmt)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))
