"""Incidents from the facts in alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def incidents_of(rows: Iterable[Mapping[str, Any]], max_age: timedelta) -> list[ListedIncident]:
    """Incidents from the rows of `incidents`, in order."""
    return in_order(_incident(row, max_age) for row in rows)


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
