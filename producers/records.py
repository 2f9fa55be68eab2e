"""Records: what one line of a file says of a topic's fields."""

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from lakehouse.decode.values import parse_number

type Values = dict[str, msgspec.Raw]
"""By field the JSON text of its value."""
type Where = Callable[[str], str]
"""Names a field's column for a reader, like "column 4"."""


class LineRecord(NamedTuple):
    """One line's values: its number from 1, its place for a reader ("line 3"), and where its values stand."""

    number: int
    place: str
    values: Values
    where: Where


def json_text(value: str) -> msgspec.Raw:
    """A text as JSON."""
    return msgspec.Raw(msgspec.json.encode(value))


def string_of(raw: msgspec.Raw) -> str | None:
    """The text in a JSON value, or None where it is another type."""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def shown(raw: msgspec.Raw) -> str:
    """A value in quotes, short."""
    text = string_of(raw)
    text = bytes(raw).decode(errors="replace") if text is None else text
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"


_COMMA_NUMBER = re.compile(r"\s*([+-]?)(\d+|\d{1,3}(?:[.'’ \u00a0\u202f]\d{3})+)?(?:,(\d+))?\s*", re.ASCII)


def with_point(text: str) -> str:
    """A number with a decimal comma, like 1.234,50, as one with a point; a text that is no number as it is.

    A point, a blank or an apostrophe stands between groups of three digits only. So 5.00 is no such number, and comes
    back as a text that is none.
    """
    found = _COMMA_NUMBER.fullmatch(text)
    if found is None or (found[2] is None and found[3] is None):
        return text if parse_number(text) is None else f"{text} (a point where a comma is expected)"
    whole = "".join(letter for letter in found[2] or "0" if letter.isdecimal())
    return f"{found[1]}{whole}" + (f".{found[3]}" if found[3] else "")
