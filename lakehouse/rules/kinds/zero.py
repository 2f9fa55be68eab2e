"""A figure that has gone."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import model_validator

from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.reading import Reading
from lakehouse.rules.rule import WrongKey
from lakehouse.rules.table_rule import minute_number
from lakehouse.rules.usual import PastMinutes, Usual, UsualRule


class ZeroRule(UsualRule):
    """A figure that is zero, of an entity that usually has `at_least` a minute."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if self.at_least <= 0:
            raise WrongKey("at_least", self.at_least, "more than 0, or zero would be usual")
        self._check_description(*self.by, "value", "usual", "for")
        return self

    @property
    def about(self) -> AlertFigure:
        return self._figure(fewer=True)

    @property
    def watches(self) -> bool:
        return True

    def _read(self, history: PastMinutes, end: datetime, usual: Usual) -> list[Reading]:
        minute = minute_number(end)
        values = history.total(minute - 1, minute)
        return [
            Reading(value, value == 0 and mean >= self.at_least, None, mean)
            for value, mean in zip(values.tolist(), usual.mean.tolist(), strict=True)
        ]
