"""KPI rows of the minutes that a batch touched, and of those that time has made due.

What a query can be split into is kept up as events come; any other query is run over all raw rows of its minutes.
Either way a row is what the query gives over the raw rows of its minute. A query that fails, or takes too long, holds
up nothing: its rows are left out, which kpi_state says, and computed later, piece by piece; so are those of a KPI that
is new or has another query than before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.kpis import KPIS, Kpi
from lakehouse.kpis.check import NO_FILES, asked
from lakehouse.tables import RAW_OF_TOPIC
from lakehouse.user_error import UserError
from pipeline.batch.draft import Draft
from pipeline.batch.kept import KeptMinutes
from pipeline.batch.kpi_files import KpiFiles
from pipeline.batch.kpi_state import KpiStanding, KpiState, left_out, stand
from pipeline.batch.limit import time_limit
from pipeline.batch.memory import Memory
from pipeline.batch.positions import as_of
from pipeline.batch.rows import kpi_rows, too_many_groups
from pipeline.batch.split import END, ENDS
from pipeline.batch.terms import Terms
from pipeline.batch.times import MINUTE_US, micros
from pipeline.storage.files import HOUR_US, Store, row_schema

logger = logging.getLogger("tillwatch.ingest")

PIECE_ROWS = 200_000
"""Raw rows that one piece of what is filled in reads, about: a FATAL that comes meanwhile waits for it."""
FIRST_REST_S, LONGEST_REST_S = 30.0, 600.0
"""How long a query that failed is left alone; twice as long each time, until it works again."""
_A_DAY = 24 * 60  # minutes
_TIME = pa.timestamp("us")


@dataclass(frozen=True)
class Piece:
    """Rows of a KPI table that are to be computed from raw rows: of the minutes from `low` up to `high`.

    `hour`: the hour that was left out, if that is why; else it is filled in.
    """

    kpi: Kpi
    low: int
    high: int
    hour: int | None = None


@dataclass(frozen=True)
class _Rest:
    until: float
    seconds: float
    why: str

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self.until


class KpiTables:
    """Every KPI table. A KPI of a window of several minutes has a row a minute's end: those come due with time."""

    def __init__(self, store: Store, memory: Memory, terms: Terms) -> None:
        self._store = store
        self._memory = memory
        self._counting = terms.orders.counting
        self._limit_s = terms.kpis.time_limit.total_seconds()
        self._most_groups = terms.kpis.most_groups
        self._raw_kept = terms.retention.raw
        self._files = {name: KpiFiles(store, kpi.table) for name, kpi in KPIS.items()}
        self._rests: dict[str, _Rest] = {}
        # What fails over an old hour may well work over what comes now: one bad event there holds up no new row.
        self._piece_rests: dict[str, _Rest] = {}
        self._failed_at: dict[tuple[str, int], float] = {}
        self._within: dict[tuple[str, int], int] = {}
        newest = {name: self._newest(kpi) for name, kpi in KPIS.items()}
        has = {name for name in KPIS if store.tables[name].live}
        self.state: KpiState = stand(store.rows("kpi_state").to_pylist(), self._counting, newest, has)
        self._duckdb = duckdb.connect(config={"threads": 1, **NO_FILES})
        self._duckdb.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        self._duckdb.close()

    def compute(self, draft: Draft, known_to: int | None) -> None:
        """Put into the draft what changes, but for tables that bulk has written.

        `known_to`: the minute up to which window ends were computed before.
        """
        draft.kpis_done = True
        for kpi in KPIS.values():
            if kpi.name not in draft.by_bulk and (hours := self._changed(kpi, draft, known_to)):
                draft.changed_hours[kpi.name] = hours
        self._write(draft)

    def _write(self, draft: Draft) -> None:
        for name, hours_of in draft.changed_hours.items():
            minutes = draft.changed_minutes[name]
            now = micros(draft.read_at) // MINUTE_US
            written = [self._files[name].write(hour, rows, minutes, now) for hour, rows in hours_of.items()]
            for each in written:
                draft.drop(name, each.gone)
                draft.add(name, each.added)
            draft.accept.append(partial(self._memory.hours[name].accept, hours_of))
            draft.accept.append(partial(self._files[name].accept, written))

    def _changed(self, kpi: Kpi, draft: Draft, known_to: int | None) -> dict[int, pa.Table]:
        """The hours of a KPI table that change, each as it will be."""
        touched = draft.touched.get(kpi.topic, set())
        spans: dict[int, Iterable[int]] = (
            {minute: (minute,) for minute in sorted(touched)}
            if kpi.window == 1
            else {end: range(end - kpi.window, end) for end in sorted(self._ends(kpi, draft, known_to))}
        )
        undone, nothing = self._undone(kpi, draft, known_to), row_schema(kpi.table).empty_table()
        kept = self._memory.kept.get(kpi.name)
        if kpi.name in draft.resting or self.rests(kpi):
            self._leave_out(kpi, spans, self._rests[kpi.name].why, draft)
            return self._replaced(kpi, undone, nothing, draft)
        try:
            minutes = {minute for span in spans.values() for minute in span}
            if kept is not None and (touched or minutes):
                self._keep_up(kept, draft, touched, minutes)
            if not spans and not undone:
                return {}
            answer = kept.answer(spans, self._ask) if kept else self._recomputed(kpi, spans, minutes)
            rows = kpi_rows(kpi.table, answer, draft.ingested_at)
            hours = self._replaced(kpi, spans.keys() | undone, rows, draft)
            if spans:
                self._rests.pop(kpi.name, None)
            return hours
        except (duckdb.Error, UserError) as error:
            self.leave_out(kpi, spans or touched, error, draft)
            return self._replaced(kpi, undone, nothing, draft)

    def _replaced(self, kpi: Kpi, ats: Set[int], rows: pa.Table, draft: Draft) -> dict[int, pa.Table]:
        hours = self._memory.hours[kpi.name]
        draft.changed_minutes[kpi.name] = set(ats)
        replaced = hours.replace(ats, rows)
        return {hour: new for hour, new in replaced.items() if new.num_rows or hours.hour(hour).num_rows}

    def _keep_up(self, kept: KeptMinutes, draft: Draft, touched: set[int], minutes: set[int]) -> None:
        """Hold these minutes whole, with what the batch brings."""
        missing = kept.take(touched | minutes)
        by_bulk = draft.partials.get(kept.kpi.topic)
        if missing:
            kept.add(by_bulk.whole(kept, missing) if by_bulk else self._whole(kept, missing))
        # Of minutes that were made whole just now, the new rows are in already.
        if old := touched - missing:
            kept.add(by_bulk.new(kept, old) if by_bulk else self._new(kept, old, draft))

    def _whole(self, kept: KeptMinutes, minutes: set[int]) -> pa.Table:
        """What Split.new gives of all raw rows of these minutes."""
        raw = self._memory.minutes[kept.kpi.topic]
        raw.fetch(minutes)
        return self._ask(kept.split.new, {RAW_OF_TOPIC[kept.kpi.topic].name: raw.rows(sorted(minutes))})

    def _new(self, kept: KeptMinutes, minutes: set[int], draft: Draft) -> pa.Table:
        """The same of the rows that the batch brings to these minutes."""
        topic = kept.kpi.topic
        all_of_them = draft.touched[topic] == minutes
        rows = draft.new_rows[topic] if all_of_them else self._memory.minutes[topic].new_rows(sorted(minutes))
        return self._ask(kept.split.new, {RAW_OF_TOPIC[topic].name: rows})

    def _recomputed(self, kpi: Kpi, spans: Mapping[int, Iterable[int]], minutes: set[int]) -> pa.Table:
        """The query's answer over all raw rows of these minutes."""
        if kpi.name in self._memory.kept:
            kept = self._memory.kept[kpi.name].scratch()
            kept.take(minutes)
            kept.add(self._whole(kept, minutes))
            return kept.answer(spans, self._ask)
        raw = self._memory.minutes[kpi.topic]
        raw.fetch(minutes)
        sources = {RAW_OF_TOPIC[kpi.topic].name: raw.rows(sorted(minutes))}
        if kpi.window > 1:
            sources[ENDS] = pa.table({END: pa.array([end * MINUTE_US for end in spans], _TIME)})
        answer = self._ask(kpi.sql(self._counting), sources)
        by = answer[str(kpi.table.partition_by)]
        most = pc.max(pc.value_counts(by.combine_chunks()).field("counts")).as_py() if len(by) else 0
        if most > self._most_groups:
            raise too_many_groups(kpi.table, most, self._most_groups)
        return answer

    def _ends(self, kpi: Kpi, draft: Draft, known_to: int | None) -> set[int]:
        """Window ends that are due, and are not computed yet or were touched."""
        newest = self.newest_end(draft, known_to)
        if newest is None:
            return set()
        touched = draft.touched.get(kpi.topic, set())
        ends = {m + after for m in touched for after in range(1, kpi.window + 1) if m + after <= newest}
        return ends | self.newly_due(kpi, newest, known_to)

    def _undone(self, kpi: Kpi, draft: Draft, known_to: int | None) -> set[int]:
        """Window ends with rows that are not due any more: the clock was ahead, and as_of has gone back with it.

        Until their time comes again, events that fall before them would make their rows wrong.
        """
        newest = self.newest_end(draft, known_to)
        if kpi.window == 1 or newest is None or known_to is None or newest >= known_to:
            return set()
        hours = (hour for hour in self._store.tables[kpi.name].hours if hour is not None and hour >= newest // 60)
        return {end for hour in hours for end in range(max(hour * 60, newest + 1), min((hour + 1) * 60, known_to + 1))}

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
        """Raises TookTooLong where it takes too long."""
        with time_limit(self._limit_s, self._duckdb.interrupt):
            return asked(self._duckdb, sql, sources)

    # What was left out, is new or has changed ----------------------------------------------------------------------

    def piece(self, now_us: int, known_to: int | None) -> Piece | None:
        """The next piece to compute; None where there is none, or what is left rests.

        Hours that were left out, the newest first; then what is to be filled in; then hours that failed before.
        """
        for name, kpi in KPIS.items():
            standing = self.state[name]
            rest = self._piece_rests.get(name)
            if self.rests(kpi) or (rest is not None and rest.lasts):
                continue
            standing = self._without_lost(name, standing, now_us)
            untried = [hour for hour in standing.left_out if (name, hour) not in self._failed_at]
            if untried:
                return self._piece_of(kpi, max(untried))
            if standing.filled_to is not None:
                found = self._unfilled(kpi, standing.filled_to, now_us)
                if found is not None:
                    return found
                self.state = {**self.state, name: replace(standing, filled_to=None)}
                logger.info("%s is filled in", name)
            if standing.left_out:
                return self._piece_of(kpi, min(standing.left_out, key=lambda hour: self._failed_at[name, hour]))
        return None

    def _piece_of(self, kpi: Kpi, hour: int) -> Piece:
        high = self._within.get((kpi.name, hour), (hour + 1) * 60)
        return Piece(kpi, max(hour * 60, high - self._minutes_a_piece(kpi, hour)), high, hour)

    def fill(self, piece: Piece, draft: Draft, known_to: int | None) -> None:
        """Put into the draft what a piece changes; or that it failed."""
        draft.kpis_done = True  # of what time makes due the next publish sees
        kpi = piece.kpi
        newest = piece.high if kpi.window == 1 or known_to is None else min(piece.high, known_to + 1)
        spans = {at: (at,) if kpi.window == 1 else range(at - kpi.window, at) for at in range(piece.low, newest)}
        try:
            if spans:
                minutes = {minute for span in spans.values() for minute in span}
                rows = kpi_rows(kpi.table, self._recomputed(kpi, spans, minutes), draft.ingested_at)
                hours = self._replaced(kpi, spans.keys(), rows, draft)
                if hours:
                    draft.changed_hours[kpi.name] = hours
        except (duckdb.Error, UserError) as error:
            self._failed_at[kpi.name, piece.low // 60] = time.monotonic()
            # Longer each time, once all hours had their turn: one that works is not to wait for many that fail.
            standing = (draft.kpi_state or self.state)[kpi.name]
            before = self._piece_rests.get(kpi.name, self._rests.get(kpi.name))
            untried = any((kpi.name, hour) not in self._failed_at for hour in standing.left_out)
            self._piece_rests[kpi.name] = self._rest(kpi, error, None if untried else before)
            self._leave_out(kpi, spans, self._piece_rests[kpi.name].why, draft)
            self._move_on(piece, draft, failed=True)
        else:
            self._piece_rests.pop(kpi.name, None)
            self._move_on(piece, draft, failed=False)
        self._write(draft)

    def _move_on(self, piece: Piece, draft: Draft, *, failed: bool) -> None:
        name = piece.kpi.name
        standing = (draft.kpi_state or self.state)[name]
        if piece.hour is None:
            standing = replace(standing, filled_to=piece.low)
        elif not failed:
            self._within[name, piece.hour] = piece.low
            if piece.low <= piece.hour * 60:
                del self._within[name, piece.hour]
                self._failed_at.pop((name, piece.hour), None)
                hours = {hour: why for hour, why in standing.left_out.items() if hour != piece.hour}
                standing = replace(standing, left_out=hours)
        self._put(name, standing, draft)

    def _unfilled(self, kpi: Kpi, filled_to: int, now_us: int) -> Piece | None:
        """The next hour downwards whose raw rows are all there."""
        hours, first = self._store.tables[RAW_OF_TOPIC[kpi.topic].name].hours, self._first_whole(now_us)
        raw_hours = {hour for hour in hours if hour is not None and hour >= first}
        # A row of a window may be of the hour after its rows.
        after = {hour + 1 for hour in raw_hours} if kpi.window > 1 else set()
        hour = max((each for each in raw_hours | after if each * 60 < filled_to), default=None)
        if hour is None:
            return None
        high = min(filled_to, (hour + 1) * 60)
        return Piece(kpi, max(hour * 60, high - self._minutes_a_piece(kpi, hour)), high)

    def _first_whole(self, now_us: int) -> float:
        """The first hour of which no raw row was lost to retention: rows come an hour before their event at most."""
        if self._raw_kept is None:
            return float("-inf")
        return (now_us - int(self._raw_kept.total_seconds() * 1_000_000)) // HOUR_US + 2

    def _without_lost(self, name: str, standing: KpiStanding, now_us: int) -> KpiStanding:
        """The same without hours that can be computed no more: what is there of them stays."""
        first = self._first_whole(now_us)
        lost = [hour for hour in standing.left_out if hour < first]
        if lost:
            logger.error(
                "%s: rows of %d hours cannot be computed any more, for raw rows of them are gone", name, len(lost)
            )
            kept = {hour: why for hour, why in standing.left_out.items() if hour >= first}
            standing = replace(standing, left_out=kept)
            self.state = {**self.state, name: standing}
        return standing

    def _minutes_a_piece(self, kpi: Kpi, hour: int) -> int:
        files = self._store.tables[RAW_OF_TOPIC[kpi.topic].name].hours.get(hour, {})
        rows = sum(file.rows for file in files.values())
        return min(60, max(1, 60 * PIECE_ROWS // max(1, rows)))

    def _newest(self, kpi: Kpi) -> int | None:
        span = self._memory.minutes[kpi.topic].span()
        return None if span is None else span[1] + kpi.window + 1

    def rests(self, kpi: Kpi) -> bool:
        """Whether its query failed of late over what a batch brought, and is not tried again yet."""
        rest = self._rests.get(kpi.name)
        return rest is not None and rest.lasts

    def leave_out(self, kpi: Kpi, minutes: Iterable[int], error: Exception, draft: Draft) -> None:
        """Its query failed over what the batch brings: note the hours of these minutes, and let it rest."""
        self._rests[kpi.name] = self._rest(kpi, error, self._rests.get(kpi.name))
        draft.resting.add(kpi.name)
        if kpi.name in self._memory.kept:
            self._memory.kept[kpi.name].clear()
        self._leave_out(kpi, minutes, self._rests[kpi.name].why, draft)

    def _rest(self, kpi: Kpi, error: Exception, before: _Rest | None) -> _Rest:
        seconds = FIRST_REST_S if before is None else min(2 * before.seconds, LONGEST_REST_S)
        why = " ".join(str(error).partition("LINE ")[0].split())[:500]
        logger.error("%s is left out, again in %.0f s: %s", kpi.name, seconds, why)
        return _Rest(time.monotonic() + seconds, seconds, why)

    def _leave_out(self, kpi: Kpi, minutes: Iterable[int], why: str, draft: Draft) -> None:
        standing = (draft.kpi_state or self.state)[kpi.name]
        if any(standing.left_out.get(minute // 60) != why for minute in minutes):
            self._put(kpi.name, left_out(standing, minutes, why), draft)
        for minute in minutes:
            self._within.pop((kpi.name, minute // 60), None)

    def _put(self, name: str, standing: KpiStanding, draft: Draft) -> None:
        draft.kpi_state = {**(draft.kpi_state or self.state), name: standing}
