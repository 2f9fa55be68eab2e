"""The base of rules that know what is usual: by the closed minutes before, and by other spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from lakehouse.rules.minute import MINUTE, Span
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Number, WholeMinutes
from lakehouse.rules.table_rule import TableRule, minute_number, minute_numbers

# What goes on for so long is the new usual. Until then an open incident is judged by the time before it.
LEARNED_AFTER = timedelta(hours=1)

type Figures = NDArray[np.float64]


def _window(value: timedelta) -> timedelta:
    if not 10 * MINUTE <= value <= 180 * MINUTE:
        raise ValueError("expected '10 min' to '180 min', since its rows are read every minute")
    return value


@dataclass(frozen=True, slots=True)
class Usual:
    """Mean and variance of a minute, of each entity, and of how many minutes."""

    minutes: int
    mean: Figures
    variance: Figures


class PastMinutes:
    """A rule's column, summed by entity and minute. A minute without any row of the table is none: the shop paused."""

    def __init__(self, rule: TableRule, rows: pa.Table) -> None:
        # Imported here and beside: it costs 8 MB, and who reads rules without judging does not need it.
        import pyarrow.compute as pc

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

    def usual(self, *spans: tuple[int, int], fewest: int) -> Usual | None:
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
        return Usual(count, mean, np.maximum(0.0, squares / count - mean * mean) * count / (count - 1))


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

    window: Annotated[WholeMinutes, AfterValidator(_window)]
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
        history = PastMinutes(self, inputs.kpis[self.table])
        places = {entity: place for place, entity in enumerate(history.entities)}
        window = self.window // MINUTE
        fewest = (window + 1) // 2

        def before(end: datetime) -> Usual | None:
            to = minute_number(end)
            return history.usual((to - window, to), fewest=fewest)

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            recent = before(end - self.looks_back)
            readings = {} if recent is None else self._outside_of(history, end, recent)
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

    def _outside_of(self, history: PastMinutes, end: datetime, usual: Usual) -> dict[Entity, Reading]:
        return {
            entity: reading
            for entity, reading in zip(history.entities, self._read(history, end, usual), strict=True)
            if reading.outside
        }

    def _read(self, history: PastMinutes, end: datetime, usual: Usual) -> list[Reading]:
        """The reading of each of the history's entities."""
        raise NotImplementedError
