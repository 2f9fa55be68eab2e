"""The ledger's tables, as notifier/migrations made them, and rows as objects. Times are in ms since the epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from notifier.clock import from_ms, to_ms
from notifier.model import (
    Ack,
    AlertRow,
    AlertSource,
    DeliveryDraft,
    DeliveryState,
    Incident,
    Member,
    MessageKind,
    Target,
    Thread,
    ThreadKind,
)


def _columns(kind: type[sa.types.TypeEngine[Any]], names: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, kind) for name in names.split())


metadata = sa.MetaData()
ALERTS = sa.Table(
    "alerts",
    metadata,
    sa.Column("alert_id", sa.Text, primary_key=True),
    *_columns(sa.Text, "incident_id alert_type rule severity status service_name"),
    *_columns(sa.Text, "description summary runbook_url owner source commit_id"),
    *_columns(sa.Float, "metric_value threshold"),
    *_columns(sa.Integer, "alert_ms received_ms ingested_ms starts_ms seen_ms"),
)
DELIVERIES = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_key", sa.Text, primary_key=True),
    *_columns(
        sa.Text, "channel destination incident_id thread_id kind state reason detail route alert_id receipt error"
    ),
    *_columns(
        sa.Integer,
        "sequence alert_count planned_ms not_before_ms attempts first_attempt_ms attempt_ms "
        "unreadable_since_ms sent_ms updated_ms interval_ms",
    ),
    *_columns(sa.Boolean, "possible_repeat broadcast"),
)
CURSOR = sa.Table(
    "cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    *_columns(sa.Integer, "ingested_ms mute_before_ms born_ms all_from_ms"),
)
PARKED = sa.Table(
    "parked",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    *_columns(sa.Text, "why reason"),
    *_columns(sa.Integer, "until_ms since_ms"),
)
INCIDENTS = sa.Table(
    "incidents",
    metadata,
    sa.Column("incident_id", sa.Text, primary_key=True),
    *_columns(sa.Text, "rule severity service_name owner source newest_alert ack_by ack_via ack_note ack_severity"),
    *_columns(
        sa.Integer,
        "starts_ms newest_ms alerts resolved_ms level level_ms next_ms told_ms revision ack_ms ack_until_ms",
    ),
    sa.Column("old", sa.Boolean),
)
THREADS = sa.Table(
    "threads",
    metadata,
    sa.Column("thread_id", sa.Text, primary_key=True),
    *_columns(sa.Text, "channel destination group_key kind fold severity recurs root"),
    *_columns(
        sa.Integer,
        "opened_ms sequence open_members all_members newest_ms edited_ms resolved_ms interval_ms repeat_ms",
    ),
    sa.Column("as_new_kind", sa.Boolean),
)
MEMBERS = sa.Table(
    "members",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("incident_id", "channel", "destination")),
    *_columns(sa.Text, "thread_id route muted"),
    sa.Column("since_ms", sa.Integer),
    sa.Column("over", sa.Boolean),
)
HISTORY = sa.Table(
    "history",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    *_columns(sa.Text, "incident_id who via action note"),
    sa.Column("at_ms", sa.Integer),
)
SILENCES = sa.Table(
    "silences",
    metadata,
    sa.Column("silence_id", sa.Text, primary_key=True),
    *_columns(sa.Text, "matchers reason who via ended_by"),
    *_columns(sa.Integer, "created_ms until_ms ended_ms"),
)
MARKS = sa.Table(
    "marks",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    *_columns(sa.Text, "text who via"),
    sa.Column("at_ms", sa.Integer),
)
ANSWERS = sa.Table(
    "answers",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    *_columns(sa.Text, "request answer"),
    *_columns(sa.Integer, "status at_ms"),
)
"""What was answered to each Idempotency-Key."""
QUESTIONS = sa.Table(
    "questions", metadata, sa.Column("rule", sa.Text, primary_key=True), *_columns(sa.Integer, "judged_ms")
)
"""When each rule that asks was judged last."""
ASKED = sa.Table(
    "asked",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("rule", "entity")),
    *_columns(sa.Integer, "pending_ms inside_ms starts_ms"),
    *_columns(sa.Text, "incident_id severity service_name owner"),
)
"""Entities of these rules that are pending or firing."""
STATE = sa.Table("state", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
"""What there is one of: the revision of the newest change."""


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
    thread_id: str | None
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
    broadcast: bool
    sent_ms: int | None
    receipt: str | None
    error: str | None
    updated_ms: int
    interval_ms: int | None


@dataclass(frozen=True)
class Mark:
    """Something that was done, and when: a deploy, a change of prices."""

    number: int
    at_ms: int
    text: str
    who: str
    via: str


def to_mark(row: Any) -> Mark:
    return Mark(row.number, row.at_ms, row.text, row.who, row.via)


def planned_row(draft: DeliveryDraft, now_ms: int) -> dict[str, Any]:
    return {
        "delivery_key": draft.key,
        "channel": draft.target.channel,
        "destination": draft.target.destination,
        "incident_id": draft.incident_id,
        "thread_id": draft.thread_id,
        "broadcast": draft.broadcast,
        "kind": draft.kind,
        "sequence": draft.sequence,
        "state": _state_of(draft),
        "reason": draft.muted,
        "detail": draft.detail,
        "route": draft.route,
        "alert_id": draft.alert_id,
        "alert_count": draft.alert_count,
        "planned_ms": now_ms,
        "not_before_ms": draft.not_before_ms,
        "attempts": 0,
        "possible_repeat": False,
        "updated_ms": now_ms,
    }


def planned_delivery(draft: DeliveryDraft, now_ms: int) -> Delivery:
    """What the ledger would hold of it."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(Delivery))
    return Delivery(**nothing | planned_row(draft, now_ms))


