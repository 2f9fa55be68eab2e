"""Ingest of the embedded default: event log -> Iceberg tables, exactly once.

One loop, one writer. A batch reads every topic from the positions of the last publish, decodes, drops duplicates,
writes raw rows and dead letters, recomputes the KPIs of the minutes it touched, judges the rules, and publishes all of
it with the new positions in one transaction. After any end, kill -9 included, a start goes on from those positions.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from prometheus_client import start_http_server

from embedded.catalog import Catalog, CatalogFile, Staged, TableWriter, only_writer
from embedded.log import EventLog, Record
from lakehouse import events as contract
from lakehouse.clock import CLOCK_SLACK, ClockAhead
from lakehouse.events import TOPICS, Rejected, decode, event_time
from lakehouse.kpis import kpi_sql
from lakehouse.rules import (
    Moment,
    Received,
    Rule,
    State,
    alerting_events,
    due,
    evaluate,
    load_rules,
    state_from_rows,
    state_rows,
)
from lakehouse.rules.closing import CLOSING_DELAY
from lakehouse.settings import (
    AlertsSettings,
    IngestSettings,
    OrdersSettings,
    RetentionSettings,
    RulesSettings,
    Shared,
    UserError,
    check_spans,
    claim_port,
    config_path,
    exit_on_user_error,
    open_data_dir,
)
from lakehouse.stop import Stop
from lakehouse.tables import KPI_TABLES, RAW_OF_TOPIC, TABLES, Table, arrow_schema
from pipeline import metrics
from pipeline.batch.rows import MINUTE_US, KeyIndex, KpiHours, MinuteRows, hash_keys
from pipeline.judging.watch import Tally, Watch
from pipeline.maintenance.run import BYTES_OF_A_MERGED_FILE, Maintenance

logger = logging.getLogger("tillwatch.ingest")

LOW_RATE = 50  # events/s below which publishes come half as often
METRICS_EVERY = 60.0  # s
TICK = 1.0  # s
POLL = 0.05  # s
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # s
WINDOW = 5  # minutes of active_users_per_window
MERGE_AT = 16  # small files of one level and hour that become one
LEVELS = 2
EPOCH = datetime.fromtimestamp(0, UTC)

_KPIS_OF_TOPIC = {
    "orders_topic": ("orders_revenue_per_minute",),
    "errors_topic": ("errors_per_minute",),
    "clicks_topic": ("clicks_per_minute",),
}
ACTIVE_USERS = "active_users_per_window"


def moment(us: int) -> datetime:
    """A time from microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)


def micros(when: datetime) -> int:
    """Microseconds since the epoch."""
    return (when - EPOCH) // timedelta(microseconds=1)


@dataclass
class Position:
    """How far one topic is read. Times are UTC."""

    next_offset: int
    read_to: datetime | None = None
    first_event_at: datetime | None = None


