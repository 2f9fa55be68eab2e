"""How the times of a column are written."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from lakehouse.decode.careful import WrongValue
from lakehouse.decode.document import JsonNumber
from lakehouse.decode.values import parse_time

ISO, EXCEL = "iso", "excel"
EPOCHS = ("s", "ms", "us", "ns", "days", EXCEL)
"""Units of `epoch`."""
MOST = 500
"""Distinct values that are looked at."""

_DATES = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%Y%m%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y"),
    *("%d-%b-%y", "%d/%b/%Y", "%a, %d %b %Y", "%A, %d %B %Y"),
)
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p", "%H.%M")
_BETWEEN = (" ", "T", ", ", " - ", ":")
_OFFSETS = ("", " %z", "%z", " UTC", " GMT", " Z")
_EPOCHS = {"s": 9, "ms": 12, "us": 15, "ns": 18}
_SOME_TIME = datetime(2024, 11, 27, 22, 14, 5, 250_000, tzinfo=UTC)
_OFFSET = re.compile(r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)$")


@dataclass(frozen=True)
class TimeForm:
    """`how`: iso, a unit of `epoch`, or a form of strptime. `zoned`: no zone is needed to know the moment.

    `other`: a form that fits as well, where nothing tells which is meant. `also`: one that other months may need, where
    all are called May.
    """

    how: str
    zoned: bool = False
    other: str = ""
    also: str = ""

    @property
    def keys(self) -> dict[str, Any]:
        """What a map says of it, beside the path."""
        if self.how == ISO:
            return {}
        if "%" in self.how:
            return {"time": [self.how, self.also] if self.also else self.how}
        return {"epoch": self.how}

    def has_clock(self, values: Sequence[str]) -> bool:
        """Whether these say a time of day too."""
        if self.how == ISO:
            return any(len(value.strip()) > 10 for value in values)
        return "%" not in self.how or any(sign in self.how for sign in ("%H", "%I"))


def time_form(
    values: Sequence[object], read: Callable[[object], Decimal | WrongValue], days: str = EXCEL
) -> TimeForm | None:
    """How these are written; None where they are no times.

    read: reads numbers. days: what a number of days counts from, `excel` or `days`.
    """
    seen = list({str(value): value for value in values if value is not None}.values())[:MOST]
    if not seen:
        return None
    if not any(isinstance(value, JsonNumber) for value in seen):
        texts = [str(value).strip() for value in seen]
        if all(parse_time(text) for text in texts):
            return TimeForm(ISO, zoned=all(len(text) > 10 and _OFFSET.search(text[10:]) for text in texts))
    elif all(re.fullmatch(r"(19|20)\d{6}", str(value)) for value in seen):
        return TimeForm("%Y%m%d")
    numbers = [read(value) for value in seen]
    if not any(isinstance(number, WrongValue) for number in numbers):
        return _of_numbers([number for number in numbers if isinstance(number, Decimal)], days)
    return _of_texts([str(value).strip() for value in seen])


def _of_numbers(numbers: Sequence[Decimal], days: str) -> TimeForm | None:
    low, high = min(numbers), max(numbers)
    for unit, digits in _EPOCHS.items():
        if Decimal(5).scaleb(digits - 1) <= low and high < Decimal(5).scaleb(digits):
            return TimeForm(unit, zoned=True)
    if days == EXCEL and low >= 20_000 and high < 80_000:
        return TimeForm(EXCEL)
    if days == "days" and low >= 3_650 and high < 40_000 and all(number == int(number) for number in numbers):
        return TimeForm("days", zoned=True)
    return None


def _of_texts(texts: Sequence[str]) -> TimeForm | None:
    shapes = {_shape(text) for text in texts}
    forms = _forms().get(next(iter(shapes)), ()) if len(shapes) == 1 else ()
    fitting = [form for form in forms if all(_fits(form, text) for text in texts)]
    if not fitting:
        return None
    form = fitting[0]
    zoned = form.endswith(("%z", " UTC", " GMT", " Z"))
    swapped = form.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    whole = form.replace("%b", "%B")
    return TimeForm(
        form,
        zoned,
        other=swapped if swapped != form and swapped in fitting else "",
        also=whole if whole != form and whole in fitting else "",
    )


@cache
def _forms() -> dict[str, list[str]]:
    """All forms by the shape of what they write: Python takes a millisecond for each that it tries."""
    whole = [f"{date}{between}{clock}" for date in _DATES for between in _BETWEEN for clock in _CLOCKS]
    found: dict[str, list[str]] = defaultdict(list)
    for form in (*_DATES, *(f"{form}{offset}" for form in whole for offset in _OFFSETS)):
        found[_shape(_SOME_TIME.strftime(form))].append(form)
    return found


def _shape(text: str) -> str:
    """`27.11.2024 10:14` is `9.9.9 9:9`; all offsets have one."""
    text = re.sub(r"[+-]\d\d:?\d\d$", "+0", text)
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text))


def _fits(form: str, text: str) -> bool:
    try:
        found = datetime.strptime(text, form)  # noqa: DTZ007  # its zone is not looked at
    except ValueError:
        return False
    # %Y takes 25 as the year 25, where %y is meant.
    return 1900 <= found.year < 2200
