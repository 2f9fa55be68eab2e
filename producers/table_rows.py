"""Rows of cells: CSV, and text in columns.

A row has as many cells as the first one; of a quote that is not closed the lines that it took are read by themselves.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from producers.bad_lines import Bad
from producers.layout import Layout
from producers.text_file import TextFile

NOT_CSV, WIDTH = "NOT_CSV", "WIDTH"


@dataclass
class TextTable:
    """The rows of a text.

    `names` are those of its columns and `line` their line, once the header was read; `needed` the places, by field, of
    columns that a row cannot do without.
    """

    text: TextFile
    layout: Layout
    names: list[str] = field(default_factory=list)
    needed: Mapping[str, int] = field(default_factory=dict)
    line: int = 1
    width: int = 0

    def header(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]] | Bad]:
        """Read the header, where there is one; the rows that follow."""
        rows = self._csv(lines) if self.layout.form == "csv" else _words(lines)
        if self.layout.header is False:
            return rows
        first = next(rows, (1, []))
        if isinstance(first, Bad):
            raise first.error(self.text.file)
        self.line, names = first
        self.names = [name.strip() for name in names]
        self.width = len(self.names)
        return rows

    def rows(self, rows: Iterator[tuple[int, list[str]] | Bad]) -> Iterator[tuple[int, list[str]] | Bad]:
        """Those that have the width of the header, or else of the first one."""
        for row in rows:
            if isinstance(row, Bad):
                yield row
                continue
            number, cells = row
            self.width = self.width or len(cells)
            yield row if len(cells) == self.width else self._wide(number, cells)

    def column(self, place: int) -> str:
        """A column's name for a reader."""
        named = place < len(self.names) and self.names[place]
        return f"column '{self.names[place]}'" if named else f"column {place + 1}"

    def _wide(self, number: int, cells: list[str]) -> Bad:
        """A row of another width is shifted somewhere: by a comma in a number, by a blank in a text."""
        value, shown = self.layout.delimiter.join(cells), " ".join(cells)[:60]
        for place in self.needed.values():
            if place >= len(cells):
                where = self.column(place)
                says = f"line {number}, {where} is missing: there are {len(cells)} columns, '{shown}'"
                return Bad(number, WIDTH, says, where, value)
        first = "the header names" if self.names else "the first line has"
        between = "blank" if self.layout.form == "whitespace" else repr(self.layout.delimiter)
        return Bad(
            number,
            WIDTH,
            f"line {number}: there are {len(cells)} columns, '{shown}', and {first} {self.width}; a {between} within a "
            "value shifts what follows",
            value=value,
        )

    def _csv(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]] | Bad]:
        feed, delimiter = _Feed(iter(lines)), self.layout.delimiter
        reader = csv.reader(feed, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")
        while True:
            number = feed.begun()
            try:
                row = next(reader, None)
            except csv.Error as error:
                value = feed.taken[0].rstrip("\r\n")
                feed.give_back()
                yield Bad(number, NOT_CSV, f"line {number}: {error}", value=value)
                continue
            if row is None:
                return
            if row and any(cell.strip() for cell in row):
                swallowed = self._swallowed(number, row)
                if swallowed is None:
                    yield number, row
                else:
                    feed.give_back()
                    yield swallowed

    def _swallowed(self, number: int, row: list[str]) -> Bad | None:
        """Of a quote that is not closed, which takes the lines up to the next quote into its cell."""
        for cell in row:
            _, *more = cell.split("\n")
            for after, line in enumerate(more, start=1):
                if len(row) > 2 and line.count(self.layout.delimiter) >= len(row) - 1:
                    return Bad(
                        number,
                        NOT_CSV,
                        f"line {number}: a quote runs on to line {number + after} and takes that whole line into a "
                        "cell; close it, or take the line breaks out of that cell",
                        value=self.layout.delimiter.join(row),
                    )
        return None


class _Feed:
    """Lines for the reader of CSV, which can be given back. `taken`: those of the row that it is at."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._back: deque[str] = deque()
        self._before = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        self.taken.append(line)
        return line

    def begun(self) -> int:
        """Begin a row; the number of its first line."""
        self._before += len(self.taken)
        self.taken = []
        return self._before + 1

    def give_back(self) -> None:
        """All lines of this row but the first."""
        self._back.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _words(lines: Iterable[str]) -> Iterator[tuple[int, list[str]] | Bad]:
    for number, line in enumerate(lines, start=1):
        if row := line.split():
            yield number, row
