"""From events and closed minutes to alert rows. Pure: what it needs is passed in, what it finds is returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from json import loads

import pyarrow as pa

from lakehouse.decode import Event
from lakehouse.rules.alerts import Alert, is_old, stable_id
from lakehouse.rules.limits import NoDataRule
from lakehouse.rules.rule import (
    ERRORS_TOPIC,
    MINUTE,
    Entity,
    EventRule,
    Inputs,
    Judge,
    MinuteRule,
    Reading,
    Rule,
    Span,
    floor_minute,
)
from lakehouse.rules.state import CLOCK, RuleState, State, brought_back, entity_text

# A minute closes this long after its end, so that events on their way are in.
CLOSING_DELAY = timedelta(seconds=10)
# After a time when the log could not be read, producers send what they kept: minutes that are not judged either.
SETTLING = 2 * MINUTE
# A silence counts while it is watched: after a longer pause of ingest it counts anew, or every morning's start of a
# laptop would tell of the night.
WATCHED_WITHIN = timedelta(minutes=2)

type Received = tuple[Event, datetime]
"""An event and its received_at."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of the logs at one batch or tick. Topics may be left out where nothing is known.

    now: wall clock when the batch or tick began.
    read_to: log time up to which a topic is in, the smallest over its partitions.
    received: received_at of the newest event this batch holds of a topic (any kind of event).
    first_event_at: event time of a topic's earliest event ever.
    unreadable: times [from, to) in which a topic could not be read, or whose events are lost; the last 15 minutes'
        and the one that lasts (to: now). May be passed again.
    unwatched: times [from, to) in which nothing was judged: rules about silence or too little leave them out.
    read: messages of a topic, and rejected ones, by the minute (its start) of the log's time.
    """

    now: datetime
    read_to: Mapping[str, datetime]
    received: Mapping[str, datetime] = field(default_factory=dict)
    first_event_at: Mapping[str, datetime] = field(default_factory=dict)
    unreadable: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    unwatched: Sequence[Span] = ()
    read: Mapping[str, Mapping[datetime, tuple[int, int]]] = field(default_factory=dict)


def due(rules: Sequence[Rule], state: State, moment: Moment, max_lookback: timedelta) -> dict[str, tuple[Span, ...]]:
    """KPI table -> spans, ascending and apart: evaluate needs all rows with from < window_end <= to of one of them.

    Empty but for a few times a minute. A rule that knows what is usual asks for some hours and the same minutes of
    past days too: at most 4 h and 14 spans of under an hour (the shipped ones: 34 min and 7 spans of 24 min).
    """
    wanted: dict[str, list[Span]] = {}
    state = brought_back(state, moment.now)
    for rule in rules:
        if not isinstance(rule, MinuteRule) or rule.reads is None:
            continue
        ends = [end for end, judged in _closing(rule, state, moment, max_lookback)[0] if judged]
        if ends:
            oldest = min(_open_since(rule, state).values(), default=None)
            wanted.setdefault(rule.reads, []).extend(rule.spans(ends, oldest))
    return {table: _joined(spans) for table, spans in wanted.items()}


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans that touch become one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def evaluate(
    rules: Sequence[Rule],
    state: State,
    moment: Moment,
    *,
    events: Sequence[Received] = (),
    kpis: Mapping[str, pa.Table] | None = None,
    max_age: timedelta,
    max_lookback: timedelta,
) -> tuple[list[Alert], State]:
    """The alert rows of one batch or tick, and the state to publish with them.

    1. Incidents of rules that were taken out are resolved.
    2. Each event that an event rule matches gives one FIRING row, in the order of received_at.
    3. Event rules' incidents that had no row for resolve_after of the log's time are resolved.
    4. Minutes that closed are judged, in order, each once; without the rows that `due` asks for they wait.

    events: those that alerting_events lets through suffice; duplicates are dropped before.
    The same State object comes back when nothing changed. A state that was not published must not be built upon: a
    failed publish evaluates again from the last one.
    """
    book = _Book(brought_back(state, moment.now), state)
    by_name = {rule.name: rule for rule in rules}
    for key, row in list(book.state.items()):
        if key[0] not in by_name:
            book.forget(row, moment.now)
    if events:
        event_rules = [rule for rule in rules if isinstance(rule, EventRule)]
        for event, received_at in sorted(events, key=lambda received: received[1]):
            for event_rule in event_rules:
                if event_rule.matches(event):
                    book.event(event_rule, event, received_at, max_age)
    read_to = moment.read_to.get(ERRORS_TOPIC)
    if read_to is not None:
        for row in list(book.state.values()):
            of_row = by_name.get(row.rule)
            if not isinstance(of_row, EventRule):
                continue
            if row.incident_id is None:
                book.drop(row)  # its rule was a minute rule before
            elif read_to >= _ends_at(of_row, row):
                book.resolve_event(of_row, row, read_to)
    for minute_rule in rules:
        if isinstance(minute_rule, MinuteRule):
            book.minutes(minute_rule, moment, kpis or {}, max_lookback)
    return book.alerts, book.state if book.changed else state


def _ends_at(rule: EventRule, row: RuleState) -> datetime:
    """When the incident is over, unless it gets another alert, in log time."""
    # A rule that was a minute rule before left an incident without a newest alert.
    newest = row.newest_received_at or row.starts_at
    assert newest is not None
    return newest + rule.resolve_after


def _closing(
    rule: MinuteRule, state: State, moment: Moment, max_lookback: timedelta
) -> tuple[list[tuple[datetime, bool]], datetime | None]:
    """(end, whether it is judged) of the minutes that close now, in order; a run of unjudged ones may be one entry.

    And the time before which nothing was seen, for a rule whose verdict is on more than the minute itself.
    """
    clock = state.get((rule.name, CLOCK))
    closed_to = _closed_to(rule, moment)
    if clock is None or clock.judged_to is None or closed_to is None:
        return [], None
    closing: list[tuple[datetime, bool]] = []
    done, seen_since = clock.judged_to, clock.inside_since
    blind = [
        (floor_minute(start), max(_ceil_minute(end), floor_minute(start) + MINUTE) + SETTLING)
        for topic in rule.topics
        for start, end in moment.unreadable.get(topic, ())
    ]
    oldest = moment.now - max_lookback
    if rule.watches:
        oldest = max(oldest, moment.now - WATCHED_WITHIN)
        blind += [(floor_minute(start), _ceil_minute(end)) for start, end in moment.unwatched]
    if done + MINUTE < oldest:
        # In one step: years may have passed.
        skipped = closed_to if rule.watches else min(closed_to, floor_minute(oldest - timedelta(microseconds=1)))
        if skipped > done:
            closing.append((skipped, False))
            done = seen_since = skipped
    while done < closed_to:
        seen = not any(start < done + MINUTE and done < end for start, end in blind)
        done += MINUTE
        if not seen:
            seen_since = done
        closing.append((done, seen and (seen_since is None or done - rule.looks_back >= seen_since)))
    # The blind minutes ahead are closed beforehand, so that a restart does not forget them.
    ahead = max((end for start, end in blind if start <= done < end), default=None)
    if ahead is not None:
        closing.append((ahead, False))
        seen_since = ahead
    return closing, seen_since if rule.looks_back > MINUTE else None


def _open_since(rule: MinuteRule, state: State) -> dict[Entity, datetime]:
    """When the first minute outside of each entity began that is pending or firing."""
    found = {}
    for row in state.values():
        if row.rule == rule.name and row.entity != CLOCK:
            began = row.pending_since if row.starts_at is None else row.starts_at - rule.for_
            if began is not None:
                found[tuple(loads(row.entity))] = began
    return found


def _closed_to(rule: MinuteRule, moment: Moment) -> datetime | None:
    """End of the newest closed minute of the rule's topics."""
    read_to = [moment.read_to.get(topic) for topic in rule.topics]
    known = [time for time in read_to if time is not None]
    if len(known) < len(read_to):
        return None
    # Past, not at: hence the microsecond.
    return floor_minute(min(known) - CLOSING_DELAY - timedelta(microseconds=1))


