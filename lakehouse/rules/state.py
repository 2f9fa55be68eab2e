"""Where each rule stands between two evaluations, as the table rule_state keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.rules.minute import floor_minute

# The row that holds judged_to of a minute rule; an entity is a JSON list and cannot meet it.
CLOCK = ""
# A rule is ahead of now by less: minutes that cannot be judged are closed beforehand.
AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RuleState:
    """One rule and entity that is pending or firing, or the rule's clock.

    A clock has judged_to; where the rule listens to a topic newest_received_at (to the minute, so that it changes once
    a minute); for a rule whose verdict is on several minutes inside_since, before which none was seen. An entity is
    firing while it has an incident_id; newest_received_at is that of its newest alert.
    """

    rule: str
    entity: str
    judged_to: datetime | None = None
    pending_since: datetime | None = None
    inside_since: datetime | None = None
    incident_id: str | None = None
    starts_at: datetime | None = None
    newest_received_at: datetime | None = None
    severity: str | None = None
    service_name: str | None = None


_COLUMNS = tuple(field.name for field in fields(RuleState))

type State = Mapping[tuple[str, str], RuleState]
"""(rule, entity) -> where it stands. Entities that are resolved and idle are not in it."""


def entity_text(entity: tuple[str, ...]) -> str:
    """The entity as rule_state names it: a JSON list."""
    return json.dumps(entity, ensure_ascii=False, separators=(",", ":"))


def who(row: RuleState) -> str:
    """` of payments`, or nothing where the rule judges the whole shop."""
    values = ", ".join(json.loads(row.entity)) if row.entity != CLOCK else ""
    return f" of {values}" if values else ""


def brought_back(state: State, now: datetime) -> State:
    """The state without times of a clock that was ahead: what lies over AHEAD past now becomes now's minute.

    Else a rule would wait in silence, and an incident stay open, until that time comes. The same State object where
    nothing lies ahead. starts_at stays, for rows that are published have it.
    """
    limit = now + AHEAD
    # Without a call for each row: every tick asks.
    ahead = [
        row
        for row in state.values()
        if (row.judged_to or now) > limit
        or (row.pending_since or now) > limit
        or (row.inside_since or now) > limit
        or (row.newest_received_at or now) > limit
    ]
    if not ahead:
        return state
    return {**state, **{(row.rule, row.entity): _brought_back(row, limit, floor_minute(now)) for row in ahead}}


def _brought_back(row: RuleState, limit: datetime, minute: datetime) -> RuleState:
    def back(time: datetime | None) -> datetime | None:
        return minute if time is not None and time > limit else time

    return replace(
        row,
        judged_to=back(row.judged_to),
        pending_since=back(row.pending_since),
        inside_since=back(row.inside_since),
        newest_received_at=back(row.newest_received_at),
    )


def state_rows(state: State, updated_at: datetime) -> list[dict[str, Any]]:
    """All rows of rule_state."""
    # Not asdict, which copies what no row can change: with 10,000 open incidents each publish waited for it.
    return [{name: getattr(row, name) for name in _COLUMNS} | {"updated_at": updated_at} for row in state.values()]


def state_from_rows(rows: Iterable[Mapping[str, Any]]) -> State:
    """The state that rows of rule_state hold; times without a zone are UTC."""
    states = (RuleState(**{name: _utc(value) for name, value in row.items() if name != "updated_at"}) for row in rows)
    return {(state.rule, state.entity): state for state in states}


def _utc(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value
