"""What a KPI table is: where its rows come from, and the query that makes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

from lakehouse.schema import Table
from lakehouse.topics import Topic

OTHER = "(other)"
"""What stands for the groups of a minute that are too many for rows of their own, in each of their columns."""


_OF_COUNTING = re.compile(r":(counted_statuses|distinct)\b")


class Counting(NamedTuple):
    """What counts as an order: rows with these statuses; with `by_line` a row is a line, and its order_id tells which
    order it is of."""

    statuses: tuple[str, ...]
    by_line: bool = False

    @property
    def distinct(self) -> str:
        """What stands before order_id where orders are counted: `COUNT(:distinct order_id)`."""
        return "DISTINCT" if self.by_line else ""

    def filled(self, text: str) -> str:
        """SQL with :counted_statuses and :distinct in it, in DuckDB's dialect or Dremio's."""
        # Statuses come from a closed list (OrdersSettings), never from data.
        statuses = ", ".join(f"'{status}'" for status in self.statuses)
        return _OF_COUNTING.sub(lambda found: statuses if found[1] == "counted_statuses" else self.distinct, text)


@dataclass(frozen=True, eq=False)
class Kpi:
    """One KPI table and what fills it.

    `window`: minutes that a row looks back over. A row of a window of 1 is of one minute, and partitioned by its start;
    of more, of the minutes before a minute's end, by that end: such a query joins `window_ends` (window_end: the ends
    to compute). `query` is DuckDB's, with :counted_statuses and :distinct (see Counting), after as many empty lines as
    its file has before it.
    `keep_first`: by column, the values whose rows stay, the first before the others, where a minute has too many rows.
    """

    declared: Topic
    table: Table
    query: str
    window: int = 1
    keep_first: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def topic(self) -> str:
        return self.declared.name

    @property
    def line(self) -> int:
        """The line of its file in which the query begins."""
        return 1 + len(self.query) - len(self.query.lstrip("\n"))

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Columns of the raw table that the query may read: those whose names are words of it, and the time."""
        words = set(re.findall(r"\w+", self.query.lower()))
        raw = self.declared.table
        return tuple(column.name for column in raw.columns if column.name in words or column.name == raw.event_time)

    def sql(self, counting: Counting) -> str:
        """The query in DuckDB's dialect; its statuses are known ones."""
        return _filled(self.query, counting)


@cache
def _filled(query: str, counting: Counting) -> str:
    return counting.filled(query)
