"""The part of the board that a change touches: read before it, written after it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import batched
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier.ledger import queries
from notifier.ledger.queries import is_open
from notifier.ledger.rows import (
    ASKED,
    CURSOR,
    DELIVERIES,
    HISTORY,
    INCIDENTS,
    MEMBERS,
    PARKED,
    QUESTIONS,
    STATE,
    THREADS,
    incident_row,
    member_row,
    planned_row,
    thread_row,
    to_incident,
    to_member,
    to_thread,
)
from notifier.manner import Manner
from notifier.model import DeliveryState, MessageKind, Muted, Target, ThreadKind
from notifier.planning.board import RECURS_MS, STORM, Worksheet
from notifier.planning.past import NoPast
from notifier.planning.storm import KNOWN_FOR_MS, Storms

_AT_ONCE = 500
REVISION = "revision"


def load(
    db: sa.Connection,
    now_ms: int,
    manners: Mapping[Target, Manner],
    storm_after: int,
    incident_ids: Iterable[str],
    groups: Iterable[str],
) -> Worksheet:
    """These incidents with their places, and the threads that they are in, or that these groups may go on in."""
    less = {target: manner.storm_after for target, manner in manners.items() if manner.storm_after is not None}
    storms = Storms(storm_after, now_ms, less)
    if storm_after:
        storms.load(_begun(db, now_ms))
    born_ms = db.scalar(sa.select(CURSOR.c.born_ms)) or 0
    board = Worksheet(now_ms, manners, storms, LedgerPast(db), born_ms)
    for ids in batched(set(incident_ids), _AT_ONCE):
        for row in db.execute(sa.select(INCIDENTS).where(INCIDENTS.c.incident_id.in_(ids))):
            board.incidents[row.incident_id] = to_incident(row)
        for row in db.execute(sa.select(MEMBERS).where(MEMBERS.c.incident_id.in_(ids))):
            board.load_member(to_member(row))
    t = THREADS
    lately = sa.or_(t.c.resolved_ms.is_(None), t.c.resolved_ms >= now_ms - RECURS_MS)
    for keys in batched({*groups, STORM}, _AT_ONCE):
        for row in db.execute(sa.select(t).where(t.c.group_key.in_(keys), lately)):
            board.load_thread(to_thread(row))
    named = {m.thread_id for places in board.members.values() for m in places.values() if m.thread_id}
    for thread_ids in batched(named - board.threads.keys(), _AT_ONCE):
        for row in db.execute(sa.select(t).where(t.c.thread_id.in_(thread_ids))):
            board.load_thread(to_thread(row))
    _load_open(db, board)
    return board


class LedgerPast(NoPast):
    """That of the file."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db

    def has_thread(self, thread_id: str) -> bool:
        count = sa.select(sa.func.count()).select_from(THREADS)
        return bool(self._db.scalar(count.where(THREADS.c.thread_id == thread_id)))

    def has_called(self, thread_id: str, step: str, since_ms: int, least: int) -> bool:
        return queries.has_called(self._db, thread_id, step, since_ms, least)

    def has_taken(self, thread_id: str) -> bool:
        return queries.has_taken(self._db, thread_id)


def _begun(db: sa.Connection, now_ms: int) -> Iterable[tuple[Target, int, str, bool]]:
    t = THREADS
    query = sa.select(t.c.channel, t.c.destination, t.c.opened_ms, t.c.fold, t.c.as_new_kind).where(
        t.c.opened_ms > now_ms - KNOWN_FOR_MS, t.c.kind == ThreadKind.GROUP
    )
    for row in db.execute(query):
        yield Target(row.channel, row.destination), row.opened_ms, row.fold, bool(row.as_new_kind)


def _load_open(db: sa.Connection, board: Worksheet) -> None:
    """Deliveries of these threads that more alerts may join, and edits that are still to go."""
    d = DELIVERIES
    columns = (d.c.thread_id, d.c.delivery_key, d.c.kind, d.c.not_before_ms, d.c.planned_ms)
    # What says no more than that somebody has it may have been tried.
    again = (DeliveryState.RETRY, DeliveryState.PARKED)
    still = sa.or_(d.c.state == DeliveryState.PLANNED, sa.and_(d.c.kind == MessageKind.TAKEN, d.c.state.in_(again)))
    first = set()
    for thread_ids in batched(board.threads, _AT_ONCE):
        query = sa.select(*columns).where(d.c.thread_id.in_(thread_ids), still)
        for row in db.execute(query):
            if row.kind == MessageKind.EDIT:
                board.out.editing.add(row.thread_id)
            elif row.kind == MessageKind.TAKEN:
                board.out.taking.add(row.thread_id)
            elif row.kind == MessageKind.MORE:
                board.out.waiting[row.thread_id] = row.delivery_key
            elif row.kind == MessageKind.FIRST:
                board.out.fresh.add(row.thread_id)
                if row.not_before_ms > row.planned_ms:
                    board.out.waiting[row.thread_id] = row.delivery_key
                    first.add(row.delivery_key)
    board.out.first_waiting = frozenset(first)


