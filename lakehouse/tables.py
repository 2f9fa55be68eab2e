"""Every table: raw ones of the topics, KPI tables, and those that stand here.

Names and types of the first columns of the six old tables never change: dashboards elsewhere read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lakehouse.kpis import KPIS
from lakehouse.mistakes import noted
from lakehouse.schema import CATALOG, SCHEMA, Column, Table, arrow_schema, arrow_type, full_name
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError, exit_on_user_error

__all__ = ["CATALOG", "SCHEMA", "Column", "Table", "arrow_schema", "arrow_type", "full_name"]

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
        Column("owner", "string", "whose it is, as the rule says", required=False),
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
    "one rejected message, or element of one (docs/your-shop.md)",
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
KPI_STATE = Table(
    "kpi_state",
    "What of the KPI tables is not what their queries give: hours left out, and what is being filled in.",
    "one KPI table, and one of its hours that were left out",
    "every publish that changes it",
    (
        Column("kpi", "string", "the KPI table"),
        Column("definition", "string", "names the query that its rows are of"),
        Column(
            "hour_start", "timestamptz", "an hour whose rows are missing or old; empty: of the table", required=False
        ),
        Column("filled_to", "timestamptz", "rows before it are still to be filled in", required=False),
        Column("reason", "string", "why the hour was left out", required=False),
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
            "good bad duplicate key_conflict late left_out lag log_end lost heartbeat; late_seconds: how long before "
            "it was read a late event lay, at most; to_log_seconds: from produced_at to the log's own time, mean; "
            "clock_ahead: log times over 60 s ahead of the time they were read at, clock_ahead_seconds: the most of "
            "that; "
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


def by_name(tables: Iterable[Table]) -> dict[str, Table]:
    """Tables by their names. Raises UserError where two have the same one."""
    found: dict[str, Table] = {}
    for table in tables:
        with noted(Path(table.declared_in)):
            if other := found.get(table.name):
                raise UserError(
                    f"Two tables are called '{table.name}': {other.place()} and {table.place()}; give "
                    f"{'your own' if table.own or other.own else 'one'} another name."
                )
            found[table.name] = table
    return found


RAW_OF_TOPIC: dict[str, Table] = {name: topic.table for name, topic in TOPICS.items()}
KPI_TABLES: tuple[Table, ...] = tuple(kpi.table for kpi in KPIS.values())
with exit_on_user_error():
    TABLES: dict[str, Table] = by_name(
        (
            *RAW_OF_TOPIC.values(),
            *KPI_TABLES,
            ALERTS,
            DEAD_LETTERS,
            INGEST_POSITIONS,
            RULE_STATE,
            KPI_STATE,
            PIPELINE_METRICS,
            MAINTENANCE_RUNS,
        )
    )
