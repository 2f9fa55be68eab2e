"""The ledger: which alerts were seen, and every delivery with its state. SQLite in WAL mode, synced at each commit.

All times are milliseconds since the epoch. May be used from many threads; every change is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from notifier import ledger_queries as queries
from notifier.clock import Clock, wall_ms
from notifier.ledger_file import LedgerFile
from notifier.ledger_rows import (
    ALERTS,
    CURSOR,
    DELIVERIES,
    Cursor,
    Delivery,
    KnownIncident,
    alert_row,
    planned_row,
    to_alert,
    to_delivery,
)
from notifier.model import AlertRow, DeliveryDraft, DeliveryState, Target, Thread
from notifier.outbox import Outbox
from notifier.redact import Redact


class Ledger:
    """Opens the file, brings its tables up to date, and holds a lock on it until `close`.

    Raises UserError when the file cannot be used, is damaged or a newer tillwatch's, or another notifier has it; later
    every method raises LedgerError when it cannot be read or written. redact: what errors go through before they are
    kept.
    """

    def __init__(self, path: Path, clock: Clock = wall_ms, redact: Redact = str) -> None:
        self.file = LedgerFile(path, clock)
        self.outbox = Outbox(self.file, redact)
        self._read, self._write = self.file.read, self.file.write

    def close(self) -> None:
        self.file.close()

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
            for start in range(0, len(alert_ids), 500):
                chunk = alert_ids[start : start + 500]
                found.update(db.scalars(sa.select(ALERTS.c.alert_id).where(ALERTS.c.alert_id.in_(chunk))))
        return found

    def plan(
        self,
        alerts: Sequence[AlertRow],
        decide: Callable[[Mapping[tuple[str, Target], Thread]], list[DeliveryDraft]],
        cursor: Cursor,
        now_ms: int,
        incident_ids: Sequence[str] = (),
    ) -> list[DeliveryDraft]:
        """Record alerts, insert the deliveries that `decide` makes of them and move the cursor: one transaction.

        `decide` is given what is known of their incidents, and of `incident_ids`.
        """
        with self._write() as db:
            drafts = decide(queries.threads(db, {*incident_ids, *(alert.incident_id for alert in alerts)}))
            if alerts:
                db.execute(sqlite_insert(ALERTS).on_conflict_do_nothing(), [alert_row(a, now_ms) for a in alerts])
            new = [planned_row(draft, now_ms) for draft in drafts if not draft.added]
            if new:
                db.execute(sa.insert(DELIVERIES), new)
            for draft in drafts:
                if draft.added:
                    db.execute(
                        sa.update(DELIVERIES)
                        .where(DELIVERIES.c.delivery_key == draft.key)
                        .values(
                            alert_count=DELIVERIES.c.alert_count + draft.alert_count,
                            alert_id=draft.alert_id,
                            updated_ms=now_ms,
                        )
                    )
            _move(db, cursor)
        return drafts

    def open_alerts(self, limit: int = 10_000) -> list[AlertRow]:
        """The newest FIRING row of each incident that is open, the newest first."""
        with self._read() as db:
            return queries.newest_firing(db, queries.of_now(), limit)

    def muted_alerts(self, limit: int = 2000) -> list[tuple[AlertRow, set[Target]]]:
        """The same of open incidents that were told nowhere, or not everywhere, for what comes to an end: and where."""
        with self._read() as db:
            places = queries.muted_for_now(db)
            ids = list(places)[:limit]
            return [(alert, places[alert.incident_id]) for alert in queries.newest_firing(db, ids, limit)]

    def touch(self, alert_ids: Iterable[str], now_ms: int) -> None:
        """These alerts are found in the table at every sweep: were they forgotten, they would be told again."""
        ids = list(alert_ids)
        with self._write() as db:
            for start in range(0, len(ids), 500):
                chunk = ids[start : start + 500]
                db.execute(sa.update(ALERTS).where(ALERTS.c.alert_id.in_(chunk)).values(seen_ms=now_ms))

    # ---- reading

    def alert(self, alert_id: str) -> AlertRow:
        with self._read() as db:
            row = db.execute(sa.select(ALERTS).where(ALERTS.c.alert_id == alert_id)).one()
        return to_alert(row)

    def firing_count(self, incident_id: str) -> int:
        """FIRING rows of an incident seen so far."""
        query = sa.select(sa.func.count()).where(ALERTS.c.incident_id == incident_id, ALERTS.c.status == "FIRING")
        with self._read() as db:
            return db.scalar(query) or 0

    def deliveries(
        self, state: DeliveryState | None = None, incident_id: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Newest planned first."""
        query = sa.select(DELIVERIES).order_by(DELIVERIES.c.planned_ms.desc(), DELIVERIES.c.sequence.desc())
        if state:
            query = query.where(DELIVERIES.c.state == state)
        if incident_id:
            query = query.where(DELIVERIES.c.incident_id == incident_id)
        with self._read() as db:
            return [to_delivery(row) for row in db.execute(query.limit(limit))]

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of deliveries by channel and state."""
        d = DELIVERIES
        query = sa.select(d.c.channel, d.c.state, sa.func.count()).group_by(d.c.channel, d.c.state)
        with self._read() as db:
            return {(channel, state): count for channel, state, count in db.execute(query)}

    def incidents(self, limit: int = 100) -> list[KnownIncident]:
        """Newest alert first."""
        with self._read() as db:
            rows = db.execute(queries.incidents(limit)).mappings().all()
        return [KnownIncident(status="FIRING" if row["resolved_ms"] is None else "RESOLVED", **row) for row in rows]

    def prune(self, before_ms: int, reach_ms: int | None = None) -> int:
        """Forget incidents without an alert or a delivery since a time, and nothing open; how many alerts.

        reach_ms: what was published after it is found again in the table, so it must not be forgotten.
        """
        a, d = ALERTS, DELIVERIES
        with self._write() as db:
            found = a.c.ingested_ms >= reach_ms if reach_ms is not None else sa.false()
            recent = sa.select(a.c.incident_id).where(sa.or_(a.c.seen_ms >= before_ms, found))
            alive = sa.select(d.c.incident_id).where(sa.or_(queries.is_open(d), d.c.updated_ms >= before_ms))
            forgotten = db.execute(
                sa.delete(a).where(a.c.incident_id.not_in(recent), a.c.incident_id.not_in(alive))
            ).rowcount
            db.execute(sa.delete(d).where(d.c.incident_id.not_in(sa.select(a.c.incident_id))))
        return forgotten


def _move(db: sa.Connection, cursor: Cursor) -> None:
    db.execute(sa.update(CURSOR).values(ingested_ms=cursor.ingested_ms, mute_before_ms=cursor.mute_before_ms))