def _state_of(draft: DeliveryDraft) -> DeliveryState:
    if draft.muted:
        return DeliveryState.MUTED
    return DeliveryState.UNKNOWN if draft.look_up else DeliveryState.PLANNED


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
        "source": alert.source,
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
        source=AlertSource(row.source),
        metric_value=row.metric_value,
        threshold=row.threshold,
    )


def incident_row(incident: Incident) -> dict[str, Any]:
    ack = incident.ack
    values = {name: value for name, value in vars(incident).items() if name != "ack"}
    return values | {
        "ack_by": ack.by if ack else None,
        "ack_via": ack.via if ack else None,
        "ack_note": ack.note if ack else None,
        "ack_severity": ack.severity if ack else None,
        "ack_ms": ack.at_ms if ack else None,
        "ack_until_ms": ack.until_ms if ack else None,
    }


def to_incident(row: Any) -> Incident:
    values = {name: value for name, value in row._mapping.items() if not name.startswith("ack_")}
    ack = None
    if row.ack_by is not None:
        ack = Ack(row.ack_by, row.ack_via, row.ack_ms, row.ack_until_ms, row.ack_note, row.ack_severity)
    return Incident(**values | {"source": AlertSource(row.source), "old": bool(row.old), "ack": ack})


def thread_row(thread: Thread) -> dict[str, Any]:
    values = {name: value for name, value in vars(thread).items() if name not in ("target", "group")}
    return values | {
        "channel": thread.target.channel,
        "destination": thread.target.destination,
        "group_key": thread.group,
        "recurs": json.dumps(sorted(thread.recurs)),
    }


def to_thread(row: Any) -> Thread:
    values = dict(row._mapping)
    target = Target(values.pop("channel"), values.pop("destination"))
    changed = {
        "target": target,
        "group": values.pop("group_key"),
        "kind": ThreadKind(row.kind),
        "recurs": set(json.loads(row.recurs)),
        "as_new_kind": bool(row.as_new_kind),
    }
    return Thread(**values | changed)


def member_row(member: Member) -> dict[str, Any]:
    return {
        "incident_id": member.incident_id,
        "channel": member.target.channel,
        "destination": member.target.destination,
        "thread_id": member.thread_id,
        "route": member.route,
        "muted": json.dumps(member.muted),
        "since_ms": member.since_ms,
        "over": member.over,
    }


def to_member(row: Any) -> Member:
    return Member(
        row.incident_id,
        Target(row.channel, row.destination),
        row.thread_id,
        row.route or "",
        row.since_ms or 0,
        bool(row.over),
        json.loads(row.muted),
    )
