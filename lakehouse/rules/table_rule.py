"""Rules over a KPI table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from lakehouse.kpis import KPIS, OTHER
from lakehouse.rules.figure import AlertFigure, unit_of_column
from lakehouse.rules.minute import MINUTE
from lakehouse.rules.minute_rule import MinuteRule
from lakehouse.rules.reading import Entity
from lakehouse.rules.rule import Text, Values, WrongKey, check_values

EPOCH = datetime.fromtimestamp(0, UTC)


def minute_number(end: datetime) -> int:
    """Minutes since the epoch."""
    return (end - EPOCH) // MINUTE


def minute_numbers(ends: pa.ChunkedArray) -> NDArray[np.int64]:
    """Minutes since the epoch of a column of times; one without a zone is UTC, as a reader's answer has it."""
    import pyarrow.compute as pc

    micros: NDArray[np.int64] = pc.cast(pc.cast(ends, pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy()
    return micros // 60_000_000


class TableRule(MinuteRule):
    """Judges a column of a KPI table, of the rows that `where` lets through, by the values of `by`."""

    table: str
    column: str
    where: dict[str, Values] = Field(default_factory=dict)
    by: tuple[str, ...]
    unit: Text | None = None

    def _check_table(self) -> None:
        """Refuse what the tables do not have; for a kind's own check."""
        if self.table not in KPIS:
            raise WrongKey("table", self.table, f"one of {', '.join(KPIS)}", KPIS)
        types = {column.name: column.type for column in KPIS[self.table].table.columns}
        numbers = [name for name, type_ in types.items() if type_.startswith(("int", "long", "double", "decimal"))]
        texts = [name for name, type_ in types.items() if type_ == "string"]
        if self.column not in numbers:
            raise WrongKey("column", self.column, f"a number in {self.table}: {', '.join(numbers)}", numbers)
        for key, columns in (("where", tuple(self.where)), ("by", self.by)):
            for column in columns:
                if column not in texts:
                    expected = f"a text column of {self.table}: {', '.join(texts) or '(it has none)'}"
                    raise WrongKey(key, column, expected, texts)
        check_values(self.where, KPIS[self.table].topic, KPIS[self.table].table.columns)

    @property
    def topics(self) -> tuple[str, ...]:
        return (KPIS[self.table].topic,)

    @property
    def reads(self) -> str | None:
        return self.table

    @property
    def columns(self) -> tuple[str, ...]:
        return self.by

    def _figure(
        self,
        *,
        fewer: bool,
        aggregate: Literal["sum", "max", "min"] = "sum",
        limited: bool = False,
        limit: float | None = None,
    ) -> AlertFigure:
        """What `about` says of a rule that judges its column a minute."""
        return AlertFigure(
            table=self.table,
            column=self.column,
            aggregate=aggregate,
            where=self.where,
            by=self.by,
            unit=self.unit or unit_of_column(self.table, self.column),
            fewer=fewer,
            limited=limited,
            limit=limit,
            lead=self.lead,
            lag=self.keep_firing_for,
        )

    def bounded(self, kpis: Mapping[str, pa.Table]) -> Set[datetime]:
        import pyarrow.compute as pc

        rows = kpis[self.table]
        found: set[datetime] = set()
        for column in {*self.where, *self.by}:
            ends = rows.filter(pc.equal(rows[column], OTHER))["window_end"]
            found.update(EPOCH + int(number) * MINUTE for number in minute_numbers(ends))
        return found

    def figures(self, rows: pa.Table, ends: Sequence[datetime]) -> dict[datetime, dict[Entity, list[float]]]:
        """The column's values of each entity in the minutes that end at `ends`, of the rows that `where` lets through.

        An entity without such a row in a minute is not in it.
        """
        by_number = {minute_number(end): end for end in ends}
        found: dict[datetime, dict[Entity, list[float]]] = {end: {} for end in ends}
        numbers = minute_numbers(rows["window_end"])
        places = np.flatnonzero(np.isin(numbers, list(by_number)))
        kept = rows.select([self.column, *{*self.where, *self.by}]).take(places)
        texts = {name: kept[name].to_pylist() for name in (*self.where, *self.by)}
        values = kept[self.column].to_pylist()
        for row, (minute, value) in enumerate(zip(numbers[places].tolist(), values, strict=True)):
            if value is not None and all(texts[name][row] in wanted for name, wanted in self.where.items()):
                entity = tuple(texts[name][row] or "" for name in self.by)
                found[by_number[minute]].setdefault(entity, []).append(float(value))
        return found
