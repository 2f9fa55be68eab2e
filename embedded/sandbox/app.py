"""The sandbox as one web application: what it stands in for, the page, and the switches."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiosmtpd.smtp import SMTP
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response

from embedded.sandbox import interaction, page, pagerduty, slack, webhook
from embedded.sandbox.faults import Fault
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.mail import MailHandler
from embedded.sandbox.page import DrawnPage
from embedded.sandbox.socket_mode import SocketHub
from embedded.sandbox.workspace import Workspace


def create_app(
    inbox: Inbox,
    smtp_port: int | None = None,
    host: str = "127.0.0.1",
    *,
    webhook_secret: str = "",
    acknowledge_s: float = 3.0,
) -> FastAPI:
    """The application; with `smtp_port` it also listens for mail, on `host`, while it runs.

    acknowledge_s: how long the app has to take a Socket Mode envelope before it is sent again.
    """
    hub = SocketHub(inbox.faults, acknowledge_s)
    workspace = Workspace()
    started = secrets.token_hex(4)

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
    app.include_router(slack.router(inbox, workspace, hub))
    app.include_router(interaction.router(inbox, workspace, hub))
    app.include_router(pagerduty.router(inbox))
    app.include_router(webhook.router(inbox, webhook_secret))

    def seen() -> DrawnPage:
        presses = [press.told() for press in hub.presses]
        return DrawnPage(inbox.messages(), inbox.faults.on(), presses, len(hub.connections))

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def show() -> Response:
        nonce = secrets.token_urlsafe(12)
        return HTMLResponse(page.whole(seen(), nonce), headers={"Content-Security-Policy": page.policy(nonce)})

    @app.get("/fragment", response_class=HTMLResponse, include_in_schema=False)
    async def fragment(request: Request) -> Response:
        # A browser that looks every two seconds costs nothing while nothing happens.
        tag = f'"{started}-{inbox.revision}-{hub.revision}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(page.content(seen()), headers=headers)

    @app.get("/messages")
    async def messages(since_ms: int = 0) -> dict[str, Any]:
        """What arrived (arrived_ms: milliseconds since the epoch), and calls of Slack's methods since the start.

        presses: of buttons, the newest 200 since the start. connections: of Socket Mode, open now.
        """
        presses = [press.told() for press in hub.presses if press.pressed_ms >= since_ms]
        others = {"calls": inbox.calls, "presses": presses, "connections": len(hub.connections)}
        return {**inbox.messages(since_ms), **others}

    @app.delete("/messages")
    async def forget() -> dict[str, bool]:
        inbox.clear()
        return {"ok": True}

    @app.get("/faults")
    async def faults() -> list[Fault]:
        return inbox.faults.on()

    @app.post("/faults", response_model=list[Fault])
    async def switch(fault: Fault) -> Any:
        try:
            inbox.faults.switch_on(fault)
        except ValueError as error:
            return JSONResponse({"detail": f"{error}."}, status_code=422)
        return inbox.faults.on()

    @app.delete("/faults")
    async def switch_off() -> list[Fault]:
        inbox.faults.switch_off()
        return inbox.faults.on()

    @app.exception_handler(RequestValidationError)
    async def refused(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        what = first["msg"].removeprefix("Value error, ")
        return JSONResponse({"detail": f"{where}: {what}." if where else f"{what}."}, status_code=422)

    @app.get("/-/healthy")
    async def healthy() -> dict[str, bool]:
        return {"ok": True}

    return app
