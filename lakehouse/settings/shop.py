"""What the shop counts, and what still wakes somebody."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from lakehouse.kpis import Counting
from lakehouse.settings.base import Section
from lakehouse.settings.durations import Duration
from lakehouse.topics import choices_of

_STATUSES = choices_of("orders_topic", "status")


class OrdersSettings(Section, section="orders"):
    """What counts as an order."""

    counted_statuses: tuple[str, ...] = Field(
        _STATUSES,
        description="orders with these statuses count in KPIs, tiles and conversion",
    )
    grain: Literal["order", "line"] = Field(
        "order", description="what a message on orders_topic is: an order, or a line of one (order_id says of which)"
    )
    currency: str = Field(
        "",
        description="the shop's currency (ISO 4217), to which rates.csv leads; empty: no event names another",
    )
    rates_within: Duration = Field(
        timedelta(days=7),
        ge=timedelta(0),
        le=timedelta(days=366),
        description="a day without a rate takes the newest one before it, so old at most (whole days)",
    )

    @field_validator("counted_statuses")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [status for status in value if status not in _STATUSES]
        if unknown or not value:
            raise ValueError(f"expected one or more of {', '.join(_STATUSES)}")
        return value

    @field_validator("currency")
    @classmethod
    def _code(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Z]{3}", value):
            raise ValueError("expected a code of ISO 4217, like EUR, or nothing")
        return value

    @property
    def counting(self) -> Counting:
        return Counting(self.counted_statuses, self.grain == "line")


class AlertsSettings(Section, section="alerts"):
    """When an alert is too old to wake somebody."""

    max_age: Duration = Field(
        timedelta(hours=1),
        ge=timedelta(minutes=1),
        description="an event older than this when received is listed, not sent",
    )
