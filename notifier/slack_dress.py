"""How a message looks in Slack: a title, and the rest beside a bar of the state's colour, with buttons on a root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from notifier.render import Notification, When, as_text
from notifier.text import slack_text

TEXT_LIMIT = 4000
COLORS = {"FATAL": "#D55E00", "ERROR": "#E69F00", "WARN": "#F0E442", "INFO": "#56B4E9"}
TAKEN, OVER = "#0072B2", "#9AA0A6"
"""As in the console: Okabe and Ito's colours, which nearly everybody can tell apart, and grey for the past."""


def payload_of(note: Notification) -> dict[str, str]:
    """What is read back from the history. The root names its incidents: a ledger that is lost finds it by them."""
    payload = {"delivery_key": note.delivery_key}
    if note.told and (note.root is None or note.edits):
        payload["incidents"] = " ".join(told.incident.incident_id for told in note.told)
    return payload


def text_of(note: Notification) -> str:
    """The message as text, for notifications and where blocks fail; to be sent with mrkdwn false."""
    return slack_text(as_text(note, between="\n"), TEXT_LIMIT)


def dress_of(note: Notification, buttons: bool = False) -> dict[str, Any]:
    """What the message looks like: its text, and in blocks."""
    return {
        "text": text_of(note),
        "blocks": [title_of(note)],
        "attachments": [{"color": color_of(note), "blocks": blocks_of(note, buttons)}],
    }


def title_of(note: Notification) -> dict[str, Any]:
    """The title as a block."""
    return _rich(_text(note.title, bold=True), *([_text(note.repeat)] if note.repeat else []))


def color_of(note: Notification) -> str:
    """Of the bar beside the message: how bad it is, whether somebody has it, whether it is over."""
    if note.status == "RESOLVED":
        return OVER
    return TAKEN if note.taken_by and not note.untaken else COLORS.get(note.severity, COLORS["FATAL"])


def blocks_of(note: Notification, buttons: bool = False) -> list[dict[str, Any]]:
    """The rest of the message in Slack's blocks, with buttons where it is a root that is open.

    Rich text, for Slack looks for no markup, mention or emoji in its text elements, and makes no links in them.
    """
    links = [element for text, url in note.links for element in (_text(" · "), _link(text, url))]
    sentences = [_rich(_text(sentence)) for sentence in (note.body, *note.sentences)]
    blocks = [*sentences, _rich(*_facts(note.facts), *links)]
    is_root = note.root is None or note.edits
    return [*blocks, _actions(note)] if buttons and is_root and note.status == "FIRING" else blocks


def _actions(note: Notification) -> dict[str, Any]:
    pressable = [("Acknowledge", "ack")] if note.untaken or not note.taken_by else [("Let go", "unack")]
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "text": {"type": "plain_text", "text": text},
                "action_id": action,
                "value": note.thread_id,
            }
            for text, action in (*pressable, ("Silence 1 h", "silence_1h"))
        ],
    }


def _facts(facts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Slack writes a moment in the zone of whoever reads it."""
    for place, fact in enumerate(facts):
        between = " · " if place else ""
        if isinstance(fact, When):
            if between or fact.before:
                yield _text(between + fact.before)
            yield {
                "type": "date",
                "timestamp": int(fact.at.timestamp()),
                "format": "{date_num} {time_secs}",
                "fallback": str(fact).removeprefix(fact.before),
            }
        else:
            yield _text(between + fact)


def _rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    # An empty element is refused. unlink: an address in the data stays text.
    style = {"unlink": True, "bold": True} if bold else {"unlink": True}
    return {"type": "text", "text": text or " ", "style": style}


def _link(text: str, url: str) -> dict[str, Any]:
    return {"type": "link", "url": url, "text": text}
