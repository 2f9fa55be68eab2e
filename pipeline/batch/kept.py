"""What is kept of the minutes of a KPI, so that a publish costs what is new in them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Context
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from cachetools import TTLCache

from lakehouse.kpis import OTHER, Counting, Kpi
from lakehouse.kpis.check import NO_FILES, asked
from lakehouse.schema import arrow_schema
from lakehouse.user_error import UserError
from pipeline.batch.keys import REST_S
from pipeline.batch.split import AT, KEPT, Kept, NotSplit, Split, split
from pipeline.batch.times import MINUTE_US

_EXACT = Context(prec=76)  # what DuckDB sums, 38 digits, added to as much again
_TIME = pa.timestamp("us")
_A_MINUTE = 200  # bytes of a minute without a group
_A_GROUP = 400  # bytes of a group's own: its key, its list, its places in dicts
_A_VALUE = 64  # bytes of a value's place in a set, and of its head

type Group = tuple[Any, ...]
type Groups = dict[Group, list[Any]]
"""By the values of g0…, those of k0…: numbers, and sets of values."""


class Minute:
    """All groups of a minute, and about how many bytes they hold."""

    def __init__(self) -> None:
        self.groups: Groups = {}
        self.bytes = _A_MINUTE

    def add(self, group: Group, values: Sequence[Any], kept: Sequence[Kept], sizes: Sequence[float]) -> None:
        """Add the values of new rows. A list of them is taken into the set of what was seen; each has so many bytes."""
        held = self.groups.get(group)
        if held is None:
            held = self.groups[group] = [set() if how is Kept.VALUES else None for how in kept]
            self.bytes += _A_GROUP + sum(map(sys.getsizeof, group))
        for place, (how, value, size) in enumerate(zip(kept, values, sizes, strict=True)):
            if value is None:
                continue
            if how is Kept.VALUES:
                before = len(held[place])
                held[place].update(value)
                self.bytes += int((len(held[place]) - before) * (_A_VALUE + size))
            else:
                held[place] = value if held[place] is None else _sum(held[place], value)


class KeptMinutes:
    """The minutes of one KPI; each is held whole or not at all.

    `types` are those of KEPT, of which `final` asks the KPI's columns. `bound`: bytes held between two batches. What a
    batch touches it holds to its end, however much that is.
    """

    def __init__(self, kpi: Kpi, split: Split, types: pa.Schema, final: str, bound: int, most_groups: int) -> None:
        self.kpi = kpi
        self.split = split
        self.types = types
        self.final = final
        self._most = most_groups
        self._first = [
            (split.names[column], {value: place for place, value in enumerate(values)})
            for column, values in kpi.keep_first.items()
        ]
        self._at_rest: TTLCache[int, Minute] = TTLCache(bound, REST_S, getsizeof=lambda minute: minute.bytes)
        self._in_use: dict[int, Minute] = {}

    @property
    def bytes(self) -> int:
        """About how many bytes are held between two batches."""
        return int(self._at_rest.currsize)

    def take(self, minutes: Iterable[int]) -> set[int]:
        """Hold these minutes to the batch's end; returns those that are to be made whole from all of their rows."""
        missing = set()
        for minute in minutes:
            if minute in self._in_use:
                continue
            held = self._at_rest.pop(minute, None)
            if held is None:
                missing.add(minute)
            self._in_use[minute] = held or Minute()
        return missing

    def add(self, new: pa.Table) -> None:
        """Add what Split.new gives of rows of minutes that are held."""
        kept = self.split.kept
        ats = new[AT].cast(pa.int64()).to_pylist()
        groups = [self._values(new[f"g{number}"]) for number in range(self.split.groups)]
        values = [self._values(new[f"k{number}"]) for number in range(len(kept))]
        sizes = [_bytes_a_value(new[f"k{number}"]) for number in range(len(kept))]
        keys: Iterable[Group] = zip(*groups, strict=True) if groups else ((),) * len(ats)
        rows: Iterable[Sequence[Any]] = zip(*values, strict=True) if values else ((),) * len(ats)
        for at, key, row in zip(ats, keys, rows, strict=True):
            self._in_use[at // MINUTE_US].add(key, row, kept, sizes)

    def rows(self, spans: Mapping[int, Iterable[int]]) -> pa.Table:
        """Rows of KEPT: for each AT (minutes since the epoch) what the minutes of its span hold in all."""
        columns: list[list[Any]] = [[] for _ in self.types]
        for at, minutes in spans.items():
            groups = self._together(minutes)
            if len(groups) > self._most:
                groups = self._bounded(groups)
            for group, values in groups.items():
                row = (at * MINUTE_US, *group, *(len(v) if isinstance(v, set) else v for v in values))
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
        try:
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self.types, strict=True)]
        except pa.ArrowInvalid as error:
            raise self._beyond(error) from None
        return pa.Table.from_arrays(arrays, schema=self.types)

    def answer(
        self, spans: Mapping[int, Iterable[int]], ask: Callable[[str, Mapping[str, pa.Table]], pa.Table]
    ) -> pa.Table:
        """The KPI's columns of these spans; `ask` runs a query, where there is more to it than naming columns."""
        rows = self.rows(spans)
        if self.split.plain is None:
            return ask(self.final, {KEPT: rows})
        columns = {
            name: rows[source] if not later else pc.add(rows[source], timedelta(minutes=later))
            for name, (source, later) in self.split.plain.items()
        }
        return pa.table(columns)

    def _values(self, column: pa.ChunkedArray) -> list[Any]:
        try:
            return list(column.to_pylist())
        except (ValueError, OverflowError) as error:  # DuckDB's calendar is longer than Python's
            raise self._beyond(error) from None

    def _beyond(self, error: Exception) -> UserError:
        return UserError(
            f"{self.kpi.table.declared_in}: the query gives a value that is too large to be kept: {error}."
        )

    def _together(self, minutes: Iterable[int]) -> Groups:
        held = [self._in_use[minute].groups for minute in minutes]
        if len(held) == 1:
            return held[0]
        together, kept = Minute(), self.split.kept
        for groups in held:
            for group, values in groups.items():
                together.add(group, values, kept, [0] * len(kept))
        return together.groups

    def _bounded(self, groups: Groups) -> Groups:
        """The groups that stay, and one of all others: first those that the KPI keeps first, then the largest."""

        def place(group: Group) -> tuple[Any, ...]:
            first = [values.get(group[number], len(values)) for number, values in self._first]
            return (*first, -groups[group][-1], *map(str, group))

        rest = Minute()
        name = tuple(
            OTHER if pa.types.is_string(self.types.field(f"g{n}").type) else None for n in range(self.split.groups)
        )
        # A group that is called so itself is one of the others.
        order = sorted((group for group in groups if group != name), key=place)
        kept = order[: self._most - 1]
        for group in groups.keys() - kept:
            rest.add(name, groups[group], self.split.kept, [0] * len(self.split.kept))
        return {group: groups[group] for group in kept} | rest.groups

    def scratch(self) -> KeptMinutes:
        """The same of nothing yet, for minutes that are not to be kept."""
        return KeptMinutes(self.kpi, self.split, self.types, self.final, 0, self._most)

    def trim(self) -> None:
        """The batch is over: what it used rests, as far as the bound reaches; what was not used for long goes."""
        self._at_rest.expire()
        for at, minute in sorted(self._in_use.items()):
            if minute.bytes <= self._at_rest.maxsize:
                self._at_rest[at] = minute
        self._in_use.clear()

    def clear(self) -> None:
        """Forget all: rows were written past this memory."""
        self._at_rest.clear()
        self._in_use.clear()


