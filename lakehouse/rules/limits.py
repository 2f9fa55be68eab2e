"""Rules with a fixed limit: a figure of a KPI table, a silent topic, the share of dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lakehouse.rules.rule import (
    MINUTE,
    Entity,
    Inputs,
    Judge,
    MinuteRule,
    Number,
    Reading,
    Values,
    Wrong,
    duration,
    floor_minute,
)
from lakehouse.tables import KPI_TABLES, TABLES

# Which topic's events make a KPI table's minutes.
TOPIC_OF_KPI = {
    "orders_revenue_per_minute": "orders_topic",
    "active_users_per_window": "clicks_topic",
    "errors_per_minute": "errors_topic",
    "clicks_per_minute": "clicks_topic",
}
EPOCH = datetime.fromtimestamp(0, UTC)
type Topic = Literal["orders_topic", "clicks_topic", "errors_topic"]


def minute_number(end: datetime) -> int:
    """Minutes since the epoch."""
    return (end - EPOCH) // MINUTE


def minute_numbers(ends: pa.ChunkedArray) -> NDArray[np.int64]:
    """Minutes since the epoch of a column of times; one without a zone is UTC, as a reader's answer has it."""
    micros: NDArray[np.int64] = pc.cast(pc.cast(ends, pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy()
    return micros // 60_000_000


class TableRule(MinuteRule):
    """Judges a column of a KPI table, of the rows that `where` lets through, by the values of `by`."""

    table: str
    column: str
    where: dict[str, Values] = Field(default_factory=dict)
    by: tuple[str, ...]

    def _check_table(self) -> None:
        known = [table.name for table in KPI_TABLES]
        if self.table not in known:
            raise Wrong("table", self.table, f"one of {', '.join(known)}")
        types = {column.name: column.type for column in TABLES[self.table].columns}
        numbers = [name for name, type_ in types.items() if type_.startswith(("int", "long", "double", "decimal"))]
        texts = [name for name, type_ in types.items() if type_ == "string"]
        if self.column not in numbers:
            raise Wrong("column", self.column, f"a number in {self.table}: {', '.join(numbers)}")
        for key, columns in (("where", tuple(self.where)), ("by", self.by)):
            for column in columns:
                if column not in texts:
                    raise Wrong(key, column, f"a text column of {self.table}: {', '.join(texts) or '(it has none)'}")

    @property
    def topics(self) -> tuple[str, ...]:
        return (TOPIC_OF_KPI[self.table],)

    @property
    def reads(self) -> str | None:
        return self.table

    @property
    def columns(self) -> tuple[str, ...]:
        return self.by


class ThresholdRule(TableRule):
    """A sum (or the largest, or smallest) of a KPI column in a minute, above or below a number.

    A minute without rows is zero. An entity is known while it has rows or is pending or firing, so that one that
    disappears counts as zero until it has resolved. `below` judges the whole shop only, from its first event on: it
    could not know of an entity that has no rows.
    """

    kind: Literal["threshold"]
    aggregate: Literal["sum", "max", "min"]
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if (self.above is None) == (self.below is None):
            value = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise Wrong("above", value, "a number for one of above and below")
        if self.above is not None and self.above < 0:
            raise Wrong("above", self.above, "0 or more, since a minute without rows is 0")
        if self.below is not None and self.by:
            raise Wrong("by", ", ".join(self.by), "[] in a rule with below")
        self._check_description(*self.by, "value", "threshold", "for")
        return self

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        first = inputs.first_event_at.get(self.topics[0])
        found: dict[int, dict[Entity, list[float]]] = {minute_number(end): {} for end in ends}
        for minute, entity, value in self._rows(inputs.kpis[self.table], list(found)):
            found[minute].setdefault(entity, []).append(value)
        combine = _AGGREGATES[self.aggregate]

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            if self.below is not None and (first is None or first > end - MINUTE):
                return None
            values = {entity: combine(parts) for entity, parts in found[minute_number(end)].items()}
            for entity in ((), *since) if not self.by else since:
                values.setdefault(entity, 0.0)
            return {entity: self._reading(value) for entity, value in values.items()}

        return of

    def _reading(self, value: float) -> Reading:
        if self.above is not None:
            return Reading(value, value > self.above, self.above)
        assert self.below is not None
        return Reading(value, value < self.below, self.below)

    def _rows(self, table: pa.Table, minutes: Sequence[int]) -> list[tuple[int, Entity, float]]:
        """(end of the minute, entity, value) of the rows of these minutes that `where` lets through."""
        ends = minute_numbers(table["window_end"])
        places = np.flatnonzero(np.isin(ends, minutes))
        rows = table.select([self.column, *{*self.where, *self.by}]).take(places)
        names = [*self.where, *self.by]
        texts = {name: rows[name].to_pylist() for name in names}
        wanted = list(self.where.items())
        return [
            (end, tuple(texts[name][row] or "" for name in self.by), float(value))
            for row, (end, value) in enumerate(zip(ends[places].tolist(), rows[self.column].to_pylist(), strict=True))
            if value is not None and all(texts[name][row] in values for name, values in wanted)
        ]


class NoDataRule(MinuteRule):
    """Minutes in a row in which nothing came on a topic, although its end was read.

    Counts the log's own time, not the events', so a producer with a wrong clock is not a silent one. A silence that
    ended before its minute was judged, or that nobody watched (ingest was down), raises nothing.
    """

    kind: Literal["no_data"]
    topic: Topic

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_description("topic", "value", "threshold", "for")
        return self

    @property
    def watches(self) -> bool:
        return True

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic,)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("topic",)

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        """Whole minutes without an event up to the minute's end; no verdict before the first event."""
        newest = inputs.newest_received_at

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            if newest is None:
                return None
            silent = max(0.0, (end - floor_minute(newest)) / MINUTE - 1)
            return {(self.topic,): Reading(silent, silent >= 1, self.for_ / MINUTE)}

        return of

    def describe_resolved(self, who: str, reading: Reading) -> str:
        return f"{self.alert_type}{who}: events again for {duration(self.keep_firing_for)}"


class DeadLettersRule(MinuteRule):
    """The share of a topic's messages, in percent, that could not be read, in a minute of the log's time.

    Each topic is judged apart. Minutes with fewer than `at_least` dead letters are inside. After a restart of ingest
    the share of the minute that was under way is that of the messages read since.
    """

    kind: Literal["dead_letters"]
    topics_: Annotated[tuple[Topic, ...], Field(alias="topics", min_length=1)]
    above: Annotated[Number, Field(ge=0, lt=100)]
    at_least: Annotated[Number, Field(ge=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_description("topic", "value", "threshold", "for")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        return self.topics_

    @property
    def columns(self) -> tuple[str, ...]:
        return ("topic",)

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            readings: dict[Entity, Reading] = {}
            for topic in self.topics:
                messages, rejected = inputs.read.get(topic, {}).get(end - MINUTE, (0, 0))
                share = 100 * rejected / messages if messages else 0.0
                outside = rejected >= self.at_least and share > self.above
                readings[topic,] = Reading(share, outside, self.above)
            return readings

        return of


_AGGREGATES: dict[str, Callable[[list[float]], Any]] = {"sum": sum, "max": max, "min": min}
