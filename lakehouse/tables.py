"""Every table: columns, types, units, grain, partition, freshness and retention.

Names and types of the first columns of the six old tables never change: dashboards elsewhere read them.
Types are Iceberg's; readers get a timestamptz as timestamp[ms] without zone, in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

CATALOG = "nessie_minio_catalog"
SCHEMA = "ecommerce_db"


@dataclass(frozen=True)
class Column:
    """One column. `unit` is empty where the type says all; `required` columns are never null."""

    name: str
    type: str
    doc: str
    unit: str = ""
    required: bool = True


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    `partition_by` is the column whose hour partitions the table (None: unpartitioned). `aged_by` is the column that
    retention looks at, `retention` names the setting in section `retention` that holds its length (None: kept).
    """

    name: str
    doc: str
    grain: str
    freshness: str
    columns: tuple[Column, ...]
    event_time: str | None = None
    partition_by: str | None = None
    aged_by: str | None = None
    retention: str | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


_LINEAGE = (
    Column("event_key", "string", "event_id, else a hash of topic and contract fields"),
    Column("produced_at", "timestamptz", "when the producer sent it", required=False),
    Column("ingested_at", "timestamptz", "when its publish was made; never goes back"),
    Column("source_partition", "int", "partition of the log it was read from"),
    Column("source_offset", "long", "offset in that partition"),
)
_WINDOW = (
    Column("window_start", "timestamptz", "start of the window, included"),
    Column("window_end", "timestamptz", "end of the window, excluded"),
)
_UPDATED = (Column("updated_at", "timestamptz", "when its publish was made"),)

