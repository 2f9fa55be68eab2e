"""From Kafka's messages to rows, DataFrame -> DataFrame: what executors do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from decoding import COLUMNS, DECLARED, DECODED, decode_batch, refuse_others
from lakehouse.kpis import KPIS, Counting
from lakehouse.rules import Rule, alerting_events
from lakehouse.sources import Sources
from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table
from lakehouse.topics import TOPICS

LOG_APPEND_TIME = 1  # Kafka's timestampType
LOG_ORDER = ("log_topic", "source_partition", "source_offset", "place")
_EPOCH = datetime.fromtimestamp(0, UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
LAST_US = (_LAST - _EPOCH) // timedelta(microseconds=1)


def decoded(messages: DataFrame, sources: Sources, max_event_age: timedelta | None, rules: Sequence[Rule]) -> DataFrame:
    """Kafka's messages as rows of DECODED.

    Columns topic, partition, offset, timestamp, timestampType, value; key and headers where they are there.
    """
    wanted, declared = alerting_events(rules), DECLARED

    def decode_batches(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        refuse_others(declared)
        for batch in batches:
            yield decode_batch(batch, sources, max_event_age, wanted)

    # A producer may have told any time: Python knows none after the year 9999.
    received = F.least("timestamp", instant(_LAST)).alias("timestamp")
    log_time = (F.col("timestampType") == LOG_APPEND_TIME).alias("log_time")
    more = [name for name in ("key", "headers") if name in messages.columns]
    read = messages.select("topic", "partition", "offset", received, log_time, "value", *more)
    return read.mapInArrow(decode_batches, spark_schema(DECODED))


def fresh(events: DataFrame, stored: DataFrame) -> DataFrame:
    """Events not stored yet, each (event_key, event_at) once: the first in log order. `stored` has both columns.

    `key_conflict` tells which of them have a key that is stored, or came before in the batch, with another time.
    """
    # All that follows groups by the key, so rows move once; both windows and the join find them together.
    by_key = events.repartition("event_key")
    same = Window.partitionBy("event_key", "event_at").orderBy(*LOG_ORDER)
    first = by_key.withColumn("_place", F.row_number().over(same)).where("_place = 1").drop("_place")
    of_key = Window.partitionBy("event_key").orderBy(*LOG_ORDER)
    first = first.withColumn("_again", F.row_number().over(of_key) > 1)
    times = stored.groupBy("event_key").agg(F.collect_set("event_at").alias("_times"))
    known = first.join(times, "event_key", "left").where(
        ~F.coalesce(F.expr("array_contains(_times, event_at)"), F.lit(False))
    )
    return known.withColumn("key_conflict", F.col("_again") | F.col("_times").isNotNull()).drop("_again", "_times")


def raw_rows(events: DataFrame, table: Table, ingested_at: datetime) -> DataFrame:
    """Rows of a raw table from its topic's events."""
    called = next(COLUMNS[name] for name, topic in TOPICS.items() if topic.table.name == table.name)
    return events.select(
        *(
            instant(ingested_at).alias("ingested_at")
            if column.name == "ingested_at"
            else F.col(called.get(column.name, column.name)).alias(column.name)
            for column in table.columns
        )
    )


def dead_letters(rejected: DataFrame, ingested_at: datetime) -> DataFrame:
    """Rows of dead_letters."""
    names = [column.name for column in TABLES["dead_letters"].columns if column.name not in ("topic", "ingested_at")]
    return rejected.select(F.col("log_topic").alias("topic"), *names, instant(ingested_at).alias("ingested_at"))


def instant(when: datetime) -> Column:
    """A time as a literal. Not F.lit: that goes through Java's calendar, in which days before 1582 are others."""
    return F.timestamp_micros(F.lit((when - _EPOCH) // timedelta(microseconds=1)))


def minute_of(column: str) -> Column:
    """The minute that a time lies in, as a time."""
    return F.date_trunc("minute", F.col(column))


def kpi_rows(
    spark: SparkSession, table: Table, sources: dict[str, DataFrame], counting: Counting, updated_at: datetime
) -> DataFrame:
    """Rows of a KPI table from raw rows of whole minutes (and `window_ends`), by the query that DuckDB runs too."""
    sql = spark_sql(table.name, counting)
    for name, rows in sources.items():
        rows.createOrReplaceTempView(name)
    answer = spark.sql(sql)
    return answer.select(
        *(
            instant(updated_at).alias(column.name)
            if column.name == "updated_at"
            else F.col(column.name).cast(_spark_type(column.type)).alias(column.name)
            for column in table.columns
        )
    )


def partials(spark: SparkSession, table: str, rows: DataFrame, new: str) -> pa.Table:
    """The answer of Split.new over rows of a raw table."""
    rows.createOrReplaceTempView(table)
    return spark.sql(_as_spark(new)).toArrow()


@cache
def _as_spark(sql: str) -> str:
    import sqlglot  # here, not above: each Python worker of the executors would load it too, for half a second

    return sqlglot.transpile(sql, read="duckdb", write="spark")[0]


def spark_sql(table: str, counting: Counting) -> str:
    """The query of a KPI table in Spark's dialect; the session's zone is UTC, so zoned times do as well."""
    return _as_spark(KPIS[table].sql(counting))


def replaced(old: DataFrame, new: DataFrame, touched: DataFrame, by: str) -> DataFrame:
    """Whole hours of a KPI table: `old` rows but those of `touched` minutes (column `minute`), and the new ones."""
    hours = touched.select(F.date_trunc("hour", "minute").alias("_hour")).distinct()
    keep = (
        old.withColumn("_hour", F.date_trunc("hour", by))
        .join(F.broadcast(hours), "_hour", "left_semi")
        .drop("_hour")
        .join(F.broadcast(touched), F.col(by) == F.col("minute"), "left_anti")
    )
    return keep.select(*new.columns).unionByName(new)


def rows_of_minutes(raw: DataFrame, touched: DataFrame, event_time_column: str) -> DataFrame:
    """Raw rows of the touched minutes."""
    return raw.join(F.broadcast(touched), minute_of(event_time_column) == F.col("minute"), "left_semi")


def table_name(table: Table) -> str:
    """A table's name in SQL."""
    return f"{CATALOG}.{SCHEMA}.{table.name}"


@cache
def spark_schema(schema: pa.Schema) -> T.StructType:
    """Spark's schema for rows of an Arrow schema; every column may be null."""
    return T.StructType([T.StructField(field.name, from_arrow_type(field.type), True) for field in schema])


def _spark_type(name: str) -> str:
    return {"long": "bigint", "timestamptz": "timestamp"}.get(name, name)


def offsets_json(positions: Iterable[tuple[str, int, int]]) -> str:
    """Kafka offsets as Spark's startingOffsets wants them, from (topic, partition, offset)."""
    topics: dict[str, dict[str, int]] = {}
    for topic, partition, offset in positions:
        topics.setdefault(topic, {})[str(partition)] = offset
    return json.dumps(topics)
