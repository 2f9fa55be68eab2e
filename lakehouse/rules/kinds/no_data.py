"""A silent topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from pydantic import model_validator

from lakehouse.rules.figure import AlertFigure, unit_of_topic
from lakehouse.rules.minute import MINUTE, floor_minute
from lakehouse.rules.minute_rule import MinuteRule
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Text, TopicName, duration
from lakehouse.tables import RAW_OF_TOPIC


class NoDataRule(MinuteRule):
    """Minutes in a row in which nothing came on a topic, although its end was read.

    Counts the log's own time, not the events', so a producer with a wrong clock is not a silent one. A silence that
    ended before its minute was judged, or that nobody watched (ingest was down), raises nothing.
    """

    topic: TopicName
    unit: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_description("topic", "value", "threshold", "for")
        return self

    @property
    def about(self) -> AlertFigure:
        """Not what is judged, whole minutes, but the events that are missed."""
        return AlertFigure(
            table=RAW_OF_TOPIC[self.topic].name,
            unit=self.unit or unit_of_topic(self.topic),
            fewer=True,
            lead=self.lead,
            lag=self.keep_firing_for,
        )

    @property
    def watches(self) -> bool:
        return True

    @property
    def listens_to(self) -> str | None:
        return self.topic

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

    def describe_resolved(self, whose: str, reading: Reading) -> str:
        return f"{self.alert_type}{whose}: events again for {duration(self.keep_firing_for)}"
