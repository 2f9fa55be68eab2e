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
    "30d": timedelta(days=30),
}
RANGE_WORDS = {"live": "live", "15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 d", "30d": "30 d"}
COMPARED = {"before": timedelta(minutes=5), "yesterday": timedelta(days=1), "week": timedelta(days=7)}
"""What now is compared with: how long ago it was. By UTC, so that every day has one."""
LASTS = {"15m": 15, "1h": 60, "3h": 180}
"""The last minutes that live charts show, the open one among them."""
LAST_WORDS = {"15m": "15 min", "1h": "hour", "3h": "3 h"}
COMPARED_WORDS = {"before": "5 min before", "yesterday": "yesterday", "week": "last week"}
THEMES = ("dark", "light")
ZONES = ("local", "utc", "shop")
"""Whose times are shown: the viewer's, UTC, or those of `console.zone`."""

type Span = tuple[datetime, datetime]
type Chosen = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class View:
    """A page's deliberate choices. `span` is set only for an absolute range; a filter without a value lets all through.

    `at` is the moment that is looked at in place of now. `kiosk` is a screen on a wall, which nobody touches. `filters`
    maps a filter's name to the values chosen, and names none that has no value. `compare` is one of COMPARED, `last` of
    LASTS. `sort` is the field of the column that rows are ordered by, the highest first, or with `.asc` behind it the
    lowest; `page` is which of their pages is shown, from 1.
    """

    tab: str
    range: str = "live"
    span: Span | None = None
    theme: str = "dark"
    zone: str = "local"
    filters: Chosen = field(default_factory=dict)
    brush: Span | None = None
    incident: str = ""
    at: datetime | None = None
    kiosk: bool = False
    compare: str = "before"
    last: str = "1h"
    sort: str = ""
    page: int = 1

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

    def toggled(self, name: str, value: str, default: tuple[str, ...] = ()) -> View:
        """The same with a filter that has one value more, or less where it was in; what is the default is not named."""
        values = {*(self.chosen(name) or default)} ^ {value}
        return self.filtered(name, () if values == {*default} else tuple(sorted(values)))
