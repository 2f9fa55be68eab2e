"""What a message says: neutral text from ledger rows, and the forms that channels send. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import escape
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from notifier import own
from notifier.clock import from_ms, to_ms
from notifier.ledger.rows import Delivery
from notifier.ledger.views import ThreadView
from notifier.model import AlertRow, AlertSource, Incident, MessageKind, ThreadKind
from notifier.text import capped, header_text, line, plain

BODY_LIMIT = 1500
TITLE_LIMIT = 120
NAME_LIMIT = 60
"""A longer name of a service or rule is cut, in what the alert says too: the message matters more."""
URL_LIMIT = 900
BEFORE_MS, AFTER_MS = 1_800_000, 300_000
"""What a link shows before an outage began, and after now."""
SERVICES = 5
"""Services that the first message of a storm names."""


class When(str):
    """A moment in the zone of messages, after a word; `at` is for channels that know their reader's own zone."""

    before: str
    at: datetime

    def __new__(cls, before: str, at: datetime, zone: ZoneInfo) -> When:
        made = super().__new__(cls, f"{before}{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}")
        made.before, made.at = before, at
        return made


@dataclass(frozen=True)
class ToldIncident:
    """One of the incidents that a message tells of: `alert` is its newest, `incident` what became of it."""

    incident: Incident
    alert: AlertRow
    url: str
    runbook_url: str | None


@dataclass(frozen=True)
class Notification:
    """One message before a channel dresses it, of text that went through notifier.text.

    thread_id: the same for all messages of a thread; group: what its incidents have in common. root: the receipt of its
    first one; None: this is it. edits: this takes the place of the root. status: FIRING or RESOLVED, of the thread.
    usual: how much against what is usual, and bars, the last half hour of it, empty where that is not known. changes:
    what was done lately. failing: which other channels fail, and why. told: the incidents of the thread, the worst
    first; left_out: how many more there are. taken_by: who has some of them; untaken: how many nobody has. facts: some
    are moments (When).
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
    thread_id: str = ""
    group: str = ""
    status: str = "FIRING"
    severity: str = "FATAL"
    taken_by: tuple[str, ...] = ()
    untaken: int = 0
    root: str | None = None
    edits: bool = False
    broadcast: bool = False
    possible_repeat: bool = False
    usual: str = ""
    bars: str = ""
    changes: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    told: tuple[ToldIncident, ...] = ()
    left_out: int = 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What stands between body and facts, a line each."""
        return tuple(filter(None, (self.usual, self.bars, *self.changes, *self.failing)))

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
    delivery: Delivery,
    alert: AlertRow,
    view: ThreadView,
    style: Style,
    now_ms: int,
    failing: Sequence[str] = (),
) -> Notification:
    """The message of a delivery. alert: its newest one; view: its thread as it is now."""
    thread = view.thread
    # A thread without a first message, and an edit, say all there is to say of it.
    is_root = thread.root is None or delivery.kind is MessageKind.EDIT
    over = view.open == 0
    title = _root_title(delivery, alert, view, now_ms) if is_root else _title(delivery, alert, view, now_ms)
    facts = _root_facts(alert, view, style, now_ms) if is_root else _facts(delivery, alert, view, style)
    state = "RESOLVED" if over else "FIRING"
    return Notification(
        delivery_key=delivery.delivery_key,
        kind=delivery.kind,
        thread_id=thread.thread_id,
        group=line(thread.group, 200),
        status=state,
        severity=line(view.severity, 20),
        taken_by=tuple(line(name, NAME_LIMIT) for name in view.taken_by),
        untaken=view.untaken,
        subject=header_text(f"{state} {_place(alert, view)} [{thread.thread_id[:8]}]", TITLE_LIMIT),
        title=capped(title + _late(delivery, alert, now_ms), TITLE_LIMIT),
        body=_body(alert, view) if is_root else _text_of(alert) if delivery.kind in _BARE else _told(alert),
        facts=tuple(facts),
        console_url=_link(alert, view, style, now_ms),
        runbook_url=_web(alert.runbook_url),
        planned_at=from_ms(delivery.planned_ms),
        root=None if is_root and delivery.kind is not MessageKind.EDIT else thread.root,
        edits=delivery.kind is MessageKind.EDIT and thread.root is not None,
        broadcast=delivery.broadcast,
        possible_repeat=delivery.possible_repeat,
        changes=tuple(_changes(view, style)) if is_root else (),
        failing=tuple(line(sentence, 300) for sentence in failing),
        told=tuple(_each(view, style, now_ms)),
        left_out=view.open + view.over - len(view.incidents),
    )


_BARE = (MessageKind.RESOLVED, MessageKind.CLEARED, MessageKind.REMINDER, MessageKind.ESCALATED)
LATE_MS = 60_000


