"""Maintenance of files, by the one writer between batches: merge small ones, apply retention."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.tables import TABLES, Table
from pipeline.settings import RetentionSettings
from pipeline.storage.files import LiveFile, Store

ROWS_OF_A_MERGED_FILE = 1_000_000
ROWS_NOT_SMALL = 300_000
# The same for rows that are large: a merge holds all of them in memory.
BYTES_OF_A_MERGED_FILE = 64 << 20
BYTES_NOT_SMALL = 20 << 20
HOURS_A_RUN = 64
_US = timedelta(microseconds=1)


@dataclass
class Run:
    """What one run wants published, and what it has deleted meanwhile."""

    changes: dict[str, tuple[list[Any], list[Any]]] = field(default_factory=dict)
    files_merged: int = 0
    files_written: int = 0
    rows_expired: int = 0
    commits_expired: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0
    log_rows_deleted: int = 0

    @property
    def did_something(self) -> bool:
        return bool(self.changes or self.commits_expired or self.files_deleted or self.log_rows_deleted)

    def row(self, now: datetime, seconds: float) -> dict[str, Any]:
        """Its row of maintenance_runs."""
        return {
            "started_at": now,
            "seconds": seconds,
            "files_merged": self.files_merged,
            "files_written": self.files_written,
            "rows_expired": self.rows_expired,
            "commits_expired": self.commits_expired,
            "files_deleted": self.files_deleted,
            "bytes_deleted": self.bytes_deleted,
            "log_rows_deleted": self.log_rows_deleted,
            "ingested_at": now,
        }

    def change(self, name: str, added: list[LiveFile], removed: list[LiveFile]) -> None:
        """Note files that replace others."""
        known = self.changes.setdefault(name, ([], []))
        known[0].extend(added)
        known[1].extend(removed)
        self.files_written += len(added)


class Maintenance:
    """Runs maintenance; remembers from run to run which hours have come to rest."""

    def __init__(self, store: Store, retention: RetentionSettings) -> None:
        self._store = store
        self._retention = retention
        self._last_sequence = store.sequence

    def run(self, now: int, open_incidents: Collection[str]) -> Run:
        """One run: what it wants published. `now` in us since the epoch."""
        run = Run()
        for name, table in TABLES.items():
            self._expire(run, name, table, now, open_incidents)
        self._merge(run)
        self._last_sequence = self._store.sequence
        return run

    def _expire(self, run: Run, name: str, table: Table, now: int, open_incidents: Collection[str]) -> None:
        if table.retention is None or table.aged_by is None:
            return
        span: timedelta | None = getattr(self._retention, table.retention)
        if span is None:
            return
        cutoff = now - span // _US
        # A file that is old in part is written anew only once a quarter of the span can be freed.
        rewrite = cutoff - span // _US // 4
        for file in list(self._store.tables[name].live.values()):
            if file.aged_max is None or file.aged_min is None or file.aged_min >= cutoff:
                continue
            if file.aged_max >= cutoff and file.aged_min >= rewrite:
                continue
            kept: list[LiveFile] = []
            rows = 0
            if file.aged_max >= cutoff or name == "alerts":
                held = self._store.read(name, [file])
                young = pc.greater_equal(pc.cast(held[table.aged_by], pa.int64()), cutoff)
                if name == "alerts":
                    young = pc.or_(
                        young, pc.is_in(held["incident_id"], value_set=pa.array(open_incidents, pa.string()))
                    )
                held = held.filter(young)
                rows = held.num_rows
                if rows == file.rows:
                    continue
                kept = self._store.tables[name].write(held, file.level)
            run.rows_expired += file.rows - rows
            run.change(name, kept, [file])

    def _merge(self, run: Run) -> None:
        """Small files of hours that got no row since the last run become one."""
        hours_left = HOURS_A_RUN
        for name, table in TABLES.items():
            if table.partition_by is None:
                continue
            gone = {file.uri for file in run.changes.get(name, ([], []))[1]}
            for files in list(self._store.tables[name].hours.values()):
                small = [
                    f
                    for f in files.values()
                    if f.rows < ROWS_NOT_SMALL and f.bytes < BYTES_NOT_SMALL and f.uri not in gone
                ]
                if len(small) < 2 or max(file.born for file in small) > self._last_sequence:
                    continue
                group: list[LiveFile] = []
                rows = size = 0
                for file in sorted(small, key=lambda f: f.event_min or 0):
                    if rows + file.rows <= ROWS_OF_A_MERGED_FILE and size + file.bytes <= BYTES_OF_A_MERGED_FILE:
                        group.append(file)
                        rows, size = rows + file.rows, size + file.bytes
                if len(group) < 2:
                    continue
                added = self._store.tables[name].write(self._store.read(name, group), 3)
                run.files_merged += len(group)
                run.change(name, added, group)
                hours_left -= 1
                if not hours_left:
                    return
