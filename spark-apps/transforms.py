"""From Kafka's messages to rows, DataFrame -> DataFrame: what executors do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from lakehouse.events import TOPICS, Event, Rejected, decode, event_time
from lakehouse.kpis import kpi_sql
from lakehouse.rules import Rule, alerting_events
from lakehouse.tables import CATALOG, RAW_OF_TOPIC, SCHEMA, TABLES, Table, arrow_schema

_COORDINATES = pa.schema(
    [
        pa.field("topic", pa.string()),
        pa.field("source_partition", pa.int32()),
        pa.field("source_offset", pa.int64()),
        pa.field("received_at", pa.timestamp("us", "UTC")),
        pa.field("log_time", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("payload", pa.binary()),
        pa.field("alerting", pa.bool_()),
        pa.field("event_at", pa.timestamp("us", "UTC")),
    ]
)
_LATER = ("ingested_at", "source_partition", "source_offset")


def _event_columns() -> dict[str, pa.DataType]:
    """Every column of the raw tables that an event has, once; the event's time is `event_at`."""
    columns: dict[str, pa.DataType] = {}
    for table in RAW_OF_TOPIC.values():
        for field in arrow_schema(table):
            if field.name not in _LATER and field.name != table.event_time:
                columns[field.name] = field.type
    return columns


EVENT_COLUMNS = _event_columns()
DECODED = pa.schema([*_COORDINATES, *(pa.field(name, type_) for name, type_ in EVENT_COLUMNS.items())])
"""One row a message: an event, or a reason why it is none; columns of other topics are null.

`log_time` tells whether received_at is the log's own time; of messages from before a topic was switched to
LogAppendTime it is their producer's.
"""
LOG_APPEND_TIME = 1  # Kafka's timestampType
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
LAST_US = (_LAST - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def decoded(messages: DataFrame, max_event_age: timedelta | None, rules: Sequence[Rule]) -> DataFrame:
    """Kafka's messages (topic, partition, offset, timestamp, timestampType, value) as rows of DECODED."""
    wanted = alerting_events(rules)

    def decode_batches(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            yield decode_batch(batch, max_event_age, wanted)

    # A producer may have told any time: Python knows none after the year 9999.
    received = F.least("timestamp", instant(_LAST)).alias("timestamp")
    log_time = (F.col("timestampType") == LOG_APPEND_TIME).alias("log_time")
    read = messages.select("topic", "partition", "offset", received, log_time, "value")
    return read.mapInArrow(decode_batches, spark_schema(DECODED))


def decode_batch(
    batch: pa.RecordBatch, max_event_age: timedelta | None, wanted: Mapping[str, Callable[[Event], bool]]
) -> pa.RecordBatch:
    """Rows of DECODED from messages (topic, partition, offset, timestamp, log_time, value), in their order."""
    topics = batch.column(0).to_pylist()
    received = batch.column(3).to_pylist()
    payloads = batch.column(5).to_pylist()
    size = len(topics)
    reasons: list[str | None] = [None] * size
    details: list[str | None] = [None] * size
    kept: list[bytes | None] = [None] * size
    alerting = [False] * size
    times: list[datetime | None] = [None] * size
    values: dict[str, list[Any]] = {name: [None] * size for name in EVENT_COLUMNS}
    names = {topic: _fields(topic) for topic in TOPICS}
    for index in range(size):
        event = decode(topics[index], payloads[index], received[index], max_event_age)
        if isinstance(event, Rejected):
            reasons[index], details[index], kept[index] = str(event.reason), event.detail, payloads[index]
            continue
        times[index] = event_time(event)
        for name in names[topics[index]]:
            values[name][index] = getattr(event, name)
        if (matches := wanted.get(topics[index])) is not None:
            alerting[index] = matches(event)
    columns = [
        batch.column(0).cast(pa.string()),
        batch.column(1).cast(pa.int32()),
        batch.column(2),
        batch.column(3).cast(pa.timestamp("us", "UTC")),
        batch.column(4),
        pa.array(reasons, pa.string()),
        pa.array(details, pa.string()),
        pa.array(kept, pa.binary()),
        pa.array(alerting, pa.bool_()),
        pa.array(times, pa.timestamp("us", "UTC")),
        *(pa.array(values[name], type_) for name, type_ in EVENT_COLUMNS.items()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DECODED)


@cache
def _fields(topic: str) -> tuple[str, ...]:
    table = RAW_OF_TOPIC[topic]
    return tuple(
        column.name for column in table.columns if column.name not in _LATER and column.name != table.event_time
    )


def fresh(events: DataFrame, stored: DataFrame) -> DataFrame:
    """Events not stored yet, each (event_key, event_at) once: the first in log order. `stored` has both columns.

    `key_conflict` tells which of them have a key that is stored, or came before in the batch, with another time.
    """
    # All that follows groups by the key, so rows move once; both windows and the join find them together.
    by_key = events.repartition("event_key")
    same = Window.partitionBy("event_key", "event_at").orderBy("source_partition", "source_offset")
    first = by_key.withColumn("_place", F.row_number().over(same)).where("_place = 1").drop("_place")
    of_key = Window.partitionBy("event_key").orderBy("source_partition", "source_offset")
    first = first.withColumn("_again", F.row_number().over(of_key) > 1)
    times = stored.groupBy("event_key").agg(F.collect_set("event_at").alias("_times"))
    known = first.join(times, "event_key", "left").where(
        ~F.coalesce(F.expr("array_contains(_times, event_at)"), F.lit(False))
    )
    return known.withColumn("key_conflict", F.col("_again") | F.col("_times").isNotNull()).drop("_again", "_times")


def raw_rows(events: DataFrame, table: Table, ingested_at: datetime) -> DataFrame:
    """Rows of a raw table from its topic's events."""
    columns: list[Column] = []
    for column in table.columns:
        match column.name:
            case "ingested_at":
                columns.append(instant(ingested_at).alias("ingested_at"))
            case table.event_time:
                columns.append(F.col("event_at").alias(column.name))
            case name:
                columns.append(F.col(name))
    return events.select(*columns)


def dead_letters(rejected: DataFrame, ingested_at: datetime) -> DataFrame:
    """Rows of dead_letters."""
    names = [column.name for column in TABLES["dead_letters"].columns if column.name != "ingested_at"]
    return rejected.select(*names, instant(ingested_at).alias("ingested_at"))


def instant(when: datetime) -> Column:
    """A time as a literal. Not F.lit: that goes through Java's calendar, in which days before 1582 are others."""
    return F.timestamp_micros(F.lit((when - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)))


def minute_of(column: str) -> Column:
    """The minute that a time lies in, as a time."""
    return F.date_trunc("minute", F.col(column))


def kpi_rows(
    spark: SparkSession, table: Table, sources: dict[str, DataFrame], statuses: Sequence[str], updated_at: datetime
) -> DataFrame:
    """Rows of a KPI table from raw rows of whole minutes (and `window_ends`), by the query that DuckDB runs too."""
    sql = spark_sql(table.name, tuple(statuses))
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


@cache
def spark_sql(table: str, statuses: tuple[str, ...]) -> str:
    """The query of a KPI table in Spark's dialect; the session's zone is UTC, so zoned times do as well."""
    import sqlglot  # here, not above: each Python worker of the executors would load it too, for half a second

    return sqlglot.transpile(kpi_sql(table, statuses), read="duckdb", write="spark")[0]


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
