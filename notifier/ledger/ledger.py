"""The ledger: which alerts were seen, what became of incidents, and every delivery with its state.

SQLite in WAL mode, synced at each commit. All times are milliseconds since the epoch. May be used from many threads;
every change is one transaction.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import batched
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from lakehouse.oncall import Status
from notifier.clock import Clock, to_ms, wall_ms
from notifier.ledger import boards, queries, views
from notifier.ledger.file import LedgerFile
from notifier.ledger.outbox import Outbox
from notifier.ledger.people import PeopleBook, StoredAnswer
from notifier.ledger.questions import QuestionBook
from notifier.ledger.rows import (
    ALERTS,
    ASKED,
    CURSOR,
    DELIVERIES,
    HISTORY,
    INCIDENTS,
    MEMBERS,
    STATE,
    THREADS,
    Cursor,
    Delivery,
    alert_row,
    to_alert,
    to_delivery,
    to_incident,
    to_thread,
)
from notifier.ledger.views import ThreadView
from notifier.manner import Manner
from notifier.metrics import Metrics
from notifier.model import (
    AlertRow,
    AlertSource,
    DeliveryDraft,
    DeliveryState,
    Incident,
    MessageKind,
    Muted,
    Target,
    Thread,
)
from notifier.planning.board import Note, Worksheet
from notifier.redact import Redact
from notifier.routing.decide import OpenAlert, Silence

logger = logging.getLogger("notifier")

_AT_ONCE = 500


class Ledger:
    """Opens the file, brings its tables up to date, and holds a lock on it until `close`.

    Raises UserError when the file cannot be used, is damaged or a newer tillwatch's, or another notifier has it; later
    every method raises LedgerError when it cannot be read or written. redact: what errors go through before they are
    kept.
    """

    def __init__(self, path: Path, clock: Clock = wall_ms, redact: Redact = str) -> None:
        self.file = LedgerFile(path, clock)
        self.outbox = Outbox(self.file, redact)
        self.people = PeopleBook(self.file)
        self.questions = QuestionBook(self.file)
        self._clock = clock
        self._read, self._write = self.file.read, self.file.write
        self.manners: Mapping[Target, Manner] = {}
        """How each place is told; set by who opens the ledger, before anything is planned."""
        self.storm_after = 0
        self._quiet: dict[str, int] = {}
        """Threads that are not reminded of before a time; a start looks at them at once."""
        self.metrics = self.outbox.metrics

    def count_in(self, metrics: Metrics) -> None:
        """Where to count from now on what is planned, muted and done."""
        self.metrics = self.outbox.metrics = metrics

    def close(self) -> None:
        self.file.close()

    def once(self, key: str | None, act: Callable[[], StoredAnswer], now_ms: int) -> StoredAnswer:
        """What `act` answers, which is done once for each key: a request that comes again is answered as before.

        What it changes and that it was answered are one transaction, so whoever asks again after a crash finds both or
        neither. Another request that comes with the key of one is told by its `request`.
        """
        with self.file.together():
            held = self.people.answered(key) if key else None
            if held is not None:
                return held
            answer = act()
            if key:
                self.people.answer(key, answer, now_ms)
        return answer

    # ---- planning

    def cursor(self) -> Cursor:
        with self._read() as db:
            row = db.execute(sa.select(CURSOR)).first()
        return Cursor(row.ingested_ms, row.mute_before_ms, row.born_ms, row.all_from_ms) if row else Cursor()

    def move(self, cursor: Cursor) -> None:
        with self._write() as db:
            _move(db, cursor)

    def known(self, alert_ids: Sequence[str]) -> set[str]:
        """Those of these alerts that were planned before."""
        found: set[str] = set()
        with self._read() as db:
            for chunk in batched(alert_ids, _AT_ONCE):
                found.update(db.scalars(sa.select(ALERTS.c.alert_id).where(ALERTS.c.alert_id.in_(chunk))))
        return found

    def plan(
        self,
        alerts: Sequence[AlertRow],
        groups: Iterable[str],
        decide: Callable[[Worksheet], None],
        now_ms: int,
        *,
        cursor: Cursor | None = None,
        incident_ids: Iterable[str] = (),
    ) -> list[DeliveryDraft]:
        """Record alerts, let `decide` change the board of their incidents, and move the cursor: one transaction.

        groups: keys of threads that these may go on in. incident_ids: of others that `decide` looks at.
        """
        with self._write() as db:
            ids = {*incident_ids, *(alert.incident_id for alert in alerts)}
            board = boards.load(db, now_ms, self.manners, self.storm_after, ids, groups)
            decide(board)
            if alerts:
                db.execute(sqlite_insert(ALERTS).on_conflict_do_nothing(), [alert_row(a, now_ms) for a in alerts])
            if board.has_changed:
                boards.write(db, board)
            if cursor is not None:
                _move(db, cursor)
        self.file.then(lambda: self.metrics.planned_all(board, alerts))
        if board.out.dropped:
            logger.info("%d messages muted %s", len(board.out.dropped), Muted.TOLD_BY_END)
        return list(board.out.drafts.values())

    def touch(self, alert_ids: Iterable[str], now_ms: int) -> None:
        """These alerts are found in the table at every sweep: were they forgotten, they would be told again."""
        with self._write() as db:
            for chunk in batched(alert_ids, _AT_ONCE):
                db.execute(sa.update(ALERTS).where(ALERTS.c.alert_id.in_(chunk)).values(seen_ms=now_ms))

    def silences(self) -> list[Silence]:
        """Those that hold now."""
        return self.people.silences(self._clock())

    def ended_silences(self, since_ms: int, until_ms: int) -> list[Silence]:
        """Those that ended, or were ended, after a time and no later than another."""
        ends = [(each.until if each.ended is None else each.ended, each) for each in self.people.silences()]
        return [silence for end, silence in ends if since_ms < to_ms(end) <= until_ms]

    def shift(self, by_ms: int) -> None:
        """Our clock was set: what is to come keeps its distance."""
        self._quiet = {}
        with self._write() as db:
            boards.shift(db, by_ms)

    # ---- reading

    def alert(self, alert_id: str) -> AlertRow:
        with self._read() as db:
            return to_alert(db.execute(sa.select(ALERTS).where(ALERTS.c.alert_id == alert_id)).one())

    def view(self, delivery: Delivery) -> tuple[ThreadView, AlertRow]:
        """What a delivery's message tells: its thread as it is now, and its newest alert."""
        assert delivery.thread_id is not None  # what is muted is not sent
        with self._read() as db:
            return views.view_of(db, delivery.thread_id, self._clock()), views.newest_alert(db, delivery)

    def told(self, delivery: Delivery) -> bool:
        """Whether somebody was told something in the delivery's thread before it."""
        with self._read() as db:
            return views.told(db, delivery)

    def untaken(self, delivery: Delivery) -> bool:
        """Whether nobody has some of what is open in the delivery's thread."""
        with self._read() as db:
            return queries.has_taken(db, delivery.thread_id or "", taken=False)

    def root(self, delivery: Delivery) -> str | None:
        """Receipt of the first message of the delivery's thread."""
        with self._read() as db:
            receipt: str | None = db.scalar(sa.select(THREADS.c.root).where(THREADS.c.thread_id == delivery.thread_id))
        return receipt

    def thread_at(self, target: Target, receipt: str) -> Thread | None:
        """The thread whose first message has this receipt at a place."""
        t = THREADS
        query = sa.select(t).where(
            t.c.channel == target.channel, t.c.destination == target.destination, t.c.root == receipt
        )
        with self._read() as db:
            row = db.execute(query).first()
        return to_thread(row) if row else None

    def open_in(self, thread_id: str) -> list[Incident]:
        """The incidents of a thread that are open."""
        i, m = INCIDENTS, MEMBERS
        of_thread = sa.select(m.c.incident_id).where(m.c.thread_id == thread_id, m.c.over.is_(False))
        query = sa.select(i).where(i.c.incident_id.in_(of_thread), i.c.resolved_ms.is_(None))
        with self._read() as db:
            return [to_incident(row) for row in db.execute(query)]

    def open_alerts(self) -> Sequence[OpenAlert]:
        """The newest FIRING row of each incident that is open."""
        with self._read() as db:
            return queries.open_alerts(db)

    def muted_alerts(self, limit: int = 2000) -> list[tuple[AlertRow, set[Target]]]:
        """The same of open incidents that were told nowhere, or not everywhere, for what comes to an end: and where."""
        with self._read() as db:
            places = queries.muted_for_now(db)
            ids = list(places)[:limit]
            return [(alert, places[alert.incident_id]) for alert in queries.newest_of(db, ids, limit)]

    def lapsed(self, now_ms: int) -> list[Incident]:
        """Open incidents whose acknowledgement is over."""
        i = INCIDENTS
        query = sa.select(i).where(i.c.resolved_ms.is_(None), i.c.ack_until_ms <= now_ms)
        with self._read() as db:
            return [to_incident(row) for row in db.execute(query)]

    def due_incidents(self, now_ms: int, limit: int = 1000) -> list[Incident]:
        """Open incidents that a step of escalation may be due for."""
        i = INCIDENTS
        query = sa.select(i).where(i.c.next_ms.is_not(None), i.c.next_ms <= now_ms, i.c.resolved_ms.is_(None))
        with self._read() as db:
            return [to_incident(row) for row in db.execute(query.limit(limit))]

    def due_threads(self, now_ms: int, limit: int = 1000) -> list[tuple[Thread, list[AlertRow]]]:
        """Open threads that were silent for as long as their route says, where reminders are wanted; each with the
        newest alerts that nobody has."""
        t, m, i = THREADS, MEMBERS, INCIDENTS
        due = sa.select(t).where(
            t.c.repeat_ms.is_not(None), t.c.resolved_ms.is_(None), t.c.newest_ms + t.c.repeat_ms <= now_ms
        )
        found = []
        self._quiet = {thread: until_ms for thread, until_ms in self._quiet.items() if until_ms > now_ms}
        with self._read() as db:
            for thread in map(to_thread, db.execute(due).all()):
                manner = self.manners.get(thread.target)
                if thread.thread_id in self._quiet or manner is None or MessageKind.REMINDER not in manner.wants:
                    continue
                untaken = sa.select(m.c.incident_id).where(m.c.thread_id == thread.thread_id, m.c.over.is_(False))
                ids = sa.select(i.c.incident_id).where(i.c.incident_id.in_(untaken), i.c.ack_by.is_(None))
                alerts = queries.newest_of(db, ids, limit)
                if alerts:
                    found.append((thread, alerts))
        return found

    def put_off(self, incidents: Sequence[str], threads: Sequence[str], until_ms: int) -> None:
        """What is muted is due again then. It is no change: who waits for one is not answered."""
        self._quiet |= dict.fromkeys(threads, until_ms)
        i = INCIDENTS
        if incidents:
            with self._write() as db:
                for chunk in batched(incidents, _AT_ONCE):
                    off = sa.update(i).where(i.c.incident_id.in_(chunk), i.c.next_ms.is_not(None))
                    db.execute(off.values(next_ms=until_ms))

    def own_alert(self, rule: str, whose: str) -> AlertRow | None:
        """The alert of the notifier's own incident of this rule that is open."""
        i = INCIDENTS
        ids = sa.select(i.c.incident_id).where(
            i.c.source == AlertSource.OWN, i.c.rule == rule, i.c.service_name == whose, i.c.resolved_ms.is_(None)
        )
        with self._read() as db:
            return next(iter(queries.newest_of(db, ids, 1)), None)

    def own_since(self, rule: str, whose: str, since_ms: int) -> bool:
        """Whether the notifier's own incident of this rule began after a time, open or not."""
        i = INCIDENTS
        query = sa.select(sa.func.count()).where(
            i.c.source == AlertSource.OWN, i.c.rule == rule, i.c.service_name == whose, i.c.starts_ms > since_ms
        )
        with self._read() as db:
            return bool(db.scalar(query))

    def own_alerts(self, rule: str) -> list[AlertRow]:
        """The alerts of the notifier's own incidents of this rule that are open."""
        i = INCIDENTS
        ids = sa.select(i.c.incident_id).where(
            i.c.source == AlertSource.OWN, i.c.rule == rule, i.c.resolved_ms.is_(None)
        )
        with self._read() as db:
            return queries.newest_of(db, ids, 1000)

    def end_parked(self, target: Target, now_ms: int) -> Counter[str]:
        """Mute what began and ended at a place while nothing could be told there: incidents of each service."""
        d, t, m, i = DELIVERIES, THREADS, MEMBERS, INCIDENTS
        with self._write() as db:
            ended = (
                sa.select(t.c.thread_id)
                .join(d, d.c.thread_id == t.c.thread_id)
                .where(
                    t.c.channel == target.channel,
                    t.c.destination == target.destination,
                    t.c.root.is_(None),
                    t.c.resolved_ms.is_not(None),
                    d.c.kind == MessageKind.FIRST,
                    queries.is_open(d),
                )
            )
            ids = list(db.scalars(ended))
            found: Counter[str] = Counter()
            muted = 0
            for chunk in batched(ids, _AT_ONCE):
                query = sa.select(i.c.service_name, i.c.rule).join(m, m.c.incident_id == i.c.incident_id)
                for row in db.execute(query.where(m.c.thread_id.in_(chunk))):
                    found[row.service_name or row.rule] += 1
                muted += db.execute(
                    sa.update(d)
                    .where(d.c.thread_id.in_(chunk), queries.is_open(d))
                    .values(state=DeliveryState.MUTED, reason=Muted.ENDED, updated_ms=now_ms)
                ).rowcount
        self.metrics.muted.labels(Muted.ENDED).inc(muted)
        return found

    def incident(self, incident_id: str) -> Incident | None:
        with self._read() as db:
            row = db.execute(sa.select(INCIDENTS).where(INCIDENTS.c.incident_id == incident_id)).first()
        return to_incident(row) if row else None

    def history(self, incident_id: str, until_ms: int | None = None) -> list[Note]:
        """What happened to an incident, the oldest first; of the past, what had happened until then."""
        h = HISTORY
        query = sa.select(h).where(h.c.incident_id == incident_id).order_by(h.c.number)
        if until_ms is not None:
            query = query.where(h.c.at_ms <= until_ms)
        with self._read() as db:
            return [
                Note(row.incident_id, row.at_ms, row.who, row.via, row.action, row.note) for row in db.execute(query)
            ]

    def revision(self) -> int:
        """That of the newest change."""
        with self._read() as db:
            return int(db.scalar(sa.select(STATE.c.value).where(STATE.c.name == boards.REVISION)) or 0)

    def deliveries(
        self,
        state: DeliveryState | None = None,
        incident_id: str | None = None,
        limit: int = 100,
        begins: str | None = None,
    ) -> list[Delivery]:
        """Newest planned first. Of an incident: those of its threads. begins: what the key begins with."""
        d = DELIVERIES
        query = sa.select(d).order_by(d.c.planned_ms.desc(), d.c.sequence.desc())
        if state:
            query = query.where(d.c.state == state)
        if incident_id:
            threads = sa.select(MEMBERS.c.thread_id).where(MEMBERS.c.incident_id == incident_id)
            query = query.where(sa.or_(d.c.incident_id == incident_id, d.c.thread_id.in_(threads)))
        if begins:
            query = query.where(sa.func.substr(d.c.delivery_key, 1, len(begins)) == begins)
        with self._read() as db:
            return [to_delivery(row) for row in db.execute(query.limit(limit))]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of deliveries by channel and state."""
        d = DELIVERIES
        query = sa.select(d.c.channel, d.c.state, sa.func.count()).group_by(d.c.channel, d.c.state)
        with self._read() as db:
            return {(channel, state): count for channel, state, count in db.execute(query)}

    def open_counts(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        """Open incidents by severity; open threads by channel and kind."""
        with self._read() as db:
            return queries.open_counts(db)

    def incidents(
        self,
        limit: int = 100,
        since_ms: int | None = None,
        until_ms: int | None = None,
        status: Status | None = None,
        begins: str | None = None,
    ) -> list[Incident]:
        """Those that fired, newest alert first; alive at some time of the span, of a status, with an id that begins
        so."""
        i = INCIDENTS
        query = sa.select(i).order_by(i.c.newest_ms.desc())
        if status is not None:
            query = query.where(i.c.old.is_(status == "old"))
        if status in ("open", "resolved"):
            query = query.where(i.c.resolved_ms.is_(None) == (status == "open"))
        if since_ms is not None:
            query = query.where(
                sa.or_(i.c.newest_ms >= since_ms, i.c.resolved_ms.is_(None), i.c.resolved_ms >= since_ms)
            )
        if until_ms is not None:
            query = query.where(i.c.starts_ms < until_ms)
        if begins:
            query = query.where(sa.func.substr(i.c.incident_id, 1, len(begins)) == begins)
        with self._read() as db:
            return [to_incident(row) for row in db.execute(query.limit(limit))]

    def prune(self, before_ms: int, reach_ms: int | None = None) -> int:
        """Forget incidents without an alert or a delivery since a time, and nothing open; how many alerts.

        reach_ms: what was published after it is found again in the table, so it must not be forgotten.
        """
        a, d, m = ALERTS, DELIVERIES, MEMBERS
        with self._write() as db:
            found = a.c.ingested_ms >= reach_ms if reach_ms is not None else sa.false()
            recent = sa.select(a.c.incident_id).where(sa.or_(a.c.seen_ms >= before_ms, found))
            alive = sa.select(d.c.incident_id).where(sa.or_(queries.is_open(d), d.c.updated_ms >= before_ms))
            # No sweep finds them again in the table.
            asked = sa.select(ASKED.c.incident_id).where(ASKED.c.incident_id.is_not(None))
            forgotten = db.execute(
                sa.delete(a).where(
                    a.c.incident_id.not_in(recent), a.c.incident_id.not_in(alive), a.c.incident_id.not_in(asked)
                )
            ).rowcount
            if forgotten:
                kept = sa.select(a.c.incident_id)
                for table in (INCIDENTS, m, HISTORY, d):
                    db.execute(sa.delete(table).where(table.c.incident_id.not_in(kept)))
                db.execute(
                    sa.delete(THREADS).where(
                        THREADS.c.thread_id.not_in(sa.select(m.c.thread_id).where(m.c.thread_id.is_not(None)))
                    )
                )
        return forgotten


def _move(db: sa.Connection, cursor: Cursor) -> None:
    db.execute(sa.update(CURSOR).values(ingested_ms=cursor.ingested_ms, mute_before_ms=cursor.mute_before_ms))
