"""What the relations of a statement are: tables at a commit, INFORMATION_SCHEMA, and what table functions answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pyarrow as pa

from embedded.gateway import information
from embedded.gateway.ahead import Ahead
from embedded.gateway.commits import Commit, Commits, path_of
from embedded.gateway.errors import object_not_found, validation
from embedded.gateway.files import Files
from embedded.gateway.heads import Head
from embedded.gateway.metadata import Pieces, TableMetadata
from embedded.gateway.nested import empty_sql, quoted
from embedded.gateway.paths import Context, Path, information_table, lookups, table_key, written
from embedded.gateway.patience import Check, each
from embedded.gateway.relations import Relation
from embedded.gateway.snapshots import Snapshot, Snapshots, StoredColumn
from embedded.gateway.sql.kinds import of_arrow, stored
from embedded.gateway.sql.queries import Column
from embedded.gateway.table_functions import SCHEMAS, not_found, refuse_time_travel
from embedded.gateway.versions import At
from lakehouse.tables import CATALOG


@dataclass(frozen=True)
class ResolvedRelation:
    """A relation, resolved: `schema_key` stands for its columns, `empty` is a table expression with them, without rows.

    `columns` are its names and types, `names` those in small letters. It is a snapshot of a table, or has `rows` of the
    gateway's own.
    """

    schema_key: str
    empty: str
    names: frozenset[str]
    columns: Sequence[Column]
    snapshot: Snapshot | None = None
    rows: Callable[[Check], pa.Table] | None = None


class RelationFinder:
    """Finds relations. Every method may be called from any thread, and raises Refusal for what is not there.

    Each raises what `check` does, too, while it looks.
    """

    def __init__(self, commits: Commits, snapshots: Snapshots, files: Files, ahead: Ahead | None) -> None:
        self._commits = commits
        self._snapshots = snapshots
        self._files = files
        self._ahead = ahead
        self._pieces = Pieces()

    def find(
        self, relation: Relation, ats: tuple[At, ...], context: Context, head: Head, check: Check
    ) -> tuple[Commit, ResolvedRelation]:
        """The commit at which a relation is read, and what it is there."""
        check()
        at = None if relation.at is None else ats[relation.at]
        if at is not None:
            if relation.function is not None:
                refuse_time_travel(relation.function, at)
            commit = head.at(at)
        elif any(information_table(path) for path in lookups(relation.path, context.schema)):
            commit = head.main  # whatever version the session uses
        else:
            commit = head.commit
        return commit, self.at(relation, ats, context, commit, check)

    def at(
        self, relation: Relation, ats: tuple[At, ...], context: Context, commit: Commit, check: Check
    ) -> ResolvedRelation:
        """What a relation is at a commit."""
        check()
        at = None if relation.at is None else ats[relation.at]
        if relation.function is not None:
            return self._function(relation, relation.function, at, context, commit, check)
        found = self._look(relation.path, at, context, commit)
        if found is None:
            raise object_not_found(list(relation.path), relation.start, len(relation.path[-1]))
        path, location = found
        if location is None:
            if at is not None:
                raise validation(f"Time travel is not supported on table '[{', '.join(path)}]'", at.start)
            return _own(path[1].upper(), commit, self._columns_of)
        return _of(self._snapshot(path, location, at, check))

    def columns(
        self, path: Path, commit: Commit, at: At | None, context: Context, check: Check
    ) -> Sequence[StoredColumn] | None:
        """The columns of a table by its path; None when it is not there."""
        found = self._look(path, at, context, commit)
        if found is None:
            return None
        full, location = found
        if location is None:
            return information.own_columns(full[1].upper())
        return self._snapshot(full, location, at, check).columns

    def _look(self, path: Path, at: At | None, context: Context, commit: Commit) -> tuple[Path, str | None] | None:
        """The full path of a table and where its metadata lies, None for INFORMATION_SCHEMA's; None for no table."""
        # With a version Dremio looks for the path as it is written.
        for full in lookups(path, context.schema, apart=at is None):
            if information_table(full) in information.TABLES:
                return full, None
            location = commit.tables.get(table_key(full) or "")
            if location is not None:
                return full, location
        return None

    def _function(
        self, relation: Relation, function: str, at: At | None, context: Context, commit: Commit, check: Check
    ) -> ResolvedRelation:
        found = next(
            (full for full in lookups(relation.path, context.schema, apart=False) if table_key(full) in commit.tables),
            None,
        )
        if found is None:
            raise not_found(written(relation.path), relation.start)
        snapshot = self._snapshot(found, commit.tables[table_key(found) or ""], at, check)
        if function == "TABLE_PARTITIONS":
            self._metadata(snapshot).refuse_unpartitioned(written(found), relation.start)
        schema = SCHEMAS[function]
        names = frozenset(schema.names)
        rows = partial(self._rows_of, snapshot, function)
        return ResolvedRelation(function, empty_sql(schema), names, _columns(schema), rows=rows)

    def _rows_of(self, snapshot: Snapshot, function: str, check: Check) -> pa.Table:
        return self._metadata(snapshot).rows(function, check)

    def _metadata(self, snapshot: Snapshot) -> TableMetadata:
        return TableMetadata(self._files, snapshot.metadata_location, snapshot.past_id, self._pieces)

    def _columns_of(self, table: str, commit: Commit) -> Sequence[StoredColumn] | None:
        location = commit.tables.get(table)
        return None if location is None else self._snapshots.at(location).columns

    def _snapshot(self, path: Path, location: str, at: At | None, check: Check) -> Snapshot:
        table = table_key(path) or ""
        if self._ahead is not None:
            self._ahead.asked(table)
        if at is None or at.kind != "SNAPSHOT":
            return self._snapshots.at(location)
        return self._past(table, location, at, check)

    def _past(self, table: str, location: str, at: At, check: Check) -> Snapshot:
        """A table's snapshot by its id: the live metadata lists the last few, past ones stand in their own metadata."""
        try:
            wanted = int(at.value)
        except ValueError:
            raise validation(f"'{at.value}' is no snapshot id", at.start) from None
        for candidate in each(chain([location], self._commits.metadata_locations(table)), check):
            if self._snapshots.holds(candidate, wanted):
                return self._snapshots.at(candidate, wanted)
        full = ".".join((CATALOG, *path_of(table)))
        raise validation(f"Snapshot '{at.value}' not found for table {full}", at.start)


