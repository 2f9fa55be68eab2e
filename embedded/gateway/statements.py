"""A statement from its text to its rows: plan it (schema and ticket, nothing runs), then run the ticket.

Each statement sees one commit: the head of main is resolved once, when it is planned, and stands in the ticket. So the
schema and the rows agree, and the ticket may be run again.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from embedded.gateway import commands, wire
from embedded.gateway.ahead import Ahead
from embedded.gateway.columns import described
from embedded.gateway.commits import Commit, Commits
from embedded.gateway.constants import Answer, Constants, Planned
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import Engine, nobody_left
from embedded.gateway.errors import (
    ErrorKind,
    Refusal,
    TooDeep,
    data_read,
    needs_iceberg_scan,
    too_many_rows,
    validation,
)
from embedded.gateway.files import Files, LocalFiles
from embedded.gateway.heads import Head, commit_of, refuse_requested
from embedded.gateway.nested import given_sql, quoted
from embedded.gateway.paths import Context
from embedded.gateway.paths import written as path_written
from embedded.gateway.patience import Check, Patience
from embedded.gateway.reading import parquet, ranges_of, read_item, text_sql, where_of
from embedded.gateway.relations import Bound
from embedded.gateway.seal import Seal
from embedded.gateway.shelf import Reading, Shelf
from embedded.gateway.snapshots import DataFile, Snapshot, Snapshots
from embedded.gateway.sources import RelationFinder, ResolvedRelation
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.translation import WrittenShape, parameter_kinds, write
from embedded.gateway.turns import Turns
from embedded.gateway.versions import At
from embedded.gateway.waiting import Waiting

_NO_CONTEXT = Context()
_LETTERS_KEPT = 2_000_000
# What a plan takes besides its SQL, about, and a column of it: its metadata above all.
_LETTERS_A_PLAN = 2_000
_LETTERS_A_COLUMN = 1_200


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
        most_rows: int = 10_000_000,
        statements_a_user: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._turns = Turns(statements_a_user)
        self._most_rows = most_rows
        self._tickets = Seal(ticket_key or secrets.token_bytes(32))
        self._commits = commits
        self._engine = engine
        self._files = files or LocalFiles()
        self._snapshots = Snapshots(self._files)
        # Files of this machine are read as fast as they are named.
        self._ahead = None if files is None or isinstance(files, LocalFiles) else Ahead(self._snapshots, files)
        self._sources = RelationFinder(commits, self._snapshots, self._files, self._ahead)
        self._waiting = Waiting(self._head_id, commits.look_every_s)
        self._shelf = Shelf(engine.execute, rows_in_memory)
        self._dialect = Dialect()
        self._constants = Constants()
        self._lock = threading.Lock()
        # Long and wide ones count for more, so that a few hundred of them do not fill the memory.
        self._written: LRUCache[tuple[bytes | str, ...], _Plan] = LRUCache(_LETTERS_KEPT, _letters_of)

    def next_head(self, known: str, wait_s: float, user: str = "") -> str:
        """The head of main once it is another commit than `known`, or when the wait is over. Raises Refusal."""
        return self._waiting.head(known, wait_s, user)

    def _head_id(self) -> str:
        return self._head(Context(), nobody_left).main.id

    def _head(self, context: Context, gone: Callable[[], bool]) -> Head:
        return Head(self._commits, self._ahead, context.version, partial(self._moment, gone=gone))

    def plan(
        self, sql: str, context: Context = _NO_CONTEXT, gone: Callable[[], bool] = nobody_left, user: str = ""
    ) -> Planned:
        """Schema and ticket of a statement; `context` is the session's. Raises Refusal.

        `gone` says that nobody waits any more; `user` is who asks.
        """
        known = self._constants.plan(sql)
        if known is not None:
            return known
        with self._turns.one(user):
            return self._plan(sql, context, gone)

    def _read(self, sql: str, gone: Callable[[], bool]) -> Statement | list[Word]:
        return self._dialect.read(sql, lambda text: self._engine.read_apart(text, gone))

    def _patience(self, gone: Callable[[], bool], *, planning: bool) -> Patience:
        return Patience(self._engine.timeout_s, gone, planning=planning, clock=self._clock)

    def _plan(self, sql: str, context: Context, gone: Callable[[], bool]) -> Planned:
        patience = self._patience(gone, planning=True)
        statement = self._read(sql, gone)
        if isinstance(statement, Statement) and statement.shape.constant and not statement.shape.heavy:
            schema, told, _ = self._write(statement, [], sql, patience)
            ticket = self._signed({"sql": sql, "context": _NO_CONTEXT.told(), "commits": []})
            planned = Planned(schema, told, ticket, constant=True)
            self._constants.planned(sql, planned)
            return planned
        patience.check()
        head = self._head(context, gone)
        content: dict[str, object] = {"sql": sql, "context": context.told()}
        if not isinstance(statement, Statement):
            command = commands.read(sql, statement, context, lambda: head.commit)
            if command.explains is not None:
                self._explain(sql, command.explains, context, gone)
            commit = self._commanded(command.at, head)
            content["head"] = commit.id
            if not command.long:
                for _ in command.rows(commit, self._looking(context, patience.check)):
                    break  # what it refuses, it refuses at the first
            return Planned(command.schema, described(command.schema), self._signed(content))
        shape = statement.shape
        try:
            found = [
                self._sources.find(relation, statement.ats, context, head, patience.check)
                for relation in shape.relations
            ]
            content["commits"] = [commit.id for commit, _ in found]
            schema, told, _ = self._write(statement, [source for _, source in found], sql, patience)
        except Refusal:
            # It is kept for a statement that goes on; the shape may be asked for again, and is then read anew.
            shape.tree = None
            raise
        return Planned(schema, told, self._signed(content))

    def run(self, ticket: bytes, gone: Callable[[], bool], user: str = "") -> Streamed:
        """The rows of a planned statement, at the commits it was planned for. Raises Refusal."""
        if (known := self.known(ticket)) is not None:
            return Streamed(known.sql, known.rows.schema, iter(known.rows.to_batches()))
        content = self._opened(ticket)
        patience = self._patience(gone, planning=False)
        sql, context = str(content["sql"]), Context.of(content["context"])
        head_id, commit_ids = str(content.get("head")), content.get("commits", ())
        statement = self._read(sql, gone)
        if not isinstance(statement, Statement):
            commit = commit_of(self._commits, head_id)
            command = commands.read(sql, statement, context, lambda: commit)
            rows = command.batches(commit, self._looking(context, patience.check))
            return Streamed(sql, command.schema, self._counted(rows, user), command.uses)
        pairs = zip(statement.shape.relations, commit_ids, strict=True)
        sources = [
            self._sources.at(relation, statement.ats, context, commit_of(self._commits, commit_id), patience.check)
            for relation, commit_id in pairs
        ]
        schema, _, written = self._write(statement, sources, sql, patience)
        asker = (user, path_written(context.schema))
        batches = self._counted(self._rows(statement, written, sources, schema, patience, asker), user)
        if statement.shape.constant and not written.heavy:
            rows = pa.Table.from_batches(batches, schema)
            self._constants.answered(ticket, Answer(sql, rows))
            batches = iter(rows.to_batches())
        return Streamed(sql, schema, batches)

    def known(self, ticket: bytes) -> Answer | None:
        """The answer to a planned statement that is always the same, once it has run."""
        return self._constants.answer(ticket)

    def _counted(self, batches: Iterator[pa.RecordBatch], user: str) -> Iterator[pa.RecordBatch]:
        """The batches, as one of the user's statements. Raises Refusal for too many rows."""
        rows = 0
        with self._turns.one(user):
            for batch in batches:
                rows += batch.num_rows
                if rows > self._most_rows:
                    raise too_many_rows(self._most_rows)
                yield batch

    def _looking(self, context: Context, check: Check) -> commands.CommandScope:
        return commands.CommandScope(
            self._commits, lambda path, commit, at: self._sources.columns(path, commit, at, context, check), check
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

    def _explain(self, sql: str, start: int, context: Context, gone: Callable[[], bool]) -> None:
        """Plan the query that begins at `start`. Raises Refusal for what is wrong with it, at its place."""
        try:
            self._plan(sql[start:], context, gone)
        except Refusal as refusal:
            refusal.start = (refusal.start or 0) + start
            raise

    def _moment(self, at: At, gone: Callable[[], bool]) -> int:
        """The time that an expression says, us since the epoch. Raises Refusal for one that says none."""
        before = "SELECT "
        try:
            statement = self._read(f"{before}{at.value}", gone)
            if not isinstance(statement, Statement) or statement.shape.relations:
                raise validation("Expected timestamp literal or constant timestamp expression", len(before))
            patience = self._patience(gone, planning=True)
            schema, _, written = self._write(statement, [], f"{before}{at.value}", patience)
            if schema.types != [pa.timestamp("ms")]:
                raise validation("Expected timestamp literal or constant timestamp expression", len(before))
            batches = list(self._rows(statement, written, [], schema, patience))
        except Refusal as refusal:
            refusal.start = max(0, (refusal.start or 0) - len(before)) + at.start
            raise
        values = [value for batch in batches for value in batch.column(0).cast(pa.int64()).to_pylist()]
        if len(values) != 1 or values[0] is None:
            raise validation("Expected timestamp literal or constant timestamp expression", at.start)
        return int(values[0]) * 1000

    def seal(self, kind: str) -> Seal:
        """For other bytes that go out and come back; they outlive a restart as tickets do."""
        return self._tickets.of(kind)

    def parameter_kinds(
        self, sql: str, context: Context, mark: str, gone: Callable[[], bool] = nobody_left, user: str = ""
    ) -> dict[int, Kind]:
        """The types of a query's parameters, which stand in it as texts of `mark`, p and a number; by number.

        Raises Refusal for what `plan` refuses before the engine is asked.
        """
        with self._turns.one(user):
            patience = self._patience(gone, planning=True)
            statement = self._read(sql, gone)
            if not isinstance(statement, Statement):
                raise encountered("?", 0)
            shape, head = statement.shape, self._head(context, gone)
            sources = [
                self._sources.find(relation, statement.ats, context, head, patience.check)[1]
                for relation in shape.relations
            ]
            _check_needs(statement, sources)
            columns = [source.columns for source in sources]
            if shape.heavy:
                return self._engine.parameters_apart(shape, sql, columns, mark, gone)
            return parameter_kinds(shape, sql, columns, mark)

    def _signed(self, content: dict[str, object]) -> bytes:
        return self._tickets.sealed(json.dumps(content).encode())

    def _opened(self, ticket: bytes) -> dict[str, Any]:
        """What a ticket of this server says. Raises Refusal for any other."""
        body = self._tickets.opened(ticket)
        if body is None:
            raise Refusal(ErrorKind.INTERNAL, "The ticket is not one of this server: plan the statement again.")
        content: dict[str, Any] = json.loads(body)
        return content

    def _rows(
        self,
        statement: Statement,
        written: WrittenShape,
        sources: list[ResolvedRelation],
        schema: pa.Schema,
        patience: Patience,
        asker: tuple[str, str] = ("", ""),
    ) -> Iterator[pa.RecordBatch]:
        with ExitStack() as held:
            given: dict[str, pa.Table] = {}
            relations = [
                self._relation(
                    source, relation.bounds, statement.times, held, given, patience.check, in_memory=not written.heavy
                )
                for source, relation in zip(sources, statement.shape.relations, strict=True)
            ]
            patience.check()
            query = written.filled(relations, statement.times, asker)
            if written.heavy:
                batches = self._engine.run_apart(query, given, patience.gone, patience.left_s)
            else:
                batches = self._engine.run(query, patience.gone, given, patience.left_s)
            for batch in batches:
                yield wire.cast(batch, schema)

    def _relation(
        self,
        source: ResolvedRelation,
        bounds: tuple[Bound, ...],
        times: tuple[str, ...],
        held: ExitStack,
        given: dict[str, pa.Table],
        check: Check,
        *,
        in_memory: bool,
    ) -> str:
        """A table expression: only the files that may hold a row inside the bounds, and of them only the rows inside.

        Dremio cuts times to milliseconds when it reads; so does this, without a time zone calendar, which costs DuckDB
        more than reading does.
        """
        check()
        if source.rows is not None:
            table = source.rows(check)
            name = f"given_{len(given)}"
            given[name] = table
            return given_sql(table.schema, name)
        snapshot = source.snapshot
        assert snapshot is not None
        ranges = ranges_of(snapshot, bounds, times)
        items = ", ".join(read_item(column) for column in snapshot.columns)
        where = where_of(ranges, snapshot)
        files = self._snapshots.files_in(snapshot, ranges, check)
        if files is None:
            if why := self._engine.no_iceberg_scan:
                raise needs_iceberg_scan(snapshot.metadata_location, why)
            past = f", snapshot_from_id = {snapshot.past_id}" if snapshot.past_id is not None else ""
            return f"(SELECT {items} FROM iceberg_scan({text_sql(snapshot.metadata_location)}{past}){where})"
        reading = self._reading(snapshot, check)
        if not in_memory:
            return f"(SELECT {items} FROM {held.enter_context(reading(files))}{where})" if files else source.empty
        shelved = held.enter_context(self._shelf.holding(snapshot.schema_key, items, source.empty, files, reading))
        parts: list[str] = []
        if shelved.numbers:
            names = ", ".join(quoted(column.name) for column in snapshot.columns)
            numbers = ", ".join(map(str, shelved.numbers))
            parts.append(f"SELECT {names} FROM {shelved.table} WHERE __file IN ({numbers})")
        if shelved.rest:
            parts.append(f"SELECT {items} FROM {held.enter_context(reading(shelved.rest))}{where}")
        return f"({' UNION ALL '.join(parts)})" if parts else source.empty

    def _reading(self, snapshot: Snapshot, check: Check) -> Reading:
        @contextmanager
        def reading(files: Sequence[DataFile]) -> Iterator[str]:
            with ExitStack() as held:
                try:
                    paths = held.enter_context(self._files.holding([file.path for file in files], check))
                except OSError as error:
                    raise data_read(snapshot.metadata_location, error) from None
                yield parquet(paths, snapshot)

        return reading

    # ---- schema -----------------------------------------------------------------------------------------------------

    def _write(self, statement: Statement, sources: list[ResolvedRelation], sql: str, patience: Patience) -> _Plan:
        """The answer's schemas and DuckDB's SQL, remembered by shape and by the schemas of its tables."""
        key: tuple[bytes | str, ...] = (statement.shape.digest, *(source.schema_key for source in sources))
        with self._lock:
            known = self._written.get(key)
            if known is not None:
                statement.shape.tree = None  # nobody writes it down any more
                return known
        _check_needs(statement, sources)
        columns, empty = [source.columns for source in sources], [source.empty for source in sources]
        written = None
        if not statement.shape.heavy:
            with suppress(TooDeep):  # for this process
                written = write(statement.shape, sql, columns)
        # DuckDB plans it too, and refuses what is wrong beyond names and types.
        if written is None or written.heavy:
            written = self._engine.write_apart(statement, sql, columns, empty, patience.gone, patience.left_s)
        else:
            self._engine.describe(written.filled(empty, statement.times), sql)
        schema = wire.schema_of(written.columns)
        plan = schema, described(schema), written
        with self._lock, suppress(ValueError):  # larger than all that is kept
            self._written[key] = plan
        return plan


type _Plan = tuple[pa.Schema, pa.Schema, WrittenShape]
"""Schemas of the rows, and of what clients are told of them before; DuckDB's SQL."""


def _letters_of(plan: _Plan) -> int:
    schema, _, written = plan
    return len(written.sql) + _LETTERS_A_COLUMN * len(schema) + _LETTERS_A_PLAN


def _check_needs(statement: Statement, sources: Sequence[ResolvedRelation]) -> None:
    """Raises Refusal for a column that none of the tables has which it could be of."""
    for need in statement.shape.needs:
        if not any(need.column.lower() in sources[number].names for number in need.relations):
            raise need.refusal()
