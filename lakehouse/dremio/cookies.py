"""The cookies of a Flight client."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie


class Cookies:
    """The cookies of one client: replaced and removed as the server says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jar: dict[str, str] = {}

    def clear(self) -> None:
        with self._lock:
            self._jar.clear()

    def header(self) -> str:
        with self._lock:
            return "; ".join(f"{name}={value}" for name, value in self._jar.items())

    def take(self, lines: Iterable[str]) -> None:
        for line in lines:
            try:
                parsed = SimpleCookie(line)
            except CookieError:
                continue
            with self._lock:
                for name, morsel in parsed.items():
                    if not morsel.value or _is_over(morsel):
                        self._jar.pop(name, None)
                    else:
                        self._jar[name] = morsel.value


def _is_over(morsel: Morsel[str]) -> bool:
    """How a server removes a cookie: it has ended already."""
    if age := morsel["max-age"]:
        return str(age) == "0" or str(age).startswith("-")
    try:
        expires = parsedate_to_datetime(morsel["expires"])
    except ValueError:
        return False  # says nothing, or no date
    return expires.replace(tzinfo=expires.tzinfo or UTC) <= datetime.now(UTC)
