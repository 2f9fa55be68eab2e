"""Slack's web API as far as the notifier uses it, with Slack's answers and errors.

https://docs.slack.dev/reference/methods
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from embedded.sandbox import breaking
from embedded.sandbox.faults import Fault
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.slack_arguments import (
    arguments_of,
    changed_content_of,
    channel_of,
    content_of,
    is_true,
    limit_of,
    ts_of,
)
from embedded.sandbox.slack_error import SlackError
from embedded.sandbox.socket_mode import SocketHub
from embedded.sandbox.workspace import (
    BOT_ID,
    BOT_NAME,
    BOT_USER,
    PEOPLE,
    TEAM_DOMAIN,
    TEAM_ID,
    Workspace,
    conversation,
)

_TS = re.compile(r"\d+\.\d{6}")


@dataclass(frozen=True)
class Call:
    """One call of a method. base_url: how the app reaches us."""

    arguments: Mapping[str, Any]
    inbox: Inbox
    workspace: Workspace
    hub: SocketHub
    base_url: str


def router(inbox: Inbox, workspace: Workspace, hub: SocketHub) -> APIRouter:
    """The routes below /api."""
    api = APIRouter()

    @api.api_route("/api/{method}", methods=["GET", "POST"], include_in_schema=False)
    async def call(method: str, request: Request) -> Response:
        inbox.calls[method] = inbox.calls.get(method, 0) + 1
        fault = inbox.faults.next_of_method("slack", method, "*", place=await _place_of(request))
        answer = await breaking.instead(fault, {"ok": False, "error": "ratelimited"})
        if answer is None:
            answer = await _answered(method, request, fault)
            await breaking.afterwards(fault, request)
        return answer

    async def _answered(method: str, request: Request, fault: Fault | None) -> Response:
        headers: dict[str, str] = {}
        try:
            if fault and fault.kind == "api_error":
                raise SlackError(fault.error)
            arguments = await arguments_of(request)
            known = _METHODS.get(method)
            token = _token(request, arguments)
            if known is None:
                raise SlackError("unknown_method")
            scope, answer = known
            _login(token, app_level=method == "apps.connections.open")
            headers = {"X-OAuth-Scopes": ",".join(workspace.state.scopes), "X-Accepted-OAuth-Scopes": scope}
            if scope:
                _allow(scope, arguments, workspace)
            body = {"ok": True, **answer(Call(arguments, inbox, workspace, hub, str(request.base_url)))}
        except SlackError as error:
            body = error.answer()
        return JSONResponse(body, headers=headers)

    return api


async def _place_of(request: Request) -> str:
    """The conversation that a call names; empty where it cannot be read, which the method says itself."""
    try:
        return str((await arguments_of(request)).get("channel", ""))
    except SlackError:
        return ""


def _token(request: Request, arguments: Mapping[str, Any]) -> str:
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or str(arguments.get("token", ""))
    if not token:
        raise SlackError("not_authed")
    if not token.startswith(("xoxb-", "xapp-")):
        raise SlackError("invalid_auth")
    return token


def _login(token: str, *, app_level: bool) -> None:
    if token.startswith("xapp-") is not app_level:
        raise SlackError("not_allowed_token_type")


def _allow(scope: str, arguments: Mapping[str, Any], workspace: Workspace) -> None:
    """Of scopes like channels:history, each kind of conversation has its own."""
    kind = {"G": "groups", "D": "im"}.get(str(arguments.get("channel", ""))[:1])
    needed = scope.replace("channels", kind) if kind else scope
    if not workspace.may(needed):
        raise SlackError("missing_scope", needed=needed, provided=",".join(workspace.state.scopes))


def _open_channel(call: Call, *, writes: bool = False) -> str:
    """The conversation's id, where our app may read it, or write to it."""
    channel_id = channel_of(call.arguments)
    channel = call.workspace.channel(channel_id)
    public = writes and channel_id[0] == "C" and call.workspace.may("chat:write.public")
    if not channel.is_member and not public:
        raise SlackError("not_in_channel" if channel_id[0] == "C" else "channel_not_found")
    if writes and channel.is_archived:
        raise SlackError("is_archived")
    return channel_id


