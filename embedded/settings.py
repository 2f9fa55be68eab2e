"""Settings of ingest and of what it keeps."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from lakehouse.settings import Duration, OptionalDuration, Section, Shared, UserError


class IngestSettings(Section, section="ingest"):
    """How ingest reads, publishes and maintains."""

    publish_every: Duration = Field(timedelta(seconds=0.5), description="between publishes; doubled below 50 events/s")
    heartbeat_every: Duration = Field(timedelta(seconds=15), description="a publish at least this often")
    batch_rows: int = Field(20_000, ge=1, description="rows read of one topic at a time (count)")
    rows_in_memory: int = Field(1_000_000, ge=0, description="rows of recent minutes kept for KPIs, a table (count)")
    keys_in_memory: int = Field(2_000_000, ge=0, description="event keys kept for telling duplicates, a table (count)")
    maintenance_every: Duration = Field(timedelta(seconds=60), description="between maintenance runs")


class RetentionSettings(Section, section="retention"):
    """How long what is kept."""

    event_log: Duration = Field(timedelta(hours=24), description="events in the log, once published")
    raw: OptionalDuration = Field(timedelta(days=30), description="raw rows, by ingested_at; off keeps them for ever")
    kpis: OptionalDuration = Field(timedelta(days=400), description="KPI rows and alerts")
    operations: OptionalDuration = Field(
        timedelta(days=90), description="dead letters, pipeline_metrics and maintenance_runs"
    )
    every_commit: Duration = Field(timedelta(minutes=5), description="every publish of this span can be read again")
    first_of_minute: Duration = Field(timedelta(hours=6), description="the first publish of each minute of this span")
    sweep_age: Duration = Field(timedelta(minutes=2), description="how long a file outlives its last commit")


def check_spans(retention: RetentionSettings, shared: Shared) -> RetentionSettings:
    """The retention in force: `max_event_age: off` turns raw retention off, for then any minute may still get events.

    Raises UserError where an event could arrive for a minute whose raw rows are gone: its KPIs could not be recomputed.
    """
    if shared.max_event_age is None:
        return retention.model_copy(update={"raw": None})
    if retention.raw is None:
        return retention
    needed = shared.max_event_age + retention.event_log + timedelta(minutes=15)
    if needed >= retention.raw:
        raise UserError(
            f"Setting 'retention.raw' is {retention.raw}, which is not longer than max_event_age "
            f"({shared.max_event_age}) + retention.event_log ({retention.event_log}) + 15 min; "
            "raise it or lower one of the other two."
        )
    return retention
