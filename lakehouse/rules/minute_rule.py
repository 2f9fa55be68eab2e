"""Rules that give a verdict on each closed minute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from json import loads
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from lakehouse.kpis import OTHER
from lakehouse.rules.alerts import stable_id
from lakehouse.rules.book import AlertBook
from lakehouse.rules.closing import Closing, closed_to, closing
from lakehouse.rules.minute import MINUTE, Span, floor_minute
from lakehouse.rules.moment import Moment
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Rule, WholeMinutes, duration, number
from lakehouse.rules.state import CLOCK, RuleState, State, entity_text, who


class MinuteRule(Rule):
    """Judges closed minutes, each once, in order.

    Fires when a minute was outside for `for` in a row, resolves when it was inside for `keep_firing_for` in a row; a
    minute that cannot be judged breaks both rows.
    """

    for_: Annotated[WholeMinutes, Field(alias="for")]
    keep_firing_for: WholeMinutes

    @property
    @abstractmethod
    def topics(self) -> tuple[str, ...]:
        """The topics whose read_to closes a minute."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of an entity's values."""

    @abstractmethod
    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        """What gives the verdicts on the minutes that end at `ends`."""

    @property
    def watches(self) -> bool:
        """Whether the rule is about silence or too little: it says nothing of minutes that nobody watched."""
        return False

    @property
    def listens_to(self) -> str | None:
        """The topic of whose newest event the rule must know, None for a rule that needs none."""
        return None

    @property
    def looks_back(self) -> timedelta:
        """How much of the past, the minute itself included, one verdict is on; all of it must have been watched."""
        return MINUTE

    @property
    def lead(self) -> timedelta:
        """How long before an incident's starts_at the first minute outside began."""
        return self.for_ + self.looks_back - MINUTE

    @property
    def reads(self) -> str | None:
        """The KPI table whose rows the rule needs, None for a rule that needs none."""
        return None

    def bounded(self, kpis: Mapping[str, pa.Table]) -> Set[datetime]:
        """The ends of minutes in which one row stands for several entities, or for rows that `where` may want."""
        return frozenset()

    def spans(self, ends: Sequence[datetime], open_since: datetime | None) -> list[Span]:
        """The window_end of the rows that the minutes ending at `ends` need: all with from < window_end <= to.

        open_since: when the first minute outside of the oldest open entity began.
        """
        return [(ends[0] - self.looks_back, ends[-1])]

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

    def describe_resolved(self, whose: str, reading: Reading) -> str:
        """The sentence of the RESOLVED row."""
        limit = f", inside the limit of {number(reading.threshold)}" if reading.threshold is not None else ", as usual"
        return f"{self.alert_type}{whose}: {number(reading.value)}{limit} for {duration(self.keep_firing_for)}"

    def due(self, state: State, moment: Moment, max_lookback: timedelta) -> Mapping[str, Sequence[Span]]:
        if self.reads is None:
            return {}
        ends = self._closing(state, moment, max_lookback).judged
        if not ends:
            return {}
        rows = [row for row in state.values() if row.rule == self.name and row.entity != CLOCK]
        oldest = min(self._open_since(rows).values(), default=None)
        return {self.reads: self.spans(ends, oldest)}

    def tick(self, book: AlertBook, moment: Moment, kpis: Mapping[str, pa.Table], max_lookback: timedelta) -> None:
        """Judge the minutes that close now and set the rule's clock. Without the rows that are due they wait."""
        self._listen(book, moment)
        closes = self._closing(book.state, moment, max_lookback)
        if not closes.ends:
            return
        clock = book.state[self.name, CLOCK]
        judge: Judge | None = None
        bounded: Set[datetime] = frozenset()
        if ends := closes.judged:
            if self.reads is not None and self.reads not in kpis:
                return
            judge = self.judge(ends, Inputs(kpis, moment.first_event_at, clock.newest_received_at, moment.read))
            bounded = self.bounded(kpis)
        for end, judged in closes.ends:
            rows = book.entities(self.name)
            readings = judge(end, self._open_since(rows)) if judge is not None and judged else None
            if readings is not None and end in bounded:
                # An entity without a row of its own may be in the row that stands for many: it is not zero.
                readings = {entity: found for entity, found in readings.items() if OTHER not in entity and found.value}
                _gap(book, [row for row in rows if tuple(loads(row.entity)) not in readings])
                rows = [row for row in rows if tuple(loads(row.entity)) in readings]
                if not self.columns:
                    readings = None  # of the whole shop a part is not known
            if readings is None:
                _gap(book, rows)
            else:
                self._minute(book, rows, end, readings)
        book.put(replace(clock, judged_to=closes.ends[-1][0], inside_since=closes.seen_since))

    def _closing(self, state: State, moment: Moment, max_lookback: timedelta) -> Closing:
        return closing(
            state.get((self.name, CLOCK)),
            moment,
            self.topics,
            watches=self.watches,
            looks_back=self.looks_back,
            max_lookback=max_lookback,
        )

    def _open_since(self, rows: Sequence[RuleState]) -> dict[Entity, datetime]:
        """When the first minute outside of each entity began that is pending or firing."""
        found = {}
        for row in rows:
            began = row.pending_since if row.starts_at is None else row.starts_at - self.for_
            if began is not None:
                found[tuple(loads(row.entity))] = began
        return found

    def _listen(self, book: AlertBook, moment: Moment) -> None:
        """Start the rule's clock at the present, and note the newest event that the rule listens to."""
        clock = book.state.get((self.name, CLOCK))
        topic = self.listens_to
        if clock is None:
            newest_end = closed_to(self.topics, moment)
            if newest_end is None:
                return
            seen_since = newest_end if self.looks_back > MINUTE else None
            clock = RuleState(self.name, CLOCK, judged_to=newest_end, inside_since=seen_since)
            if topic is not None and topic in moment.first_event_at:
                # The topic spoke before the rule was there: its silence counts from here.
                clock = replace(clock, newest_received_at=newest_end - MINUTE)
            book.put(clock)
        newest = moment.received.get(topic) if topic is not None else None
        known = clock.newest_received_at
        if newest is not None and (known is None or newest >= floor_minute(known) + MINUTE):
            book.put(replace(clock, newest_received_at=floor_minute(newest)))

    def _minute(
        self, book: AlertBook, rows: Sequence[RuleState], end: datetime, readings: Mapping[Entity, Reading]
    ) -> None:
        known = {row.entity: row for row in rows}
        entities = {entity_text(entity): entity for entity in readings}
        for text in [*entities, *(text for text in known if text not in entities)]:
            entity = entities[text] if text in entities else tuple(loads(text))
            row = known.get(text) or RuleState(self.name, text)
            reading = readings.get(entity) or Reading(0.0)
            # An entity of other columns is left from before the rule's `by` was changed: it may only end.
            if reading.outside and len(entity) == len(self.columns):
                self._outside(book, row, entity, end, reading)
            else:
                self._inside(book, row, end, reading)

    def _outside(self, book: AlertBook, row: RuleState, entity: Entity, end: datetime, reading: Reading) -> None:
        pending_since = row.pending_since or end - MINUTE
        row = replace(row, pending_since=pending_since, inside_since=None)
        if row.incident_id is None and end - pending_since >= self.for_:
            alert_id = stable_id(self.name, row.entity, end - MINUTE)
            incident_id = stable_id(self.name, row.entity, alert_id)
            service_name = dict(zip(self.columns, entity, strict=False)).get("service_name")
            row = replace(
                row,
                incident_id=incident_id,
                starts_at=end,
                newest_received_at=end,
                severity=self.severity,
                service_name=service_name,
            )
            alert = self._fires(
                alert_id,
                self.describe(entity, reading),
                end,
                incident_id=incident_id,
                starts_at=end,
                service_name=service_name,
                received_at=end,
                value=reading.value,
                threshold=reading.threshold,
            )
            book.alerts.append(alert)
        book.put(row)

    def _inside(self, book: AlertBook, row: RuleState, end: datetime, reading: Reading) -> None:
        if row.incident_id is None:
            book.drop(row)
            return
        inside_since = row.inside_since or end - MINUTE
        if end - inside_since < self.keep_firing_for:
            book.put(replace(row, pending_since=None, inside_since=inside_since))
            return
        book.resolve(
            row,
            self.alert_type,
            self.describe_resolved(who(row), reading),
            end,
            value=reading.value,
            threshold=reading.threshold,
            summary=self.summary,
            runbook_url=self.runbook_url,
            owner=self.owner,
        )


def _gap(book: AlertBook, rows: Sequence[RuleState]) -> None:
    """Minutes that say nothing: whoever was pending or recovering begins anew."""
    for row in rows:
        if row.incident_id is None:
            book.drop(row)
        elif row.inside_since is not None or row.pending_since is not None:
            book.put(replace(row, pending_since=None, inside_since=None))
