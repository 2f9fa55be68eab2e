"""What a publish will be made of, while it is being made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from lakehouse.rules import Received
from pipeline.batch.kept import KeptMinutes
from pipeline.batch.kpi_state import KpiState
from pipeline.batch.log import Partition
from pipeline.batch.positions import Positions
from pipeline.batch.times import EPOCH
from pipeline.storage.files import Change, LiveFile


class Partials(Protocol):
    """What KPIs are kept up by, where raw rows were written past the store: answers to Split.new."""

    def new(self, kept: KeptMinutes, minutes: set[int]) -> pa.Table:
        """Of the rows that the batch brings to these minutes."""

    def whole(self, kept: KeptMinutes, minutes: set[int]) -> pa.Table:
        """Of all raw rows of these minutes, those of the batch among them."""


@dataclass
class Draft:
    """One batch's part of everything. Nothing of it is remembered before its publish went through.

    `read_at`: this machine's clock: no message was received later than this, whatever its log time says. `touched`:
    minutes (since the epoch) of new rows, a topic; `new_rows`: what KPIs read of them, or `partials` of it. `by_bulk`:
    tables that were written past the store; `under_way`: files that are written beside the batch, until `settle`.
    `changed_hours`: KPI rows by hour as they will be, of which `changed_minutes` differ. `resting`: KPIs that the batch
    leaves out to its end. `kpi_state`: where KPIs stand, if that changes. `accept`: what is to be remembered once the
    publish is out. By topic, `late_s`: how long before `read_at` the earliest late event lay, `to_log_s`: the mean from
    produced_at to the log (s).
    """

    read_at: datetime
    ingested_at: datetime
    positions: Positions
    added: dict[str, list[LiveFile]] = field(default_factory=dict)
    under_way: list[tuple[str, Future[Sequence[LiveFile]]]] = field(default_factory=list)
    removed: dict[str, list[LiveFile]] = field(default_factory=dict)
    by_bulk: set[str] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    late_s: dict[str, float] = field(default_factory=dict)
    to_log_s: dict[str, float] = field(default_factory=dict)
    touched: dict[str, set[int]] = field(default_factory=dict)
    new_rows: dict[str, pa.Table] = field(default_factory=dict)
    received: dict[str, datetime] = field(default_factory=dict)
    alerting: list[Received] = field(default_factory=list)
    changed_hours: dict[str, dict[int, pa.Table]] = field(default_factory=dict)
    changed_minutes: dict[str, set[int]] = field(default_factory=dict)
    partials: dict[str, Partials] = field(default_factory=dict)
    resting: set[str] = field(default_factory=set)
    kpis_done: bool = False
    kpi_state: KpiState | None = None
    accept: list[Callable[[], None]] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @property
    def has_rows(self) -> bool:
        return bool(self.added or self.removed or self.by_bulk)

    @property
    def events(self) -> int:
        """Messages that it holds."""
        return sum(n for (_, outcome), n in self.counts.items() if outcome in ("good", "bad", "duplicate", "left_out"))

    def add(self, name: str, files: Sequence[LiveFile]) -> None:
        if files:
            self.added.setdefault(name, []).extend(files)

    def settle(self) -> None:
        """Wait for the files that are written beside the batch. Raises what kept one from being written."""
        for name, files in self.under_way:
            self.add(name, files.result())
        self.under_way.clear()

    def drop(self, name: str, files: Sequence[LiveFile]) -> None:
        if files:
            self.removed.setdefault(name, []).extend(files)

    def changes(self) -> dict[str, Change]:
        """What each table gains and loses."""
        names = {**self.added, **self.removed}
        return {name: Change(self.added.get(name, []), self.removed.get(name, [])) for name in names}

    def came(self, partition: Partition, received_at: datetime, fed: Sequence[str]) -> None:
        """Messages of the partition, for the topics `fed`, came until `received_at`, which is no later than read_at."""
        for topic in fed:
            self.received[topic] = max(received_at, self.received.get(topic, EPOCH))
        position = self.positions[partition]
        position.read_to = max(received_at, position.read_to or EPOCH)

    def came_late(self, topic: str, earliest: datetime) -> None:
        """Of the topic's late events the first is of `earliest`."""
        late_s = (self.read_at - earliest).total_seconds()
        self.late_s[topic] = max(late_s, self.late_s.get(topic, 0.0))

    def began_at(self, partition: Partition, event_at: datetime) -> None:
        """New events of the partition begin at `event_at`."""
        position = self.positions[partition]
        position.first_event_at = min(event_at, position.first_event_at or event_at)

    def phase(self, name: str, began: float) -> float:
        """`name` took from `began` to now (perf_counter); returns now."""
        now = time.perf_counter()
        self.phases[name] = self.phases.get(name, 0.0) + now - began
        return now
