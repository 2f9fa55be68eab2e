"""Events to come, as rows of numbers: what NumPy draws for thousands of people at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

type Rows = NDArray[np.int64]
TIME, KIND, ORIGIN, NUMBER, A, B, C, D = range(8)
CLICK, ORDER, ERROR, BENCH, REFUND = range(5)


def rows_of(kind: int, origin: int, time: Rows, *fields: Rows) -> Rows:
    rows = np.zeros((len(time), 8), dtype=np.int64)
    rows[:, TIME] = time
    rows[:, KIND] = kind
    rows[:, ORIGIN] = origin
    rows[:, NUMBER] = np.arange(len(time))
    for column, field in enumerate(fields, start=A):
        rows[:, column] = field
    return rows


def put(waiting: dict[int, list[Rows]], rows: Rows, slice_ms: int) -> None:
    """Sort rows into the slices of time that they belong to."""
    rows = rows[np.argsort(rows[:, TIME], kind="stable")]
    slices, begin = np.unique(rows[:, TIME] // slice_ms, return_index=True)
    for index, part in zip(slices.tolist(), np.split(rows, begin[1:]), strict=False):
        waiting[index].append(part)


def numbers(rng: np.random.Generator, count: int) -> Rows:
    return rng.integers(2, 9_999, size=count)


def cumulative(chances: Sequence[float]) -> NDArray[np.float64]:
    """Bounds for searchsorted; the last is above every random number."""
    bounds = np.cumsum(np.asarray(chances, dtype=np.float64))
    bounds[-1] = 2.0
    return bounds


def chance_table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Cumulative chances, one row a persona, filled up to the longest."""
    table = np.full((len(rows), max(map(len, rows))), 2.0)
    for row, chances in zip(table, rows, strict=True):
        row[: len(chances)] = cumulative(chances)
    return table


def drawn(table: NDArray[np.float64], which: Rows, luck: NDArray[np.float64]) -> Rows:
    """For each luck the index it falls on in its row of the table."""
    return (luck[:, None] >= table[which]).sum(axis=1)
