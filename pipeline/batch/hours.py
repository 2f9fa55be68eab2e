"""KPI rows of recent hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from cachetools import LRUCache

from lakehouse.tables import Table
from lakehouse.user_error import UserError
from pipeline.batch.times import MINUTE_US, us_of
from pipeline.storage.files import HOUR_US, Store

BYTES_HELD = 32 << 20
"""Of one KPI table; an hour of the shipped ones has some ten KB, of one with many groups a few MB."""
_EMPTY = 64  # bytes that an hour without rows counts as


class KpiHours:
    """KPI rows by hour: what is written anew of an hour, kpi_files.py knows. `bound`: bytes held."""

    def __init__(self, store: Store, table: Table, bound: int = BYTES_HELD) -> None:
        self._store = store
        self._table = table
        self._hours: LRUCache[int, pa.Table] = LRUCache(bound, getsizeof=_bytes)

    def replace(self, minutes: Set[int], rows: pa.Table) -> dict[int, pa.Table]:
        """The hours that change when the rows of `minutes` are replaced by `rows`, each as it will be.

        Raises UserError for rows of other minutes: they would be added again at each publish.
        """
        by = self._table.partition_by
        assert by is not None
        changed = {}
        new_minutes = us_of(rows[by]) // MINUTE_US
        others = set(new_minutes.tolist()) - minutes
        if others:
            at = datetime.fromtimestamp(min(others) * 60, UTC)
            raise UserError(
                f"{self._table.declared_in}: the query gives a row whose {by} is {at:%FT%TZ}, which is no minute that "
                "it was asked for; let it group by minutes of the event's time."
            )
        for hour in {minute // 60 for minute in minutes}:
            old = self.hour(hour)
            gone = pa.array(sorted(minute for minute in minutes if minute // 60 == hour), pa.int64())
            keep = pc.invert(pc.is_in(pa.array(us_of(old[by]) // MINUTE_US), value_set=gone))
            fresh = rows.filter(pa.array(new_minutes // 60 == hour))
            changed[hour] = pa.concat_tables([old.filter(keep), fresh]).combine_chunks()
        return changed

    def hour(self, hour: int) -> pa.Table:
        """All rows of an hour."""
        held = self._hours.get(hour)
        if held is None:
            files = list(self._store.tables[self._table.name].hours.get(hour, {}).values())
            held = self._store.read(self._table.name, files)
            self.accept({hour: held})
        return held

    def ending_within(self, spans: Iterable[tuple[int, int]], changed: Mapping[int, pa.Table]) -> pa.Table:
        """The rows with from < window_end <= to (us) of one of the spans, which are apart.

        changed: the hours that are being published, by hour.
        """
        parts = []
        for start, end in spans:
            for hour in range(start // HOUR_US, end // HOUR_US + 1):
                rows = changed[hour] if hour in changed else self.hour(hour)
                ends = us_of(rows["window_end"])
                parts.append(rows.filter(pa.array((ends > start) & (ends <= end))))
        return pa.concat_tables(parts)

    def accept(self, changed: Mapping[int, pa.Table]) -> None:
        """These hours are now so: their publish went through."""
        for hour, rows in changed.items():
            self._hours.pop(hour, None)
            if _bytes(rows) <= self._hours.maxsize:
                self._hours[hour] = rows

    def clear(self) -> None:
        """Forget all: files were rewritten past this memory."""
        self._hours.clear()


def _bytes(rows: pa.Table) -> int:
    return _EMPTY + int(rows.nbytes)
