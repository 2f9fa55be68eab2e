"""What ingest remembers of rows it has written: keys that tell a duplicate, raw rows of recent minutes, KPI hours.

All three are caches of what the files say: bounded, filled from the files on a miss, and thrown away after a failure.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakehouse.kpis import reads_of
from lakehouse.tables import RAW_OF_TOPIC, Table, arrow_schema
from pipeline.storage.files import HOUR_US, LiveFile, Store

MINUTE_US = 60_000_000
CHUNKS_A_MINUTE = 16
REST_S = 600
"""What was not used for so long is let go: a quiet bound would be filled by yesterday's rows before it holds."""


def hash_keys(keys: Iterable[str], count: int) -> NDArray[np.int64]:
    """64 bits of each key. Two keys would have to share them and the event's microsecond to be taken for one."""
    return np.fromiter(map(hash, keys), dtype=np.int64, count=count)


@dataclass(frozen=True)
class _FileKeys:
    hashes: NDArray[np.int64]  # ascending
    times: NDArray[np.int64]  # us, in the order of hashes


class KeyIndex:
    """Which (event key, event time) are stored, asked of the files whose hour and event times overlap a batch."""

    def __init__(self, store: Store, table: Table, bound: int) -> None:
        self._store = store
        self._table = table
        self._bound = bound
        self._held: OrderedDict[str, _FileKeys] = OrderedDict()
        self._used: dict[str, float] = {}
        self._rows = 0

    def stored(self, hashes: NDArray[np.int64], times: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
        """Mask of the events that are stored already, and how many keys were seen with another time (lower bound)."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        conflicts = 0
        hours = times // HOUR_US
        files = self._store.tables[self._table.name].hours
        for hour in np.unique(hours):
            at = np.flatnonzero(hours == hour)
            low, high = int(times[at].min()), int(times[at].max())
            for file in files.get(int(hour), {}).values():
                assert file.event_min is not None
                assert file.event_max is not None
                if file.event_min > high or file.event_max < low:
                    continue
                keys = self._keys(file)
                first = np.searchsorted(keys.hashes, hashes[at], side="left")
                last = np.searchsorted(keys.hashes, hashes[at], side="right")
                for index in np.flatnonzero(last > first):
                    times_held = keys.times[first[index] : last[index]]
                    if (times_held == times[at[index]]).any():
                        found[at[index]] = True
                    else:
                        conflicts += 1
        return found, conflicts

    def add(self, file: LiveFile, hashes: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Remember the keys of a file that was just written."""
        order = np.argsort(hashes)
        self._put(file.uri, _FileKeys(hashes[order], times[order]))

    def merge(self, into: LiveFile, merged: Sequence[LiveFile]) -> None:
        """Files became one: so do their keys, where all are held."""
        held = [self._held.pop(file.uri, None) for file in merged]
        for file in merged:
            self._used.pop(file.uri, None)
        self._rows -= sum(len(keys.hashes) for keys in held if keys is not None)
        whole = [keys for keys in held if keys is not None]
        if len(whole) == len(merged) and sum(len(keys.hashes) for keys in whole) == into.rows:
            self.add(into, np.concatenate([k.hashes for k in whole]), np.concatenate([k.times for k in whole]))

    def _keys(self, file: LiveFile) -> _FileKeys:
        keys = self._held.get(file.uri)
        if keys is not None:
            self._held.move_to_end(file.uri)
            self._used[file.uri] = time.monotonic()
            return keys
        event_time = self._table.event_time
        assert event_time is not None
        rows = self._store.read(self._table.name, [file], ["event_key", event_time])
        self.add(file, hash_keys(rows["event_key"].to_pylist(), rows.num_rows), _micros(rows[event_time]))
        return self._held.get(file.uri) or _FileKeys(np.empty(0, np.int64), np.empty(0, np.int64))

    def _put(self, uri: str, keys: _FileKeys) -> None:
        self._held[uri] = keys
        self._used[uri] = time.monotonic()
        self._rows += len(keys.hashes)
        while self._rows > self._bound and len(self._held) > 1:
            self._drop_oldest()

    def trim(self) -> None:
        """Let go of the keys not used for long."""
        while self._held and self._used[next(iter(self._held))] < time.monotonic() - REST_S:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        uri, old = self._held.popitem(last=False)
        del self._used[uri]
        self._rows -= len(old.hashes)


class MinuteRows:
    """What KPIs read of the raw rows of recent minutes, by minute of the event. A minute is held whole or not at all.

    Columns are those of lakehouse.kpis.reads_of; the event's time is UTC without a zone.
    """

    def __init__(self, store: Store, table: Table, bound: int) -> None:
        self._store = store
        self._table = table
        self._columns = reads_of(next(topic for topic, raw in RAW_OF_TOPIC.items() if raw.name == table.name))
        self._bound = bound
        self._minutes: OrderedDict[int, list[pa.Table]] = OrderedDict()
        self._used: dict[int, float] = {}
        self._rows = 0

    def fetch(self, minutes: set[int]) -> None:
        """Hold these minutes, reading from the files what is not held yet."""
        missing = minutes - self._minutes.keys()
        self._used.update(dict.fromkeys(minutes, time.monotonic()))
        for minute in minutes - missing:
            self._minutes.move_to_end(minute)
        for minute in missing:
            self._minutes[minute] = []
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
                minutes_of_rows = _micros(rows[str(self._table.event_time)]) // MINUTE_US
                # Only these, before they are cut: a slice would keep the whole hour in memory.
                for minute, part in self.split(rows.filter(pa.array(np.isin(minutes_of_rows, wanted)))):
                    self._append(minute, part)

    def split(self, rows: pa.Table) -> list[tuple[int, pa.Table]]:
        """What KPIs read of `rows`, by minute of their event."""
        assert self._table.event_time is not None
        minutes = _micros(rows[self._table.event_time]) // MINUTE_US
        if not len(minutes):
            return []
        rows = self._without_zone(rows.select(self._columns))
        if minutes.min() == minutes.max():
            return [(int(minutes[0]), rows)]
        order = np.argsort(minutes, kind="stable")
        ordered, minutes = rows.take(pa.array(order)), minutes[order]
        starts = np.flatnonzero(np.diff(minutes, prepend=minutes[0] - 1))
        ends = [*starts[1:], len(minutes)]
        return [(int(minutes[a]), ordered.slice(a, b - a)) for a, b in zip(starts, ends, strict=True)]

    def add(self, parts: Iterable[tuple[int, pa.Table]]) -> None:
        """Add rows that are being published to minutes that `fetch` has made whole."""
        for minute, part in parts:
            self._append(minute, part)

    def rows(self, minutes: Iterable[int]) -> pa.Table:
        """All rows of minutes that are held."""
        chunks = [chunk for minute in minutes for chunk in self._minutes[minute]]
        if chunks:
            return pa.concat_tables(chunks)
        return self._without_zone(arrow_schema(self._table).empty_table().select(self._columns))

    def _without_zone(self, rows: pa.Table) -> pa.Table:
        name = self._table.event_time
        at = rows.schema.get_field_index(name)
        return rows.set_column(at, name, rows[name].cast(pa.timestamp("us")))

    def span(self) -> tuple[int, int] | None:
        """The oldest and the newest minute that is stored; None where there are no rows."""
        hours = self._store.tables[self._table.name].hours
        known = [hour for hour in hours if hour is not None]
        if not known:
            return None
        starts = [file.event_min for file in hours[min(known)].values() if file.event_min is not None]
        ends = [file.event_max for file in hours[max(known)].values() if file.event_max is not None]
        return (min(starts) // MINUTE_US, max(ends) // MINUTE_US) if starts and ends else None

    def trim(self) -> None:
        """Let go of the minutes not used for long, and of those not used for longest down to the bound."""
        rested = time.monotonic() - REST_S
        while len(self._minutes) > 1 and (self._rows > self._bound or self._used[next(iter(self._minutes))] < rested):
            minute, chunks = self._minutes.popitem(last=False)
            del self._used[minute]
            self._rows -= sum(chunk.num_rows for chunk in chunks)

    def _append(self, minute: int, part: pa.Table) -> None:
        chunks = self._minutes[minute]
        chunks.append(part)
        self._rows += part.num_rows
        if len(chunks) > CHUNKS_A_MINUTE:
            # A copy: a slice would keep the whole batch it was cut from.
            chunks[:] = [pa.concat_tables(chunks).combine_chunks()]


class KpiHours:
    """KPI rows of recent hours: a KPI file holds one hour and is replaced whole."""

    def __init__(self, store: Store, table: Table, bound: int = 200) -> None:
        self._store = store
        self._table = table
        self._bound = bound
        self._hours: OrderedDict[int, pa.Table] = OrderedDict()

    def replace(self, minutes: set[int], rows: pa.Table) -> dict[int, pa.Table]:
        """The hours that change when the rows of `minutes` are replaced by `rows`, each as it will be."""
        by = self._table.partition_by
        assert by is not None
        changed = {}
        new_minutes = _micros(rows[by]) // MINUTE_US
        for hour in {minute // 60 for minute in minutes}:
            old = self.hour(hour)
            gone = pa.array(sorted(minute for minute in minutes if minute // 60 == hour), pa.int64())
            keep = pc.invert(pc.is_in(pa.array(_micros(old[by]) // MINUTE_US), value_set=gone))
            fresh = rows.filter(pa.array(new_minutes // 60 == hour))
            changed[hour] = pa.concat_tables([old.filter(keep), fresh]).combine_chunks()
        return changed

    def hour(self, hour: int) -> pa.Table:
        """All rows of an hour."""
        held = self._hours.get(hour)
        if held is None:
            files = list(self._store.tables[self._table.name].hours.get(hour, {}).values())
            held = self._store.read(self._table.name, files)
            self._hours[hour] = held
        self._hours.move_to_end(hour)
        while len(self._hours) > self._bound:
            self._hours.popitem(last=False)
        return held

    def ending_within(self, spans: Iterable[tuple[int, int]], changed: Mapping[int, pa.Table]) -> pa.Table:
        """The rows with from < window_end <= to (us) of one of the spans, which are apart.

        changed: the hours that are being published, by hour.
        """
        parts = []
        for start, end in spans:
            for hour in range(start // HOUR_US, end // HOUR_US + 1):
                rows = changed[hour] if hour in changed else self.hour(hour)
                ends = _micros(rows["window_end"])
                parts.append(rows.filter(pa.array((ends > start) & (ends <= end))))
        return pa.concat_tables(parts)

    def accept(self, changed: dict[int, pa.Table]) -> None:
        """The publish went through."""
        self._hours.update(changed)

    def clear(self) -> None:
        """Forget all: maintenance has rewritten files."""
        self._hours.clear()


def _micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    micros: NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy()
    return micros
