"""Slack's buttons by Socket Mode: a connection that we open, so that nothing of Slack has to reach us."""

from __future__ import annotations

import logging
import threading
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from notifier.metrics import Metrics
from notifier.presses import Press, Presses
from notifier.text import line

logger = logging.getLogger("notifier")

AGAIN_S = 10.0
PING_S = 2.0
"""slack_sdk takes a connection that broke without a word for gone after five of these, and then opens another."""


class SlackButtons:
    """`start`, which tries on until Slack lets us in, then `close`.

    app_token: one of the app (xapp-…) with connections:write. client: of the bot, which answers who pressed.
    """

    def __init__(self, app_token: str, client: WebClient, presses: Presses, metrics: Metrics) -> None:
        self._presses = presses
        self._metrics = metrics
        self._web = client
        self._closed = threading.Event()
        self._socket = SocketModeClient(app_token, client._logger, client, ping_interval=PING_S)
        # Its own reading of the environment knows no exceptions from proxies.
        self._socket.proxy = client.proxy
        self._socket.socket_mode_request_listeners.append(self._heard)

    def start(self) -> None:
        threading.Thread(target=self._connect, name="slack-buttons", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._socket.close()

    def _connect(self) -> None:
        """Once it is open the connection keeps itself open."""
        said = ""
        while not self._closed.is_set():
            try:
                self._socket.connect()
            except Exception as error:
                # It raises whatever its socket does.
                reason = error.response.get("error") if isinstance(error, SlackApiError) else error
                sentence = f"Slack's buttons do nothing yet: {line(str(reason), 200)}."
                if sentence != said:
                    logger.warning("%s Trying on.", sentence)
                    said = sentence
                self._closed.wait(AGAIN_S)
            else:
                logger.info("Slack's buttons work")
                return

    def _heard(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        # At once: what is not acknowledged within 3 s comes again.
        client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
        if request.type != "interactive" or request.payload.get("type") != "block_actions":
            self._metrics.socket_events.labels("ignored").inc()
            return
        try:
            for press in _presses(request.payload):
                refusal = self._presses.do(press)
                self._metrics.socket_events.labels("refused" if refusal else "acted").inc()
                if refusal:
                    self._answer(press, refusal)
        except Exception:
            self._metrics.socket_events.labels("failed").inc()
            self._metrics.errors.inc()
            logger.exception("a button of Slack: failed")

    def _answer(self, press: Press, sentence: str) -> None:
        try:
            self._web.chat_postEphemeral(channel=press.destination, user=press.user, text=sentence)
        except Exception as error:
            logger.warning("who pressed a button could not be told: %s", line(str(error), 200))


def _presses(payload: dict[str, Any]) -> list[Press]:
    """What was pressed. Ids alone count: names are chosen by anybody."""
    user, container = payload.get("user") or {}, payload.get("container") or {}
    team = user.get("team_id") or (payload.get("team") or {}).get("id") or ""
    channel = (payload.get("channel") or {}).get("id") or container.get("channel_id") or ""
    receipt = (payload.get("message") or {}).get("ts") or container.get("message_ts") or ""
    return [
        Press(
            press_id=" ".join(
                (str(action.get("action_ts")), str(user.get("id")), str(action.get("action_id")), receipt)
            ),
            channel="slack",
            destination=str(channel),
            receipt=str(receipt),
            thread_id=str(action.get("value")),
            button=str(action.get("action_id")),
            team=str(team),
            user=str(user.get("id")),
        )
        for action in payload.get("actions") or ()
    ]
