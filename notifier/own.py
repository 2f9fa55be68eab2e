"""Alerts of the notifier's own: what keeps people from being told. They go through the ledger as others do."""

from __future__ import annotations

from datetime import datetime

from notifier.clock import to_ms
from notifier.model import FATAL, AlertRow, AlertSource

CHANNEL = "tillwatch_channel"
"""The rule of a place that somebody has to mend."""
DATA = "tillwatch_data"
"""The rule of alerts that nobody judges."""
GIVEN_UP = "tillwatch_given_up"
"""The rule of a place that was not told of something, and will not be."""
MISSED = "tillwatch_missed"
"""The rule of what began and ended while a place was parked."""
QUESTION = "tillwatch_question"
"""The rule of a rule that asks and cannot be judged."""
RULES = (CHANNEL, DATA, GIVEN_UP, MISSED, QUESTION)


def fires(rule: str, whose: str, text: str, at: datetime, severity: str = FATAL) -> AlertRow:
    """Something is wrong since now. whose: what it is wrong with, the incident's service."""
    incident = f"{rule} {whose} {to_ms(at)}"
    return _alert(rule, whose, text, at, incident, at, "FIRING", severity)


def ends(before: AlertRow, text: str, at: datetime) -> AlertRow:
    """It is mended. before: the alert that said it was wrong."""
    whose, began = before.service_name or "", before.starts_at
    return _alert(before.rule, whose, text, at, before.incident_id, began, "RESOLVED", before.severity)


def _alert(
    rule: str, whose: str, text: str, at: datetime, incident: str, starts_at: datetime, status: str, severity: str
) -> AlertRow:
    return AlertRow(
        alert_id=f"{incident} {status}",
        incident_id=incident,
        alert_type=rule.upper(),
        rule=rule,
        severity=severity,
        status=status,
        description=text,
        alert_timestamp=at,
        received_at=at,
        ingested_at=at,
        starts_at=starts_at,
        commit="none",
        service_name=whose,
        source=AlertSource.OWN,
    )
