"""Times of day and days of the week or month, in a zone: when a route is muted, or the only times it is active."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lakehouse.texts import near

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_HOURS = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*")

type Spans = tuple[tuple[int, int], ...]
"""First and last of each, both included."""


def to_zone(value: object) -> ZoneInfo:
    """A zone of its IANA name. Raises ValueError with a near name."""
    if isinstance(value, ZoneInfo):
        return value
    name = str(value)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = near(name, available_timezones())
        raise ValueError(f"'{name[:100]}' is no zone{hint}; expected an IANA name like Europe/Berlin or UTC") from None


def _hours(value: object) -> tuple[tuple[time, time], ...]:
    """Spans like 09:00-17:30; 22:00-06:00 goes over midnight, and 24:00 ends a day."""
    return tuple(_span_of_day(each) for each in _listed(value))


def _span_of_day(written: object) -> tuple[time, time]:
    found = _HOURS.fullmatch(str(written))
    if found is None:
        raise ValueError(f"'{written}' is no span of a day; expected one like '09:00-17:30'")
    start, end = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
    if end == (24, 0):
        end = (0, 0)
    if max(start[0], end[0]) > 23 or max(start[1], end[1]) > 59:
        raise ValueError(f"'{written}' is no span of a day; hours go to 24:00 and minutes to 59")
    if start == end and start != (0, 0):
        raise ValueError(f"'{written}' is empty; expected one like '09:00-17:30', or leave 'hours' out for all day")
    return time(*start), time(*end)


def _named(names: tuple[str, ...], first: int) -> Any:
    """Names or spans of names, like `monday:friday`, as numbers that begin at `first`."""

    def number(written: str) -> int:
        name = written.strip().lower()
        places = [place for place, known in enumerate(names, first) if len(name) > 2 and known.startswith(name)]
        if len(places) != 1:
            raise ValueError(f"'{written}' is none of {', '.join(names)}{near(name, names)}")
        return places[0]

    def spans(value: object) -> Spans:
        found = []
        for each in _listed(value):
            low, _, high = str(each).partition(":")
            found.append((number(low), number(high or low)))
        return tuple(found)

    return BeforeValidator(spans)


def _days_of_month(value: object) -> Spans:
    """Days or spans of days, like 1:7; from the month's end where they are negative, so -1 is its last day."""
    found = []
    for each in _listed(value):
        low, _, high = str(each).partition(":")
        try:
            span = int(low), int(high or low)
        except ValueError:
            raise ValueError(f"'{each}' is no day of a month; expected one like 1, -1 or '1:7'") from None
        if not all(1 <= abs(day) <= 31 for day in span) or (span[0] > 0) != (span[1] > 0) or span[0] > span[1]:
            raise ValueError(f"'{each}' is no day of a month; expected 1 to 31, -31 to -1, or a span like '1:7'")
        found.append(span)
    return tuple(found)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


class TimeSpan(BaseModel):
    """A named time; what is left out is always. `hours` that go over midnight belong to the day they begin on."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(min_length=1, max_length=100)
    zone: Annotated[ZoneInfo, BeforeValidator(to_zone)] = ZoneInfo("UTC")
    hours: Annotated[tuple[tuple[time, time], ...], BeforeValidator(_hours)] = ()
    weekdays: Annotated[Spans, _named(WEEKDAYS, 0)] = ()
    days_of_month: Annotated[Spans, BeforeValidator(_days_of_month)] = ()
    months: Annotated[Spans, _named(MONTHS, 1)] = ()

    def holds(self, moment: datetime) -> bool:
        """Whether a moment (with a zone) lies in it, by the clock on the wall there."""
        local = moment.astimezone(self.zone)
        at, day = local.time(), local.date()
        if not self.hours:
            return self._on(day)
        for start, end in self.hours:
            over_midnight = end <= start
            if at >= start and (over_midnight or at < end) and self._on(day):
                return True
            if over_midnight and at < end and self._on(day - timedelta(days=1)):
                return True
        return False

    def _on(self, day: date) -> bool:
        after_last = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        from_end = (day - after_last).days
        return (
            _within(day.weekday(), self.weekdays)
            and _within(day.month, self.months)
            and (
                not self.days_of_month
                or any(low <= (day.day if low > 0 else from_end) <= high for low, high in self.days_of_month)
            )
        )


def _within(number: int, spans: Spans) -> bool:
    """Whether a weekday or month lies in one of the spans, of which one may go over the end of the week or year."""
    return not spans or any(
        low <= number <= high if low <= high else number >= low or number <= high for low, high in spans
    )
