"""Settings of the gateway."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from lakehouse.settings import Duration, Section


class GatewaySettings(Section, section="gateway"):
    """How the gateway serves. User and password are those of section dremio."""

    catalog: Literal["embedded", "nessie"] = Field(
        "embedded", description="whose tables it answers from: embedded ingest's, or Nessie's in S3"
    )
    host: str = Field("127.0.0.1", description="address it listens on")
    threads: int = Field(
        1, ge=1, le=64, description="of DuckDB beside the callers' own (count); 1 costs least for small answers"
    )
    memory_limit: int = Field(128, ge=32, description="of DuckDB; what does not fit goes to disk (MB)")
    rows_in_memory: int = Field(200_000, ge=0, description="rows of small files kept in DuckDB's memory (count)")
    files_on_disk: int = Field(1024, ge=16, description="copies of data files from S3 kept in the data directory (MB)")
    statement_timeout: Duration = Field(timedelta(seconds=60), description="a statement is cancelled after it")
    session_ttl: Duration = Field(timedelta(hours=2), description="a session unused for so long is forgotten")
