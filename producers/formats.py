"""Files as records of a topic's fields: CSV, text in columns, JSON lines.

Nothing in a file is dropped, shifted or guessed without a word: a line has as many columns as the first one, a name
stands for one column, and what is not used is told.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lakehouse.events import CLICKS_TOPIC, ERRORS_TOPIC, FIELDS, ORDERS_TOPIC, Kind, parse_number
from lakehouse.user_error import UserError
from producers.layout import Layout, exact_places, places

ID_FIELD = {ORDERS_TOPIC: "order_id", CLICKS_TOPIC: "click_id", ERRORS_TOPIC: "error_id"}
_NUMBERS = (Kind.COUNT, Kind.PRICE, Kind.MONEY)
_NOTHING_SENT = "Nothing was sent; correct the line."

type Values = dict[str, msgspec.Raw]
"""By field the JSON text of its value."""
type Where = Callable[[str], str]
"""Names a field's column for a reader, like "column 4"."""


def json_text(value: str) -> msgspec.Raw:
    """A text as JSON."""
    return msgspec.Raw(msgspec.json.encode(value))


class JsonLines:
    """One JSON object a line. `unused`: the names that no field was taken from, once all records were read."""

    def __init__(self, file: Path, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._source = {name: layout.columns.get(name, name) for name in layout.wanted}
        self._constants = {name: json_text(value) for name, value in layout.constants.items()}
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self.unused: list[str] = []

    def records(self, text: str) -> Iterator[tuple[int, Values, Where]]:
        met: set[str] = set()
        used: set[str] = {"produced_at"}
        given: set[str] = set()
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                found = self._decode(line)
                # msgspec keeps the last of a repeated name, and does not tell.
                names = [name for name, _ in json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)]
            except (msgspec.MsgspecError, ValueError, RecursionError):
                start = line.strip()
                shown = start if len(start) <= 60 else f"{start[:57]}..."
                raise UserError(f"{self._file}, line {number}: '{shown}' is no JSON object. {_NOTHING_SENT}") from None
            if len(names) > len(found):
                twice = next(name for name in names if names.count(name) > 1)
                raise UserError(f"{self._file}, line {number}: '{twice}' stands there twice. {_NOTHING_SENT}")
            source = self._sources(number, names)
            values = {name: found[key] for name, key in source.items() if bytes(found[key]) != b"null"}
            met.update(names)
            used.update(source.values())
            given.update(source)
            yield number, values | self._constants, self._where
        self.unused = [f"'{name}'" for name in sorted(met - used)]
        for name, key in self._layout.columns.items():
            if name not in given and met:
                raise UserError(
                    f"--map {name}={key}: no line of {self._file} has '{key}'; they have "
                    f"{', '.join(sorted(met))}. Nothing was sent; correct --map."
                )

    def _sources(self, number: int, names: list[str]) -> dict[str, str]:
        """By field the name that it is taken from."""
        sources = {}
        for name, key in self._source.items():
            found = exact_places(names, key) if name in self._layout.columns else places(names, key)
            if len(found) > 1:
                both = " and ".join(f"'{names[place]}'" for place in found[:2])
                raise UserError(
                    f"{self._file}, line {number}: {both} are both {name}; say which by --map {name}=NAME. "
                    "Nothing was sent."
                )
            if found:
                sources[name] = names[found[0]]
        return sources

    def _where(self, name: str) -> str:
        return f"field '{self._source[name]}'" if name in self._source else f"--const {name}"


