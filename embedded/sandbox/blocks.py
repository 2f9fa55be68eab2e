"""Blocks and attachments, checked as Slack checks them; kinds that the notifier has no use for are not taken here.

https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embedded.sandbox.rich_text import check_rich_text
from embedded.sandbox.slack_error import SlackError

BLOCKS_LIMIT = 50
ATTACHMENTS_LIMIT = 100
NAMED_COLORS = {"good": "#2eb886", "warning": "#daa038", "danger": "#a30200"}
_COLOR = re.compile(r"#?[0-9a-fA-F]{6}")


def checked_blocks(blocks: Any, code: str = "invalid_blocks", at: str = "/blocks") -> list[dict[str, Any]]:
    """Blocks with an id for each. Raises SlackError with `code` and, as Slack does, with the place of the fault."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format" if code == "invalid_blocks" else code)
    if len(blocks) > BLOCKS_LIMIT:
        raise SlackError(code, f"no more than {BLOCKS_LIMIT} items allowed [json-pointer:{at}]")
    made: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        try:
            made.append(_checked(block, f"{at}/{place}"))
        except _WrongError as wrong:
            raise SlackError(code, str(wrong)) from None
    ids = [block["block_id"] for block in made]
    if len(set(ids)) < len(ids):
        raise SlackError(code, f"`block_id` must be unique within the message [json-pointer:{at}]")
    return made


def checked_attachments(attachments: Any) -> list[dict[str, Any]]:
    """Attachments with a number for each. Raises SlackError."""
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        raise SlackError("invalid_attachments")
    if len(attachments) > ATTACHMENTS_LIMIT:
        raise SlackError("too_many_attachments")
    made = []
    for place, one in enumerate(attachments):
        if color_of(one) is None and one.get("color"):
            raise SlackError("invalid_attachments", f"`color` is no color [json-pointer:/attachments/{place}/color]")
        taken = {"id": place + 1} | one
        if "blocks" in one:
            at = f"/attachments/{place}/blocks"
            taken["blocks"] = checked_blocks(one["blocks"], "invalid_attachments", at)
        elif not any(one.get(name) for name in ("text", "fallback", "pretext", "title", "fields")):
            raise SlackError("no_text")
        made.append(taken)
    return made


def color_of(attachment: Mapping[str, Any]) -> str | None:
    """The colour of an attachment's bar as #rrggbb; None where it has none."""
    color = str(attachment.get("color") or "")
    if color in NAMED_COLORS:
        return NAMED_COLORS[color]
    return f"#{color.removeprefix('#')}" if _COLOR.fullmatch(color) else None


class _WrongError(ValueError):
    def __init__(self, what: str, at: str) -> None:
        super().__init__(f"{what} [json-pointer:{at}]")


def _checked(block: Mapping[str, Any], at: str) -> dict[str, Any]:
    kind = block.get("type")
    check = _KINDS.get(str(kind))
    if check is None:
        raise _WrongError(f"unsupported type: {kind}", f"{at}/type")
    _string(block, "block_id", 255, at, needed=False)
    check(block, at)
    made = {"block_id": secrets.token_urlsafe(4), **block}
    if "elements" in block and kind == "actions":
        made["elements"] = [{"action_id": secrets.token_urlsafe(4), **element} for element in block["elements"]]
    return made


def _section(block: Mapping[str, Any], at: str) -> None:
    fields = block.get("fields") or []
    if "text" in block or not fields:
        _text(block.get("text"), 3000, f"{at}/text")
    _items(fields, 0, 10, f"{at}/fields")
    for place, field in enumerate(fields):
        _text(field, 2000, f"{at}/fields/{place}")
    if "accessory" in block:
        _element(block["accessory"], f"{at}/accessory")


def _header(block: Mapping[str, Any], at: str) -> None:
    _text(block.get("text"), 150, f"{at}/text", plain=True)


def _context(block: Mapping[str, Any], at: str) -> None:
    elements = block.get("elements")
    _items(elements, 1, 10, f"{at}/elements")
    for place, element in enumerate(elements or ()):
        _text(element, 3000, f"{at}/elements/{place}")


def _actions(block: Mapping[str, Any], at: str) -> None:
    elements = block.get("elements")
    _items(elements, 1, 25, f"{at}/elements")
    for place, element in enumerate(elements or ()):
        _element(element, f"{at}/elements/{place}")
    ids = [element["action_id"] for element in elements or () if "action_id" in element]
    if len(set(ids)) < len(ids):
        raise _WrongError("`action_id` must be unique within its block", f"{at}/elements")


def _rich_text(block: Mapping[str, Any], at: str) -> None:
    if wrong := check_rich_text(block.get("elements"), f"{at}/elements"):
        raise _WrongError(*wrong)


_KINDS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "divider": lambda block, at: None,
}


def _element(element: Any, at: str) -> None:
    """A button: the one interactive element that is taken here."""
    if not isinstance(element, dict) or element.get("type") != "button":
        raise _WrongError("unsupported type", f"{at}/type")
    _text(element.get("text"), 75, f"{at}/text", plain=True)
    _string(element, "action_id", 255, at, needed=False)
    _string(element, "value", 2000, at, needed=False)
    _string(element, "url", 3000, at, needed=False)
    _string(element, "accessibility_label", 75, at, needed=False)
    if element.get("style", "primary") not in ("primary", "danger"):
        raise _WrongError("must be one of primary, danger", f"{at}/style")


def _text(text: Any, most: int, at: str, *, plain: bool = False) -> None:
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if not isinstance(text, dict):
        raise _WrongError("missing required field: text", at)
    if text.get("type") not in kinds:
        raise _WrongError(f"must be one of {', '.join(kinds)}", f"{at}/type")
    _string(text, "text", most, at)


def _string(holder: Mapping[str, Any], name: str, most: int, at: str, *, needed: bool = True) -> None:
    if name not in holder and not needed:
        return
    value = holder.get(name)
    if not isinstance(value, str):
        raise _WrongError("must provide a string", f"{at}/{name}")
    if not value:
        raise _WrongError("must be more than 0 characters", f"{at}/{name}")
    if len(value) > most:
        raise _WrongError(f"must be less than {most + 1} characters", f"{at}/{name}")


def _items(items: Any, least: int, most: int, at: str) -> None:
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise _WrongError("must be an array", at)
    if len(items) < least:
        raise _WrongError(f"no fewer than {least} items allowed", at)
    if len(items) > most:
        raise _WrongError(f"no more than {most} items allowed", at)
