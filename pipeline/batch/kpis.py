"""KPI rows of the minutes that a batch touched, and of those that time has made due, computed anew from raw rows."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from lakehouse.kpis import KPIS, Kpi, kpis_of
from lakehouse.kpis.check import NO_FILES
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.draft import Draft
from pipeline.batch.memory import Memory
from pipeline.batch.positions import as_of
from pipeline.batch.rows import kpi_rows
from pipeline.batch.terms import Terms
from pipeline.batch.times import MINUTE_US, micros
from pipeline.storage.files import Store

_A_DAY = 24 * 60  # minutes


class KpiTables:
    """Every KPI table. A KPI of a window of several minutes has a row a minute's end: those come due with time."""

    def __init__(self, store: Store, memory: Memory, terms: Terms) -> None:
        self._store = store
        self._memory = memory
        self._statuses = terms.orders.counted_statuses
        self._duckdb = duckdb.connect(config={"threads": 1, **NO_FILES})
        self._duckdb.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        self._duckdb.close()

    def compute(self, draft: Draft, known_to: int | None) -> None:
        """Put into the draft what changes, but for tables that bulk has written.

        `known_to`: the minute up to which window ends were computed before.
        """
        draft.kpis_done = True
        changed = draft.changed_hours
        for topic, minutes in draft.touched.items():
            for kpi in kpis_of(topic):
                if kpi.window == 1:
                    rows = self._memory.minutes[topic].rows(sorted(minutes))
                    answer = self._ask(kpi, {RAW_OF_TOPIC[topic].name: rows})
                    new = kpi_rows(kpi.table, answer, draft.ingested_at)
                    changed[kpi.table.name] = self._memory.hours[kpi.table.name].replace(minutes, new)
        for kpi in KPIS.values():
            if (
                kpi.window > 1
                and kpi.table.name not in draft.by_bulk
                and (hours := self._windows(kpi, draft, known_to))
            ):
                changed[kpi.table.name] = hours
        for name, hours_of in changed.items():
            files = self._store.tables[name]
            for hour, rows in hours_of.items():
                draft.drop(name, list(files.hours.get(hour, {}).values()))
                draft.add(name, files.write(rows))

            def accept(name: str = name, hours_of: dict[int, pa.Table] = hours_of) -> None:
                self._memory.hours[name].accept(hours_of)

            draft.accept.append(accept)

    def _windows(self, kpi: Kpi, draft: Draft, known_to: int | None) -> dict[int, pa.Table]:
        newest = self.newest_end(draft, known_to)
        if newest is None:
            return {}
        touched = draft.touched.get(kpi.topic, set())
        ends = {m + after for m in touched for after in range(1, kpi.window + 1) if m + after <= newest}
        ends |= self.newly_due(kpi, newest, known_to)
        if not ends:
            return {}
        minutes = {minute for end in ends for minute in range(end - kpi.window, end)}
        raw = self._memory.minutes[kpi.topic]
        raw.fetch(minutes)
        window_ends = pa.table({"window_end": pa.array([end * MINUTE_US for end in sorted(ends)], pa.timestamp("us"))})
        sources = {"window_ends": window_ends, RAW_OF_TOPIC[kpi.topic].name: raw.rows(sorted(minutes))}
        hours = self._memory.hours[kpi.table.name]
        replaced = hours.replace(ends, kpi_rows(kpi.table, self._ask(kpi, sources), draft.ingested_at))
        return {h: new for h, new in replaced.items() if new.num_rows or hours.hour(h).num_rows}

    @staticmethod
    def newest_end(draft: Draft, known_to: int | None) -> int | None:
        """The newest minute's end (minutes since the epoch) that is due; None while as_of is not known."""
        now_known = as_of(draft.positions)
        return micros(now_known) // MINUTE_US if now_known is not None else known_to

    def newly_due(self, kpi: Kpi, newest: int, known_to: int | None) -> set[int]:
        """Window ends up to `newest` that time has made due since `known_to`.

        Rows may lie ahead of as_of. When that is known for the first time the ends of all rows are due; no more than of
        a day, for those are held in memory.
        """
        stored = self._memory.minutes[kpi.topic].span()
        if stored is None:
            return set()
        done = max(stored[0], newest - _A_DAY) if known_to is None else known_to
        return set(range(done + 1, min(newest, stored[1] + kpi.window) + 1))

    def _ask(self, kpi: Kpi, sources: Mapping[str, pa.Table]) -> pa.Table:
        for name, rows in sources.items():
            self._duckdb.register(name, rows)
        try:
            return self._duckdb.execute(kpi.sql(self._statuses)).to_arrow_table()
        finally:
            for name in sources:
                self._duckdb.unregister(name)
