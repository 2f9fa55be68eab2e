"""Live data files of a table, and what a writer of tables offers: embedded catalog and the Spark driver's store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lakehouse.tables import Table, arrow_schema
from pipeline.settings import RetentionSettings


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


@dataclass(frozen=True)
class Change:
    """Files that one table gains and loses with the next publish."""

    added: Sequence[LiveFile] = ()
    removed: Sequence[LiveFile] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """What a run of the sweep has done: commits thinned out, files that no kept one reached deleted."""

    commits_expired: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0


class TableFiles(Protocol):
    """The live files of one table, and a way to write more; what is written belongs to no snapshot yet."""

    @property
    def live(self) -> Mapping[str, LiveFile]:
        """Live files by uri."""

    @property
    def hours(self) -> Mapping[int | None, Mapping[str, LiveFile]]:
        """Live files by hour and uri."""

    def span(self) -> tuple[int, int] | None:
        """The oldest and the newest hour with a file; None where there is none, or no partition by hour."""

    def write(self, rows: pa.Table, level: int = 0) -> Sequence[LiveFile]:
        """Files of these rows, one an hour that they fall into. Rows may come in any order."""


class Store(Protocol):
    """All tables of one writer. What is staged is seen by nobody before it is published, all of it at once."""

    @property
    def tables(self) -> Mapping[str, TableFiles]:
        """By the table's name."""

    @property
    def sequence(self) -> int:
        """Number of the last publish."""

    @property
    def is_new(self) -> bool:
        """Whether something of the start waits to be published: new tables, new columns."""

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order; in the schema of `row_schema`."""

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""

    def stage(self, changes: Mapping[str, Change]) -> None:
        """Write what makes each table's next snapshot. Nothing is visible, and a failure leaves only files."""

    def publish(self, changes: Mapping[str, Change], as_of: datetime | None, note: str) -> str:
        """Make visible what was staged, and what was reloaded. Returns the commit id.

        Then the live files are those after the changes.
        """

    def reload(self, name: str) -> None:
        """Read a table's live files anew: it was written to past this store."""

    def discard(self, files: Sequence[LiveFile]) -> None:
        """Files that were written and will belong to no snapshot: delete them, or leave them to the sweep."""

    def tidy(self, now: datetime, retention: RetentionSettings) -> Swept:
        """Thin old commits, and delete the files that no kept one reaches."""


@cache
def row_schema(table: Table) -> pa.Schema:
    """Arrow schema of rows in memory: any column may be empty, as rows are from before it was added."""
    return pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
