"""What an alert is about: a number of each minute, as its rule declares it, and how its rows are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from lakehouse.dremio.statement import Fragment, Value
from lakehouse.kpis import KPIS, OTHER
from lakehouse.rules.minute import Span
from lakehouse.tables import RAW_OF_TOPIC, TABLES

MONEY = "currency of the shop"
"""The unit of columns that hold money."""
_NO_UNIT = ("", "count")


def unit_of_column(table: str, column: str) -> str:
    """What a column of a KPI table counts, in the plural: its unit, else its name."""
    unit = TABLES[table].column(column).unit
    return column.replace("_", " ") if unit in _NO_UNIT else unit


def unit_of_topic(topic: str) -> str:
    """What a topic's events are, in the plural."""
    return topic.removesuffix("_topic").replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class AlertFigure:
    """Of each minute the rows of a raw table, or a column of a KPI table; of the rows that `where` lets through.

    aggregate: how a minute's rows become one number. by: the columns whose values tell incidents apart. unit: what it
    counts, in the plural, or MONEY. fewer: too little of it alerts, not too much. limited: an alert's threshold is a
    limit of it; limit: what that is at any time, None where it moves. lead: how long before an incident's starts_at its
    first minute began; lag: how long after the end of its last minute it is resolved. Raises ValueError for a table or
    a column that the contract does not have.
    """

    table: str
    column: str | None = None
    aggregate: Literal["sum", "max", "min"] = "sum"
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    unit: str
    fewer: bool
    limited: bool = False
    limit: float | None = None
    lead: timedelta = timedelta(0)
    lag: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        columns = {column.name for column in TABLES[self.table].columns} if self.table in TABLES else set()
        if self.table not in KPIS and self.table not in {table.name for table in RAW_OF_TOPIC.values()}:
            raise ValueError(f"'{self.table}' is no KPI table and no table of a topic")
        for name in (*self.where, *self.by, *([self.column] if self.column else [])):
            if name not in columns:
                raise ValueError(f"the table {self.table} has no column '{name}'")

    @property
    def topic(self) -> str:
        """The topic whose events it is of."""
        if self.table in KPIS:
            return KPIS[self.table].topic
        return next(topic for topic, table in RAW_OF_TOPIC.items() if table.name == self.table)

    @property
    def adds_up(self) -> bool:
        """Whether the numbers of minutes may be summed."""
        return self.aggregate == "sum" and not self.looks_back

    @property
    def looks_back(self) -> bool:
        """Whether a row is of the minutes before a minute's end, not of one minute."""
        return self.table in KPIS and KPIS[self.table].window > 1

    def where_of(self, service_name: str | None) -> Mapping[str, Sequence[str]] | None:
        """The rows of an alert's own entity; None where its row does not tell which that is."""
        if not self.by:
            return self.where
        if self.by != ("service_name",) or service_name is None:
            return None
        return {**self.where, "service_name": (service_name,)}

    def rows(self, where: Mapping[str, Sequence[str]], spans: Sequence[Span]) -> Fragment:
        """The table's rows of some minutes, [from, to) each: happened_at, n (null of rows that `where` does not let
        through) and hidden (1 of a row that stands for others too, which `where` cannot tell).

        A query for each span, so that each is read by its own hours.
        """
        time = f'"{TABLES[self.table].event_time}"'
        number = f'"{self.column}"' if self.column else "1"
        binds: dict[str, Value] = {f"in_{name}": list(values) for name, values in where.items()}
        wanted = " AND ".join(f'"{name}" IN (:in_{name})' for name in where)
        hidden = " OR ".join(f'"{name}" = :other' for name in where) if self.table in KPIS else ""
        if hidden:
            binds["other"] = OTHER
        columns = (
            f"{time} AS happened_at",
            f"CASE WHEN {wanted} THEN {number} END AS n" if wanted else f"{number} AS n",
            f"CASE WHEN {hidden} THEN 1 ELSE 0 END AS hidden" if hidden else "0 AS hidden",
        )
        first, last = (">", "<=") if self.looks_back else (">=", "<")
        queries = []
        for place, (start, end) in enumerate(spans):
            binds |= {f"from_{place}": start, f"to_{place}": end}
            queries.append(
                f"SELECT {', '.join(columns)} FROM {{{self.table}}} "
                f"WHERE {time} {first} :from_{place} AND {time} {last} :to_{place}"
            )
        return Fragment("\nUNION ALL\n".join(queries), binds)
