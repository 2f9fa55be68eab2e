"""Records from rows of cells: CSV, and text in columns.

Nothing in a file is dropped, shifted or guessed without a word: a line has as many columns as the first one, a name
stands for one column, and what is not used is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

import msgspec

from lakehouse.decode.values import parse_number
from lakehouse.topics import TOPICS, FieldKind
from lakehouse.topics.topic import NUMBERS
from lakehouse.user_error import UserError
from producers.bad_lines import Bad
from producers.layout import Layout, exact_places, places
from producers.records import LineRecord, json_text, with_point
from producers.table_rows import TextTable
from producers.text_file import TextFile


@dataclass
class ColumnText:
    """CSV and text in columns. `unused`: the columns that no field was taken from, once all records were read."""

    file_name: str
    layout: Layout
    unused: list[str] = field(default_factory=list)

    def of_text(self, text: TextIO, source: TextFile) -> Iterator[LineRecord | Bad]:
        table = self._table = TextTable(source, self.layout)
        rows = table.header(text)
        if self.layout.header is not False:
            self._place = self._named(table)
        else:
            self._place = {name: self._number(name, column) for name, column in self.layout.columns.items()}
        self._refuse_gaps(table)
        table.needed = self._place
        kinds = {each.name: each.kind for each in TOPICS[self.layout.topic].fields}
        constants = {name: self._constant(kinds[name], value) for name, value in self.layout.constants.items()}
        for row in table.rows(rows):
            if isinstance(row, Bad):
                yield row
                continue
            number, cells = row
            values = dict(constants)
            for name, place in self._place.items():
                values[name] = self._value(kinds[name], cells[place].strip())
            yield LineRecord(number, f"line {number}", values, self._where)
        used = {*self._place.values(), *places(table.names, "produced_at")}
        self.unused = [table.column(place) for place in range(table.width) if place not in used]

    def _named(self, table: TextTable) -> dict[str, int]:
        """By field its column, from the header."""
        found_by_name = False
        result = {}
        for name in self.layout.wanted:
            column = self.layout.columns.get(name)
            if column is not None and column.isdecimal() and 1 <= int(column) <= len(table.names):
                result[name] = int(column) - 1
                continue
            found = places(table.names, name) if column is None else exact_places(table.names, column.strip())
            if len(found) > 1:
                raise UserError(
                    f"{self.file_name}, line {table.line}: {' and '.join(table.column(place) for place in found[:2])} "
                    f"(numbers {found[0] + 1} and {found[1] + 1}) are both {column or name}; say which by "
                    f"--map {name}=NUMBER. Nothing was sent."
                )
            if found:
                result[name], found_by_name = found[0], True
            elif column is not None:
                raise UserError(
                    f"{self.file_name}, line {table.line}: there is no column '{column}' for the field {name}; "
                    f"the columns are {', '.join(table.names)}. Nothing was sent; correct --map."
                )
        if result and not found_by_name and self.layout.header is None:
            raise UserError(
                f"{self.file_name}: all columns are given by number, so line {table.line} may be data; say --header "
                "where it names the columns, --no-header where it does not. Nothing was sent."
            )
        return result

    def _number(self, name: str, column: str) -> int:
        if not column.isdecimal() or int(column) < 1:
            raise UserError(
                f"--map {name}={column}: {self.file_name} has no header, so columns are numbers from 1; "
                "use one, or --header."
            )
        return int(column) - 1

    def _refuse_gaps(self, table: TextTable) -> None:
        """Every required field must come from somewhere."""
        layout = self.layout
        given = self._place.keys() | layout.constants.keys() | {TOPICS[layout.topic].id_field}
        if layout.price_from_total:
            given |= {"price"}
        missing = [each.name for each in TOPICS[layout.topic].fields if each.required and each.name not in given]
        if missing:
            has = f"; its columns (line 1) are {', '.join(table.names)}" if table.names else ""
            if len(table.names) == 1 and layout.form == "csv":
                has += " — one column, so --delimiter seems to be another"
            raise UserError(
                f"{self.file_name} has no column '{missing[0]}'{has}. Nothing was sent; "
                f"use --map {missing[0]}=COLUMN or --const {missing[0]}=VALUE."
            )

    def _value(self, kind: FieldKind, text: str) -> msgspec.Raw:
        return self._constant(kind, with_point(text) if self.layout.decimal_comma and kind in NUMBERS else text)

    def _constant(self, kind: FieldKind, text: str) -> msgspec.Raw:
        # A number that is none stays text: decode says what is wrong with it.
        number = parse_number(text) if kind in NUMBERS else None
        return json_text(text) if number is None else msgspec.Raw(str(number).encode())

    def _where(self, name: str) -> str:
        place = self._place.get(name)
        if place is None:
            return f"--const {name}" if name in self.layout.constants else f"field {name}"
        return self._table.column(place)
