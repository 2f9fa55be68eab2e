"""What a message says: neutral text from ledger rows, and its dress for Slack and email. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from notifier.policy import Alert, Kind

BODY_LIMIT = 1500
TITLE_LIMIT = 120
SLACK_BODY_LIMIT = 2800
"""Slack refuses a section over 3,000 characters; escaping makes & four longer."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_MENTION = re.compile(r"@(?=(channel|here|everyone)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """One message before it is dressed for a channel. `root` is the receipt of the thread's first message."""

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
) -> Message:
    """The message of a delivery. alert: its newest one; count: alerts in it; total: FIRING rows so far."""
    place = f"in {alert.service_name}" if alert.service_name else f"from rule {alert.rule}"
    time = f"{alert.alert_timestamp.astimezone(style.zone):%Y-%m-%d %H:%M:%S %Z}"
    if kind is Kind.RESOLVED:
        title = f"Resolved: {alert.severity} {place}"
        facts = [time, f"open for {_span(alert.alert_timestamp - alert.starts_at)}", _alerts(total, "in all")]
    elif kind is Kind.MORE:
        title = f"{count} more {alert.severity} {place}"
        facts = [f"newest {time}", _alerts(total, "so far")]
    else:
        title = f"{alert.severity} {place}"
        facts = [time]
    facts.append(f"commit {alert.commit[:12]}")
    body = alert.description.strip() or alert.summary or alert.alert_type
    if alert.summary and alert.summary not in body:
        body = f"{body}\n{alert.summary}"
    return Message(
        delivery_key=delivery_key,
        kind=kind,
        subject=_capped(_clean(f"{alert.severity} {place} [{alert.incident_id[:8]}]").replace("\n", " "), TITLE_LIMIT),
        title=_capped(_clean(title).replace("\n", " "), TITLE_LIMIT),
        body=_capped(_clean(body), BODY_LIMIT),
        facts=tuple(facts),
        console_url=f"{style.console_url}?tab=alerts&incident={quote(alert.incident_id, safe='')}",
        runbook_url=_web(alert.runbook_url),
        planned_at=planned_at,
        root=root,
        possible_repeat=possible_repeat,
    )


def as_slack(note: Message) -> tuple[str, list[dict[str, Any]]]:
    """Text (for notifications, and where blocks fail) and blocks."""
    repeat = " (possible repeat)" if note.possible_repeat else ""
    title = f"*{slack_text(note.title, 400)}*{repeat}"
    body = slack_text(note.body, SLACK_BODY_LIMIT)
    links = [f"<{slack_text(note.console_url, 1000)}|Open in the console>"]
    if note.runbook_url:
        links.append(f"<{slack_text(note.runbook_url, 1000)}|Runbook>")
    facts = " · ".join([*(slack_text(fact, 200) for fact in note.facts), *links])
    blocks = [_section(title), _section(body), {"type": "context", "elements": [_mrkdwn(facts)]}]
    return f"{title}\n{body}\n{facts}", blocks


def as_email(note: Message) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    # The subject of a thread stays that of its first message, else mail programs split it.
    subject = f"Re: {note.subject}" if note.root else note.subject
    links = [f"Open in the console: {note.console_url}"]
    if note.runbook_url:
        links.append(f"Runbook: {note.runbook_url}")
    text = "\n".join([note.title, "", note.body, "", " · ".join(note.facts), *links, ""])
    anchors = [f'<a href="{escape(note.console_url)}">Open in the console</a>']
    if note.runbook_url:
        anchors.append(f'<a href="{escape(note.runbook_url)}">Runbook</a>')
    html = (
        f"<p><strong>{escape(note.title)}</strong></p>"
        f'<p style="white-space: pre-wrap">{escape(note.body)}</p>'
        f"<p>{escape(' · '.join(note.facts))}<br>{' · '.join(anchors)}</p>"
    )
    return subject, text, html


def slack_text(text: str, limit: int) -> str:
    """Data as Slack text: & < > escaped, nobody mentioned, at most `limit` characters after that."""
    quiet = _MENTION.sub("@\u200b", text)
    out: list[str] = []
    left = limit - 1
    for character in quiet:
        piece = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        left -= len(piece)
        if left < 0:
            return "".join(out) + "…"
        out.append(piece)
    return "".join(out)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links and no mentions of what it finds in the data.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text.replace("\r\n", "\n"))


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _web(url: str | None) -> str | None:
    return url if url and re.fullmatch(r"https?://[^\s<>|\"]{1,900}", url) else None


def _alerts(count: int, suffix: str) -> str:
    return f"{count:,} alert{'' if count == 1 else 's'} {suffix}"


def _span(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
