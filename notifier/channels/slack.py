"""Slack by its web API. The client's own retries are off: its default posts twice when an answer is lost."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from notifier.channel import (
    Absent,
    Broken,
    Channel,
    ChannelSettings,
    Dead,
    DeclaredChannel,
    Finding,
    Listener,
    Outcome,
    Retry,
    RootGone,
    Sent,
    Sought,
    Unknown,
    Unreadable,
    half_set_up,
)
from notifier.http import header_token, lost, retry_after_s, words
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind
from notifier.render import Notification
from notifier.slack_dress import dress_of, payload_of
from notifier.text import line

if TYPE_CHECKING:
    from notifier.metrics import Metrics
    from notifier.presses import Presses

SCOPES, NEEDED = "x-oauth-scopes", "chat:write"
"""Slack names a token's scopes in every answer; that of the history is proven by reading it."""
LOOK_BACK_S = 600
"""How far before an attempt the history is read: our clock and Slack's may differ."""

# Slack documents these as possibly partly done.
UNCLEAR = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
TOO_RICH = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long"})
# Of the token, so of all that it may do.
OF_THE_TOKEN = frozenset(
    (
        *("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"),
        *(
            "no_permission",
            "not_allowed_token_type",
            "org_login_required",
            "two_factor_setup_required",
            "access_denied",
        ),
        *("team_access_not_granted", "enterprise_is_restricted", "ekm_access_denied", "accesslimited"),
    )
)
NO_THREAD = frozenset({"thread_not_found", "message_not_found", "cannot_reply_to_message", "invalid_thread_ts"})
# Of one message: what else is sent there is taken. https://api.slack.com/methods/chat.update#errors
NO_EDIT = frozenset({"cant_update_message", "edit_window_closed"})
LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})


def _api(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>|]+/", value):
        raise ValueError("expected an address that ends in a slash, like https://slack.com/api/")
    return value


def _channel_ids(value: Any) -> Any:
    if isinstance(value, str):
        value = [channel.strip() for channel in value.split(",") if channel.strip()]
    for channel in value or ():
        if not re.fullmatch(r"[CDG][A-Z0-9]{2,}", str(channel)):
            raise ValueError("expected a channel's id like C0123456789, not its name")
    return tuple(dict.fromkeys(value or ()))


class SlackSettings(ChannelSettings):
    """A bot token and the ids of conversations; without the token Slack is off."""

    slack_base_url: Annotated[str, AfterValidator(_api)] = Field(
        "https://slack.com/api/", description="Slack's web API, or the sandbox in its place"
    )
    slack_token: SecretStr = Field(SecretStr(""), description="bot token; better given as *_FILE; empty: no Slack")
    slack_channel: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_channel_ids)] = Field(
        (), description="ids of channels, like C0123456789, a list or with commas"
    )
    slack_app_token: SecretStr = Field(
        SecretStr(""), description="app-level token, for buttons on messages; better given as *_FILE; empty: none"
    )
    slack_timeout_s: float = Field(10.0, gt=0, le=60, description="for one call of Slack, in seconds")
    slack_per_s: float = Field(1.0, ge=0.02, le=1000, description="messages a second, after a burst of five")

    _slack_token = field_validator("slack_token", "slack_app_token")(header_token)


