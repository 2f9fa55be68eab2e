"""Planning: new rows of the table alerts become deliveries in the ledger."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.dremio.errors import DremioError
from lakehouse.memory import give_back
from notifier import cursor as cursors
from notifier.clock import SWEEP_BACK, Clock, from_ms, span_ms, to_ms, wall_ms
from notifier.cursor import AlertReader
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.ledger.rows import Cursor
from notifier.metrics import Metrics
from notifier.model import FATAL, AlertRow, AlertSource, DeliveryDraft
from notifier.planning import plans
from notifier.planning.order import in_order, is_old
from notifier.reasons import Decided, reasons
from notifier.routing.decide import Router, Surroundings

logger = logging.getLogger("notifier")

BATCH = 500
"""Alerts planned in one transaction: between two of them senders write what they sent, so a storm is told while it is
planned."""
STRANGE_SHOWN = 5
"""Odd rows that one line of the log shows; the metric counts all."""


class Planner:
    """Turns new rows of the table alerts into deliveries. `poll` is called by one thread.

    progress: called at every answer and every batch, as a poll takes as long as much is new. expect: called with
    alerts that somebody is about to be told of.
    unstamped_error: a sentence while alerts without an ingested_at cannot be asked for.
    """

    def __init__(
        self,
        reader: AlertReader,
        ledger: Ledger,
        metrics: Metrics,
        router: Router,
        *,
        max_age: timedelta,
        overlap: timedelta,
        sweep_every: timedelta,
        keep: timedelta,
        wake: Callable[[str], None] = lambda channel: None,
        progress: Callable[[], None] = lambda: None,
        expect: Callable[[Iterable[AlertRow]], None] = lambda alerts: None,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._metrics = metrics
        self._router = router
        self._max_age = max_age
        self._overlap = overlap
        self._sweep_every_s = sweep_every.total_seconds()
        self._keep = keep
        self._wake = wake
        self._progress = progress
        self._expect = expect
        self._clock = clock
        self._monotonic = monotonic
        self._head: str | None = None
        self._swept_at: float | None = None
        self.unstamped_error: str | None = None

    def poll(self, wait_s: float = 0.0) -> int:
        """Plan what was published since the last look; how many alerts. Raises DremioError when nobody answers.

        wait_s: how long the gateway of this machine may be waited for.
        1. Ask for the head commit: nothing more when it has not moved.
        2. Read what was published since the cursor, less an overlap, at that commit, in pages. Now and then
           (a sweep) less a day.
        3. Leave out what the ledger has.
        4. Plan the rest in order, each batch and its cursor in one transaction, and wake the senders.
        5. After a sweep: the same with what has no time of publishing; where that fails, all else goes on and the
           next sweep tries it again. Then forget what is older than `keep`, but nothing that the next sweep would
           find again, and tell again.
        """
        head = self._reader.next_head(self._head or NOTHING_PUBLISHED, wait_s)
        sweep = self._swept_at is None or self._monotonic() - self._swept_at >= self._sweep_every_s
        done = head == self._head and not (sweep and self.unstamped_error)
        if done or not cursors.something_published(head):
            self._metrics.polls.labels("unchanged").inc()
            return 0
        held = self._ledger.cursor()
        moment = self._moment(head) if sweep or held.ingested_ms is None else None
        if held.mute_before_ms is None:
            held = replace(held, mute_before_ms=self._mute_before_ms(held, moment))
            self._ledger.move(held)
        elif held.ingested_ms is not None and moment and held.ingested_ms > to_ms(moment):
            # Saved before a row of the future could no longer move it.
            held = replace(held, ingested_ms=to_ms(moment))
            self._ledger.move(held)
        pages = cursors.pages_since(self._reader, self._progress, head, self._since(held, sweep, moment))
        planned, held = self._take(pages, held, head, moment, held.mute_before_ms or 0)
        if held.ingested_ms is None and moment:
            # Nothing yet, as far back as it goes: no need to look there again.
            held = replace(held, ingested_ms=to_ms(moment))
            self._ledger.move(held)
        pa.default_memory_pool().release_unused()
        if planned > BATCH:
            # A storm's rows are as large as all else.
            give_back()
        self._head = head
        if sweep:
            self._swept_at = self._monotonic()
            planned += self._take_unstamped(held, head, moment)
            self._forget(held)
        self._metrics.polls.labels("planned" if planned else "nothing_new").inc()
        return planned

    def _take(
        self, pages: Iterable[pa.Table], held: Cursor, head: str, moment: datetime | None, mute_before_ms: int
    ) -> tuple[int, Cursor]:
        """Plan what of these rows the ledger does not have: how many alerts, and the cursor as it is then."""
        planned = 0
        for rows in pages:
            ids = [alert_id or cursors.identity(row) for alert_id, row in cursors.with_ids(rows)]
            known = self._ledger.known(ids)
            if rows["ingested_at"].null_count:
                self._ledger.touch(known, self._clock())
            if len(known) < len(set(ids)):
                moment = moment or self._moment(head)
                alerts = self._new(cursors.rows_but(rows, ids, known), head, moment or from_ms(self._clock()))
                held = self._plan(alerts, held, head, moment, mute_before_ms)
                planned += len(alerts)
        return planned, held

    def _take_unstamped(self, held: Cursor, head: str, moment: datetime | None) -> int:
        """How many alerts without an ingested_at are planned. They are found however old they are: what came before
        the ledger's memory begins is muted. Raises no DremioError, for nothing else waits for them."""
        reached_ms = held.ingested_ms if held.ingested_ms is not None else self._clock()
        mute_before_ms = max(held.mute_before_ms or 0, reached_ms - span_ms(self._keep))
        pages = cursors.pages_unstamped(self._reader, self._progress, head)
        try:
            planned, _ = self._take(pages, held, head, moment, mute_before_ms)
        except DremioError as caught:
            if self.unstamped_error is None:
                logger.warning("alerts without an ingested_at are not seen: %s The next sweep tries it again.", caught)
            self.unstamped_error = f"Alerts without an ingested_at cannot be asked for: {caught}"
            return 0
        except LedgerError:
            # Nothing is known of these rows: all of it again, as where any other part of a poll fails.
            self._head = self._swept_at = None
            raise
        if self.unstamped_error is not None:
            logger.info("alerts without an ingested_at are seen again")
            self.unstamped_error = None
        return planned

    def _moment(self, head: str) -> datetime | None:
        moment = cursors.as_of(self._reader, head)
        self._progress()
        return moment

    def _mute_before_ms(self, held: Cursor, moment: datetime | None) -> int:
        """What was published over an hour before the ledger's birth, in the data's time.

        Our clock tells only how long ago the birth was: that of the data may be elsewhere.
        """
        now_ms = self._clock()
        age_ms = max(0, now_ms - (held.born_ms or now_ms))
        return (to_ms(moment) if moment else now_ms) - age_ms - span_ms(cursors.FIRST_START_AGE)

    def _since(self, held: Cursor, sweep: bool, moment: datetime | None) -> datetime:
        """Where this look begins; with nothing planned yet, as far back as the ledger would remember."""
        if held.ingested_ms is None:
            begin_ms = (to_ms(moment) if moment else self._clock()) - span_ms(self._keep)
        else:
            begin_ms = held.ingested_ms - span_ms(SWEEP_BACK if sweep else self._overlap)
        return from_ms(max(0, begin_ms))

    def _forget(self, held: Cursor) -> None:
        reach_ms = None if held.ingested_ms is None else held.ingested_ms - span_ms(SWEEP_BACK)
        forgotten = self._ledger.prune(self._clock() - span_ms(self._keep), reach_ms)
        if forgotten:
            logger.info("%d alerts older than notifier.keep are forgotten", forgotten)

    def _new(self, rows: Iterable[dict[str, Any]], commit: str, moment: datetime) -> list[AlertRow]:
        fresh: dict[str, AlertRow] = {}
        strange: list[str] = []
        for row in rows:
            alert, odd = cursors.to_alert(row, commit, moment)
            if alert.alert_id not in fresh:
                fresh[alert.alert_id] = alert
                if odd:
                    strange.append(f"alert {alert.alert_id!r} is taken as {alert.severity}: {', '.join(odd)}")
        if strange:
            # Once for each: from now on the ledger knows them.
            self._metrics.bad_rows.inc(len(strange))
            shown = "; ".join(text[:300] for text in strange[:STRANGE_SHOWN])
            logger.warning("%d rows of alerts are odd at commit %.12s: %s", len(strange), commit, shown)
        return in_order(fresh.values())

    def _plan(
        self, alerts: list[AlertRow], held: Cursor, commit: str, moment: datetime | None, mute_before_ms: int
    ) -> Cursor:
        """Plans alerts; the cursor as it is then, never beyond the commit's as_of: rows may lie in the future."""
        reached = held.ingested_ms
        around = self._surroundings(held, mute_before_ms, alerts)
        for start in range(0, len(alerts), BATCH):
            batch = alerts[start : start + BATCH]
            if moment:
                reached = max(reached or 0, min(to_ms(batch[-1].ingested_at), to_ms(moment)))
            held = replace(held, ingested_ms=reached)
            now_ms = self._clock()
            self._expect(alert for alert in batch if alert.status != "RESOLVED")
            heard = plans.hearing(self._router, batch, around)
            drafts = self._ledger.plan(batch, heard.groups, heard.hear, now_ms, cursor=held)
            self._told(batch, drafts, heard.decided, commit)
            self._progress()
        return held

    def _surroundings(self, held: Cursor, mute_before_ms: int, alerts: Sequence[AlertRow] = ()) -> Surroundings:
        """What decisions of now look at; `alerts` are about to be planned, and open or end incidents."""
        mute_before = from_ms(max(0, mute_before_ms))
        all_from = from_ms(max(0, held.all_from_ms or 0))

        def old(alert: AlertRow) -> bool:
            if alert.source is AlertSource.QUESTION:
                return False  # judged here and now, by our clock: the data's says nothing of it
            # What a version that looked at FATALs alone has passed over is not told years later.
            passed_over = alert.severity != FATAL and alert.ingested_at < all_from
            return passed_over or is_old(alert, self._max_age, mute_before)

        return plans.surroundings(self._ledger, self._router, from_ms(self._clock()), old, alerts)

    def surroundings(self) -> Surroundings:
        """What decisions of now look at."""
        held = self._ledger.cursor()
        return self._surroundings(held, held.mute_before_ms or 0)

    def unmute(self) -> int:
        """Tell of open incidents that nothing mutes any more; how many deliveries. Called now and then."""
        drafts, decided = plans.unmute(self._ledger, self._router, self.surroundings, self._clock())
        if drafts:
            self._told((), drafts, decided, "")
        return len(drafts)

    def _told(
        self, batch: Sequence[AlertRow], drafts: Sequence[DeliveryDraft], decided: Iterable[Decided], commit: str
    ) -> None:
        for alert in batch:
            self._metrics.alerts.labels(alert.status).inc()
        for channel in dict.fromkeys(draft.target.channel for draft in drafts):
            self._wake(channel)
        if batch:
            logger.info("%d alerts at commit %.12s: %s", len(batch), commit, in_words(drafts))
        else:
            logger.info("nothing mutes them any more: %s", in_words(drafts))
        for reason in reasons(decided):
            logger.info("%s", reason)


def in_words(drafts: Iterable[DeliveryDraft]) -> str:
    """What was planned, for the log: how many deliveries of each kind, and how many muted for each reason."""
    new = [draft for draft in drafts if not draft.added]
    planned = Counter(str(draft.kind) for draft in new if draft.muted is None)
    muted = Counter(f"muted {draft.muted}" for draft in new if draft.muted is not None)
    return ", ".join(f"{count} {what}" for what, count in (planned + muted).items()) or "nothing new to tell"
