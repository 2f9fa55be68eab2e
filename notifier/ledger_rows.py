"""The ledger's tables, as notifier/migrations made them, and its rows as objects. Times are ms since the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from notifier.clock import from_ms, to_ms
from notifier.model import AlertRow, DeliveryDraft, DeliveryState, MessageKind


def _columns(kind: type[sa.types.TypeEngine[Any]], names: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, kind) for name in names.split())


metadata = sa.MetaData()
ALERTS = sa.Table(
    "alerts",
    metadata,
    sa.Column("alert_id", sa.Text, primary_key=True),
    *_columns(sa.Text, "incident_id alert_type rule severity status service_name"),
    *_columns(sa.Text, "description summary runbook_url owner commit_id"),
    *_columns(sa.Float, "metric_value threshold"),
    *_columns(sa.Integer, "alert_ms received_ms ingested_ms starts_ms seen_ms"),
)
DELIVERIES = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_key", sa.Text, primary_key=True),
    *_columns(sa.Text, "channel destination incident_id kind state reason detail route alert_id receipt error"),
    *_columns(
        sa.Integer,
        "sequence alert_count planned_ms not_before_ms attempts first_attempt_ms attempt_ms "
        "unreadable_since_ms sent_ms updated_ms interval_ms",
    ),
    sa.Column("possible_repeat", sa.Boolean),
)
CURSOR = sa.Table(
    "cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ingested_ms", sa.Integer),
    sa.Column("mute_before_ms", sa.Integer),
    sa.Column("born_ms", sa.Integer),
    sa.Column("all_from_ms", sa.Integer),
)
PARKED = sa.Table(
    "parked",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("until_ms", sa.Integer),
    sa.Column("reason", sa.Text),
)


@dataclass(frozen=True)
class Cursor:
    """How far alerts are planned, in the data's time. `mute_before` is set once, at the first look for alerts.

    born_ms: when the file was made, by our clock; of one of an older version, when it was last written. all_from_ms:
    before it (in the data's time) a version wrote the file that looked at FATALs alone.
    """

    ingested_ms: int | None = None
    mute_before_ms: int | None = None
    born_ms: int | None = None
    all_from_ms: int | None = None


@dataclass(frozen=True)
class Delivery:
    """One row of the ledger."""

    delivery_key: str
    channel: str
    destination: str
    incident_id: str
    kind: MessageKind
    sequence: int
    state: DeliveryState
    reason: str | None
    detail: str | None
    route: str | None
    alert_id: str
    alert_count: int
    planned_ms: int
    not_before_ms: int
    attempts: int
    first_attempt_ms: int | None
    attempt_ms: int | None
    unreadable_since_ms: int | None
    possible_repeat: bool
    sent_ms: int | None
    receipt: str | None
    error: str | None
    updated_ms: int
    interval_ms: int | None


@dataclass(frozen=True)
class KnownIncident:
    """What the ledger knows of an incident: alerts seen (FIRING rows), and how it stands."""

    incident_id: str
    rule: str
    severity: str
    service_name: str | None
    status: str
    alerts: int
    starts_ms: int
    newest_ms: int
    resolved_ms: int | None
    description: str


def planned_row(draft: DeliveryDraft, now_ms: int) -> dict[str, Any]:
    return {
        "delivery_key": draft.key,
        "channel": draft.target.channel,
        "destination": draft.target.destination,
        "incident_id": draft.incident_id,
        "kind": draft.kind,
        "sequence": draft.sequence,
        "state": DeliveryState.MUTED if draft.muted else DeliveryState.PLANNED,
        "reason": draft.muted,
        "detail": draft.detail,
        "route": draft.route,
        "alert_id": draft.alert_id,
        "alert_count": draft.alert_count,
        "planned_ms": now_ms,
        "not_before_ms": draft.not_before_ms,
        "interval_ms": draft.interval_ms,
        "attempts": 0,
        "possible_repeat": False,
        "updated_ms": now_ms,
    }


def to_delivery(row: Any) -> Delivery:
    values = dict(row._mapping)
    return Delivery(**values | {"kind": MessageKind(values["kind"]), "state": DeliveryState(values["state"])})


def alert_row(alert: AlertRow, now_ms: int) -> dict[str, Any]:
    return {
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "alert_type": alert.alert_type,
        "rule": alert.rule,
        "severity": alert.severity,
        "status": alert.status,
        "service_name": alert.service_name,
        "description": alert.description,
        "summary": alert.summary,
        "runbook_url": alert.runbook_url,
        "owner": alert.owner,
        "metric_value": alert.metric_value,
        "threshold": alert.threshold,
        "alert_ms": to_ms(alert.alert_timestamp),
        "received_ms": to_ms(alert.received_at),
        "ingested_ms": to_ms(alert.ingested_at),
        "starts_ms": to_ms(alert.starts_at),
        "commit_id": alert.commit,
        "seen_ms": now_ms,
    }


def to_alert(row: Any) -> AlertRow:
    return AlertRow(
        alert_id=row.alert_id,
        incident_id=row.incident_id,
        alert_type=row.alert_type,
        rule=row.rule,
        severity=row.severity,
        status=row.status,
        description=row.description,
        alert_timestamp=from_ms(row.alert_ms),
        received_at=from_ms(row.received_ms),
        ingested_at=from_ms(row.ingested_ms),
        starts_at=from_ms(row.starts_ms),
        commit=row.commit_id,
        service_name=row.service_name,
        summary=row.summary,
        runbook_url=row.runbook_url,
        owner=row.owner,
        metric_value=row.metric_value,
        threshold=row.threshold,
    )
