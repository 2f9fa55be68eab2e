"""Values of other shops as ours: numbers written otherwise, times of other kinds. A value that is none is `Wrong`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from functools import lru_cache

from lakehouse.decode.careful import Problem, WrongValue, number_of
from lakehouse.decode.document import JsonNumber, json_type, shown
from lakehouse.decode.excel import excel_time
from lakehouse.decode.rejected import Reason
from lakehouse.decode.values import EXACT, NOT_FINITE_TEXT, parse_time

type Convert = Callable[[object], object]
"""From a value as JSON has it, not null, to one of ours, or Wrong."""

MOST_DIGITS, MOST_DECIMALS = 40, 100
"""Of a number that is calculated with: no type of ours holds more."""


class Doubtful(StrEnum):
    """Which moment a local time is that a zone's clock shows twice. One that it skips is moved on by what it skips."""

    FIRST = "first"
    SECOND = "second"
    REJECT = "reject"


EPOCH_UNITS: dict[str, int] = {"s": 10**6, "ms": 1000, "us": 1, "days": 86_400 * 10**6}
"""Microseconds of each unit of `epoch`; `ns` are a thousandth of one, `excel` are days of its own calendar."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED = 4096
_LONG = 64
"""Characters: of longer values a few thousand could fill the memory."""


def _remembered(convert: Convert) -> Convert:
    """Values that come again are converted once: those of one moment, and of the same products."""
    # By type too: the number 1.234 and the text '1.234' are equal, and may be different amounts.
    held = lru_cache(maxsize=_REMEMBERED, typed=True)(convert)

    def convert_once(value: object) -> object:
        short = type(value) is int or (isinstance(value, str) and len(value) <= _LONG)
        return held(value) if short else convert(value)

    return convert_once


# Numbers -------------------------------------------------------------------------------------------------------------


def number_reader(decimal: str, thousands: str, beside: str = "") -> Callable[[object], Decimal | WrongValue]:
    """What reads a number, or the text of one with these signs; the result is exact.

    beside: what may stand once before or after it, a currency's sign.
    """
    plain = (decimal, thousands) == (".", "")
    if plain and not beside:
        return _plain_number
    group = re.escape(thousands)
    whole = rf"\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}|\d+" if thousands else r"\d+"
    form = re.compile(rf"\s*([+-]?)({whole})(?:{re.escape(decimal)}(\d+))?\s*", re.ASCII)

    def of_text(text: str) -> Decimal | WrongValue:
        alone = _without(beside, text) if beside else text
        if plain and not isinstance(number := _plain_number(alone), WrongValue):
            return number
        found = form.fullmatch(alone)
        if found is None:
            if NOT_FINITE_TEXT.fullmatch(alone):
                return WrongValue(Reason.NOT_FINITE, f"is {shown(alone.strip())}")
            signs = f"'{decimal}' before decimals" + (f" and '{thousands}' between thousands" if thousands else "")
            signs += f", '{beside}' beside it" if beside else ""
            return WrongValue(Reason.BAD_TYPE, f"is {shown(text)!r}, expected a number with {signs}")
        sign, digits, decimals = found.groups()
        return Decimal(f"{sign}{digits.replace(thousands, '') if thousands else digits}.{decimals or '0'}")

    # What JSON says is a number is written as JSON writes it.
    return lambda value: of_text(value) if type(value) is str else _plain_number(value)


def _without(beside: str, text: str) -> str:
    """The text of a number without what stands beside it; where it stands twice, the text of none."""
    text = text.strip()
    if text.endswith(beside):
        return text.removesuffix(beside).rstrip()
    sign = text[:1] if text.startswith(("+", "-")) else ""
    rest = text.removeprefix(sign).lstrip()
    return sign + rest.removeprefix(beside).lstrip() if rest.startswith(beside) else text


def _plain_number(value: object) -> Decimal | WrongValue:
    if type(value) is int:
        return Decimal(value)
    try:
        return number_of(value)
    except Problem as problem:
        return WrongValue(problem.reason, problem.detail)


def bounded(number: Decimal) -> Decimal | WrongValue:
    """The number, where it is one to calculate with: 1e999999999 + 1 has more digits than a machine holds."""
    exponent = number.as_tuple().exponent
    if number.adjusted() >= MOST_DIGITS or not isinstance(exponent, int) or exponent < -MOST_DECIMALS:
        return WrongValue(Reason.BAD_VALUE, f"is {shown(str(number))}, beyond {MOST_DIGITS} digits")
    return number


def as_json(number: Decimal) -> JsonNumber:
    return JsonNumber(format(number, "f"))


def amount(read: Callable[[object], Decimal | WrongValue], minor: int) -> Convert:
    """A number, in units of which 10^minor are one of the currency's."""

    def convert(value: object) -> object:
        number = read(value)
        if isinstance(number, WrongValue):
            return number
        number = bounded(number)
        return number if isinstance(number, WrongValue) else as_json(number.scaleb(-minor, EXACT))

    return _remembered(convert)


