"""What catalog.db says: where each table's metadata lies, which commits are kept, which files went out of use.

A past commit is reached through its own metadata files, so live metadata lists only the newest snapshots. What a
publish stops referring to goes into `retired` with the span of publishes that could reach it; it may be deleted once no
kept publication lies in that span.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from lakehouse.tables import CATALOG, SCHEMA
from pipeline.storage.sweep import Publish, kept

# The first two are those of Iceberg's SQL catalog, so that PyIceberg's SqlCatalog opens the file. It does not make them
# here: with what it loads a start would take half a second more.
_TABLES = """
CREATE TABLE IF NOT EXISTS iceberg_tables (
  catalog_name VARCHAR(255) NOT NULL,
  table_namespace VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL,
  metadata_location VARCHAR(1000),
  previous_metadata_location VARCHAR(1000),
  iceberg_type VARCHAR(5),
  PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
  catalog_name VARCHAR(255) NOT NULL,
  namespace VARCHAR(255) NOT NULL,
  property_key VARCHAR(255) NOT NULL,
  property_value VARCHAR(1000) NOT NULL,
  PRIMARY KEY (catalog_name, namespace, property_key)
);
CREATE TABLE IF NOT EXISTS publications (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  commit_id TEXT UNIQUE NOT NULL,
  published_at INTEGER NOT NULL,
  as_of INTEGER,
  tables TEXT NOT NULL,
  tag TEXT
);
CREATE TABLE IF NOT EXISTS retired (
  path TEXT PRIMARY KEY,
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  retired_at INTEGER NOT NULL
) WITHOUT ROWID;
"""


def now_us() -> int:
    return time.time_ns() // 1000


class Publications:
    """The database of one writer."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def pointers(self) -> dict[str, str]:
        """Where each table's metadata lies now; nothing where no table was ever made."""
        rows = self._db.execute(
            "SELECT table_name, metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ?",
            (CATALOG, SCHEMA),
        )
        return dict(rows.fetchall())

    def create(self, made: Mapping[str, str]) -> None:
        """In one transaction: tables that were not there, by where their metadata lies."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')", (CATALOG, SCHEMA)
            )
            self._db.executemany(
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) "
                "VALUES (?, ?, ?, ?)",
                [(CATALOG, SCHEMA, name, location) for name, location in made.items()],
            )

    def newest(self) -> tuple[int, dict[str, str]]:
        """Number of the newest publication, and where it has the tables' metadata; 0 and nothing before the first."""
        row = self._db.execute("SELECT sequence, tables FROM publications ORDER BY sequence DESC LIMIT 1").fetchone()
        return (int(row[0]), dict(json.loads(row[1]))) if row else (0, {})

    def add(
        self,
        sequence: int,
        as_of: int | None,
        before: Mapping[str, str],
        moved: Mapping[str, str],
        retired: Iterable[tuple[str, int]],
    ) -> str:
        """In one transaction: move the pointers of tables that are at `before`, and add the publication.

        `retired` are files that no publish from this one on reaches, each with the first that could. Returns the commit
        id (64 hex digits). Raises RuntimeError when another process moved a pointer.
        """
        published_at = now_us()
        locations = {**before, **moved}
        with self._transaction("BEGIN IMMEDIATE"):
            for name, location in moved.items():
                changed = self._db.execute(
                    "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
                    "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
                    (location, before[name], CATALOG, SCHEMA, name, before[name]),
                )
                if changed.rowcount != 1:
                    raise RuntimeError(f"table {name} was changed by another process")
            stamp = json.dumps([sequence, published_at, locations], sort_keys=True)
            commit_id = hashlib.sha256(stamp.encode()).hexdigest()
            self._db.execute(
                "INSERT INTO publications (sequence, commit_id, published_at, as_of, tables) VALUES (?, ?, ?, ?, ?)",
                (sequence, commit_id, published_at, as_of, json.dumps(locations, sort_keys=True)),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO retired VALUES (?, ?, ?, ?)",
                [(path, born, sequence - 1, published_at) for path, born in retired],
            )
        return commit_id

    def thin(self, now: int, every: timedelta, first_of_minute: timedelta) -> int:
        """Drop past commits; see Catalog.thin."""
        rows = self._db.execute("SELECT sequence, published_at, tag FROM publications ORDER BY sequence").fetchall()
        publishes = [Publish(sequence, at, held=tag is not None) for sequence, at, tag in rows]
        stay = {publish.id for publish in kept(publishes, now, every, first_of_minute)}
        going = [(publish.id,) for publish in publishes if publish.id not in stay]
        with self._transaction():
            self._db.executemany("DELETE FROM publications WHERE sequence = ?", going)
        return len(going)

    def unreached(self, before: int) -> list[str]:
        """Retired files that no kept commit reaches, and that were retired before then (us)."""
        rows = self._db.execute(
            """
            SELECT path FROM retired r WHERE retired_at < ? AND NOT EXISTS (
              SELECT 1 FROM publications p WHERE p.sequence BETWEEN r.first_sequence AND r.last_sequence)
            """,
            (before,),
        )
        return [uri for (uri,) in rows]

    def forget(self, uris: Iterable[str]) -> None:
        """These retired files are deleted."""
        with self._transaction():
            self._db.executemany("DELETE FROM retired WHERE path = ?", [(uri,) for uri in uris])

    def held(self) -> Iterator[str]:
        """Retired files, and the metadata files of kept commits."""
        yield from (row[0] for row in self._db.execute("SELECT path FROM retired"))
        for (tables,) in self._db.execute("SELECT tables FROM publications"):
            yield from json.loads(tables).values()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN") -> Iterator[None]:
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