def _auth_test(_call: Call) -> dict[str, Any]:
    return {
        "url": f"https://{TEAM_DOMAIN}.slack.example/",
        "team": "Sandbox",
        "user": BOT_NAME,
        "team_id": TEAM_ID,
        "user_id": BOT_USER,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def _connections_open(call: Call) -> dict[str, Any]:
    return {"url": call.hub.address(call.base_url)}


def _post_message(call: Call) -> dict[str, Any]:
    arguments, slack = call.arguments, call.inbox.slack
    channel = _open_channel(call, writes=True)
    content = content_of(arguments)
    thread_ts = arguments.get("thread_ts")
    if thread_ts is not None and not _TS.fullmatch(str(thread_ts)):
        raise SlackError("invalid_thread_ts")
    if thread_ts is not None and slack.message(channel, thread_ts) is None:
        raise SlackError("thread_not_found")
    broadcast = is_true(arguments.get("reply_broadcast"))
    message = slack.post(channel, content, thread_ts=thread_ts, broadcast=broadcast)
    return {"channel": channel, "ts": message["ts"], "message": message}


def _post_ephemeral(call: Call) -> dict[str, Any]:
    channel = _open_channel(call, writes=True)
    user = str(call.arguments.get("user", ""))
    if user not in {known.user_id for known in PEOPLE}:
        raise SlackError("user_not_in_channel")
    thread_ts = call.arguments.get("thread_ts")
    message = call.inbox.slack.post(channel, content_of(call.arguments), thread_ts=thread_ts, only_for=user)
    return {"message_ts": message["ts"]}


def _own_message(call: Call, channel: str, refusal: str) -> dict[str, Any]:
    message = call.inbox.slack.message(channel, str(call.arguments.get("ts", "")))
    if message is None or message.get("subtype") == "tombstone":
        raise SlackError("message_not_found")
    if message["user"] != BOT_USER:
        raise SlackError(refusal)
    return message


def _update(call: Call) -> dict[str, Any]:
    arguments = call.arguments
    channel = channel_of(arguments)
    before = _own_message(call, channel, "cant_update_message")
    if call.workspace.channel(channel).is_archived:
        raise SlackError("is_inactive")
    was_broadcast = before.get("subtype") == "thread_broadcast"
    broadcast = is_true(arguments.get("reply_broadcast"))
    if broadcast and not was_broadcast:
        if any(arguments.get(name) for name in ("text", "blocks", "attachments")):
            raise SlackError("no_dual_broadcast_content_update")
        if "thread_ts" not in before:
            raise SlackError("cant_broadcast_message")
        arguments = {name: before[name] for name in ("text", "blocks", "attachments") if name in before}
    content = changed_content_of(arguments, before)
    message = call.inbox.slack.update(channel, before["ts"], content, broadcast=was_broadcast or broadcast)
    return {"channel": channel, "ts": before["ts"], "text": content.text, "message": message}


def _delete(call: Call) -> dict[str, Any]:
    channel = channel_of(call.arguments)
    message = _own_message(call, channel, "cant_delete_message")
    call.inbox.slack.delete(channel, message["ts"])
    return {"channel": channel, "ts": message["ts"]}


def _info(call: Call) -> dict[str, Any]:
    channel_id = channel_of(call.arguments)
    channel = call.workspace.channel(channel_id)
    if channel_id[0] != "C" and not channel.is_member:
        raise SlackError("channel_not_found")
    return {"channel": conversation(channel_id, channel)}


def _history(call: Call) -> dict[str, Any]:
    arguments = call.arguments
    channel = _open_channel(call)
    latest = arguments.get("cursor") or arguments.get("latest")
    messages, more = call.inbox.slack.history(
        channel,
        ts_of(arguments.get("oldest")),
        ts_of(latest) if latest else None,
        is_true(arguments.get("inclusive")) and not arguments.get("cursor"),
        limit_of(arguments, 999),
    )
    return _page(messages, more, arguments)


def _replies(call: Call) -> dict[str, Any]:
    arguments = call.arguments
    channel = _open_channel(call)
    ts = str(arguments.get("ts", ""))
    if call.inbox.slack.message(channel, ts) is None:
        raise SlackError("thread_not_found")
    oldest = arguments.get("cursor") or arguments.get("oldest")
    messages, more = call.inbox.slack.replies(channel, ts, ts_of(oldest), limit_of(arguments, 1000))
    return _page(messages, more, arguments)


_METHODS: dict[str, tuple[str, Callable[[Call], dict[str, Any]]]] = {
    "apps.connections.open": ("", _connections_open),
    "auth.test": ("", _auth_test),
    "chat.delete": ("chat:write", _delete),
    "chat.postEphemeral": ("chat:write", _post_ephemeral),
    "chat.postMessage": ("chat:write", _post_message),
    "chat.update": ("chat:write", _update),
    "conversations.history": ("channels:history", _history),
    "conversations.info": ("channels:read", _info),
    "conversations.replies": ("channels:history", _replies),
}
"""The scope that a method needs, and what it does."""


def _page(messages: list[dict[str, Any]], more: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if not is_true(arguments.get("include_all_metadata")):
        messages = [{name: value for name, value in row.items() if name != "metadata"} for row in messages]
    answer: dict[str, Any] = {"messages": messages, "has_more": more}
    if more:
        # Real cursors are opaque; here it is the ts the next page begins after.
        answer["response_metadata"] = {"next_cursor": messages[-1]["ts"]}
    return answer
