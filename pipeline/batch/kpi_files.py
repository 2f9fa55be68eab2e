"""Which files of a KPI hour a publish writes anew: an hour with many rows has one of its own for what is still open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from cachetools import LRUCache

from lakehouse.tables import Table
from pipeline.batch.times import MINUTE_US, us_of
from pipeline.storage.files import LiveFile, Store

LARGE = 4_000
"""Rows of an hour from which on it pays: below, one file is written in some milliseconds."""
OPEN = 5
"""Minutes that stay open at least: few events come later."""
_HOURS_KNOWN = 8


@dataclass(frozen=True)
class _Halves:
    """An hour's files: those of minutes before `cut`, and those of the others."""

    cut: int
    closed: frozenset[str]
    open: frozenset[str]


@dataclass(frozen=True)
class Rewritten:
    """What one hour loses and gains."""

    hour: int
    gone: Sequence[LiveFile]
    added: Sequence[LiveFile]
    halves: _Halves | None


class KpiFiles:
    """One KPI table's. What is known is in memory only; an hour that is not known is written whole."""

    def __init__(self, store: Store, table: Table) -> None:
        self._store = store
        self._table = table
        self._known: LRUCache[int, _Halves] = LRUCache(_HOURS_KNOWN)

    def write(self, hour: int, rows: pa.Table, changed: Iterable[int], now: int) -> Rewritten:
        """Write what holds the changed minutes, those of other hours left aside. `rows` are all of the hour.

        `now`: the minute under way (since the epoch), for some events lie ahead.
        """
        files, by = self._store.tables[self._table.name], self._table.partition_by
        assert by is not None
        of_hour = [minute for minute in changed if minute // 60 == hour]
        first, last = min(of_hour), max(of_hour)
        live = files.hours.get(hour, {})
        minutes = us_of(rows[by]) // MINUTE_US
        if rows.num_rows < LARGE:
            return Rewritten(hour, list(live.values()), files.write(rows), None)
        newest = min(int(minutes.max()), max(now, hour * 60))
        known = self._known.get(hour)
        if known is None or known.closed | known.open != live.keys():
            known, first, last = _Halves(newest + 1 - OPEN, frozenset(), frozenset(live)), hour * 60, hour * 60 + 59
        cut = known.cut
        if last >= cut and newest - cut >= 2 * OPEN:
            cut, first = newest + 1 - OPEN, min(first, known.cut - 1)
        closed, still_open = known.closed, known.open
        gone: set[str] = set()
        added: list[LiveFile] = []
        if first < known.cut:
            new = files.write(rows.filter(pa.array(minutes < cut)))
            gone |= closed
            added += new
            closed = frozenset(file.uri for file in new)
        if last >= known.cut:
            new = files.write(rows.filter(pa.array(minutes >= cut)))
            gone |= still_open
            added += new
            still_open = frozenset(file.uri for file in new)
        return Rewritten(hour, [live[uri] for uri in gone], added, _Halves(cut, closed, still_open))

    def accept(self, written: Iterable[Rewritten]) -> None:
        """Their publish went through."""
        for each in written:
            self._known.pop(each.hour, None)
            if each.halves is not None:
                self._known[each.hour] = each.halves
