"""Dates as Excel keeps them: days since the end of 1899, with the time of day behind the point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from lakehouse.decode.values import EXACT, parse_number

_LEAP_DAY = 60
"""29 February 1900, which Excel counts as Lotus 1-2-3 did, and which never was."""
_LAST = 2_958_466
"""1 January 10000: Excel knows no such day, and neither do we."""
_DAY_MS = 86_400_000


def excel_time(serial: str) -> datetime:
    """The time (UTC) of a serial number such as 40513.3507, in the system that counts from 1900; to the millisecond.

    A workbook that counts from 1904 (the setting of old Macs) has numbers 1,462 lower. Raises ValueError saying why a
    text is no such date.
    """
    number = parse_number(serial)
    if number is None:
        raise ValueError("is no number of days as Excel counts them, like 40513.3507")
    if not 1 <= number < _LAST:
        raise ValueError(f"is not within 1 (1 January 1900) and {_LAST - 1} (31 December 9999), as Excel counts days")
    day = int(number)
    if day == _LEAP_DAY:
        raise ValueError("is 29 February 1900 to Excel, a day that never was")
    # Double numbers of a spreadsheet are off by some microseconds; it shows no more than milliseconds itself.
    ms = EXACT.multiply(number - day, Decimal(_DAY_MS)).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    first = datetime(1899, 12, 31 if day < _LEAP_DAY else 30, tzinfo=UTC)
    try:
        return first + timedelta(days=day, milliseconds=int(ms))
    except OverflowError:
        raise ValueError("lies after the year 9999") from None