def unscaled(decimals: int) -> Convert:
    """Kafka Connect's Decimal in JSON: base64 of a whole number in two's complement, with so many decimals."""

    def convert(value: object) -> object:
        if type(value) is not str:
            return WrongValue(Reason.BAD_TYPE, f"is {json_type(value)}, expected a decimal of Kafka Connect, in base64")
        try:
            held = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return WrongValue(Reason.BAD_TYPE, f"is {shown(value)!r}, expected a decimal of Kafka Connect, in base64")
        if not 0 < len(held) <= 16:
            return WrongValue(Reason.BAD_VALUE, f"is {shown(value)!r}, which holds {len(held)} bytes, not 1 to 16")
        return as_json(Decimal(int.from_bytes(held, "big", signed=True)).scaleb(-decimals, EXACT))

    return convert


# Times ---------------------------------------------------------------------------------------------------------------


def epoch(
    unit: str, zone: tzinfo, doubtful: Doubtful, read: Callable[[object], Decimal | WrongValue] = _plain_number
) -> Convert:
    """Units since 1970, as number or text; `excel`: days since 1900 as a spreadsheet counts them, in a zone."""

    def convert(value: object) -> object:
        number = read(value)
        known = bounded(number) if isinstance(number, Decimal) else number
        if isinstance(known, WrongValue):
            return known
        try:
            if unit == "excel":
                try:
                    return _placed(excel_time(format(known, "f")).replace(tzinfo=None), zone, doubtful)
                except ValueError as error:
                    return WrongValue(Reason.BAD_VALUE, f"{shown(str(number))} {error}")
            micros = known.scaleb(-3, EXACT) if unit == "ns" else EXACT.multiply(known, Decimal(EPOCH_UNITS[unit]))
            return _EPOCH + timedelta(microseconds=int(micros.to_integral_value(ROUND_FLOOR)))
        except OverflowError:
            return WrongValue(Reason.BAD_VALUE, f"is {shown(str(number))}, no time of the years 1 to 9999 in {unit}")

    return _remembered(convert)


def of_form(forms: tuple[str, ...], zone: tzinfo, doubtful: Doubtful) -> Convert:
    """A time as text in one of the forms of strptime; without a zone of its own it is one of `zone`."""

    def of_text(text: str) -> object:
        for form in forms:
            try:
                local = datetime.strptime(text.strip(), form)  # noqa: DTZ007  # its zone follows
                return _placed(local, zone, doubtful)
            except (ValueError, OverflowError):
                continue
        return WrongValue(Reason.BAD_VALUE, f"is {shown(text)!r}, not of the form {' or '.join(map(repr, forms))}")

    def convert(value: object) -> object:
        if not isinstance(value, str):
            if type(value) is not int:
                return WrongValue(Reason.BAD_TYPE, f"is {json_type(value)}, expected a time as text")
            value = str(value)  # 20261129 is a date to many
        return of_text(str(value))

    return _remembered(convert)


def of_zone(zone: tzinfo, doubtful: Doubtful) -> Convert:
    """A time in ISO 8601; without an offset it is one of `zone`."""

    def of_text(text: str) -> object:
        found = parse_time(text)
        if found is None:
            return WrongValue(Reason.BAD_VALUE, f"is {shown(text)!r}, no ISO 8601 time of the years 1 to 9999")
        try:
            local = datetime.fromisoformat(text.upper()).tzinfo is None
            return _placed(found.replace(tzinfo=None), zone, doubtful) if local else found
        except OverflowError:
            return WrongValue(Reason.BAD_VALUE, f"is {shown(text)!r}, no ISO 8601 time of the years 1 to 9999")

    def convert(value: object) -> object:
        if type(value) is not str:
            return WrongValue(Reason.BAD_TYPE, f"is {json_type(value)}, expected a time as text")
        return of_text(value)

    return _remembered(convert)


def _placed(local: datetime, zone: tzinfo, doubtful: Doubtful) -> datetime | WrongValue:
    """A local time as UTC. Raises OverflowError.

    Where the zone's clock is put back, it shows an hour twice: `doubtful` says which is meant. Where it is put on, it
    skips one: a time in it is taken as if the clock had not been put on yet, so 02:30 is what the clock calls 03:30.
    """
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    if doubtful is Doubtful.REJECT:
        happens = "happens twice" if first < second else "does not happen"
        return WrongValue(Reason.BAD_VALUE, f"is {local}, which {happens} in {zone}: its clock is changed then")
    return second if doubtful is Doubtful.SECOND and first < second else first
