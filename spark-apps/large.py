"""The large way: a batch that is too large for one process, worked by Spark's executors to its end.

Duplicates are told by an anti-join with what is stored, KPIs computed by the same SQL over the touched minutes. It
fills the same draft as the small way, with the same rows; tests run each.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import transforms
from decoding import COLUMNS, events_of
from lakehouse.clock import CLOCK_SLACK
from lakehouse.rules import Received
from lakehouse.tables import RAW_OF_TOPIC, TABLES
from lakehouse.topics import TOPICS
from large_kpis import EventSpan, Fresh, LargeKpis, table_of
from pipeline.batch.core import Core
from pipeline.batch.draft import Draft
from pipeline.batch.points import reach
from pipeline.batch.terms import Terms
from pipeline.batch.times import moment
from store import NessieStore


class LargeWay:
    """Fills drafts from Kafka's messages, with executors."""

    def __init__(self, core: Core, store: NessieStore, terms: Terms) -> None:
        self._core = core
        self._store = store
        self._terms = terms
        self._kpis = LargeKpis(core, terms)

    def fill(self, messages: DataFrame, draft: Draft) -> None:
        """All that the small way and the KPIs do, into the draft."""
        began = time.perf_counter()
        decoded = transforms.decoded(messages, self._terms.sources, self._terms.max_event_age, self._terms.rules)
        # A stream works in a copy of the session; SQL and writes of a batch belong there.
        session = decoded.sparkSession
        self._store.share(session)
        decoded = decoded.persist()
        # Topics share no table: side by side, one's planning fills the other's pauses.
        with ThreadPoolExecutor(len(TOPICS), thread_name_prefix="topic") as topics:
            try:
                spans = self._figures(decoded, draft)
                began = draft.phase("decode", began)
                reach("decoded")
                found = topics.map(lambda topic: self._new_rows(topic, decoded, spans[topic], draft), spans)
                fresh = {new.topic: new for new in found if new is not None}
                began = draft.phase("dedupe", began)
                reach("deduped")
                list(topics.map(lambda new: self._raw(new, draft), fresh.values()))
                reach("raw-written")
                if any(draft.counts[topic, "bad"] for topic in TOPICS):
                    rejected = decoded.where(F.col("reason").isNotNull())
                    self._append("dead_letters", transforms.dead_letters(rejected, draft.ingested_at), draft)
                reach("dead-letters-written")
                began = draft.phase("raw", began)
                self._core.read_to(draft)
                for left_out in topics.map(lambda new: self._kpis.compute(session, new, draft), fresh.values()):
                    for each in left_out:
                        self._core.kpis.leave_out(each.kpi, draft.touched[each.kpi.topic], each.why, draft)
                draft.phase("kpis", began)
            finally:
                decoded.unpersist()

    def _figures(self, decoded: DataFrame, draft: Draft) -> dict[str, EventSpan]:
        """Counts, newest log times and each topic's span of event times; a row a partition and minute is collected."""
        read_at = transforms.instant(draft.read_at)
        is_message = F.col("place") == 0
        far = F.col("stored_at") > transforms.instant(draft.read_at + CLOCK_SLACK)
        figures = (
            decoded.withColumn("stored_at", F.col("received_at"))
            .withColumn("received_at", F.when(F.col("log_time"), F.least("received_at", read_at)))
            .groupBy("log_topic", "topic", "source_partition", transforms.minute_of("received_at").alias("minute"))
            .agg(
                F.max("received_at").alias("received_at"),
                F.sum((far & is_message).cast("long")).alias("ahead"),
                F.max("stored_at").alias("stored_at"),
                F.sum(is_message.cast("long")).alias("messages"),
                F.count("event_at").alias("good"),
                F.sum(F.col("reason").isNotNull().cast("long")).alias("bad"),
                F.sum(F.col("left_out").cast("long")).alias("left_out"),
                F.min("event_at").alias("low"),
                F.max("event_at").alias("high"),
            )
            .toArrow()
        )
        spans: dict[str, EventSpan] = {}
        for row in figures.sort_by("minute").to_pylist():
            topic, fed = row["topic"], self._terms.sources.feeds[row["log_topic"]]
            if row["minute"] is not None:
                for name in fed:
                    rejected = row["bad"] if name == fed[0] else 0
                    self._core.judging.tally.count(name, row["minute"], row["messages"], rejected)
                draft.came((row["log_topic"], row["source_partition"]), row["received_at"], fed)
            if row["ahead"]:
                draft.counts[fed[0], "clock_ahead"] += row["ahead"]
                self._core.clock_ahead.note(fed[0], row["ahead"], row["stored_at"] - draft.read_at)
            draft.counts[fed[0], "bad"] += row["bad"]
            draft.counts[fed[0], "left_out"] += row["left_out"]
            if row["low"] is not None:
                held = spans.get(topic, EventSpan(row["low"], row["high"], 0))
                low, high = min(held.low, row["low"]), max(held.high, row["high"])
                spans[topic] = EventSpan(low, high, held.rows + row["good"])
        return spans

    def _new_rows(self, topic: str, decoded: DataFrame, span: EventSpan, draft: Draft) -> Fresh | None:
        """The rows that are not stored yet, held by Spark; None where there are none."""
        table = RAW_OF_TOPIC[topic]
        good = decoded.where((F.col("topic") == topic) & F.col("event_at").isNotNull())
        event_at = F.col(str(table.event_time))
        within = event_at.between(transforms.instant(span.low), transforms.instant(span.high))
        stored = table_of(decoded.sparkSession, table).where(within)
        # Not persist(): Spark computes what it holds of a table anew after each write to that table, and after the
        # append of these very rows none of them would be new.
        fresh = transforms.fresh(good, stored.select("event_key", event_at.alias("event_at"))).localCheckpoint()
        closed = transforms.instant(moment(self._core.closed_to(topic)))
        late = (transforms.minute_of("event_at") + F.expr("INTERVAL 1 MINUTE") <= closed).cast("long")
        # A producer whose clock is ahead sent it at once.
        received_at = F.least("received_at", transforms.instant(draft.read_at)).cast("double")
        produced_at = F.col(COLUMNS[topic]["produced_at"]).cast("double")
        took = F.when(F.col("log_time") & produced_at.isNotNull(), F.greatest(received_at - produced_at, F.lit(0.0)))
        figures = fresh.groupBy("log_topic", "source_partition").agg(
            F.min("event_at").alias("low"),
            F.max("event_at").alias("high"),
            F.count("*").alias("rows"),
            F.sum(late).alias("late"),
            F.min(F.when(late == 1, F.col("event_at"))).alias("late_from"),
            F.sum(took).alias("took"),
            F.count(took).alias("timed"),
            F.sum(F.col("key_conflict").cast("long")).alias("key_conflict"),
        )
        found = figures.toArrow().to_pylist()
        new = sum(row["rows"] for row in found)
        draft.counts[topic, "good"] += new
        draft.counts[topic, "duplicate"] += span.rows - new
        for row in found:
            draft.counts[topic, "late"] += row["late"]
            if row["late"]:
                draft.came_late(topic, row["late_from"])
            draft.counts[topic, "key_conflict"] += row["key_conflict"]
            draft.began_at((row["log_topic"], row["source_partition"]), row["low"])
        if timed := sum(row["timed"] for row in found):
            draft.to_log_s[topic] = sum(row["took"] or 0.0 for row in found) / timed
        if not new:
            return None
        low, high = min(row["low"] for row in found), max(row["high"] for row in found)
        return Fresh(topic, fresh, EventSpan(low, high, new))

    def _raw(self, new: Fresh, draft: Draft) -> None:
        table = RAW_OF_TOPIC[new.topic]
        self._append(table.name, transforms.raw_rows(new.rows, table, draft.ingested_at), draft)
        if new.topic in self._core.alerting:
            # As many as a batch may hold messages (spark.batch_rows): incidents are told in order, by one judge.
            draft.alerting += alerting(new.rows.where("alerting").toArrow(), new.topic, draft.read_at)

    def _append(self, name: str, rows: DataFrame, draft: Draft) -> None:
        rows.writeTo(transforms.table_name(TABLES[name])).append()
        draft.by_bulk.add(name)


def alerting(rows: pa.Table, topic: str, read_at: datetime) -> list[Received]:
    """The events of rows of DECODED that alert, in log order, with their received_at: when they were read at last."""
    ordered = rows.sort_by([(name, "ascending") for name in transforms.LOG_ORDER])
    told = zip(events_of(topic, ordered), ordered["received_at"].to_pylist(), strict=True)
    return [Received(topic, event, min(received_at, read_at)) for event, received_at in told]