ORDERS_PROCESSED = Table(
    "orders_processed",
    "Orders as they came, each once.",
    "one row on orders_topic",
    "the next publish",
    (
        Column("order_id", "string", "the shop's number of the order"),
        Column("user_id", "string", "who ordered"),
        Column("product_id", "string", "what was ordered"),
        Column("quantity", "int", "pieces", "count"),
        Column("price", "decimal(18,4)", "price of one piece", "currency of the shop"),
        Column("order_total", "decimal(18,2)", "given, else quantity x price, rounded half up", "currency of the shop"),
        Column("status", "string", "CREATED PROCESSING SHIPPED DELIVERED CANCELLED"),
        Column("order_ts", "timestamptz", "when the order was made"),
        *_LINEAGE,
    ),
    event_time="order_ts",
    partition_by="order_ts",
    aged_by="ingested_at",
    retention="raw",
)
CLICKS_PROCESSED = Table(
    "clicks_processed",
    "Page views as they came, each once.",
    "one row on clicks_topic",
    "the next publish",
    (
        Column("click_id", "string", "the shop's number of the click"),
        Column("user_id", "string", "who clicked"),
        Column("url", "string", "what was opened"),
        Column("device_type", "string", "desktop mobile tablet"),
        Column("click_ts", "timestamptz", "when it was clicked"),
        *_LINEAGE,
    ),
    event_time="click_ts",
    partition_by="click_ts",
    aged_by="ingested_at",
    retention="raw",
)
ERRORS_PROCESSED = Table(
    "errors_processed",
    "Errors as they came, each once.",
    "one row on errors_topic",
    "the next publish",
    (
        Column("error_id", "string", "the service's number of the error"),
        Column("service_name", "string", "which service"),
        Column("error_message", "string", "what it said"),
        Column("severity", "string", "DEBUG INFO WARN ERROR FATAL"),
        Column("error_ts", "timestamptz", "when it happened"),
        *_LINEAGE,
    ),
    event_time="error_ts",
    partition_by="error_ts",
    aged_by="ingested_at",
    retention="raw",
)
ORDERS_REVENUE_PER_MINUTE = Table(
    "orders_revenue_per_minute",
    "Orders and revenue of rows whose status is in orders.counted_statuses; the cancelled_ columns: of CANCELLED rows.",
    "one row a minute with an order",
    "the next publish",
    (
        *_WINDOW,
        Column("orders_count", "long", "orders", "count"),
        Column("total_revenue", "decimal(38,2)", "sum of order_total", "currency of the shop"),
        Column("cancelled_count", "long", "cancelled orders", "count"),
        Column("cancelled_revenue", "decimal(38,2)", "sum of order_total of cancelled orders", "currency of the shop"),
        Column("buyers", "long", "distinct user_id of counted orders", "count"),
        *_UPDATED,
    ),
    event_time="window_start",
    partition_by="window_start",
    aged_by="updated_at",
    retention="kpis",
)
ACTIVE_USERS_PER_WINDOW = Table(
    "active_users_per_window",
    "Distinct user_id in clicks over the five minutes before each minute's end (exact; the column's name is history).",
    "one row a minute's end whose five minutes hold a click",
    "the publish after the minute's end",
    (*_WINDOW, Column("active_users_approx", "long", "distinct users", "count"), *_UPDATED),
    event_time="window_end",
    partition_by="window_end",
    aged_by="updated_at",
    retention="kpis",
)
ERRORS_PER_MINUTE = Table(
    "errors_per_minute",
    "Errors by service and severity.",
    "one row a minute, service and severity with an error",
    "the next publish",
    (
        *_WINDOW,
        Column("service_name", "string", "which service"),
        Column("severity", "string", "DEBUG INFO WARN ERROR FATAL"),
        Column("error_count", "long", "errors", "count"),
        *_UPDATED,
    ),
    event_time="window_start",
    partition_by="window_start",
    aged_by="updated_at",
    retention="kpis",
)
CLICKS_PER_MINUTE = Table(
    "clicks_per_minute",
    "Clicks and users by page and device; page is the url path's first segment after an optional leading `page`.",
    "one row a minute, page and device with a click",
    "the next publish",
    (
        *_WINDOW,
        Column("page", "string", "`home` where the path has no segment"),
        Column("device_type", "string", "desktop mobile tablet"),
        Column("clicks", "long", "clicks", "count"),
        Column("users", "long", "distinct user_id", "count"),
        *_UPDATED,
    ),
    event_time="window_start",
    partition_by="window_start",
    aged_by="updated_at",
    retention="kpis",
)
ALERTS = Table(
    "alerts",
    "Alerts as facts: appended, never changed. Rows of one rule and entity share an incident until it resolves.",
    "one FIRING or RESOLVED row",
    "the publish of the event, or after the judged minute",
    (
        Column("alert_id", "string", "the same after any replay"),
        Column("alert_type", "string", "FATAL_ERROR, else the rule's name in capitals"),
        Column("description", "string", "one sentence; `Resolved: ` leads that of a RESOLVED row"),
        Column("alert_timestamp", "timestamptz", "time of the event, end of the window, or the moment judged"),
        Column("metric_value", "double", "1.0 for event rules, else the value judged", "as the rule says"),
        Column("status", "string", "FIRING RESOLVED"),
        Column("incident_id", "string", "the same for all rows of one incident"),
        Column("starts_at", "timestamptz", "alert_timestamp of the incident's first row; the hour of an old one"),
        Column("rule", "string", "name in config/alerts.yaml"),
        Column("severity", "string", "INFO WARN ERROR FATAL"),
        Column("service_name", "string", "the service, where the rule judges one", required=False),
        Column("threshold", "double", "the rule's limit", "as the rule says", required=False),
        Column("summary", "string", "what is wrong, for people", required=False),
        Column("runbook_url", "string", "what to do about it", required=False),
        Column(
            "received_at", "timestamptz", "log time of its event, at most the time it was read at; or the window's end"
        ),
        Column("ingested_at", "timestamptz", "when its publish was made; never goes back"),
    ),
    event_time="alert_timestamp",
    partition_by="alert_timestamp",
    aged_by="ingested_at",
    retention="kpis",
)
DEAD_LETTERS = Table(
    "dead_letters",
    "Messages that could not be read, with their bytes.",
    "one rejected message",
    "the next publish",
    (
        Column("topic", "string", "where it was"),
        Column("source_partition", "int", "partition of the log"),
        Column("source_offset", "long", "offset in that partition"),
        Column("received_at", "timestamptz", "the log's own time"),
        Column(
            "reason",
            "string",
            "EMPTY NOT_JSON MISSING_FIELD BAD_TYPE NOT_FINITE BAD_VALUE FUTURE_TIME STALE_TIME",
        ),
        Column("detail", "string", "which field, which value"),
        Column("payload", "binary", "the bytes as they came; null for a tombstone", required=False),
        Column("ingested_at", "timestamptz", "when its publish was made"),
    ),
    event_time="received_at",
    partition_by="received_at",
    aged_by="ingested_at",
    retention="operations",
)
INGEST_POSITIONS = Table(
    "ingest_positions",
    "How far ingest has read. The positions of the last publish are the only truth at a start.",
    "one row a topic and partition",
    "every publish",
    (
        Column("cluster_id", "string", "which log; another one starts at 0"),
        Column("topic", "string", "which topic"),
        Column("source_partition", "int", "which partition"),
        Column("next_offset", "long", "first offset that is not in"),
        Column("read_to", "timestamptz", "log time up to which all is in, at most its publish's time", required=False),
        Column("first_event_at", "timestamptz", "event time of the topic's earliest event", required=False),
        Column("updated_at", "timestamptz", "when its publish was made"),
    ),
)
RULE_STATE = Table(
    "rule_state",
    "Where each rule stands, published with the positions, so that a start goes on from it.",
    "one rule and entity that is judged or open",
    "every publish that changes it",
    (
        Column("rule", "string", "name in config/alerts.yaml"),
        Column("entity", "string", "values of the rule's `by` columns, as JSON"),
        Column("judged_to", "timestamptz", "end of the last minute judged", required=False),
        Column(
            "pending_since", "timestamptz", "since when the limit is broken, not yet for long enough", required=False
        ),
        Column("inside_since", "timestamptz", "since when a firing rule is back inside", required=False),
        Column("incident_id", "string", "the open incident", required=False),
        Column("starts_at", "timestamptz", "when it started", required=False),
        Column("newest_received_at", "timestamptz", "received_at of its newest row", required=False),
        Column("severity", "string", "of its first row", required=False),
        Column("service_name", "string", "of its first row", required=False),
        Column("updated_at", "timestamptz", "when its publish was made"),
    ),
)
PIPELINE_METRICS = Table(
    "pipeline_metrics",
    "What ingest did: one row for the publishes of a minute, and one for each heartbeat.",
    "one metric of one topic (or of all) at one time",
    "within 60 s",
    (
        Column("measured_at", "timestamptz", "when it was measured"),
        Column("topic", "string", "which topic; empty: of all"),
        Column(
            "metric",
            "string",
            "good bad duplicate key_conflict late lag log_end lost heartbeat; clock_ahead: log times over 60 s ahead "
            "of the time they were read at, clock_ahead_seconds: the most of that; "
            "batch_seconds, PHASE_seconds: mean of the batches since the row before",
        ),
        Column("value", "double", "the figure", "count or seconds"),
        Column("ingested_at", "timestamptz", "when its publish was made"),
    ),
    event_time="measured_at",
    partition_by="measured_at",
    aged_by="ingested_at",
    retention="operations",
)
MAINTENANCE_RUNS = Table(
    "maintenance_runs",
    "What maintenance did.",
    "one run",
    "the publish after the run",
    (
        Column("started_at", "timestamptz", "when it began"),
        Column("seconds", "double", "how long it took", "s"),
        Column("files_merged", "long", "small data files replaced", "count"),
        Column("files_written", "long", "data files written for them", "count"),
        Column("rows_expired", "long", "rows dropped by retention", "count"),
        Column("commits_expired", "long", "past commits no longer kept", "count"),
        Column("files_deleted", "long", "files that no kept commit reaches", "count"),
        Column("bytes_deleted", "long", "their size", "bytes"),
        Column("log_rows_deleted", "long", "event log rows past retention", "count"),
        Column("ingested_at", "timestamptz", "when its publish was made"),
    ),
    event_time="started_at",
    partition_by=None,
    aged_by="ingested_at",
    retention="operations",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        ORDERS_PROCESSED,
        CLICKS_PROCESSED,
        ERRORS_PROCESSED,
        ORDERS_REVENUE_PER_MINUTE,
        ACTIVE_USERS_PER_WINDOW,
        ERRORS_PER_MINUTE,
        CLICKS_PER_MINUTE,
        ALERTS,
        DEAD_LETTERS,
        INGEST_POSITIONS,
        RULE_STATE,
        PIPELINE_METRICS,
        MAINTENANCE_RUNS,
    )
}
RAW_OF_TOPIC: dict[str, Table] = {
    "orders_topic": ORDERS_PROCESSED,
    "clicks_topic": CLICKS_PROCESSED,
    "errors_topic": ERRORS_PROCESSED,
}
KPI_TABLES: tuple[Table, ...] = (
    ORDERS_REVENUE_PER_MINUTE,
    ACTIVE_USERS_PER_WINDOW,
    ERRORS_PER_MINUTE,
    CLICKS_PER_MINUTE,
)

_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def arrow_type(name: str) -> pa.DataType:
    """Arrow type of a column as stored; decimals as decimal128."""
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    return _ARROW[name]


@cache
def arrow_schema(table: Table) -> pa.Schema:
    """Arrow schema of a table as stored: timestamptz is timestamp[us, UTC], required columns are not nullable."""
    return pa.schema(
        [pa.field(column.name, arrow_type(column.type), nullable=not column.required) for column in table.columns]
    )


def full_name(table: Table) -> str:
    """The name readers use: catalog, schema and table, dotted."""
    return f"{CATALOG}.{SCHEMA}.{table.name}"
