"""What a reader sees of a Slack message, as HTML: blocks where it has some, else its text, then its attachments.

https://docs.slack.dev/messaging/formatting-message-text and https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape as escape_html
from html import unescape
from typing import Any

from embedded.sandbox.blocks import color_of
from embedded.sandbox.moments import moment
from embedded.sandbox.workspace import channel_name, person
from lakehouse.texts import visible

LETTERS = 12_000
"""Of one text, which is drawn whole where a message has a size that anybody sends."""

_MARKS = {"*": "strong", "_": "em", "~": "s", "`": "code"}
_PAIR = re.compile(r"(?<![\w*_~`])([*_~`])(?=\S)([^\n]*?\S)\1(?![\w*_~`])")
_QUOTE = re.compile(r"^&gt; ?(.*)$\n?", re.MULTILINE)
_EMOJI = re.compile(r":([a-z0-9_+'-]+):")
_ANGLES = re.compile(r"<([^<>\n]+)>")
_ADDRESS = re.compile(r"https?://[^\s<>|]+")
_STYLES = {"bold": "strong", "italic": "em", "strike": "s", "code": "code", "underline": "u"}
# What stands on lines of its own anyway.
_BEGIN_APART = ("<ul", "<ol", "<pre", "<blockquote", "<hr", "<div")
_END_APART = ("</ul>", "</ol>", "</pre>", "</blockquote>", "<hr>", "</div>")


def escape(text: str) -> str:
    """Text of others as HTML that shows it, and what it holds unseen too."""
    return escape_html(visible(text.replace("\r\n", "\n"), LETTERS))


def shown(message: Mapping[str, Any]) -> str:
    """HTML of a message. mark: mentions; i: emoji; time: moments, for whoever reads it; blockquote, strong, em, s, u,
    code, pre, lists and a as HTML has them; class actions: buttons; class attachment: with a bar of its colour."""
    parts = [_blocks(message["blocks"])] if message.get("blocks") else []
    if not parts and message["text"]:
        text = message["text"]
        parts = [_mrkdwn(text) if message.get("mrkdwn", True) else _controls(text, _emoji)]
    return _lines([*parts, *map(_attachment, message.get("attachments") or ())])


def _lines(parts: Iterable[str]) -> str:
    """Each part on a line of its own."""
    html, apart = "", True
    for part in filter(None, parts):
        html += part if apart or part.startswith(_BEGIN_APART) else f"\n{part}"
        apart = part.endswith(_END_APART)
    return html


def _attachment(attachment: Mapping[str, Any]) -> str:
    title = escape(str(attachment.get("title", "")))
    if title and attachment.get("title_link"):
        title = _link(str(attachment["title_link"]), str(attachment["title"]))
    texts = [
        f"<strong>{title}</strong>" if title else "",
        _mrkdwn(str(attachment.get("text", ""))),
        _fields([_field(field) for field in attachment.get("fields") or ()]),
        _blocks(attachment.get("blocks") or ()),
        f"<small>{escape(str(attachment['footer']))}</small>" if attachment.get("footer") else "",
    ]
    inside = _lines(texts) or escape(str(attachment.get("fallback", "")))
    color = color_of(attachment)
    bar = f' style="--bar: {color}"' if color else ""
    return _mrkdwn(str(attachment.get("pretext", ""))) + f'<div class="attachment"{bar}>{inside}</div>'


def _field(field: Mapping[str, Any]) -> str:
    return f"<strong>{escape(str(field.get('title', '')))}</strong>\n{_mrkdwn(str(field.get('value', '')))}"


def _fields(fields: list[str]) -> str:
    return f'<div class="fields">{"".join(f"<div>{field}</div>" for field in fields)}</div>' if fields else ""


def _blocks(blocks: Iterable[Mapping[str, Any]]) -> str:
    return _lines(map(_block, blocks))


def _block(block: Mapping[str, Any]) -> str:
    match block["type"]:
        case "rich_text":
            return _lines(map(_rich, block["elements"]))
        case "divider":
            return "<hr>"
        case "header":
            return f"<strong>{_text(block['text'])}</strong>"
        case "context":
            return f"<small>{' '.join(_text(text) for text in block['elements'])}</small>"
        case "actions":
            buttons = "".join(_button(element, block) for element in block["elements"])
            return f'<div class="actions">{buttons}</div>'
    texts = [_text(block["text"])] if block.get("text") else []
    texts += [_fields([_text(field) for field in block.get("fields") or ()])]
    accessory = block.get("accessory")
    button = f'<div class="actions">{_button(accessory, block)}</div>' if accessory else ""
    return _lines([*texts, button])


def _button(button: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    names = f'data-action="{escape(button.get("action_id", ""))}" data-block="{escape(block.get("block_id", ""))}"'
    kind = escape(f"action {button.get('style', '')}".strip())
    label = _text(button["text"])
    if button.get("url"):
        return f'<a class="{kind}" href="{_href(button["url"])}" rel="noreferrer" target="_blank" {names}>{label}</a>'
    return f'<button type="button" class="{kind}" {names}>{label}</button>'


def _text(text: Mapping[str, Any]) -> str:
    """A text object: plain_text knows emoji only; verbatim mrkdwn still knows markup, and makes no links."""
    words = str(text.get("text", ""))
    if text.get("type") == "plain_text":
        return _emoji(escape(words)) if text.get("emoji", True) else escape(words)
    return _mrkdwn(words, links=not text.get("verbatim"))


def _rich(part: Mapping[str, Any]) -> str:
    """A section, list, quote or preformatted piece of rich text."""
    if part["type"] == "rich_text_list":
        items = "".join(f"<li>{''.join(map(_element, item['elements']))}</li>" for item in part["elements"])
        tag = "ol" if part["style"] == "ordered" else "ul"
        start = f' start="{int(part["offset"]) + 1}"' if tag == "ol" and part.get("offset") else ""
        return f'<{tag}{start} class="indent-{min(int(part.get("indent", 0)), 8)}">{items}</{tag}>'
    inside = "".join(map(_element, part["elements"]))
    tag = {"rich_text_preformatted": "pre", "rich_text_quote": "blockquote"}.get(part["type"], "")
    return f"<{tag}>{inside}</{tag}>" if tag else inside


def _element(element: Mapping[str, Any]) -> str:
    """An element of rich text is what its type says, whatever its text says."""
    style = element.get("style") or {}
    match element["type"]:
        case "link":
            html = _link(element["url"], element.get("text") or element["url"])
        case "emoji":
            return f"<i>{escape(element['name'])}</i>"
        case "date":
            html = moment(element["timestamp"], element["format"], escape(element.get("fallback", "")))
            html = f'<a href="{_href(element["url"])}" rel="noreferrer">{html}</a>' if element.get("url") else html
        case "user":
            html = _mention(f"@{element['user_id']}")
        case "channel":
            html = _mention(f"#{element['channel_id']}")
        case "broadcast" | "usergroup":
            html = f"<mark>@{escape(element.get('range') or element['usergroup_id'])}</mark>"
        case "color":
            html = escape(element["value"])
        case _:
            html = escape(element["text"]) if style.get("unlink") else _with_links(escape(element["text"]))
    for name, tag in _STYLES.items():
        html = f"<{tag}>{html}</{tag}>" if style.get(name) else html
    return html


def _mrkdwn(text: str, *, links: bool = True) -> str:
    def between(html: str) -> str:
        return _marked(_with_links(_emoji(html)) if links else _emoji(html))

    return _controls(text, between)


def _controls(text: str, between: Callable[[str], str]) -> str:
    """Mentions and links in angle brackets; Slack looks for them in plain text too. The rest goes through `between`."""
    parts: list[str] = []
    end = 0
    for found in _ANGLES.finditer(text):
        parts += [between(escape(unescape(text[end : found.start()]))), _angle(found[1])]
        end = found.end()
    return "".join([*parts, between(escape(unescape(text[end:])))])


def _angle(inside: str) -> str:
    target, _, label = inside.partition("|")
    if target.startswith("!date^"):
        _, seconds, *formats = target.split("^")
        if formats and seconds.isascii() and seconds.isdigit():
            return moment(int(seconds), formats[0], escape(unescape(label)))
    if target[:1] in ("@", "#", "!"):
        return _mention(unescape(label or target))
    if _ADDRESS.fullmatch(target) or target.startswith("mailto:"):
        return _link(unescape(target), unescape(label or target))
    return escape(unescape(f"<{inside}>"))


def _mention(target: str) -> str:
    """People and conversations by their names."""
    if re.fullmatch(r"@[UW][A-Z0-9]{2,}", target):
        target = f"@{person(target[1:]).name}"
    elif re.fullmatch(r"#[CDG][A-Z0-9]{2,}", target):
        target = f"#{channel_name(target[1:])}"
    return f"<mark>{escape(target)}</mark>"


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
    return f'<a href="{_href(url)}" rel="noreferrer">{escape(label)}</a>'


def _href(url: str) -> str:
    """An address that a click opens; one that would run something leads nowhere."""
    return escape(url) if url.startswith(("https://", "http://", "mailto:")) else "#"
