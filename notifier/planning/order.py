"""Which alert comes first, and which is news of the past."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from notifier.model import AlertRow


def is_old(alert: AlertRow, max_age: timedelta, mute_before: datetime | None) -> bool:
    """Whether this alert tells of the past: it wakes nobody."""
    if alert.alert_timestamp < alert.received_at - max_age:
        return True
    return mute_before is not None and alert.ingested_at < mute_before


def in_order(alerts: Iterable[AlertRow]) -> list[AlertRow]:
    """As they were published; of one publish, what fires before what resolves."""
    return sorted(
        alerts, key=lambda row: (row.ingested_at, row.status == "RESOLVED", row.alert_timestamp, row.alert_id)
    )
