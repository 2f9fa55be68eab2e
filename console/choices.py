"""Severities, from the mildest to the worst, statuses of an order, devices: as the contract declares them."""

from __future__ import annotations

from lakehouse.topics import choices_of

SEVERITIES = choices_of("errors_topic", "severity")
STATUSES = choices_of("orders_topic", "status")
DEVICES = choices_of("clicks_topic", "device_type")

FAILURES = SEVERITIES[-2:]
"""What is counted as an error: the two worst. The milder ones are messages."""

WORST = SEVERITIES[-1]

UNSAID = SEVERITIES[1]
"""What an alert is shown as that has no severity."""

__all__ = ["DEVICES", "FAILURES", "SEVERITIES", "STATUSES", "UNSAID", "WORST"]
