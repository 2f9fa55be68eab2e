"""Lines as messages: what a source's map is given of a file.

A row of cells becomes an object with its columns' names, each value as text; an object of JSON or a row of Parquet
stays what it is. Beside them, `_line` is the line's number and `_file` what tells the file from others.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple, TextIO

import msgspec

from lakehouse.user_error import UserError
from producers import json_rows
from producers.bad_lines import Bad
from producers.layout import Layout
from producers.opening import Opened
from producers.parquet_rows import ParquetFile
from producers.table_rows import TextTable
from producers.text_file import TextFile

LINE, FILE = "_line", "_file"
_encode = msgspec.json.Encoder().encode


class RawLine(NamedTuple):
    """One line: its number from 1, its place for a reader ("line 3"), and the message that it is."""

    number: int
    place: str
    message: bytes

    def as_written(self) -> str:
        """The message without the names that are ours."""
        try:
            values = msgspec.json.decode(self.message, type=dict[str, msgspec.Raw])
        except msgspec.MsgspecError:
            return self.message.decode(errors="replace")
        return _encode({name: value for name, value in values.items() if name not in (LINE, FILE)}).decode()


class Messages:
    """The lines of an open file as messages; `mark` tells the file from others, without it there is no `_` name."""

    def __init__(self, found: Opened, layout: Layout, mark: str = "") -> None:
        self._found = found
        self._layout = layout
        self._mark = mark

    def __iter__(self) -> Iterator[RawLine | Bad]:
        if isinstance(self._found.held, ParquetFile):
            return self._of_parquet(self._found.held)
        is_json = self._layout.form in ("json", "jsonl")
        return self._of_json(*self._found.held) if is_json else self._of_cells(*self._found.held)

    def _of_cells(self, text: TextIO, source: TextFile) -> Iterator[RawLine | Bad]:
        """From CSV or text in columns; without a header the columns are called 1, 2, …"""
        table = TextTable(source, self._layout)
        rows = table.header(text)
        if twice := next((name for name in table.names if name and table.names.count(name) > 1), None):
            raise UserError(
                f"{source.file}, line {table.line}: two columns are called '{twice}', so no path can tell which is "
                "meant. Nothing was sent; give one another name."
            )
        names = [name or str(place) for place, name in enumerate(table.names, start=1)]
        for row in table.rows(rows):
            if isinstance(row, Bad):
                yield row
                continue
            number, cells = row
            names = names or [str(place) for place in range(1, len(cells) + 1)]
            values: dict[str, object] = dict(zip(names, (cell.strip() for cell in cells), strict=True))
            yield RawLine(number, f"line {number}", _encode(self._own(number) | values))

    def _of_json(self, text: TextIO, source: TextFile) -> Iterator[RawLine | Bad]:
        """From lines of JSON, or from one array."""
        is_array = self._layout.form == "json" and source.first != "{"
        for number, place, line in json_rows.elements(text, source.file) if is_array else json_rows.lines(text):
            line = line.strip()
            if self._mark and line.startswith("{"):
                rest = line[1:].lstrip()
                line = json.dumps(self._own(number))[:-1] + (rest if rest.startswith("}") else f", {rest}")
            yield RawLine(number, place, line.encode("utf-8", "surrogatepass"))

    def _of_parquet(self, parquet: ParquetFile) -> Iterator[RawLine | Bad]:
        for number, values in parquet.objects(list(parquet.columns)):
            yield RawLine(number, f"row {number}", _encode({**self._own(number), **values}))

    def _own(self, number: int) -> dict[str, object]:
        return {LINE: number, FILE: self._mark} if self._mark else {}
