"""What the shop counts, and what still wakes somebody."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from lakehouse.settings.base import Section
from lakehouse.settings.durations import Duration


class OrdersSettings(Section, section="orders"):
    """What counts as an order."""

    counted_statuses: tuple[str, ...] = Field(
        ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"),
        description="orders with these statuses count in KPIs, tiles and conversion",
    )

    @field_validator("counted_statuses")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED")
        unknown = [status for status in value if status not in known]
        if unknown or not value:
            raise ValueError(f"expected one or more of {', '.join(known)}")
        return value


class AlertsSettings(Section, section="alerts"):
    """When an alert is too old to wake somebody."""

    max_age: Duration = Field(
        timedelta(hours=1),
        ge=timedelta(minutes=1),
        description="an event older than this when received is listed, not sent",
    )
