"""What KPIs read of the raw rows of recent minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from cachetools import TTLCache

from lakehouse.tables import Table
from pipeline.batch.keys import REST_S
from pipeline.batch.times import MINUTE_US, us_of
from pipeline.storage.files import Store, row_schema

CHUNKS_A_MINUTE = 16
_EMPTY = 64  # bytes that a minute without rows counts as


class MinuteRows:
    """Raw rows by minute of the event. A minute is held whole or not at all.

    `columns` are those that the topic's KPIs read; the event's time is UTC without a zone. `bound`: bytes held between
    two batches, 0 where nothing needs all rows of a minute twice. What a batch asks for it holds to its end, however
    much that is.
    """

    def __init__(self, store: Store, table: Table, columns: Sequence[str], bound: int) -> None:
        self._store = store
        self._table = table
        self._columns = list(columns)
        self._at_rest: TTLCache[int, list[pa.Table]] = TTLCache(bound, REST_S, getsizeof=_bytes)
        self._in_use: dict[int, list[pa.Table]] = {}
        self._new: dict[int, pa.Table] | pa.Table | None = None

    def begin(self, rows: pa.Table) -> pa.Table:
        """A batch is about to publish these raw rows: they belong to their minutes. Returns what KPIs read of them."""
        self._new = self._without_zone(rows.select(self._columns))
        return self._new

    def fetch(self, minutes: set[int]) -> None:
        """Hold these minutes, reading from the files what is not held yet, and with them what the batch brings."""
        missing = []
        begun = minutes - self._in_use.keys()
        for minute in begun:
            held = self._at_rest.pop(minute, None)
            self._in_use[minute] = held if held is not None else []
            if held is None:
                missing.append(minute)
        hours = self._store.tables[self._table.name].hours
        for hour in {minute // 60 for minute in missing}:
            wanted = sorted(minute for minute in missing if minute // 60 == hour)
            low, high = wanted[0] * MINUTE_US, (wanted[-1] + 1) * MINUTE_US
            files = [
                file
                for file in hours.get(hour, {}).values()
                if file.event_min is not None and file.event_max is not None
                if file.event_min < high and file.event_max >= low
            ]
            if files:
                rows = self._store.read(self._table.name, files, self._columns)
                minutes_of_rows = us_of(rows[str(self._table.event_time)]) // MINUTE_US
                # Only these, before they are cut: a slice would keep the whole hour in memory.
                wanted_rows = rows.filter(pa.array(np.isin(minutes_of_rows, wanted)))
                for minute, part in self._split(self._without_zone(wanted_rows)):
                    self._append(minute, part)
        for minute, part in self._new_parts().items():
            if minute in begun:
                self._append(minute, part)

    def new_rows(self, minutes: Iterable[int]) -> pa.Table:
        """What the batch brings to these minutes."""
        parts = self._new_parts()
        return pa.concat_tables([parts[minute] for minute in minutes])

    def _new_parts(self) -> dict[int, pa.Table]:
        if self._new is None:
            return {}
        if isinstance(self._new, pa.Table):
            self._new = dict(self._split(self._new))
        return self._new

    def _split(self, rows: pa.Table) -> list[tuple[int, pa.Table]]:
        """Rows by minute of their event."""
        minutes = us_of(rows[str(self._table.event_time)]) // MINUTE_US
        if not len(minutes):
            return []
        if minutes.min() == minutes.max():
            return [(int(minutes[0]), rows)]
        order = np.argsort(minutes, kind="stable")
        ordered, minutes = rows.take(pa.array(order)), minutes[order]
        starts = np.flatnonzero(np.diff(minutes, prepend=minutes[0] - 1))
        ends = [*starts[1:], len(minutes)]
        return [(int(minutes[a]), ordered.slice(a, b - a)) for a, b in zip(starts, ends, strict=True)]

    def rows(self, minutes: Iterable[int]) -> pa.Table:
        """All rows of minutes that `fetch` has made whole."""
        chunks = [chunk for minute in minutes for chunk in self._in_use[minute]]
        if chunks:
            return pa.concat_tables(chunks)
        return self._without_zone(row_schema(self._table).empty_table().select(self._columns))

    def span(self) -> tuple[int, int] | None:
        """The oldest and the newest minute that is stored; None where there are no rows."""
        files = self._store.tables[self._table.name]
        span = files.span()
        if span is None:
            return None
        first, last = files.hours[span[0]], files.hours[span[1]]
        starts = [file.event_min for file in first.values() if file.event_min is not None]
        ends = [file.event_max for file in last.values() if file.event_max is not None]
        return (min(starts) // MINUTE_US, max(ends) // MINUTE_US) if starts and ends else None

    def trim(self) -> None:
        """The batch is over: what it used rests, as far as the bound reaches; what was not used for long goes."""
        self._at_rest.expire()
        # What the batch brought belongs to them, and nobody asked for it.
        for minute in self._new_parts().keys() - self._in_use.keys() if len(self._at_rest) else ():
            self._at_rest.pop(minute, None)
        self._new = None
        for minute, chunks in self._in_use.items():
            if _bytes(chunks) <= self._at_rest.maxsize:
                self._at_rest[minute] = chunks
        self._in_use.clear()

    def _append(self, minute: int, part: pa.Table) -> None:
        chunks = self._in_use[minute]
        chunks.append(part)
        if len(chunks) > CHUNKS_A_MINUTE:
            # A copy: a slice would keep the whole batch it was cut from.
            chunks[:] = [pa.concat_tables(chunks).combine_chunks()]

    def _without_zone(self, rows: pa.Table) -> pa.Table:
        name = self._table.event_time
        at = rows.schema.get_field_index(name)
        return rows.set_column(at, name, rows[name].cast(pa.timestamp("us")))


def _bytes(chunks: Sequence[pa.Table]) -> int:
    return _EMPTY + sum(int(chunk.nbytes) for chunk in chunks)
