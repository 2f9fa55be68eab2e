"""One batch, one publish, on either engine.

An engine brings its log and its store, and its loop: when to read, what to do after a failure, the look for a waiting
FATAL. What a batch is stands here: read, decode, drop duplicates, raw rows and dead letters, KPIs of touched minutes,
alerts, positions, and one publish that makes all of it visible.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from lakehouse.clock import ClockAhead
from lakehouse.kafka import Ends
from lakehouse.rules import alerting_events, state_rows
from lakehouse.tables import RAW_OF_TOPIC, TABLES
from pipeline import metrics
from pipeline.batch.draft import Draft
from pipeline.batch.figures import Figures
from pipeline.batch.judging import Judging
from pipeline.batch.kpi_state import kpi_state_from_rows, kpi_state_rows, unknown
from pipeline.batch.kpis import KpiTables
from pipeline.batch.log import Log, Partition, Slice
from pipeline.batch.memory import Memory
from pipeline.batch.merging import MERGED, mergeable
from pipeline.batch.points import reach
from pipeline.batch.positions import Position, as_of, copied, position_rows, stand
from pipeline.batch.rows import table_of
from pipeline.batch.small import SmallWay, closed_to
from pipeline.batch.terms import Terms
from pipeline.batch.times import EPOCH, MINUTE_US, micros
from pipeline.maintenance.jobs import Job, Workshop
from pipeline.maintenance.plan import Maintenance
from pipeline.maintenance.run import Run
from pipeline.storage.files import Change, Store

logger = logging.getLogger("tillwatch.ingest")

TICK_S = 1.0
SWAPS_A_PUBLISH = 16
"""Merged files that one publish swaps in at most: each is an entry in manifests, and no publish is to wait for them."""
TOPIC_OF_RAW = {table.name: topic for topic, table in RAW_OF_TOPIC.items()}

type Bulk = Callable[[Draft], None]
"""Fills a draft in place of the small way: reads, tells duplicates, writes raw rows, dead letters and KPIs.

