"""Which events are stored: keys in memory, filled from the files on a miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import TTLCache
from numpy.typing import NDArray

from lakehouse.tables import Table
from pipeline.batch.times import us_of
from pipeline.storage.files import HOUR_US, LiveFile, Store

REST_S = 600
"""What was not used for so long is let go: a quiet bound would be filled by yesterday's rows before it holds."""


def hash_keys(keys: Sequence[str]) -> NDArray[np.int64]:
    """64 bits of each key. Two keys would have to share them and the event's microsecond to be taken for one."""
    return np.fromiter(map(hash, keys), dtype=np.int64, count=len(keys))


@dataclass(frozen=True)
class _FileKeys:
    hashes: NDArray[np.int64]  # ascending
    times: NDArray[np.int64]  # us, in the order of hashes

    def __len__(self) -> int:
        return len(self.hashes)


class KeyIndex:
    """Which (event key, event time) are stored, asked of the files whose hour and event times overlap a batch.

    `bound`: keys held at most (count; 16 bytes each).
    """

    def __init__(self, store: Store, table: Table, bound: int) -> None:
        self._store = store
        self._table = table
        self._held: TTLCache[str, _FileKeys] = TTLCache(bound, REST_S, getsizeof=len)

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
        whole = [keys for keys in held if keys is not None]
        if len(whole) == len(merged) and sum(map(len, whole)) == into.rows:
            self.add(into, np.concatenate([k.hashes for k in whole]), np.concatenate([k.times for k in whole]))

    def trim(self) -> None:
        """Let go of the keys not used for long."""
        self._held.expire()

    def _keys(self, file: LiveFile) -> _FileKeys:
        keys = self._held.get(file.uri)
        if keys is None:
            event_time = self._table.event_time
            assert event_time is not None
            rows = self._store.read(self._table.name, [file], ["event_key", event_time])
            hashes = hash_keys(rows["event_key"].to_pylist())
            order = np.argsort(hashes)
            keys = _FileKeys(hashes[order], us_of(rows[event_time])[order])
        self._put(file.uri, keys)
        return keys

    def _put(self, uri: str, keys: _FileKeys) -> None:
        """Hold, from now on for REST_S, unless it is more than may be held."""
        if len(keys) <= self._held.maxsize:
            self._held[uri] = keys
