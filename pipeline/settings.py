"""Settings of what writes tables: the catalog and the store of the stack, ingest, rules and retention."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import ByteSize, Field, SecretStr, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration, OptionalDuration, write_duration
from lakehouse.user_error import UserError


class NessieSettings(Section, section="nessie"):
    """The catalog of the stack."""

    uri: str = Field("", description="of its API v2: http://HOST:PORT/api/v2; empty: the one on this machine")
    warehouse: str = Field("s3://warehouse/wh", description="where tables lie: s3://BUCKET/PATH")

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not value:
            return f"http://127.0.0.1:{Shared.load().port('nessie')}/api/v2"
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?/api/v2/?", value):
            raise ValueError("expected http://HOST:PORT/api/v2")
        return value.rstrip("/")

    @field_validator("warehouse")
    @classmethod
    def _warehouse(cls, value: str) -> str:
        if not re.fullmatch(r"s3://[^/\s]+(/\S*)?", value):
            raise ValueError("expected s3://BUCKET/PATH")
        return value.rstrip("/")

    @property
    def bucket(self) -> str:
        """The bucket that the warehouse lies in."""
        return self.warehouse.removeprefix("s3://").partition("/")[0]


class S3Settings(Section, section="s3"):
    """The object store of the stack."""

    endpoint: str = Field("", description="http://HOST:PORT; empty: the server on this machine")
    access_key: str = Field("admin", description="name of the account")
    secret_key: SecretStr = Field(SecretStr("password"), description="its secret; better given as *_FILE")
    region: str = Field("us-east-1", description="region; most servers take any")

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if not value:
            return f"http://127.0.0.1:{Shared.load().port('s3')}"
        if not re.fullmatch(r"https?://[^/\s]+/?", value):
            raise ValueError("expected http://HOST:PORT")
        return value.rstrip("/")


class IngestSettings(Section, section="ingest"):
    """How ingest reads, publishes and maintains."""

    publish_every: Duration = Field(
        timedelta(seconds=0.5),
        description="from one publish's begin to the next one's; half as long again below 50 events/s",
    )
    heartbeat_every: Duration = Field(timedelta(seconds=15), description="a publish at least this often")
    batch_rows: int = Field(40_000, ge=1, description="rows read of one topic at a time (count)")
    rows_memory: ByteSize = Field(
        ByteSize(128 << 20), description="rows of recent minutes, a topic whose KPIs need them all (bytes, as 128MiB)"
    )
    keys_in_memory: int = Field(2_000_000, ge=0, description="event keys kept for telling duplicates, a table (count)")
    maintenance_every: Duration = Field(timedelta(seconds=60), description="between maintenance runs")


class KpisSettings(Section, section="kpis"):
    """How KPI tables are computed."""

    memory: ByteSize = Field(
        ByteSize(64 << 20), description="sums and distinct values of recent minutes, a KPI table (bytes)"
    )
    most_groups: int = Field(
        500, ge=2, description="rows of a minute and table, at most: the rest becomes one row, (other) (count)"
    )
    time_limit: Duration = Field(
        timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        description="a query that takes longer (for each 20,000 rows that Spark reads at once) is given up: its rows "
        "are left out, said, and computed later",
    )


class RulesSettings(Section, section="rules"):
    """How rules judge."""

    max_lookback: Duration = Field(timedelta(minutes=15), description="minutes that ended longer ago are not judged")


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


def check_spans(
    retention: RetentionSettings, shared: Shared, log: tuple[str, timedelta] | None = None
) -> RetentionSettings:
    """The retention in force: `max_event_age: off` turns raw retention off, for then any minute may still get events.

    Raises UserError where an event could arrive for a minute whose raw rows are gone: its KPIs could not be recomputed.
    """
    if shared.max_event_age is None:
        return retention.model_copy(update={"raw": None})
    if retention.raw is None:
        return retention
    name, span = log or ("retention.event_log", retention.event_log)
    needed = shared.max_event_age + span + timedelta(minutes=15)
    if needed >= retention.raw:
        raise UserError(
            f"Setting 'retention.raw' is {write_duration(retention.raw)}, which is not longer than max_event_age "
            f"({write_duration(shared.max_event_age)}) + {name} ({write_duration(span)}) + 15 min; "
            "raise it or lower one of the other two."
        )
    return retention
