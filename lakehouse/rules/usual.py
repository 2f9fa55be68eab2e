"""Rules that know what is usual: by the closed minutes before, and by the same minutes of past days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from lakehouse.rules.limits import TableRule, minute_number, minute_numbers
from lakehouse.rules.rule import (
    MINUTE,
    Entity,
    Inputs,
    Judge,
    Minutes,
    Number,
    Reading,
    Span,
    Wrong,
    duration,
)
from lakehouse.tables import TABLES

DAY = timedelta(days=1)
# So many minutes before and after the same minutes of a past day tell of it too.
AROUND = 10 * MINUTE
# A past day's minutes say something from so many on.
FEWEST = 10
# What goes on for so long is the new usual. Until then an open incident is judged by the time before it.
LEARNED_AFTER = timedelta(hours=1)

type Figures = NDArray[np.float64]


def _window(value: timedelta) -> timedelta:
    if not 10 * MINUTE <= value <= 180 * MINUTE:
        raise ValueError("expected '10 min' to '180 min', since its rows are read every minute")
    return value


def _over(value: timedelta) -> timedelta:
    if value > 15 * MINUTE:
        raise ValueError("expected at most '15 min'")
    return value


@dataclass(frozen=True, slots=True)
class _Usual:
    """Mean and variance of a minute, of each entity, and of how many minutes."""

    minutes: int
    mean: Figures
    variance: Figures


class _History:
    """A rule's column, summed by entity and minute. A minute without any row of the table is none: the shop paused."""

    def __init__(self, rule: TableRule, rows: pa.Table) -> None:
        self.minutes, column = _ranked(minute_numbers(rows["window_end"]))
        keep = np.ones(rows.num_rows, dtype=np.bool_)
        for name, wanted in rule.where.items():
            keep &= pc.is_in(rows[name], value_set=pa.array(wanted)).to_numpy()
        entity = np.zeros(rows.num_rows, dtype=np.int64)
        self.entities: list[Entity] = [()]
        for name in rule.by:
            texts = pc.fill_null(rows[name], "").combine_chunks().dictionary_encode()
            known = texts.dictionary.to_pylist()
            # Only pairs that occur: pages times devices would be many.
            pairs, entity = _ranked(entity * len(known) + texts.indices.to_numpy())
            self.entities = [(*self.entities[pair // len(known)], known[pair % len(known)]) for pair in pairs.tolist()]
        values: Figures = pc.fill_null(pc.cast(rows[rule.column], pa.float64()), 0.0).to_numpy()
        shape = len(self.entities), len(self.minutes)
        flat = np.bincount((entity * shape[1] + column)[keep], values[keep], minlength=shape[0] * shape[1])
        sums = flat.reshape(shape)
        # Up to each minute; the first column is that of no minute.
        self._sums = np.zeros((shape[0], shape[1] + 1))
        np.cumsum(sums, axis=1, out=self._sums[:, 1:])
        self._squares = np.zeros_like(self._sums)
        np.cumsum(sums * sums, axis=1, out=self._squares[:, 1:])

    def total(self, after: int, to: int) -> Figures:
        """The sum of each entity over the minutes that end after `after` and up to `to`."""
        first, last = np.searchsorted(self.minutes, (after, to), side="right")
        found: Figures = self._sums[:, last] - self._sums[:, first]
        return found

    def usual(self, *spans: tuple[int, int], fewest: int) -> _Usual | None:
        """What the minutes of these spans (after, to) say, or None where they are fewer."""
        count = 0
        sums = np.zeros(len(self.entities))
        squares = np.zeros(len(self.entities))
        for first, last in np.searchsorted(self.minutes, spans, side="right").tolist():
            count += last - first
            sums += self._sums[:, last] - self._sums[:, first]
            squares += self._squares[:, last] - self._squares[:, first]
        if count < fewest:
            return None
        mean = sums / count
        return _Usual(count, mean, np.maximum(0.0, squares / count - mean * mean) * count / (count - 1))


def _ranked(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers that occur, ascending, and the place of each among them: np.unique for a narrow range."""
    if not len(numbers):
        return numbers, numbers
    first = int(numbers.min())
    occurs = np.bincount(numbers - first) > 0
    return np.flatnonzero(occurs) + first, (np.cumsum(occurs) - 1)[numbers - first]


class UsualRule(TableRule):
    """Compares with the `window` of closed minutes before: before the judged ones, or before an open incident began.

    No verdict while half of the window's minutes have no row at all: at a start, and after a pause of the shop.
    """

    window: Annotated[Minutes, AfterValidator(_window)]
    at_least: Annotated[Number, Field(ge=0)]

    def spans(self, ends: Sequence[datetime], open_since: datetime | None) -> list[Span]:
        before = ends[0] - self.looks_back
        if open_since is not None and ends[0] - open_since - MINUTE < LEARNED_AFTER:
            before = min(before, self._before(open_since))
        return [(before - self.window, ends[-1])]

    def _before(self, since: datetime) -> datetime:
        """The end of the last minute that the first verdict outside was not on."""
        return since + MINUTE - self.looks_back

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        history = _History(self, inputs.kpis[self.table])
        places = {entity: place for place, entity in enumerate(history.entities)}
        window = self.window // MINUTE
        fewest = (window + 1) // 2

        def before(end: datetime) -> _Usual | None:
            to = minute_number(end)
            return history.usual((to - window, to), fewest=fewest)

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            recent = before(end - self.looks_back)
            readings = {} if recent is None else self._outside(history, end, recent)
            for entity, began in since.items():
                held = None
                if end - began - MINUTE < LEARNED_AFTER:
                    held = before(self._before(began))
                basis = held or recent
                if basis is None:
                    return None
                readings.pop(entity, None)
                if entity in places:
                    readings[entity] = self._read(history, end, basis)[places[entity]]
            return readings if readings or recent is not None else None

        return of

    def _outside(self, history: _History, end: datetime, usual: _Usual) -> dict[Entity, Reading]:
        return {
            entity: reading
            for entity, reading in zip(history.entities, self._read(history, end, usual), strict=True)
            if reading.outside
        }

    def _read(self, history: _History, end: datetime, usual: _Usual) -> list[Reading]:
        """The reading of each of the history's entities."""
        raise NotImplementedError


class ZeroRule(UsualRule):
    """A figure that is zero, of an entity that usually has `at_least` a minute."""

    kind: Literal["zero"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if self.at_least <= 0:
            raise Wrong("at_least", self.at_least, "more than 0, or zero would be usual")
        self._check_description(*self.by, "value", "usual", "for")
        return self

    @property
    def watches(self) -> bool:
        return True

    def _read(self, history: _History, end: datetime, usual: _Usual) -> list[Reading]:
        minute = minute_number(end)
        values = history.total(minute - 1, minute)
        return [
            Reading(value, value == 0 and mean >= self.at_least, None, mean)
            for value, mean in zip(values.tolist(), usual.mean.tolist(), strict=True)
        ]


class AnomalyRule(UsualRule):
    """The mean of the last `over` minutes, `above` or `below` the usual by so many standard deviations, and by the
    part `change` of the usual too.

    Where the same minutes of past days have rows (AROUND before and after them as well), it must be so against them
    too. The deviation is that of a mean of `over` minutes; of a count it is at least the square root that chance alone
    gives. Figures under `at_least` a minute (above: the value; below: the usual one) are inside.
    """

    kind: Literal["anomaly"]
    above: Annotated[Number | None, Field(gt=0)] = None
    below: Annotated[Number | None, Field(gt=0)] = None
    change: Annotated[Number, Field(ge=0)]
    over: Annotated[Minutes, AfterValidator(_over)]
    days: Annotated[int, Field(strict=True, ge=0, le=14)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if (self.above is None) == (self.below is None):
            value = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise Wrong("above", value, "a number for one of above and below")
        if self.below is not None and self.change >= 1:
            raise Wrong("change", self.change, "less than 1 in a rule with below: nothing falls by more than all")
        self._check_description(*self.by, "value", "usual", "threshold", "over", "for")
        return self

    @property
    def watches(self) -> bool:
        return self.below is not None

    @property
    def looks_back(self) -> timedelta:
        return self.over

    def spans(self, ends: Sequence[datetime], open_since: datetime | None) -> list[Span]:
        days = [
            (ends[0] - self.over - AROUND - day * DAY, ends[-1] + AROUND - day * DAY) for day in range(1, self.days + 1)
        ]
        return super().spans(ends, open_since) + days

    def _read(self, history: _History, end: datetime, usual: _Usual) -> list[Reading]:
        over = self.over // MINUTE
        minute = minute_number(end)
        values = history.total(minute - over, minute) / over
        means, limits = usual.mean, self._limits(usual)
        around, day = AROUND // MINUTE, DAY // MINUTE
        past = [(minute - over - around - back * day, minute + around - back * day) for back in range(1, self.days + 1)]
        days = history.usual(*past, fewest=FEWEST) if past else None
        if days is not None:
            other = self._limits(days)
            farther = other < limits if self.below is not None else other > limits
            means, limits = np.where(farther, days.mean, means), np.where(farther, other, limits)
        if self.below is not None:
            outside = (values < limits) & (means >= self.at_least)
        else:
            outside = (values > limits) & (values >= self.at_least)
        return [
            Reading(*figures)
            for figures in zip(values.tolist(), outside.tolist(), limits.tolist(), means.tolist(), strict=True)
        ]

    def _limits(self, usual: _Usual) -> Figures:
        variance = usual.variance
        if TABLES[self.table].column(self.column).type in ("int", "long"):
            variance = np.maximum(variance, usual.mean)
        deviation = np.sqrt(variance * (MINUTE / self.over + 1 / usual.minutes))
        found: Figures
        if self.below is not None:
            found = np.minimum(usual.mean - self.below * deviation, usual.mean * (1 - self.change))
        else:
            assert self.above is not None
            found = np.maximum(usual.mean + self.above * deviation, usual.mean * (1 + self.change))
        return found

    def _words(self) -> dict[str, str]:
        return super()._words() | {"over": duration(self.over)}
