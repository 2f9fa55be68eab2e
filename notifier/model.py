"""What the parts of the notifier speak of: alerts, incidents, threads and deliveries. Nothing here asks or writes.

Times of the ledger are milliseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lakehouse.topics import choices_of

SEVERITIES = choices_of("errors_topic", "severity")
"""From the least to the worst, as the topic has them: the one place that says so."""
FATAL = SEVERITIES[-1]


def rank(severity: str) -> int:
    """How bad a severity is; what is none of ours, as bad as can be."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES) - 1


class MessageKind(StrEnum):
    """What a message says in its thread."""

    FIRST = "first"  # the root
    JOINED = "joined"  # another incident is part of the outage
    MORE = "more"  # more alerts of its incidents
    ESCALATED = "escalated"  # nobody has taken it for so long
    REMINDER = "reminder"  # it is open still
    TAKEN = "taken"  # for channels that call people: somebody has it
    CLEARED = "cleared"  # one of its incidents is over
    RESOLVED = "resolved"  # all of them are
    EDIT = "edit"  # the root as it is now


class DeliveryState(StrEnum):
    """Where a delivery stands: planned -> sending -> sent | unknown | retry | parked | muted | dead."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    RETRY = "retry"
    PARKED = "parked"
    MUTED = "muted"
    DEAD = "dead"


OPEN = (
    DeliveryState.PLANNED,
    DeliveryState.SENDING,
    DeliveryState.UNKNOWN,
    DeliveryState.RETRY,
    DeliveryState.PARKED,
)


class Muted(StrEnum):
    """Why a delivery is listed and not sent."""

    OLD = "old"
    NO_ROUTE = "no_route"
    NO_CHANNEL = "no_channel"
    MAINTENANCE = "maintenance"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    MUTE_TIME = "mute_time"
    NOT_TOLD = "not_told"
    TOLD_BY_END = "told_by_end"  # the message of the end tells it too
    UNTAKEN = "untaken"  # nobody has the rest of what the channel knows as one
    ENDED = "ended"  # while its channel was parked; a digest tells of it


class DeadReason(StrEnum):
    """Why a delivery will never be sent."""

    REFUSED = "refused"  # the other side will never take it
    GAVE_UP = "gave_up"  # it was tried for notifier.give_up


class Action(StrEnum):
    """What a person does."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    NOTED = "noted"
    ESCALATED = "escalated"
    SILENCED = "silenced"
    SILENCE_ENDED = "silence_ended"
    MARKED = "marked"
    RETRIED = "retried"


PASSING = (Muted.MAINTENANCE, Muted.SILENCED, Muted.INHIBITED, Muted.MUTE_TIME)
"""What comes to an end: an incident that is still open then is told."""


class AlertSource(StrEnum):
    """Where an alert comes from."""

    TABLE = "table"
    QUESTION = "question"  # of a rule that asks, judged here: it has no row in the table
    OWN = "own"  # the notifier's own: nothing can be judged, a channel is parked


@dataclass(frozen=True)
class AlertRow:
    """One row of the table alerts; `commit` is the one it was read at. Times are UTC."""

    alert_id: str
    incident_id: str
    alert_type: str
    rule: str
    severity: str
    status: str
    description: str
    alert_timestamp: datetime
    received_at: datetime
    ingested_at: datetime
    starts_at: datetime
    commit: str
    service_name: str | None = None
    summary: str | None = None
    runbook_url: str | None = None
    owner: str | None = None
    metric_value: float | None = None
    threshold: float | None = None
    source: AlertSource = AlertSource.TABLE

    @property
    def recurs(self) -> str:
        """What its rule says of whom: an incident of the same begins anew in a thread that has just ended."""
        return recurs_of(self.rule, self.service_name)


def recurs_of(rule: str, service_name: str | None) -> str:
    return f"{rule} {service_name or ''}"


@dataclass(frozen=True)
class Target:
    """A place of a channel: a conversation, or one recipient."""

    channel: str
    destination: str


NOBODY = Target("none", "")
"""Where alerts are planned while nobody is told of them."""


@dataclass(frozen=True)
class Ack:
    """Somebody has an incident, until a time; of severities above `severity` they do not know yet."""

    by: str
    via: str
    at_ms: int
    until_ms: int | None
    note: str
    severity: str


