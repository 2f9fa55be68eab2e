"""A statement from its text to its rows: plan it (schema and ticket, nothing runs), then run the ticket.

Each statement sees one commit: the head of main is resolved once, when it is planned, and stands in the ticket. So the
schema and the rows agree, and the ticket may be run again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from embedded.gateway import commands, wire
from embedded.gateway.ahead import Ahead
from embedded.gateway.commits import Commit, Commits
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import MAX_BATCH_ROWS, Engine, nobody_left
from embedded.gateway.errors import (
    Kind,
    Refusal,
    data_read,
    needs_iceberg_scan,
    object_not_found,
    too_many_rows,
    validation,
)
from embedded.gateway.files import Files, LocalFiles
from embedded.gateway.reading import empty_sql, name_sql, parquet, ranges_of, read_item, text_sql, where_of
from embedded.gateway.relations import Bound, Relation
from embedded.gateway.shelf import Reading, Shelf
from embedded.gateway.snapshots import DataFile, Snapshot, Snapshots, StoredColumn
from embedded.gateway.turns import Turns
from embedded.gateway.values import At, time_us
from embedded.gateway.waiting import Waiting
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.tables import CATALOG, SCHEMA

_EMPTY = Commit(NOTHING_PUBLISHED, {})
_PLANS_KEPT = 512
_COLUMNS_KEPT = 40
"""Of each plan; one with more of them counts for several."""
_PROOF_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Planned:
    schema: pa.Schema
    ticket: bytes


@dataclass(frozen=True)
class Streamed:
    """Rows, with the schema of the wire. `batches` yields nothing for an empty answer; `uses` is what USE asked for."""

    sql: str
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    uses: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Source:
    """A relation, resolved: `schema_key` stands for its columns, `empty` is a table expression with them, without rows.

    `names` are its columns in small letters. Without a snapshot it is a table of INFORMATION_SCHEMA, and `empty` is
    that table itself.
    """

    snapshot: Snapshot | None
    schema_key: str
    empty: str
    names: frozenset[str]


class _Head:
    """The head of main, asked for once, and only by a statement that needs it."""

    def __init__(self, commits: Commits, ahead: Ahead | None) -> None:
        self._commits = commits
        self._ahead = ahead

    @cached_property
    def commit(self) -> Commit:
        commit = self._commits.head() or _EMPTY
        if self._ahead is not None:
            self._ahead.head(commit)
        return commit


class Statements:
    """Plans and runs statements. May be used from many threads.

    `ticket_key` proves that a ticket was made here: whoever starts with the same key runs the tickets of before.
    """

    def __init__(
        self,
        commits: Commits,
        engine: Engine,
        rows_in_memory: int = 0,
        files: Files | None = None,
        ticket_key: bytes | None = None,
        most_rows: int = 10_000_000,
        statements_a_user: int = 100,
    ) -> None:
        self._turns = Turns(statements_a_user)
        self._most_rows = most_rows
        self._ticket_key = ticket_key or secrets.token_bytes(32)
        self._commits = commits
        self._engine = engine
        self._files = files or LocalFiles()
        self._snapshots = Snapshots(self._files)
        # Files of this machine are read as fast as they are named.
        self._ahead = None if files is None or isinstance(files, LocalFiles) else Ahead(self._snapshots, files)
        self._waiting = Waiting(self._head_id, commits.look_every_s)
        self._shelf = Shelf(engine.execute, rows_in_memory)
        self._dialect = Dialect()
        self._lock = threading.Lock()
        self._schemas: LRUCache[tuple[str, ...], pa.Schema] = LRUCache(
            _PLANS_KEPT * _COLUMNS_KEPT, lambda schema: max(len(schema), _COLUMNS_KEPT)
        )

    def next_head(self, known: str, wait_s: float) -> str:
        """The head of main once it is another commit than `known`, or when the wait is over. Raises Refusal."""
        return self._waiting.head(known, wait_s)

    def _head_id(self) -> str:
        return _Head(self._commits, self._ahead).commit.id

    def plan(
        self, sql: str, context: tuple[str, ...], gone: Callable[[], bool] = nobody_left, user: str = ""
    ) -> Planned:
        """Schema and ticket of a statement; `context` is the session's schema. Raises Refusal.

        `gone` says that nobody waits any more; `user` is who asks.
        """
        with self._turns.one(user):
            return self._plan(sql, context, gone)

    def _plan(self, sql: str, context: tuple[str, ...], gone: Callable[[], bool]) -> Planned:
        statement = self._dialect.read(sql, lambda text: self._engine.read_apart(text, gone))
        head = _Head(self._commits, self._ahead)
        ticket: dict[str, object] = {"sql": sql, "context": context}
        if not isinstance(statement, Statement):
            ticket["head"] = head.commit.id
            table = commands.answer(statement, context, self._commits, head.commit, self.columns)
            return Planned(table.schema, self._signed(ticket))
        found = [self._resolve(relation, statement.ats, context, head) for relation in statement.shape.relations]
        ticket["commits"] = [commit.id for commit, _ in found]
        schema = self._schema(statement, [source for _, source in found], sql, gone)
        return Planned(schema, self._signed(ticket))

    def run(self, ticket: bytes, gone: Callable[[], bool], user: str = "") -> Streamed:
        """The rows of a planned statement, at the commits it was planned for. Raises Refusal."""
        content = self._opened(ticket)
        sql, context = str(content["sql"]), tuple(content["context"])
        head_id, commit_ids = str(content.get("head")), content.get("commits", ())
        statement = self._dialect.read(sql, lambda text: self._engine.read_apart(text, gone))
        if not isinstance(statement, Statement):
            table = commands.answer(statement, context, self._commits, self._by_id(head_id, 0), self.columns)
            schema = commands.use(statement, context)
            return Streamed(sql, table.schema, iter(table.to_batches(MAX_BATCH_ROWS)), schema)
        pairs = zip(statement.shape.relations, commit_ids, strict=True)
        sources = [
            self._source(relation, statement.ats, context, self._by_id(commit_id, 0)) for relation, commit_id in pairs
        ]
        schema = self._schema(statement, sources, sql, gone)
        return Streamed(sql, schema, self._rows(statement, sources, sql, schema, gone, user))

    def _signed(self, content: dict[str, object]) -> bytes:
        body = json.dumps(content).encode()
        return self._proof(body) + body

    def _opened(self, ticket: bytes) -> dict[str, Any]:
        """What a ticket of this server says. Raises Refusal for any other."""
        proof, body = ticket[:_PROOF_BYTES], ticket[_PROOF_BYTES:]
        if not hmac.compare_digest(proof, self._proof(body)):
            raise Refusal(Kind.INTERNAL, "The ticket is not one of this server: plan the statement again.")
        content: dict[str, Any] = json.loads(body)
        return content

    def _proof(self, body: bytes) -> bytes:
        return hmac.new(self._ticket_key, body, hashlib.sha256).digest()

    def _rows(
        self,
        statement: Statement,
        sources: list[_Source],
        sql: str,
        schema: pa.Schema,
        gone: Callable[[], bool],
        user: str,
    ) -> Iterator[pa.RecordBatch]:
        heavy, rows = statement.shape.heavy, 0
        with self._turns.one(user), ExitStack() as held:
            relations = [
                self._relation(source, relation.bounds, statement.times, held, in_memory=not heavy)
                for source, relation in zip(sources, statement.shape.relations, strict=True)
            ]
            query = statement.shape.filled(relations, statement.times)
            batches = self._engine.run_apart(query, sql, gone) if heavy else self._engine.run(query, gone)
            for batch in batches:
                rows += batch.num_rows
                if rows > self._most_rows:
                    raise too_many_rows(self._most_rows)
                yield wire.cast(batch, schema)

    def _relation(
        self,
        source: _Source,
        bounds: tuple[Bound, ...],
        times: tuple[str, ...],
        held: ExitStack,
        *,
        in_memory: bool,
    ) -> str:
        """A table expression: only the files that may hold a row inside the bounds, and of them only the rows inside.

        Dremio cuts times to milliseconds when it reads; so does this, without a time zone calendar, which costs DuckDB
        more than reading does.
        """
        snapshot = source.snapshot
        if snapshot is None:
            return source.empty
        ranges = ranges_of(snapshot, bounds, times)
        items = ", ".join(read_item(column) for column in snapshot.columns)
        where = where_of(ranges, snapshot)
        files = self._snapshots.files_in(snapshot, ranges)
        if files is None:
            if why := self._engine.no_iceberg_scan:
                raise needs_iceberg_scan(snapshot.metadata_location, why)
            past = f", snapshot_from_id = {snapshot.past_id}" if snapshot.past_id is not None else ""
            return f"(SELECT {items} FROM iceberg_scan({text_sql(snapshot.metadata_location)}{past}){where})"
        reading = self._reading(snapshot)
        if not in_memory:
            return f"(SELECT {items} FROM {held.enter_context(reading(files))}{where})" if files else source.empty
        shelved = held.enter_context(self._shelf.holding(snapshot.schema_key, items, source.empty, files, reading))
        parts: list[str] = []
        if shelved.numbers:
            names = ", ".join(name_sql(column.name) for column in snapshot.columns)
            numbers = ", ".join(map(str, shelved.numbers))
            parts.append(f"SELECT {names} FROM {shelved.table} WHERE __file IN ({numbers})")
        if shelved.rest:
            parts.append(f"SELECT {items} FROM {held.enter_context(reading(shelved.rest))}{where}")
        return f"({' UNION ALL '.join(parts)})" if parts else source.empty

    def _reading(self, snapshot: Snapshot) -> Reading:
        @contextmanager
        def reading(files: Sequence[DataFile]) -> Iterator[str]:
            with ExitStack() as held:
                try:
                    paths = held.enter_context(self._files.holding([file.path for file in files]))
                except OSError as error:
                    raise data_read(snapshot.metadata_location, error) from None
                yield parquet(paths, snapshot)

        return reading

    def columns(self, table: str, commit: Commit) -> tuple[StoredColumn, ...] | None:
        """The columns of a table at a commit; None when it is not there."""
        location = commit.tables.get(table)
        return None if location is None else self._snapshots.at(location).columns

    # ---- which table, at which commit -------------------------------------------------------------------------------

    def _resolve(
        self, relation: Relation, ats: tuple[At, ...], context: tuple[str, ...], head: _Head
    ) -> tuple[Commit, _Source]:
        at = None if relation.at is None else ats[relation.at]
        commit = head.commit if at is None else self._commit_at(at, head)
        return commit, self._source(relation, ats, context, commit)

    def _commit_at(self, at: At, head: _Head) -> Commit:
        found: Commit | None
        match at.kind:
            case "BRANCH":
                found = head.commit if at.value == "main" else self._commits.by_branch(at.value)
            case "TAG":
                found = self._commits.by_tag(at.value)
            case "COMMIT":
                found = self._by_id(at.value, at.start)
            case "REF":
                found = (
                    head.commit
                    if at.value == "main"
                    else self._commits.by_branch(at.value)
                    or self._commits.by_tag(at.value)
                    or self._commits.by_id(at.value)
                )
            case "TIMESTAMP":
                found = self._commits.at(time_us(at.value))
                if found is None:
                    raise validation(f"No commit of branch main was in force at '{at.value}'", at.start)
            case _:  # SNAPSHOT, looked up from the head
                found = head.commit
        if found is None:
            name = {"REF": "Reference"}.get(at.kind, at.kind.capitalize())
            raise validation(f"{name} '{at.value}' not found in source {CATALOG}", at.start)
        return found

    def _by_id(self, commit_id: str, start: int) -> Commit:
        if commit_id == NOTHING_PUBLISHED:
            return _EMPTY
        found = self._commits.by_id(commit_id)
        if found is None:
            raise validation(
                f"Commit '{commit_id}' not found in source {CATALOG}: it never was, or is kept no longer", start
            )
        return found

    def _source(self, relation: Relation, ats: tuple[At, ...], context: tuple[str, ...], commit: Commit) -> _Source:
        path = commands.full_path(relation.path, context)
        if len(path) == 2 and path[0].upper() == "INFORMATION_SCHEMA":
            names, rows = commands.information(path[1].upper(), commit, self.columns)
            return _Source(None, path[1].upper(), rows, frozenset(name.lower() for name in names))
        name = commands.table_name(path)
        location = commit.tables.get(name) if name else None
        if location is None:
            raise object_not_found(list(path), relation.start, len(path[-1]))
        if self._ahead is not None:
            self._ahead.asked(str(name))
        at = None if relation.at is None else ats[relation.at]
        if at is None or at.kind != "SNAPSHOT":
            return _of(self._snapshots.at(location))
        return _of(self._past(str(name), location, at))

    def _past(self, table: str, location: str, at: At) -> Snapshot:
        """A table's snapshot by its id: the live metadata lists the last few, past ones stand in their own metadata."""
        try:
            wanted = int(at.value)
        except ValueError:
            raise validation(f"'{at.value}' is no snapshot id", at.start) from None
        for candidate in chain([location], self._commits.metadata_locations(table)):
            if self._snapshots.holds(candidate, wanted):
                return self._snapshots.at(candidate, wanted)
        raise validation(f"Snapshot '{at.value}' not found for table {CATALOG}.{SCHEMA}.{table}", at.start)

    # ---- schema -----------------------------------------------------------------------------------------------------

    def _schema(self, statement: Statement, sources: list[_Source], sql: str, gone: Callable[[], bool]) -> pa.Schema:
        """The answer's schema, remembered by shape and by the schemas of its tables."""
        key = (
            hashlib.sha256(statement.shape.sql.encode(errors="surrogatepass")).hexdigest(),
            *(source.schema_key for source in sources),
        )
        with self._lock:
            known = self._schemas.get(key)
            if known is not None:
                return known
        for need in statement.shape.needs:
            if not any(need.column.lower() in sources[number].names for number in need.relations):
                raise need.refusal()
        query = statement.shape.filled([source.empty for source in sources], statement.times)
        schema = wire.schema_of(self._engine.describe(query, sql, statement.shape.heavy, gone))
        with self._lock, suppress(ValueError):  # wider than all that is kept
            self._schemas[key] = schema
        return schema


def _of(snapshot: Snapshot) -> _Source:
    names = frozenset(column.name.lower() for column in snapshot.columns)
    return _Source(snapshot, snapshot.schema_key, empty_sql(snapshot.columns), names)
