"""People's side of Slack: pressing buttons, saying something, and what the app answers to a press."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from embedded.sandbox.conversations import Content
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.slack_arguments import arguments_of, changed_content_of, content_of, is_true
from embedded.sandbox.slack_error import SlackError
from embedded.sandbox.socket_mode import Reason, SocketHub
from embedded.sandbox.workspace import BOT_USER, TEAM_ID, Workspace, WorkspaceState

_CHANNEL = r"^[CDG][A-Z0-9]{2,}$"
_USER = r"^[UW][A-Z0-9]{2,}$"
ANSWERS_LIMIT = 5
ANSWERS_FOR_S = 1800
"""How often, and for how long, a response_url can be used."""


class PressRequest(BaseModel):
    """Who presses which button of which message. block_id: where its action_id stands in several blocks."""

    model_config = ConfigDict(extra="forbid")

    channel: str
    ts: str
    action_id: str
    block_id: str | None = None
    user: str = Field("U0ADA", pattern=_USER)
    team: str = TEAM_ID


class SayRequest(BaseModel):
    """What a person writes."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(pattern=_CHANNEL)
    user: str = Field("U0ADA", pattern=_USER)
    text: str = Field(min_length=1)
    thread_ts: str | None = None


class DisconnectRequest(BaseModel):
    """Why the app's connections end."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = "refresh_requested"


def router(inbox: Inbox, workspace: Workspace, hub: SocketHub) -> APIRouter:
    """What a person, an administrator or a test does; and the app's way to answer a press."""
    api = APIRouter()

    @api.websocket("/link/")
    async def link(socket: WebSocket, ticket: str = "") -> None:
        await hub.serve(socket, ticket)

    @api.post("/-/press")
    async def press(pressed: PressRequest) -> Any:
        """Press a button. 409 where no connection of the app is open: nobody would be told."""
        message = inbox.slack.message(pressed.channel, pressed.ts)
        action = message and _action(message, pressed.action_id, pressed.block_id)
        if not message or not action:
            detail = f"No message {pressed.ts} of {pressed.channel} has a button '{pressed.action_id}'."
            return JSONResponse({"detail": detail}, status_code=404)
        if not hub.connections:
            detail = "Nobody is told: the app has no Socket Mode connection open."
            return JSONResponse({"detail": detail}, status_code=409)
        return hub.press(pressed.channel, message, action, pressed.user, pressed.team).told()

    @api.post("/-/say")
    async def say(said: SayRequest) -> dict[str, Any]:
        """Write a message as a person; the app can neither change nor delete it."""
        return inbox.slack.post(said.channel, Content(said.text), thread_ts=said.thread_ts, author=said.user)

    @api.post("/-/disconnect")
    async def disconnect(asked: DisconnectRequest) -> dict[str, int]:
        """End the app's connections as Slack does; `warning` only announces it."""
        return {"connections": await hub.disconnect(asked.reason)}

    @api.get("/-/workspace")
    async def workspace_state() -> WorkspaceState:
        return workspace.state

    @api.put("/-/workspace")
    async def set_workspace(state: WorkspaceState) -> WorkspaceState:
        """Scopes of the bot's token, and conversations that it is not in or that are archived."""
        workspace.state = state
        return state

    @api.post("/actions/{_team}/{trigger_id}", include_in_schema=False)
    async def respond(_team: str, trigger_id: str, request: Request) -> Response:
        """A response_url: a message to the one who pressed, to all, or in place of the one with the button."""
        try:
            _answer(inbox, hub, trigger_id, await arguments_of(request))
        except SlackError as error:
            return JSONResponse(error.answer(), status_code=404)
        return JSONResponse({"ok": True})

    return api


def _answer(inbox: Inbox, hub: SocketHub, trigger_id: str, arguments: Mapping[str, Any]) -> None:
    press = hub.pressed(trigger_id)
    if press is None or time.time() - press.pressed_ms / 1000 > ANSWERS_FOR_S:
        raise SlackError("expired_url")
    if press.answers >= ANSWERS_LIMIT:
        raise SlackError("used_url")
    press.answers += 1
    channel, ts = press.payload["channel"]["id"], press.payload["message"]["ts"]
    before = inbox.slack.message(channel, ts)
    if before and before["user"] == BOT_USER and is_true(arguments.get("delete_original")):
        inbox.slack.delete(channel, ts)
    elif before and before["user"] == BOT_USER and is_true(arguments.get("replace_original")):
        broadcast = before.get("subtype") == "thread_broadcast"
        inbox.slack.update(channel, ts, changed_content_of(arguments, before), broadcast=broadcast)
    else:
        to_all = arguments.get("response_type") == "in_channel"
        inbox.slack.post(
            channel,
            content_of(arguments),
            thread_ts=arguments.get("thread_ts"),
            only_for=None if to_all else press.payload["user"]["id"],
        )


def _action(message: Mapping[str, Any], action_id: str, block_id: str | None) -> dict[str, Any] | None:
    """A message's button, as the app is told of it."""
    for block in _blocks(message):
        if block_id in (None, block["block_id"]):
            for element in [*block.get("elements", ()), block.get("accessory") or {}]:
                if element.get("type") == "button" and element.get("action_id") == action_id:
                    told = ("type", "action_id", "text", "value", "style")
                    return {name: element[name] for name in told if name in element} | {"block_id": block["block_id"]}
    return None


def _blocks(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from message.get("blocks") or ()
    for attachment in message.get("attachments") or ():
        yield from attachment.get("blocks") or ()
