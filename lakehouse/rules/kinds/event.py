"""An alert for each event that matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from string import Formatter
from typing import Annotated, Self

import pyarrow as pa
from pydantic import AfterValidator, model_validator

from lakehouse.decode import Event, event_time
from lakehouse.rules.alerts import is_old, stable_id
from lakehouse.rules.book import AlertBook
from lakehouse.rules.figure import AlertFigure, unit_of_topic
from lakehouse.rules.moment import Moment, Received
from lakehouse.rules.reading import Entity
from lakehouse.rules.rule import Rule, Text, TopicName, Values, WrongKey, as_text, check_values, duration
from lakehouse.rules.state import RuleState, entity_text, who
from lakehouse.settings.durations import Duration
from lakehouse.tables import RAW_OF_TOPIC

# What the pipeline adds to an event, or uses to tell events apart.
_NO_FIELDS = frozenset(("event_key", "produced_at", "ingested_at", "source_partition", "source_offset"))


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected more than '0 s'")
    return value


@cache
def _fields(topic: str) -> Mapping[str, str]:
    """The fields of a topic's events and their types, both as the raw table has them."""
    return {column.name: column.type for column in RAW_OF_TOPIC[topic].columns if column.name not in _NO_FIELDS}


@cache
def _named(description: str) -> Sequence[str]:
    """The fields that a description names in braces."""
    return [name for _, name, _, _ in Formatter().parse(description) if name is not None]


class EventRule(Rule):
    """Alerts on each event of a topic that matches `where`. Fields have the names of the raw table's columns.

    An incident of an entity ends `resolve_after` past the received_at of its newest alert.
    """

    # The shop's first: rules that were written before there was a choice name none.
    topic: TopicName = "errors_topic"
    where: dict[str, Values]
    by: tuple[str, ...]
    resolve_after: Annotated[Duration, AfterValidator(_some_time)]
    unit: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        fields = _fields(self.topic)
        texts = [name for name, type_ in fields.items() if type_ == "string"]
        for key, names in (("where", tuple(self.where)), ("by", self.by)):
            for name in names:
                if name not in texts:
                    raise WrongKey(key, name, f"a text field of {self.topic}: {', '.join(texts)}", texts)
        check_values(self.where, self.topic, RAW_OF_TOPIC[self.topic].columns)
        self._check_description(*fields)
        return self

    @property
    def about(self) -> AlertFigure:
        return AlertFigure(
            table=RAW_OF_TOPIC[self.topic].name,
            where=self.where,
            by=self.by,
            unit=self.unit or unit_of_topic(self.topic),
            fewer=False,
            lag=self.resolve_after,
        )

    @property
    def alerts_on(self) -> str | None:
        return self.topic

    def matches(self, event: Event) -> bool:
        return all(getattr(event, field) in values for field, values in self.where.items())

    def hear(self, received: Received, book: AlertBook, max_age: timedelta) -> None:
        _, event, received_at = received
        happened_at = event_time(event)
        service_name = getattr(event, "service_name", None)
        entity = entity_text(self._entity(event))
        alert_id = stable_id(self.name, entity, event.event_key, happened_at)
        if is_old(happened_at, received_at, max_age):
            # Told by its hour alone, whatever came before it: the same after any replay.
            starts_at = happened_at.replace(minute=0, second=0, microsecond=0)
            incident_id = stable_id(self.name, entity, starts_at)
        else:
            row = book.state.get((self.name, entity))
            if row is not None and row.incident_id is not None and received_at >= self._over_at(row):
                # No tick came between; the log's time says that it was over.
                self._resolve(row, book, received_at)
                row = None
            if row is None or row.incident_id is None or row.starts_at is None:
                incident_id, starts_at = stable_id(self.name, entity, alert_id), happened_at
                first_service, newest = service_name, received_at
            else:
                incident_id, starts_at, first_service = row.incident_id, row.starts_at, row.service_name
                newest = max(received_at, row.newest_received_at or received_at)
            book.put(
                RuleState(
                    self.name,
                    entity,
                    incident_id=incident_id,
                    starts_at=starts_at,
                    newest_received_at=newest,
                    severity=self.severity,
                    service_name=first_service,
                )
            )
        book.alerts.append(
            self._fires(
                alert_id,
                self._describe(event),
                happened_at,
                incident_id=incident_id,
                starts_at=starts_at,
                service_name=service_name,
                received_at=received_at,
            )
        )

    def tick(self, book: AlertBook, moment: Moment, kpis: Mapping[str, pa.Table], max_lookback: timedelta) -> None:
        """Resolve the incidents that had no alert for resolve_after of the log's time."""
        read_to = moment.read_to.get(self.topic)
        if read_to is None:
            return
        for row in [row for row in book.state.values() if row.rule == self.name]:
            if row.incident_id is None:
                book.drop(row)  # its rule judged minutes before
            elif read_to >= self._over_at(row):
                self._resolve(row, book, read_to)

    def _entity(self, event: Event) -> Entity:
        """Whose incident the event belongs to."""
        return tuple(getattr(event, field) or "" for field in self.by)

    def _over_at(self, row: RuleState) -> datetime:
        """When the incident is over, unless it gets another alert, in log time."""
        # A rule that judged minutes before left an incident without a newest alert.
        newest = row.newest_received_at or row.starts_at
        assert newest is not None
        return newest + self.resolve_after

    def _resolve(self, row: RuleState, book: AlertBook, judged_at: datetime) -> None:
        text = f"{self.alert_type}{who(row)}: none for {duration(self.resolve_after)}"
        book.resolve(
            row,
            self.alert_type,
            text,
            judged_at,
            value=1.0,
            summary=self.summary,
            runbook_url=self.runbook_url,
            owner=self.owner,
        )

    def _describe(self, event: Event) -> str:
        return self.description.format_map({name: as_text(getattr(event, name)) for name in _named(self.description)})
