"""What a rule is: one that alerts on events, and the base of those that give a verdict on each closed minute."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from string import Formatter
from typing import Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lakehouse.events import ErrorEvent
from lakehouse.settings.durations import Duration

MINUTE = timedelta(minutes=1)
ERRORS_TOPIC = "errors_topic"
type Entity = tuple[str, ...]
"""The values of a rule's `by` columns; () where a rule judges the whole shop."""
type Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What minute rules judge by: rows of KPI tables by table, the event time of each topic's earliest event, the
    received_at of the newest event on the rule's topic (to the minute), and how many messages of a topic came in a
    minute of the log's time (its start), and how many of them were rejected."""

    kpis: Mapping[str, pa.Table]
    first_event_at: Mapping[str, datetime]
    newest_received_at: datetime | None
    read: Mapping[str, Mapping[datetime, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule found of an entity in a minute: the value, whether it is outside, the limit, and what is usual."""

    value: float
    outside: bool = False
    threshold: float | None = None
    usual: float | None = None


type Judge = Callable[[datetime, Mapping[Entity, datetime]], Mapping[Entity, Reading] | None]
"""(end of a minute, when the first minute outside of each open entity began) -> readings; None: cannot be judged.

An entity without a reading is inside. Asked in the order of the minutes, with what the one before has opened.
"""


def _whole_minutes(value: timedelta) -> timedelta:
    if value < MINUTE or value % MINUTE:
        raise ValueError("expected whole minutes, at least '1 min', since closed minutes are judged")
    return value


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected more than '0 s'")
    return value


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://\S+", value):
        raise ValueError("expected an address that begins with http:// or https://")
    return value


Minutes = Annotated[Duration, AfterValidator(_whole_minutes)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Values = Annotated[tuple[str, ...], Field(min_length=1)]


class Wrong(Exception):
    """A key whose value does not fit the rule's other keys or the tables."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(key, value, expected)
        self.key, self.value, self.expected = key, value, expected


class Rule(BaseModel):
    """What every rule says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    severity: Literal["INFO", "WARN", "ERROR", "FATAL"]
    description: Text
    owner: Text
    summary: Text
    runbook_url: Annotated[str, AfterValidator(_address)]

    @property
    def alert_type(self) -> str:
        """The rule's name in capitals."""
        return self.name.upper()

    def _check_description(self, *known: str) -> None:
        try:
            fields = [part for part in Formatter().parse(self.description) if part[1] is not None]
        except ValueError as error:
            raise Wrong("description", self.description, f"a text with {{names}} in braces ({error})") from None
        for _, name, form, conversion in fields:
            if name not in known or form or conversion:
                raise Wrong("description", self.description, f"no other names in braces than {', '.join(known)}")


class EventRule(Rule):
    """Alerts on each event of errors_topic that matches `where`.

    An incident of an entity ends `resolve_after` past the received_at of its newest alert.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("service_name", "severity", "error_message", "error_id")

    kind: Literal["event"]
    where: dict[str, Values]
    by: tuple[str, ...]
    resolve_after: Annotated[Duration, AfterValidator(_some_time)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, columns in (("where", tuple(self.where)), ("by", self.by)):
            for column in columns:
                if column not in self.FIELDS:
                    raise Wrong(key, column, f"fields of an error: {', '.join(self.FIELDS)}")
        self._check_description(*self.FIELDS)
        return self

    def matches(self, event: ErrorEvent) -> bool:
        """Whether the event raises an alert."""
        return all(getattr(event, field) in values for field, values in self.where.items())

    def entity(self, event: ErrorEvent) -> Entity:
        """Whose incident the event belongs to."""
        return tuple(getattr(event, column) for column in self.by)

    def describe(self, event: ErrorEvent) -> str:
        """The alert's sentence."""
        return self.description.format_map({field: getattr(event, field) for field in self.FIELDS})

    def describe_resolved(self, who: str) -> str:
        """The sentence of the RESOLVED row."""
        return f"{self.alert_type}{who}: none for {duration(self.resolve_after)}"


class MinuteRule(Rule):
    """Judges closed minutes, each once, in order.

    Fires when a minute was outside for `for` in a row, resolves when it was inside for `keep_firing_for` in a row; a
    minute that cannot be judged breaks both rows.
    """

    for_: Annotated[Minutes, Field(alias="for")]
    keep_firing_for: Minutes

    @property
    def watches(self) -> bool:
        """Whether the rule is about silence or too little: it says nothing of minutes that nobody watched."""
        return False

    @property
    def looks_back(self) -> timedelta:
        """How much of the past, the minute itself included, one verdict is on; all of it must have been watched."""
        return MINUTE

    @property
    @abstractmethod
    def topics(self) -> tuple[str, ...]:
        """The topics whose read_to closes a minute."""

    @property
    def reads(self) -> str | None:
        """The KPI table whose rows the rule needs, None for a rule that needs none."""
        return None

    def spans(self, ends: Sequence[datetime], open_since: datetime | None) -> list[Span]:
        """The window_end of the rows that the minutes ending at `ends` need: all with from < window_end <= to.

        open_since: when the first minute outside of the oldest open entity began.
        """
        return [(ends[0] - MINUTE, ends[-1])]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of an entity's values."""

    @abstractmethod
    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        """What gives the verdicts on the minutes that end at `ends`."""

    def describe(self, entity: Entity, reading: Reading) -> str:
        """The alert's sentence."""
        words = dict(zip(self.columns, entity, strict=False)) | self._words()
        for name in ("value", "threshold", "usual"):
            figure = getattr(reading, name)
            words[name] = "" if figure is None else number(figure)
        return self.description.format_map(words)

    def _words(self) -> dict[str, str]:
        """What the rule itself puts into its sentence."""
        return {"for": duration(self.for_)}

    def describe_resolved(self, who: str, reading: Reading) -> str:
        """The sentence of the RESOLVED row."""
        limit = f", inside the limit of {number(reading.threshold)}" if reading.threshold is not None else ", as usual"
        return f"{self.alert_type}{who}: {number(reading.value)}{limit} for {duration(self.keep_firing_for)}"


def floor_minute(time: datetime) -> datetime:
    """The start of the minute."""
    return time.replace(second=0, microsecond=0)


def number(value: float) -> str:
    """A figure as people read it: 1,234 or 12.35."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def duration(value: timedelta) -> str:
    """A duration as people read it: 5 min, or 90 s."""
    return f"{value / MINUTE:.0f} min" if value % MINUTE == timedelta(0) else f"{value.total_seconds():g} s"
