"""Numbers as the pages say them."""

from __future__ import annotations

from decimal import Decimal

THIN = "\u202f"
"""Narrow no-break space: groups digits, and stands between a number and its unit."""


def short(number: float | Decimal, decimals: int | None = None) -> str:
    """At most four significant digits, grouped thinly: 412, 30.12, 1 204, 12.41 k, 2.5 M."""
    value = float(number)
    sign, value = ("−" if value < 0 else ""), abs(value)
    for limit, scale, suffix in ((999_950, 1e6, "M"), (9_999.5, 1e3, "k")):
        if value >= limit:
            value /= scale
            if value >= 9_999.5:  # beyond any shop; say it whole
                return f"{sign}{_grouped(value, 0)}{THIN}{suffix}"
            return f"{sign}{_grouped(value, _places(value))}{THIN}{suffix}"
    return f"{sign}{_grouped(value, _places(value) if decimals is None else min(decimals, _places(value)))}"


def with_currency(currency: str, amount: str) -> str:
    """An amount as text with its currency, and its sign before both: −$12.50."""
    return f"−{currency}{amount[1:]}" if amount.startswith(("-", "−")) else f"{currency}{amount}"


def exactly(number: float | Decimal | int) -> str:
    """All digits, grouped thinly."""
    if isinstance(number, int):
        return _grouped(number, 0)
    if isinstance(number, Decimal):
        places = max(0, -int(number.as_tuple().exponent))
        return f"{number:,.{places}f}".replace(",", THIN)
    return f"{number:,.6g}".replace(",", THIN)


def _places(value: float) -> int:
    digits = len(str(int(round(value, 3))))
    return max(0, 4 - digits)


def _grouped(value: float, places: int) -> str:
    return f"{value:,.{places}f}".replace(",", THIN)
