"""One batch, one publish: from a DataFrame of Kafka's messages to tables that all move together.

A batch of at most `spark.collect_rows` messages is decoded by the executors and finished in the driver: duplicates told
by keys in memory, KPIs by DuckDB over the minutes in memory, small files written directly. A larger one is worked by
Spark to its end: duplicates by an anti-join with what is stored, KPIs by the same SQL over the touched minutes. Both
ways write the same rows; tests run each.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import transforms
from lakehouse.clock import CLOCK_SLACK, ClockAhead
from lakehouse.events import EVENT_TYPE, TOPICS
from lakehouse.kafka import Ends
from lakehouse.kpis import kpi_sql
from lakehouse.rules import Moment, Received, Rule, State, alerting_events, due, evaluate, state_from_rows, state_rows
from lakehouse.rules.closing import CLOSING_DELAY
from lakehouse.settings import (
    AlertsSettings,
    IngestSettings,
    OrdersSettings,
    RetentionSettings,
    RulesSettings,
    UserError,
)
from lakehouse.tables import KPI_TABLES, RAW_OF_TOPIC, TABLES, Table
from pipeline import metrics
from pipeline.batch.rows import MINUTE_US, KeyIndex, KpiHours, MinuteRows, hash_keys
from pipeline.judging.watch import Tally, Watch
from pipeline.maintenance.run import BYTES_OF_A_MERGED_FILE, Maintenance
from pipeline.storage.files import LiveFile
from pipeline.storage.nessie_sweep import BackgroundSweep, NessieSweep
from pipeline.storage.objects import Objects
from session import SparkSettings
from store import Change, Store, reach, row_schema
from watch import LogWatch, Outages, Partition, Seen

logger = logging.getLogger("tillwatch.driver")

METRICS_EVERY = 60.0  # s
WINDOW = 5  # minutes of active_users_per_window
MERGE_AT = 16  # small files of one level and hour that become one
LEVELS = 2
EPOCH = datetime.fromtimestamp(0, UTC)
ACTIVE_USERS = "active_users_per_window"
_KPI_OF_TOPIC = {
    "orders_topic": "orders_revenue_per_minute",
    "errors_topic": "errors_per_minute",
    "clicks_topic": "clicks_per_minute",
}
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_SMALL = ("alerts", "dead_letters", "pipeline_metrics", "maintenance_runs")


def moment(us: int) -> datetime:
    """A time from microseconds since the epoch; of what lies before the year 1 its begin."""
    return EPOCH + timedelta(microseconds=max(us, _FIRST_US))


def micros(when: datetime) -> int:
    """Microseconds since the epoch."""
    return (when - EPOCH) // timedelta(microseconds=1)


@dataclass
class Position:
    """How far one partition is read. Times are UTC."""

    next_offset: int
    read_to: datetime | None = None
    first_event_at: datetime | None = None


@dataclass(frozen=True)
class Parts:
    """What a batch is judged by."""

    spark: SparkSettings
    ingest: IngestSettings
    retention: RetentionSettings
    orders: OrdersSettings
    alerts: AlertsSettings
    rules_settings: RulesSettings
    rules: tuple[Rule, ...]
    max_event_age: timedelta | None


@dataclass(frozen=True)
class Span:
    """Times of events, the first and the last included, and how many events."""

    low: datetime
    high: datetime
    rows: int


@dataclass(frozen=True)
class Fresh:
    """Events of one topic that are not stored yet, held by Spark."""

    topic: str
    rows: DataFrame
    span: Span


@dataclass
class Draft:
    """What a publish will be made of, while it is being made."""

    read_at: datetime
    """This machine's clock: no message was received later than this, whatever its log time says."""
    ingested_at: datetime
    positions: dict[Partition, Position]
    added: dict[str, list[LiveFile]] = field(default_factory=dict)
    removed: dict[str, list[LiveFile]] = field(default_factory=dict)
    by_spark: set[str] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    touched: dict[str, set[int]] = field(default_factory=dict)
    """Minutes of new rows, a topic."""
    received: dict[str, datetime] = field(default_factory=dict)
    alerting: list[Received] = field(default_factory=list)
    changed_hours: dict[str, dict[int, pa.Table]] = field(default_factory=dict)
    kpis_done: bool = False
    accept: list[Callable[[], None]] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def has_rows(self) -> bool:
        return bool(self.added or self.removed or self.by_spark)

    def add(self, name: str, files: Sequence[LiveFile]) -> None:
        if files:
            self.added.setdefault(name, []).extend(files)

    def drop(self, name: str, files: Sequence[LiveFile]) -> None:
        if files:
            self.removed.setdefault(name, []).extend(files)

    def changes(self) -> dict[str, Change]:
        return {
            name: Change(self.added.get(name, []), self.removed.get(name, []))
            for name in {**self.added, **self.removed}
        }


