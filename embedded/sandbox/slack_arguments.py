"""What Slack's methods are given, checked as Slack does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

from embedded.sandbox.blocks import checked_attachments, checked_blocks
from embedded.sandbox.conversations import Content
from embedded.sandbox.slack_error import SlackError

_CHANNEL = re.compile(r"[CDG][A-Z0-9]{2,}")
_TEXT_LIMIT = 40_000
_EDIT_LIMIT = 4_000
_AS_JSON = {
    "blocks": "invalid_blocks_format",
    "attachments": "invalid_attachments",
    "metadata": "invalid_metadata_format",
}


async def arguments_of(request: Request) -> dict[str, Any]:
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
    for name, code in _AS_JSON.items():
        if name in arguments:
            try:
                arguments[name] = json.loads(arguments[name])
            except ValueError:
                raise SlackError(code) from None
    return arguments


def channel_of(arguments: Mapping[str, Any]) -> str:
    channel = str(arguments.get("channel", ""))
    if not _CHANNEL.fullmatch(channel):
        raise SlackError("channel_not_found")
    return channel


def content_of(arguments: Mapping[str, Any]) -> Content:
    """What is to be posted. Raises SlackError where Slack would not take it."""
    text = _text_of(arguments, _TEXT_LIMIT)
    blocks = checked_blocks(arguments["blocks"]) if arguments.get("blocks") else None
    attachments = checked_attachments(arguments["attachments"]) if arguments.get("attachments") else None
    if not text and not blocks and not attachments:
        raise SlackError("no_text")
    metadata = _metadata_of(arguments)
    return Content(text, blocks, attachments, metadata, is_true(arguments.get("mrkdwn", True)))


def changed_content_of(arguments: Mapping[str, Any], before: Mapping[str, Any]) -> Content:
    """What a message says after chat.update. before: as Slack gives it back.

    Blocks stay where neither they nor a text is given; attachments and metadata stay where they are not given.
    """
    text = _text_of(arguments, _EDIT_LIMIT)
    blocks, attachments, metadata = (arguments.get(name) for name in ("blocks", "attachments", "metadata"))
    if not text and blocks is None and attachments is None:
        raise SlackError("no_text")
    old = before.get("blocks")
    after = checked_blocks(blocks) if blocks else None
    if blocks is None and not text:
        after = old
    if after and _is_rich(old) and not _is_rich(after):
        raise SlackError("block_mismatch")
    kept = before.get("attachments") if attachments is None else attachments and checked_attachments(attachments)
    if not text and not after and not kept:
        raise SlackError("no_text")
    stays = before.get("metadata") if metadata is None else metadata and _metadata_of(arguments)
    only_attachments = blocks is None and not text
    return Content(before["text"] if only_attachments else text, after, kept, stays)


def _is_rich(blocks: Any) -> bool:
    return any(block["type"] == "rich_text" for block in blocks or ())


def _text_of(arguments: Mapping[str, Any], most: int) -> str:
    text = str(arguments.get("text") or "")
    if len(text) > most:
        raise SlackError("msg_too_long")
    return text


def _metadata_of(arguments: Mapping[str, Any]) -> Any:
    metadata = arguments.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackError("invalid_metadata_format")
    return metadata


def ts_of(value: Any) -> str:
    """A ts as text that sorts like the time it stands for; Slack takes `0` and whole seconds too."""
    try:
        seconds, _, fraction = str(value or "0").partition(".")
        return f"{int(seconds):010d}.{fraction[:6]:0<6}"
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None


def limit_of(arguments: Mapping[str, Any], most: int) -> int:
    try:
        limit = int(arguments.get("limit", 100))
    except ValueError:
        raise SlackError("invalid_limit") from None
    if not 1 <= limit <= most:
        raise SlackError("invalid_limit")
    return limit


def is_true(value: Any) -> bool:
    return value is True or str(value).lower() in ("1", "true")
