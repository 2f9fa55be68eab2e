"""A file of text, as it comes: plain or packed by gzip or zstd, in any encoding, larger than memory.

It is read twice. The first reading looks for what is wrong with the file as a whole (cut, damaged, of another encoding)
and takes the hash of its content; the second one gives its lines. So nothing is begun with a file that ends badly.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lakehouse.user_error import UserError
from producers.pace import Clock
from producers.packed import read_again, unpacked
from producers.progress import progress

LONGEST = 16 << 20
"""Characters of one line, or of one element of a JSON array, at most."""
_CHUNK = 1 << 20
_LARGE = 64 << 20
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind; save the sheet as CSV",
    b"PAR1": "a Parquet file; give it by --format parquet",
    b"BZh": "packed by bzip2; unpack it, or pack it by gzip or zstd",
    b"\xfd7zXZ": "packed by xz; unpack it, or pack it by gzip or zstd",
}
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class TextFile:
    """A file whose whole text was looked at. `content` is the hash of its bytes, unpacked; `lines` how many it has."""

    file: Path
    encoding: str
    content: bytes
    lines: int
    first: str
    """Its first character that is no blank."""
    most_bytes: int
    _path: Path

    @classmethod
    @contextmanager
    def checked(
        cls, file: Path, encoding: str, most_bytes: int, bounded_lines: bool = True, clock: Clock | None = None
    ) -> Iterator[Self]:
        """The first reading. Raises UserError, with the line where it has one.

        most_bytes: of what a packed file holds, at most. bounded_lines: refuse a line of more than LONGEST; else only
        where the file begins with an object of JSON.
        """
        with read_again(file) as path:
            with unpacked(file, path, most_bytes) as stream, _told(file, path, clock) as told:
                seen, looked_at = _Seen(file, encoding, bounded_lines), 0
                while chunk := stream.read(_CHUNK):
                    seen.add(chunk)
                    told((stream.place >> 20) - looked_at)
                    looked_at = stream.place >> 20
                seen.end()
            yield cls(file, encoding, stream.digest, seen.lines, seen.first, most_bytes, path)

    @contextmanager
    def opened(self, newline: str | None) -> Iterator[io.TextIOWrapper]:
        """The second reading: its text, with line ends as open() would give them. Raises UserError."""
        with unpacked(self.file, self._path, self.most_bytes) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream, _CHUNK), self.encoding, newline=newline)
            yield text
            if stream.read(1) or stream.digest != self.content:
                raise UserError(f"{self.file} changed while it was read; nothing was sent. Replay it once it is whole.")


@contextmanager
def _told(file: Path, path: Path, clock: Clock | None) -> Iterator[Callable[[int], None]]:
    """Of a large file, what takes how many more MiB of it, as it lies there, were looked at."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if clock is None or size < _LARGE:
        yield lambda _count: None
        return
    with progress(f"{file.name} looked at", size >> 20, clock, "MiB") as advance:
        yield advance


def encoding_of(name: str) -> str:
    """The encoding that somebody named; UTF-8 is taken with and without a byte order mark. Raises UserError."""
    try:
        "a".encode(name)  # refuses what makes bytes of bytes
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise UserError(
            f"--encoding is '{name}', which Python does not know; use one like utf-8, cp1252, latin-1 or utf-16."
        ) from None
    return "utf-8-sig" if known in ("utf-8", "utf-8-sig") else known


class _Seen:
    """What the first reading has seen of a text."""

    def __init__(self, file: Path, encoding: str, bounded_lines: bool) -> None:
        self.lines = 0
        self.first = ""
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        # Counts any end of a line as one.
        self._ends = io.IncrementalNewlineDecoder(None, translate=True)
        self._bounded = bounded_lines
        self._open = 0

    def add(self, chunk: bytes, final: bool = False) -> None:
        if not self.lines and not self._open and not self.first and chunk:
            self._refuse_other(chunk)
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self._text(error.object[: error.start].decode(self._encoding, "replace"))
            self._refuse_encoding(error.object[error.start : error.start + 1])
        except ValueError:  # of an encoding that has no place to name
            self._refuse_encoding(b"")
        self._text(text, final)

    def end(self) -> None:
        self.add(b"", final=True)
        if self._open:
            self.lines += 1

    def _text(self, text: str, final: bool = False) -> None:
        text = self._ends.decode(text, final)
        if "\0" in text:
            line = self.lines + 1 + text.count("\n", 0, text.index("\0"))
            raise UserError(
                f"{self._file}, line {line}: a zero character, so it is no text in {self._encoding}; say which by "
                "--encoding, like utf-16, or mend the file. Nothing was sent."
            )
        self.first = self.first or text.lstrip()[:1]
        before, self.lines = self.lines, self.lines + text.count("\n")
        if self.lines > before:
            self._refuse_long(before, self._open + text.index("\n"))
            self._open = len(text) - text.rindex("\n") - 1
        else:
            self._open += len(text)
        self._refuse_long(self.lines, self._open)

    def _refuse_long(self, line: int, length: int) -> None:
        if (self._bounded or self.first == "{") and length > LONGEST:
            raise UserError(
                f"{self._file}, line {line + 1} is longer than {LONGEST >> 20} MiB, so these are no lines of data; "
                "correct --format. Nothing was sent."
            )

    def _refuse_other(self, chunk: bytes) -> None:
        for magic, what in _OTHERS.items():
            if chunk.startswith(magic):
                raise UserError(f"{self._file} is {what}. Nothing was sent.")
        for mark, encoding in _BOMS.items():
            if chunk.startswith(mark) and not self._encoding.startswith(("utf-16", "utf-32")):
                raise UserError(
                    f"{self._file}, line 1 begins with the mark of {encoding}, and is read as {self._encoding}; give "
                    f"--encoding {encoding}. Nothing was sent."
                )

    def _refuse_encoding(self, byte: bytes) -> None:
        shown = f"byte 0x{byte.hex().upper()} is" if byte else "it is"
        name, would_do = self._encoding, "correct --encoding"
        if self._encoding == "utf-8-sig":
            name, would_do = "UTF-8", "say the file's encoding by --encoding, like cp1252 or latin-1"
        raise UserError(f"{self._file}, line {self.lines + 1}: {shown} not {name}; {would_do}. Nothing was sent.")
