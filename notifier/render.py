"""What a message says: neutral text from ledger rows, and the forms that channels send. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from notifier.model import AlertRow, MessageKind
from notifier.text import capped, header_text, line, plain

BODY_LIMIT = 1500
TITLE_LIMIT = 120
NAME_LIMIT = 60
"""A longer name of a service or rule is cut, in what the alert says too: the message matters more."""
URL_LIMIT = 900


@dataclass(frozen=True)
class Notification:
    """One message before a channel dresses it, of text that went through notifier.text.

    `root` is the receipt of the thread's first message; `failing` says which other channels fail, and why.
    """

    delivery_key: str
    kind: MessageKind
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

    @property
    def repeat(self) -> str:
        """What follows the title of a message that may have come before."""
        return " (possible repeat)" if self.possible_repeat else ""

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Text and address of each link."""
        console = ("Open in the console", self.console_url)
        return (console, ("Runbook", self.runbook_url)) if self.runbook_url else (console,)


@dataclass(frozen=True)
class Style:
    """Where the console is, and the zone of times."""

    console_url: str
    zone: ZoneInfo


def notification(
    alert: AlertRow,
    *,
    kind: MessageKind,
    delivery_key: str,
    count: int,
    total: int,
    planned_at: datetime,
    style: Style,
    root: str | None = None,
    possible_repeat: bool = False,
    failing: Sequence[str] = (),
) -> Notification:
    """The message of a delivery. alert: its newest one; count: alerts in it; total: FIRING rows so far."""
    severity = line(alert.severity, 20)
    place = _place(alert)
    time = f"{alert.alert_timestamp.astimezone(style.zone):%Y-%m-%d %H:%M:%S %Z}"
    if kind is MessageKind.RESOLVED:
        title = f"Resolved: {severity} {place}"
        facts = [time, f"open for {_span(alert.alert_timestamp - alert.starts_at)}", _alerts(total, "in all")]
    elif kind is MessageKind.MORE:
        title = f"{count} more {severity} {place}"
        facts = [f"newest {time}", _alerts(total, "so far")]
    else:
        title = f"{severity} {place}"
        facts = [time]
    facts.append(f"commit {line(alert.commit[:12], 12)}")
    incident = alert.incident_id
    return Notification(
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


def as_text(note: Notification, between: str = "\n\n") -> str:
    """The message as plain text. between: what stands between title, body and the rest."""
    rest = [*note.failing, " · ".join(note.facts), *(f"{text}: {url}" for text, url in note.links)]
    return between.join([f"{note.title}{note.repeat}", note.body, "\n".join(rest)])


def as_html(note: Notification) -> str:
    """The message as HTML."""
    anchors = [f'<a href="{escape(url)}">{text}</a>' for text, url in note.links]
    failing = "".join(f"<p>{escape(sentence)}</p>" for sentence in note.failing)
    return (
        f"<p><strong>{escape(note.title)}</strong>{note.repeat}</p>"
        f'<p style="white-space: pre-wrap">{escape(note.body)}</p>{failing}'
        f"<p>{escape(' · '.join(note.facts))}<br>{' · '.join(anchors)}</p>"
    )


def _place(alert: AlertRow) -> str:
    if alert.service_name is None:
        return f"from rule {line(alert.rule, NAME_LIMIT) or 'without a name'}"
    return f"in {line(alert.service_name, NAME_LIMIT) or 'a service without a name'}"


def _body(alert: AlertRow) -> str:
    texts = [alert.description.strip() or alert.summary or alert.alert_type]
    if alert.summary and alert.summary not in texts[0]:
        texts.append(alert.summary)
    body = "\n".join(texts)
    name = alert.service_name or ""
    if len(name) > NAME_LIMIT:
        # The first is the name; a message that says it again is the message.
        body = body.replace(name, line(name, NAME_LIMIT), 1)
    return plain(body, BODY_LIMIT)


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
