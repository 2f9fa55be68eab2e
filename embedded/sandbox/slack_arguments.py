"""What Slack's methods are given, checked as Slack does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

_CHANNEL = re.compile(r"[CDG][A-Z0-9]{2,}")
_TEXT_LIMIT = 40_000
_BLOCKS_LIMIT = 50
_SECTION_LIMIT = 3_000
_HEADER_LIMIT = 150


class SlackError(Exception):
    """Answered as {"ok": false, "error": …}."""


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
    for name in ("blocks", "metadata"):
        if name in arguments:
            try:
                arguments[name] = json.loads(arguments[name])
            except ValueError:
                raise SlackError("invalid_blocks_format" if name == "blocks" else "invalid_metadata_format") from None
    return arguments


def channel_of(arguments: Mapping[str, Any]) -> str:
    channel = str(arguments.get("channel", ""))
    if not _CHANNEL.fullmatch(channel):
        raise SlackError("channel_not_found")
    return channel


def content_of(arguments: Mapping[str, Any]) -> tuple[str, Any, Any]:
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
