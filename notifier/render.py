"""What a message says: neutral text from ledger rows, and its dress for Slack and email. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from notifier.policy import Alert, Kind
from notifier.text import capped, header_text, line, plain, slack_text

BODY_LIMIT = 1500
TITLE_LIMIT = 120
NAME_LIMIT = 60
"""A longer name of a service or rule is cut, in what the alert says too: the message matters more."""
SLACK_TEXT_LIMIT = 4000
URL_LIMIT = 900


@dataclass(frozen=True)
class Message:
    """One message before it is dressed for a channel, of text that went through notifier.text.

    `root` is the receipt of the thread's first message; `failing` says which other channels fail, and why.
    """

    delivery_key: str
    kind: Kind
    subject: str
    title: str
    body: str
    facts: tuple[str, ...]
    console_url: str
    runbook_url: str | None
    planned_at: datetime
    root: str | None = None
    possible_repeat: bool = False
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Style:
    """Where the console is, and the zone of times."""

    console_url: str
    zone: ZoneInfo


def message(
    alert: Alert,
    *,
    kind: Kind,
    delivery_key: str,
    count: int,
    total: int,
    planned_at: datetime,
    style: Style,
    root: str | None = None,
    possible_repeat: bool = False,
    failing: Sequence[str] = (),
) -> Message:
    """The message of a delivery. alert: its newest one; count: alerts in it; total: FIRING rows so far."""
    severity = line(alert.severity, 20)
    place = _place(alert)
    time = f"{alert.alert_timestamp.astimezone(style.zone):%Y-%m-%d %H:%M:%S %Z}"
    if kind is Kind.RESOLVED:
        title = f"Resolved: {severity} {place}"
        facts = [time, f"open for {_span(alert.alert_timestamp - alert.starts_at)}", _alerts(total, "in all")]
    elif kind is Kind.MORE:
        title = f"{count} more {severity} {place}"
        facts = [f"newest {time}", _alerts(total, "so far")]
    else:
        title = f"{severity} {place}"
        facts = [time]
    facts.append(f"commit {line(alert.commit[:12], 12)}")
    incident = alert.incident_id
    return Message(
        delivery_key=delivery_key,
        kind=kind,
        subject=header_text(f"{severity} {place} [{incident[:8]}]", TITLE_LIMIT),
        title=capped(title, TITLE_LIMIT),
        body=_body(alert),
        facts=tuple(facts),
        console_url=f"{style.console_url}?tab=alerts&incident={quote(incident[:200], safe='', errors='replace')}",
        runbook_url=_web(alert.runbook_url),
        planned_at=planned_at,
        root=root,
        possible_repeat=possible_repeat,
        failing=tuple(line(sentence, 300) for sentence in failing),
    )


def as_slack(note: Message) -> tuple[str, list[dict[str, Any]]]:
    """Text (for notifications, and where blocks fail; to be sent with mrkdwn false) and blocks.

    Rich text, for Slack looks for no markup, mention or emoji in its text elements, and makes no links in them.
    """
    repeat = " (possible repeat)" if note.possible_repeat else ""
    facts = [_text(" · ".join(note.facts)), *_links(note)]
    blocks = [_rich(_text(note.title, bold=True), *([_text(repeat)] if repeat else [])), _rich(_text(note.body))]
    blocks += [_rich(_text(sentence)) for sentence in note.failing]
    lines = [f"{note.title}{repeat}", note.body, *note.failing, " · ".join(note.facts), *_addresses(note)]
    return slack_text("\n".join(lines), SLACK_TEXT_LIMIT), [*blocks, _rich(*facts)]


def as_email(note: Message) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    # The subject of a thread stays that of its first message, else mail programs split it.
    subject = header_text(f"Re: {note.subject}" if note.root else note.subject, TITLE_LIMIT + 10)
    text = "\n".join([note.title, "", note.body, "", *note.failing, " · ".join(note.facts), *_addresses(note), ""])
    anchors = [f'<a href="{escape(note.console_url)}">Open in the console</a>']
    if note.runbook_url:
        anchors.append(f'<a href="{escape(note.runbook_url)}">Runbook</a>')
    failing = "".join(f"<p>{escape(sentence)}</p>" for sentence in note.failing)
    html = (
        f"<p><strong>{escape(note.title)}</strong></p>"
        f'<p style="white-space: pre-wrap">{escape(note.body)}</p>{failing}'
        f"<p>{escape(' · '.join(note.facts))}<br>{' · '.join(anchors)}</p>"
    )
    return subject, text, html


def _place(alert: Alert) -> str:
    if alert.service_name is None:
        return f"from rule {line(alert.rule, NAME_LIMIT) or 'without a name'}"
    return f"in {line(alert.service_name, NAME_LIMIT) or 'a service without a name'}"


def _body(alert: Alert) -> str:
    texts = [alert.description.strip() or alert.summary or alert.alert_type]
    if alert.summary and alert.summary not in texts[0]:
        texts.append(alert.summary)
    body = "\n".join(texts)
    name = alert.service_name or ""
    if len(name) > NAME_LIMIT:
        # The first is the name; a message that says it again is the message.
        body = body.replace(name, line(name, NAME_LIMIT), 1)
    return plain(body, BODY_LIMIT)


def _addresses(note: Message) -> list[str]:
    """Links, for where only text is shown."""
    runbook = [f"Runbook: {note.runbook_url}"] if note.runbook_url else []
    return [f"Open in the console: {note.console_url}", *runbook]


def _links(note: Message) -> list[dict[str, Any]]:
    links = [_text(" · "), {"type": "link", "url": note.console_url, "text": "Open in the console"}]
    if note.runbook_url:
        links += [_text(" · "), {"type": "link", "url": note.runbook_url, "text": "Runbook"}]
    return links


def _rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    # An empty element is refused. unlink: an address in the data stays text.
    style = {"unlink": True, "bold": True} if bold else {"unlink": True}
    return {"type": "text", "text": text or " ", "style": style}


def _web(url: str | None) -> str | None:
    """A runbook's address if it is one of the web that cannot break out of a link, else None."""
    if not url or len(url) > URL_LIMIT or not url.isprintable() or any(mark in url for mark in ' <>|"\\'):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def _alerts(count: int, suffix: str) -> str:
    return f"{count:,} alert{'' if count == 1 else 's'} {suffix}"


def _span(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