# ---- as DuckDB names them -------------------------------------------------------------------------------------------

_DUCKDB = {
    "string": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "binary": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP",
    "uuid": "UUID",
}


def duckdb_type(column: StoredColumn) -> str:
    return _DUCKDB.get(column.type) or column.type.upper()


def _of(snapshot: Snapshot) -> ResolvedRelation:
    names = frozenset(column.name.lower() for column in snapshot.columns)
    columns = [(column.name, stored(column.type)) for column in snapshot.columns]
    return ResolvedRelation(snapshot.schema_key, _empty_sql(snapshot.columns), names, columns, snapshot)


def _empty_sql(columns: tuple[StoredColumn, ...]) -> str:
    items = ", ".join(f"CAST(NULL AS {duckdb_type(column)}) AS {quoted(column.name)}" for column in columns)
    return f"(SELECT {items} WHERE false)"


def _own(name: str, commit: Commit, columns: information.Columns) -> ResolvedRelation:
    """A table of INFORMATION_SCHEMA."""
    schema = information.TABLES[name]
    names = frozenset(field.lower() for field in schema.names)
    rows = partial(information.rows, name, commit, columns)
    return ResolvedRelation(name, empty_sql(schema), names, _columns(schema), rows=rows)


def _columns(schema: pa.Schema) -> list[Column]:
    return [(field.name, of_arrow(field.type)) for field in schema]
