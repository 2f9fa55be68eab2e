"""The headers of a Flight client's calls: the cookies that go, and what comes with the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from pyarrow import flight

from lakehouse.dremio.cookies import Cookies
from lakehouse.dremio.nearby import Nearby


class Headers(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """Sends the cookies, and tells cookies and nearby what came: before the next call, or when `hear` is called."""

    def __init__(self, cookies: Cookies, nearby: Nearby) -> None:
        self._cookies = cookies
        self._nearby = nearby
        self._came: deque[Mapping[str, list[str]]] = deque()

    def start_call(self, _info: flight.CallInfo) -> _Call:
        return _Call(self, self._came)

    def cookie(self) -> str:
        self.hear()
        return self._cookies.header()

    def forget_cookies(self) -> None:
        self.hear()
        self._cookies.clear()

    def hear(self) -> None:
        while self._came:
            try:
                headers = self._came.popleft()
            except IndexError:
                return  # another thread was faster
            for name, values in headers.items():
                if name.lower() == "set-cookie":
                    self._cookies.take(values)
            self._nearby.hear(headers)


class _Call(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, headers: Headers, came: deque[Mapping[str, list[str]]]) -> None:
        self._headers = headers
        # No function of Python's: a Ctrl-C that came while the call waited would be raised in its first line, where
        # pyarrow swallows it.
        self.received_headers = came.append

    def sending_headers(self) -> dict[str, str]:
        cookie = self._headers.cookie()
        return {"cookie": cookie} if cookie else {}
