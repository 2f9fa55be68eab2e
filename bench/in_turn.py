"""Ways to the same answer, asked in turn, so that a slow minute of the machine is all of theirs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

type Way = Callable[[int], pa.Table]
"""Asks for the n-th time, in one way."""


def in_turn(ways: Mapping[str, Way], times: int, block: int = 1) -> dict[str, float]:
    """The median of each way (ms), asked in turn, `block` times each; once before that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-block, times, block):
        for name in sorted(ways, reverse=bool(number // block % 2)):
            for place in range(number, min(number + block, times)):
                began = time.perf_counter()
                ways[name](place + block)
                if number >= 0:
                    taken[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(values) for name, values in taken.items()}


def same(ways: Mapping[str, Way]) -> None:
    """Raises SystemExit where two ways do not answer the same rows, but for how they write times."""
    told = {name: _values(way(0)) for name, way in ways.items()}
    first, *others = told
    for other in others:
        if told[other] != told[first]:
            raise SystemExit(f"bench: {other} does not answer what {first} does.")


def _values(table: pa.Table) -> tuple[int, list[str]]:
    """How many rows, and the first thousand without their times."""
    timeless = [number for number, kind in enumerate(table.schema.types) if not pa.types.is_timestamp(kind)]
    rows = table.select(timeless).slice(0, 1000).to_pylist()
    # By value: DuckDB's sums are of wider types than Dremio's.
    return table.num_rows, sorted(repr([str(value) for value in row.values()]) for row in rows)


def counted(way: Way, number: int) -> pa.Table:
    """What of many rows can be compared in whatever order they come."""
    rows = way(number)
    return pa.table({"rows": [rows.num_rows], "pieces": [pc.sum(rows["quantity"]).as_py()]})
