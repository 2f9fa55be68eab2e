"""pyiceberg's way to files, by one function that reads a whole one.

Its own way, over pyarrow's datasets, loads pandas at the start, and on S3 would be a second client.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile


class ReadOnlyIO(FileIO):
    """Reads files; writes and deletes none. `read` gives the bytes at an address."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        super().__init__()
        self._read = read

    def new_input(self, location: str) -> InputFile:
        return BytesFile(location, self._read(location))

    def new_output(self, location: str) -> OutputFile:
        raise NotImplementedError

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise NotImplementedError


class BytesFile(InputFile):
    """A file that was read already, as pyiceberg's readers want it."""

    def __init__(self, location: str, data: bytes) -> None:
        super().__init__(location)
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> InputStream:
        return BytesIO(self._data)
