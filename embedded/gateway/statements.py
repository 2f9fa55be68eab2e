"""A statement from its text to its rows: plan it (schema and ticket, nothing runs), then run the ticket.

Each statement sees one commit: the head of main is resolved once, when it is planned, and stands in the ticket. So the
schema and the rows agree, and the ticket may be run again.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from embedded.gateway import commands, wire
from embedded.gateway.ahead import Ahead
from embedded.gateway.commits import Commit, Commits
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import MAX_BATCH_ROWS, Engine
from embedded.gateway.errors import Kind, Refusal, data_read, needs_iceberg_scan, validation
from embedded.gateway.files import Files, LocalFiles
from embedded.gateway.heads import Head, commit_of, refuse_requested
from embedded.gateway.nested import given_sql
from embedded.gateway.paths import Context
from embedded.gateway.relations import Bound
from embedded.gateway.seal import Seal
from embedded.gateway.shelf import Reading, Shelf
from embedded.gateway.snapshots import DataFile, Snapshot, Snapshots, StoredColumn
from embedded.gateway.sources import Source, Sources, duckdb_type, quoted
from embedded.gateway.values import time_us
from embedded.gateway.versions import At
from embedded.gateway.waiting import Waiting

_NO_CONTEXT = Context()
_PLANS_KEPT = 512


@dataclass(frozen=True)
class Planned:
    schema: pa.Schema
    ticket: bytes


@dataclass(frozen=True)
class Streamed:
    """Rows, with the schema of the wire. `batches` yields nothing for an empty answer.

    `uses` is what the session has from now on, where the statement said so.
    """

    sql: str
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    uses: Context | None = None


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
    ) -> None:
        self._tickets = Seal(ticket_key or secrets.token_bytes(32))
        self._commits = commits
        self._engine = engine
        self._files = files or LocalFiles()
        self._snapshots = Snapshots(self._files)
        # Files of this machine are read as fast as they are named.
        self._ahead = None if files is None or isinstance(files, LocalFiles) else Ahead(self._snapshots, files)
        self._sources = Sources(commits, self._snapshots, self._files, self._ahead)
        self._waiting = Waiting(self._head_id, commits.look_every_s)
        self._shelf = Shelf(engine.execute, rows_in_memory)
        self._dialect = Dialect()
        self._lock = threading.Lock()
        self._schemas: LRUCache[tuple[str, ...], pa.Schema] = LRUCache(_PLANS_KEPT)

    def next_head(self, known: str, wait_s: float) -> str:
        """The head of main once it is another commit than `known`, or when the wait is over. Raises Refusal."""
        return self._waiting.head(known, wait_s)

    def _head_id(self) -> str:
        return self._head(Context()).main.id

    def _head(self, context: Context) -> Head:
        return Head(self._commits, self._ahead, context.version, self._moment)

    def plan(self, sql: str, context: Context = _NO_CONTEXT) -> Planned:
        """Schema and ticket of a statement; `context` is the session's. Raises Refusal."""
        statement = self._dialect.read(sql)
        head = self._head(context)
        ticket: dict[str, object] = {"sql": sql, "context": context.told()}
        if not isinstance(statement, Statement):
            command = commands.read(sql, statement, context)
            if command.explains is not None:
                self._explain(sql, command.explains, context)
            commit = self._commanded(command.at, head)
            ticket["head"] = commit.id
            if not command.long:
                command.table(commit, self._looking(context))
            return Planned(command.schema, self._signed(ticket))
        found = [self._sources.find(relation, statement.ats, context, head) for relation in statement.shape.relations]
        ticket["commits"] = [commit.id for commit, _ in found]
        schema = self._schema(statement, [source for _, source in found], sql)
        return Planned(schema, self._signed(ticket))

    def run(self, ticket: bytes, gone: Callable[[], bool]) -> Streamed:
        """The rows of a planned statement, at the commits it was planned for. Raises Refusal."""
        content = self._opened(ticket)
        sql, context = str(content["sql"]), Context.of(content["context"])
        head_id, commit_ids = str(content.get("head")), content.get("commits", ())
        statement = self._dialect.read(sql)
        if not isinstance(statement, Statement):
            command = commands.read(sql, statement, context)
            table = command.table(commit_of(self._commits, head_id), self._looking(context))
            return Streamed(sql, table.schema, iter(table.to_batches(MAX_BATCH_ROWS)), command.uses)
        pairs = zip(statement.shape.relations, commit_ids, strict=True)
        sources = [
            self._sources.at(relation, statement.ats, context, commit_of(self._commits, commit_id))
            for relation, commit_id in pairs
        ]
        schema = self._schema(statement, sources, sql)
        return Streamed(sql, schema, self._rows(statement, sources, schema, gone))

    def _looking(self, context: Context) -> commands.Looking:
        return commands.Looking(
            self._commits, lambda path, commit, at: self._sources.columns(path, commit, at, context)
        )

    def _commanded(self, at: At | None, head: Head) -> Commit:
        """The commit that a command is about."""
        if at is None:
            return head.commit
        if at.kind in ("SNAPSHOT", "TIMESTAMP", "EXPRESSION"):
            return head.at(at)
        found = head.find(at)
        if found is None:
            raise refuse_requested(head, self._commits, at)
        return found

    def _explain(self, sql: str, start: int, context: Context) -> None:
        """Plan the query that begins at `start`. Raises Refusal for what is wrong with it, at its place."""
        try:
            self.plan(sql[start:], context)
        except Refusal as refusal:
            refusal.start = (refusal.start or 0) + start
            raise

    def _moment(self, at: At) -> int:
        """The time that an expression says, us since the epoch. Raises Refusal for one that says none."""
        before = "SELECT "
        try:
            statement = self._dialect.read(f"{before}{at.value}")
            if not isinstance(statement, Statement) or statement.shape.relations:
                raise validation("Expected timestamp literal or constant timestamp expression", len(before))
            schema = self._schema(statement, [], f"{before}{at.value}")
            if schema.types != [pa.timestamp("ms")]:
                raise validation("Expected timestamp literal or constant timestamp expression", len(before))
            batches = list(self._rows(statement, [], schema, lambda: False))
        except Refusal as refusal:
            refusal.start = max(0, (refusal.start or 0) - len(before)) + at.start
            raise
        [value] = batches[0].column(0).cast(pa.int64()).to_pylist()
        if value is None:
            raise validation("Expected timestamp literal or constant timestamp expression", at.start)
        return int(value) * 1000

    def seal(self, kind: str) -> Seal:
        """For other bytes that go out and come back; they outlive a restart as tickets do."""
        return self._tickets.of(kind)

    def _signed(self, content: dict[str, object]) -> bytes:
        return self._tickets.sealed(json.dumps(content).encode())

    def _opened(self, ticket: bytes) -> dict[str, Any]:
        """What a ticket of this server says. Raises Refusal for any other."""
        body = self._tickets.opened(ticket)
        if body is None:
            raise Refusal(Kind.INTERNAL, "The ticket is not one of this server: plan the statement again.")
        content: dict[str, Any] = json.loads(body)
        return content

    def _rows(
        self, statement: Statement, sources: list[Source], schema: pa.Schema, gone: Callable[[], bool]
    ) -> Iterator[pa.RecordBatch]:
        with ExitStack() as held:
            given: dict[str, pa.Table] = {}
            relations = [
                self._relation(source, relation.bounds, statement.times, held, given)
                for source, relation in zip(sources, statement.shape.relations, strict=True)
            ]
            for batch in self._engine.run(statement.shape.filled(relations, statement.times), gone, given):
                yield wire.cast(batch, schema)

    def _relation(
        self,
        source: Source,
        bounds: tuple[Bound, ...],
        times: tuple[str, ...],
        held: ExitStack,
        given: dict[str, pa.Table],
    ) -> str:
        """A table expression: only the files that may hold a row inside the bounds, and of them only the rows inside.

        Dremio cuts times to milliseconds when it reads; so does this, without a time zone calendar, which costs DuckDB
        more than reading does.
        """
        if source.rows is not None:
            table = source.rows()
            name = f"given_{len(given)}"
            given[name] = table
            return given_sql(table.schema, name)
        snapshot = source.snapshot
        assert snapshot is not None
        ranges = _ranges(snapshot, bounds, times)
        items = ", ".join(_read(column) for column in snapshot.columns)
        where = _where(ranges, snapshot)
        files = self._snapshots.files_in(snapshot, ranges)
        if files is None:
            if why := self._engine.no_iceberg_scan:
                raise needs_iceberg_scan(snapshot.metadata_location, why)
            past = f", snapshot_from_id = {snapshot.past_id}" if snapshot.past_id is not None else ""
            return f"(SELECT {items} FROM iceberg_scan({_text(snapshot.metadata_location)}{past}){where})"
        reading = self._reading(snapshot)
        shelved = held.enter_context(self._shelf.holding(snapshot.schema_key, items, source.empty, files, reading))
        parts: list[str] = []
        if shelved.numbers:
            names = ", ".join(quoted(column.name) for column in snapshot.columns)
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
                yield _parquet(paths, snapshot)

        return reading

    # ---- schema -----------------------------------------------------------------------------------------------------

    def _schema(self, statement: Statement, sources: list[Source], sql: str) -> pa.Schema:
        """The answer's schema, remembered by shape and by the schemas of its tables."""
        key = (statement.shape.sql, *(source.schema_key for source in sources))
        with self._lock:
            known = self._schemas.get(key)
            if known is not None:
                return known
        for need in statement.shape.needs:
            if not any(need.column.lower() in sources[number].names for number in need.relations):
                raise need.refusal()
        query = statement.shape.filled([source.empty for source in sources], statement.times)
        schema = wire.schema_of(self._engine.describe(query, sql))
        with self._lock:
            self._schemas[key] = schema
        return schema


