"""The share of messages that nobody can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from lakehouse.rules.minute import MINUTE
from lakehouse.rules.minute_rule import MinuteRule
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Number, TopicName


class DeadLettersRule(MinuteRule):
    """The share of a topic's messages, in percent, that could not be read, in a minute of the log's time.

    Each topic is judged apart. Minutes with fewer than `at_least` dead letters are inside. After a restart of ingest
    the share of the minute that was under way is that of the messages read since.
    """

    topics_: Annotated[tuple[TopicName, ...], Field(alias="topics", min_length=1)]
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