def _late(delivery: Delivery, alert: AlertRow, now_ms: int) -> str:
    """How long after its publish an alert is told, where that is long."""
    late_ms = now_ms - to_ms(alert.ingested_at)
    tells = delivery.kind in (MessageKind.FIRST, MessageKind.JOINED) and not delivery.detail
    return f" (late: {_span_ms(late_ms)})" if tells and late_ms > LATE_MS else ""


_OWN = {
    own.DATA: ("No alerts can be judged", "Alerts are judged again"),
    own.CHANNEL: ("A channel has to be mended", "A channel is mended"),
    own.GIVEN_UP: ("A message was given up", "Messages are taken again"),
    own.MISSED: ("What was missed here", "What was missed here"),
    own.QUESTION: ("A rule cannot be judged", "A rule is judged again"),
}
"""While it is so, and after it."""


def _root_title(delivery: Delivery, alert: AlertRow, view: ThreadView, now_ms: int) -> str:
    place = _place(alert, view)
    if alert.source is AlertSource.OWN:
        return _OWN[alert.rule][view.open == 0]
    if view.open == 0 and view.over:
        return f"Resolved: {place}"
    if view.thread.kind is ThreadKind.STORM:
        return f"Storm: {_count(view.open, 'incident')} open, {place}"
    if delivery.kind is MessageKind.FIRST and delivery.detail:
        return f"{_untaken(view, now_ms)}: {place}{_incidents(view.open)}"
    return f"{place}{_incidents(view.open)}"


def _untaken(view: ThreadView, now_ms: int) -> str:
    free = [each for each in view.incidents if each.resolved_ms is None and each.ack is None]
    since_ms = min((each.level_ms for each in free if each.level_ms), default=view.thread.opened_ms)
    return f"Nobody has taken it for {_span_ms(now_ms - since_ms)}"


def _incidents(count: int) -> str:
    return f" · {_count(count, 'incident')}" if count > 1 else ""


def _title(delivery: Delivery, alert: AlertRow, view: ThreadView, now_ms: int) -> str:
    """Of a message below the root."""
    one = _one(alert)
    match delivery.kind:
        case MessageKind.JOINED:
            return f"Also {one}: {line(alert.rule, NAME_LIMIT)}"
        case MessageKind.MORE if view.thread.kind is ThreadKind.STORM:
            return _root_title(delivery, alert, view, now_ms)
        case MessageKind.MORE:
            return f"{delivery.alert_count} more {one}"
        case MessageKind.CLEARED:
            what = f"{one}: {line(alert.rule, NAME_LIMIT)}"
            what = what if delivery.alert_count == 1 else _count(delivery.alert_count, "incident")
            return f"Resolved: {what}; {view.open} still open"
        case MessageKind.RESOLVED if alert.source is AlertSource.OWN:
            return _OWN[alert.rule][True]
        case MessageKind.RESOLVED:
            return f"Resolved: {_place(alert, view)}"
        case MessageKind.REMINDER:
            return f"Still open after {_span_ms(now_ms - view.starts_ms)}: {_place(alert, view)}"
        case MessageKind.ESCALATED:
            return f"{_untaken(view, now_ms)}: {one}"
    return one


def _facts(delivery: Delivery, alert: AlertRow, view: ThreadView, style: Style) -> list[str]:
    """Below the title of a message below the root."""
    facts: list[str] = [When("", alert.alert_timestamp, style.zone)]
    match delivery.kind:
        case MessageKind.RESOLVED | MessageKind.CLEARED:
            facts.append(f"open for {_span(alert.alert_timestamp - alert.starts_at)}")
            if delivery.kind is MessageKind.RESOLVED:
                facts.append(_alerts(view.alerts, "in all"))
        case MessageKind.MORE:
            facts = [When("newest ", alert.alert_timestamp, style.zone), _alerts(view.alerts, "so far")]
    return [*facts, *_whose(alert), _commit(alert)]


def _root_facts(alert: AlertRow, view: ThreadView, style: Style, now_ms: int) -> list[str]:
    """What the root says of its thread."""
    since = from_ms(view.starts_ms)
    facts: list[str] = [When("since ", since, style.zone)]
    if view.open == 0 and view.over:
        open_ms = (view.thread.resolved_ms or now_ms) - view.starts_ms
        facts = [When("", since, style.zone), f"open for {_span_ms(open_ms)}"]
    facts.append(_alerts(view.alerts, "in all" if view.open == 0 else "so far"))
    if view.thread.kind is ThreadKind.STORM:
        named = ", ".join(f"{line(name, NAME_LIMIT)} {count}" for name, count in view.by_service[:SERVICES])
        more = len(view.by_service) - SERVICES
        facts.append(named + (f" and {more} more" if more > 0 else ""))
    level = max((each.level for each in view.incidents if each.resolved_ms is None), default=0)
    if level and view.untaken:
        facts.append(f"escalated, step {level}")
    if view.hush:
        part = "" if view.hush.count == view.open else f"{view.hush.count} of {view.open} "
        names = ", ".join(line(name, NAME_LIMIT) for name in view.hush.by)
        facts.append(When(f"{part}silenced by {names} until ", from_ms(view.hush.until_ms), style.zone))
    if view.taken_by:
        facts.append(f"taken by {', '.join(line(name, NAME_LIMIT) for name in view.taken_by)}")
    return [*facts, *_whose(alert), _commit(alert)]