def _sum(a: Any, b: Any) -> Any:
    return a + b if isinstance(a, int) and isinstance(b, int) else _EXACT.add(a, b)


def _bytes_a_value(column: pa.ChunkedArray) -> float:
    """The mean, of a column of lists."""
    if not pa.types.is_list(column.type):
        return 0.0
    count = sum(len(chunk.flatten()) for chunk in column.chunks)
    return float(column.nbytes) / count if count else 0.0


def keep_up(kpi: Kpi, counting: Counting, bound: int, most_groups: int) -> KeptMinutes:
    """Nothing yet of a KPI that can be kept up. Raises NotSplit; UserError where it keeps first what is no group."""
    parts = split(kpi, counting)
    for column in kpi.keep_first:
        if column not in parts.names:
            raise UserError(
                f"{kpi.table.declared_in}: 'keep_first' names '{column}', by which the query does not group; leave it "
                "out."
            )
    raw = arrow_schema(kpi.declared.table)
    fields = [raw.field(name) for name in kpi.reads]
    empty = pa.schema([f.with_type(_TIME) if pa.types.is_timestamp(f.type) else f for f in fields]).empty_table()
    with duckdb.connect(config=dict(NO_FILES)) as db:
        sources = {kpi.declared.table.name: empty}
        new = asked(db, parts.new, sources).schema
        described = asked(db, f"DESCRIBE {parts.new}", sources)
    kinds = dict(zip(described["column_name"].to_pylist(), described["column_type"].to_pylist(), strict=True))
    for name, kind in kinds.items():
        if "DOUBLE" in kind or "FLOAT" in kind:
            # Sums of them hang on the order of the rows, and NaN is not itself.
            raise NotSplit(f"{name} of {parts.new} is {kind}")
        held = new.field(name).type
        if pa.types.is_nested(held.value_type if name.startswith("k") and pa.types.is_list(held) else held):
            # No set and no dict of Python's takes lists and structs.
            raise NotSplit(f"{name} of {parts.new} is {kind}")
    types = [
        pa.field(name, pa.int64()) if pa.types.is_list(new.field(name).type) else new.field(name) for name in kinds
    ]
    # Arrow has no integers of 128 bits, as DuckDB's sums of integers are.
    columns = ", ".join(f"CAST({name} AS HUGEINT) AS {name}" if kinds[name] == "HUGEINT" else name for name in kinds)
    final = f"WITH {KEPT}_as_summed AS (SELECT {columns} FROM {KEPT}) {parts.final.replace(KEPT, f'{KEPT}_as_summed')}"
    return KeptMinutes(kpi, parts, pa.schema(types), final, bound, most_groups)
