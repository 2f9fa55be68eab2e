"""The ledger's longer questions to its tables. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from notifier.ledger_rows import ALERTS, DELIVERIES, to_alert
from notifier.model import OPEN, PASSING, AlertRow, DeliveryState, MessageKind, Muted, Target, Thread


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
        waiting=next((row.delivery_key for row in rows if row.state == DeliveryState.PLANNED and _gathers(row)), None),
        muted={
            f"{row.reason}({row.detail})" if row.detail else row.reason: row.delivery_key
            for row in rows
            if row.state == DeliveryState.MUTED and row.kind == MessageKind.FIRST
        },
    )


def _gathers(row: Any) -> bool:
    """Whether a planned delivery is one that waits for more alerts to join it."""
    if row.kind == MessageKind.FIRST:
        return bool(row.not_before_ms > row.planned_ms)
    return bool(row.kind == MessageKind.MORE)


def newest_firing(db: sa.Connection, incident_ids: sa.Select[Any] | list[str], limit: int) -> list[AlertRow]:
    """The newest FIRING row of each of these incidents that has no RESOLVED one; at most so many, the newest first."""
    a, over = ALERTS, ALERTS.alias()
    ended = sa.exists().where(over.c.incident_id == a.c.incident_id, over.c.status == "RESOLVED")
    order = a.c.alert_ms.desc(), a.c.alert_id.desc()
    newest = sa.func.row_number().over(partition_by=a.c.incident_id, order_by=order)
    ranked = (
        sa.select(a, newest.label("nth"))
        .where(a.c.incident_id.in_(incident_ids), a.c.status == "FIRING", ~ended)
        .subquery()
    )
    query = sa.select(ranked).where(ranked.c.nth == 1).order_by(ranked.c.alert_ms.desc()).limit(limit)
    return [to_alert(row) for row in db.execute(query)]


def of_now() -> sa.Select[Any]:
    """Incidents that are more than news of the past, whether or not somebody is told of them."""
    d = DELIVERIES
    return sa.select(d.c.incident_id).where(sa.or_(d.c.state != DeliveryState.MUTED, d.c.reason != Muted.OLD))


def muted_for_now(db: sa.Connection) -> dict[str, set[Target]]:
    """Open incidents, and where all that there is of them is muted by what comes to an end; the newest first.

    Asked each second: an index knows them.
    """
    d, other, over = DELIVERIES, DELIVERIES.alias(), ALERTS.alias()
    passing: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{reason}'") for reason in PASSING]
    told = sa.exists().where(
        other.c.incident_id == d.c.incident_id,
        other.c.channel == d.c.channel,
        other.c.destination == d.c.destination,
        other.c.state != DeliveryState.MUTED,
    )
    ended = sa.exists().where(over.c.incident_id == d.c.incident_id, over.c.status == "RESOLVED")
    query = (
        sa.select(d.c.incident_id, d.c.channel, d.c.destination)
        .where(d.c.state == sa.literal_column(f"'{DeliveryState.MUTED}'"), d.c.reason.in_(passing), ~told, ~ended)
        .order_by(d.c.planned_ms.desc())
    )
    found: dict[str, set[Target]] = {}
    for row in db.execute(query):
        found.setdefault(row.incident_id, set()).add(Target(row.channel, row.destination))
    return found
