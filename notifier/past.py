"""Alerts of the past, from the table."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile

from notifier import cursor
from notifier.clock import to_ms
from notifier.cursor import AlertReader
from notifier.model import AlertRow
from notifier.planning.order import in_order

EVER = datetime(9999, 1, 1, tzinfo=UTC)


def read_alerts(reader: AlertReader, commit: str, since: datetime, until: datetime = EVER) -> list[AlertRow]:
    """All alerts published from `since` to before `until`, as a commit has them, in the order they were published.

    Those without an ingested_at belong to no time, and are left out. Raises DremioError.
    """
    end_ms = to_ms(until)
    found: dict[str, AlertRow] = {}
    if not cursor.something_published(commit):
        return []
    for page in cursor.pages_since(reader, lambda: None, commit, since):
        for row in takewhile(lambda row: row["ingested_at"] < end_ms, page.to_pylist()):
            alert, _ = cursor.to_alert(row, commit, since)
            found.setdefault(alert.alert_id, alert)
        if page["ingested_at"][-1].as_py() >= end_ms:
            break
    return in_order(found.values())
