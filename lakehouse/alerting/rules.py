"""What a rule is, and config/alerts.yaml read into rules.

An event rule alerts on every event that matches. A minute rule gives a verdict on each closed minute of each entity;
a new kind is a subclass of MinuteRule: it says what it reads, what it measures and which value is outside.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lakehouse.events import ErrorEvent
from lakehouse.settings import Duration, UserError
from lakehouse.tables import KPI_TABLES, TABLES

MINUTE = timedelta(minutes=1)
ERRORS_TOPIC = "errors_topic"
# Which topic's events make a KPI table's minutes.
TOPIC_OF_KPI = {
    "orders_revenue_per_minute": "orders_topic",
    "active_users_per_window": "clicks_topic",
    "errors_per_minute": "errors_topic",
    "clicks_per_minute": "clicks_topic",
}
type Entity = tuple[str, ...]
"""The values of a rule's `by` columns; () where a rule judges the whole shop."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What minute rules measure: rows of KPI tables by table, the event time of each topic's earliest event, and the
    received_at of the newest event on the rule's topics (to the minute)."""

    kpis: Mapping[str, pa.Table]
    first_event_at: Mapping[str, datetime]
    newest_received_at: datetime | None


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


class _Wrong(Exception):
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
            raise _Wrong("description", self.description, f"a text with {{names}} in braces ({error})") from None
        for _, name, form, conversion in fields:
            if name not in known or form or conversion:
                raise _Wrong("description", self.description, f"no other names in braces than {', '.join(known)}")


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
                    raise _Wrong(key, column, f"fields of an error: {', '.join(self.FIELDS)}")
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

    Fires when a value was outside for `for` in a row, resolves when it was inside for `keep_firing_for` in a row; a
    minute that cannot be judged breaks both rows.
    """

    # A rule about silence: it says nothing of minutes that nobody watched.
    watches: ClassVar[bool] = False

    for_: Annotated[Minutes, Field(alias="for")]
    keep_firing_for: Minutes

    @property
    @abstractmethod
    def topics(self) -> tuple[str, ...]:
        """The topics whose read_to closes a minute."""

    @property
    def reads(self) -> str | None:
        """The KPI table whose rows the rule needs, None for a rule that needs none."""
        return None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of an entity's values."""

    @property
    @abstractmethod
    def threshold(self) -> float:
        """The limit, in the unit of what is inputs."""

    @abstractmethod
    def measure(self, ends: Sequence[datetime], inputs: Inputs) -> Mapping[datetime, Mapping[Entity, float]]:
        """The value of each entity in the minutes that end at `ends`.

        An entity that is not named in a minute has 0 there; a minute that is left out cannot be judged.
        """

    @abstractmethod
    def outside(self, value: float) -> bool:
        """Whether the value is outside the rule's limit."""

    def describe(self, entity: Entity, value: float) -> str:
        """The alert's sentence."""
        words = dict(zip(self.columns, entity, strict=False))
        words |= {"value": number(value), "threshold": number(self.threshold), "for": duration(self.for_)}
        return self.description.format_map(words)

    def describe_resolved(self, who: str, value: float) -> str:
        """The sentence of the RESOLVED row."""
        inside = duration(self.keep_firing_for)
        return f"{self.alert_type}{who}: {number(value)}, inside the limit of {number(self.threshold)} for {inside}"


class ThresholdRule(MinuteRule):
    """A sum (or the largest, or smallest) of a KPI column in a minute, above or below a number.

    A minute without rows is zero. An entity is known while it has rows or is pending or firing, so that one that
    disappears counts as zero until it has resolved. `below` judges the whole shop only, from its first event on: it
    could not know of an entity that has no rows.
    """

    kind: Literal["threshold"]
    table: str
    column: str
    aggregate: Literal["sum", "max", "min"]
    where: dict[str, Values] = {}
    by: tuple[str, ...]
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = [table.name for table in KPI_TABLES]
        if self.table not in known:
            raise _Wrong("table", self.table, f"one of {', '.join(known)}")
        types = {column.name: column.type for column in TABLES[self.table].columns}
        numbers = [name for name, type_ in types.items() if type_.startswith(("int", "long", "double", "decimal"))]
        texts = [name for name, type_ in types.items() if type_ == "string"]
        if self.column not in numbers:
            raise _Wrong("column", self.column, f"a number in {self.table}: {', '.join(numbers)}")
        for key, columns in (("where", tuple(self.where)), ("by", self.by)):
            for column in columns:
                if column not in texts:
                    raise _Wrong(key, column, f"a text column of {self.table}: {', '.join(texts) or '(it has none)'}")
        if (self.above is None) == (self.below is None):
            value = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise _Wrong("above", value, "a number for one of above and below")
        if self.above is not None and self.above < 0:
            raise _Wrong("above", self.above, "0 or more, since a minute without rows is 0")
        if self.below is not None and self.by:
            raise _Wrong("by", ", ".join(self.by), "[] in a rule with below")
        self._check_description(*self.by, "value", "threshold", "for")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        return (TOPIC_OF_KPI[self.table],)

    @property
    def reads(self) -> str | None:
        return self.table

    @property
    def columns(self) -> tuple[str, ...]:
        return self.by

    @property
    def threshold(self) -> float:
        limit = self.below if self.above is None else self.above
        assert limit is not None
        return limit

    def outside(self, value: float) -> bool:
        return value > self.threshold if self.above is not None else value < self.threshold

    def measure(self, ends: Sequence[datetime], inputs: Inputs) -> Mapping[datetime, Mapping[Entity, float]]:
        if self.below is not None:
            first = inputs.first_event_at.get(self.topics[0])
            ends = [end for end in ends if first is not None and first <= end - MINUTE]
        found: dict[datetime, dict[Entity, list[float]]] = {end: {} for end in ends}
        for end, entity, value in self._rows(inputs.kpis[self.table]):
            if end in found:
                found[end].setdefault(entity, []).append(value)
        combine = _AGGREGATES[self.aggregate]
        values = {end: {entity: combine(parts) for entity, parts in by.items()} for end, by in found.items()}
        if not self.by:
            for of_minute in values.values():
                of_minute.setdefault((), 0.0)
        return values

    def _rows(self, table: Any) -> list[tuple[datetime, Entity, float]]:
        """(end of the minute, entity, value) of the rows that `where` lets through."""
        # A reader's answer has no zone, stored rows have UTC.
        ends = table["window_end"].cast(pa.timestamp("us", tz="UTC")).to_pylist()
        names = [*self.where, *self.by]
        texts = {name: table[name].to_pylist() for name in names}
        wanted = list(self.where.items())
        return [
            (end, tuple(texts[name][row] or "" for name in self.by), float(value))
            for row, (end, value) in enumerate(zip(ends, table[self.column].to_pylist(), strict=True))
            if value is not None and all(texts[name][row] in values for name, values in wanted)
        ]


