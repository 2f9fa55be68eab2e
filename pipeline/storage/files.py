"""Live data files of a table, and what a writer of tables offers: embedded catalog and the Spark driver's store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


def uri_of(path: Path) -> str:
    """The address of an absolute path in tables' metadata: file://, as pyiceberg reads it, so not percent-encoded."""
    # At a ? or # pyiceberg would cut it off; a plain path it takes as it is.
    return str(path) if set("?#") & set(str(path)) else f"file://{path}"


def path_of(uri: str) -> Path:
    """The local path of an address made by `uri_of`."""
    return Path(uri.removeprefix("file://"))


HOUR_US = 3_600_000_000


@dataclass(eq=False)
class LiveFile:
    """One live data file. Times are microseconds since the epoch, UTC; None where the table has no such column.

    `hour` is its partition (hours since the epoch), `level` how often its rows were merged, `born` the number of the
    publish that brought it; 0 when it was there at the start.
    """

    uri: str
    hour: int | None
    rows: int
    bytes: int
    event_min: int | None
    event_max: int | None
    aged_min: int | None
    aged_max: int | None
    level: int
    born: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Any file: its address, its size, and when it was written, in us since the epoch by the storage's own clock."""

    uri: str
    bytes: int
    modified: int


class TableFiles(Protocol):
    """The live files of one table, and a way to write more; what is written belongs to no snapshot yet."""

    @property
    def live(self) -> Mapping[str, Any]:
        """LiveFile by uri."""

    @property
    def hours(self) -> Mapping[int | None, Mapping[str, Any]]:
        """LiveFile by hour and uri."""

    def write(self, rows: pa.Table, level: int = 0) -> Sequence[Any]:
        """LiveFiles, one an hour that the rows fall into."""


class Store(Protocol):
    """All tables of one writer."""

    @property
    def tables(self) -> Mapping[str, Any]:
        """TableFiles by the table's name."""

    @property
    def sequence(self) -> int:
        """Number of the last publish."""

    def read(self, name: str, files: Sequence[Any], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order."""

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""
