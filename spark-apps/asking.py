"""Queries of KPIs, asked of Spark: each may fail, or take too long, and is given up then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import transforms
from lakehouse.tables import Table
from lakehouse.user_error import UserError
from pipeline.batch.kept import KeptMinutes
from pipeline.batch.limit import time_limit
from pipeline.batch.times import MINUTE_US, moment

ROWS_AT_ONCE = 50
"""Rows of a file that a task works before it hears that its query was given up. Iceberg's 5000 would hold its core."""


@contextmanager
def a_query(session: SparkSession, limit_s: float) -> Iterator[None]:
    """A KPI's query, planned and run within. Raises UserError, in one sentence, where it fails or takes too long."""
    context, tag = session.sparkContext, f"kpi-{uuid4().hex}"
    # Not a job group: a stream's thread has one, by which Spark stops the stream.
    context.addJobTag(tag)
    try:
        with time_limit(limit_s, lambda: context.cancelJobsWithTag(tag)):
            yield
    except (PySparkException, Py4JJavaError) as error:
        raise UserError(f"Spark fails: {_reason(error)}") from None
    finally:
        context.removeJobTag(tag)


def _reason(error: PySparkException | Py4JJavaError) -> str:
    """What went wrong at the bottom of it. Of a job that failed Spark tells a part as Java's own exception."""
    if isinstance(error, PySparkException):
        return str(error)
    found = error.java_exception
    while (cause := found.getCause()) is not None:
        found = cause
    return str(found.getMessage())


def rows_of(session: SparkSession, raw: Table) -> DataFrame:
    """What is stored of a raw table, for a query that may be given up."""
    return session.read.option("batch-size", ROWS_AT_ONCE).table(transforms.table_name(raw))


@dataclass(frozen=True)
class SparkPartials:
    """What the KPIs of a topic are kept up by, asked of Spark: of the batch's rows, and of all that are stored."""

    session: SparkSession
    raw: Table
    brought: DataFrame
    stored: DataFrame
    limit_s: float

    def new(self, kept: KeptMinutes, minutes: set[int]) -> pa.Table:
        return self._ask(kept, self.brought, minutes)

    def whole(self, kept: KeptMinutes, minutes: set[int]) -> pa.Table:
        event_at = F.col(str(self.raw.event_time))
        low, high = moment(min(minutes) * MINUTE_US), moment((max(minutes) + 1) * MINUTE_US)
        # As literals: Iceberg then opens only the files of that time.
        within = (event_at >= transforms.instant(low)) & (event_at < transforms.instant(high))
        return self._ask(kept, self.stored.where(within), minutes)

    def _ask(self, kept: KeptMinutes, rows: DataFrame, minutes: set[int]) -> pa.Table:
        wanted = self.session.createDataFrame(pa.table({"minute": pa.array(sorted(minutes), pa.int64())}))
        wanted = wanted.select(F.timestamp_seconds(F.col("minute") * 60).alias("minute"))
        with a_query(self.session, self.limit_s):
            rows = transforms.rows_of_minutes(rows, wanted, str(self.raw.event_time))
            return transforms.partials(self.session, self.raw.name, rows, kept.split.new)