def _whose(alert: AlertRow) -> list[str]:
    return [f"owner {line(alert.owner, NAME_LIMIT)}"] if alert.owner else []


def _commit(alert: AlertRow) -> str:
    return f"commit {line(alert.commit[:12], 12)}"


def _link(alert: AlertRow, view: ThreadView, style: Style, now_ms: int) -> str:
    """The console at the incident, and at this moment: never at a commit, which does not last."""
    incident = quote(alert.incident_id[:200], safe="", errors="replace")
    since, until = from_ms(view.starts_ms - BEFORE_MS), from_ms(max(now_ms, view.starts_ms) + AFTER_MS)
    at = from_ms(now_ms)
    span = f"from={_iso(since)}&to={_iso(until)}&at={_iso(at)}"
    return f"{style.console_url}?tab=alerts&incident={incident}&{span}"


def _iso(moment: datetime) -> str:
    # Not with colons, which could be taken for those of an emoji's name.
    return f"{moment:%Y-%m-%dT%H%%3A%M%%3A%SZ}"


def _each(view: ThreadView, style: Style, now_ms: int) -> Iterator[ToldIncident]:
    for incident in view.incidents:
        alert = view.newest.get(incident.incident_id)
        if alert is not None:
            yield ToldIncident(incident, alert, _link(alert, view, style, now_ms), _web(alert.runbook_url))


def _changes(view: ThreadView, style: Style) -> Iterator[str]:
    """What was done lately, before it began or since."""
    for mark in view.changes:
        apart = _span_ms(abs(view.starts_ms - mark.at_ms))
        when = f"{apart} {'before' if mark.at_ms <= view.starts_ms else 'after it began'}"
        yield f"Changed: {line(mark.text, 120)} ({line(mark.who, NAME_LIMIT)}, {when})"


def as_text(note: Notification, between: str = "\n\n") -> str:
    """The message as plain text. between: what stands between title, body and the rest."""
    rest = [*note.sentences, " · ".join(note.facts), *(f"{text}: {url}" for text, url in note.links)]
    return between.join([f"{note.title}{note.repeat}", note.body, "\n".join(rest)])


def as_html(note: Notification) -> str:
    """The message as HTML."""
    anchors = [f'<a href="{escape(url)}">{text}</a>' for text, url in note.links]
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in note.sentences)
    return (
        f"<p><strong>{escape(note.title)}</strong>{note.repeat}</p>"
        f'<p style="white-space: pre-wrap">{escape(note.body)}</p>{sentences}'
        f"<p>{escape(' · '.join(note.facts))}<br>{' · '.join(anchors)}</p>"
    )


def _one(alert: AlertRow) -> str:
    """An incident in a few words."""
    severity = line(alert.severity, 20)
    if alert.service_name is None:
        return f"{severity} from rule {line(alert.rule, NAME_LIMIT) or 'without a name'}"
    return f"{severity} in {line(alert.service_name, NAME_LIMIT) or 'a service without a name'}"


def _place(alert: AlertRow, view: ThreadView) -> str:
    """The thread in a few words."""
    if view.thread.kind is ThreadKind.STORM:
        return f"{line(view.severity, 20)} in {_count(len(view.by_service), 'service')}"
    return _one(replace(alert, severity=view.severity or alert.severity))


def _text_of(alert: AlertRow) -> str:
    return plain(alert.description.strip() or alert.summary or alert.alert_type, BODY_LIMIT)


def _body(alert: AlertRow, view: ThreadView) -> str:
    """What the alerts say: the newest at length, of the others the rule and how many there are."""
    if view.thread.kind is ThreadKind.STORM or len(view.incidents) <= 1:
        return _told(alert)
    others = []
    for incident in view.incidents:
        suffix = "so far" if incident.resolved_ms is None else "in all"
        others.append(f"{line(incident.rule, NAME_LIMIT)}: {_alerts(incident.alerts, suffix)}")
    return plain("\n".join([_told(alert), *others]), BODY_LIMIT)


def _told(alert: AlertRow) -> str:
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
    return f"{_count(count, 'alert')} {suffix}"


def _count(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _span_ms(ms: int) -> str:
    return _span(timedelta(milliseconds=ms))


def _span(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