def _ceil_minute(time: datetime) -> datetime:
    start = floor_minute(time)
    return start if start == time else start + MINUTE


class _Book:
    """The rows and the state while one evaluation runs."""

    def __init__(self, state: State, published: State) -> None:
        self.alerts: list[Alert] = []
        self.state = dict(state)
        self.changed = state is not published

    def put(self, row: RuleState) -> None:
        self.state[row.rule, row.entity] = row
        self.changed = True

    def drop(self, row: RuleState) -> None:
        if self.state.pop((row.rule, row.entity), None) is not None:
            self.changed = True

    def forget(self, row: RuleState, now: datetime) -> None:
        """End what a rule left behind that is no longer in the file."""
        self.drop(row)
        if row.incident_id is not None:
            text = f"{row.rule.upper()}{_who(row)}: the rule was taken out"
            self.alerts.append(_resolved(row, row.rule.upper(), text, now, 0.0, None, None, None))

    def event(self, rule: EventRule, event: Event, received_at: datetime, max_age: timedelta) -> None:
        entity = rule.entity(event)
        text = entity_text(entity)
        alert_id = stable_id(rule.name, text, event.event_key, event.error_ts)
        if is_old(event.error_ts, received_at, max_age):
            # Told by its hour alone, whatever came before it: the same after any replay.
            hour = event.error_ts.replace(minute=0, second=0, microsecond=0)
            incident_id, starts_at = stable_id(rule.name, text, hour), hour
        else:
            service_name: str | None
            row = self.state.get((rule.name, text))
            if row is not None and row.incident_id is not None and received_at >= _ends_at(rule, row):
                # No tick came between; the log's time says that it was over.
                self.resolve_event(rule, row, received_at)
                row = None
            if row is None or row.incident_id is None or row.starts_at is None:
                incident_id, starts_at = stable_id(rule.name, text, alert_id), event.error_ts
                service_name, newest = event.service_name, received_at
            else:
                incident_id, starts_at, service_name = row.incident_id, row.starts_at, row.service_name
                newest = max(received_at, row.newest_received_at or received_at)
            self.put(
                RuleState(
                    rule.name,
                    text,
                    incident_id=incident_id,
                    starts_at=starts_at,
                    newest_received_at=newest,
                    severity=rule.severity,
                    service_name=service_name,
                )
            )
        self.alerts.append(
            Alert(
                alert_id=alert_id,
                alert_type=rule.alert_type,
                description=rule.describe(event),
                alert_timestamp=event.error_ts,
                metric_value=1.0,
                status="FIRING",
                incident_id=incident_id,
                starts_at=starts_at,
                rule=rule.name,
                severity=rule.severity,
                service_name=event.service_name,
                threshold=None,
                summary=rule.summary,
                runbook_url=rule.runbook_url,
                received_at=received_at,
            )
        )

    def resolve_event(self, rule: EventRule, row: RuleState, judged_at: datetime) -> None:
        self.drop(row)
        text = rule.describe_resolved(_who(row))
        self.alerts.append(_resolved(row, rule.alert_type, text, judged_at, 1.0, None, rule.summary, rule.runbook_url))

    def minutes(self, rule: MinuteRule, moment: Moment, kpis: Mapping[str, pa.Table], max_lookback: timedelta) -> None:
        """Judge the rule's minutes that close now and set its clock."""
        self._listen(rule, moment)
        closing, seen_since = _closing(rule, self.state, moment, max_lookback)
        if not closing:
            return
        ends = [end for end, judged in closing if judged]
        clock = self.state[rule.name, CLOCK]
        judge: Judge | None = None
        if ends:
            if rule.reads is not None and rule.reads not in kpis:
                return
            judge = rule.judge(ends, Inputs(kpis, moment.first_event_at, clock.newest_received_at, moment.read))
        for end, judged in closing:
            readings = judge(end, _open_since(rule, self.state)) if judge is not None and judged else None
            if readings is None:
                self._gap(rule)
            else:
                self._minute(rule, end, readings)
        self.put(replace(clock, judged_to=closing[-1][0], inside_since=seen_since))

    def _listen(self, rule: MinuteRule, moment: Moment) -> None:
        """Start the rule's clock at the present, and note the newest event where the rule counts silence."""
        clock = self.state.get((rule.name, CLOCK))
        if clock is None:
            closed_to = _closed_to(rule, moment)
            if closed_to is None:
                return
            seen_since = closed_to if rule.looks_back > MINUTE else None
            clock = RuleState(rule.name, CLOCK, judged_to=closed_to, inside_since=seen_since)
            if isinstance(rule, NoDataRule) and rule.topic in moment.first_event_at:
                # The topic spoke before the rule was there: its silence counts from here.
                clock = replace(clock, newest_received_at=closed_to - MINUTE)
            self.put(clock)
        if isinstance(rule, NoDataRule):
            newest = moment.received.get(rule.topic)
            known = clock.newest_received_at
            if newest is not None and (known is None or newest >= floor_minute(known) + MINUTE):
                self.put(replace(clock, newest_received_at=floor_minute(newest)))

    def _gap(self, rule: MinuteRule) -> None:
        """Minutes that say nothing: whoever was pending or recovering begins anew."""
        for row in self._open(rule):
            if row.incident_id is None:
                self.drop(row)
            elif row.inside_since is not None or row.pending_since is not None:
                self.put(replace(row, pending_since=None, inside_since=None))

    def _minute(self, rule: MinuteRule, end: datetime, readings: Mapping[Entity, Reading]) -> None:
        rows = {row.entity: row for row in self._open(rule)}
        entities = {entity_text(entity): entity for entity in readings}
        for text in [*entities, *(text for text in rows if text not in entities)]:
            entity = entities[text] if text in entities else tuple(loads(text))
            row = rows.get(text) or RuleState(rule.name, text)
            reading = readings.get(entity) or Reading(0.0)
            # An entity of other columns is left from before the rule's `by` was changed: it may only end.
            if reading.outside and len(entity) == len(rule.columns):
                self._outside(rule, row, entity, end, reading)
            else:
                self._inside(rule, row, end, reading)

    def _outside(self, rule: MinuteRule, row: RuleState, entity: Entity, end: datetime, reading: Reading) -> None:
        row = replace(row, pending_since=row.pending_since or end - MINUTE, inside_since=None)
        assert row.pending_since is not None
        if row.incident_id is None and end - row.pending_since >= rule.for_:
            alert_id = stable_id(rule.name, row.entity, end - MINUTE)
            service_name = dict(zip(rule.columns, entity, strict=False)).get("service_name")
            row = replace(
                row,
                incident_id=stable_id(rule.name, row.entity, alert_id),
                starts_at=end,
                newest_received_at=end,
                severity=rule.severity,
                service_name=service_name,
            )
            assert row.incident_id is not None
            self.alerts.append(
                Alert(
                    alert_id=alert_id,
                    alert_type=rule.alert_type,
                    description=rule.describe(entity, reading),
                    alert_timestamp=end,
                    metric_value=reading.value,
                    status="FIRING",
                    incident_id=row.incident_id,
                    starts_at=end,
                    rule=rule.name,
                    severity=rule.severity,
                    service_name=service_name,
                    threshold=reading.threshold,
                    summary=rule.summary,
                    runbook_url=rule.runbook_url,
                    received_at=end,
                )
            )
        self.put(row)

    def _inside(self, rule: MinuteRule, row: RuleState, end: datetime, reading: Reading) -> None:
        if row.incident_id is None:
            self.drop(row)
            return
        row = replace(row, pending_since=None, inside_since=row.inside_since or end - MINUTE)
        assert row.inside_since is not None
        if end - row.inside_since < rule.keep_firing_for:
            self.put(row)
            return
        self.drop(row)
        text = rule.describe_resolved(_who(row), reading)
        value, limit = reading.value, reading.threshold
        self.alerts.append(_resolved(row, rule.alert_type, text, end, value, limit, rule.summary, rule.runbook_url))

    def _open(self, rule: MinuteRule) -> list[RuleState]:
        return [row for row in self.state.values() if row.rule == rule.name and row.entity != CLOCK]


def _who(row: RuleState) -> str:
    """` of payments`, or nothing where the rule judges the whole shop."""
    values = ", ".join(loads(row.entity)) if row.entity != CLOCK else ""
    return f" of {values}" if values else ""


def _resolved(
    row: RuleState,
    alert_type: str,
    text: str,
    judged_at: datetime,
    value: float,
    threshold: float | None,
    summary: str | None,
    runbook_url: str | None,
) -> Alert:
    assert row.incident_id is not None
    assert row.starts_at is not None
    return Alert(
        alert_id=stable_id(row.incident_id, "RESOLVED"),
        alert_type=alert_type,
        description=f"Resolved: {text}",
        alert_timestamp=judged_at,
        metric_value=value,
        status="RESOLVED",
        incident_id=row.incident_id,
        starts_at=row.starts_at,
        rule=row.rule,
        severity=row.severity or "ERROR",
        service_name=row.service_name,
        threshold=threshold,
        summary=summary,
        runbook_url=runbook_url,
        received_at=judged_at,
    )
