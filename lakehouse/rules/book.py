"""The alert rows found so far and the state as it stands, while one evaluation runs."""

from __future__ import annotations

from datetime import datetime

from lakehouse.rules.alerts import Alert, stable_id
from lakehouse.rules.state import CLOCK, RuleState, State


class AlertBook:
    """What one evaluation writes: `alerts`, and `state` with whether it was `changed`."""

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

    def entities(self, rule: str) -> list[RuleState]:
        """The rule's rows that are pending or firing."""
        return [row for row in self.state.values() if row.rule == rule and row.entity != CLOCK]

    def resolve(
        self,
        row: RuleState,
        alert_type: str,
        text: str,
        judged_at: datetime,
        *,
        value: float = 0.0,
        threshold: float | None = None,
        summary: str | None = None,
        runbook_url: str | None = None,
        owner: str | None = None,
    ) -> None:
        """End the row and its incident, with a RESOLVED row that says `text`."""
        assert row.incident_id is not None
        assert row.starts_at is not None
        self.drop(row)
        self.alerts.append(
            Alert(
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
                owner=owner,
                received_at=judged_at,
            )
        )
