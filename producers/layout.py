"""How a file's columns become a topic's fields: what the flags say, what the file's own names say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.packed import GIB
from producers.shop import ORDERS_TOPIC
from producers.text_file import encoding_of

FORMATS = ("csv", "whitespace", "jsonl", "json", "parquet", "cdnow")
_BY_ENDING = {
    ".csv": "csv",
    ".txt": "whitespace",
    ".dat": "whitespace",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
EXCEL = "excel"
"""The form of times that are serial numbers of days."""

# The CDNOW sample: customer, customer's number in the sample, date, number of CDs, dollars.
_CDNOW_COLUMNS = {"user_id": "1", "order_time": "3", "quantity": "4", "order_total": "5"}
_CDNOW_CONSTANTS = {"product_id": "cd", "status": "DELIVERED"}
_CDNOW_DATES = "%Y%m%d"


@dataclass(frozen=True)
class Layout:
    """How a file's columns become a topic's fields.

    A column is a name, or a number from 1. A field that is in neither `columns` nor `constants` is taken from the
    column of its own name where there is one; the topic's own id else is the line's event_id. `header` is None where
    nobody said whether the first line of a csv names the columns: then it does. `most_bytes`: of what a packed file
    holds, at most.
    """

    form: str
    topic: str
    header: bool | None
    delimiter: str
    columns: Mapping[str, str]
    constants: Mapping[str, str]
    price_from_total: bool
    date_format: str | None
    decimal_comma: bool = False
    encoding: str = "utf-8-sig"
    most_bytes: int = 8 * GIB

    @classmethod
    def of(
        cls,
        file: Path,
        *,
        form: str | None = None,
        topic: str = ORDERS_TOPIC,
        header: bool | None = None,
        delimiter: str = ",",
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        price_from_total: bool = False,
        date_format: str | None = None,
        decimal_comma: bool = False,
        encoding: str = "utf-8-sig",
        unpack_at_most: float = 8.0,
    ) -> Self:
        """The layout that the flags say; what they leave open follows from the format. Raises UserError.

        unpack_at_most: GiB.
        """
        form = form or form_by_name(file)
        if form not in FORMATS:
            raise UserError(f"--format of {file} is '{form or 'not given'}'; expected one of {', '.join(FORMATS)}.")
        if topic not in TOPICS:
            raise UserError(f"--topic is '{topic}'; expected one of {', '.join(TOPICS)}.")
        delimiter = "\t" if delimiter == r"\t" else delimiter
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise UserError(rf"--delimiter is '{delimiter}'; expected one character like ; or \t, and no quote.")
        columns, constants = dict(columns or {}), dict(constants or {})
        _check_names(topic, columns, constants)
        if form == "cdnow":
            if topic != ORDERS_TOPIC:
                raise UserError(f"--format cdnow has orders, not {topic}; leave --topic out.")
            form, price_from_total = "whitespace", price_from_total or "price" not in columns.keys() | constants.keys()
            columns = {name: column for name, column in _CDNOW_COLUMNS.items() if name not in constants} | columns
            constants = {name: value for name, value in _CDNOW_CONSTANTS.items() if name not in columns} | constants
            date_format = date_format or _CDNOW_DATES
        if price_from_total and topic != ORDERS_TOPIC:
            raise UserError(f"--price-from-total goes with {ORDERS_TOPIC}; leave it out.")
        if price_from_total and "price" in columns.keys() | constants.keys():
            raise UserError("--price-from-total computes the price, and --map or --const gives it; leave one out.")
        if date_format is not None and date_format != EXCEL:
            _check_date_format(date_format)
        return cls(
            form=form,
            topic=topic,
            header=header if form == "csv" else bool(header),
            delimiter=delimiter,
            columns=columns,
            constants=constants,
            price_from_total=price_from_total,
            date_format=date_format,
            decimal_comma=decimal_comma,
            encoding=encoding_of(encoding),
            most_bytes=int(unpack_at_most * GIB),
        )

    @property
    def wanted(self) -> list[str]:
        """The fields that may come from the file, in the topic's order."""
        computed = {"produced_at", *self.constants, *(["price"] if self.price_from_total else [])}
        return [each.name for each in TOPICS[self.topic].fields if each.name not in computed]


def form_by_name(file: Path) -> str | None:
    """The form that a file's name says; None where it says none."""
    return _BY_ENDING.get(_ending(file))


def _ending(file: Path) -> str:
    """What a file's name ends in, but for that of its packing: .csv of orders.csv.gz."""
    *_, ending = ["", *(each.lower() for each in file.suffixes if each.lower() not in _PACKED)]
    return ending


def _check_names(topic: str, columns: Mapping[str, str], constants: Mapping[str, str]) -> None:
    names = [each.name for each in TOPICS[topic].fields if each.name != "produced_at"]
    for option, given in (("--map", columns), ("--const", constants)):
        for name in given:
            if name not in names:
                raise UserError(f"{option} names the field '{name}'; {topic} has {', '.join(names)}.")
    for name, column in columns.items():
        if not column.strip():
            raise UserError(f"--map {name}= names no column; expected its name, or its number from 1.")
    if twice := columns.keys() & constants.keys():
        raise UserError(f"--map and --const both name '{min(twice)}'; leave one out.")


def _check_date_format(date_format: str) -> None:
    """Refuse a format by which Python would guess or drop a part of the time, without a word."""
    found = set(re.findall(r"%(.)", date_format))
    if "Z" in found:
        raise UserError(
            f"--date-format is '{date_format}', and a zone's name (%Z) says no offset, for several zones share one: "
            "where all lines have the same name and it means UTC, write the name itself in place of %Z; else give the "
            "file offsets, for %z."
        )
    # %c and %x are whole dates.
    year = found & set("YyGcx")
    day = found & set("jcx") or (found & set("mbBh") and "d" in found) or (found & set("UWV") and found & set("aAwu"))
    if not year or not day:
        raise UserError(
            f"--date-format is '{date_format}', which has no {'day' if year else 'year'}; "
            "expected year, month and day, like %Y-%m-%d."
        )
    if ("I" in found) != ("p" in found):
        raise UserError(f"--date-format is '{date_format}': %I goes with %p, and %H without; correct it.")


# Names in the file --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def places(names: Sequence[str], name: str) -> list[int]:
    """Where `name` stands among a file's own names: but for case, blanks, hyphens and other marks they are equal.

    A file that writes ` Order_ID ` or `orderId` means order_id.
    """
    plain = _plain(name)
    return [place for place, each in enumerate(names) if _plain(each) == plain] if plain else []


def exact_places(names: Sequence[str], name: str) -> list[int]:
    """The same for a name that somebody gave by --map: what is called exactly so wins over what is called nearly so."""
    return [place for place, each in enumerate(names) if each == name] or places(names, name)