class NoDataRule(MinuteRule):
    """Minutes in a row in which nothing came on a topic, although its end was read.

    Counts the log's own time, not the events', so a producer with a wrong clock is not a silent one. A silence that
    ended before its minute was judged, or that nobody watched (ingest was down), raises nothing.
    """

    watches: ClassVar[bool] = True

    kind: Literal["no_data"]
    topic: Literal["orders_topic", "clicks_topic", "errors_topic"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_description("topic", "value", "threshold", "for")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic,)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("topic",)

    @property
    def threshold(self) -> float:
        return self.for_ / MINUTE

    def outside(self, value: float) -> bool:
        return value >= 1

    def measure(self, ends: Sequence[datetime], inputs: Inputs) -> Mapping[datetime, Mapping[Entity, float]]:
        """Whole minutes without an event up to the minute's end; no verdict before the first event."""
        newest = inputs.newest_received_at
        if newest is None:
            return {}
        heard = floor_minute(newest) + MINUTE
        return {end: {(self.topic,): max(0.0, (end - heard) / MINUTE)} for end in ends}

    def describe_resolved(self, who: str, value: float) -> str:
        return f"{self.alert_type}{who}: events again for {duration(self.keep_firing_for)}"


_AGGREGATES: dict[str, Callable[[list[float]], float]] = {"sum": lambda values: sum(values), "max": max, "min": min}
KINDS: dict[str, type[Rule]] = {"event": EventRule, "threshold": ThresholdRule, "no_data": NoDataRule}


def floor_minute(time: datetime) -> datetime:
    """The start of the minute."""
    return time.replace(second=0, microsecond=0)


def number(value: float) -> str:
    """A figure as people read it: 1,234 or 12.35."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def duration(value: timedelta) -> str:
    """A duration as people read it: 5 min, or 90 s."""
    return f"{value / MINUTE:.0f} min" if value % MINUTE == timedelta(0) else f"{value.total_seconds():g} s"


def alerting_events(rules: Sequence[Rule]) -> Callable[[ErrorEvent], bool]:
    """A test for events that some rule alerts on (of which evaluate must hear, and which ask for a publish at once)."""
    matchers = [rule.matches for rule in rules if isinstance(rule, EventRule)]
    return lambda event: any(matches(event) for matches in matchers)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML file, in its order.

    Raises UserError in one sentence that names file, rule, key and value.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"The alert rules {path} cannot be read: {error.strerror}; restore the file.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The alert rules {path} are not YAML: {reason}; mend that place.") from None
    if not isinstance(content, dict) or list(content) != ["rules"] or not isinstance(content["rules"], list):
        raise UserError(f"The alert rules {path} must hold one list under `rules:`; compare with config/alerts.yaml.")
    rules: list[Rule] = []
    for place, raw in enumerate(content["rules"], start=1):
        rule = _rule(path, place, raw)
        if any(rule.name == other.name for other in rules):
            raise UserError(f"{path}: key 'name' has the value '{rule.name}' in two rules; give one another name.")
        rules.append(rule)
    return tuple(rules)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice; YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' stands twice in the mapping at line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def _rule(path: Path, place: int, raw: object) -> Rule:
    if not isinstance(raw, dict):
        raise UserError(f"{path}: rule {place} has the value '{raw}'; expected `key: value` lines.")
    who = f"{path}: rule '{raw['name']}'" if "name" in raw else f"{path}: rule {place}"
    if "kind" not in raw:
        raise UserError(f"{who} lacks the key 'kind'; add it with one of {', '.join(KINDS)}.")
    kind = KINDS.get(raw["kind"]) if isinstance(raw["kind"], str) else None
    if kind is None:
        raise UserError(f"{who}, key 'kind' has the value '{raw['kind']}'; expected one of {', '.join(KINDS)}.")
    try:
        return kind.model_validate(raw)
    except _Wrong as wrong:
        raise UserError(f"{who}, key '{wrong.key}' has the value '{wrong.value}'; expected {wrong.expected}.") from None
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        raise UserError(f"{who} lacks the key '{key}'; add it.")
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        raise UserError(
            f"{who} has the unknown key '{key}' with the value '{first['input']}'; known are {', '.join(known)}."
        )
    reason = first["msg"].removeprefix("Value error, ")
    raise UserError(f"{who}, key '{key}' has the value '{first['input']}'; {reason[:1].lower()}{reason[1:]}.")