class Slack:
    """One bot token, and the ids of the channels it posts to. The receipt is the message's ts."""

    name = "slack"

    def __init__(
        self,
        token: str,
        channels: tuple[str, ...],
        *,
        base_url: str,
        timeout_s: float,
        settle_s: float,
        per_s: float | None = None,
        buttons: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.destinations = channels
        every_ms = int(1000 * max(5.0, 1.5 * len(channels)))
        self.manner = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=every_ms)
        self.settle_s = settle_s
        self.per_s = per_s
        self._buttons = buttons
        self._clock = clock
        # Its own logger tells whole answers on a wrong one; ours tells what matters.
        quiet = logging.getLogger("slack_sdk.quiet")
        quiet.setLevel(logging.CRITICAL)
        # timeout is passed on to urllib, which takes fractions.
        self.client = WebClient(
            token=token,
            base_url=base_url,
            timeout=timeout_s,  # type: ignore[arg-type]
            retry_handlers=[],
            logger=quiet,
        )
        # Its own reading of the environment knows proxies, and no exceptions from them.
        if proxy_bypass(urlsplit(base_url).hostname or ""):
            self.client.proxy = None

    def send(self, destination: str, note: Notification) -> Outcome:
        arguments: dict[str, Any] = {
            "channel": destination,
            **dress_of(note, self._buttons),
            "thread_ts": note.root,
            "metadata": {"event_type": "tillwatch_alert", "event_payload": payload_of(note)},
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if note.edits:
            del arguments["thread_ts"]
            arguments["ts"] = note.root
        elif note.root and note.broadcast:
            arguments["reply_broadcast"] = True
        for _ in range(2):
            try:
                answer = self.client.api_call("chat.update" if note.edits else "chat.postMessage", json=arguments)
            except SlackApiError as error:
                code = _code(error)
                if code in TOO_RICH and "blocks" not in arguments:
                    return Dead(f"Slack takes the message neither with blocks nor without: {code}.")
                if code in TOO_RICH:
                    del arguments["blocks"], arguments["attachments"]
                    arguments["text"] = arguments["text"][:500]
                    continue
                if code in NO_THREAD and note.root:
                    return RootGone(f"The first message of the thread is there no more: {code}.")
                if code in NO_EDIT and note.edits:
                    return Dead(f"Slack does not let the message be edited any more: {code}.")
                return self._refused(error)
            except (OSError, HTTPException, ValueError) as error:
                return lost("Slack", error)
            ts = answer.get("ts")
            return Sent(str(ts)) if ts else Unknown("Slack answered ok without a ts.")
        return Retry("Slack takes the message neither with blocks nor without.")

    def find(self, destination: str, sought: Sought) -> Finding:
        oldest = f"{max(0.0, sought.since_ms / 1000 - LOOK_BACK_S):.6f}"
        try:
            for message in self._recent(destination, sought.root, oldest):
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("delivery_key") == sought.delivery_key:
                    return Sent(str(message["ts"]))
                if sought.incident_id and sought.incident_id in str(payload.get("incidents", "")).split(" "):
                    return Sent(str(message["ts"]))
        except SlackApiError as error:
            return Unreadable(f"Slack's history cannot be read: {_code(error)}.", self._retry_after(error))
        except (OSError, HTTPException, ValueError) as error:
            return Unreadable(f"Slack's history cannot be read: {words(error)}.")
        return Absent()

    def check(self) -> str | None:
        try:
            scopes = {name.lower(): value for name, value in self.client.auth_test().headers.items()}.get(SCOPES)
            if scopes and NEEDED not in str(scopes).replace(",", " ").split():
                return f"Slack's token lacks the scope {NEEDED}; add it to the app and install it again."
        except SlackApiError as error:
            return None if _is_limit(error) else f"Slack does not let us in: {_code(error)}."
        except (OSError, HTTPException, ValueError) as error:
            return f"Slack does not answer: {words(error)}."
        return next(filter(None, map(self._closed, self.destinations)), None)

    def _closed(self, channel: str) -> str | None:
        """Why nothing could be posted there, or no receipt be found: what a post needs beside the token."""
        try:
            self.client.conversations_history(channel=channel, limit=1)
        except SlackApiError as error:
            return None if _is_limit(error) else f"Slack's {channel} is closed to us: {_code(error)}."
        except (OSError, HTTPException, ValueError) as error:
            return f"Slack does not answer: {words(error)}."
        return None

    def _recent(self, channel: str, root: str | None, oldest: str) -> Iterator[Mapping[str, Any]]:
        """Messages since `oldest`: of the thread, and of the channel (where a reply goes whose thread is gone)."""
        if root:
            try:
                yield from self._pages(
                    lambda cursor: self.client.conversations_replies(
                        channel=channel, ts=root, oldest=oldest, limit=200, include_all_metadata=True, cursor=cursor
                    )
                )
            except SlackApiError as error:
                if _code(error) not in NO_THREAD:
                    raise
        yield from self._pages(
            lambda cursor: self.client.conversations_history(
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
        if _is_limit(error):
            return Retry(f"Slack limits the rate: {code}.", after_s=self._retry_after(error) or 1.0)
        if status >= 500 or code in UNCLEAR:
            return Unknown(f"Slack answered {status}: {code}.")
        if code == "unreadable" and status == 200:
            # A 200 whose JSON cannot be read may well have been taken.
            return Unknown("Slack's answer cannot be read.")
        if code == "unreadable":
            return Retry(f"Slack, or a proxy before it, answered {status}.")
        # A token, an invitation, a right: somebody can mend all of these.
        return Broken(f"Slack refuses: {code}.", whole=code in OF_THE_TOKEN)

    def _retry_after(self, error: SlackApiError) -> float | None:
        if int(error.response.status_code) != 429:
            return None
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        return retry_after_s(headers.get("retry-after"), self._clock())


def _code(error: SlackApiError) -> str:
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    # What slack_sdk makes of an answer that is no JSON.
    if not isinstance(code, str) or code.startswith("Received a response in a non-JSON format"):
        return "unreadable"
    return line(code, 80)


def _is_limit(error: SlackApiError) -> bool:
    """Whether we only ask too often: who is limited is let in."""
    return int(error.response.status_code) == 429 or _code(error) in LIMITED


def _half(settings: SlackSettings) -> str | None:
    token = settings.slack_token.get_secret_value()
    if token and not settings.slack_channel:
        return half_set_up("slack_token", "slack_channel", "the id of a channel like C0123456789")
    if settings.slack_app_token.get_secret_value() and not token:
        return half_set_up("slack_app_token", "slack_token", "the bot token that posts the messages")
    if settings.slack_channel and not token:
        return half_set_up("slack_channel", "slack_token", "a bot token (better as *_FILE)")
    return None


def _open(settings: SlackSettings) -> Slack:
    return Slack(
        settings.slack_token.get_secret_value(),
        settings.slack_channel,
        base_url=settings.slack_base_url,
        timeout_s=settings.slack_timeout_s,
        settle_s=settings.settle.total_seconds(),
        per_s=settings.slack_per_s,
        buttons=bool(settings.slack_app_token.get_secret_value()),
    )


def _listen(settings: SlackSettings, channel: Channel, presses: Presses, metrics: Metrics) -> Listener | None:
    token = settings.slack_app_token.get_secret_value()
    if not token or not isinstance(channel, Slack):
        return None
    # Imported here: most have no use for it.
    from notifier.slack_buttons import SlackButtons

    return SlackButtons(token, channel.client, presses, metrics)


def _real(settings: SlackSettings) -> bool:
    return settings.slack_base_url.startswith("https:")


CHANNEL = DeclaredChannel(
    SlackSettings, switch="slack_token", half=_half, open=_open, real=_real, listen=_listen, show=dress_of
)
