"""Where the files of tables lie, and how they are read: on this machine's disk, here; in S3, s3.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from cachetools import LRUCache

from embedded.gateway.patience import Check, endless


class Files(Protocol):
    """Files that never change once they are written. Every method may be called from any thread.

    Each raises OSError for a file that cannot be read, Refusal (UNAVAILABLE) where nobody answers.
    """

    def read(self, locations: Sequence[str]) -> list[bytes]:
        """The whole content of small files."""

    def holding(self, locations: Sequence[str], check: Check = endless) -> AbstractContextManager[list[str]]:
        """Paths at which DuckDB reads the files, good for as long as it lasts. Raises what `check` does meanwhile."""


class LocalFiles:
    """Files of this machine, named by path or by file:// address."""

    def read(self, locations: Sequence[str]) -> list[bytes]:
        return [_content(local_path(location)) for location in locations]

    @contextmanager
    def holding(self, locations: Sequence[str], check: Check = endless) -> Iterator[list[str]]:
        yield [local_path(location) for location in locations]


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def local_path(location: str) -> str:
    """The path of an address of pipeline.storage.files.uri_of; anything else unchanged."""
    return location.removeprefix("file://")


class Once[K, V]:
    """Values that never change, each made once, however many threads ask for it; the `size` used last stay."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._items: LRUCache[K, Future[V]] = LRUCache(size)

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value; what `make` raises reaches all who wait for it, and the next one tries again."""
        with self._lock:
            known = self._items.get(key)
            if known is None:
                future = self._items[key] = Future()
        if known is not None:
            return known.result()
        try:
            value = make()
        except BaseException as error:
            self.forget(key)
            future.set_exception(error)
            raise
        future.set_result(value)
        return value

    def forget(self, key: K) -> None:
        with self._lock:
            self._items.pop(key, None)
