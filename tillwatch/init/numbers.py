"""How the numbers of a sample are written."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from lakehouse.decode.careful import Wrong
from lakehouse.sources.convert import number_reader
from tillwatch.init.columns import Column


class Signs(NamedTuple):
    """What stands before decimals, and between thousands."""

    decimal: str = "."
    thousands: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """What a source says of them."""
        found = {} if self.decimal == "." else {"decimal": self.decimal}
        return found | ({"thousands": self.thousands} if self.thousands else {})


_POINTS = [Signs(), Signs(".", ","), Signs(".", " "), Signs(".", "'"), Signs(".", "’")]
_COMMAS = [Signs(",", ""), Signs(",", "."), Signs(",", " "), Signs(",", "\u00a0"), Signs(",", "\u202f")]


def signs_of(columns: Sequence[Column], commas_first: bool) -> Signs:
    """Those by which the most of these columns are numbers."""
    # 1,234 is a thousand and more where a comma stands between columns, for there it would be in quotes.
    ways = [Signs(), *_COMMAS, *_POINTS[1:]] if commas_first else [*_POINTS, *_COMMAS]
    return max(ways, key=lambda signs: sum(are_numbers(column, signs) for column in columns))


def are_numbers(column: Column, signs: Signs) -> bool:
    return bool(column.given) and None not in numbers_of(column, signs, given=True)


def numbers_of(column: Column, signs: Signs, given: bool = False) -> list[Decimal | None]:
    """The column's values as numbers; None where there is nothing, or none. given: only what is there."""
    read = number_reader(*signs)
    found = []
    for value in column.values:
        if value is None and given:
            continue
        number = None if value is None or isinstance(value, bool) else read(value)
        found.append(None if isinstance(number, Wrong) else number)
    return found
