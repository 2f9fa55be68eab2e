"""Files in S3: a client that only reads, and a disk cache of data files in front of it.

A question over the last minutes meets dozens of small files, so each costs one request, and several go side by side:
pyarrow's and DuckDB's own S3 clients ask twice for each (its size, then its bytes).
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.patience import Check, endless
from lakehouse.tables import CATALOG
from pipeline.settings import S3Settings
from pipeline.storage.objects import NoBucket, Objects, S3Denied, S3Down

logger = logging.getLogger(__name__)

SIDE_BY_SIDE = 8
TIMEOUT_S = 4.0
"""Below dremio.plan_timeout, so that a reader hears which server is away."""


class S3:
    """Reads objects of any bucket. Any thread may call any method.

    Every method raises FileNotFoundError for an object (or bucket) that is not there, OSError when S3 refuses, and
    Refusal when it does not answer within TIMEOUT_S (UNAVAILABLE) or refuses the key (INTERNAL).
    """

    def __init__(self, settings: S3Settings) -> None:
        self._objects = Objects(settings, timeout_s=TIMEOUT_S)

    def get(self, location: str) -> bytes:
        with _as_dremio():
            return self._objects.read(location)

    def fetch(self, location: str, path: Path) -> int:
        """Copy an object into a file, which appears whole or not at all; its size (bytes)."""
        with _as_dremio():
            return self._objects.fetch(location, path)

    def exists(self, location: str) -> bool:
        try:
            with _as_dremio():
                self._objects.look(location)
        except FileNotFoundError:
            return False
        return True

    def folder(self, location: str) -> list[str]:
        """Locations of all objects below a folder."""
        with _as_dremio():
            return [found.uri for found in self._objects.list(location)]


@contextmanager
def _as_dremio() -> Iterator[None]:
    """Tell the errors of S3 as Dremio tells those of a source."""
    try:
        yield
    except NoBucket as error:
        raise FileNotFoundError(str(error)) from None
    except S3Denied as error:
        # Whoever runs the gateway has to hear of it, and no client learns a path by it.
        raise Refusal(ErrorKind.INTERNAL, f"DATA_READ ERROR: {error.brief}: check section s3") from None
    except S3Down as error:
        raise unavailable(error.brief) from None


def unavailable(reason: str) -> Refusal:
    """The refusal while a server behind the gateway is away."""
    return Refusal(ErrorKind.UNAVAILABLE, f"CONNECTION ERROR: source {CATALOG} is not available now: {reason}")


def plain_reason(error: Exception) -> str:
    """What stands at the end of urllib3's long sentences."""
    text = str(error)
    if match := re.search(r"\[Errno -?\d+\] ([\w ,]+)", text):
        return match[1].lower()
    if "timed out" in text.lower():
        return "timed out"
    return text.partition("\n")[0]


# ---- data files on the disk -----------------------------------------------------------------------------------------


@dataclass
class _Copy:
    """A file's copy on the disk; `leases` counts statements that read it."""

    path: Path
    size: Future[int] = field(default_factory=Future)
    leases: int = 0


class S3Files:
    """The files of tables in S3: small ones are read whole, data files are copied to `folder` as they are asked for.

    Copies of the files used last stay, about `most_mb` of them; those that a statement reads stay as long as it runs.
    What is in the folder at the start is deleted.
    """

    def __init__(self, s3: S3, folder: Path, most_mb: int) -> None:
        self._s3 = s3
        self._folder = folder
        self._most = most_mb << 20
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._total = 0
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="s3")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def read(self, locations: Sequence[str]) -> list[bytes]:
        if len(locations) == 1:
            return [self._s3.get(locations[0])]
        return list(self._pool.map(self._s3.get, locations))

    @contextmanager
    def holding(self, locations: Sequence[str], check: Check = endless) -> Iterator[list[str]]:
        copies: list[_Copy] = []
        missing: list[tuple[str, _Copy]] = []
        with self._lock:
            for location in locations:
                copy = self._copies.get(location)
                if copy is None:
                    name = hashlib.sha256(location.encode()).hexdigest()[:32]
                    copy = self._copies[location] = _Copy(self._folder / f"{name}.parquet")
                    missing.append((location, copy))
                else:
                    self._copies.move_to_end(location)
                copy.leases += 1
                copies.append(copy)
        try:
            if len(missing) == 1:
                self._fetch(*missing[0])
            else:
                for location, copy in missing:
                    self._pool.submit(self._fetch, location, copy)
            for copy in copies:
                check()
                copy.size.result()
            yield [str(copy.path) for copy in copies]
        finally:
            with self._lock:
                for copy in copies:
                    copy.leases -= 1
            self._make_room()

    def _fetch(self, location: str, copy: _Copy) -> None:
        """Copy a file; what goes wrong is told to all who wait for it."""
        with self._lock:
            if not copy.leases:  # whoever asked for it waits no more
                del self._copies[location]
                return
        try:
            # It may have been cleaned away while the gateway ran.
            self._folder.mkdir(parents=True, exist_ok=True)
            size = self._s3.fetch(location, copy.path)
        except BaseException as error:
            with self._lock:
                if self._copies.get(location) is copy:
                    del self._copies[location]
            copy.size.set_exception(error)
            return
        with self._lock:
            self._total += size
        copy.size.set_result(size)

    def _make_room(self) -> None:
        with self._lock:
            if self._total <= self._most:
                return
            for location, copy in list(self._copies.items()):
                if self._total <= self._most:
                    return
                if not copy.leases and copy.size.done():
                    del self._copies[location]
                    self._total -= copy.size.result()
                    copy.path.unlink(missing_ok=True)
