"""The ledger's longer questions to its tables. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from notifier.ledger_rows import ALERTS, DELIVERIES
from notifier.model import OPEN, DeliveryState, MessageKind, Target, Thread


def is_open(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a delivery of the table, or of its alias, is still to be sent or settled."""
    # Literals, not binds: SQLite uses the partial index only when it can see them.
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in OPEN])


def incidents(limit: int) -> sa.Select[Any]:
    """A row for each incident, newest alert first."""
    a = ALERTS
    firing = a.c.status == "FIRING"
    newest = sa.func.max(a.c.alert_ms)
    return (
        sa.select(
            a.c.incident_id,
            sa.func.min(a.c.rule).label("rule"),
            sa.func.min(a.c.severity).label("severity"),
            sa.func.min(a.c.service_name).label("service_name"),
            sa.func.sum(sa.case((firing, 1), else_=0)).label("alerts"),
            sa.func.min(a.c.starts_ms).label("starts_ms"),
            newest.label("newest_ms"),
            sa.func.max(sa.case((a.c.status == "RESOLVED", a.c.alert_ms))).label("resolved_ms"),
            # SQLite takes a bare column from the row that holds the max().
            a.c.description,
        )
        .group_by(a.c.incident_id)
        .order_by(newest.desc())
        .limit(limit)
    )


def threads(db: sa.Connection, incident_ids: Iterable[str]) -> dict[tuple[str, Target], Thread]:
    """What the ledger knows of these incidents at their targets."""
    rows: dict[tuple[str, Target], list[Any]] = {}
    ids = list(incident_ids)
    d = DELIVERIES
    for start in range(0, len(ids), 500):
        query = sa.select(d).where(d.c.incident_id.in_(ids[start : start + 500])).order_by(d.c.sequence)
        for row in db.execute(query):
            rows.setdefault((row.incident_id, Target(row.channel, row.destination)), []).append(row)
    return {key: _thread(group) for key, group in rows.items()}


def _thread(rows: Sequence[Any]) -> Thread:
    live = [row for row in rows if row.state in OPEN or row.state == DeliveryState.SENT]
    return Thread(
        sequence=rows[-1].sequence,
        told=bool(live),
        resolved=any(row.kind == MessageKind.RESOLVED for row in live),
        newest_ms=max((row.sent_ms or row.not_before_ms for row in live), default=None),
        waiting=next(
            (row.delivery_key for row in rows if row.kind == MessageKind.MORE and row.state == DeliveryState.PLANNED),
            None,
        ),
        muted={
            row.reason: row.delivery_key
            for row in rows
            if row.state == DeliveryState.MUTED and row.kind == MessageKind.FIRST
        },
    )
