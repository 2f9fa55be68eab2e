"""An object of S3 as a file to read from, of which only what is read is fetched."""

from __future__ import annotations

import io
from collections.abc import Callable


class ObjectFile(io.RawIOBase):
    """`part` answers the bytes from a place on, so many; `size` is the object's (bytes)."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        self._part = part
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        content = self._part(self._at, wanted) if wanted else b""
        self._at += len(content)
        return content
