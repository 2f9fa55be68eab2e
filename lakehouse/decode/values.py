"""Values as text and as ours: times, exact numbers, amounts, and the page that a url shows."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from lakehouse.topics import FieldKind

MAX_COUNT = 2**31 - 1

_PAGE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/]*)?/*(?:page/+)?([^/]*)")


def page_of(url: str) -> str:
    """The page a url shows: first segment of its path after an optional leading `page`; none is `home`.

    In SQL: regexp_extract(split_part(split_part(url, '?', 1), '#', 1) || '/', '^' + this pattern, 1), '' being home.
    """
    found = _PAGE.match(url.split("?", 1)[0].split("#", 1)[0] + "/")
    return (found and found[1]) or "home"


_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
_ANY_TIME = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[Tt ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def parse_time(text: str) -> datetime | None:
    """A time in ISO 8601 as UTC, or None. Without an offset it is UTC, a bare date is 00:00; beyond 1 us it is cut."""
    try:
        if _PLAIN_TIME.fullmatch(text):
            return datetime.fromisoformat(text)
        if not _ANY_TIME.fullmatch(text):
            return None
        found = datetime.fromisoformat(text.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; 0001-01-01T00:00+14:00 lies before the first year
        return None


# Exact for any number of digits, so that a value is rounded once and not twice.
EXACT = decimal.Context(
    prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, rounding=decimal.ROUND_HALF_UP
)
_NUMBER = re.compile(r"[ \t\r\n]*([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?)(\d+))?[ \t\r\n]*", re.ASCII)
NOT_FINITE_TEXT = re.compile(r"[ \t\r\n]*[+-]?(?:nan|inf|infinity)[ \t\r\n]*", re.ASCII | re.IGNORECASE)


def parse_number(text: str) -> Decimal | None:
    """The number a text says, exactly, or None. Exponents past a thousand million are cut to that: no type holds more.

    Stricter than Decimal(), which also takes underscores, NaN and the digits of other scripts.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, digits, exponent_sign, exponent = found.groups()
    if exponent is None:
        return Decimal(sign + digits)
    exponent = exponent.lstrip("0") or "0"
    return Decimal(f"{sign}{digits}E{exponent_sign}{exponent if len(exponent) < 10 else 10**9}")


class Scale(NamedTuple):
    """How an amount is kept: in whole `unit`s, with at most `digits` before the point; `type` is its column's."""

    unit: Decimal
    digits: int
    type: str


SCALES = {
    FieldKind.PRICE: Scale(Decimal("0.0001"), 14, "decimal(18,4)"),
    FieldKind.MONEY: Scale(Decimal("0.01"), 16, "decimal(18,2)"),
}


def rounded(number: Decimal, scale: Scale) -> Decimal | None:
    """number in whole units, half up, or None where it does not fit."""
    if number and number.adjusted() >= scale.digits:
        return None
    result = number.quantize(scale.unit, context=EXACT)
    if not result:
        return abs(result)  # no -0.00: it would be another key
    return None if result.adjusted() >= scale.digits else result
