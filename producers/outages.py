"""A service that fails, and what it logs meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lakehouse.events import SEVERITIES
from producers import shop
from producers.event_rows import ERROR, NUMBER, Rows, cumulative, numbers, rows_of

_BURST_EVERY_MS = 4_000
_OUTAGE_SEVERITY = cumulative(shop.OUTAGE_SEVERITY)
_FATAL = SEVERITIES.index("FATAL")


@dataclass(frozen=True)
class Outage:
    """One service fails from start to end (ms since 1970, UTC; end excluded)."""

    service: str
    start_ms: int
    end_ms: int


@lru_cache(maxsize=16)
def lines_of(outage: Outage, seed: int, rate: float) -> Rows:
    """What a failing service logs: a first FATAL within 2 s, then a burst about every 4 s."""
    service = shop.SERVICES.index(outage.service)
    rng = np.random.default_rng((seed, outage.start_ms, outage.end_ms, service, 3))
    length = outage.end_ms - outage.start_ms
    # At 20 events/s about 1.7 lines a second, and never more than a fifth of what a busy shop logs besides.
    lines_a_s = 0.5 + 0.06 * rate
    bursts = max(1, length // _BURST_EVERY_MS)
    sizes = 1 + rng.poisson(max(0.0, lines_a_s * length / 1000 / bursts - 1), size=bursts)
    began = np.sort(rng.integers(length, size=bursts))
    began[0] = min(int(rng.integers(500, 1_500)), length - 1)
    time = np.repeat(began, sizes) + rng.exponential(400, int(sizes.sum())).astype(np.int64)
    severity = np.searchsorted(_OUTAGE_SEVERITY, rng.random(len(time)), side="right")
    time[0], severity[0] = began[0], _FATAL
    rows = rows_of(
        ERROR,
        outage.start_ms,
        outage.start_ms + np.minimum(time, length - 1),
        np.full(len(time), service),
        severity,
        rng.integers(1_000, size=len(time)),
        numbers(rng, len(time)),
    )
    rows[:, NUMBER] += service * 1_000_000  # two services may fail in the same millisecond
    return rows
