"""What the parts of the notifier speak of: alerts, deliveries and where they go. Nothing here asks or writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class MessageKind(StrEnum):
    """What a message says about its incident."""

    FIRST = "first"
    MORE = "more"
    RESOLVED = "resolved"


class DeliveryState(StrEnum):
    """Where a delivery stands: planned -> sending -> sent | unknown | retry | muted | dead."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    RETRY = "retry"
    MUTED = "muted"
    DEAD = "dead"


OPEN = (DeliveryState.PLANNED, DeliveryState.SENDING, DeliveryState.UNKNOWN, DeliveryState.RETRY)


class Muted(StrEnum):
    """Why a delivery is listed and not sent."""

    OLD = "old"
    NO_ROUTE = "no_route"
    NO_CHANNEL = "no_channel"
    MAINTENANCE = "maintenance"
    INHIBITED = "inhibited"
    MUTE_TIME = "mute_time"
    NOT_TOLD = "not_told"


PASSING = (Muted.MAINTENANCE, Muted.INHIBITED, Muted.MUTE_TIME)
"""What comes to an end: an incident that is still open then is told."""


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


@dataclass(frozen=True)
class Target:
    """A place of a channel: a conversation, or one recipient."""

    channel: str
    destination: str


NOBODY = Target("none", "")
"""Where alerts are planned while no channel is set up."""


@dataclass(frozen=True)
class Thread:
    """What the ledger knows of one incident at one target. `waiting`: the delivery that later alerts join.

    muted: the delivery that lists them, by reason and detail.
    """

    sequence: int = 0
    told: bool = False
    resolved: bool = False
    newest_ms: int | None = None
    waiting: str | None = None
    muted: Mapping[str, str] = field(default_factory=dict)


@dataclass
class DeliveryDraft:
    """A delivery to insert, or alerts to add to the one with this key. `alert_id` is its newest alert.

    interval_ms: the least time between two messages of its incident there. route: the names of the routes that it came
    by, the outermost first. detail: what mutes it, by its name.
    """

    key: str
    target: Target
    incident_id: str
    kind: MessageKind
    sequence: int
    alert_id: str
    alert_count: int
    not_before_ms: int
    interval_ms: int = 0
    muted: Muted | None = None
    detail: str | None = None
    route: str | None = None
    added: bool = False


def delivery_key(target: Target, incident_id: str, kind: MessageKind, sequence: int) -> str:
    """The same delivery has the same key, whoever plans it: 64 hex digits. `sequence` never counts attempts."""
    text = "\0".join((target.channel, target.destination, incident_id, kind, str(sequence)))
    return hashlib.sha256(text.encode()).hexdigest()
