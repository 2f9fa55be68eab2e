"""The bytes of a file, unpacked where gzip or zstd packed them: told by its first bytes, and bounded."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from lakehouse.user_error import UserError

GIB = 1 << 30
_CHUNK = 1 << 20
_GZIP, _ZSTD = "gzip", "zstd"
_PACKED = {b"\x1f\x8b": _GZIP, b"\x28\xb5\x2f\xfd": _ZSTD}


class Unpacked(io.RawIOBase):
    """The bytes of a file, unpacked, at most so many of them; `digest` is the hash of what was read."""

    def __init__(self, file: Path, plain: IO[bytes], stream: IO[bytes], packing: str, most_bytes: int) -> None:
        self._file = file
        self._plain = plain
        self._stream = stream
        self._packing = packing
        self._most = most_bytes
        self._read = 0
        self._hash = blake2b(digest_size=32)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    @property
    def place(self) -> int:
        """How far the file itself was read."""
        return self._plain.tell()

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
def unpacked(file: Path, path: Path, most_bytes: int) -> Iterator[Unpacked]:
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
        yield Unpacked(file, plain, stream, packing, most_bytes)


@contextmanager
def read_again(file: Path) -> Iterator[Path]:
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
