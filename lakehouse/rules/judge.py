"""From events and closed minutes to alert rows. Pure: what it needs is passed in, what it finds is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import pyarrow as pa

from lakehouse.events import Event
from lakehouse.rules.alerts import Alert
from lakehouse.rules.book import AlertBook
from lakehouse.rules.minute import Span, joined
from lakehouse.rules.moment import Moment, Received
from lakehouse.rules.rule import Rule
from lakehouse.rules.state import State, brought_back, who


def _by_topic(rules: Sequence[Rule]) -> Mapping[str, Sequence[Rule]]:
    """The rules that alert on events, by the topic of these."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.alerts_on is not None:
            found.setdefault(rule.alerts_on, []).append(rule)
    return found


def alerting_events(rules: Sequence[Rule]) -> Mapping[str, Callable[[Event], bool]]:
    """By topic, a test for events that some rule alerts on: evaluate must hear of them, and they are published at once.

    A topic whose events no rule alerts on is not in it.
    """
    return {topic: _any_matches([rule.matches for rule in of_topic]) for topic, of_topic in _by_topic(rules).items()}


def _any_matches(matchers: Sequence[Callable[[Event], bool]]) -> Callable[[Event], bool]:
    return lambda event: any(matches(event) for matches in matchers)


def due(rules: Sequence[Rule], state: State, moment: Moment, max_lookback: timedelta) -> dict[str, tuple[Span, ...]]:
    """KPI table -> spans, ascending and apart: evaluate needs all rows with from < window_end <= to of one of them.

    Empty but for a few times a minute. A rule that knows what is usual asks for some hours and the same minutes of
    past days too: at most 4 h and 14 spans of under an hour (the shipped ones: 34 min and 7 spans of 24 min).
    """
    wanted: dict[str, list[Span]] = {}
    state = brought_back(state, moment.now)
    for rule in rules:
        for table, spans in rule.due(state, moment, max_lookback).items():
            wanted.setdefault(table, []).extend(spans)
    return {table: joined(spans) for table, spans in wanted.items()}


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
    2. Each event that a rule matches gives one FIRING row, in the order of received_at.
    3. Each rule, in order, judges what time has made due: an event rule resolves the incidents that had no row for
       resolve_after of the log's time; a rule of minutes judges those that closed, in order, each once; without the
       rows that `due` asks for they wait.

    events: those that alerting_events lets through suffice; duplicates are dropped before.
    The same State object comes back when nothing changed. A state that was not published must not be built upon: a
    failed publish evaluates again from the last one.
    """
    book = AlertBook(brought_back(state, moment.now), state)
    known = {rule.name for rule in rules}
    for row in list(book.state.values()):
        if row.rule in known:
            continue
        if row.incident_id is None:
            book.drop(row)
        else:
            alert_type = row.rule.upper()
            book.resolve(row, alert_type, f"{alert_type}{who(row)}: the rule was taken out", moment.now)
    if events:
        hearing = _by_topic(rules)
        for received in sorted(events, key=lambda received: received.received_at):
            for rule in hearing.get(received.topic, ()):
                if rule.matches(received.event):
                    rule.hear(received, book, max_age)
    for rule in rules:
        rule.tick(book, moment, kpis or {}, max_lookback)
    return book.alerts, book.state if book.changed else state
