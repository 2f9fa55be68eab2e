"""Reading new alerts: by ingested_at of the table, never by the notifier's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from lakehouse.dremio import NOTHING_PUBLISHED
from notifier.policy import Alert, from_ms

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
    """Alerts published at or after `since` (None: ever), as the commit shows them; times in ms since the epoch."""
    return _in_ms(reader.ask("alerts_since", commit=commit, since=since or BEGINNING))


def mute_before(reader: Reader, commit: str, newest: datetime) -> datetime:
    """On an empty ledger: what was published before this is listed only. `newest` is the newest alert's ingested_at."""
    as_of = _in_ms(reader.ask("as_of", commit=commit))["as_of"].to_pylist()
    return max([newest, *(from_ms(ms) for ms in as_of if ms is not None)]) - FIRST_START_AGE


def _in_ms(rows: pa.Table) -> pa.Table:
    """Times as numbers: pyarrow makes datetimes with a zone through pandas, which costs 30 MB."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            column = rows.column(index).cast(pa.timestamp("ms", field.type.tz), safe=False).cast(pa.int64())
            rows = rows.set_column(index, field.name, column)
    return rows


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
        alert_timestamp=from_ms(row["alert_timestamp"]),
        received_at=from_ms(row["received_at"]),
        ingested_at=from_ms(row["ingested_at"]),
        starts_at=from_ms(row["alert_timestamp"] if row.get("starts_at") is None else row["starts_at"]),
        commit=commit,
        metric_value=row.get("metric_value"),
        threshold=row.get("threshold"),
        **{name: row.get(name) or None for name in _TEXTS},
    )
