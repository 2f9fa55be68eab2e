"""Slack's web API as far as the notifier uses it, with Slack's answers and errors.

https://docs.slack.dev/reference/methods
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from embedded.sandbox.store import Fault, Store

_CHANNEL = re.compile(r"[CDG][A-Z0-9]{2,}")
_TS = re.compile(r"\d+\.\d{6}")
_TEXT_LIMIT = 40_000
_BLOCKS_LIMIT = 50
_SECTION_LIMIT = 3_000
_HEADER_LIMIT = 150


class SlackError(Exception):
    """Answered as {"ok": false, "error": …}."""


def router(store: Store, drop: Callable[[Request], None]) -> APIRouter:
    """The routes below /api. `drop` cuts the connection of a request."""
    api = APIRouter()

    @api.api_route("/api/{method}", methods=["GET", "POST"], include_in_schema=False)
    async def call(method: str, request: Request) -> Response:
        store.calls[method] = store.calls.get(method, 0) + 1
        fault = store.next_fault("slack", method, "*")
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
            arguments = await _arguments(request)
            _login(request, arguments)
            if method not in _METHODS:
                raise SlackError("unknown_method")
            body = {"ok": True, **_METHODS[method](store, arguments)}
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


async def _arguments(request: Request) -> dict[str, Any]:
    """Arguments of a call: JSON, or a form and the query with true, false and JSON as text."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            arguments = json.loads(body or b"{}")
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(arguments, dict):
            raise SlackError("json_not_object")
        return arguments
    arguments = dict(request.query_params) | dict(parse_qsl(body.decode(errors="replace")))
    for name in ("blocks", "metadata"):
        if name in arguments:
            try:
                arguments[name] = json.loads(arguments[name])
            except ValueError:
                raise SlackError("invalid_blocks_format" if name == "blocks" else "invalid_metadata_format") from None
    return arguments


def _login(request: Request, arguments: Mapping[str, Any]) -> None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or str(arguments.get("token", ""))
    if not token:
        raise SlackError("not_authed")
    if not token.startswith("xoxb-"):
        raise SlackError("invalid_auth")


def _auth_test(_store: Store, _arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "url": "https://sandbox.slack.example/",
        "team": "Sandbox",
        "user": "tillwatch",
        "team_id": "T0SANDBOX",
        "user_id": "U0SANDBOX",
        "bot_id": "B0SANDBOX",
    }


def _post_message(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = _channel(arguments)
    text, blocks, metadata = _content(arguments)
    thread_ts = arguments.get("thread_ts")
    if thread_ts is not None and not _TS.fullmatch(str(thread_ts)):
        raise SlackError("invalid_thread_ts")
    if thread_ts is not None and store.message(channel, thread_ts) is None:
        raise SlackError("thread_not_found")
    message = store.post(
        channel,
        text,
        thread_ts=thread_ts,
        broadcast=_true(arguments.get("reply_broadcast")),
        blocks=blocks,
        metadata=metadata,
        markup=_true(arguments.get("mrkdwn", True)),
    )
    return {"channel": channel, "ts": message["ts"], "message": message}


def _update(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = _channel(arguments)
    text, blocks, metadata = _content(arguments)
    ts = str(arguments.get("ts", ""))
    message = store.update(channel, ts, text, blocks, metadata)
    if message is None:
        raise SlackError("message_not_found")
    return {"channel": channel, "ts": ts, "text": text, "message": message}


def _history(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = _channel(arguments)
    latest = arguments.get("cursor") or arguments.get("latest")
    messages, more = store.history(
        channel,
        _ts(arguments.get("oldest")),
        _ts(latest) if latest else None,
        _true(arguments.get("inclusive")) and not arguments.get("cursor"),
        _limit(arguments, 999),
    )
    return _page(messages, more, arguments)


def _replies(store: Store, arguments: Mapping[str, Any]) -> dict[str, Any]:
    channel = _channel(arguments)
    ts = str(arguments.get("ts", ""))
    if store.message(channel, ts) is None:
        raise SlackError("thread_not_found")
    oldest = arguments.get("cursor") or arguments.get("oldest")
    messages, more = store.replies(channel, ts, _ts(oldest), _limit(arguments, 1000))
    return _page(messages, more, arguments)


_METHODS: dict[str, Callable[[Store, Mapping[str, Any]], dict[str, Any]]] = {
    "auth.test": _auth_test,
    "chat.postMessage": _post_message,
    "chat.update": _update,
    "conversations.history": _history,
    "conversations.replies": _replies,
}


def _page(messages: list[dict[str, Any]], more: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not _true(arguments.get("include_all_metadata")):
        messages = [{name: value for name, value in row.items() if name != "metadata"} for row in messages]
    answer: dict[str, Any] = {"messages": messages, "has_more": more}
    if more:
        # Real cursors are opaque; here it is the ts the next page begins after.
        answer["response_metadata"] = {"next_cursor": messages[-1]["ts"]}
    return answer


def _channel(arguments: Mapping[str, Any]) -> str:
    channel = str(arguments.get("channel", ""))
    if not _CHANNEL.fullmatch(channel):
        raise SlackError("channel_not_found")
    return channel


def _content(arguments: Mapping[str, Any]) -> tuple[str, Any, Any]:
    text = str(arguments.get("text") or "")
    blocks = arguments.get("blocks")
    metadata = arguments.get("metadata")
    if not text and not blocks:
        raise SlackError("no_text")
    if len(text) > _TEXT_LIMIT:
        raise SlackError("msg_too_long")
    if blocks is not None and not _blocks_hold(blocks):
        raise SlackError("invalid_blocks")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackError("invalid_metadata_format")
    return text, blocks, metadata


def _blocks_hold(blocks: Any) -> bool:
    if not isinstance(blocks, list) or len(blocks) > _BLOCKS_LIMIT:
        return False
    for block in blocks:
        if not isinstance(block, dict) or "type" not in block:
            return False
        if block["type"] == "rich_text" and not _rich_holds(block):
            return False
        limit = {"section": _SECTION_LIMIT, "header": _HEADER_LIMIT}.get(block["type"])
        text = block.get("text")
        if limit and text is not None and not (isinstance(text, dict) and 0 < len(text.get("text", "")) <= limit):
            return False
    return True


def _rich_holds(block: Mapping[str, Any]) -> bool:
    """A block of rich_text_sections whose elements are those that Slack lists; others it has are not taken here."""
    needed = {"text": "text", "link": "url", "emoji": "name", "user": "user_id", "broadcast": "range"}
    for section in block.get("elements") or [{}]:
        if section.get("type") != "rich_text_section" or not section.get("elements"):
            return False
        for element in section["elements"]:
            if not element.get(needed.get(element.get("type"), "")):
                return False
    return True


def _ts(value: Any) -> str:
    """A ts as text that sorts like the time it stands for; Slack takes `0` and whole seconds too."""
    try:
        seconds, _, fraction = str(value or "0").partition(".")
        return f"{int(seconds):010d}.{fraction[:6]:0<6}"
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None


def _limit(arguments: Mapping[str, Any], most: int) -> int:
    try:
        limit = int(arguments.get("limit", 100))
    except ValueError:
        raise SlackError("invalid_limit") from None
    if not 1 <= limit <= most:
        raise SlackError("invalid_limit")
    return limit


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("1", "true")
