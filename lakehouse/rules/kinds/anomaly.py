"""A figure far from the usual, against the minutes before and the same minutes of past days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.minute import MINUTE, Span
from lakehouse.rules.reading import Reading
from lakehouse.rules.rule import Number, WholeMinutes, WrongKey, duration
from lakehouse.rules.table_rule import minute_number
from lakehouse.rules.usual import Figures, PastMinutes, Usual, UsualRule
from lakehouse.tables import TABLES

DAY = timedelta(days=1)
# So many minutes before and after the same minutes of a past day tell of it too.
AROUND = 10 * MINUTE
# A past day's minutes say something from so many on.
FEWEST = 10


def _over(value: timedelta) -> timedelta:
    if value > 15 * MINUTE:
        raise ValueError("expected at most '15 min'")
    return value


class AnomalyRule(UsualRule):
    """The mean of the last `over` minutes, `above` or `below` the usual by so many standard deviations, and by the
    part `change` of the usual too.

    Where the same minutes of past days have rows (AROUND before and after them as well), it must be so against them
    too. The deviation is that of a mean of `over` minutes; of a count it is at least the square root that chance alone
    gives. Figures under `at_least` a minute (above: the value; below: the usual one) are inside.
    """

    above: Annotated[Number | None, Field(gt=0)] = None
    below: Annotated[Number | None, Field(gt=0)] = None
    change: Annotated[Number, Field(ge=0)]
    over: Annotated[WholeMinutes, AfterValidator(_over)]
    days: Annotated[int, Field(strict=True, ge=0, le=14)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if (self.above is None) == (self.below is None):
            value = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise WrongKey("above", value, "a number for one of above and below")
        if self.below is not None and self.change >= 1:
            raise WrongKey("change", self.change, "less than 1 in a rule with below: nothing falls by more than all")
        self._check_description(*self.by, "value", "usual", "threshold", "over", "for")
        return self

    @property
    def about(self) -> AlertFigure:
        return self._figure(fewer=self.below is not None, limited=True)

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

    def _read(self, history: PastMinutes, end: datetime, usual: Usual) -> list[Reading]:
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

    def _limits(self, usual: Usual) -> Figures:
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
