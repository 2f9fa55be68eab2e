"""What every rule says of itself, and what an evaluation asks of it."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite
from string import Formatter
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lakehouse.decode import Event
from lakehouse.rules.alerts import Alert
from lakehouse.rules.book import AlertBook
from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.minute import MINUTE, Span
from lakehouse.rules.moment import Moment, Received
from lakehouse.rules.state import State
from lakehouse.settings.durations import Duration
from lakehouse.tables import RAW_OF_TOPIC, Column
from lakehouse.topics import TOPICS


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://\S+", value):
        raise ValueError("expected an address that begins with http:// or https://")
    return value


def _whole_minutes(value: timedelta) -> timedelta:
    if value < MINUTE or value % MINUTE:
        raise ValueError("expected whole minutes, at least '1 min', since closed minutes are judged")
    return value


def _topic(value: str) -> str:
    if value not in RAW_OF_TOPIC:
        raise ValueError(f"expected one of {', '.join(RAW_OF_TOPIC)}")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
TopicName = Annotated[str, AfterValidator(_topic)]
Severity = Literal["INFO", "WARN", "ERROR", "FATAL"]
Values = Annotated[tuple[str, ...], Field(min_length=1)]
WholeMinutes = Annotated[Duration, AfterValidator(_whole_minutes)]


class WrongKey(Exception):
    """A key whose value does not fit the rule's other keys, the topics or the tables. known: one of which was likely
    meant."""

    def __init__(self, key: str, value: object, expected: str, known: Iterable[str] = ()) -> None:
        super().__init__(key, value, expected)
        self.key, self.value, self.expected, self.known = key, value, expected, tuple(known)


def check_values(where: Mapping[str, Sequence[str]], topic: str, columns: Sequence[Column]) -> None:
    """Refuse a value that no event has: a field of few choices has no other. `columns`: of the table that is read."""
    choices = {field.column: field.choices for field in TOPICS[topic].fields if field.choices}
    for column in columns:
        # A KPI's column of the same name may hold something else.
        if column.name in choices and column == TOPICS[topic].table.column(column.name):
            for value in where.get(column.name, ()):
                if value not in choices[column.name]:
                    known = choices[column.name]
                    raise WrongKey(f"where.{column.name}", value, f"one of {', '.join(known)}", known)


class Rule(BaseModel):
    """What every rule says of itself. `kind` is the name of the file in lakehouse/rules/kinds that holds its class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    severity: Severity
    description: Text
    owner: Text
    summary: Text
    runbook_url: Annotated[str, AfterValidator(_address)] | None = None
    kind: str

    @property
    def alert_type(self) -> str:
        """The rule's name in capitals."""
        return self.name.upper()

    @property
    def about(self) -> AlertFigure | None:
        """The figure that its alerts are about, None where there is none that readers could ask for."""
        return None

    @property
    def asks(self) -> bool:
        """Whether the notifier judges it, by asking a question: the engines know nothing of it."""
        return False

    @property
    def asked(self) -> str | None:
        """The question of config/questions that it asks by name, None where there is none."""
        return None

    @property
    def severities(self) -> tuple[str, ...]:
        """All that an alert of it may have."""
        return (self.severity,)

    @property
    def alerts_on(self) -> str | None:
        """The topic of which each event that `matches` gives an alert at once, None for a rule without such."""
        return None

    def matches(self, event: Event) -> bool:
        """Whether an event of the topic `alerts_on` raises an alert. Asked of every event: quick."""
        return False

    def hear(self, received: Received, book: AlertBook, max_age: timedelta) -> None:
        """Note an event that matches. Told in the order of received_at."""
        raise NotImplementedError

    def due(self, state: State, moment: Moment, max_lookback: timedelta) -> Mapping[str, Sequence[Span]]:
        """KPI table -> the spans of window_end (from, to] whose rows `tick` needs at this moment."""
        return {}

    @abstractmethod
    def tick(self, book: AlertBook, moment: Moment, kpis: Mapping[str, pa.Table], max_lookback: timedelta) -> None:
        """Judge what time has made due: asked at every batch and tick, after the events."""

    def _fires(
        self,
        alert_id: str,
        text: str,
        at: datetime,
        *,
        incident_id: str,
        starts_at: datetime,
        service_name: str | None,
        received_at: datetime,
        value: float = 1.0,
        threshold: float | None = None,
    ) -> Alert:
        """A FIRING row of the rule."""
        return Alert(
            alert_id=alert_id,
            alert_type=self.alert_type,
            description=text,
            alert_timestamp=at,
            metric_value=value,
            status="FIRING",
            incident_id=incident_id,
            starts_at=starts_at,
            rule=self.name,
            severity=self.severity,
            service_name=service_name,
            threshold=threshold,
            summary=self.summary,
            runbook_url=self.runbook_url,
            owner=self.owner,
            received_at=received_at,
        )

    def _check_description(self, *known: str) -> None:
        for name in names_in("description", self.description):
            if name not in known:
                raise WrongKey("description", self.description, f"no other names in braces than {', '.join(known)}")


def names_in(key: str, text: str) -> list[str]:
    """The names in braces of a rule's text. Raises WrongKey for anything else in braces; `key` holds the text."""
    try:
        fields = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise WrongKey(key, text, f"a text with {{names}} in braces ({error})") from None
    # `{a.b}` and `{a[0]}` would reach into a value.
    odd = [name for _, name, form, conversion in fields if form or conversion or not str(name).isidentifier()]
    if odd:
        raise WrongKey(key, text, "only names in braces, without a form, a dot or brackets")
    return [str(name) for _, name, _, _ in fields]


def as_text(value: object) -> str:
    """A field's value as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and isfinite(value):
        return number(value)
    return "" if value is None else str(value)


def number(value: float | Decimal) -> str:
    """A figure as people read it: 1,234 or 12.35."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def duration(value: timedelta) -> str:
    """A duration as people read it: 5 min, or 90 s."""
    return f"{value / MINUTE:.0f} min" if value % MINUTE == timedelta(0) else f"{value.total_seconds():g} s"
