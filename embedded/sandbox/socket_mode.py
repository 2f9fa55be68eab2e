"""Socket Mode: connections of the app, and the envelopes that tell it which button somebody pressed.

https://docs.slack.dev/apis/events-api/using-socket-mode. What Slack does with an interaction that nobody acknowledges
within 3 s is not said there, but that a person sees a warning; here it is also sent again, as events are.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from fastapi import WebSocket, WebSocketDisconnect

from embedded.sandbox import breaking
from embedded.sandbox.faults import INTERACTIVE, FaultSwitches
from embedded.sandbox.press import SandboxPress
from embedded.sandbox.workspace import APP_ID, TEAM_DOMAIN, TEAM_ID, channel_name, person

type Reason = Literal["refresh_requested", "warning", "link_disabled"]

CONNECTIONS_LIMIT = 10
RETRIES = 3
PATIENCE_S = 60.0
"""How long an envelope waits for an app whose connection went."""
KEPT = 200
"""Presses and tickets that are remembered."""


@dataclass(eq=False)
class SocketConnection:
    """One WebSocket of the app. base_url: how it reaches us over HTTP."""

    socket: WebSocket
    base_url: str

    @property
    def peer(self) -> tuple[str, int] | None:
        client = self.socket.client
        return (client.host, client.port) if client else None


class SocketHub:
    """The app's connections and what was pressed, in memory. acknowledge_s: the time to take an envelope in."""

    def __init__(self, faults: FaultSwitches, acknowledge_s: float = 3.0) -> None:
        self._faults = faults
        self._acknowledge_s = acknowledge_s
        self._tickets: deque[tuple[str, str]] = deque(maxlen=KEPT)
        self._turn = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._somebody = asyncio.Event()
        self.connections: list[SocketConnection] = []
        self.presses: deque[SandboxPress] = deque(maxlen=KEPT)
        self.revision = 0
        """Another number after every change."""

    def address(self, base_url: str) -> str:
        """A WebSocket address that is good for one connection."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.append((ticket, base_url))
        return f"{base_url.replace('http', 'ws', 1)}link/?ticket={ticket}&app_id={APP_ID}"

    async def serve(self, socket: WebSocket, ticket: str) -> None:
        """Hold a connection until it ends."""
        base_url = next((base for known, base in self._tickets if known == ticket), None)
        if base_url is None:
            await socket.close()  # before it is accepted: answered as 403
            return
        self._tickets.remove((ticket, base_url))
        await socket.accept()
        connection = SocketConnection(socket, base_url)
        if len(self.connections) >= CONNECTIONS_LIMIT:
            await socket.send_json(_disconnect("too_many_websockets"))
            await socket.close()
            return
        self.connections.append(connection)
        self._somebody.set()
        self.revision += 1
        try:
            await socket.send_json(self._hello())
            while True:
                message = await socket.receive_json()
                if isinstance(message, dict):
                    self._acknowledge(str(message.get("envelope_id", "")))
        except (WebSocketDisconnect, KeyError, ValueError, RuntimeError):
            pass  # it went, or says what is no JSON: that ends it
        finally:
            self._drop(connection)
            breaking.forget(connection.peer)

    async def disconnect(self, reason: Reason) -> int:
        """Tell all connections that they will end, and but for a warning end them. How many there were."""
        there = list(self.connections)
        for connection in there:
            await self._send(connection, _disconnect(reason))
            if reason != "warning":
                self._drop(connection)
                with suppress(RuntimeError):  # it went already
                    await connection.socket.close()
        return len(there)

    def press(
        self, channel: str, message: Mapping[str, Any], action: Mapping[str, Any], user: str, team: str
    ) -> SandboxPress:
        """Tell the app, until it acknowledges. action: the button as its message has it, with its block_id."""
        base_url = self.connections[0].base_url if self.connections else ""
        pressed_ms = time.time_ns() // 1_000_000
        trigger_id = f"{pressed_ms}.{secrets.token_hex(16)}"
        payload: dict[str, Any] = {
            "type": "block_actions",
            "team": {"id": TEAM_ID, "domain": TEAM_DOMAIN},
            "user": {"id": user, "username": person(user).name, "name": person(user).name, "team_id": team},
            "api_app_id": APP_ID,
            "token": "sandbox",
            "container": {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": channel,
                "is_ephemeral": False,
                **({"thread_ts": message["thread_ts"]} if "thread_ts" in message else {}),
            },
            "trigger_id": trigger_id,
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": channel, "name": channel_name(channel)},
            "message": dict(message),
            "state": {"values": {}},
            "response_url": f"{base_url}actions/{TEAM_ID}/{trigger_id}",
            "actions": [{**action, "action_ts": f"{pressed_ms / 1000:.6f}"}],
        }
        press = SandboxPress(secrets.token_hex(16), payload, pressed_ms, base_url)
        self.presses.append(press)
        self.revision += 1
        if self.connections:
            task = asyncio.create_task(self._deliver(press))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return press

    def pressed(self, trigger_id: str) -> SandboxPress | None:
        return next((press for press in self.presses if press.payload["trigger_id"] == trigger_id), None)

    async def _deliver(self, press: SandboxPress) -> None:
        for attempt in range(1 + RETRIES):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._somebody.wait(), PATIENCE_S)
            if not self.connections:
                return
            # Each in turn: Slack does not say which of several connections gets an envelope.
            await self._envelope(self.connections[next(self._turn) % len(self.connections)], press, attempt)
            try:
                await asyncio.wait_for(press.heard.wait(), self._acknowledge_s)
                return
            except TimeoutError:
                press.late = True
                self.revision += 1

    async def _envelope(self, connection: SocketConnection, press: SandboxPress, attempt: int) -> None:
        fault = self._faults.next_of_method("slack", INTERACTIVE)
        press.deaf = fault is not None
        press.sent += 1
        envelope = {
            "envelope_id": press.envelope_id,
            "type": "interactive",
            "accepts_response_payload": True,
            "payload": press.payload,
            **({"retry_attempt": attempt, "retry_reason": "timeout"} if attempt else {}),
        }
        await self._send(connection, envelope)
        if fault and fault.kind == "drop_reply":
            # The app has it, and cannot know whether we know.
            with suppress(TimeoutError):
                await asyncio.wait_for(press.answered.wait(), self._acknowledge_s)
            self._drop(connection)
            breaking.cut(connection.peer)

    async def _send(self, connection: SocketConnection, message: Mapping[str, Any]) -> None:
        try:
            await connection.socket.send_json(message)
        except (WebSocketDisconnect, RuntimeError):
            self._drop(connection)

    def _acknowledge(self, envelope_id: str) -> None:
        for press in self.presses:
            if press.envelope_id != envelope_id or press.acknowledged_ms is not None:
                continue
            press.answered.set()
            if not press.deaf:
                press.acknowledged_ms = time.time_ns() // 1_000_000
                press.heard.set()
                self.revision += 1

    def _drop(self, connection: SocketConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self.revision += 1
            if not self.connections:
                self._somebody.clear()

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "num_connections": len(self.connections),
            "connection_info": {"app_id": APP_ID},
            "debug_info": {"host": "sandbox", "build_number": 1, "approximate_connection_time": 18_060},
        }


def _disconnect(reason: str) -> dict[str, Any]:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "sandbox"}}
