"""What becomes of an alert: pure functions from rows and what was sent to planned deliveries. No clock, no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

HORIZON_MS = 600_000
"""No wait is longer, in ms; see Ledger.due."""
SWEEP_BACK = timedelta(days=1)
"""How far behind the cursor a sweep looks."""


class Kind(StrEnum):
    """What a message says about its incident."""

    FIRST = "first"
    MORE = "more"
    RESOLVED = "resolved"


class State(StrEnum):
    """Where a delivery stands: planned -> sending -> sent | unknown | retry | muted | dead."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    RETRY = "retry"
    MUTED = "muted"
    DEAD = "dead"


OPEN = (State.PLANNED, State.SENDING, State.UNKNOWN, State.RETRY)


class Muted(StrEnum):
    """Why a delivery is listed and not sent."""

    OLD = "old"
    NO_CHANNEL = "no_channel"
    NOT_TOLD = "not_told"
    SEVERITY = "severity"


@dataclass(frozen=True)
class Alert:
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
    metric_value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Target:
    """A place of a channel: Slack's channel id, or one recipient."""

    channel: str
    destination: str


NOBODY = Target("none", "")
"""Where alerts are planned while no channel is set up."""


@dataclass(frozen=True)
class Thread:
    """What the ledger knows of one incident at one target."""

    sequence: int = 0
    told: bool = False
    resolved: bool = False
    newest_ms: int | None = None
    waiting: str | None = None
    muted: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Draft:
    """A delivery to insert, or alerts to add to the one with this key. `alert_id` is its newest alert."""

    key: str
    target: Target
    incident_id: str
    kind: Kind
    sequence: int
    alert_id: str
    alert_count: int
    not_before_ms: int
    muted: Muted | None = None
    added: bool = False


def delivery_key(target: Target, incident_id: str, kind: Kind, sequence: int) -> str:
    """The same delivery has the same key, whoever plans it: 64 hex digits. `sequence` never counts attempts."""
    text = "\0".join((target.channel, target.destination, incident_id, kind, str(sequence)))
    return hashlib.sha256(text.encode()).hexdigest()


def reason_to_mute(alert: Alert, max_age: timedelta, mute_before: datetime | None) -> Muted | None:
    """Why this alert wakes nobody, or None."""
    if alert.alert_timestamp < alert.received_at - max_age:
        return Muted.OLD
    if mute_before is not None and alert.ingested_at < mute_before:
        return Muted.OLD
    return None


def in_order(alerts: Iterable[Alert]) -> list[Alert]:
    """As they were published; of one publish, what fires before what resolves."""
    return sorted(
        alerts, key=lambda row: (row.ingested_at, row.status == "RESOLVED", row.alert_timestamp, row.alert_id)
    )


def plan(
    alerts: Sequence[Alert],
    targets: Mapping[str, Sequence[Target]],
    threads: Mapping[tuple[str, Target], Thread],
    now_ms: int,
    *,
    max_age: timedelta,
    gather: timedelta,
    mute_before: datetime | None,
) -> list[Draft]:
    """The deliveries that new alerts call for.

    alerts: in order, none of them planned before. targets: by severity. threads: what is known of their incidents.

    1. A RESOLVED row goes once to each target that was told of its incident, and to nobody else.
    2. Another row that is old, or has no target or a severity of no route, is listed as muted: one delivery for each
       incident and reason.
    3. An incident's first other row goes at once.
    4. Later ones join the message that waits, or make one that waits until `gather` after the newest.
    """
    drafts: dict[str, Draft] = {}
    book = _Book(dict(threads), drafts, now_ms, int(gather.total_seconds() * 1000))
    for alert in alerts:
        if alert.status == "RESOLVED":
            for target in book.told(alert.incident_id):
                book.resolve(alert, target)
            continue
        muted = reason_to_mute(alert, max_age, mute_before)
        routed = targets.get(alert.severity, ())
        if not routed:
            # Routed severities are all there, with an empty list while no channel is set up.
            book.mute(alert, NOBODY, muted or (Muted.NO_CHANNEL if alert.severity in targets else Muted.SEVERITY))
        for target in routed:
            if muted:
                book.mute(alert, target, muted)
            else:
                book.tell(alert, target)
    return list(drafts.values())


@dataclass
class _Book:
    threads: dict[tuple[str, Target], Thread]
    drafts: dict[str, Draft]
    now_ms: int
    gather_ms: int

    def told(self, incident_id: str) -> list[Target]:
        return [
            target for (incident, target), thread in self.threads.items() if incident == incident_id and thread.told
        ]

    def resolve(self, alert: Alert, target: Target) -> None:
        thread = self._thread(alert, target)
        if not thread.resolved:
            self._new(alert, target, Kind.RESOLVED, self.now_ms, told=True, resolved=True, waiting=None)

    def mute(self, alert: Alert, target: Target, reason: Muted) -> None:
        thread = self._thread(alert, target)
        held = thread.muted.get(reason)
        if held:
            self._add(held, alert, target, Kind.FIRST)
            return
        key = self._new(alert, target, Kind.FIRST, self.now_ms, muted=reason)
        now = self._thread(alert, target)
        self._set(alert, target, now, muted={**now.muted, reason: key})

    def tell(self, alert: Alert, target: Target) -> None:
        thread = self._thread(alert, target)
        if not thread.told:
            self._new(alert, target, Kind.FIRST, self.now_ms, told=True, newest_ms=self.now_ms)
        elif thread.waiting:
            self._add(thread.waiting, alert, target, Kind.MORE)
        else:
            due = max(self.now_ms, (thread.newest_ms or self.now_ms) + self.gather_ms)
            key = self._new(alert, target, Kind.MORE, due, newest_ms=due)
            self._set(alert, target, self._thread(alert, target), waiting=key)

    def _new(
        self, alert: Alert, target: Target, kind: Kind, due_ms: int, muted: Muted | None = None, **changes: Any
    ) -> str:
        thread = self._thread(alert, target)
        sequence = thread.sequence + 1
        key = delivery_key(target, alert.incident_id, kind, sequence)
        self.drafts[key] = Draft(key, target, alert.incident_id, kind, sequence, alert.alert_id, 1, due_ms, muted)
        self._set(alert, target, thread, sequence=sequence, **changes)
        return key

    def _add(self, key: str, alert: Alert, target: Target, kind: Kind) -> None:
        draft = self.drafts.get(key)
        if draft is None:
            self.drafts[key] = Draft(key, target, alert.incident_id, kind, 0, alert.alert_id, 1, 0, added=True)
        else:
            draft.alert_id = alert.alert_id
            draft.alert_count += 1

    def _thread(self, alert: Alert, target: Target) -> Thread:
        return self.threads.get((alert.incident_id, target), Thread())

    def _set(self, alert: Alert, target: Target, thread: Thread, **changes: Any) -> None:
        self.threads[(alert.incident_id, target)] = replace(thread, **changes)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, cut, as readers get them."""
    return (moment - _EPOCH) // _MS


def span_ms(span: timedelta) -> int:
    """A span in whole milliseconds."""
    return span // _MS


def from_ms(ms: int) -> datetime:
    return _EPOCH + ms * _MS


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
