"""Rich text, checked as Slack checks it.

https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

type Wrong = tuple[str, str] | None
"""What is wrong, and the place of it."""

_NEEDED: Mapping[str, tuple[tuple[str, type], ...]] = {
    "text": (("text", str),),
    "link": (("url", str),),
    "emoji": (("name", str),),
    "user": (("user_id", str),),
    "usergroup": (("usergroup_id", str),),
    "channel": (("channel_id", str),),
    "broadcast": (("range", str),),
    "color": (("value", str),),
    "date": (("timestamp", int), ("format", str)),
}
_STYLES = frozenset(("bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"))
_HOLDERS = frozenset(("rich_text_section", "rich_text_preformatted", "rich_text_quote"))


def check_rich_text(elements: Any, at: str) -> Wrong:
    """Of the elements of a rich_text block: None where all is well."""
    if not isinstance(elements, list) or not elements:
        return "must provide an array with an item at least", at
    for place, element in enumerate(elements):
        if wrong := _part(element, f"{at}/{place}"):
            return wrong
    return None


def _part(part: Any, at: str) -> Wrong:
    kind = part.get("type") if isinstance(part, dict) else None
    elements = part.get("elements") if isinstance(part, dict) else None
    if kind not in _HOLDERS and kind != "rich_text_list":
        return f"unsupported type: {kind}", f"{at}/type"
    if not isinstance(elements, list) or not elements:
        return "must provide an array with an item at least", f"{at}/elements"
    if kind == "rich_text_list" and part.get("style") not in ("bullet", "ordered"):
        return "must be one of bullet, ordered", f"{at}/style"
    for place, element in enumerate(elements):
        inside = f"{at}/elements/{place}"
        if kind == "rich_text_list" and not (isinstance(element, dict) and element.get("type") == "rich_text_section"):
            return "must be a rich_text_section", f"{inside}/type"
        wrong = _part(element, inside) if kind == "rich_text_list" else _element(element, inside)
        if wrong:
            return wrong
    return None


def _element(element: Any, at: str) -> Wrong:
    needed = _NEEDED.get(str(element.get("type"))) if isinstance(element, dict) else None
    if needed is None:
        return "unsupported type", f"{at}/type"
    for name, kind in needed:
        if not isinstance(element.get(name), kind) or isinstance(element[name], bool):
            return f"missing required field: {name}", f"{at}/{name}"
        if element[name] == "":
            return "must be more than 0 characters", f"{at}/{name}"
    style = element.get("style", {})
    if not isinstance(style, dict) or not set(style) <= _STYLES:
        return "must be an object of styles", f"{at}/style"
    return None
