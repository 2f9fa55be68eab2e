"""Rates of currencies to the shop's own, as config/rates.csv has them."""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path

from lakehouse.mistakes import noted
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_text

CODE = re.compile(r"[A-Z]{3}")
"""A currency's code as ISO 4217 has it."""
COLUMNS = ("date", "currency", "rate")
_LARGEST = Decimal(10**9)


class NoRate(Exception):
    """An amount cannot be converted; the message says why, as the rest of a sentence."""


@dataclass(frozen=True)
class Rates:
    """What one unit of a currency was worth in the shop's `own` one, from a day on until the next rate, for `within`.

    `days` and `rates` by currency, the days in order. Two with the same digest are the same. `as_given`: any currency
    will do, and nothing is converted.
    """

    own: str
    within: timedelta
    digest: str
    days: Mapping[str, Sequence[date]] = field(default_factory=dict, compare=False, repr=False)
    rates: Mapping[str, Sequence[Decimal]] = field(default_factory=dict, compare=False, repr=False)
    as_given: bool = False

    def of(self, currency: str, day: date) -> Decimal:
        """The rate of a day. Raises NoRate for a currency without rates, and for a day that none is near enough to."""
        if currency == self.own or self.as_given:
            return Decimal(1)
        days = self.days.get(currency)
        if days is None:
            raise NoRate(f"is {currency}, of which rates.csv has no rate")
        place = bisect_right(days, day)
        if place == 0:
            raise NoRate(f"is {currency}, which has no rate by {day}: the first is of {days[0]}")
        if day - days[place - 1] > self.within:
            raise NoRate(
                f"is {currency}, which has no rate of {day} or the {self.within.days} days before: the last is of "
                f"{days[place - 1]}"
            )
        return self.rates[currency][place - 1]


AS_GIVEN = Rates("", timedelta(0), "", as_given=True)


def read_rates(path: Path, own: str, within: timedelta) -> Rates:
    """The rates of a file, which may be missing: then all amounts are in the shop's own currency.

    Raises UserError in one sentence that names file, line and what would do.
    """
    if not path.exists():
        return Rates(own, within, "")
    try:
        text = read_text(path)
    except NotYaml as error:
        raise UserError(f"The file {path} cannot be read: {error}; mend it or take it away.") from None
    found: dict[str, dict[date, Decimal]] = {}
    lines = csv.reader(text.splitlines())
    try:
        head = [name.strip() for name in next(lines, [])]
        _check_head(path, head)
        for row in lines:
            if not any(cell.strip() for cell in row):
                continue
            with noted(path):
                if len(row) > len(head):
                    what = f"it has {len(row)} values for {len(head)} columns; write numbers with a point, as 0.9132"
                    raise _wrong(path, lines.line_num, what)
                _read_row(path, lines.line_num, dict(zip(head, map(str.strip, row), strict=False)), own, found)
    except csv.Error as error:
        raise _wrong(path, lines.line_num, f"it is no CSV: {error}; correct it") from None
    ordered = {currency: sorted(by_day.items()) for currency, by_day in sorted(found.items())}
    return Rates(
        own,
        within,
        sha256(repr(ordered).encode()).hexdigest(),
        {currency: [day for day, _ in pairs] for currency, pairs in ordered.items()},
        {currency: [rate for _, rate in pairs] for currency, pairs in ordered.items()},
    )


def _check_head(path: Path, head: list[str]) -> None:
    for name in COLUMNS:
        if head.count(name) != 1:
            what = "stands twice in" if name in head else "is missing from"
            raise _wrong(
                path,
                1,
                f"'{name}' {what} its first line{_meant(name, head)}; expected {','.join(COLUMNS)}",
            )


def _meant(name: str, head: list[str]) -> str:
    return near(name, [other for other in head if other not in COLUMNS]) if name not in head else ""


def _read_row(path: Path, line: int, row: Mapping[str, str], own: str, found: dict[str, dict[date, Decimal]]) -> None:
    shown = {name: row.get(name, "")[:40] for name in COLUMNS}
    try:
        day = date.fromisoformat(row.get("date", ""))
    except ValueError:
        raise _wrong(path, line, f"'date' is '{shown['date']}'; expected a day like 2026-11-28") from None
    currency = row.get("currency", "")
    if not CODE.fullmatch(currency):
        hint = f" (did you mean '{currency.upper()}'?)" if CODE.fullmatch(currency.upper()) else ""
        raise _wrong(path, line, f"'currency' is '{shown['currency']}'{hint}; expected a code of ISO 4217, like USD")
    if currency == own:
        raise _wrong(path, line, f"{own} is the shop's own currency (orders.currency), whose rate is 1; take it out")
    try:
        rate = Decimal(row.get("rate", ""))
    except InvalidOperation:
        rate = Decimal("NaN")
    if not (rate.is_finite() and 0 < rate < _LARGEST):
        raise _wrong(
            path, line, f"'rate' is '{shown['rate']}'; expected what 1 {currency} is worth in {own}, like 0.9132"
        )
    if day in found.setdefault(currency, {}):
        raise _wrong(path, line, f"{currency} has two rates of {day}; leave one out")
    found[currency][day] = rate


def _wrong(path: Path, line: int, what: str) -> UserError:
    return UserError(f"{path}, line {line}: {what}.")