class Pipeline:
    """What a driver knows between two batches. Opened from main, thrown away after any failure.

    `batch` is called by the stream's thread, `tick` by the main one; a lock keeps them apart.
    """

    def __init__(
        self,
        spark: SparkSession,
        store: Store,
        parts: Parts,
        logs: Mapping[str, str],
        first: Seen,
        brokers: str,
        outages: Outages,
    ) -> None:
        self._session = spark
        self.store = store
        self._parts = parts
        self._logs = logs
        self.lock = RLock()
        self.failure: BaseException | None = None
        self._duckdb = duckdb.connect(config={"threads": 1})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        bound = parts.ingest
        self._keys = {t: KeyIndex(store, table, bound.keys_in_memory) for t, table in RAW_OF_TOPIC.items()}
        self._minutes = {t: MinuteRows(store, table, bound.rows_in_memory) for t, table in RAW_OF_TOPIC.items()}
        self._hours = {table.name: KpiHours(store, table) for table in KPI_TABLES}
        self._maintenance = Maintenance(store, parts.retention)
        self.positions: dict[Partition, Position] = {}
        self._newest_ingested = EPOCH
        self._as_of: datetime | None = None
        self._received: dict[str, datetime] = {}
        self._lost: dict[str, list[tuple[datetime, datetime]]] = {}
        self._lost_counts: Counter[tuple[str, str]] = Counter()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counts_since = time.monotonic()
        self._clock_ahead = ClockAhead()
        self._spans = metrics.Spans()
        self._read_positions(first)
        self._state: State = state_from_rows(store.rows("rule_state").to_pylist())
        lookback = parts.rules_settings.max_lookback
        self._judged = Watch(self._newest_ingested if self._newest_ingested != EPOCH else None, lookback)
        self._tally = Tally(lookback)
        # Last: each has a thread, which a failure above would leave behind.
        self._sweep = BackgroundSweep(NessieSweep(store.nessie, Objects(store.s3), parts.retention))
        ids = {topic: held.rpartition("/")[2] for topic, held in logs.items()}
        self._watch = LogWatch(brokers, first, outages, ids)
        self._published_at = time.monotonic()
        self._ticked_at = 0.0
        self._maintained_at = time.monotonic()
        metrics.TRIGGER.set(parts.spark.trigger.total_seconds())

    def close(self) -> None:
        self._sweep.close()
        self._watch.close()
        self._duckdb.close()
        self.store.close()

    # Start ---------------------------------------------------------------------------------------------------------

    def _read_positions(self, first: Seen) -> None:
        rows = self.store.rows("ingest_positions").to_pylist()
        newest = max((row["updated_at"] for row in rows), default=EPOCH)
        now = datetime.now(UTC)
        if newest - now > CLOCK_SLACK:
            raise UserError(
                f"The newest rows were ingested at {newest:%Y-%m-%d %H:%M:%S} UTC, but this machine's clock says "
                f"{now:%Y-%m-%d %H:%M:%S} UTC; set the clock right and start again."
            )
        self._newest_ingested = newest
        self.positions = {partition: Position(ends.first) for partition, ends in first.ends.items()}
        for row in rows:
            partition = (row["topic"], row["source_partition"])
            if partition not in first.ends or row["cluster_id"] != self._logs[row["topic"]]:
                continue
            ends = first.ends[partition]
            if row["next_offset"] > ends.end:
                raise UserError(
                    f"{partition[0]} partition {partition[1]} was read up to offset {row['next_offset']}, but Kafka's "
                    f"log ends at {ends.end}: it is not the log these tables were made from; restore it, or make the "
                    "topic anew (it is then read from its beginning, and events already stored are told by their keys)."
                )
            read_to = None if row["read_to"] is None else min(row["read_to"], now)
            position = Position(row["next_offset"], read_to, row["first_event_at"])
            if position.next_offset < ends.first:
                self._lose(partition, position, ends)
            self.positions[partition] = position
        # KPIs were made up to the as_of of the last publish, whatever log that was read from.
        reads = [row["read_to"] for row in rows]
        self._as_of = min(reads) if reads and None not in reads else None
        read_before = {row["topic"] for row in rows if row["cluster_id"] == self._logs.get(row["topic"])}
        for (topic, _), position in self.positions.items():
            if topic in read_before and position.read_to is None:
                position.read_to = self._as_of

    def _lose(self, partition: Partition, position: Position, ends: Ends) -> None:
        """What lies before the log's first offset is lost; say so and go on."""
        topic, number = partition
        lost = ends.first - position.next_offset
        logger.error(
            "%s partition %d: offsets %d to %d are lost, the log begins at %d",
            topic,
            number,
            position.next_offset,
            ends.first - 1,
            ends.first,
        )
        self._lost_counts[topic, "lost"] += lost
        if position.read_to is not None:
            self._lost.setdefault(topic, []).append((position.read_to, datetime.now(UTC)))
        position.next_offset = ends.first

    def offsets(self) -> dict[str, int]:
        """The next offset to read, a partition."""
        return {f"{t}-{p}": position.next_offset for (t, p), position in sorted(self.positions.items())}

    def starting_offsets(self) -> str:
        """The same as Spark wants it."""
        return transforms.offsets_json((t, p, position.next_offset) for (t, p), position in self.positions.items())

    # Batch, tick ---------------------------------------------------------------------------------------------------

    def batch(self, messages: DataFrame, batch_id: int, checkpoint: Path) -> None:
        """foreachBatch. What it raises is kept in `failure`, for Spark wraps it beyond recognition."""
        with self.lock:
            try:
                if self.failure is None:
                    self._batch(messages, batch_end(checkpoint, batch_id))
            except BaseException as error:
                self.failure = error
                raise

    def _batch(self, messages: DataFrame, ends: Mapping[Partition, int]) -> None:
        started = time.perf_counter()
        draft = self._draft()
        size = 0
        for partition, end in ends.items():
            first = self._watch.seen.ends.get(partition, Ends(0, 0)).first
            # A partition that was not there when as_of was asked for has nothing from before.
            known = draft.positions.setdefault(partition, Position(first, self._as_of))
            size += end - known.next_offset
            known.next_offset = end
        reach("read")
        if not size:
            return
        # A task costs more than the messages of most partitions.
        messages = messages.coalesce(self._session.sparkContext.defaultParallelism)
        decoded = transforms.decoded(messages, self._parts.max_event_age, self._parts.rules)
        if size <= self._parts.spark.collect_rows:
            self._small(decoded, draft)
        else:
            self._large(decoded, draft)
        self._publish(draft, started)

    def tick(self) -> None:
        """Between batches: heartbeat, alerts that time alone makes, maintenance. Called several times a second."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self.failure is not None:
                return
            now = time.monotonic()
            self._show_lag()
            if not self._watch.readable:
                return
            if self._watch.made_anew:
                raise RuntimeError(f"{self._watch.made_anew} was made anew")
            if now - self._maintained_at >= self._parts.ingest.maintenance_every.total_seconds():
                self._maintain()
            elif now - self._published_at >= self._parts.ingest.heartbeat_every.total_seconds() or self.store.is_new:
                self._publish(self._draft(), time.perf_counter(), heartbeat=True)
            elif now - self._ticked_at >= 1:
                self._ticked_at = now
                if self._alert_is_due():
                    self._publish(self._draft(), time.perf_counter())
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.lock.release()

    def _draft(self) -> Draft:
        now = datetime.now(UTC)
        return Draft(
            now,
            self._clock_ahead.ingested_at(now, self._newest_ingested),
            {partition: replace(position) for partition, position in self.positions.items()},
            received=dict(self._received),
        )

    def _alert_is_due(self) -> bool:
        """Whether time alone makes an alert: rules judge absence, and absence makes no batch."""
        draft = self._draft()
        self._read_to(draft)
        return bool(self._judge(draft)[0])

    # A small batch: finished in the driver ---------------------------------------------------------------------------

    def _small(self, decoded: DataFrame, draft: Draft) -> None:
        began = time.perf_counter()
        rows = decoded.toArrow().combine_chunks()
        began = _phase(draft, "decode", began)
        reach("decoded")
        order = pc.sort_indices(
            rows, [("topic", "ascending"), ("source_partition", "ascending"), ("source_offset", "ascending")]
        )
        rows = rows.take(order)
        self._note_received(draft, rows)
        of_topic = {topic: rows.filter(pc.equal(rows["topic"], topic)) for topic in TOPICS}
        fresh: dict[str, tuple[pa.Table, Any, Any]] = {}
        for topic, part in of_topic.items():
            bad = part.filter(pc.is_valid(part["reason"]))
            draft.counts[topic, "bad"] += bad.num_rows
            good = part.filter(pc.is_null(part["reason"]))
            if good.num_rows:
                fresh[topic] = self._new_rows(topic, good, draft)
        began = _phase(draft, "dedupe", began)
        reach("deduped")
        for topic, (new, hashes, times) in fresh.items():
            if new.num_rows:
                self._raw(topic, new, hashes, times, draft)
        reach("raw-written")
        bad = rows.filter(pc.is_valid(rows["reason"]))
        if bad.num_rows:
            schema = row_schema(TABLES["dead_letters"])
            stamped = bad.append_column(
                "ingested_at", pa.repeat(pa.scalar(draft.ingested_at, pa.timestamp("us", "UTC")), bad.num_rows)
            )
            draft.add(
                "dead_letters", self.store.tables["dead_letters"].write(stamped.select(schema.names).cast(schema))
            )
        reach("dead-letters-written")
        began = _phase(draft, "raw", began)
        self._read_to(draft)
        self._kpis(draft)
        reach("kpis-written")
        _phase(draft, "kpis", began)

    def _note_received(self, draft: Draft, rows: pa.Table) -> None:
        """The newest log time of each topic and partition, and what came in each minute of the log."""
        times, read_at = rows["received_at"], pa.scalar(draft.read_at, pa.timestamp("us", "UTC"))
        ahead = rows.filter(pc.greater(times, pa.scalar(draft.read_at + CLOCK_SLACK, read_at.type)))
        of_topic = ahead.group_by("topic").aggregate([([], "count_all"), ("received_at", "max")])
        for row in of_topic.to_pylist():
            self._note_ahead(draft, row["topic"], row["count_all"], row["received_at_max"])
        place = rows.schema.get_field_index("received_at")
        times = pc.if_else(pc.greater(times, read_at), read_at, times)
        rows = rows.set_column(place, "received_at", times).filter(rows["log_time"])
        minutes = rows.select(["topic", "reason"]).append_column(
            "minute", pc.floor_temporal(rows["received_at"], unit="minute")
        )
        came = minutes.group_by(["topic", "minute"]).aggregate([([], "count_all"), ("reason", "count")])
        for row in came.to_pylist():
            self._tally.count(row["topic"], row["minute"], row["count_all"], row["reason_count"])
        newest = rows.group_by(["topic", "source_partition"]).aggregate([("received_at", "max")])
        for row in newest.to_pylist():
            self._note(draft, row["topic"], row["source_partition"], row["received_at_max"])

    def _note_ahead(self, draft: Draft, topic: str, messages: int, newest: datetime) -> None:
        """Messages whose time, the log's or their producer's, lies far ahead."""
        draft.counts[topic, "clock_ahead"] += messages
        self._clock_ahead.note(topic, messages, newest - draft.read_at)

    def _note(self, draft: Draft, topic: str, partition: int, received_at: datetime) -> None:
        draft.received[topic] = max(received_at, draft.received.get(topic, EPOCH))
        position = draft.positions[topic, partition]
        position.read_to = max(received_at, position.read_to or EPOCH)

    def _new_rows(self, topic: str, good: pa.Table, draft: Draft) -> tuple[pa.Table, Any, Any]:
        """The rows that are not stored yet, each (key, event time) once, first in log order; their hashes and times."""
        keys = good["event_key"].to_pylist()
        times = good["event_at"].cast(pa.int64()).to_numpy()
        seen: dict[str, set[int]] = {}
        kept = np.ones(len(keys), dtype=np.bool_)
        for index, (key, when) in enumerate(zip(keys, times.tolist(), strict=True)):
            held = seen.get(key)
            if held is None:
                seen[key] = {when}
            elif when in held:
                kept[index] = False
            else:
                held.add(when)
                draft.counts[topic, "key_conflict"] += 1
        hashes = hash_keys(keys, len(keys))
        at = np.flatnonzero(kept)
        stored, conflicts = self._keys[topic].stored(hashes[at], times[at])
        draft.counts[topic, "key_conflict"] += conflicts
        kept[at[stored]] = False
        new = good.filter(pa.array(kept))
        draft.counts[topic, "duplicate"] += len(keys) - new.num_rows
        draft.counts[topic, "good"] += new.num_rows
        return new, hashes[kept], times[kept]

    def _raw(self, topic: str, new: pa.Table, hashes: Any, times: Any, draft: Draft) -> None:
        """Write raw rows; MinuteRows then holds the touched minutes whole, the new rows included."""
        table = RAW_OF_TOPIC[topic]
        rows = raw_rows(table, new, draft.ingested_at)
        files = self.store.tables[table.name].write(rows)
        draft.add(table.name, files)
        self._note_first(draft, topic, new)
        minutes = self._minutes[topic]
        parts = minutes.split(rows)
        draft.touched[topic] = {minute for minute, _ in parts}
        minutes.fetch(draft.touched[topic])
        minutes.add(parts)
        draft.counts[topic, "late"] += self._late(topic, times)
        hours = times // (60 * MINUTE_US)

        def remember() -> None:
            for file in files:
                own = hours == file.hour
                self._keys[topic].add(file, hashes[own], times[own])

        draft.accept.append(remember)
        if topic in alerting_events(self._parts.rules):
            draft.alerting += alerting(topic, new.filter(new["alerting"]), draft.read_at)

    def _note_first(self, draft: Draft, topic: str, new: pa.Table) -> None:
        first = new.group_by("source_partition").aggregate([("event_at", "min")])
        for row in first.to_pylist():
            position = draft.positions[topic, row["source_partition"]]
            position.first_event_at = min(row["event_at_min"], position.first_event_at or row["event_at_min"])

    def _closed(self, topic: str) -> datetime:
        """Minutes that ended by then were judged: what comes for them is late."""
        read_to = as_of_({place: p for place, p in self.positions.items() if place[0] == topic})
        return read_to - CLOSING_DELAY if read_to is not None else EPOCH

    def _late(self, topic: str, times: Any) -> int:
        """How many events came after their minute was closed."""
        return int(((times // MINUTE_US + 1) * MINUTE_US <= micros(self._closed(topic))).sum())

    def _kpis(self, draft: Draft) -> None:
        """Recompute the KPI rows of touched minutes, and of window ends that time has made due, in memory."""
        draft.kpis_done = True
        statuses = self._parts.orders.counted_statuses
        changed = draft.changed_hours
        for topic, minutes in draft.touched.items():
            rows = self._minutes[topic].rows(sorted(minutes))
            name = _KPI_OF_TOPIC[topic]
            answer = self._ask(kpi_sql(name, statuses), {RAW_OF_TOPIC[topic].name: rows})
            changed[name] = self._hours[name].replace(minutes, kpi_rows(TABLES[name], answer, draft.ingested_at))
        ends = self._window_ends(draft)
        if ends:
            minutes = {minute for end in ends for minute in range(end - WINDOW, end)}
            clicks = self._minutes["clicks_topic"]
            clicks.fetch(minutes)
            window_ends = pa.table(
                {"window_end": pa.array([end * MINUTE_US for end in sorted(ends)], pa.timestamp("us"))}
            )
            sources = {"window_ends": window_ends, "clicks_processed": clicks.rows(sorted(minutes))}
            answer = self._ask(kpi_sql(ACTIVE_USERS, statuses), sources)
            hours = self._hours[ACTIVE_USERS]
            replaced = hours.replace(ends, kpi_rows(TABLES[ACTIVE_USERS], answer, draft.ingested_at))
            replaced = {h: new for h, new in replaced.items() if new.num_rows or hours.hour(h).num_rows}
            if replaced:
                changed[ACTIVE_USERS] = replaced
        for name, hours_of in changed.items():
            files = self.store.tables[name]
            for hour, rows in hours_of.items():
                draft.drop(name, list(files.hours.get(hour, {}).values()))
                draft.add(name, files.write(rows))

            def accept(name: str = name, hours_of: dict[int, pa.Table] = hours_of) -> None:
                self._hours[name].accept(hours_of)

            draft.accept.append(accept)

    def _window_ends(self, draft: Draft) -> set[int]:
        """Minute ends (minutes since the epoch) whose active users change: of touched clicks, and newly due ones."""
        as_of = as_of_(draft.positions) or self._as_of
        if as_of is None:
            return set()
        newest = micros(as_of) // MINUTE_US
        touched = draft.touched.get("clicks_topic", set())
        ends = {minute + after for minute in touched for after in range(1, WINDOW + 1) if minute + after <= newest}
        return ends | self._newly_due(newest)

    def _newly_due(self, newest: int) -> set[int]:
        stored = self._minutes["clicks_topic"].span()
        if stored is None:
            return set()
        # Clicks may lie ahead of as_of: their ends come due with time. When as_of is known for the first time those of
        # all clicks do; no more than of a day, for their rows are held in memory.
        known = micros(self._as_of) // MINUTE_US if self._as_of is not None else None
        done = max(stored[0], newest - 24 * 60) if known is None else known
        return set(range(done + 1, min(newest, stored[1] + WINDOW) + 1))

    def _ask(self, sql: str, sources: Mapping[str, pa.Table]) -> pa.Table:
        for name, rows in sources.items():
            self._duckdb.register(name, rows)
        try:
            return self._duckdb.execute(sql).to_arrow_table()
        finally:
            for name in sources:
                self._duckdb.unregister(name)

    # A large batch: worked by Spark ----------------------------------------------------------------------------------

    def _large(self, decoded: DataFrame, draft: Draft) -> None:
        began = time.perf_counter()
        # A stream works in a copy of the session; SQL and writes of a batch belong there.
        self._session = decoded.sparkSession
        self.store.share(self._session)
        decoded = decoded.persist()
        # Topics share no table: side by side, one's planning fills the other's pauses.
        with ThreadPoolExecutor(len(TOPICS), thread_name_prefix="topic") as topics:
            try:
                spans = self._spark_figures(decoded, draft)
                began = _phase(draft, "decode", began)
                reach("decoded")
                found = topics.map(lambda topic: self._spark_new_rows(topic, decoded, spans[topic], draft), spans)
                fresh = {new.topic: new for new in found if new is not None}
                began = _phase(draft, "dedupe", began)
                reach("deduped")
                list(topics.map(lambda new: self._spark_raw(new, draft), fresh.values()))
                reach("raw-written")
                if any(draft.counts[topic, "bad"] for topic in TOPICS):
                    rejected = decoded.where(F.col("reason").isNotNull())
                    self._spark_append("dead_letters", transforms.dead_letters(rejected, draft.ingested_at), draft)
                reach("dead-letters-written")
                began = _phase(draft, "raw", began)
                self._read_to(draft)
                list(topics.map(lambda new: self._spark_kpis(new, draft), fresh.values()))
                if "clicks_topic" in fresh:
                    draft.kpis_done = True  # else those of ends that time has made due follow: a handful, from memory
                reach("kpis-written")
                _phase(draft, "kpis", began)
            finally:
                decoded.unpersist()

    def _spark_figures(self, decoded: DataFrame, draft: Draft) -> dict[str, Span]:
        """Counts, newest log times and each topic's span of event times; a row a partition and minute is collected."""
        read_at = transforms.instant(draft.read_at)
        far = F.col("stored_at") > transforms.instant(draft.read_at + CLOCK_SLACK)
        figures = (
            decoded.withColumn("stored_at", F.col("received_at"))
            .withColumn("received_at", F.when(F.col("log_time"), F.least("received_at", read_at)))
            .groupBy("topic", "source_partition", transforms.minute_of("received_at").alias("minute"))
            .agg(
                F.max("received_at").alias("received_at"),
                F.sum(far.cast("long")).alias("ahead"),
                F.max("stored_at").alias("stored_at"),
                F.count("*").alias("messages"),
                F.sum(F.col("reason").isNotNull().cast("long")).alias("bad"),
                F.min("event_at").alias("low"),
                F.max("event_at").alias("high"),
            )
            .toArrow()
        )
        spans: dict[str, Span] = {}
        for row in figures.sort_by("minute").to_pylist():
            topic = row["topic"]
            if row["minute"] is not None:
                self._tally.count(topic, row["minute"], row["messages"], row["bad"])
                self._note(draft, topic, row["source_partition"], row["received_at"])
            if row["ahead"]:
                self._note_ahead(draft, topic, row["ahead"], row["stored_at"])
            draft.counts[topic, "bad"] += row["bad"]
            if row["low"] is not None:
                held = spans.get(topic, Span(row["low"], row["high"], 0))
                good = row["messages"] - row["bad"]
                spans[topic] = Span(min(held.low, row["low"]), max(held.high, row["high"]), held.rows + good)
        return spans

    def _spark_new_rows(self, topic: str, decoded: DataFrame, span: Span, draft: Draft) -> Fresh | None:
        """The rows that are not stored yet, held by Spark; None where there are none."""
        table = RAW_OF_TOPIC[topic]
        good = decoded.where((F.col("topic") == topic) & F.col("reason").isNull())
        event_at = F.col(str(table.event_time))
        stored = self._session.table(transforms.table_name(table)).where(
            event_at.between(transforms.instant(span.low), transforms.instant(span.high))
        )
        # Not persist(): Spark computes what it holds of a table anew after each write to that table, and after the
        # append of these very rows none of them would be new.
        fresh = transforms.fresh(good, stored.select("event_key", event_at.alias("event_at"))).localCheckpoint()
        closed = transforms.instant(self._closed(topic))
        late = (transforms.minute_of("event_at") + F.expr("INTERVAL 1 MINUTE") <= closed).cast("long")
        figures = fresh.groupBy("source_partition").agg(
            F.min("event_at").alias("low"),
            F.max("event_at").alias("high"),
            F.count("*").alias("rows"),
            F.sum(late).alias("late"),
            F.sum(F.col("key_conflict").cast("long")).alias("key_conflict"),
        )
        found = figures.toArrow().to_pylist()
        new = sum(row["rows"] for row in found)
        draft.counts[topic, "good"] += new
        draft.counts[topic, "duplicate"] += span.rows - new
        for row in found:
            draft.counts[topic, "late"] += row["late"]
            draft.counts[topic, "key_conflict"] += row["key_conflict"]
            position = draft.positions[topic, row["source_partition"]]
            position.first_event_at = min(row["low"], position.first_event_at or row["low"])
        if not new:
            return None
        return Fresh(topic, fresh, Span(min(row["low"] for row in found), max(row["high"] for row in found), new))

    def _spark_raw(self, new: Fresh, draft: Draft) -> None:
        table = RAW_OF_TOPIC[new.topic]
        self._spark_append(table.name, transforms.raw_rows(new.rows, table, draft.ingested_at), draft)
        if new.topic in alerting_events(self._parts.rules):
            # As many as a batch may hold messages (spark.batch_rows): incidents are told in order, by one judge.
            draft.alerting += alerting(new.topic, new.rows.where("alerting").toArrow(), draft.read_at)

    def _spark_append(self, name: str, rows: DataFrame, draft: Draft) -> None:
        rows.writeTo(transforms.table_name(TABLES[name])).append()
        draft.by_spark.add(name)

    def _spark_kpis(self, new: Fresh, draft: Draft) -> None:
        """Recompute the KPI rows of touched minutes."""
        touched = new.rows.select(transforms.minute_of("event_at").alias("minute")).distinct().persist()
        try:
            low, high = micros(new.span.low) // MINUTE_US, micros(new.span.high) // MINUTE_US
            self._spark_replace(TABLES[_KPI_OF_TOPIC[new.topic]], new.topic, touched, touched, (low, high), {}, draft)
            if new.topic == "clicks_topic":
                self._spark_active_users(touched, (low, high), draft)
        finally:
            touched.unpersist()

    def _spark_active_users(self, touched: DataFrame, minutes: tuple[int, int], draft: Draft) -> None:
        """The same of the window ends after touched minutes, and of those that time has made due."""
        as_of = as_of_(draft.positions) or self._as_of
        if as_of is None:
            return
        newest = micros(as_of) // MINUTE_US
        after = F.explode(F.sequence(F.lit(1), F.lit(WINDOW))).alias("after")
        ends = touched.select("minute", after).select(
            (F.col("minute") + F.make_interval(mins=F.col("after"))).alias("window_end")
        )
        due_ends = self._newly_due(newest)
        if due_ends:
            rows = ", ".join(f"(TIMESTAMP '{moment(end * MINUTE_US):%Y-%m-%d %H:%M:%S}')" for end in sorted(due_ends))
            ends = ends.unionByName(self._session.sql(f"SELECT * FROM VALUES {rows} AS t(window_end)"))
        first_end, last_end = min({minutes[0] + 1, *due_ends}), min(max({minutes[1] + WINDOW, *due_ends}), newest)
        if first_end > last_end:
            return
        ends = ends.where(F.col("window_end") <= transforms.instant(moment(newest * MINUTE_US))).distinct().persist()
        try:
            read = ends.select(
                F.explode(
                    F.sequence(
                        F.col("window_end") - F.expr(f"INTERVAL {WINDOW} MINUTE"),
                        F.col("window_end") - F.expr("INTERVAL 1 MINUTE"),
                        F.expr("INTERVAL 1 MINUTE"),
                    )
                ).alias("minute")
            ).distinct()
            as_minutes = ends.select(F.col("window_end").alias("minute"))
            span = (first_end - WINDOW, last_end)
            sources = {"window_ends": ends}
            self._spark_replace(TABLES[ACTIVE_USERS], "clicks_topic", as_minutes, read, span, sources, draft)
        finally:
            ends.unpersist()

    def _spark_replace(
        self,
        table: Table,
        topic: str,
        touched: DataFrame,
        read: DataFrame,
        span: tuple[int, int],
        sources: dict[str, DataFrame],
        draft: Draft,
    ) -> None:
        """Recompute the KPI rows of `touched` minutes from raw rows of the minutes `read`; replace their hours.

        `span`: first and last of all these minutes. As literals: Iceberg then opens only the files of that time.
        """
        raw = RAW_OF_TOPIC[topic]
        event_time_column = str(raw.event_time)
        event_at = F.col(event_time_column)
        low, high = moment(span[0] * MINUTE_US), moment((span[1] + 1) * MINUTE_US)
        rows = self._session.table(transforms.table_name(raw)).where(
            (event_at >= transforms.instant(low)) & (event_at < transforms.instant(high))
        )
        rows = transforms.rows_of_minutes(rows, read, event_time_column)
        statuses = self._parts.orders.counted_statuses
        new = transforms.kpi_rows(self._session, table, {raw.name: rows, **sources}, statuses, draft.ingested_at)
        by = str(table.partition_by)
        from_hour = low.replace(minute=0, second=0, microsecond=0)
        to_hour = high.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        old = self._session.table(transforms.table_name(table)).where(
            (F.col(by) >= transforms.instant(from_hour)) & (F.col(by) < transforms.instant(to_hour))
        )
        transforms.replaced(old, new, touched, by).writeTo(transforms.table_name(table)).overwritePartitions()
        draft.by_spark.add(table.name)

    def _forget_spark(self, names: set[str]) -> None:
        """Spark has written to these tables: what is in memory of them is no longer whole."""
        for name in names:
            self.store.reload(name)
        for topic, table in RAW_OF_TOPIC.items():
            if table.name in names:
                self._minutes[topic] = MinuteRows(self.store, table, self._parts.ingest.rows_in_memory)
        for name in names & self._hours.keys():
            self._hours[name].clear()

    # Publish -------------------------------------------------------------------------------------------------------

    def _read_to(self, draft: Draft) -> None:
        """What was in the log when Kafka was last asked is read: so is all up to that moment."""
        seen = self._watch.seen
        for partition, ends in seen.ends.items():
            position = draft.positions.setdefault(partition, Position(ends.first, self._as_of))
            if position.next_offset >= ends.end:
                position.read_to = max(seen.asked_at, position.read_to or EPOCH)
            if position.read_to is not None:
                # Or a clock that was ahead for a moment would mute the rules until that time comes.
                position.read_to = min(position.read_to, datetime.now(UTC))

    def _publish(self, draft: Draft, started: float, heartbeat: bool = False) -> None:
        """Judge, stage, publish; then remember it."""
        began = time.perf_counter()
        if not draft.kpis_done:
            # Else KPIs stand for the as_of of that time: what time makes due after it is left to the next publish.
            self._read_to(draft)
            self._kpis(draft)
        self._forget_spark(draft.by_spark)
        as_of = as_of_(draft.positions)
        alerts, state = self._judge(draft)
        self._append("alerts", [asdict(a) | {"ingested_at": draft.ingested_at} for a in alerts], draft)
        reach("alerts-written")
        if not draft.has_rows and not heartbeat and not self.store.is_new:
            # Only duplicates: their positions go with the next publish.
            self._remember(draft, as_of)
            return
        if state is not self._state:
            self._replace("rule_state", state_rows(state, draft.ingested_at), draft)
        self._replace("ingest_positions", self._position_rows(draft), draft)
        draft.counts.update(self._lost_counts)
        self._counts.update(draft.counts)
        measured = time.monotonic()
        # The positions that leave something lost behind and the row that says so go together.
        reports = heartbeat or bool(self._lost_counts) or measured - self._counts_since >= METRICS_EVERY
        if reports:
            self._append("pipeline_metrics", self._metric_rows(draft, heartbeat), draft)
        self._merge_one(draft)
        began = _phase(draft, "alerts", began)
        changes = draft.changes()
        self.store.stage(changes)
        reach("positions-written")
        began = _phase(draft, "stage", began)
        commit = self.store.publish(changes, _message(draft, heartbeat), draft.by_spark)
        _phase(draft, "publish", began)
        for accept in draft.accept:
            accept()
        self._state = state
        self._lost_counts.clear()
        self._remember(draft, as_of, counted=True)
        self._published_at = time.monotonic()
        if reports:
            self._counts.clear()
            self._counts_since = measured
            self._spans.clear()
            self._clock_ahead.clear()
        seconds = time.perf_counter() - started
        if draft.counts:
            self._spans.add(draft.phases, seconds)
        metrics.published(as_of)
        self._show_lag()
        logger.debug(
            "publish %d %s: %d events in %.3f s (%s)",
            self.store.sequence,
            commit[:8],
            sum(n for (_, outcome), n in draft.counts.items() if outcome in ("good", "bad", "duplicate")),
            seconds,
            " ".join(f"{phase} {spent:.3f}" for phase, spent in draft.phases.items()),
        )

    def _remember(self, draft: Draft, as_of: datetime | None, counted: bool = False) -> None:
        if not counted:
            self._counts.update(draft.counts)
        for (topic, outcome), number in draft.counts.items():
            if number:
                metrics.EVENTS.labels(topic, outcome).inc(number)
        for minutes in self._minutes.values():
            minutes.trim()
        for keys in self._keys.values():
            keys.trim()
        # What the state does not know yet: duplicates alone are no silence.
        self._received = {} if counted else draft.received
        self.positions, self._as_of = draft.positions, as_of or self._as_of
        self._newest_ingested = draft.ingested_at

    def _judge(self, draft: Draft) -> tuple[list[Any], State]:
        parts = self._parts
        lookback = parts.rules_settings.max_lookback
        by_topic: dict[str, dict[Partition, Position]] = {}
        for place, position in draft.positions.items():
            by_topic.setdefault(place[0], {})[place] = position
        read_to = {topic: as_of_(held) for topic, held in by_topic.items()}
        firsts = {
            topic: [p.first_event_at for p in held.values() if p.first_event_at] for topic, held in by_topic.items()
        }
        unreadable = {
            topic: [*self._lost.get(topic, ()), *spans]
            for topic, spans in self._watch.unreadable(draft.read_at).items()
        } or dict(self._lost)
        moment_ = Moment(
            now=draft.read_at,
            read_to={topic: read for topic, read in read_to.items() if read is not None},
            received=draft.received,
            first_event_at={topic: min(first) for topic, first in firsts.items() if first},
            unreadable=unreadable,
            unwatched=self._judged.look(draft.read_at),
            read=self._tally.counts,
        )
        kpis = {
            name: self._hours[name].ending_within(
                [(micros(start), micros(end)) for start, end in spans], draft.changed_hours.get(name, {})
            )
            for name, spans in due(parts.rules, self._state, moment_, lookback).items()
        }
        return evaluate(
            parts.rules,
            self._state,
            moment_,
            events=draft.alerting,
            kpis=kpis,
            max_age=parts.alerts.max_age,
            max_lookback=lookback,
        )

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]], draft: Draft) -> None:
        if rows:
            draft.add(name, self.store.tables[name].write(table_of(TABLES[name], rows)))

    def _replace(self, name: str, rows: Sequence[Mapping[str, Any]], draft: Draft) -> None:
        files = self.store.tables[name]
        draft.drop(name, list(files.live.values()))
        draft.add(name, files.write(table_of(TABLES[name], rows)))

    def _merge_one(self, draft: Draft) -> None:
        """Merge the small files of one hour of one table: at most one merge a publish, so that none takes long."""
        topics = {table.name: topic for topic, table in RAW_OF_TOPIC.items()}
        for name in (*topics, *_SMALL):
            group = mergeable(self.store.tables[name], draft.added.get(name, ()), draft.removed.get(name, ()))
            if not group:
                continue
            files = self.store.tables[name]
            merged = files.write(self.store.read(name, group), group[0].level + 1)
            draft.add(name, merged)
            draft.drop(name, group)
            if name in topics:

                def merge_keys(
                    topic: str = topics[name], into: LiveFile = merged[0], group: list[LiveFile] = group
                ) -> None:
                    self._keys[topic].merge(into, group)

                draft.accept.append(merge_keys)
            return

    def _position_rows(self, draft: Draft) -> list[dict[str, Any]]:
        return [
            {
                "cluster_id": self._logs[topic],
                "topic": topic,
                "source_partition": partition,
                "next_offset": position.next_offset,
                "read_to": position.read_to,
                "first_event_at": position.first_event_at,
                "updated_at": draft.ingested_at,
            }
            for (topic, partition), position in sorted(draft.positions.items())
        ]

    def _lag(self, positions: Mapping[Partition, Position]) -> dict[Partition, int]:
        return {
            partition: max(0, ends.end - positions[partition].next_offset)
            for partition, ends in self._watch.seen.ends.items()
            if partition in positions
        }

    def _show_lag(self) -> None:
        metrics.show_lag(self._lag(self.positions))

    def _metric_rows(self, draft: Draft, heartbeat: bool) -> list[dict[str, Any]]:
        figures: list[tuple[str, str, float]] = [(topic, name, float(n)) for (topic, name), n in self._counts.items()]
        sums: Counter[tuple[str, str]] = Counter()
        for (topic, _), rows in self._lag(draft.positions).items():
            sums[topic, "lag"] += rows
        for (topic, _), ends in self._watch.seen.ends.items():
            sums[topic, "log_end"] += ends.end
        figures += [(topic, name, float(rows)) for (topic, name), rows in sums.items()]
        if heartbeat:
            figures.append(("", "heartbeat", 1.0))
        figures += self._spans.means() + self._clock_ahead.figures()
        at = draft.ingested_at
        return [
            {"measured_at": at, "topic": topic, "metric": name, "value": value, "ingested_at": at}
            for topic, name, value in figures
        ]

    # Maintenance ---------------------------------------------------------------------------------------------------

    def _maintain(self) -> None:
        """Merge and expire; what it did is published as a row of maintenance_runs."""
        started = time.perf_counter()
        self._maintained_at = time.monotonic()
        draft = self._draft()
        open_incidents = {row.incident_id for row in self._state.values() if row.incident_id is not None}
        # The clock, not ingested_at: after that was ahead, what is young would go as if it were old.
        run = self._maintenance.run(micros(draft.read_at), open_incidents)
        swept = self._sweep.next(micros(draft.read_at), self.store.head)
        run.commits_expired, run.files_deleted, run.bytes_deleted = astuple(swept)
        if not run.did_something:
            return
        for name, (added, removed) in run.changes.items():
            draft.add(name, added)
            draft.drop(name, removed)
        self._append("maintenance_runs", [run.row(draft.ingested_at, time.perf_counter() - started)], draft)
        self._replace("ingest_positions", self._position_rows(draft), draft)
        changes = draft.changes()
        self.store.stage(changes)
        self.store.publish(changes, "maintenance")
        self._newest_ingested = draft.ingested_at
        self._published_at = time.monotonic()
        if run.rows_expired:
            for hours in self._hours.values():
                hours.clear()
        pa.default_memory_pool().release_unused()
        metrics.MAINTENANCE.observe(time.perf_counter() - started)


