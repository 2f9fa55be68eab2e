"""Parameters of prepared statements: where they stand, of which type they are, and what stands there once bound.

A value enters a statement as Dremio puts it there, as a literal in its place. It is written by the one helper that
writes literals, into a text whose tokens are known, so it stays one value whatever it holds; and the statement then
goes the way of any other, so what is refused elsewhere is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.sql import kinds
from embedded.gateway.tokens import Word, words_of
from lakehouse.dremio.statement import Value, literal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What may stand before a parameter. After a name it would be an alias, after TIMESTAMP part of a literal: no value.
_BEFORE = frozenset(
    """( , = <> != < <= > >= + - * / % || AND OR NOT BETWEEN LIKE ILIKE ESCAPE CASE WHEN THEN ELSE WHERE HAVING ON
    QUALIFY SELECT DISTINCT ALL LIMIT OFFSET""".split()  # noqa: SIM905  # a list of words reads best as one
)
_MOST_DIGITS = 38
_MOST_PARAMETERS = 1000
_COUNTS = ("LIMIT", "OFFSET")
# Their first argument is a word of the language.
_NAMED_FIRST = ("DATE_TRUNC", "DATE_PART", "EXTRACT", "TIMESTAMPADD", "TIMESTAMPDIFF", "INTERVAL")
_MARKS = "\x06\x05\x04\x03\x02\x01"


@dataclass(frozen=True, slots=True)
class Filled:
    """A statement with something in its parameters' places, and where that stands."""

    text: str
    places: tuple[tuple[int, int, int], ...]
    """Begin and end in the text, and place in the statement."""

    def original(self, offset: int) -> int:
        """The offset in the statement as the client wrote it."""
        moved = 0
        for begin, end, place in self.places:
            if offset < begin:
                break
            if offset < end:
                return place
            moved = end - place - 1
        return offset - moved


class Place(NamedTuple):
    """Where a parameter stands; `counts` says that it counts rows, after LIMIT or OFFSET."""

    offset: int
    counts: bool


def places_of(sql: str) -> list[Place]:
    """The places of a statement's parameters. Raises Refusal for one where no value can stand, and for no SQL."""
    words = words_of(sql, parameters=True)
    places: list[Place] = []
    for index, word in enumerate(words):
        if word.text != "?":
            continue
        if not _may_stand(words, index):
            raise validation("A parameter is not supported here", word.start)
        places.append(Place(word.start, words[index - 1].upper in _COUNTS))
    if len(places) > _MOST_PARAMETERS:
        raise validation(
            f"The statement has {len(places):,} parameters; {_MOST_PARAMETERS:,} are the limit",
            places[_MOST_PARAMETERS].offset,
        )
    return places


def _may_stand(words: list[Word], index: int) -> bool:
    before = words[index - 1].upper if index else ""
    named = before == "(" and index > 1 and words[index - 2].plain.upper() in _NAMED_FIRST
    joined = index + 1 < len(words) and words[index + 1].kind in ("text", "name", "number")
    return before in _BEFORE and not named and not joined


def fill(sql: str, places: Sequence[Place], values: Sequence[str]) -> Filled:
    """The statement with a text at each of its parameters, set apart by blanks."""
    pieces: list[str] = []
    stand: list[tuple[int, int, int]] = []
    length = done = 0
    for (place, _), value in zip(places, values, strict=True):
        pieces += [sql[done:place], f" {value} "]
        length += place - done
        stand.append((length, length + len(value) + 2, place))
        length += len(value) + 2
        done = place + 1
    return Filled("".join([*pieces, sql[done:]]), tuple(stand))


# ---- types -----------------------------------------------------------------------------------------------------------


def types_of(
    sql: str, places: Sequence[Place], kinds_of: Callable[[str, str], Mapping[int, kinds.Kind]]
) -> list[str | None]:
    """The SQL types of a statement's parameters, from what each is compared or computed with; None where nothing tells.

    `kinds_of` gives them for a statement in which texts of a mark, p and their number stand for them.
    """
    mark = next((mark for mark in _MARKS if mark not in sql), None)
    if mark is None:
        raise Refusal(ErrorKind.PARSE, "Failure parsing the query: it holds too many control characters.", 0)
    marks = ["1" if place.counts else f"'{mark}p{number}'" for number, place in enumerate(places)]
    filled = fill(sql, places, marks)
    try:
        found = kinds_of(filled.text, mark)
    except Refusal as refusal:
        said = re.sub(rf"{mark}p\d+", "?", str(refusal))
        start = None if refusal.start is None else filled.original(refusal.start)
        raise Refusal(refusal.kind, said, start, refusal.length) from None
    names = {number: str(kind) for number, kind in found.items()}
    return ["BIGINT" if place.counts else names.get(number) for number, place in enumerate(places)]


_KINDS = {
    str(kind): kind
    for kind in (
        kinds.INT, kinds.BIGINT, kinds.FLOAT, kinds.DOUBLE, kinds.TEXT, kinds.BOOL, kinds.DATE, kinds.TIME,
        kinds.TIMESTAMP,
    )
}  # fmt: skip


def _kind(sql_type: str) -> kinds.Kind:
    digits = re.fullmatch(r"DECIMAL\((\d+), (\d+)\)", sql_type)
    return kinds.decimal(int(digits[1]), int(digits[2])) if digits else _KINDS[sql_type]


def without_values(sql: str, places: Sequence[Place], types: Sequence[str | None]) -> Filled:
    """The statement with NULLs of the parameters' types, for its schema."""
    return fill(sql, places, ["1" if place.counts else _null(kind) for place, kind in zip(places, types, strict=True)])


def _null(kind: str | None) -> str:
    return "NULL" if kind is None else f"CAST(NULL AS {kind})"


def parameter_schema(types: Sequence[str]) -> pa.Schema:
    """A field for each parameter, named as Dremio's planner names them.

    A date is one of days here: into the milliseconds that results have, Arrow's JDBC driver writes days all the same.
    """
    fields = [pa.field(f"?{number}", _kind(kind).arrow) for number, kind in enumerate(types)]
    return pa.schema([field.with_type(pa.date32()) if pa.types.is_date(field.type) else field for field in fields])


# ---- values ----------------------------------------------------------------------------------------------------------


def literals_of(row: pa.RecordBatch, types: Sequence[str]) -> list[str]:
    """The values of one row, as the statement says them. Raises Refusal for what cannot be said."""
    return [_literal(column, number, types[number]) for number, column in enumerate(row.columns)]


def _literal(column: pa.Array, number: int, sql_type: str) -> str:
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    kind = column.type
    try:
        if column.null_count == len(column) or pa.types.is_null(kind):
            return _null(sql_type)
        return literal(_value(column))
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise Refusal(ErrorKind.ARGUMENT, f"Parameter {number + 1} cannot be used: {error}.") from None


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def _value(column: pa.Array) -> Value:
    """The first value of a column. Raises ValueError for one that Dremio's SQL has no literal for."""
    kind = column.type
    types = pa.types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_decimal(kind):
        plain: Value = column[0].as_py()
        return plain
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return str(column[0].as_py())
    if types.is_floating(kind):
        # Dremio reads the number's text as an exact one.
        exact = Decimal(column.cast(pa.string())[0].as_py())
        if not exact.is_finite() or max(exact.adjusted() + 1, 0) - min(_exponent(exact), 0) > _MOST_DIGITS:
            raise ValueError(f"{exact} is no number of {_MOST_DIGITS} digits")
        return exact
    if types.is_date(kind):
        day: date = column.cast(pa.date32())[0].as_py()
        return day
    if types.is_timestamp(kind):
        # Without a zone it is UTC; below a millisecond it is cut, as Dremio cuts.
        per_s = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
        return _EPOCH + timedelta(milliseconds=column.view(pa.int64())[0].as_py() * 1000 // per_s)
    raise ValueError(f"a value of type {kind} is not supported")
