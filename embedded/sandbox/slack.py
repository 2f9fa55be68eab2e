"""Slack's web API as far as the notifier uses it, with Slack's answers and errors.

https://docs.slack.dev/reference/methods
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from embedded.sandbox.faults import Fault
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.slack_arguments import SlackError, arguments_of, channel_of, content_of, is_true, limit_of, ts_of

_TS = re.compile(r"\d+\.\d{6}")


def router(inbox: Inbox, drop: Callable[[Request], None]) -> APIRouter:
    """The routes below /api. `drop` cuts the connection of a request."""
    api = APIRouter()

    @api.api_route("/api/{method}", methods=["GET", "POST"], include_in_schema=False)
    async def call(method: str, request: Request) -> Response:
        inbox.calls[method] = inbox.calls.get(method, 0) + 1
        fault = inbox.faults.next_of_method("slack", method, "*")
        if fault and fault.kind == "rate_limited":
            answer = JSONResponse({"ok": False, "error": "ratelimited"}, status_code=429)
            answer.headers["Retry-After"] = fault.retry_after
            return answer
        if fault and fault.kind == "hang":
            await asyncio.sleep(fault.hold_s)
        if fault and fault.kind in ("error", "hang"):
            return PlainTextResponse("Internal Server Error", status_code=500)
        return await _answered(method, request, fault)

    async def _answered(method: str, request: Request, fault: Fault | None) -> Response:
        try:
            if fault and fault.kind == "api_error":
                raise SlackError(fault.error)
            arguments = await arguments_of(request)
            _login(request, arguments)
            if method not in _METHODS:
                raise SlackError("unknown_method")
            body = {"ok": True, **_METHODS[method](inbox, arguments)}
        except SlackError as error:
            body = {"ok": False, "error": str(error)}
        if fault and fault.kind == "accept_and_hang":
            await asyncio.sleep(fault.hold_s)
        if fault and fault.kind in ("drop_reply", "accept_and_hang"):
            drop(request)
            # The loop must see the cut before the answer is written into it.
            await asyncio.sleep(0.05)
        return JSONResponse(body)

    return api


def _login(request: Request, arguments: Mapping[str, Any]) -> None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or str(arguments.get("token", ""))
    if not token:
        raise SlackError("not_authed")
    if not token.startswith("xoxb-"):
        raise SlackError("invalid_auth")


def _auth_test(_inbox: Inbox, _arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "url": "https://sandbox.slack.example/",
        "team": "Sandbox",
        "user": "tillwatch",
        "team_id": "T0SANDBOX",
        "user_id": "U0SANDBOX",
        "bot_id": "B0SANDBOX",
    }


def _post_message(inbox: Inbox, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = channel_of(arguments)
    text, blocks, metadata = content_of(arguments)
    thread_ts = arguments.get("thread_ts")
    if thread_ts is not None and not _TS.fullmatch(str(thread_ts)):
        raise SlackError("invalid_thread_ts")
    if thread_ts is not None and inbox.message(channel, thread_ts) is None:
        raise SlackError("thread_not_found")
    message = inbox.post(
        channel,
        text,
        thread_ts=thread_ts,
        broadcast=is_true(arguments.get("reply_broadcast")),
        blocks=blocks,
        metadata=metadata,
        markup=is_true(arguments.get("mrkdwn", True)),
    )
    return {"channel": channel, "ts": message["ts"], "message": message}


def _update(inbox: Inbox, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = channel_of(arguments)
    text, blocks, metadata = content_of(arguments)
    ts = str(arguments.get("ts", ""))
    message = inbox.update(channel, ts, text, blocks, metadata)
    if message is None:
        raise SlackError("message_not_found")
    return {"channel": channel, "ts": ts, "text": text, "message": message}


def _history(inbox: Inbox, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = channel_of(arguments)
    latest = arguments.get("cursor") or arguments.get("latest")
    messages, more = inbox.history(
        channel,
        ts_of(arguments.get("oldest")),
        ts_of(latest) if latest else None,
        is_true(arguments.get("inclusive")) and not arguments.get("cursor"),
        limit_of(arguments, 999),
    )
    return _page(messages, more, arguments)


def _replies(inbox: Inbox, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = channel_of(arguments)
    ts = str(arguments.get("ts", ""))
    if inbox.message(channel, ts) is None:
        raise SlackError("thread_not_found")
    oldest = arguments.get("cursor") or arguments.get("oldest")
    messages, more = inbox.replies(channel, ts, ts_of(oldest), limit_of(arguments, 1000))
    return _page(messages, more, arguments)


_METHODS: dict[str, Callable[[Inbox, Mapping[str, Any]], dict[str, Any]]] = {
    "auth.test": _auth_test,
    "chat.postMessage": _post_message,
    "chat.update": _update,
    "conversations.history": _history,
    "conversations.replies": _replies,
}


def _page(messages: list[dict[str, Any]], more: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not is_true(arguments.get("include_all_metadata")):
        messages = [{name: value for name, value in row.items() if name != "metadata"} for row in messages]
    answer: dict[str, Any] = {"messages": messages, "has_more": more}
    if more:
        # Real cursors are opaque; here it is the ts the next page begins after.
        answer["response_metadata"] = {"next_cursor": messages[-1]["ts"]}
    return answer
