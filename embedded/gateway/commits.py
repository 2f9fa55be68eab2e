"""Which commits there are, and where each table's metadata lies at each of them."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cachetools import LRUCache

from lakehouse.tables import SCHEMA

_APART = "\x1f"


def key_of(path: Sequence[str]) -> str:
    """What a commit knows a table by: its name where it stands in our folder, else its path below the source."""
    return path[-1] if tuple(path[:-1]) == (SCHEMA,) else _APART.join(("", *path))


def path_of(key: str) -> tuple[str, ...]:
    """The path of a table below the source, from `key_of`."""
    return tuple(key.split(_APART))[1:] if key.startswith(_APART) else (SCHEMA, key)


@dataclass(frozen=True, slots=True)
class Commit:
    """One publish. `tables` maps what a table is known by (key_of) to its metadata location.

    `namespaces` are the folders that the catalogue lists, whether or not tables are in them.
    """

    id: str
    tables: Mapping[str, str]
    namespaces: Sequence[tuple[str, ...]] = ()

    @property
    def published(self) -> bool:
        """Whether a table of ours is there."""
        return any(path_of(key)[:-1] == (SCHEMA,) for key in self.tables)

    def paths(self) -> list[tuple[str, ...]]:
        """The tables' paths below the source, folder by folder."""
        return sorted(path_of(key) for key in self.tables)

    def folders(self) -> list[tuple[str, ...]]:
        """All folders below the source, ours too where nothing is in it yet."""
        found: set[tuple[str, ...]] = {(SCHEMA,)}
        for folder in (*self.namespaces, *(path[:-1] for path in self.paths())):
            found.update(tuple(folder[:depth]) for depth in range(1, len(folder) + 1))
        return sorted(found)


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit as SHOW LOGS tells it; authored_us: us since the epoch."""

    commit_id: str
    author: str | None
    authored_us: int | None
    message: str | None


class Commits(Protocol):
    """The history of the branch main, newest publish last. None: no such commit, or nothing published yet.

    Every method may be called from any thread. On this machine each costs well under a millisecond; asking Nessie takes
    a few. Each raises Refusal (UNAVAILABLE) where Nessie or S3 does not answer.
    """

    @property
    def look_every_s(self) -> float:
        """How often the head may be asked for, for those who wait for another."""

    def head(self) -> Commit | None: ...

    def by_id(self, commit_id: str) -> Commit | None: ...

    def by_tag(self, tag: str) -> Commit | None: ...

    def by_branch(self, branch: str) -> Commit | None:
        """The head of another branch than main."""

    def at(self, time_us: int, reference: str = "main") -> Commit | None:
        """The commit of a branch or tag in force at that time, or the newest kept one before it."""

    def changes(self, commit_id: str) -> Iterable[LoggedCommit]:
        """A commit and those that it comes from, newest first."""

    def tags(self) -> list[tuple[str, str]]:
        """Tag and commit id."""

    def branches(self) -> list[tuple[str, str]]:
        """Branch and commit id of the branches beside main."""

    def metadata_locations(self, table: str) -> Iterable[str]:
        """Metadata locations of a table at kept commits, newest first: those that list any snapshot still readable."""


_COLUMNS = "SELECT commit_id, tables FROM publications"
_KEPT_IN_MEMORY = 64
_AUTHOR, _MESSAGE = "ingest", "publish"


class SqliteCommits:
    """The `publications` of catalog.db, read only. A missing file or table means that nothing is published yet."""

    look_every_s = 0.02  # a file of this machine

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._seen: LRUCache[str, Commit] = LRUCache(_KEPT_IN_MEMORY)

    def head(self) -> Commit | None:
        return self._one("SELECT commit_id FROM publications ORDER BY sequence DESC LIMIT 1")

    def by_id(self, commit_id: str) -> Commit | None:
        return self._one("SELECT commit_id FROM publications WHERE commit_id = ?", commit_id)

    def by_tag(self, tag: str) -> Commit | None:
        return self._one("SELECT commit_id FROM publications WHERE tag = ? ORDER BY sequence DESC LIMIT 1", tag)

    def by_branch(self, branch: str) -> Commit | None:
        return None

    def branches(self) -> list[tuple[str, str]]:
        return []

    def at(self, time_us: int, reference: str = "main") -> Commit | None:
        if reference == "main":
            return self._one(
                "SELECT commit_id FROM publications WHERE published_at <= ? ORDER BY sequence DESC LIMIT 1", time_us
            )
        return self._one(
            "SELECT commit_id FROM publications WHERE published_at <= ? "
            "AND sequence <= (SELECT max(sequence) FROM publications WHERE tag = ?) ORDER BY sequence DESC LIMIT 1",
            time_us,
            reference,
        )

    def changes(self, commit_id: str) -> list[LoggedCommit]:
        rows = self._rows(
            "SELECT commit_id, published_at FROM publications "
            "WHERE sequence <= (SELECT sequence FROM publications WHERE commit_id = ?) ORDER BY sequence DESC",
            commit_id,
        )
        return [LoggedCommit(str(name), _AUTHOR, int(published_at), _MESSAGE) for name, published_at in rows]

    def tags(self) -> list[tuple[str, str]]:
        return [
            (str(tag), str(commit))
            for tag, commit in self._rows(
                "SELECT tag, commit_id FROM publications WHERE tag IS NOT NULL ORDER BY sequence"
            )
        ]

    def metadata_locations(self, table: str) -> list[str]:
        rows = self._rows(
            "SELECT json_extract(tables, '$.' || ?) FROM publications ORDER BY sequence DESC", f'"{table}"'
        )
        return list(dict.fromkeys(str(row[0]) for row in rows if row[0]))

    def _one(self, query: str, *values: object) -> Commit | None:
        """The commit whose id the query gives. Its row is asked each time, since thinning may have taken it."""
        rows = self._rows(query, *values)
        if not rows:
            return None
        commit_id = str(rows[0][0])
        with self._lock:
            known = self._seen.get(commit_id)
            if known is not None:
                return known
        rows = self._rows(f"{_COLUMNS} WHERE commit_id = ?", commit_id)
        if not rows:
            return None
        commit = Commit(commit_id, json.loads(rows[0][1]))
        with self._lock:
            self._seen[commit_id] = commit
        return commit

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        connection = self._connection()
        if connection is None:
            return []
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            self._local.connection = None
            raise

    def _connection(self) -> sqlite3.Connection | None:
        """This thread's connection; a new one when catalog.db was replaced, none while it is missing."""
        try:
            status = self._path.stat()
        except OSError:
            self._local.connection = None
            with self._lock:
                self._seen.clear()
            return None
        file = (status.st_dev, status.st_ino)
        held = getattr(self._local, "connection", None)
        if held is not None and self._local.file == file:
            return held  # type: ignore[no-any-return]  # threading.local is untyped
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
        connection.execute("PRAGMA query_only = 1")
        self._local.connection = connection
        self._local.file = file
        with self._lock:
            self._seen.clear()
        return connection
