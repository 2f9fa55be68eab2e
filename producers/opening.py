"""A file opened by its format."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from producers.layout import Layout
from producers.pace import Clock
from producers.parquet_rows import ParquetFile
from producers.text_file import TextFile


class Opened(NamedTuple):
    """An open file: the hash of its content, how many lines it has, and what a number of one counts."""

    file: Path
    content: bytes
    lines: int
    noun: str
    held: tuple[TextIO, TextFile] | ParquetFile


@contextmanager
def opened(file: Path, layout: Layout, clock: Clock | None = None) -> Iterator[Opened]:
    """Raises UserError where it cannot be read, now or while it is. clock: to tell how far a large file is."""
    if layout.form == "parquet":
        with ParquetFile.opened(file) as parquet:
            yield Opened(file, parquet.content, parquet.rows, "row", parquet)
        return
    with TextFile.checked(file, layout.encoding, layout.most_bytes, layout.form != "json", clock) as text:
        noun = "element" if layout.form == "json" and text.first != "{" else "line"
        with text.opened("" if layout.form == "csv" else None) as stream:
            yield Opened(file, text.content, text.lines, noun, (stream, text))