def write(db: sa.Connection, board: Worksheet) -> int:
    """What has changed. Returns the revision that it makes: incidents of the past ones are as they were."""
    _deliveries(db, board)
    revision = next_revision(db)
    incidents = list(board.changed_incidents)
    for incident in incidents:
        incident.revision = revision
    _put(db, INCIDENTS, [incident_row(incident) for incident in incidents])
    _put(db, THREADS, [thread_row(thread) for thread in board.changed_threads])
    _put(db, MEMBERS, [member_row(member) for member in board.changed_members])
    if board.notes:
        db.execute(sa.insert(HISTORY), [_note_row(note) for note in board.notes])
    return revision


def _note_row(note: Any) -> dict[str, Any]:
    values = dict(vars(note))
    return values | {"note": values.pop("text")}


def _deliveries(db: sa.Connection, board: Worksheet) -> None:
    d = DELIVERIES
    new = [planned_row(draft, board.now_ms) for draft in board.out.drafts.values() if not draft.added]
    if new:
        db.execute(sa.insert(d), new)
    for draft in board.out.drafts.values():
        if draft.added:
            db.execute(
                sa.update(d)
                .where(d.c.delivery_key == draft.key)
                .values(
                    alert_count=d.c.alert_count + draft.alert_count, alert_id=draft.alert_id, updated_ms=board.now_ms
                )
            )

    for keys in batched(board.out.dropped, _AT_ONCE):
        db.execute(
            sa.update(d)
            .where(d.c.delivery_key.in_(keys), d.c.state == DeliveryState.PLANNED)
            .values(state=DeliveryState.MUTED, reason=Muted.TOLD_BY_END, updated_ms=board.now_ms)
        )


def next_revision(db: sa.Connection) -> int:
    """One more than the newest, and from now on the newest."""
    held = db.scalar(sa.select(STATE.c.value).where(STATE.c.name == REVISION))
    revision = int(held or 0) + 1
    insert = sqlite_insert(STATE).values(name=REVISION, value=str(revision))
    db.execute(insert.on_conflict_do_update(set_={"value": str(revision)}))
    return revision


def _put(db: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert, or take the place of the row with the same key."""
    if rows:
        db.execute(_upsert(table), rows)


@cache
def _upsert(table: sa.Table) -> sa.Insert:
    insert = sqlite_insert(table)
    others = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


def shift(db: sa.Connection, by_ms: int) -> None:
    """Our clock was set by so much: what is to come, and what is counted from, keeps its distance from now."""
    d, i, t = DELIVERIES, INCIDENTS, THREADS
    db.execute(
        sa.update(d)
        .where(is_open(d))
        .values(
            {
                name: d.c[name] + by_ms
                for name in ("not_before_ms", "planned_ms", "first_attempt_ms", "attempt_ms", "unreadable_since_ms")
            }
        )
    )
    db.execute(
        sa.update(i)
        .where(i.c.resolved_ms.is_(None))
        .values({name: i.c[name] + by_ms for name in ("level_ms", "told_ms", "next_ms", "ack_ms", "ack_until_ms")})
    )
    # Of a step that was told it matters whether it was since an incident was.
    called = (d.c.kind == MessageKind.ESCALATED, ~is_open(d))
    db.execute(sa.update(d).where(*called).values(planned_ms=d.c.planned_ms + by_ms))
    asked = ("pending_ms", "inside_ms")
    db.execute(sa.update(ASKED).values({name: ASKED.c[name] + by_ms for name in asked}))
    db.execute(sa.update(QUESTIONS).values(judged_ms=QUESTIONS.c.judged_ms + by_ms))
    recent = sa.or_(t.c.resolved_ms.is_(None), t.c.resolved_ms > t.c.opened_ms)
    moments = ("opened_ms", "newest_ms", "edited_ms", "resolved_ms")
    db.execute(sa.update(t).where(recent).values({name: t.c[name] + by_ms for name in moments}))
    db.execute(sa.update(PARKED).values({name: PARKED.c[name] + by_ms for name in ("until_ms", "since_ms")}))
    if by_ms < 0:
        # The data's clock may be ours: what it stamps from now on is no news of the past, and is no earlier than where
        # looks begin. Where it is not, that much is read again, and known.
        reached = ("ingested_ms", "mute_before_ms")
        db.execute(sa.update(CURSOR).values({name: CURSOR.c[name] + by_ms for name in reached}))
