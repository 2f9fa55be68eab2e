"""Reading new alerts: by ingested_at of the table, never by the notifier's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from lakehouse.dremio import NOTHING_PUBLISHED
from notifier.policy import Alert

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_START_AGE = timedelta(hours=1)
"""On an empty ledger, what was published longer ago than this wakes nobody."""

_TEXTS = ("service_name", "summary", "runbook_url")
_NEEDED = ("alert_id", "incident_id", "alert_timestamp", "received_at", "ingested_at")


class Reader(Protocol):
    """The part of lakehouse.dremio.Dremio that is used here."""

    def head(self) -> str: ...

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table: ...


def something_published(commit: str) -> bool:
    return commit != NOTHING_PUBLISHED


def rows_since(reader: Reader, commit: str, since: datetime | None) -> pa.Table:
    """Alerts published at or after `since` (None: ever), as the commit shows them."""
    return reader.ask("alerts_since", commit=commit, since=since or BEGINNING)


def mute_before(reader: Reader, commit: str, newest: datetime) -> datetime:
    """On an empty ledger: what was published before this is listed only. `newest` is the newest alert's ingested_at."""
    as_of = reader.ask("as_of", commit=commit)["as_of"].to_pylist()
    now: datetime = max([newest, *(moment for moment in as_of if moment is not None)])
    return now - FIRST_START_AGE


def to_alert(row: dict[str, Any], commit: str) -> Alert | None:
    """An alert from a row, or None when it lacks what a message cannot do without."""
    if any(row.get(name) in (None, "") for name in _NEEDED):
        return None
    return Alert(
        alert_id=str(row["alert_id"]),
        incident_id=str(row["incident_id"]),
        alert_type=str(row.get("alert_type") or ""),
        rule=str(row.get("rule") or "unnamed"),
        severity=str(row.get("severity") or "FATAL"),
        status=str(row.get("status") or "FIRING"),
        description=str(row.get("description") or ""),
        alert_timestamp=row["alert_timestamp"],
        received_at=row["received_at"],
        ingested_at=row["ingested_at"],
        starts_at=row.get("starts_at") or row["alert_timestamp"],
        commit=commit,
        metric_value=row.get("metric_value"),
        threshold=row.get("threshold"),
        **{name: row.get(name) or None for name in _TEXTS},
    )