Only the KPIs of topics that it brought no row of are left to be computed after it.
"""


def _now() -> datetime:
    return datetime.now(UTC)


class Core:
    """What an engine knows between two batches. Opened from the last publish, and thrown away after any failure.

    Not safe for threads: an engine that has several keeps them apart. Raises UserError where tables, log and clock do
    not belong together.
    """

    def __init__(self, log: Log, store: Store, terms: Terms, clock: Callable[[], datetime] = _now) -> None:
        self._log = log
        self._terms = terms
        self._clock = clock
        self.store = store
        self.memory = Memory(store, terms)
        standing = stand(store.rows("ingest_positions").to_pylist(), log, log.seen(), clock())
        self.positions = standing.positions
        self.as_of = standing.as_of
        self._newest_ingested = standing.newest_ingested
        self._lost_counts = standing.lost_counts
        self._received: dict[str, datetime] = {}
        self.judging = Judging(
            terms,
            store.rows("rule_state").to_pylist(),
            standing.newest_ingested,
            log.unreadable,
            standing.lost,
            self.memory.hours,
        )
        self.clock_ahead = ClockAhead()
        self.figures = Figures(self.clock_ahead, terms.sources.feeds)
        self.kpis = KpiTables(store, self.memory, terms)
        self._kpi_state = kpi_state_from_rows(store.rows("kpi_state").to_pylist())
        self.alerting = alerting_events(terms.rules)
        self._small = SmallWay(
            store,
            self.memory,
            terms.sources,
            terms.max_event_age,
            self.alerting,
            self.judging.tally,
            self.clock_ahead,
        )
        self._maintenance = Maintenance(store, terms.retention)
        self.workshop = Workshop(store)
        self._run: Run | None = None
        self._broken = False
        self._published_at = self._maintained_at = time.monotonic()
        self._ticked_at = 0.0

    def close(self) -> None:
        self.workshop.close()
        self._small.close()
        self.kpis.close()

    def offsets(self) -> dict[str, int]:
        """The next offset to read, a partition."""
        return {f"{t}-{p}": position.next_offset for (t, p), position in sorted(self.positions.items())}

    def next_offsets(self) -> dict[Partition, int]:
        """The same by partition."""
        return {partition: position.next_offset for partition, position in self.positions.items()}

    def behind(self, ends: Mapping[Partition, int]) -> int:
        """Messages between what is read and these ends."""
        positions = copied(self.positions)
        return sum(end - self._position(positions, partition).next_offset for partition, end in ends.items())

    # Batch, tick ---------------------------------------------------------------------------------------------------

    def batch(self, read: Slice, bulk: Bulk | None = None, heartbeat: bool = False) -> int:
        """Publish what a slice of the log holds; the slice was cut before this call. Returns how many messages.

        1. Decode, drop duplicates, write raw rows and dead letters.
        2. Recompute the KPIs of touched minutes; judge the rules.
        3. Stage every changed table, and with them the positions; publish.
        4. Only then remember it: a batch that fails has touched nothing but memory, and with it this Core is done.
        """
        with self._whole():
            draft = self._draft()
            for partition, end in read.ends.items():
                self._position(draft.positions, partition).next_offset = end
            reach("read")
            if bulk is not None:
                bulk(draft)
            else:
                self._small.fill(read, draft, self.positions)
                self.read_to(draft)
            began = time.perf_counter()
            self.compute_kpis(draft)
            began = draft.phase("kpis", began)
            draft.settle()
            draft.phase("raw", began)
            if bulk is None:
                reach("raw-written")
            reach("kpis-written")
            self._publish(draft, heartbeat)
            return draft.events

    def tick(self) -> None:
        """Between batches: maintenance, heartbeat, alerts that time alone makes. Called several times a second."""
        with self._whole():
            now = time.monotonic()
            ingest = self._terms.ingest
            if now - self._maintained_at >= ingest.maintenance_every.total_seconds():
                self._maintain()
            elif self._run is not None and self.workshop.rests:
                self._publish(self._draft())
            elif now - self._published_at >= ingest.heartbeat_every.total_seconds() or self.store.is_new:
                self._publish(self._draft(), heartbeat=True)
            elif now - self._ticked_at >= TICK_S and self._alerts(now):
                pass
            else:
                self._fill()

    def _alerts(self, now: float) -> bool:
        """Publish the alerts that time alone makes; returns whether there were any."""
        self._ticked_at = now
        if not self.alert_is_due():
            return False
        self._publish(self._draft())
        return True

    def _fill(self) -> None:
        """Compute one piece of what KPI tables lack, if they lack any."""
        piece = self.kpis.piece(micros(self._clock()), self.known_to)
        if piece is None:
            return
        draft = self._draft()
        self.kpis.fill(piece, draft, self.known_to)
        published_at = self._published_at
        self._publish(draft)
        # It says nothing new of the log: the next heartbeat is as near as it was.
        self._published_at = published_at

    @property
    def idle(self) -> bool:
        """Whether no run of maintenance is under way."""
        return self._run is None

    def alert_is_due(self) -> bool:
        """Whether time alone makes an alert: rules judge absence, and absence makes no batch."""
        draft = self._draft()
        self.read_to(draft)
        return bool(self.judging.judge(draft, unknown(self.kpis.state))[0])

    # What the large way asks for too -------------------------------------------------------------------------------

    def read_to(self, draft: Draft) -> None:
        """What was in the log when it was last asked is read: so is all up to that moment."""
        seen = self._log.seen()
        now = self._clock()
        for partition, ends in seen.ends.items():
            position = self._position(draft.positions, partition, ends)
            if position.next_offset >= ends.end:
                position.read_to = max(seen.asked_at, position.read_to or EPOCH)
            if position.read_to is not None:
                # Or a clock that was ahead for a moment would mute the rules until that time comes.
                position.read_to = min(position.read_to, now)

    def compute_kpis(self, draft: Draft) -> None:
        self.kpis.compute(draft, self.known_to)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What was begun in memory is either ended or the end of this Core."""
        if self._broken:
            raise RuntimeError("A batch has failed; what is in memory stands for no publish.")
        self._broken = True
        yield
        self._broken = False

    @property
    def known_to(self) -> int | None:
        """The minute (since the epoch) up to which window ends are computed."""
        return micros(self.as_of) // MINUTE_US if self.as_of is not None else None

    def closed_to(self, topic: str) -> int:
        """Minutes of the topic that ended by then (us) were judged: what comes for them is late."""
        return closed_to(self._terms.sources.fed_by(topic), self.positions)

    def show_lag(self) -> None:
        """Put on the page of metrics how far behind the log this is."""
        self.figures.show_lag(self.positions, self._log.seen())

    # Publish -------------------------------------------------------------------------------------------------------

    def _draft(self) -> Draft:
        now = self._clock()
        ingested_at = self.clock_ahead.ingested_at(now, self._newest_ingested)
        return Draft(now, ingested_at, copied(self.positions), received=dict(self._received))

    def _position(
        self, positions: dict[Partition, Position], partition: Partition, ends: Ends | None = None
    ) -> Position:
        # A partition that was not there when as_of was asked for has nothing from before.
        first = (ends or self._log.seen().ends.get(partition, Ends(0, 0))).first
        return positions.setdefault(partition, Position(first, self.as_of))

    def _publish(self, draft: Draft, heartbeat: bool = False) -> None:
        """Judge, stage, publish; then remember it."""
        began = time.perf_counter()
        if not draft.kpis_done:
            # Else KPIs stand for the as_of of that time: what time makes due after it is left to the next publish.
            self.read_to(draft)
            self.compute_kpis(draft)
        self.memory.forget(draft.by_bulk)
        self._swap_in(draft)
        reached = as_of(draft.positions)
        kpi_state = draft.kpi_state or self.kpis.state
        alerts, state = self.judging.judge(draft, unknown(kpi_state))
        self._append("alerts", [alert.row() | {"ingested_at": draft.ingested_at} for alert in alerts], draft)
        reach("alerts-written")
        if not draft.has_rows and not heartbeat and not self.store.is_new:
            # Only duplicates: their positions go with the next publish. So does what was filled in without a row.
            self.kpis.state = kpi_state
            self._remember(draft, reached, draft.received)
            return
        if state is not self.judging.state:
            self._replace("rule_state", state_rows(state, draft.ingested_at), draft)
        if kpi_state != self._kpi_state:
            self._replace("kpi_state", kpi_state_rows(kpi_state, draft.ingested_at), draft)
        self._replace(
            "ingest_positions", position_rows(draft.positions, self._terms.sources, self._log, draft.ingested_at), draft
        )
        # The positions that leave something lost behind and the row that says so go together.
        for (log_topic, lost), messages in self._lost_counts.items():
            for topic in self._terms.sources.feeds.get(log_topic, ()):
                draft.counts[topic, lost] += messages
        tells = heartbeat or bool(self._lost_counts) or self.figures.due
        if tells:
            self._append("pipeline_metrics", self.figures.rows(draft, self._log.seen(), heartbeat), draft)
        began = draft.phase("alerts", began)
        changes = draft.changes()
        self.store.stage(changes)
        reach("positions-written")
        began = draft.phase("stage", began)
        self._log.sync()
        note = "heartbeat" if heartbeat else f"{draft.events} events"
        commit = self.store.publish(changes, reached, note)
        draft.phase("publish", began)
        for accept in draft.accept:
            accept()
        self._lost_counts.clear()
        self.judging.state = state
        self.kpis.state = self._kpi_state = kpi_state
        # What the state does not know yet stays in _received: duplicates alone are no silence.
        self._remember(draft, reached, {})
        self._maintenance.note(changes)
        self._begin_merges(changes)
        if tells:
            self.figures.told()
        self._published_at = time.monotonic()
        seconds = self.figures.published(draft, reached)
        self.show_lag()
        logger.debug(
            "publish %d %s: %d events in %.3f s (%s)",
            self.store.sequence,
            commit[:8],
            draft.events,
            seconds,
            " ".join(f"{phase} {spent:.3f}" for phase, spent in draft.phases.items()),
        )

    def _remember(self, draft: Draft, reached: datetime | None, received: dict[str, datetime]) -> None:
        self.figures.count(draft)
        self.memory.trim()
        self._received = received
        self.positions, self.as_of = draft.positions, reached or self.as_of
        self._newest_ingested = draft.ingested_at

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]], draft: Draft) -> None:
        if rows:
            draft.add(name, self.store.tables[name].write(table_of(TABLES[name], rows)))

    def _replace(self, name: str, rows: Sequence[Mapping[str, Any]], draft: Draft) -> None:
        files = self.store.tables[name]
        draft.drop(name, list(files.live.values()))
        draft.add(name, files.write(table_of(TABLES[name], rows)))

    # Maintenance ---------------------------------------------------------------------------------------------------

    def maintain(self) -> None:
        """Expire, thin and sweep, and begin what takes longer; a later publish swaps that in."""
        with self._whole():
            self._maintain()

    def _maintain(self) -> None:
        self._maintained_at = time.monotonic()
        if self._run is not None:
            return  # the last one is still under way
        # The clock, not ingested_at: after that was ahead, what is young would go as if it were old.
        now, retention = self._clock(), self._terms.retention
        plan = self._maintenance.plan(micros(now), self.judging.open_incidents)
        run = self._run = plan.run
        run.log_rows_deleted = self._log.trim(self.next_offsets(), now - retention.event_log)
        swept = self.store.tidy(now, retention)
        run.commits_expired, run.files_deleted, run.bytes_deleted = astuple(swept)
        for job in plan.jobs:
            self.workshop.submit(job)
        draft = self._draft()
        for name, files in plan.gone.items():
            draft.drop(name, files)
            if name in self.memory.hours:
                draft.accept.append(self.memory.hours[name].clear)
        if plan.gone or not run.waiting:
            self._publish(draft)

    def _swap_in(self, draft: Draft) -> None:
        """Take what was merged or written anew meanwhile; and tell of a run that is through."""
        for done in self.workshop.take(SWAPS_A_PUBLISH):
            job = done.job
            if not done.fits(self.store.tables[job.name].live, draft.removed.get(job.name, ())):
                self.store.discard(done.files)
                continue
            draft.drop(job.name, job.sources)
            draft.add(job.name, done.files)
            if job.name in self.memory.hours:
                draft.accept.append(self.memory.hours[job.name].clear)
            if job.run is not None:
                done.tell(job.run)
            keys = self.memory.keys.get(TOPIC_OF_RAW.get(job.name, ""))
            if keys is not None and job.keep is None:
                draft.accept.append(partial(keys.merge, done.files[0], job.sources))
        run = self._run
        if run is None or run.waiting:
            return
        if run.did_something:
            self._append("maintenance_runs", [run.row(draft.ingested_at)], draft)
            metrics.MAINTENANCE.observe(run.seconds)
        self._run = None
        pa.default_memory_pool().release_unused()

    def _begin_merges(self, changes: Mapping[str, Change]) -> None:
        """Small files of an hour under way become one; one merge a table at a time."""
        for name in MERGED:
            if name in changes and not self.workshop.busy_with(name):
                group = mergeable(self.store.tables[name], changes[name].added)
                if group:
                    self.workshop.submit(Job(name, group, group[0].level + 1))
