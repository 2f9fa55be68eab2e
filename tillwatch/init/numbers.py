"""How the numbers of a sample are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from lakehouse.decode.careful import WrongValue
from lakehouse.rates import CODE
from lakehouse.sources.convert import number_reader
from lakehouse.sources.fields import is_sign
from tillwatch.init.columns import SampleColumn


class Signs(NamedTuple):
    """What stands before decimals, between thousands, and beside an amount."""

    decimal: str = "."
    thousands: str = ""
    sign: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """What a source says of them."""
        found = {} if self.decimal == "." else {"decimal": self.decimal}
        more = {"thousands": self.thousands, "sign": self.sign}
        return found | {name: value for name, value in more.items() if value}


CURRENCIES = {
    "€": "EUR", "£": "GBP", "$": "USD", "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD",
    "NZ$": "NZD", "HK$": "HKD", "R$": "BRL", "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "₹": "INR", "₺": "TRY", "₴": "UAH",
    "₪": "ILS", "₩": "KRW", "₫": "VND", "฿": "THB", "₱": "PHP", "₦": "NGN", "₽": "RUB", "Fr.": "CHF", "SFr.": "CHF",
}  # fmt: skip
"""By its sign. Of kr and ¥ there are several."""
_OF_NUMBER = re.compile(r"[\d\s+,'’_()-]|(?<=\d)\.(?=\d)")
_POINTS = [Signs(), Signs(".", ","), Signs(".", " "), Signs(".", "'"), Signs(".", "’")]
_COMMAS = [Signs(",", ""), Signs(",", "."), Signs(",", " "), Signs(",", "\u00a0"), Signs(",", "\u202f")]


def ways_of(commas_first: bool) -> Sequence[Signs]:
    """The likeliest first."""
    # 1,234 is a thousand and more where a comma stands between columns, for there it would be in quotes.
    return [Signs(), *_COMMAS, *_POINTS[1:]] if commas_first else [*_POINTS, *_COMMAS]


def signs_of(columns: Sequence[SampleColumn], amounts: Sequence[SampleColumn], ways: Sequence[Signs]) -> Signs:
    """Those by which the most of these columns are numbers; beside amounts, which are some of them, more may stand."""
    if sign := _sign_of(amounts):
        ways = [*ways, *(each._replace(sign=sign) for each in ways)]
    return max(ways, key=lambda signs: sum(are_numbers(column, signs) for column in columns))


def _sign_of(columns: Sequence[SampleColumn]) -> str:
    """What stands beside the most of these columns' numbers; nothing where they are alone."""
    texts = (value for column in columns for value in column.given if re.search(r"\d", value))
    found = Counter(beside for text in texts if is_sign(beside := _OF_NUMBER.sub("", text)))
    return found.most_common(1)[0][0] if found else ""


def currency_of(sign: str) -> str:
    """Its code; nothing where that is not known."""
    known = CURRENCIES.get(sign) or (sign.upper() if sign.upper() in CURRENCIES.values() else "")
    return known or (sign if CODE.fullmatch(sign) else "")


def are_numbers(column: SampleColumn, signs: Signs) -> bool:
    return bool(column.given) and None not in numbers_of(column, signs, given=True)


def numbers_of(column: SampleColumn, signs: Signs, given: bool = False) -> list[Decimal | None]:
    """The column's values as numbers; None where there is nothing, or none. given: only what is there."""
    read = number_reader(*signs)
    found = []
    for value in column.values:
        if value is None and given:
            continue
        number = None if value is None or isinstance(value, bool) else read(value)
        found.append(None if isinstance(number, WrongValue) else number)
    return found
