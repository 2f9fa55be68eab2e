"""One run of maintenance: what it has done so far, as its row of maintenance_runs will say."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Run:
    """Counts and bytes of one run; `waiting` jobs of it are not published yet."""

    files_merged: int = 0
    files_written: int = 0
    rows_expired: int = 0
    commits_expired: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0
    log_rows_deleted: int = 0
    waiting: int = 0
    began: float = field(default_factory=time.perf_counter)

    @property
    def did_something(self) -> bool:
        return bool(
            self.files_merged
            or self.rows_expired
            or self.commits_expired
            or self.files_deleted
            or self.log_rows_deleted
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def row(self, at: datetime) -> dict[str, Any]:
        """Its row of maintenance_runs."""
        return {
            "started_at": at,
            "seconds": self.seconds,
            "files_merged": self.files_merged,
            "files_written": self.files_written,
            "rows_expired": self.rows_expired,
            "commits_expired": self.commits_expired,
            "files_deleted": self.files_deleted,
            "bytes_deleted": self.bytes_deleted,
            "log_rows_deleted": self.log_rows_deleted,
            "ingested_at": at,
        }
