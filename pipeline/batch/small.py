"""The small way: a batch that one process decodes, tells apart and writes. What Spark's large way does, row by row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.clock import CLOCK_SLACK, ClockAhead
from lakehouse.decode import EVENT_TYPES, Customs, Event, Rejected, decoder, time_getter
from lakehouse.rules import Received
from lakehouse.rules.closing import CLOSING_DELAY
from lakehouse.tables import RAW_OF_TOPIC
from pipeline.batch.draft import Draft
from pipeline.batch.keys import hash_keys
from pipeline.batch.log import Partition, Record, Slice
from pipeline.batch.memory import Memory
from pipeline.batch.points import reach
from pipeline.batch.positions import Position, as_of
from pipeline.batch.rows import DEAD_LETTERS, dead_letter, raw_rows, table_of
from pipeline.batch.times import MINUTE_US, micros, moment, us_of
from pipeline.judging.watch import Tally
from pipeline.storage.files import HOUR_US, Store

type Times = NDArray[np.int64]
"""Event times (us)."""


@dataclass
class _Topic:
    """What a batch holds of one topic; once duplicates are out, `events` and `records` are those of `rows`."""

    name: str
    events: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    rejected: list[tuple[Record, Rejected]] = field(default_factory=list)
    rows: pa.Table | None = None
    hashes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    times: Times = field(default_factory=lambda: np.empty(0, np.int64))


class SmallWay:
    """Fills a draft from the messages of a slice."""

    def __init__(
        self,
        store: Store,
        memory: Memory,
        max_event_age: timedelta | None,
        customs: Customs,
        alerting: Mapping[str, Callable[[Any], bool]],
        tally: Tally,
        clock_ahead: ClockAhead,
    ) -> None:
        self._store = store
        self._memory = memory
        self._max_event_age = max_event_age
        self._customs = customs
        self._alerting = alerting
        self._tally = tally
        self._clock_ahead = clock_ahead
        # Neither the compression of a file nor the way to its disk or bucket takes the interpreter.
        self._writers = ThreadPoolExecutor(len(RAW_OF_TOPIC), thread_name_prefix="raw")

    def close(self) -> None:
        self._writers.shutdown(wait=False, cancel_futures=True)

    def fill(self, slice_: Slice, draft: Draft, before: Mapping[Partition, Position]) -> None:
        """Decode, drop duplicates, write dead letters, begin to write raw rows: `draft.settle` waits for these.

        `before`: positions of the last publish.
        """
        began = time.perf_counter()
        messages = slice_.messages()
        began = draft.phase("read", began)
        topics = [self._decode(topic, records, draft) for topic, records in messages.items() if records]
        began = draft.phase("decode", began)
        reach("decoded")
        for topic in topics:
            self._new_rows(topic, draft, before)
        began = draft.phase("dedupe", began)
        reach("deduped")
        for topic in topics:
            if topic.rows is not None and topic.rows.num_rows:
                self._raw(topic, topic.rows, draft)
        letters = [
            dead_letter(topic.name, record, rejected, draft.ingested_at)
            for topic in topics
            for record, rejected in topic.rejected
        ]
        if letters:
            name = DEAD_LETTERS.name
            draft.add(name, self._store.tables[name].write(table_of(DEAD_LETTERS, letters)))
        reach("dead-letters-written")
        draft.phase("raw", began)

    def _decode(self, name: str, records: Sequence[Record], draft: Draft) -> _Topic:
        self._note_received(name, records, draft)
        topic, decode_one = _Topic(name), decoder(name, self._max_event_age, self._customs)
        events, of_events = topic.events, topic.records
        for record in records:
            for event in decode_one(record):
                if isinstance(event, Rejected):
                    topic.rejected.append((record, event))
                else:
                    events.append(event)
                    of_events.append(record)
        draft.counts[name, "bad"] += len(topic.rejected)
        log_times = [record.received_at for record in records if record.log_time]
        if log_times:
            bad_times = [record.received_at for record, _ in topic.rejected if record.log_time]
            if max(log_times) > draft.read_at:
                log_times = [min(at, draft.read_at) for at in log_times]
                bad_times = [min(at, draft.read_at) for at in bad_times]
            self._tally.add(name, log_times, bad_times)
        return topic

    def _note_received(self, name: str, records: Sequence[Record], draft: Draft) -> None:
        """The newest log time of each partition, no later than it was read; what came from a clock ahead is counted."""
        newest: dict[int, Any] = {}
        for record in records:
            if record.log_time and (record.partition not in newest or record.received_at > newest[record.partition]):
                newest[record.partition] = record.received_at
        for partition, received_at in newest.items():
            draft.came((name, partition), min(received_at, draft.read_at))
        latest = max(record.received_at for record in records)
        if latest - draft.read_at > CLOCK_SLACK:
            ahead = sum(record.received_at - draft.read_at > CLOCK_SLACK for record in records)
            draft.counts[name, "clock_ahead"] += ahead
            self._clock_ahead.note(name, ahead, latest - draft.read_at)

    def _new_rows(self, topic: _Topic, draft: Draft, before: Mapping[Partition, Position]) -> None:
        """Leave the rows that are not stored yet, each (key, event time) once, first in log order."""
        if not topic.events:
            return
        counts, table, read = draft.counts, RAW_OF_TOPIC[topic.name], len(topic.events)
        keys = [event.event_key for event in topic.events]
        if len(set(keys)) < read:
            fresh = _first_ones(topic, counts)
            topic.events = [topic.events[index] for index in fresh]
            topic.records = [topic.records[index] for index in fresh]
            keys = [keys[index] for index in fresh]
        rows = raw_rows(table, topic.events, topic.records, draft.ingested_at)
        hashes = hash_keys(keys)
        times = us_of(rows[str(table.event_time)])
        stored, conflicts = self._memory.keys[topic.name].stored(hashes, times)
        counts[topic.name, "key_conflict"] += conflicts
        if stored.any():
            keep = ~stored
            topic.events = [event for event, new in zip(topic.events, keep, strict=True) if new]
            topic.records = [record for record, new in zip(topic.records, keep, strict=True) if new]
            rows, hashes, times = rows.filter(pa.array(keep)), hashes[keep], times[keep]
        counts[topic.name, "duplicate"] += read - len(topic.events)
        counts[topic.name, "good"] += len(topic.events)
        counts[topic.name, "late"] += int(((times // MINUTE_US + 1) * MINUTE_US <= closed_to(topic.name, before)).sum())
        topic.rows, topic.hashes, topic.times = rows, hashes, times

    def _raw(self, topic: _Topic, rows: pa.Table, draft: Draft) -> None:
        """Begin to write raw rows, and note what of them KPIs are to be computed from."""
        name, hashes, times = topic.name, topic.hashes, topic.times
        table = RAW_OF_TOPIC[name]
        files = self._writers.submit(self._store.tables[table.name].write, rows)
        draft.under_way.append((table.name, files))
        partitions = rows["source_partition"].to_numpy()
        for partition in np.unique(partitions).tolist():
            draft.began_at((name, partition), moment(int(times[partitions == partition].min())))
        minutes = self._memory.minutes.get(name)
        if minutes is not None:
            draft.new_rows[name] = minutes.begin(rows)
            draft.touched[name] = set(np.unique(times // MINUTE_US).tolist())
        hours = times // HOUR_US

        def remember() -> None:
            for file in files.result():
                own = hours == file.hour
                self._memory.keys[name].add(file, hashes[own], times[own])

        draft.accept.append(remember)
        wanted = self._alerting.get(name)
        if wanted is not None:
            draft.alerting += [
                Received(name, event, min(record.received_at, draft.read_at))
                for event, record in zip(topic.events, topic.records, strict=True)
                if wanted(event)
            ]


def closed_to(topic: str, positions: Mapping[Partition, Position]) -> int:
    """Minutes of the topic that ended by then (us) were judged: what comes for them is late."""
    read_to = as_of({place: position for place, position in positions.items() if place[0] == topic})
    return micros(read_to - CLOSING_DELAY) if read_to is not None else 0


def _first_ones(topic: _Topic, counts: Counter[tuple[str, str]]) -> list[int]:
    """Where each (key, event time) stands first; a key with several times is counted."""
    seen: dict[str, Any] = {}
    first: list[int] = []
    time_of = time_getter(EVENT_TYPES[topic.name])
    for index, event in enumerate(topic.events):
        when = time_of(event)
        held = seen.get(event.event_key)
        if held is None:
            seen[event.event_key] = when
        elif isinstance(held, set):
            if when in held:
                continue
            held.add(when)
            counts[topic.name, "key_conflict"] += 1
        elif held == when:
            continue
        else:
            seen[event.event_key] = {held, when}
            counts[topic.name, "key_conflict"] += 1
        first.append(index)
    return first