def batch_end(checkpoint: Path, batch_id: int) -> dict[Partition, int]:
    """Where a batch ends, a partition: Spark writes it down before the batch begins, and does not pass it on."""
    lines = (checkpoint / "offsets" / str(batch_id)).read_text(encoding="utf-8").splitlines()
    ends: Mapping[str, Mapping[str, int]] = json.loads(lines[-1])
    return {(topic, int(partition)): end for topic, of in ends.items() for partition, end in of.items()}


def as_of_(positions: Mapping[Partition, Position]) -> datetime | None:
    """The smallest read_to; None while a partition has none."""
    reads = [position.read_to for position in positions.values()]
    known = [read for read in reads if read is not None]
    return min(known) if known and len(known) == len(reads) else None


def mergeable(files: Any, added: Sequence[LiveFile], removed: Sequence[LiveFile]) -> list[LiveFile]:
    """MERGE_AT or more live files of one level, of an hour that this publish writes to, or none."""
    gone = {file.uri for file in removed}
    for hour in {file.hour for file in added}:
        held = [file for file in files.hours.get(hour, {}).values() if file.uri not in gone]
        for level in range(LEVELS):
            group = [file for file in held if file.level == level]
            if len(group) >= MERGE_AT and sum(file.bytes for file in group) <= BYTES_OF_A_MERGED_FILE:
                return group
    return []


