"""Severities, from the mildest to the worst, and statuses of an order: as the contract declares them."""

from __future__ import annotations

from lakehouse.topics import choices_of

SEVERITIES = choices_of("errors_topic", "severity")
STATUSES = choices_of("orders_topic", "status")

FAILURES = SEVERITIES[-2:]
"""What is counted as an error: the two worst. The milder ones are messages."""

WORST = SEVERITIES[-1]

UNSAID = SEVERITIES[1]
"""What an alert is shown as that has no severity."""

__all__ = ["FAILURES", "SEVERITIES", "STATUSES", "UNSAID", "WORST"]
