"""Reading new alerts: by ingested_at of the table, never by the notifier's clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Protocol

import pyarrow as pa

from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.dremio.errors import TooLarge
from lakehouse.dremio.state import ConnectionState
from lakehouse.dremio.times import in_ms
from notifier.clock import from_ms, to_ms
from notifier.model import FATAL, SEVERITIES, AlertRow

FIRST_START_AGE = timedelta(hours=1)
"""On an empty ledger, what was published longer ago than this wakes nobody."""

PAGE = 20_000
"""Rows asked for at once; a poll that finds more asks again."""

_TEXTS = ("service_name", "summary", "runbook_url", "owner")
_TIMES = ("alert_timestamp", "received_at", "ingested_at")
_LATEST_MS = to_ms(datetime(9999, 1, 1, tzinfo=UTC))


class AlertsClient(Protocol):
    """Who answers questions, as lakehouse.dremio.client.Dremio does."""

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table: ...


class AlertReader(AlertsClient, Protocol):
    """The part of lakehouse.dremio.client.Dremio that is used here."""

    @property
    def near(self) -> bool: ...

    @property
    def state(self) -> ConnectionState: ...

    def head(self) -> str: ...

    def next_head(self, known: str, wait_s: float) -> str: ...


def something_published(commit: str) -> bool:
    return commit != NOTHING_PUBLISHED


def pages_since(reader: AlertReader, progress: Callable[[], None], commit: str, since: datetime) -> Iterator[pa.Table]:
    """Alerts published at or after `since`, as the commit shows them, oldest first; times in ms since the epoch.

    progress: called at every answer.
    """
    return _pages(reader, progress, "alerts_since", commit=commit, since=since)


def pages_unstamped(reader: AlertReader, progress: Callable[[], None], commit: str) -> Iterator[pa.Table]:
    """Alerts without an ingested_at. All of the table has to be read for them, so they are asked for now and then."""
    return _pages(reader, progress, "alerts_unstamped", commit=commit)


def _pages(reader: AlertReader, progress: Callable[[], None], question: str, **asked: Any) -> Iterator[pa.Table]:
    """In pages, for a client takes only so many rows and bytes of one answer: no poll may fail because much is new."""
    skip, limit = 0, PAGE
    while True:
        try:
            page = reader.ask(question, **asked, limit=limit, skip=skip)
        except TooLarge:
            if limit == 1:
                raise
            limit //= 2
            progress()
            continue
        progress()
        if page.num_rows:
            yield _in_ms(page)
        if page.num_rows < limit:
            return
        skip += page.num_rows


def as_of(reader: AlertsClient, commit: str) -> datetime | None:
    """The moment a commit speaks of; None where nothing says it."""
    moments = _in_ms(reader.ask("as_of", commit=commit))["as_of"].to_pylist()
    return next((from_ms(ms) for ms in moments if _is_time(ms)), None)


def _in_ms(rows: pa.Table) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(index, field.name, in_ms(rows.column(index)))
    return rows


def identity(row: Mapping[str, Any]) -> str:
    """A row's alert_id; of one that has none, a hash of its other values, which is the same at every look."""
    if _text(row, "alert_id"):
        return str(row["alert_id"])
    # `owner` came later: a row of before has the hash that it had.
    values = sorted((name, repr(value)) for name, value in row.items() if name != "owner" or value is not None)
    return hashlib.sha256(repr(values).encode()).hexdigest()


def with_ids(rows: pa.Table) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Each alert_id; with its row where it has none, else without, for most are known and rows cost memory."""
    for place, alert_id in enumerate(rows["alert_id"].to_pylist()):
        blank = not alert_id or not alert_id.strip()
        yield None if blank else alert_id, rows.slice(place, 1).to_pylist()[0] if blank else {}


def rows_but(rows: pa.Table, ids: Sequence[str], known: set[str]) -> Iterator[dict[str, Any]]:
    """Rows whose alert_id is not known. In slices, for pyarrow makes masks through pandas."""
    start = 0
    for is_known, run in groupby(ids, known.__contains__):
        length = len(list(run))
        if not is_known:
            yield from rows.slice(start, length).to_pylist()
        start += length


def to_alert(row: Mapping[str, Any], commit: str, moment: datetime) -> tuple[AlertRow, list[str]]:
    """An alert from any row of the table, and what was odd about it, in words.

    What is missing is filled in, so that no row is passed over: an alert without an incident is one of its own, of
    times one stands for the other (`moment`, the commit's as_of, where all are missing), and a row that may be a
    FATAL is one. Only a severity that is a word, and none of ours, is kept as it is: no route has it, it is listed.
    """
    odd = [f"no {name}" for name in ("alert_id", "incident_id") if not _text(row, name)]
    given = {name: from_ms(row[name]) for name in _TIMES if _is_time(row.get(name))}
    odd += [f"no {name} that is a time" for name in _TIMES if name not in given]
    if (row.get("ingested_at") or 0) >= _LATEST_MS:
        # As far in the future as can be: every look finds it again, so the ledger must not forget it.
        given["ingested_at"] = from_ms(_LATEST_MS)
    ingested_at = given.get("ingested_at") or given.get("received_at") or given.get("alert_timestamp") or moment
    alert_timestamp = given.get("alert_timestamp") or given.get("received_at") or ingested_at
    severity, status = (_text(row, name).strip().upper() for name in ("severity", "status"))
    if row.get("severity") != severity or severity not in SEVERITIES:
        odd.append(f"severity {row.get('severity')!r}")
    if row.get("status") != status or status not in ("FIRING", "RESOLVED"):
        odd.append(f"status {row.get('status')!r}")
    alert_id = identity(row)
    texts: dict[str, Any] = {name: row.get(name) or None for name in _TEXTS}
    alert = AlertRow(
        alert_id=alert_id,
        incident_id=_text(row, "incident_id") or alert_id,
        alert_type=_text(row, "alert_type"),
        rule=_text(row, "rule") or "unnamed",
        severity=severity or FATAL,
        status="RESOLVED" if status == "RESOLVED" else "FIRING",
        description=_text(row, "description"),
        alert_timestamp=alert_timestamp,
        received_at=given.get("received_at") or alert_timestamp,
        ingested_at=ingested_at,
        starts_at=from_ms(row["starts_at"]) if _is_time(row.get("starts_at")) else alert_timestamp,
        commit=commit,
        metric_value=row.get("metric_value"),
        threshold=row.get("threshold"),
        **texts,
    )
    return alert, odd


def _text(row: Mapping[str, Any], name: str) -> str:
    value = str(row.get(name) or "")
    return value if value.strip() else ""


def _is_time(ms: int | None) -> bool:
    """Whether it is a moment from 1970 to 9999: what a damaged writer wrote may be none that Python can count."""
    return ms is not None and 0 <= ms < _LATEST_MS
