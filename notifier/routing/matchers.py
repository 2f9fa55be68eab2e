"""Conditions on an alert's columns, written as in Prometheus: `severity = FATAL`, `service_name =~ pay.*`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import pyarrow as pa

from lakehouse.tables import ALERTS, Column
from lakehouse.texts import near
from notifier.model import SEVERITIES

COLUMNS: Mapping[str, Column] = {column.name: column for column in ALERTS.columns if column.type != "timestamptz"}
"""Columns that can be matched and grouped by: texts and numbers; times are what routes have spans for."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "severity": SEVERITIES,
    "status": ("FIRING", "RESOLVED"),
}
"""What a column can hold, where that is known."""

_WRITTEN = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_LONGEST = 1000


class Columned(Protocol):
    """Whatever has an alert's columns as attributes."""


@dataclass(frozen=True)
class Matcher:
    """One condition. `op`: = or != the value, =~ or !~ the pattern, which has to match all of the column's text.

    A column without a value is the empty text, as for Alertmanager.
    """

    column: str
    op: str
    value: str

    def __str__(self) -> str:
        return f"{self.column} {self.op} {self.value}"

    def matches(self, alert: Columned) -> bool:
        """Whether it holds for the alert."""
        text = text_of(alert, self.column)
        holds = text == self.value if self.op in ("=", "!=") else fits(self.value, text)
        return holds == (self.op in ("=", "=~"))


def parse_matcher(written: object) -> Matcher:
    """A matcher as it is written. Raises ValueError with what is wrong and what would do."""
    if not isinstance(written, str):
        raise ValueError("expected a condition like 'severity = FATAL'")
    found = _WRITTEN.fullmatch(written)
    if found is None or len(written) > _LONGEST:
        raise ValueError("expected a column, one of = != =~ !~, and a value, like 'severity = FATAL'")
    if found[3].startswith("="):
        raise ValueError(f"'{found[2]}{found[3][:1]}' is none of = != =~ !~; one = is enough")
    return make_matcher(found[1], found[2], _unquoted(found[3]))


def make_matcher(column: str, op: str, value: str) -> Matcher:
    """A matcher of its parts. Raises ValueError."""
    if column not in COLUMNS:
        raise ValueError(f"'{column}' is no column of alerts{near(column, COLUMNS)}; columns are {', '.join(COLUMNS)}")
    if op not in ("=", "!=", "=~", "!~"):
        raise ValueError(f"'{op}' is none of = != =~ !~")
    choices = CHOICES.get(column, ())
    if op in ("=", "!=") and value and choices and value not in choices:
        raise ValueError(f"'{value}' is no {column}{near(value.upper(), choices)}; there are {', '.join(choices)}")
    if op in ("=~", "!~"):
        try:
            fits(value, "")
        except pa.ArrowInvalid as error:
            reason = str(error).removeprefix("Invalid regular expression: ").partition(": (?s)")[0]
            raise ValueError(f"'{value}' is no pattern: {reason}") from None
    return Matcher(column, op, value)


def one_of(column: str, values: Sequence[str]) -> Matcher:
    """A matcher that holds for each of these values."""
    if len(values) == 1:
        return make_matcher(column, "=", values[0])
    return make_matcher(column, "=~", "|".join(map(re.escape, values)))


@lru_cache(maxsize=10_000)
def fits(pattern: str, text: str) -> bool:
    """Whether a pattern matches all of a text. Arrow's patterns are RE2's, as Alertmanager's: none takes for ever."""
    # Imported here: it costs 8 MB, and only patterns need it.
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.scalar(text), f"(?s)\\A(?:{pattern})\\z").as_py())


def all_match(matchers: Iterable[Matcher], alert: Columned) -> bool:
    """Whether every one holds; none at all hold for every alert."""
    return all(matcher.matches(alert) for matcher in matchers)


def text_of(alert: Columned, column: str) -> str:
    """A column as text: numbers as people write them, nothing as the empty text."""
    value = getattr(alert, column)
    match value:
        case None:
            return ""
        case float():
            return repr(value).removesuffix(".0")
    return str(value)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
