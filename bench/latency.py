"""Event to pixel, from what was produced and what was seen."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.browser import PageChange

SHOWN_IN: Mapping[str, frozenset[str]] = {
    "tile revenue": frozenset({"order"}),
    "tile orders": frozenset({"order"}),
    "tile average": frozenset({"order"}),
    "tile users": frozenset({"click"}),
    "tile conversion": frozenset({"order", "click"}),
    "tile error_rate": frozenset({"click", "failure"}),
    "list latest_orders": frozenset({"order"}),
    "list latest_errors": frozenset({"failure"}),
}
"""Which kinds of event each element includes: a failure is an ERROR or FATAL; milder messages are on no list. That of
incidents is left out: it includes alerts, which nobody produces."""


@dataclass(frozen=True)
class SentEvent:
    """An event of the span looked at; milliseconds since the epoch."""

    kind: str
    produced_ms: float


def per_element(events: Iterable[SentEvent], seen: Iterable[PageChange]) -> dict[str, list[float]]:
    """Seconds from each event to the first change at or past it, by element; infinity where none came."""
    changes = first_changes(seen)
    events = list(events)
    return {
        element: [_seconds(event, changes.get(element, ((), ()))) for event in events if event.kind in kinds]
        for element, kinds in SHOWN_IN.items()
    }


def first_seen(events: Iterable[SentEvent], seen: Iterable[PageChange]) -> list[float]:
    """Seconds from each event to the first element that includes it."""
    changes = first_changes(seen)
    by_kind = {
        kind: [changes[element] for element, kinds in SHOWN_IN.items() if kind in kinds and element in changes]
        for kind in ("order", "click", "failure")
    }
    return [min((_seconds(event, found) for found in by_kind[event.kind]), default=math.inf) for event in events]


type Changes = tuple[Sequence[float], Sequence[float]]


def first_changes(seen: Iterable[PageChange]) -> dict[str, Changes]:
    """By element: produced_ms that were reached, growing, and when each was first reached or passed."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for change in seen:
        produced, at = found.setdefault(change.element, ([], []))
        if not produced or change.produced_ms > produced[-1]:
            produced.append(change.produced_ms)
            at.append(change.seen_ms)
    return dict(found)


def _seconds(event: SentEvent, changes: Changes) -> float:
    produced, seen = changes
    index = bisect_left(produced, event.produced_ms)
    return (seen[index] - event.produced_ms) / 1000 if index < len(produced) else math.inf


def percentile(values: Iterable[float], per_cent: float) -> float:
    """The smallest value that `per_cent` of all do not exceed; nan of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(per_cent / 100 * len(ordered)) - 1)]
