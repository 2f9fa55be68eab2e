"""The sandbox as a server in this process, and apps that listen to it with Slack's own client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import uvicorn
from slack_sdk import WebClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from embedded.sandbox.app import create_app
from embedded.sandbox.breaking import Protocol
from embedded.sandbox.inbox import Inbox
from tests.notifier_cast import wait_for


class App:
    """The app's side: Slack's own client, which acknowledges what `takes` says."""

    def __init__(self, url: str, takes: Callable[[SocketModeRequest], bool] = lambda _request: True) -> None:
        self.got: list[SocketModeRequest] = []
        self.takes = takes
        client = WebClient(base_url=f"{url}/api/")
        self.client = SocketModeClient("xapp-1-test", web_client=client, ping_interval=0.2, concurrency=1)
        self.client.proxy = None
        self.client.socket_mode_request_listeners.append(self._hear)
        self.client.connect()

    def close(self) -> None:
        """Once the server is gone; without its waits for what may still come."""
        self.client.closed = True
        self.client.message_queue.put("")
        self.client.close()

    def _hear(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        self.got.append(request)
        if self.takes(request):
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SandboxServer:
    """A sandbox on a port of its own, in a thread. acknowledge_s: after which an envelope is sent again.

    mail: it takes mail too, on `smtp_port`.
    """

    def __init__(
        self, inbox: Inbox, *, acknowledge_s: float = 0.2, webhook_secret: str = "", mail: bool = False
    ) -> None:
        self.inbox = inbox
        self.smtp_port = free_port() if mail else None
        app = create_app(inbox, self.smtp_port, acknowledge_s=acknowledge_s, webhook_secret=webhook_secret)
        config = uvicorn.Config(
            app, port=0, http=Protocol, ws="websockets-sansio", log_level="error", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        wait_for(lambda: self.server.started)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
        self.http = httpx.Client(base_url=self.url, trust_env=False)
        self.apps: list[App] = []

    def app(self, takes: Callable[[SocketModeRequest], bool] = lambda _request: True) -> App:
        """A connected app; waits until we know of its connection."""
        before = self.messages()["connections"]
        self.apps.append(App(self.url, takes))
        wait_for(lambda: self.messages()["connections"] == before + 1)
        return self.apps[-1]

    def messages(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/messages").json()
        return found

    def ask_slack(self, method: str, token: str = "xoxb-1", **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        answer: dict[str, Any] = self.http.post(f"/api/{method}", json=arguments, headers=headers).json()
        return answer

    def post_buttons(self) -> str:
        element = {"type": "button", "action_id": "ack", "value": "thread-1"}
        element["text"] = {"type": "plain_text", "text": "Acknowledge"}  # type: ignore[assignment]
        blocks = [{"type": "actions", "block_id": "b", "elements": [element]}]
        return str(self.ask_slack("chat.postMessage", channel="C0OPS", text="FATAL", blocks=blocks)["ts"])

    def press(self, ts: str, **fields: Any) -> httpx.Response:
        return self.http.post("/-/press", json={"channel": "C0OPS", "ts": ts, "action_id": "ack", **fields})

    def close(self) -> None:
        for app in self.apps:
            app.client.auto_reconnect_enabled = False
        self.http.close()
        self.server.should_exit = True
        self.thread.join()
        for app in self.apps:
            app.close()