@dataclass
class Incident:
    """What is known of an incident. alerts: its FIRING rows; newest_alert: the newest of them.

    old: news of the past, that never fired. told_ms: when somebody was first told. level: steps of escalation that it
    has reached, counted from level_ms; next_ms: when to look for the next. revision: that of its last change.
    """

    incident_id: str
    rule: str
    severity: str
    service_name: str | None
    owner: str | None
    source: AlertSource
    starts_ms: int
    newest_ms: int
    newest_alert: str
    alerts: int = 0
    old: bool = False
    resolved_ms: int | None = None
    ack: Ack | None = None
    level: int = 0
    level_ms: int | None = None
    next_ms: int | None = None
    told_ms: int | None = None
    revision: int = 0


@dataclass(frozen=True)
class AskedState:
    """An entity of a rule that is pending or firing. entity: as the table rule_state names it.

    pending_ms: since when it was outside; inside_ms: since when a firing one was inside. It is firing while it has an
    incident; severity is the worst that was told of it.
    """

    rule: str
    entity: str
    pending_ms: int | None = None
    inside_ms: int | None = None
    incident_id: str | None = None
    starts_ms: int | None = None
    severity: str | None = None
    service_name: str | None = None
    owner: str | None = None


class ThreadKind(StrEnum):
    """What a thread tells of: the incidents of one group, or a storm of them."""

    GROUP = "group"
    STORM = "storm"


@dataclass
class Thread:
    """What was said of an outage at one place.

    fold: the kind of alert that began it; as_new_kind: it was let through a storm for that. recurs: rules and
    services of its incidents (see AlertRow.recurs). root: the receipt of its first message. newest_ms: when its newest
    message goes or went. interval_ms: between two of them.
    """

    thread_id: str
    target: Target
    group: str
    kind: ThreadKind
    fold: str
    severity: str
    opened_ms: int
    as_new_kind: bool = False
    sequence: int = 0
    open_members: int = 0
    all_members: int = 0
    recurs: set[str] = field(default_factory=set)
    newest_ms: int | None = None
    edited_ms: int | None = None
    resolved_ms: int | None = None
    root: str | None = None
    interval_ms: int = 0
    repeat_ms: int | None = None


@dataclass
class Member:
    """An incident at a place: the thread that tells of it, None while it is muted there.

    muted: the delivery that lists its muted alerts, by reason; of NOT_TOLD, the first message that died with it in its
    thread. over: its end was told.
    """

    incident_id: str
    target: Target
    thread_id: str | None = None
    route: str = ""
    since_ms: int = 0
    over: bool = False
    muted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """An incident in a thread, its newest alert, when it joined, and whether its end was told there."""

    incident: Incident
    alert: AlertRow
    since_ms: int
    over: bool

    @property
    def key(self) -> str:
        return self.incident.incident_id


BY_HAND = "by hand"
"""The detail of a message that somebody asked for: nothing mutes it."""


@dataclass
class DeliveryDraft:
    """A delivery to insert, or alerts to add to the one with this key. `alert_id` is its newest alert.

    route: the names of the routes that it came by, the outermost first. detail: what mutes it, by its name; of a
    first message, or one that nobody has it, the step of escalation that it is sent by, or BY_HAND. broadcast: to be
    seen outside of its thread too. look_up: it may have been told before, by a ledger that is gone.
    """

    key: str
    target: Target
    incident_id: str
    kind: MessageKind
    sequence: int
    alert_id: str
    alert_count: int
    not_before_ms: int
    thread_id: str | None = None
    muted: Muted | None = None
    detail: str | None = None
    route: str | None = None
    broadcast: bool = False
    look_up: bool = False
    added: bool = False


def thread_key(target: Target, group: str, incident_id: str) -> str:
    """The same thread has the same key, whoever plans it: 64 hex digits. incident_id: of the one it begins with."""
    return _digest(target.channel, target.destination, group, incident_id)


def delivery_key(target: Target, thread_id: str, kind: MessageKind, sequence: int) -> str:
    """The same delivery has the same key, whoever plans it: 64 hex digits. `sequence` never counts attempts."""
    return _digest(target.channel, target.destination, thread_id, kind, str(sequence))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
