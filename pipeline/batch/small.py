"""The small way: a batch that one process decodes, tells apart and writes. What Spark's large way does, row by row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.clock import CLOCK_SLACK, ClockAhead
from lakehouse.decode import EVENT_TYPES, Event, Rejected, time_getter
from lakehouse.rules import Received
from lakehouse.rules.closing import CLOSING_DELAY
from lakehouse.sources import Sources, topic_of
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

TIMED = 100
"""Events of a topic and batch that are timed on their way to the log."""

type Times = NDArray[np.int64]
"""Event times (us)."""


@dataclass
class _Topic:
    """What a batch holds of one topic; once duplicates are out, `events` and `records` are those of `rows`.

    `logs`: the topics of the log that feed it in this batch.
    """

    name: str
    logs: list[str] = field(default_factory=list)
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
        sources: Sources,
        max_event_age: timedelta | None,
        alerting: Mapping[str, Callable[[Any], bool]],
        tally: Tally,
        clock_ahead: ClockAhead,
    ) -> None:
        self._store = store
        self._memory = memory
        self._sources = sources
        self._max_event_age = max_event_age
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
        found: dict[str, _Topic] = {}
        # In the order of the log: partition and offset are in that of `records` already.
        for log_topic in sorted(messages):
            if messages[log_topic]:
                self._decode(log_topic, messages[log_topic], draft, found)
        topics = list(found.values())
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
            dead_letter(record, rejected, draft.ingested_at) for topic in topics for record, rejected in topic.rejected
        ]
        if letters:
            name = DEAD_LETTERS.name
            draft.add(name, self._store.tables[name].write(table_of(DEAD_LETTERS, letters)))
        reach("dead-letters-written")
        draft.phase("raw", began)

    def _decode(self, log_topic: str, records: Sequence[Record], draft: Draft, found: dict[str, _Topic]) -> None:
        """Add to each topic what a topic of the log holds for it; what is rejected counts for the first it feeds."""
        fed = self._sources.feeds[log_topic]
        self._note_received(log_topic, fed, records, draft)
        decode_one = self._sources.decoder(log_topic, self._max_event_age)
        events: list[Event] = []
        of_events: list[Record] = []
        rejected: list[tuple[Record, Rejected]] = []
        left_out = 0
        for record in records:
            told = decode_one(record)
            if not told:
                left_out += 1
            for event in told:
                if isinstance(event, Rejected):
                    rejected.append((record, event))
                else:
                    events.append(event)
                    of_events.append(record)
        first, *others = (found.setdefault(name, _Topic(name)) for name in fed)
        first.rejected += rejected
        for topic in (first, *others):
            topic.logs.append(log_topic)
        if not others:
            first.events += events
            first.records += of_events
        else:
            for event, record in zip(events, of_events, strict=True):
                topic = found[topic_of(event)]
                topic.events.append(event)
                topic.records.append(record)
        draft.counts[first.name, "bad"] += len(rejected)
        draft.counts[first.name, "left_out"] += left_out
        log_times = [record.received_at for record in records if record.log_time]
        if log_times:
            bad_times = [record.received_at for record, _ in rejected if record.log_time]
            if max(log_times) > draft.read_at:
                log_times = [min(at, draft.read_at) for at in log_times]
                bad_times = [min(at, draft.read_at) for at in bad_times]
            self._tally.add(first.name, log_times, bad_times)
            for topic in others:
                self._tally.add(topic.name, log_times, [])

    def _note_received(self, name: str, fed: Sequence[str], records: Sequence[Record], draft: Draft) -> None:
        """The newest log time of each partition, no later than it was read; what came from a clock ahead is counted."""
        newest: dict[int, Any] = {}
        for record in records:
            if record.log_time and (record.partition not in newest or record.received_at > newest[record.partition]):
                newest[record.partition] = record.received_at
        for partition, received_at in newest.items():
            draft.came((name, partition), min(received_at, draft.read_at), fed)
        latest = max(record.received_at for record in records)
        if latest - draft.read_at > CLOCK_SLACK:
            ahead = sum(record.received_at - draft.read_at > CLOCK_SLACK for record in records)
            draft.counts[fed[0], "clock_ahead"] += ahead
            self._clock_ahead.note(fed[0], ahead, latest - draft.read_at)

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
        closed = closed_to(self._sources.fed_by(topic.name), before)
        late = times[(times // MINUTE_US + 1) * MINUTE_US <= closed]
        counts[topic.name, "late"] += len(late)
        if len(late):
            draft.came_late(topic.name, moment(int(late.min())))
        took = _to_log_s(topic, draft)
        if took:
            draft.to_log_s[topic.name] = fmean(took)
        topic.rows, topic.hashes, topic.times = rows, hashes, times

    def _raw(self, topic: _Topic, rows: pa.Table, draft: Draft) -> None:
        """Begin to write raw rows, and note what of them KPIs are to be computed from."""
        name, hashes, times = topic.name, topic.hashes, topic.times
        table = RAW_OF_TOPIC[name]
        files = self._writers.submit(self._store.tables[table.name].write, rows)
        draft.under_way.append((table.name, files))
        partitions = rows["source_partition"].to_numpy()
        for log_topic in topic.logs:
            of_log = np.True_ if len(topic.logs) == 1 else np.array([each.topic == log_topic for each in topic.records])
            for partition in np.unique(partitions[of_log & (partitions >= 0)]).tolist():
                earliest = times[of_log & (partitions == partition)].min()
                draft.began_at((log_topic, partition), moment(int(earliest)))
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


def closed_to(log_topics: Collection[str], positions: Mapping[Partition, Position]) -> int:
    """Minutes of what these topics of the log feed that ended by then (us) were judged: what comes for them is late."""
    read_to = as_of({place: position for place, position in positions.items() if place[0] in log_topics})
    return micros(read_to - CLOSING_DELAY) if read_to is not None else 0


def _to_log_s(topic: _Topic, draft: Draft) -> list[float]:
    """Seconds from being sent to being in the log, of the newest events that tell: enough for a mean, and cheap. A
    producer whose clock is ahead sent them at once."""
    sent_at = attrgetter("produced_at")  # which every topic has: its struct is made with it
    newest = zip(topic.events[-TIMED:], topic.records[-TIMED:], strict=True)
    sent = [(sent_at(event), record) for event, record in newest if record.log_time]
    return [
        max(0.0, (min(record.received_at, draft.read_at) - at).total_seconds()) for at, record in sent if at is not None
    ]


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
