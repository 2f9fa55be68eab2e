"""A row of the table alerts, and its ids, which are the same after any replay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

# Never changes: every id hangs on it.
NAMESPACE = UUID("7d0f4c1e-52f5-5a0b-9d0c-8a1c0f6f2b77")


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of alerts, in the table's order of columns; the publish adds ingested_at."""

    alert_id: str
    alert_type: str
    description: str
    alert_timestamp: datetime
    metric_value: float
    status: Literal["FIRING", "RESOLVED"]
    incident_id: str
    starts_at: datetime
    rule: str
    severity: str
    service_name: str | None
    threshold: float | None
    summary: str | None
    runbook_url: str | None
    owner: str | None
    received_at: datetime

    def row(self) -> dict[str, Any]:
        """By column. Not dataclasses.asdict: its copies in depth were half of the time that a storm's publish took."""
        return {name: getattr(self, name) for name in self.__slots__}


def stable_id(*parts: str | datetime) -> str:
    """The uuid5 of the parts, whatever they hold; times to the microsecond, in UTC."""
    texts = [
        part.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(part, datetime) else part
        for part in parts
    ]
    return str(uuid5(NAMESPACE, json.dumps(texts)))


def is_old(alert_timestamp: datetime, received_at: datetime, max_age: timedelta) -> bool:
    """Whether a FIRING row tells of the past: it opens and joins no live incident and wakes nobody.

    Counted from when the log received it, not from its ingestion: after an outage of the pipeline it is still news.
    """
    return received_at - alert_timestamp > max_age
