"""Who plays in the tests of alerting: the caller of evaluate, and rows of KPI tables by minutes past noon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from lakehouse import ROOT
from lakehouse.events import ErrorEvent
from lakehouse.rules import Alert, Moment, Received, Rule, State, due, evaluate, load_rules, state_from_rows, state_rows
from lakehouse.tables import ERRORS_PER_MINUTE, RULE_STATE, TABLES, arrow_schema

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
MAX_AGE = timedelta(hours=1)
LOOKBACK = timedelta(minutes=15)
RULES = load_rules(ROOT / "config" / "alerts.yaml")
TOPICS = ("orders_topic", "clicks_topic", "errors_topic")


def rule(name: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.name == name)


def errors(*rows: tuple[int, str, str, int]) -> pa.Table:
    """errors_per_minute rows of (minutes past noon, service, severity, count)."""
    return pa.Table.from_pylist(
        [
            {
                "window_start": NOON + minute * MINUTE,
                "window_end": NOON + (minute + 1) * MINUTE,
                "service_name": service,
                "severity": severity,
                "error_count": count,
                "updated_at": NOON,
            }
            for minute, service, severity, count in rows
        ],
        schema=arrow_schema(ERRORS_PER_MINUTE),
    )


@dataclass
class Ingest:
    """The caller of evaluate: it keeps the state, and gives the rows that are due and no others."""

    rules: Sequence[Rule]
    kpis: dict[str, pa.Table] = field(default_factory=dict)
    state: State = field(default_factory=dict)
    first_event_at: dict[str, datetime] = field(default_factory=dict)
    unreadable: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    unwatched: list[tuple[datetime, datetime]] = field(default_factory=list)
    read: dict[str, dict[datetime, tuple[int, int]]] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    asked: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    def tick(
        self,
        read_to: datetime,
        *events: tuple[ErrorEvent, datetime] | Received,
        now: datetime | None = None,
        received: dict[str, datetime] | None = None,
    ) -> list[Alert]:
        """One batch or tick, with every topic read to one time; a bare (event, received_at) is of errors_topic."""
        moment = Moment(
            now or read_to,
            dict.fromkeys(TOPICS, read_to),
            received or {},
            self.first_event_at,
            self.unreadable,
            self.unwatched,
            self.read,
        )
        heard = [event if isinstance(event, Received) else Received("errors_topic", *event) for event in events]
        rows = {}
        for table, spans in due(self.rules, self.state, moment, LOOKBACK).items():
            self.asked += [(table, start, end) for start, end in spans]
            whole = self.kpis.get(table, arrow_schema(TABLES[table]).empty_table())
            ends = whole["window_end"].to_pylist()
            keep = [any(start < window_end <= end for start, end in spans) for window_end in ends]
            rows[table] = whole.filter(pa.array(keep, pa.bool_()))
        alerts, self.state = evaluate(
            self.rules, self.state, moment, events=heard, kpis=rows, max_age=MAX_AGE, max_lookback=LOOKBACK
        )
        self.alerts += alerts
        return alerts

    def minutes(self, first: int, last: int) -> list[str]:
        """Tick once for each minute past noon that closes; what happened, as 'minute STATUS service'."""
        told = []
        for minute in range(first, last + 1):
            end = NOON + (minute + 1) * MINUTE
            told += [f"{minute} {alert.status} {alert.service_name}" for alert in self.tick(end + 11 * SECOND)]
        return told

    def restart(self) -> None:
        """What a kill -9 after a publish leaves: the rows of rule_state."""
        rows = pa.Table.from_pylist(state_rows(self.state, NOON), schema=arrow_schema(RULE_STATE)).to_pylist()
        self.state = state_from_rows(rows)


def started(rules: Sequence[Rule], **kwargs: object) -> Ingest:
    """An ingest whose rules have judged everything up to noon."""
    ingest = Ingest(rules, **kwargs)  # type: ignore[arg-type]  # passed on as they are
    ingest.tick(NOON + 11 * SECOND)
    return ingest
