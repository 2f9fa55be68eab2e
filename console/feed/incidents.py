"""Incidents from the facts in alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from console.choices import SEVERITIES


@dataclass(frozen=True)
class ListedIncident:
    """Alert rows of one rule and entity until it resolves. `resolved_at` is None while it is open, and for an old one,
    which was over before it came in. Times are UTC."""

    incident_id: str
    rule: str
    service_name: str
    severity: str
    description: str
    state: Literal["open", "resolved", "old"]
    firings: int
    starts_at: datetime
    newest_at: datetime
    resolved_at: datetime | None
    touched_at: datetime
    runbook_url: str
    threshold: float | None = None
    """The limit that its newest alert was over, or under."""
    asked: bool = False
    """Whether it is of a rule that asks, and known from the notifier alone."""
    unread: bool = False
    """Whether its alerts were not read: it is known from where its rule stands. It has neither words nor firings."""


def incidents_of(rows: Iterable[Mapping[str, Any]], max_age: timedelta) -> list[ListedIncident]:
    """Incidents from the rows of `incidents`, in order."""
    return in_order(_incident(row, max_age) for row in rows)


def standing_of(rows: Iterable[Mapping[str, Any]]) -> list[ListedIncident]:
    """Incidents from the rows of `open_incidents`, in order."""
    return in_order(_standing(row) for row in rows)


def count_open(incidents: Sequence[ListedIncident], rows: Sequence[Mapping[str, Any]], most: int) -> int:
    """How many are open: of those that are known, or where the rows of `open_incidents` are cut at `most`, of all."""
    known = [one for one in incidents if one.state == "open"]
    if len(rows) < most:
        return len(known)
    # Those of rules that ask have no row there.
    return max(len(known), int(rows[0]["open_count"]) + sum(one.asked for one in known))


def in_order(incidents: Iterable[ListedIncident]) -> list[ListedIncident]:
    """Open ones first, FATAL above ERROR among them; then the last touched."""
    return sorted(incidents, key=_order)


def _order(incident: ListedIncident) -> tuple[bool, int, float]:
    is_open = incident.state == "open"
    severity = incident.severity.upper()
    # How bad it was no longer matters once it is over.
    mildness = -SEVERITIES.index(severity) if is_open and severity in SEVERITIES else 0
    return (not is_open, mildness, -incident.touched_at.timestamp())


def _incident(row: Mapping[str, Any], max_age: timedelta) -> ListedIncident:
    # A RESOLVED row alone: its FIRING rows lie before the range.
    newest = row["newest_at"] or row["resolved_at"]
    received = row["newest_received_at"]
    old = received is not None and received - newest > max_age
    state: Literal["open", "resolved", "old"] = "old" if old else "resolved" if row["resolved_at"] else "open"
    return ListedIncident(
        incident_id=row["incident_id"],
        rule=row["rule"],
        service_name=row["service_name"] or "",
        severity=row["severity"] or "",
        description=row["description"] or row["rule"],
        state=state,
        firings=int(row["firings"]),
        starts_at=row["starts_at"],
        newest_at=newest,
        resolved_at=row["resolved_at"],
        touched_at=row["touched_at"],
        runbook_url=row["runbook_url"] or "",
        threshold=row.get("threshold"),
    )


def _standing(row: Mapping[str, Any]) -> ListedIncident:
    newest = row["newest_received_at"] or row["starts_at"]
    return ListedIncident(
        incident_id=row["incident_id"],
        rule=row["rule"],
        service_name=row["service_name"] or "",
        severity=row["severity"] or "",
        description=row["rule"],
        state="open",
        firings=0,
        starts_at=row["starts_at"],
        newest_at=newest,
        resolved_at=None,
        touched_at=newest,
        runbook_url="",
        unread=True,
    )
