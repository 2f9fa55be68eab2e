"""KPI rows of the minutes that a batch touched, and of those that time has made due.

What a query can be split into is kept up as events come; any other query is run over all raw rows of its minutes.
Either way a row is what the query gives over the raw rows of its minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb
import pyarrow as pa

from lakehouse.kpis import KPIS, Kpi
from lakehouse.kpis.check import NO_FILES
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.draft import Draft
from pipeline.batch.kept import KeptMinutes, asked
from pipeline.batch.memory import Memory
from pipeline.batch.positions import as_of
from pipeline.batch.rows import kpi_rows
from pipeline.batch.split import END, ENDS, KEPT
from pipeline.batch.terms import Terms
from pipeline.batch.times import MINUTE_US, micros
from pipeline.storage.files import Store

_A_DAY = 24 * 60  # minutes
_TIME = pa.timestamp("us")


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
        for kpi in KPIS.values():
            if kpi.name not in draft.by_bulk and (hours := self._changed(kpi, draft, known_to)):
                changed[kpi.name] = hours
        for name, hours_of in changed.items():
            files = self._store.tables[name]
            for hour, rows in hours_of.items():
                draft.drop(name, list(files.hours.get(hour, {}).values()))
                draft.add(name, files.write(rows))

            def accept(name: str = name, hours_of: dict[int, pa.Table] = hours_of) -> None:
                self._memory.hours[name].accept(hours_of)

            draft.accept.append(accept)

    def _changed(self, kpi: Kpi, draft: Draft, known_to: int | None) -> dict[int, pa.Table]:
        """The hours of a KPI table that change, each as it will be."""
        touched = draft.touched.get(kpi.topic, set())
        spans: dict[int, Iterable[int]] = (
            {minute: (minute,) for minute in sorted(touched)}
            if kpi.window == 1
            else {end: range(end - kpi.window, end) for end in sorted(self._ends(kpi, draft, known_to))}
        )
        minutes = {minute for span in spans.values() for minute in span}
        kept = self._memory.kept.get(kpi.name)
        if kept is not None and (touched or minutes):
            self._keep_up(kept, draft.new_rows.get(kpi.topic), touched, minutes)
        if not spans:
            return {}
        if kept is not None:
            answer = self._ask(kept.final, {KEPT: kept.rows(spans)})
        else:
            answer = self._recomputed(kpi, spans, minutes)
        hours = self._memory.hours[kpi.name]
        replaced = hours.replace(set(spans), kpi_rows(kpi.table, answer, draft.ingested_at))
        return {hour: new for hour, new in replaced.items() if new.num_rows or hours.hour(hour).num_rows}

    def _keep_up(self, kept: KeptMinutes, new: pa.Table | None, touched: set[int], minutes: set[int]) -> None:
        """Hold these minutes whole, with what the batch brings."""
        missing = kept.take(touched | minutes)
        raw = self._memory.minutes[kept.kpi.topic]
        source = RAW_OF_TOPIC[kept.kpi.topic].name
        whole = touched - missing
        if missing:
            raw.fetch(missing)
            kept.add(self._ask(kept.split.new, {source: raw.rows(sorted(missing))}))
        if whole and new is not None:
            # Of minutes that were made whole just now, the new rows are in already.
            rows = raw.new_rows(sorted(whole)) if missing & touched else new
            kept.add(self._ask(kept.split.new, {source: rows}))

    def _recomputed(self, kpi: Kpi, spans: Mapping[int, Iterable[int]], minutes: set[int]) -> pa.Table:
        """The query's answer over all raw rows of these minutes."""
        raw = self._memory.minutes[kpi.topic]
        raw.fetch(minutes)
        sources = {RAW_OF_TOPIC[kpi.topic].name: raw.rows(sorted(minutes))}
        if kpi.window > 1:
            sources[ENDS] = pa.table({END: pa.array([end * MINUTE_US for end in spans], _TIME)})
        return self._ask(kpi.sql(self._statuses), sources)

    def _ends(self, kpi: Kpi, draft: Draft, known_to: int | None) -> set[int]:
        """Window ends that are due, and are not computed yet or were touched."""
        newest = self.newest_end(draft, known_to)
        if newest is None:
            return set()
        touched = draft.touched.get(kpi.topic, set())
        ends = {m + after for m in touched for after in range(1, kpi.window + 1) if m + after <= newest}
        return ends | self.newly_due(kpi, newest, known_to)

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

    def _ask(self, sql: str, sources: Mapping[str, pa.Table]) -> pa.Table:
        return asked(self._duckdb, sql, sources)
