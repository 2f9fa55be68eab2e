"""How a fault breaks an HTTP call: in place of its being taken, or after."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from embedded.sandbox.faults import Fault

_open_connections: dict[tuple[str, int], asyncio.Transport] = {}


class Protocol(H11Protocol):
    """uvicorn's own, that also remembers its connection, so that a fault can cut it without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")[:2]
        _open_connections[self._peer] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _open_connections.pop(self._peer, None)


def cut(peer: tuple[str, int] | None) -> None:
    """End a connection without a word."""
    transport = _open_connections.pop(peer, None) if peer else None
    if transport is not None:
        transport.abort()


def forget(peer: tuple[str, int] | None) -> None:
    """Of a WebSocket, which took its connection over."""
    if peer:
        _open_connections.pop(peer, None)


async def instead(fault: Fault | None, limited: Any) -> Response | None:
    """The answer in place of the service's; None where the call is to be taken. limited: the body of a 429."""
    if fault is None:
        return None
    if fault.kind == "rate_limited":
        return JSONResponse(limited, status_code=429, headers={"Retry-After": fault.retry_after})
    if fault.kind == "hang":
        await asyncio.sleep(fault.hold_s)
    if fault.kind in ("error", "hang"):
        return PlainTextResponse(_phrase(fault.status), status_code=fault.status)
    return None


async def afterwards(fault: Fault | None, request: Request) -> None:
    """What becomes of the answer to a call that was taken."""
    if fault and fault.kind == "accept_and_hang":
        await asyncio.sleep(fault.hold_s)
    if fault and fault.kind in ("drop_reply", "accept_and_hang"):
        cut(request.client)
        # The loop must see the cut before the answer is written into it.
        await asyncio.sleep(0.05)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