def alerting(topic: str, rows: pa.Table, read_at: datetime) -> list[Received]:
    """The events of a topic's rows of DECODED that alert, in log order; received_at: when they were read at last."""
    ordered = rows.sort_by([("source_partition", "ascending"), ("source_offset", "ascending")])
    event_type, time = EVENT_TYPE[topic], RAW_OF_TOPIC[topic].event_time
    columns = {name: "event_at" if name == time else name for name in event_type.__struct_fields__}
    return [
        Received(
            topic,
            event_type(**{name: row[column] for name, column in columns.items()}),
            min(row["received_at"], read_at),
        )
        for row in ordered.select([*columns.values(), "received_at"]).to_pylist()
    ]


def raw_rows(table: Table, new: pa.Table, ingested_at: datetime) -> pa.Table:
    """Rows of a raw table from rows of DECODED."""
    columns = []
    for column in row_schema(table):
        if column.name == "ingested_at":
            columns.append(pa.repeat(pa.scalar(ingested_at, column.type), new.num_rows))
        else:
            columns.append(new["event_at" if column.name == table.event_time else column.name].cast(column.type))
    return pa.Table.from_arrays(columns, schema=row_schema(table))


def table_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a small table from mappings with all its columns."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=row_schema(table))


def kpi_rows(table: Table, answer: pa.Table, updated_at: datetime) -> pa.Table:
    """Rows of a KPI table from DuckDB's answer."""
    schema = row_schema(table)
    stamped = answer.append_column(
        "updated_at", pa.repeat(pa.scalar(updated_at, pa.timestamp("us", "UTC")), len(answer))
    ).select(schema.names)
    return pa.Table.from_arrays(
        [column.cast(f.type) for column, f in zip(stamped.columns, schema, strict=True)], schema=schema
    )


def _phase(draft: Draft, name: str, began: float) -> float:
    now = time.perf_counter()
    draft.phases[name] = draft.phases.get(name, 0.0) + now - began
    return now


def _message(draft: Draft, heartbeat: bool) -> str:
    events = sum(n for (_, outcome), n in draft.counts.items() if outcome in ("good", "bad"))
    return "heartbeat" if heartbeat else f"{events} events"