@dataclass
class _Rows:
    """The new rows of one topic in a batch."""

    events: list[contract.Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    rejected: list[tuple[Record, Rejected]] = field(default_factory=list)


@dataclass
class _Change:
    """What one table's part of the publish is, and what to remember once it went through."""

    added: list[CatalogFile] = field(default_factory=list)
    removed: list[CatalogFile] = field(default_factory=list)


@dataclass(frozen=True)
class Parts:
    """What a batch is judged by."""

    ingest: IngestSettings
    retention: RetentionSettings
    orders: OrdersSettings
    alerts: AlertsSettings
    rules_settings: RulesSettings
    rules: tuple[Rule, ...]
    max_event_age: timedelta | None


class Ingest:
    """The pipeline between one event log and one catalog. `step` makes at most one publish."""

    def __init__(
        self, data_dir: Path, log: EventLog, parts: Parts, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._log = log
        self._parts = parts
        self._clock = clock
        self.catalog = Catalog(data_dir)
        self._duckdb = duckdb.connect(config={"threads": 1})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        bound = parts.ingest
        self._keys = {t: KeyIndex(self.catalog, table, bound.keys_in_memory) for t, table in RAW_OF_TOPIC.items()}
        self._minutes = {t: MinuteRows(self.catalog, table, bound.rows_in_memory) for t, table in RAW_OF_TOPIC.items()}
        self._hours = {table.name: KpiHours(self.catalog, table) for table in KPI_TABLES}
        self.maintenance = Maintenance(self.catalog, parts.retention)
        self.catalog.sweep_orphans(parts.retention.sweep_age)
        self.positions: dict[str, Position] = {}
        self._newest_ingested = EPOCH
        self._as_of: datetime | None = None
        self._received: dict[str, datetime] = {}
        self._state: State = {}
        self._read_positions()
        self._state = state_from_rows(self.catalog.rows("rule_state").to_pylist())
        lookback = parts.rules_settings.max_lookback
        self._watch = Watch(self._newest_ingested if self._newest_ingested != EPOCH else None, lookback)
        self._tally = Tally(lookback)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counts_since = time.monotonic()
        self._clock_ahead = ClockAhead()
        self._spans = metrics.Spans()
        self._unreadable: dict[str, list[tuple[datetime, datetime]]] = {}
        self._skip_lost()
        self._begun_at = float("-inf")
        self._rate: deque[tuple[float, int]] = deque()
        self._peeked: dict[str, int] = {}
        self._maintained_at = time.monotonic()
        self._ticked_at = 0.0

    def close(self) -> None:
        self._duckdb.close()
        self.catalog.close()

    # Start ---------------------------------------------------------------------------------------------------------

    def _read_positions(self) -> None:
        rows = self.catalog.rows("ingest_positions").to_pylist()
        newest = max((row["updated_at"] for row in rows), default=EPOCH)
        now = self._clock()
        if newest - now > CLOCK_SLACK:
            raise UserError(
                f"The newest rows were ingested at {newest:%Y-%m-%d %H:%M:%S} UTC, but this machine's clock says "
                f"{now:%Y-%m-%d %H:%M:%S} UTC; set the clock right and start again."
            )
        self._newest_ingested = newest
        self.positions = {topic: Position(self._log.bounds(topic)[0]) for topic in TOPICS}
        for row in rows:
            topic = row["topic"]
            if row["cluster_id"] != self._log.cluster_id or topic not in self.positions:
                continue
            _, end = self._log.bounds(topic)
            if row["next_offset"] > end:
                raise UserError(
                    f"{topic} was read up to offset {row['next_offset']}, but the event log ends at {end}: it is not "
                    "the log these tables were made from; restore it, or move events.db away to start a new one."
                )
            read_to = None if row["read_to"] is None else min(row["read_to"], now)
            self.positions[topic] = Position(row["next_offset"], read_to, row["first_event_at"])
        # KPIs were made up to the as_of of the last publish, whatever log that was read from.
        reads = [row["read_to"] for row in rows]
        self._as_of = min(reads) if reads and None not in reads else None

    def _skip_lost(self) -> None:
        """Positions before the log's first offset: what lies between is lost; say so and go on."""
        for topic, position in self.positions.items():
            first, _ = self._log.bounds(topic)
            if position.next_offset < first:
                logger.error(
                    "%s: offsets %d to %d are lost, the log begins at %d", topic, position.next_offset, first - 1, first
                )
                self._counts[topic, "lost"] += first - position.next_offset
                metrics.EVENTS.labels(topic, "lost").inc(first - position.next_offset)
                if position.read_to is not None:
                    self._unreadable.setdefault(topic, []).append((position.read_to, self._clock()))
                position.next_offset = first

    def offsets(self) -> dict[str, int]:
        """The next offset to read, a topic."""
        return {topic: position.next_offset for topic, position in self.positions.items()}

    # The loop's body -----------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Publish if it is time to: there is something and enough time has passed, a FATAL waits, a heartbeat is due.

        Returns whether more is waiting already, so that the caller need not rest.
        """
        now = time.monotonic()
        since = now - self._begun_at
        ends = {topic: self._log.bounds(topic)[1] for topic in TOPICS}
        waiting = any(ends[topic] > self.positions[topic].next_offset for topic in TOPICS)
        every = self._parts.ingest.publish_every.total_seconds() * (2 if self._events_a_second(now) < LOW_RATE else 1)
        if waiting and (since >= every or self._fatal_waits(ends["errors_topic"])):
            return self.publish()
        if now - self._maintained_at >= self._parts.ingest.maintenance_every.total_seconds():
            self._maintain()
        elif since >= self._parts.ingest.heartbeat_every.total_seconds():
            self.publish(heartbeat=True)
        elif not waiting and now - self._ticked_at >= TICK:
            self._ticked_at = now
            if self._alert_is_due():
                self.publish()
        return False

    def _events_a_second(self, now: float) -> float:
        while self._rate and self._rate[0][0] < now - 10:
            self._rate.popleft()
        return sum(count for _, count in self._rate) / 10

    def _fatal_waits(self, end: int) -> bool:
        """Whether an unread error is a FATAL; each is looked at once."""
        first = max(self.positions["errors_topic"].next_offset, self._peeked.get("errors_topic", 0))
        if end <= first:
            return False
        records = self._log.read("errors_topic", first, self._parts.ingest.batch_rows)
        self._peeked["errors_topic"] = first + len(records)
        return any(record.value is not None and b"FATAL" in record.value for record in records)

    def _alert_is_due(self) -> bool:
        """Whether time alone makes an alert: rules judge absence, and absence makes no batch."""
        now = self._clock()
        positions = {topic: replace(position, read_to=now) for topic, position in self.positions.items()}
        return bool(self._judge(positions, now, {}, [], {})[0])

    # One batch -----------------------------------------------------------------------------------------------------

    def publish(self, heartbeat: bool = False) -> bool:
        """Read, decide, write, publish. Returns whether the log holds more.

        1. Read each topic, decode, drop duplicates, write raw rows.
        2. Recompute the KPIs of touched minutes; judge the rules.
        3. Stage every changed table, and with them the positions; publish.
        4. Only then remember it: a batch that fails has changed nothing but caches, which the caller throws away.
        """
        started = time.perf_counter()
        begun_at = time.monotonic()
        clock = self._clock()
        ingested_at = self._clock_ahead.ingested_at(clock, self._newest_ingested)
        sequence = self.catalog.sequence + 1
        positions = {topic: replace(position) for topic, position in self.positions.items()}
        changes: dict[str, _Change] = {}
        dead: list[tuple[str, Record, Rejected]] = []
        more = False
        received = dict(self._received)
        alerting: list[Received] = []
        counts: Counter[tuple[str, str]] = Counter()
        remember: list[Callable[[], None]] = []
        touched: dict[str, set[int]] = {}

        for topic in TOPICS:
            # Asked before the read: whatever is appended later has a later log time.
            asked = self._clock()
            end = self._log.bounds(topic)[1]
            position = positions[topic]
            records = self._log.read(topic, position.next_offset, self._parts.ingest.batch_rows)
            read_at = self._clock()
            if records:
                received_at = self._received_by(read_at, topic, records, counts)
                received[topic] = max(received_at)
                position.next_offset = records[-1].offset + 1
                read = self._decode(topic, records)
                dead += [(topic, record, rejected) for record, rejected in read.rejected]
                rejected_at = [min(record.received_at, read_at) for record, _ in read.rejected]
                self._tally.add(topic, received_at, rejected_at)
                counts[topic, "bad"] += len(read.rejected)
                rows, hashes, times = self._new_rows(topic, read, ingested_at, counts)
                if rows.num_rows:
                    touched[topic] = self._raw(topic, rows, hashes, times, changes, remember)
                    first = moment(int(times.min()))
                    position.first_event_at = min(first, position.first_event_at or first)
                    alerting += self._alerting(topic, read, read_at)
            if position.next_offset >= end:
                newest = max(asked, received.get(topic, EPOCH))
            else:
                newest = received.get(topic, position.read_to or EPOCH)
                more = True
            # No later than now, or a clock that was ahead for a moment would mute the rules until that time comes.
            position.read_to = min(max(newest, position.read_to or EPOCH), read_at)
        decoded = time.perf_counter()

        as_of = min(position.read_to for position in positions.values() if position.read_to is not None)
        kpis = self._kpis(touched, as_of, ingested_at, changes, remember)
        computed = time.perf_counter()

        alerts, state = self._judge(positions, clock, received, alerting, kpis)
        self._append("alerts", [asdict(a) | {"ingested_at": ingested_at} for a in alerts], changes)
        self._append(
            "dead_letters",
            [
                {
                    "topic": topic,
                    "source_partition": 0,
                    "source_offset": record.offset,
                    "received_at": record.received_at,
                    "reason": str(rejected.reason),
                    "detail": rejected.detail,
                    "payload": record.value,
                    "ingested_at": ingested_at,
                }
                for topic, record, rejected in dead
            ],
            changes,
        )
        if not changes and not heartbeat:
            # Only duplicates: their positions go with the next publish.
            self.positions, self._received = positions, received
            self._counts.update(counts)
            self._count(counts)
            return more

        if state is not self._state:
            self._replace("rule_state", state_rows(state, ingested_at), changes)
        self._replace("ingest_positions", self._position_rows(positions, ingested_at), changes)
        self._counts.update(counts)
        measured = time.monotonic()
        if heartbeat or measured - self._counts_since >= METRICS_EVERY:
            self._append("pipeline_metrics", self._metric_rows(positions, ingested_at, heartbeat), changes)
        self._merge_one(changes, remember)
        staged = [self._stage(name, change, sequence) for name, change in changes.items()]
        written = time.perf_counter()
        # Positions must never lie beyond what the log holds after a power cut.
        self._log.sync()
        commit_id = self.catalog.publish(staged, micros(as_of))
        done = time.perf_counter()

        for accept in remember:
            accept()
        for minutes in self._minutes.values():
            minutes.trim()
        for keys in self._keys.values():
            keys.trim()
        self._count(counts)
        self.positions, self._as_of, self._state, self._received = positions, as_of, state, {}
        self._newest_ingested = ingested_at
        # From the beginning of this publish, so that publishes come at an even pace however long one takes.
        self._begun_at = begun_at
        if heartbeat or measured - self._counts_since >= METRICS_EVERY:
            self._counts.clear()
            self._counts_since = measured
            self._spans.clear()
            self._clock_ahead.clear()
        events = sum(count for (_, outcome), count in counts.items() if outcome in ("good", "bad", "duplicate"))
        self._rate.append((begun_at, events))
        if events:
            phases = {
                "read": decoded - started,
                "kpis": computed - decoded,
                "write": written - computed,
                "publish": done - written,
            }
            self._spans.add(phases, done - started)
        metrics.published(as_of)
        metrics.show_lag({(topic, 0): rows for topic, rows in self._lag(positions).items()})
        logger.debug("publish %d %s: %d events in %.3f s", sequence, commit_id[:8], events, done - started)
        return more

    def _received_by(
        self, read_at: datetime, topic: str, records: Sequence[Record], counts: Counter[tuple[str, str]]
    ) -> list[datetime]:
        """received_at of each record, of one from a clock ahead the time of reading; counts those far ahead."""
        times = [record.received_at for record in records]
        newest = max(times)
        if newest <= read_at:
            return times
        if newest - read_at > CLOCK_SLACK:
            ahead = sum(time - read_at > CLOCK_SLACK for time in times)
            counts[topic, "clock_ahead"] += ahead
            self._clock_ahead.note(topic, ahead, newest - read_at)
        return [min(time, read_at) for time in times]

    def _decode(self, topic: str, records: Sequence[Record]) -> _Rows:
        rows = _Rows()
        age = self._parts.max_event_age
        for record in records:
            event = decode(topic, record.value, record.received_at, age)
            if isinstance(event, Rejected):
                rows.rejected.append((record, event))
            else:
                rows.events.append(event)
                rows.records.append(record)
        return rows

    def _new_rows(
        self, topic: str, read: _Rows, ingested_at: datetime, counts: Counter[tuple[str, str]]
    ) -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
        """The rows that are not stored yet, each (key, event time) once, first in log order; their hashes and times."""
        seen: dict[str, datetime | set[datetime]] = {}
        fresh: list[int] = []
        for index, event in enumerate(read.events):
            when = event_time(event)
            held = seen.get(event.event_key)
            if held is None:
                seen[event.event_key] = when
            elif isinstance(held, set):
                if when in held:
                    continue
                held.add(when)
                counts[topic, "key_conflict"] += 1
            elif held == when:
                continue
            else:
                seen[event.event_key] = {held, when}
                counts[topic, "key_conflict"] += 1
            fresh.append(index)
        duplicates = len(read.events) - len(fresh)
        if duplicates:
            read.events = [read.events[index] for index in fresh]
            read.records = [read.records[index] for index in fresh]
        table = raw_rows(RAW_OF_TOPIC[topic], read.events, read.records, ingested_at)
        time_column = RAW_OF_TOPIC[topic].event_time
        assert time_column is not None
        hashes = hash_keys((event.event_key for event in read.events), len(read.events))
        times = table[time_column].cast(pa.int64()).to_numpy()
        if len(read.events):
            stored, conflicts = self._keys[topic].stored(hashes, times)
            counts[topic, "key_conflict"] += conflicts
            if stored.any():
                duplicates += int(stored.sum())
                keep = ~stored
                read.events = [event for event, new in zip(read.events, keep, strict=True) if new]
                read.records = [record for record, new in zip(read.records, keep, strict=True) if new]
                table, hashes, times = table.filter(pa.array(keep)), hashes[keep], times[keep]
        counts[topic, "duplicate"] += duplicates
        counts[topic, "good"] += len(read.events)
        counts[topic, "late"] += self._late(topic, times)
        return table, hashes, times

    def _late(self, topic: str, times: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """How many events came after their minute was closed."""
        read_to = self.positions[topic].read_to
        if read_to is None:
            return 0
        closed = micros(read_to - CLOSING_DELAY)
        return int(((times // MINUTE_US + 1) * MINUTE_US <= closed).sum())

    def _raw(
        self,
        topic: str,
        rows: pa.Table,
        hashes: np.ndarray[Any, np.dtype[np.int64]],
        times: np.ndarray[Any, np.dtype[np.int64]],
        changes: dict[str, _Change],
        remember: list[Callable[[], None]],
    ) -> set[int]:
        """Write raw rows. Returns the minutes they touch: `MinuteRows` holds them whole, the new rows included."""
        table = RAW_OF_TOPIC[topic]
        writer = self.catalog.tables[table.name]
        added = writer.write(rows)
        changes.setdefault(table.name, _Change()).added += added
        minutes = self._minutes[topic]
        parts = minutes.split(rows)
        touched = {minute for minute, _ in parts}
        minutes.fetch(touched)
        minutes.add(parts)
        hours = times // (60 * MINUTE_US)

        def remember_keys() -> None:
            for file in added:
                own = hours == file.hour
                self._keys[topic].add(file, hashes[own], times[own])

        remember.append(remember_keys)
        return touched

    def _kpis(
        self,
        touched: Mapping[str, set[int]],
        as_of: datetime,
        ingested_at: datetime,
        changes: dict[str, _Change],
        remember: list[Callable[[], None]],
    ) -> dict[str, dict[int, pa.Table]]:
        """Recompute the KPI rows of touched minutes. Returns, a table, the hours that change."""
        changed: dict[str, dict[int, pa.Table]] = {}
        statuses = self._parts.orders.counted_statuses
        for topic, minutes in touched.items():
            source = RAW_OF_TOPIC[topic].name
            rows = self._minutes[topic].rows(sorted(minutes))
            for name in _KPIS_OF_TOPIC[topic]:
                answer = self._ask(kpi_sql(name, statuses), {source: rows})
                changed[name] = self._hours[name].replace(minutes, _kpi_rows(TABLES[name], answer, ingested_at))
        ends = self._window_ends(touched.get("clicks_topic", set()), as_of)
        if ends:
            minutes = {minute for end in ends for minute in range(end - WINDOW, end)}
            clicks = self._minutes["clicks_topic"]
            clicks.fetch(minutes)
            table = TABLES[ACTIVE_USERS]
            window_ends = pa.table(
                {"window_end": pa.array([end * MINUTE_US for end in sorted(ends)], pa.timestamp("us"))}
            )
            sources = {"window_ends": window_ends, "clicks_processed": clicks.rows(sorted(minutes))}
            rows = _kpi_rows(table, self._ask(kpi_sql(ACTIVE_USERS, statuses), sources), ingested_at)
            replaced = self._hours[ACTIVE_USERS].replace(ends, rows)
            old = {hour: self._hours[ACTIVE_USERS].hour(hour) for hour in replaced}
            replaced = {h: new for h, new in replaced.items() if new.num_rows or old[h].num_rows}
            if replaced:
                changed[ACTIVE_USERS] = replaced
        for name, hours in changed.items():
            writer = self.catalog.tables[name]
            change = changes.setdefault(name, _Change())
            for hour, rows in hours.items():
                change.removed += writer.hours.get(hour, {}).values()
                change.added += writer.write(rows)

            def accept(name: str = name, hours: dict[int, pa.Table] = hours) -> None:
                self._hours[name].accept(hours)

            remember.append(accept)
        return changed

    def _window_ends(self, touched: set[int], as_of: datetime) -> set[int]:
        """Minute ends (minutes since the epoch) whose active users change: of touched clicks, and newly due ones."""
        newest = micros(as_of) // MINUTE_US
        ends = {minute + after for minute in touched for after in range(1, WINDOW + 1) if minute + after <= newest}
        stored = self._minutes["clicks_topic"].span()
        if self._as_of is not None and stored is not None:
            # Clicks may lie ahead of as_of: their ends come due with time.
            ends.update(range(micros(self._as_of) // MINUTE_US + 1, min(newest, stored[1] + WINDOW) + 1))
        return ends

    def _ask(self, sql: str, sources: Mapping[str, pa.Table]) -> pa.Table:
        for name, rows in sources.items():
            self._duckdb.register(name, rows)
        try:
            return self._duckdb.execute(sql).to_arrow_table()
        finally:
            for name in sources:
                self._duckdb.unregister(name)

    def _alerting(self, topic: str, read: _Rows, read_at: datetime) -> list[Received]:
        wanted = alerting_events(self._parts.rules).get(topic)
        if wanted is None:
            return []
        return [
            Received(topic, event, min(record.received_at, read_at))
            for event, record in zip(read.events, read.records, strict=True)
            if wanted(event)
        ]

    def _judge(
        self,
        positions: Mapping[str, Position],
        now: datetime,
        received: Mapping[str, datetime],
        events: list[Received],
        changed: Mapping[str, Mapping[int, pa.Table]],
    ) -> tuple[list[Any], State]:
        parts = self._parts
        lookback = parts.rules_settings.max_lookback
        moment_ = Moment(
            now=now,
            read_to={topic: p.read_to for topic, p in positions.items() if p.read_to is not None},
            received=received,
            first_event_at={topic: p.first_event_at for topic, p in positions.items() if p.first_event_at is not None},
            unreadable=self._unreadable,
            unwatched=self._watch.look(now),
            read=self._tally.counts,
        )
        kpis = {
            name: self._hours[name].ending_within(
                [(micros(start), micros(end)) for start, end in spans], changed.get(name, {})
            )
            for name, spans in due(parts.rules, self._state, moment_, lookback).items()
        }
        return evaluate(
            parts.rules,
            self._state,
            moment_,
            events=events,
            kpis=kpis,
            max_age=parts.alerts.max_age,
            max_lookback=lookback,
        )

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]], changes: dict[str, _Change]) -> None:
        if rows:
            written = self.catalog.tables[name].write(table_of(TABLES[name], rows))
            changes.setdefault(name, _Change()).added += written

    def _replace(self, name: str, rows: Sequence[Mapping[str, Any]], changes: dict[str, _Change]) -> None:
        writer = self.catalog.tables[name]
        changes[name] = _Change(writer.write(table_of(TABLES[name], rows)), list(writer.live.values()))

    def _stage(self, name: str, change: _Change, sequence: int) -> Staged:
        return self.catalog.tables[name].stage(change.added, change.removed, sequence)

    def _merge_one(self, changes: dict[str, _Change], remember: list[Callable[[], None]]) -> None:
        """Merge the small files of one hour of one table: at most one merge a publish, so that none takes long."""
        for topic in (*RAW_OF_TOPIC, ""):
            names = (
                [RAW_OF_TOPIC[topic].name]
                if topic
                else ["alerts", "dead_letters", "pipeline_metrics", "maintenance_runs"]
            )
            for name in names:
                if name not in changes:
                    continue
                group = mergeable(self.catalog.tables[name], changes[name])
                if not group:
                    continue
                rows = self.catalog.read(name, group)
                merged = self.catalog.tables[name].write(rows, group[0].level + 1)
                changes[name].added += merged
                changes[name].removed += group
                if topic:

                    def merge_keys(
                        topic: str = topic, into: CatalogFile = merged[0], group: list[CatalogFile] = group
                    ) -> None:
                        self._keys[topic].merge(into, group)

                    remember.append(merge_keys)
                return

    def _position_rows(self, positions: Mapping[str, Position], updated_at: datetime) -> list[dict[str, Any]]:
        return [
            {
                "cluster_id": self._log.cluster_id,
                "topic": topic,
                "source_partition": 0,
                "next_offset": position.next_offset,
                "read_to": position.read_to,
                "first_event_at": position.first_event_at,
                "updated_at": updated_at,
            }
            for topic, position in positions.items()
        ]

    def _lag(self, positions: Mapping[str, Position]) -> dict[str, int]:
        return {topic: self._log.bounds(topic)[1] - position.next_offset for topic, position in positions.items()}

    def _metric_rows(self, positions: Mapping[str, Position], now: datetime, heartbeat: bool) -> list[dict[str, Any]]:
        lag = self._lag(positions)
        figures: list[tuple[str, str, float]] = [(topic, name, float(n)) for (topic, name), n in self._counts.items()]
        figures += [(topic, "lag", float(rows)) for topic, rows in lag.items()]
        figures += [(topic, "log_end", float(self._log.bounds(topic)[1])) for topic in positions]
        if heartbeat:
            figures.append(("", "heartbeat", 1.0))
        figures += self._spans.means() + self._clock_ahead.figures()
        return [
            {"measured_at": now, "topic": topic, "metric": name, "value": value, "ingested_at": now}
            for topic, name, value in figures
        ]

    def _count(self, counts: Counter[tuple[str, str]]) -> None:
        for (topic, outcome), number in counts.items():
            if number:
                metrics.EVENTS.labels(topic, outcome).inc(number)

    # Maintenance ---------------------------------------------------------------------------------------------------

    def _maintain(self) -> None:
        """Merge, expire, thin and sweep; what it did is published as a row of maintenance_runs."""
        started = time.perf_counter()
        # The clock, not ingested_at: after that was ahead, what is young would go as if it were old.
        now = self._clock()
        open_incidents = {row.incident_id for row in self._state.values() if row.incident_id is not None}
        run = self.maintenance.run(micros(now), open_incidents)
        kept = self._parts.retention
        for topic, position in self.positions.items():
            run.log_rows_deleted += self._log.trim(topic, position.next_offset, now - kept.event_log)
        run.commits_expired = self.catalog.thin(micros(now), kept.every_commit, kept.first_of_minute)
        run.files_deleted, run.bytes_deleted = self.catalog.sweep(micros(now), kept.sweep_age)
        self._maintained_at = time.monotonic()
        if not run.did_something:
            return
        changes = {name: _Change(added, removed) for name, (added, removed) in run.changes.items()}
        ingested_at = max(now, self._newest_ingested)
        self._append("maintenance_runs", [run.row(ingested_at, time.perf_counter() - started)], changes)
        self._replace("ingest_positions", self._position_rows(self.positions, ingested_at), changes)
        sequence = self.catalog.sequence + 1
        staged = [self._stage(name, change, sequence) for name, change in changes.items()]
        self.catalog.publish(staged, micros(self._as_of) if self._as_of else None)
        self._newest_ingested = ingested_at
        for hours in self._hours.values():
            hours.clear()
        pa.default_memory_pool().release_unused()
        metrics.MAINTENANCE.observe(time.perf_counter() - started)


def mergeable(writer: TableWriter, change: _Change) -> list[CatalogFile]:
    """MERGE_AT or more live files of one level, of an hour that this publish writes to, or none."""
    gone = {file.uri for file in change.removed}
    for hour in {file.hour for file in change.added}:
        files = [file for file in writer.hours.get(hour, {}).values() if file.uri not in gone]
        for level in range(LEVELS):
            group = [file for file in files if file.level == level]
            if len(group) >= MERGE_AT and sum(file.bytes for file in group) <= BYTES_OF_A_MERGED_FILE:
                return group
    return []


def raw_rows(
    table: Table, events: Sequence[contract.Event], records: Sequence[Record], ingested_at: datetime
) -> pa.Table:
    """Rows of a raw table from its topic's events and the records they came in."""
    schema = arrow_schema(table)
    columns: list[pa.Array] = []
    for column in schema:
        match column.name:
            case "ingested_at":
                values: Any = pa.repeat(pa.scalar(ingested_at, column.type), len(events))
            case "source_partition":
                values = pa.repeat(pa.scalar(0, column.type), len(events))
            case "source_offset":
                values = pa.array([record.offset for record in records], column.type)
            case name:
                values = pa.array([getattr(event, name) for event in events], column.type)
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=schema)


def table_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a small table from mappings with all its columns."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(table))


def _kpi_rows(table: Table, answer: pa.Table, updated_at: datetime) -> pa.Table:
    schema = arrow_schema(table)
    stamped = answer.append_column(
        "updated_at", pa.repeat(pa.scalar(updated_at, pa.timestamp("us", "UTC")), len(answer))
    )
    ordered = stamped.select(schema.names)
    return pa.Table.from_arrays(
        [column.cast(f.type) for column, f in zip(ordered.columns, schema, strict=True)], schema=schema
    )


def run(stop: Stop) -> None:
    """Ingest until `stop` is set. A batch that fails is begun again from the last publish, with back-off."""
    shared = Shared.load()
    retention = check_spans(RetentionSettings.load(), shared)
    parts = Parts(
        IngestSettings.load(),
        retention,
        OrdersSettings.load(),
        AlertsSettings.load(),
        RulesSettings.load(),
        load_rules(config_path().parent / "alerts.yaml"),
        shared.max_event_age,
    )
    port = shared.port("ingest")
    claim_port(port)
    data_dir = open_data_dir(shared.data_dir, "embedded")
    with only_writer(data_dir):
        start_http_server(port, "127.0.0.1")
        pause = FIRST_PAUSE
        while not stop.is_set():
            ingest: Ingest | None = None
            try:
                with EventLog(data_dir / "events.db") as log:
                    ingest = Ingest(data_dir, log, parts)
                    logger.info("reading %s from %s", data_dir / "events.db", ingest.offsets())
                    while not stop.is_set():
                        if not ingest.step():
                            stop.wait(POLL)
                        pause = FIRST_PAUSE
            except UserError:
                raise
            except Exception as error:
                # Whatever it was (a full disk, a locked file): nothing of the batch is visible, the next try begins at
                # the last publish.
                metrics.FAILURES.inc()
                logger.error("batch failed, again in %.0f s: %s: %s", pause, type(error).__name__, error)
                logger.debug("the batch that failed", exc_info=True)
                stop.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
            finally:
                if ingest is not None:
                    ingest.close()
    logger.info("done")


def main() -> None:
    """`python -m embedded.ingest`."""
    parser = argparse.ArgumentParser(
        prog="embedded.ingest", description="Read the event log into the Iceberg tables, exactly once; Ctrl-C ends it."
    )
    parser.add_argument("--verbose", action="store_true", help="log every publish")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("pyiceberg", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = Stop.on_signals()
    with exit_on_user_error():
        run(stop)


if __name__ == "__main__":
    main()
