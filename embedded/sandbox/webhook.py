"""A receiver of webhooks: keeps what it gets below any name."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from embedded.sandbox import breaking
from embedded.sandbox.inbox import Inbox

BODY_LIMIT = 1 << 20
"""Bytes that are taken."""
LONG_ANSWER = 16 << 20
"""Bytes of an answer that is longer than anybody reads."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def router(inbox: Inbox, secret: str) -> APIRouter:
    """POST /hooks/NAME. secret: what signatures are checked with; empty: they are not."""
    api = APIRouter()

    @api.post("/hooks/{name}", include_in_schema=False)
    async def take(name: str, request: Request) -> Response:
        if not _NAME.fullmatch(name):
            return PlainTextResponse("A name has letters, digits, '_', '.' and '-', 64 at most.", status_code=404)
        fault = inbox.faults.next_of_method("webhook", name, "*")
        answer = await breaking.instead(fault, {"error": "Too Many Requests"})
        if answer is not None:
            return answer
        if fault and fault.kind == "redirect":
            return Response(status_code=307, headers={"Location": "/hooks/elsewhere"})
        body = await request.body()
        if len(body) > BODY_LIMIT:
            return PlainTextResponse(f"A body has {BODY_LIMIT} bytes at most.", status_code=413)
        inbox.webhook.take(name, dict(request.headers), body, secret)
        await breaking.afterwards(fault, request)
        if fault and fault.kind == "long_answer":
            return Response(b"x" * LONG_ANSWER, media_type="text/plain")
        return JSONResponse({"ok": True})

    return api
