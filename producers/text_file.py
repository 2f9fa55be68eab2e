"""A file of text, as it comes: plain or packed by gzip or zstd, in any encoding, larger than memory.

It is read twice. The first reading looks for what is wrong with the file as a whole (cut, damaged, of another encoding)
and takes the hash of its content; the second one gives its lines. So nothing is begun with a file that ends badly.
"""

from __future__ import annotations

import codecs
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self, cast

import pyarrow as pa

from lakehouse.user_error import UserError

LONGEST = 16 << 20
"""Characters of one line, or of one element of a JSON array, at most."""
GIB = 1 << 30
_CHUNK = 1 << 20
_GZIP, _ZSTD = "gzip", "zstd"
_PACKED = {b"\x1f\x8b": _GZIP, b"\x28\xb5\x2f\xfd": _ZSTD}
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
    def checked(cls, file: Path, encoding: str, most_bytes: int, bounded_lines: bool = True) -> Iterator[Self]:
        """The first reading. Raises UserError, with the line where it has one.

        most_bytes: of what a packed file holds, at most. bounded_lines: refuse a line of more than LONGEST; else only
        where the file begins with an object of JSON.
        """
        with _read_again(file) as path:
            with _bytes_of(file, path, most_bytes) as stream:
                seen = _Seen(file, encoding, bounded_lines)
                while chunk := stream.read(_CHUNK):
                    seen.add(chunk)
                seen.end()
            yield cls(file, encoding, stream.digest, seen.lines, seen.first, most_bytes, path)

    @contextmanager
    def opened(self, newline: str | None) -> Iterator[io.TextIOWrapper]:
        """The second reading: its text, with line ends as open() would give them. Raises UserError."""
        with _bytes_of(self.file, self._path, self.most_bytes) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream, _CHUNK), self.encoding, newline=newline)
            yield text
            if stream.read(1) or stream.digest != self.content:
                raise UserError(f"{self.file} changed while it was read; nothing was sent. Replay it once it is whole.")


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


class _Bytes(io.RawIOBase):
    """The bytes of a file, unpacked, at most so many of them; `digest` is the hash of what was read."""

    def __init__(self, file: Path, stream: IO[bytes], packing: str, most_bytes: int) -> None:
        self._file = file
        self._stream = stream
        self._packing = packing
        self._most = most_bytes
        self._read = 0
        self._hash = blake2b(digest_size=32)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        try:
            data = self._stream.read(len(view))
        except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
            if not self._packing:
                raise _unreadable(self._file, error) from None
            raise UserError(
                f"{self._file}: what {self._packing} packed is cut or damaged. Nothing was sent; fetch the file again."
            ) from None
        self._read += len(data)
        if self._packing and self._read > self._most:
            raise UserError(
                f"{self._file} holds more than {self._most / GIB:.3g} GiB once it is unpacked; if that is right, give "
                "--unpack-at-most GIB. Nothing was sent."
            )
        self._hash.update(data)
        view[: len(data)] = data
        return len(data)


@contextmanager
def _bytes_of(file: Path, path: Path, most_bytes: int) -> Iterator[_Bytes]:
    try:
        plain = path.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from None
    with plain:
        try:
            head = plain.read(4)
            plain.seek(0)
        except OSError as error:
            raise _unreadable(file, error) from None
        packing = next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")
        stream: IO[bytes] = plain
        if packing == _GZIP:
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=plain))
        elif packing == _ZSTD:
            stream = cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(plain, mode="r"), "zstd"))
        yield _Bytes(file, stream, packing, most_bytes)


@contextmanager
def _read_again(file: Path) -> Iterator[Path]:
    """A path that can be read twice: the file's own, or for a pipe that of a copy, which is gone afterwards."""
    if not file.exists() or file.is_file() or file.is_dir():
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="tillwatch-replay-") as copy:
        try:
            with file.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy, _CHUNK)
            copy.flush()
        except OSError as error:
            raise _unreadable(file, error) from None
        yield Path(copy.name)


def _unreadable(file: Path, error: Exception) -> UserError:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(f"{file} cannot be read: {words}; correct the path.")
