"""A figure beyond a fixed limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import model_validator

from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.minute import MINUTE
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Number, WrongKey
from lakehouse.rules.table_rule import TableRule

_AGGREGATES: dict[str, Callable[[list[float]], Any]] = {"sum": sum, "max": max, "min": min}


class ThresholdRule(TableRule):
    """A sum (or the largest, or smallest) of a KPI column in a minute, above or below a number.

    A minute without rows is zero. An entity is known while it has rows or is pending or firing, so that one that
    disappears counts as zero until it has resolved. `below` judges the whole shop only, from its first event on: it
    could not know of an entity that has no rows.
    """

    aggregate: Literal["sum", "max", "min"]
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        if (self.above is None) == (self.below is None):
            value = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise WrongKey("above", value, "a number for one of above and below")
        if self.above is not None and self.above < 0:
            raise WrongKey("above", self.above, "0 or more, since a minute without rows is 0")
        if self.below is not None and self.by:
            raise WrongKey("by", ", ".join(self.by), "[] in a rule with below")
        self._check_description(*self.by, "value", "threshold", "for")
        return self

    @property
    def about(self) -> AlertFigure:
        limit = self.above if self.above is not None else self.below
        return self._figure(fewer=self.below is not None, aggregate=self.aggregate, limited=True, limit=limit)

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        first = inputs.first_event_at.get(self.topics[0])
        found = self.figures(inputs.kpis[self.table], ends)
        combine = _AGGREGATES[self.aggregate]

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading] | None:
            if self.below is not None and (first is None or first > end - MINUTE):
                return None
            values = {entity: combine(parts) for entity, parts in found[end].items()}
            for entity in ((), *since) if not self.by else since:
                values.setdefault(entity, 0.0)
            return {entity: self._reading(value) for entity, value in values.items()}

        return of

    def _reading(self, value: float) -> Reading:
        if self.above is not None:
            return Reading(value, value > self.above, self.above)
        assert self.below is not None
        return Reading(value, value < self.below, self.below)
