"""What a page shows: the one selection of the whole console. How a URL says it stands in url.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

RANGES = {
    "live": timedelta(hours=1),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
RANGE_WORDS = {"live": "live", "15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 d"}
THEMES = ("dark", "light")
ZONES = ("local", "utc")

type Span = tuple[datetime, datetime]
type Chosen = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class View:
    """A page's deliberate choices. `span` is set only for an absolute range; a filter without a value lets all through.

    `filters` maps a filter's name to the values chosen, and names none that has no value.
    """

    tab: str
    range: str = "live"
    span: Span | None = None
    theme: str = "dark"
    zone: str = "local"
    filters: Chosen = field(default_factory=dict)
    brush: Span | None = None
    incident: str = ""

    def bounds(self, as_of: datetime) -> Span:
        """The range as [from, to): the absolute one, else the length that ends at `as_of`."""
        return self.span or (as_of - RANGES[self.range], as_of)

    def chosen(self, name: str) -> tuple[str, ...]:
        """The chosen values of a filter; empty: all."""
        return self.filters.get(name, ())

    def filtered(self, name: str, values: tuple[str, ...]) -> View:
        """The same with other values of one filter."""
        filters = {**self.filters, name: values}
        return replace(self, filters={name: values for name, values in filters.items() if values})

    def toggled(self, name: str, value: str) -> View:
        """The same with a filter that has one value more, or less where it was in."""
        return self.filtered(name, tuple(sorted({*self.chosen(name)} ^ {value})))