# ---- a relation as DuckDB reads it ----------------------------------------------------------------------------------

_TIMES = ("timestamptz", "timestamp")


def _read(column: StoredColumn) -> str:
    name = quoted(column.name)
    if column.type in _TIMES:
        return f"make_timestamp_ms(epoch_ms({name})) AS {name}"
    return name


def _parquet(paths: Sequence[str], snapshot: Snapshot) -> str:
    """The table expression that reads Parquet files with the snapshot's columns."""
    schema = ""
    if snapshot.by_id:
        columns = ", ".join(
            f"{column.id}: {{name: {_text(column.name)}, type: {_text(_stored_type(column))}, default_value: NULL}}"
            for column in snapshot.columns
        )
        schema = f", schema = MAP {{{columns}}}"
    return f"read_parquet([{', '.join(map(_text, paths))}], hive_partitioning = false{schema})"


def _stored_type(column: StoredColumn) -> str:
    """DuckDB's type of a column as it stands in a file; `_read` makes of it what Dremio has."""
    return "TIMESTAMP WITH TIME ZONE" if column.type == "timestamptz" else duckdb_type(column)


def _ranges(
    snapshot: Snapshot, bounds: tuple[Bound, ...], times: tuple[str, ...]
) -> dict[str, tuple[int | None, int | None]]:
    """By column: from (included) and to (excluded), us since the epoch. Too wide by 1 ms at most."""
    ranges: dict[str, tuple[int | None, int | None]] = {}
    names = {column.name.lower(): column.name for column in snapshot.columns if column.type in _TIMES}
    for bound in bounds:
        name = names.get(bound.column)
        if name is None:
            continue
        low, high = ranges.get(name, (None, None))
        moment = time_us(times[bound.time])
        if bound.op in (">", ">=", "="):
            low = moment if low is None else max(low, moment)
        if bound.op in ("<", "<=", "="):
            # Cut to milliseconds, .123999 is .123 too.
            end = moment if bound.op == "<" else moment + 1000
            high = end if high is None else min(high, end)
        ranges[name] = (low, high)
    return ranges


def _where(ranges: dict[str, tuple[int | None, int | None]], snapshot: Snapshot) -> str:
    zoned = {column.name for column in snapshot.columns if column.type == "timestamptz"}
    conditions: list[str] = []
    for name, (low, high) in ranges.items():
        for op, moment in ((">=", low), ("<", high)):
            if moment is not None:
                time = f"make_timestamp({moment}::BIGINT)"
                # A constant of the column's own type, so that it is compared with the statistics in the files.
                constant = f"CAST({time} AS TIMESTAMPTZ)" if name in zoned else time
                conditions.append(f"{quoted(name)} {op} {constant}")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
