"""What maintenance has to do: rows past their retention, and small files of hours that have come to rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.tables import TABLES, Table
from pipeline.maintenance.jobs import Job
from pipeline.maintenance.run import Run
from pipeline.settings import RetentionSettings
from pipeline.storage.files import Change, LiveFile, Store

ROWS_OF_A_MERGED_FILE = 1_000_000
ROWS_NOT_SMALL = 300_000
# The same for rows that are large: a merge holds all of them in memory.
BYTES_OF_A_MERGED_FILE = 64 << 20
BYTES_NOT_SMALL = 20 << 20
HOURS_A_RUN = 64
MERGED_LEVEL = 3
_US = timedelta(microseconds=1)


@dataclass
class Plan:
    """`gone`: files that leave whole, a table; `jobs`: what takes longer."""

    run: Run = field(default_factory=Run)
    gone: dict[str, list[LiveFile]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)


class Maintenance:
    """Plans runs; remembers from run to run which hours may hold small files that have come to rest."""

    def __init__(self, store: Store, retention: RetentionSettings) -> None:
        self._store = store
        self._retention = retention
        self._last_sequence = store.sequence
        # Looked through once. Later only what publishes write to: at 400 days of hours a look at all takes too long.
        self._unrested = {
            (name, hour) for name in TABLES for hour, files in self._store.tables[name].hours.items() if len(files) > 1
        }

    def note(self, changes: Mapping[str, Change]) -> None:
        """A publish went through: the hours that it wrote to may have small files."""
        for name, change in changes.items():
            self._unrested.update((name, file.hour) for file in change.added)

    def plan(self, now: int, open_incidents: Collection[str]) -> Plan:
        """One run. `now` in us since the epoch."""
        plan = Plan()
        for name, table in TABLES.items():
            self._expire(plan, name, table, now, open_incidents)
        self._merge(plan)
        self._last_sequence = self._store.sequence
        return plan

    def _expire(self, plan: Plan, name: str, table: Table, now: int, open_incidents: Collection[str]) -> None:
        if table.retention is None or table.aged_by is None:
            return
        span: timedelta | None = getattr(self._retention, table.retention)
        if span is None:
            return
        cutoff = now - span // _US
        # A file that is old in part is written anew only once a quarter of the span can be freed.
        rewrite = cutoff - span // _US // 4
        for file in self._store.tables[name].live.values():
            if file.aged_max is None or file.aged_min is None or file.aged_min >= cutoff:
                continue
            if file.aged_max >= cutoff and file.aged_min >= rewrite:
                continue
            if file.aged_max < cutoff and name != "alerts":
                plan.gone.setdefault(name, []).append(file)
                plan.run.rows_expired += file.rows
            else:
                incidents = open_incidents if name == "alerts" else ()
                keep = partial(_young, by=table.aged_by, cutoff=cutoff, incidents=tuple(incidents))
                plan.jobs.append(Job(name, [file], file.level, plan.run, keep))

    def _merge(self, plan: Plan) -> None:
        """Small files of hours that got no row since the last run become one."""
        going = {file.uri for files in plan.gone.values() for file in files}
        going |= {file.uri for job in plan.jobs for file in job.sources}
        merges = 0
        for name, hour in sorted(self._unrested, key=str):
            files = self._store.tables[name].hours.get(hour, {})
            small = [file for file in files.values() if is_small(file) and file.uri not in going]
            if TABLES[name].partition_by is None or len(small) < 2:
                self._unrested.discard((name, hour))
            elif max(file.born for file in small) <= self._last_sequence:
                group = fitting(small)
                if len(group) < 2:
                    self._unrested.discard((name, hour))
                    continue
                plan.jobs.append(Job(name, group, MERGED_LEVEL, plan.run))
                merges += 1
                if merges == HOURS_A_RUN:
                    return


def is_small(file: LiveFile) -> bool:
    """Whether it is worth a merge at all."""
    return file.rows < ROWS_NOT_SMALL and file.bytes < BYTES_NOT_SMALL


def fitting(small: Iterable[LiveFile]) -> list[LiveFile]:
    """As many of them, in the order of their events, as one file may hold."""
    group: list[LiveFile] = []
    rows = size = 0
    for file in sorted(small, key=lambda f: f.event_min or 0):
        if rows + file.rows <= ROWS_OF_A_MERGED_FILE and size + file.bytes <= BYTES_OF_A_MERGED_FILE:
            group.append(file)
            rows, size = rows + file.rows, size + file.bytes
    return group


def _young(rows: pa.Table, by: str, cutoff: int, incidents: Collection[str]) -> pa.Table:
    """Rows that stay: from `cutoff` (us) on by column `by`, and those of open incidents."""
    young = pc.greater_equal(pc.cast(rows[by], pa.int64()), cutoff)
    if incidents:
        young = pc.or_(young, pc.is_in(rows["incident_id"], value_set=pa.array(incidents, pa.string())))
    return rows.filter(young)
