"""What is looked at before any request is: by what name we are called, and how large its body is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

MOST_BODY = 64 << 10
_HOST = re.compile(r"[A-Za-z0-9.\-_\[\]:]{1,255}")
_OURS = {"localhost", "127.0.0.1", "::1"}


class Guard:
    """Refuses requests to another name (421), and bodies without a length or over 64 KiB (413).

    Around the application as ASGI has it: a middleware of functions passes each answer on in tasks of its own, which
    for two hundred who wait for one change took longer than the answers. hosts: names beside those of this machine.
    """

    def __init__(self, app: ASGIApp, hosts: Callable[[], Sequence[str]]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refused(self, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if not _HOST.fullmatch(host) or name.lower().strip("[]") not in {*_OURS, *map(str.lower, self._hosts())}:
            return JSONResponse({"detail": "This name is not mine; set notifier.hosts."}, 421)
        length = headers.get("content-length", "0")
        if headers.get("transfer-encoding") or not length.isdigit() or int(length) > MOST_BODY:
            return JSONResponse({"detail": "A body has a length, of 64 KiB at most."}, 413)
        return None
