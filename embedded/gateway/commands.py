"""Statements that are no query: SHOW, DESCRIBE, USE, EXPLAIN, and the refusals of a read-only server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched

import pyarrow as pa

from embedded.gateway import information
from embedded.gateway.commits import Commit, Commits
from embedded.gateway.engine import MAX_BATCH_ROWS
from embedded.gateway.errors import validation
from embedded.gateway.paths import (
    INFORMATION_SCHEMA,
    Context,
    Path,
    is_ours,
    is_schema,
    parsed,
    written,
)
from embedded.gateway.patience import Check, each
from embedded.gateway.rest import RemainingWords, explained, read_only, source_of, unsupported
from embedded.gateway.snapshots import StoredColumn
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.values import time_literal
from embedded.gateway.versions import REFERENCES, At, at_clause, reference
from lakehouse.tables import CATALOG

_WRITES = frozenset(
    """INSERT UPDATE DELETE MERGE CREATE DROP ALTER TRUNCATE COPY GRANT REVOKE OPTIMIZE VACUUM ANALYZE ROLLBACK ASSIGN
    UNDROP UPSERT REPLACE CALL""".split()  # noqa: SIM905  # a list of words reads best as one
)
_NOT_YET = ("FILES", "TBLPROPERTIES", "CREATE", "FUNCTIONS", "REFLECTIONS")
_REFRESH_OPTIONS = ("AUTO", "AVOID", "PROMOTION", "FORCE", "LAZY", "UPDATE", "DELETE", "MAINTAIN", "WHEN", "MISSING")
_MAIN = At("BRANCH", "main")

_REFERENCES = pa.schema([(name, pa.string()) for name in ("type", "refName", "commitHash")])
_LOGS = pa.schema(
    [
        ("commitHash", pa.string()),
        ("authorName", pa.string()),
        ("authorTimeStamp", pa.timestamp("ms")),
        ("message", pa.string()),
    ]
)
_TABLES = pa.schema([("TABLE_SCHEMA", pa.string()), ("TABLE_NAME", pa.string())])
_VIEWS = pa.schema([("VIEW_PATH", pa.string()), ("VIEW_NAME", pa.string())])
_SCHEMAS = pa.schema([("SCHEMA_NAME", pa.string())])
_DESCRIBED = pa.schema(
    [
        ("COLUMN_NAME", pa.string()),
        ("DATA_TYPE", pa.string()),
        ("IS_NULLABLE", pa.string()),
        ("NUMERIC_PRECISION", pa.int32()),
        ("NUMERIC_SCALE", pa.int32()),
        ("EXTENDED_PROPERTIES", pa.string()),
        ("MASKING_POLICY", pa.string()),
        ("SORT_ORDER_PRIORITY", pa.int32()),
    ]
)
_DONE = pa.schema([("ok", pa.bool_()), ("summary", pa.string())])
_PLAN = pa.schema([("text", pa.string())])


@dataclass(frozen=True, slots=True)
class CommandScope:
    """What commands look at. columns: of a table by its path, None where there is none such.

    check: raises Refusal once the command is to end.
    """

    commits: Commits
    columns: Callable[[Path, Commit, At | None], Sequence[StoredColumn] | None]
    check: Check


type Rows = Callable[[Commit, CommandScope], Iterable[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class Command:
    """A statement that is no query. `rows` are of the commit `at`; None: of the one that the session sees.

    uses: what the session has from now on. explains: where the query begins that it is about. long: rows are many, and
    nothing in them can be refused, so that planning does without them.
    """

    schema: pa.Schema
    rows: Rows
    at: At | None = None
    uses: Context | None = None
    explains: int | None = None
    long: bool = False

    def batches(self, commit: Commit, looking: CommandScope) -> Iterator[pa.RecordBatch]:
        """The rows. Raises Refusal for what is not there, and once it is to end."""
        looking.check()
        for found in batched(each(self.rows(commit, looking), looking.check), MAX_BATCH_ROWS):
            yield from information.table_of(self.schema, found).to_batches()


def read(sql: str, words: list[Word], context: Context, commit: Callable[[], Commit]) -> Command:
    """The command that the words say; `commit` is the one that the session sees.

    Raises Refusal for what is refused, and for what is not SQL.
    """
    first = words[0].upper
    second = words[1].upper if len(words) > 1 else ""
    match first, second:
        case "SHOW", "BRANCHES" | "TAGS":
            source_of(RemainingWords(words, 2), context)
            return Command(_REFERENCES, _branches if second == "BRANCHES" else _tags, at=_MAIN)
        case "SHOW", "LOGS" | "LOG":
            rest = RemainingWords(words, 2)
            at = rest.at()
            source_of(rest, context)
            return Command(_LOGS, _logs, at=at, long=True)
        case "SHOW", "SCHEMAS" | "DATABASES":
            rest = RemainingWords(words, 2)
            like = rest.like()
            rest.end()
            return Command(_SCHEMAS, lambda commit, looking: _schemas(commit, looking, like))
        case "SHOW", "TABLES" | "VIEWS":
            return _show(RemainingWords(words, 2), second, context)
        case "SHOW", _ if second in _NOT_YET:
            raise validation(f"Not supported by the gateway yet: SHOW {second}", words[1].start, len(second))
        case "DESCRIBE" | "DESC", _:
            return _describe(sql, words, context)
        case "USE", _:
            return _use(words, context, commit)
        case "EXPLAIN", "PLAN":
            text = "The gateway leaves the plan to DuckDB."
            return Command(_PLAN, lambda *_: [(text,)], explains=explained(words))
        case "ALTER", "TABLE" | "PDS" if "REFRESH" in [word.upper for word in words]:
            return _refresh(RemainingWords(words, 2), context)
        case _ if first in _WRITES:
            raise read_only(words)
    raise encountered(words[0].text, words[0].start)


# ---- the commands ---------------------------------------------------------------------------------------------------


def _branches(main: Commit, looking: CommandScope) -> Iterable[tuple[object, ...]]:
    return [("Branch", "main", main.id), *(("Branch", *item) for item in looking.commits.branches())]


def _tags(_: Commit, looking: CommandScope) -> Iterable[tuple[object, ...]]:
    return [("Tag", *item) for item in looking.commits.tags()]


def _logs(commit: Commit, looking: CommandScope) -> Iterable[tuple[object, ...]]:
    for change in looking.commits.changes(commit.id):
        yield change.commit_id, change.author, change.authored_us and change.authored_us // 1000, change.message


def _schemas(commit: Commit, looking: CommandScope, like: Callable[[str], bool]) -> Iterable[tuple[object, ...]]:
    return [(name,) for name in each(information.schemata(commit), looking.check) if like(name)]


def _show(rest: RemainingWords, what: str, context: Context) -> Command:
    """SHOW TABLES or VIEWS [AT …] [IN path] [LIKE 'pattern']."""
    at, start = rest.at(), rest.start()
    path = rest.path() if rest.take("FROM", "IN") else context.schema
    like = rest.like()
    rest.end()
    if not path:
        raise validation('A context is required. You must specify "[ IN sourceName ]" or select a context.', start)
    missing = validation(f"Source {written(path)} does not exist.", start)
    if is_ours(path):

        def tables(commit: Commit, looking: CommandScope) -> Iterable[tuple[object, ...]]:
            if not is_schema(path, commit.folders()):
                raise missing
            inside = [found for found in commit.paths() if found[: len(path) - 1] == path[1:]]
            return [
                (".".join((CATALOG, *folder)), name)
                for *folder, name in each(inside, looking.check)
                if what == "TABLES" and like(name)
            ]

        return Command(_TABLES if what == "TABLES" else _VIEWS, tables, at=at)
    if not is_schema(path, ()):
        raise missing
    if what == "VIEWS":
        raise unsupported(f"Source {path[0]} does not support show views.")
    if at is not None:
        raise unsupported(f"Source {path[0]} does not support references.")
    names = [name for name in sorted(information.TABLES) if like(name)]
    return Command(_TABLES, lambda *_: [(INFORMATION_SCHEMA, name) for name in names])


def _describe(sql: str, words: list[Word], context: Context) -> Command:
    """DESCRIBE [TABLE] path [AT …] [column]."""
    rest = RemainingWords(words, 1)
    # A table may be called so: it is one where nothing else follows.
    if len(words) > 2 and words[2].text != ".":
        rest.take("TABLE")
    start, path, at = rest.start(), rest.path(), None
    if rest.take("AT"):
        found = at_clause(sql, words, rest.place - 1, time_literal)
        if found is None:
            raise encountered(words[rest.place].text, rest.start())
        at, rest.place = found
    wanted = rest.path() if rest.place < len(words) else ()
    rest.end()
    if len(wanted) > 1:
        said = ".".join(wanted)
        raise validation(f"You can only describe single component paths. You tried to describe [{said}].", rest.start())

    def rows(commit: Commit, looking: CommandScope) -> Iterable[tuple[object, ...]]:
        columns = looking.columns(path, commit, at)
        if columns is None:
            raise validation(f"Unknown table [{written(full)}]", start)
        for column in columns:
            if not wanted or column.name == wanted[0]:
                kind = information.described(column)
                yield column.name, kind.name, "YES", kind.precision, kind.scale, "[]", None, None

    full = (*context.schema, *path) if len(path) == 1 else path
    return Command(_DESCRIBED, rows, at=at)


def _use(words: list[Word], context: Context, commit: Callable[[], Commit]) -> Command:
    """USE [path], or USE BRANCH, TAG, COMMIT or REF name [AS OF 'time'] [IN source]."""
    rest = RemainingWords(words, 1)
    if rest.place == len(words):
        return _done("Default schema cleared", uses=Context((), context.version))
    if len(words) > 2 and words[1].upper in REFERENCES and words[2].kind in ("word", "name", "text"):
        at, rest.place = reference(words, rest.place, time_literal)
        source = source_of(rest, context)
        kept = At(at.kind, at.value, as_of=at.as_of)
        said = f"Current version context set to {at} in source {source}."
        return _done(said, at=at, uses=Context(context.schema, kept))
    path, folders = rest.path(), commit().folders()
    rest.end()
    for candidate in ((*context.schema, *path), path):
        if is_schema(candidate, folders):
            return _schema_used(Context(candidate, context.version))
    if len(path) == 1 and "." in path[0]:
        # Dremio says so of one that is not there, too, and leaves the schema as it was.
        compound = parsed(path[0])
        return _schema_used(Context(compound, context.version) if is_schema(compound, folders) else context)
    raise validation(
        f"Schema [{written(path)}] is not valid with respect to either root schema or current default schema.",
        words[1].start,
    )


def _schema_used(context: Context) -> Command:
    named = written(context.schema) if context.schema else "null"
    return _done(f"Default schema changed to [{named}]", uses=context)


def _refresh(rest: RemainingWords, context: Context) -> Command:
    """ALTER TABLE path REFRESH METADATA [options], which does nothing: tables are read anew at every statement."""
    start, path = rest.start(), rest.path()
    if not rest.take("REFRESH") or not rest.take("METADATA"):
        raise read_only(rest.words)
    while rest.take(*_REFRESH_OPTIONS):
        pass
    rest.end()
    full = (*context.schema, *path) if len(path) == 1 else path
    if not is_ours(full):
        raise validation(f"Unknown source {full[0]}", start)
    said = f"Table '{'.'.join(path)}' read signature reviewed but source stated metadata is unchanged"
    return _done(f"{said}, no refresh occurred.")


def _done(summary: str, at: At | None = None, uses: Context | None = None) -> Command:
    return Command(_DONE, lambda *_: [(True, summary)], at=at, uses=uses)
