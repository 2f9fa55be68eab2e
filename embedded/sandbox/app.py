"""The sandbox as one web application: Slack's API, the page, and the switches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiosmtpd.smtp import SMTP
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from embedded.sandbox import page, slack
from embedded.sandbox.faults import FAULTS, Fault
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.mail import MailHandler

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


def _drop(request: Request) -> None:
    peer = (request.client.host, request.client.port) if request.client else ("", 0)
    transport = _open_connections.get(peer)
    if transport is not None:
        transport.abort()


def create_app(inbox: Inbox, smtp_port: int | None = None, host: str = "127.0.0.1") -> FastAPI:
    """The application; with `smtp_port` it also listens for mail, on `host`, while it runs."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if smtp_port is None:
            yield
            return
        loop = asyncio.get_running_loop()
        handler = MailHandler(inbox)
        server = await loop.create_server(
            lambda: SMTP(handler, hostname="sandbox", ident="tillwatch sandbox", loop=loop), host, smtp_port
        )
        yield
        server.close()

    app = FastAPI(title="tillwatch sandbox", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(slack.router(inbox, _drop))

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def show() -> str:
        return page.whole(inbox.messages(), inbox.faults.on())

    @app.get("/fragment", response_class=HTMLResponse, include_in_schema=False)
    async def fragment() -> str:
        return page.content(inbox.messages(), inbox.faults.on())

    @app.get("/messages")
    async def messages(since_ms: int = 0) -> dict[str, Any]:
        """What arrived (arrived_ms: milliseconds since the epoch), and calls of Slack's methods since the start."""
        return {**inbox.messages(since_ms), "calls": inbox.calls}

    @app.delete("/messages")
    async def forget() -> dict[str, bool]:
        inbox.clear()
        return {"ok": True}

    @app.get("/faults")
    async def faults() -> list[Fault]:
        return inbox.faults.on()

    @app.post("/faults")
    async def switch(fault: Fault) -> Any:
        known = FAULTS[fault.service]
        if fault.kind not in known:
            detail = f"{fault.service} has no fault '{fault.kind}'; it has {', '.join(known)}."
            return JSONResponse({"detail": detail}, status_code=422)
        inbox.faults.switch_on(fault)
        return inbox.faults.on()

    @app.delete("/faults")
    async def switch_off() -> list[Fault]:
        inbox.faults.switch_off()
        return inbox.faults.on()

    @app.get("/-/healthy")
    async def healthy() -> dict[str, bool]:
        return {"ok": True}

    return app
