"""The cookies of a Flight client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie

from pyarrow import flight


class Cookies(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """The cookies of one client: sent with each call, replaced and removed as the server says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jar: dict[str, str] = {}

    def start_call(self, _info: flight.CallInfo) -> _CookieCall:
        return _CookieCall(self)

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


class _CookieCall(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, cookies: Cookies) -> None:
        self._cookies = cookies

    def sending_headers(self) -> dict[str, str]:
        header = self._cookies.header()
        return {"cookie": header} if header else {}

    def received_headers(self, headers: Mapping[str, list[str]]) -> None:
        for name, values in headers.items():
            if name.lower() == "set-cookie":
                self._cookies.take(values)
