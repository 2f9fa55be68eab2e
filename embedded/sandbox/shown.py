"""What a reader sees of a Slack message, as HTML: blocks where it has some, else its text, with Slack's markup.

https://docs.slack.dev/messaging/formatting-message-text and https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape as escape_html
from html import unescape
from typing import Any

from lakehouse.texts import visible

LETTERS = 12_000
"""Of one text, which is drawn whole where a message has a size that anybody sends."""

_MARKS = {"*": "strong", "_": "em", "~": "s", "`": "code"}
_PAIR = re.compile(r"(?<![\w*_~`])([*_~`])(?=\S)([^\n]*?\S)\1(?![\w*_~`])")
_QUOTE = re.compile(r"^&gt; ?(.*)$", re.MULTILINE)
_EMOJI = re.compile(r":([a-z0-9_+'-]+):")
_ANGLES = re.compile(r"<([^<>\n]+)>")
_ADDRESS = re.compile(r"https?://[^\s<>|]+")


def escape(text: str) -> str:
    """Text of others as HTML that shows it, and what it holds unseen too."""
    return escape_html(visible(text.replace("\r\n", "\n"), LETTERS))


def shown(message: Mapping[str, Any]) -> str:
    """HTML of a message. mark: mentions; i: emoji; blockquote, strong, em, s, code and a as HTML has them."""
    blocks = message.get("blocks")
    if blocks:
        return "\n".join(_block(block) for block in blocks)
    return _mrkdwn(message["text"]) if message.get("mrkdwn", True) else _controls(message["text"], _emoji)


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "rich_text":
        return "\n".join("".join(map(_element, section["elements"])) for section in block["elements"])
    texts = block.get("elements") or [block.get("text") or {}]
    return " ".join(_text(text) for text in texts)


def _text(text: Mapping[str, Any]) -> str:
    """A text object: plain_text knows emoji only; verbatim mrkdwn still knows markup, and makes no links."""
    words = str(text.get("text", ""))
    if text.get("type") == "plain_text":
        return _emoji(escape(words)) if text.get("emoji", True) else escape(words)
    return _mrkdwn(words, links=not text.get("verbatim"))


def _element(element: Mapping[str, Any]) -> str:
    """An element of rich text is what its type says, whatever its text says."""
    match element["type"]:
        case "link":
            return _link(element["url"], element.get("text") or element["url"])
        case "emoji":
            return f"<i>{escape(element['name'])}</i>"
        case "user" | "broadcast":
            return f"<mark>@{escape(element.get('user_id') or element.get('range', ''))}</mark>"
    style = element.get("style") or {}
    html = escape(element["text"]) if style.get("unlink") else _with_links(escape(element["text"]))
    return f"<strong>{html}</strong>" if style.get("bold") else html


def _mrkdwn(text: str, *, links: bool = True) -> str:
    def between(html: str) -> str:
        return _marked(_with_links(_emoji(html)) if links else _emoji(html))

    return _controls(text, between)


def _controls(text: str, between: Any) -> str:
    """Mentions and links in angle brackets; Slack looks for them in plain text too. The rest goes through `between`."""
    parts: list[str] = []
    end = 0
    for found in _ANGLES.finditer(text):
        parts += [between(escape(unescape(text[end : found.start()]))), _angle(found[1])]
        end = found.end()
    return "".join([*parts, between(escape(unescape(text[end:])))])


def _angle(inside: str) -> str:
    target, _, label = inside.partition("|")
    if target[:1] in ("@", "#", "!"):
        return f"<mark>{escape(unescape(label or target))}</mark>"
    if _ADDRESS.fullmatch(target) or target.startswith("mailto:"):
        return _link(unescape(target), unescape(label or target))
    return escape(unescape(f"<{inside}>"))


def _marked(html: str) -> str:
    html = _QUOTE.sub(r"<blockquote>\1</blockquote>", html)
    while (further := _PAIR.sub(lambda found: f"<{_MARKS[found[1]]}>{found[2]}</{_MARKS[found[1]]}>", html)) != html:
        html = further
    return html


def _emoji(html: str) -> str:
    return _EMOJI.sub(r"<i>\1</i>", html)


def _with_links(html: str) -> str:
    return _ADDRESS.sub(lambda found: f'<a href="{found[0]}" rel="noreferrer">{found[0]}</a>', html)


def _link(url: str, label: str) -> str:
    return f'<a href="{escape(url)}" rel="noreferrer">{escape(label)}</a>'
