"""Slack by its web API. The client's own retries are off: its default posts twice when an answer is lost."""

from __future__ import annotations

import errno
import logging
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from notifier.channels import Absent, Dead, Finding, Outcome, Retry, Sent, Unknown, Unreadable
from notifier.render import Message, as_slack
from notifier.text import line

RETRY_AFTER_CAP_S = 300.0
LOOK_BACK_S = 600
"""How far before an attempt the history is read: our clock and Slack's may differ."""

# Slack documents these as possibly partly done.
UNCLEAR = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
TOO_RICH = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long"})
NO_THREAD = frozenset({"thread_not_found", "message_not_found", "cannot_reply_to_message", "invalid_thread_ts"})
LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})

_NOT_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)


class Slack:
    """One bot token and one channel id. The receipt is the message's ts."""

    name = "slack"

    def __init__(
        self,
        token: str,
        channel: str,
        *,
        base_url: str,
        timeout_s: float,
        settle_s: float,
        per_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.destinations = (channel,)
        self.settle_s = settle_s
        self.per_s = per_s
        self._clock = clock
        # Its own logger tells whole answers on a wrong one; ours tells what matters.
        quiet = logging.getLogger("slack_sdk.quiet")
        quiet.setLevel(logging.CRITICAL)
        # timeout is passed on to urllib, which takes fractions.
        self._client = WebClient(
            token=token,
            base_url=base_url,
            timeout=timeout_s,  # type: ignore[arg-type]
            retry_handlers=[],
            logger=quiet,
        )
        # Its own reading of the environment knows proxies, and no exceptions from them.
        if proxy_bypass(urlsplit(base_url).hostname or ""):
            self._client.proxy = None

    def send(self, destination: str, note: Message) -> Outcome:
        text, blocks = as_slack(note)
        arguments: dict[str, Any] = {
            "channel": destination,
            "text": text,
            "blocks": blocks,
            "thread_ts": note.root,
            "metadata": {"event_type": "tillwatch_alert", "event_payload": {"delivery_key": note.delivery_key}},
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        for _ in range(3):
            try:
                answer = self._client.chat_postMessage(**arguments)
            except SlackApiError as error:
                code = _code(error)
                if code in TOO_RICH and "blocks" not in arguments:
                    return Dead(f"Slack takes the message neither with blocks nor without: {code}.")
                if code in TOO_RICH:
                    arguments.pop("blocks")
                    arguments["text"] = text[:500]
                    continue
                if code in NO_THREAD and arguments["thread_ts"]:
                    # Somebody deleted the thread's first message: begin anew.
                    arguments["thread_ts"] = None
                    continue
                return self._refused(error)
            except (OSError, HTTPException, ValueError) as error:
                return _lost(error)
            ts = answer.get("ts")
            return Sent(str(ts)) if ts else Unknown("Slack answered ok without a ts.")
        return Retry("Slack takes the message neither in its thread nor outside.")

    def find(self, destination: str, delivery_key: str, root: str | None, since_ms: int) -> Finding:
        oldest = f"{max(0.0, since_ms / 1000 - LOOK_BACK_S):.6f}"
        try:
            for message in self._recent(destination, root, oldest):
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("delivery_key") == delivery_key:
                    return Sent(str(message["ts"]))
        except SlackApiError as error:
            return Unreadable(f"Slack's history cannot be read: {_code(error)}.", self._retry_after(error))
        except (OSError, HTTPException, ValueError) as error:
            return Unreadable(f"Slack's history cannot be read: {_words(error)}.")
        return Absent()

    def check(self) -> str | None:
        try:
            self._client.auth_test()
        except SlackApiError as error:
            return f"Slack does not let us in: {_code(error)}."
        except (OSError, HTTPException, ValueError) as error:
            return f"Slack does not answer: {_words(error)}."
        return None

    def _recent(self, channel: str, root: str | None, oldest: str) -> Iterator[Mapping[str, Any]]:
        """Messages since `oldest`: of the thread, and of the channel (where a reply goes whose thread is gone)."""
        if root:
            try:
                yield from self._pages(
                    lambda cursor: self._client.conversations_replies(
                        channel=channel, ts=root, oldest=oldest, limit=200, include_all_metadata=True, cursor=cursor
                    )
                )
            except SlackApiError as error:
                if _code(error) not in NO_THREAD:
                    raise
        yield from self._pages(
            lambda cursor: self._client.conversations_history(
                channel=channel, oldest=oldest, limit=200, include_all_metadata=True, cursor=cursor
            )
        )

    def _pages(self, ask: Callable[[str | None], Any]) -> Iterator[Mapping[str, Any]]:
        cursor: str | None = None
        while True:
            answer = ask(cursor)
            yield from answer.get("messages") or ()
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    def _refused(self, error: SlackApiError) -> Outcome:
        status = int(error.response.status_code)
        code = _code(error)
        if status == 429 or code in LIMITED:
            return Retry(f"Slack limits the rate: {code}.", after_s=self._retry_after(error) or 1.0)
        if status >= 500 or code in UNCLEAR:
            return Unknown(f"Slack answered {status}: {code}.")
        if code == "unreadable" and status == 200:
            # A 200 whose JSON cannot be read may well have been taken.
            return Unknown("Slack's answer cannot be read.")
        if code == "unreadable":
            return Retry(f"Slack, or a proxy before it, answered {status}.")
        # A token, an invitation, a right: somebody can mend all of these.
        return Retry(f"Slack refuses: {code}.")

    def _retry_after(self, error: SlackApiError) -> float | None:
        if int(error.response.status_code) != 429:
            return None
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        return retry_after_s(headers.get("retry-after"), self._clock())


def retry_after_s(value: str | None, now: float) -> float:
    """Seconds from a Retry-After header: a number, a fraction or an HTTP date; 1 s without, at most five minutes."""
    seconds = 1.0
    try:
        seconds = float(value or 1.0)
    except ValueError:
        try:
            moment = parsedate_to_datetime(str(value))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            pass
    if not math.isfinite(seconds):
        seconds = RETRY_AFTER_CAP_S
    return min(max(seconds, 0.5), RETRY_AFTER_CAP_S)


def _code(error: SlackApiError) -> str:
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    # What slack_sdk makes of an answer that is no JSON.
    if not isinstance(code, str) or code.startswith("Received a response in a non-JSON format"):
        return "unreadable"
    return line(code, 80)


def _lost(error: Exception) -> Outcome:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(error, URLError) and (
        isinstance(reason, _NOT_SENT)
        or (isinstance(reason, OSError) and reason.errno in _UNREACHABLE)
        # What http.client says when a proxy opens no way to Slack (407 and the like).
        or str(reason).startswith("Tunnel connection failed")
    ):
        return Retry(f"Slack cannot be reached: {_words(error)}.")
    return Unknown(f"Slack's answer was lost: {_words(error)}.")


def _words(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    return line(str(reason), 300).rstrip(".") or type(reason).__name__
