"""KPIs of a large batch: computed by Spark's executors, by the same SQL over the touched minutes.

As in one process, a query that fails or takes too long holds up nothing: its rows are left out, and computed later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import transforms
from asking import SparkPartials, a_query, rows_of
from lakehouse.kpis import Kpi, kpis_of
from lakehouse.tables import RAW_OF_TOPIC, Table
from lakehouse.user_error import UserError
from pipeline.batch.core import Core
from pipeline.batch.draft import Draft
from pipeline.batch.rows import no_value, too_many_groups
from pipeline.batch.terms import Terms
from pipeline.batch.times import MINUTE_US, micros, moment, us_of

ROWS_A_LIMIT = 20_000
"""New rows of a topic for which a query may take kpis.time_limit once more."""


@dataclass(frozen=True)
class EventSpan:
    """Times of events, the first and the last included, and how many events."""

    low: datetime
    high: datetime
    rows: int


@dataclass(frozen=True)
class Fresh:
    """Events of one topic that are not stored yet, held by Spark."""

    topic: str
    rows: DataFrame
    span: EventSpan


@dataclass(frozen=True)
class LeftOut:
    """A KPI whose query failed over what the batch brings, and why."""

    kpi: Kpi
    why: UserError


class LargeKpis:
    """The KPI tables of the topics of a batch; several topics may be worked side by side."""

    def __init__(self, core: Core, terms: Terms) -> None:
        self._core = core
        self._counting = terms.orders.counting
        self._limit_s = terms.kpis.time_limit.total_seconds()
        self._most_groups = terms.kpis.most_groups

    def compute(self, session: SparkSession, new: Fresh, draft: Draft) -> Sequence[LeftOut]:
        """Say what KPIs are kept up by, and recompute the rows of the others, of touched minutes."""
        left_out: list[LeftOut] = []
        touched = new.rows.select(transforms.minute_of("event_at").alias("minute")).distinct().persist()
        try:
            minutes = us_of(touched.toArrow()["minute"]) // MINUTE_US
            draft.touched[new.topic] = set(minutes.tolist())
            raw = RAW_OF_TOPIC[new.topic]
            brought = transforms.raw_rows(new.rows, raw, draft.ingested_at)
            limit_s = self._limit_s * (1 + new.span.rows // ROWS_A_LIMIT)
            draft.partials[new.topic] = SparkPartials(session, raw, brought, rows_of(session, raw), limit_s)
            span = micros(new.span.low) // MINUTE_US, micros(new.span.high) // MINUTE_US
            for kpi in kpis_of(new.topic):
                if kpi.name in self._core.memory.kept:
                    continue  # the core does it
                if self._core.kpis.rests(kpi):
                    # Also where the rest is over before the batch is: nothing of this size is for one process.
                    draft.resting.add(kpi.name)
                    continue
                work = _Work(session, kpi, limit_s, draft)
                try:
                    if kpi.window == 1:
                        self._replace(work, touched, touched, span, {})
                    else:
                        self._windows(work, touched, span)
                except UserError as error:
                    left_out.append(LeftOut(kpi, error))
        finally:
            touched.unpersist()
        return left_out

    def _windows(self, work: _Work, touched: DataFrame, minutes: tuple[int, int]) -> None:
        """The same of the window ends after touched minutes, and of those that time has made due."""
        kpi, known_to = work.kpi, self._core.known_to
        newest = self._core.kpis.newest_end(work.draft, known_to)
        if newest is None:
            return
        after = F.explode(F.sequence(F.lit(1), F.lit(kpi.window))).alias("after")
        ends = touched.select("minute", after).select(
            (F.col("minute") + F.make_interval(mins=F.col("after"))).alias("window_end")
        )
        due_ends = self._core.kpis.newly_due(kpi, newest, known_to)
        if due_ends:
            rows = ", ".join(f"(TIMESTAMP '{moment(end * MINUTE_US):%Y-%m-%d %H:%M:%S}')" for end in sorted(due_ends))
            ends = ends.unionByName(touched.sparkSession.sql(f"SELECT * FROM VALUES {rows} AS t(window_end)"))
        first_end = min({minutes[0] + 1, *due_ends})
        last_end = min(max({minutes[1] + kpi.window, *due_ends}), newest)
        if first_end > last_end:
            return
        ends = ends.where(F.col("window_end") <= transforms.instant(moment(newest * MINUTE_US))).distinct().persist()
        try:
            read = ends.select(
                F.explode(
                    F.sequence(
                        F.col("window_end") - F.expr(f"INTERVAL {kpi.window} MINUTE"),
                        F.col("window_end") - F.expr("INTERVAL 1 MINUTE"),
                        F.expr("INTERVAL 1 MINUTE"),
                    )
                ).alias("minute")
            ).distinct()
            as_minutes = ends.select(F.col("window_end").alias("minute"))
            self._replace(work, as_minutes, read, (first_end - kpi.window, last_end), {"window_ends": ends})
        finally:
            ends.unpersist()

    def _replace(
        self, work: _Work, touched: DataFrame, read: DataFrame, span: tuple[int, int], sources: dict[str, DataFrame]
    ) -> None:
        """Recompute the KPI rows of `touched` minutes from raw rows of the minutes `read`; replace their hours.

        `span`: first and last of all these minutes. As literals: Iceberg then opens only the files of that time.
        """
        kpi, draft, session = work.kpi, work.draft, work.session
        raw, table = RAW_OF_TOPIC[kpi.topic], kpi.table
        event_time_column = str(raw.event_time)
        event_at = F.col(event_time_column)
        low, high = moment(span[0] * MINUTE_US), moment((span[1] + 1) * MINUTE_US)
        rows = rows_of(session, raw)
        rows = rows.where((event_at >= transforms.instant(low)) & (event_at < transforms.instant(high)))
        rows = transforms.rows_of_minutes(rows, read, event_time_column)
        by = str(table.partition_by)
        # The query is run before anything is written: what fails, or is given up, has then written nothing.
        with a_query(session, work.limit_s):
            found = {raw.name: rows, **sources}
            new = transforms.kpi_rows(session, table, found, self._counting, draft.ingested_at).persist()
        try:
            with a_query(session, work.limit_s):
                self._check(kpi, new)
            from_hour = low.replace(minute=0, second=0, microsecond=0)
            to_hour = high.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            old = table_of(session, table).where(
                (F.col(by) >= transforms.instant(from_hour)) & (F.col(by) < transforms.instant(to_hour))
            )
            transforms.replaced(old, new, touched, by).writeTo(transforms.table_name(table)).overwritePartitions()
            draft.by_bulk.add(table.name)
        finally:
            new.unpersist()

    def _check(self, kpi: Kpi, new: DataFrame) -> None:
        """Raises UserError where the rows are none that the table takes."""
        required = [column.name for column in kpi.table.columns if column.required]
        lacks = [F.count_if(F.col(name).isNull()).alias(f"_no_{name}") for name in required]
        of_minutes = new.groupBy(str(kpi.table.partition_by)).agg(F.count("*").alias("_rows"), *lacks)
        most = F.max("_rows").alias("_rows")
        row = of_minutes.agg(most, *(F.sum(f"_no_{name}").alias(f"_no_{name}") for name in required)).collect()[0]
        for name in required:
            if row[f"_no_{name}"]:
                raise no_value(kpi.table, name)
        if (row["_rows"] or 0) > self._most_groups:
            raise too_many_groups(kpi.table, row["_rows"], self._most_groups)


@dataclass(frozen=True)
class _Work:
    """One KPI of a batch, and how long its query may take."""

    session: SparkSession
    kpi: Kpi
    limit_s: float
    draft: Draft


def table_of(session: SparkSession, table: Table) -> DataFrame:
    """What is stored of a table."""
    return session.table(transforms.table_name(table))
