"""What a rule judges a minute by, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

type Entity = tuple[str, ...]
"""The values of a rule's `by` columns; () where a rule judges the whole shop."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What minute rules judge by: rows of KPI tables by table, the event time of each topic's earliest event, the
    received_at of the newest event that the rule listens to (to the minute), and how many messages of a topic came in
    a minute of the log's time (its start), and how many of them were rejected."""

    kpis: Mapping[str, pa.Table]
    first_event_at: Mapping[str, datetime]
    newest_received_at: datetime | None
    read: Mapping[str, Mapping[datetime, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule found of an entity in a minute: the value, whether it is outside, the limit, and what is usual."""

    value: float
    outside: bool = False
    threshold: float | None = None
    usual: float | None = None


type Judge = Callable[[datetime, Mapping[Entity, datetime]], Mapping[Entity, Reading] | None]
"""(end of a minute, when the first minute outside of each open entity began) -> readings; None: cannot be judged.

An entity without a reading is inside. Asked in the order of the minutes, with what the one before has opened.
"""