class Columns:
    """CSV and text in columns. `unused`: the columns that no field was taken from, once all records were read."""

    def __init__(self, file: Path, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._names: list[str] = []
        self._place: dict[str, int] = {}
        self.unused: list[str] = []

    def records(self, text: str) -> Iterator[tuple[int, Values, Where]]:
        rows = self._csv(text) if self._layout.form == "csv" else self._words(text)
        if self._layout.header is not False:
            line, names = next(rows, (1, []))
            self._names = [name.strip() for name in names]
            self._place = self._named(line)
        else:
            self._place = {name: self._number(name, column) for name, column in self._layout.columns.items()}
        self._refuse_gaps()
        width = len(self._names)
        kinds = {each.name: each.kind for each in FIELDS[self._layout.topic]}
        constants = {name: self._value(kinds[name], value) for name, value in self._layout.constants.items()}
        for number, row in rows:
            width = width or len(row)
            self._refuse_width(number, row, width)
            values = dict(constants)
            for name, place in self._place.items():
                values[name] = self._value(kinds[name], row[place].strip())
            yield number, values, self._where
        used = {*self._place.values(), *places(self._names, "produced_at")}
        self.unused = [self._column(place) for place in range(width) if place not in used]

    def _refuse_width(self, number: int, row: list[str], width: int) -> None:
        """A line of another width is shifted somewhere: by a comma in a number, by a blank in a text."""
        shown = " ".join(row)[:60]
        for name, place in self._place.items():
            if place >= len(row):
                raise UserError(
                    f"{self._file}, line {number}, {self._where(name)} is missing: there are {len(row)} columns, "
                    f"'{shown}'. {_NOTHING_SENT}"
                )
        if len(row) != width:
            first = "the header names" if self._names else "the first line has"
            raise UserError(
                f"{self._file}, line {number}: there are {len(row)} columns, '{shown}', and {first} {width}; "
                f"a {'blank' if self._layout.form == 'whitespace' else f'{self._layout.delimiter!r}'} within a value "
                f"shifts what follows. {_NOTHING_SENT}"
            )

    def _csv(self, text: str) -> Iterator[tuple[int, list[str]]]:
        delimiter = self._layout.delimiter
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=delimiter != " "
        )
        number = 1
        try:
            for row in reader:
                if row and any(cell.strip() for cell in row):
                    self._refuse_swallowed(number, row)
                    yield number, row
                number = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{self._file}, line {number}: {error}. {_NOTHING_SENT}") from None

    def _refuse_swallowed(self, number: int, row: list[str]) -> None:
        """A quote that is not closed takes the lines up to the next quote into its cell."""
        for cell in row:
            _, *more = cell.split("\n")
            for after, line in enumerate(more, start=1):
                if len(row) > 2 and line.count(self._layout.delimiter) >= len(row) - 1:
                    raise UserError(
                        f"{self._file}, line {number}: a quote runs on to line {number + after} and takes that whole "
                        "line into a cell; close it, or take the line breaks out of that cell. Nothing was sent."
                    )

    def _words(self, text: str) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(text.split("\n"), start=1):
            if row := line.split():
                yield number, row

    def _named(self, line: int) -> dict[str, int]:
        """By field its column, from the header."""
        found_by_name = False
        result = {}
        for name in self._layout.wanted:
            column = self._layout.columns.get(name)
            if column is not None and column.isdecimal() and 1 <= int(column) <= len(self._names):
                result[name] = int(column) - 1
                continue
            found = places(self._names, name) if column is None else exact_places(self._names, column.strip())
            if len(found) > 1:
                raise UserError(
                    f"{self._file}, line {line}: {' and '.join(self._column(place) for place in found[:2])} "
                    f"(numbers {found[0] + 1} and {found[1] + 1}) are both {column or name}; say which by "
                    f"--map {name}=NUMBER. Nothing was sent."
                )
            if found:
                result[name], found_by_name = found[0], True
            elif column is not None:
                raise UserError(
                    f"{self._file}, line {line}: there is no column '{column}' for the field {name}; "
                    f"the columns are {', '.join(self._names)}. Nothing was sent; correct --map."
                )
        if result and not found_by_name and self._layout.header is None:
            raise UserError(
                f"{self._file}: all columns are given by number, so line {line} may be data; say --header where it "
                "names the columns, --no-header where it does not. Nothing was sent."
            )
        return result

    def _number(self, name: str, column: str) -> int:
        if not column.isdecimal() or int(column) < 1:
            raise UserError(
                f"--map {name}={column}: {self._file} has no header, so columns are numbers from 1; "
                "use one, or --header."
            )
        return int(column) - 1

    def _refuse_gaps(self) -> None:
        """Every required field must come from somewhere."""
        layout = self._layout
        given = self._place.keys() | layout.constants.keys() | {ID_FIELD[layout.topic]}
        if layout.price_from_total:
            given |= {"price"}
        missing = [each.name for each in FIELDS[layout.topic] if each.required and each.name not in given]
        if missing:
            has = f"; its columns (line 1) are {', '.join(self._names)}" if self._names else ""
            if len(self._names) == 1 and layout.form == "csv":
                has += " — one column, so --delimiter seems to be another"
            raise UserError(
                f"{self._file} has no column '{missing[0]}'{has}. Nothing was sent; "
                f"use --map {missing[0]}=COLUMN or --const {missing[0]}=VALUE."
            )

    def _value(self, kind: Kind, text: str) -> msgspec.Raw:
        # A number that is none stays text: decode says what is wrong with it.
        number = parse_number(text) if kind in _NUMBERS else None
        return json_text(text) if number is None else msgspec.Raw(str(number).encode())

    def _where(self, name: str) -> str:
        place = self._place.get(name)
        if place is None:
            return f"--const {name}" if name in self._layout.constants else f"field {name}"
        return self._column(place)

    def _column(self, place: int) -> str:
        named = place < len(self._names) and self._names[place]
        return f"column '{self._names[place]}'" if named else f"column {place + 1}"
