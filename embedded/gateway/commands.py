"""Statements that are no query: SHOW, DESCRIBE, USE, EXPLAIN, and the refusals of a read-only server.

Also what stands in INFORMATION_SCHEMA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from embedded.gateway.commits import Commit, Commits
from embedded.gateway.errors import Kind, Refusal, object_not_found, validation
from embedded.gateway.snapshots import StoredColumn
from embedded.gateway.tokens import Word
from lakehouse.tables import CATALOG, SCHEMA

type Columns = Callable[[str, Commit], tuple[StoredColumn, ...] | None]

_WRITES = frozenset(
    """INSERT UPDATE DELETE MERGE CREATE DROP ALTER TRUNCATE COPY GRANT REVOKE OPTIMIZE VACUUM ANALYZE ROLLBACK ASSIGN
    UNDROP UPSERT REPLACE CALL""".split()  # noqa: SIM905  # a list of words reads best as one
)
_REFERENCES = ("BRANCH", "TAG", "COMMIT", "REF", "REFERENCE")


def full_path(path: tuple[str, ...], context: tuple[str, ...]) -> tuple[str, ...]:
    """A table's path from the root: what does not begin with a source is looked up in the session's schema."""
    if context and path[0].upper() not in (CATALOG.upper(), "INFORMATION_SCHEMA"):
        return (*context, *path)
    return path


def table_name(path: tuple[str, ...]) -> str | None:
    """The name of a table of ours that the path means; None for any other path."""
    if [part.lower() for part in path[:-1]] == [CATALOG, SCHEMA]:
        return path[-1].lower()
    return None


def use(words: list[Word], context: tuple[str, ...]) -> tuple[str, ...] | None:
    """The session's schema after USE path; None for any other statement. Raises Refusal for one that is not there."""
    if words[0].upper != "USE" or (len(words) > 1 and words[1].upper in _REFERENCES):
        return None
    path, rest = _path(words, 1)
    if not path or rest:
        raise _unexpected(words, len(words) - len(rest))
    return _schema_path(path, context)


def answer(words: list[Word], context: tuple[str, ...], commits: Commits, head: Commit, columns: Columns) -> pa.Table:
    """The rows of a statement that is no query. Raises Refusal for what is refused, and for what is not SQL."""
    first = words[0].upper
    second = words[1].upper if len(words) > 1 else ""
    match first, second:
        case "SHOW", "BRANCHES":
            _source(words, 2)
            others = [("Branch", branch, commit) for branch, commit in commits.branches()]
            return _references([("Branch", "main", head.id), *others])
        case "SHOW", "TAGS":
            _source(words, 2)
            return _references([("Tag", tag, commit) for tag, commit in commits.tags()])
        case "SHOW", "SCHEMAS" | "DATABASES":
            return _texts({"SCHEMA_NAME": ["INFORMATION_SCHEMA", CATALOG, f"{CATALOG}.{SCHEMA}"]})
        case "SHOW", "TABLES":
            return _show_tables(words, context, head)
        case "DESCRIBE" | "DESC", _:
            return _describe(words, context, head, columns)
        case "USE", _:
            return _used(words, context, head)
        case "EXPLAIN", "PLAN":
            return _texts({"text": ["The gateway leaves the plan to DuckDB."], "json": ["{}"]})
        case "ALTER", _ if [word.upper for word in words[-2:]] == ["REFRESH", "METADATA"]:
            return _done("Table metadata is read at every statement: it is unchanged, no refresh occurred.")
        case _ if first in _WRITES:
            what = f"{first} {second}" if second in ("TABLE", "VIEW", "INTO", "BRANCH", "TAG", "FOLDER") else first
            raise Refusal(Kind.PERMISSION, f"PERMISSION ERROR: {what} is not allowed: source {CATALOG} is read-only")
    raise _unexpected(words, 0)


def _unexpected(words: list[Word], index: int) -> Refusal:
    word = words[min(index, len(words) - 1)]
    return Refusal(Kind.PARSE, f'Failure parsing the query: encountered "{word.text}".', word.start, len(word.text))


def _path(words: list[Word], index: int) -> tuple[tuple[str, ...], list[Word]]:
    """A dotted path at `index`, and the words after it."""
    parts: list[str] = []
    while index < len(words) and words[index].kind in ("word", "name"):
        parts.append(words[index].plain)
        index += 1
        if index >= len(words) or words[index].text != ".":
            break
        index += 1
    return tuple(parts), words[index:]


def _source(words: list[Word], index: int) -> None:
    """Check `IN source`, which must be ours."""
    if len(words) <= index or words[index].upper not in ("IN", "FROM"):
        raise _unexpected(words, index)
    path, rest = _path(words, index + 1)
    if not path or rest:
        raise _unexpected(words, len(words) - len(rest))
    if len(path) != 1 or path[0].lower() != CATALOG:
        raise validation(f"Source '{'.'.join(path)}' not found", words[index + 1].start)


def _schema_path(path: tuple[str, ...], context: tuple[str, ...]) -> tuple[str, ...]:
    for candidate in (path, (*context, *path)):
        lower = [part.lower() for part in candidate]
        if lower in ([CATALOG], [CATALOG, SCHEMA]):
            return tuple(lower)
    raise object_not_found(list(path))


def _show_tables(words: list[Word], context: tuple[str, ...], head: Commit) -> pa.Table:
    path = context
    if len(words) > 2:
        if words[2].upper not in ("IN", "FROM"):
            raise _unexpected(words, 2)
        named, rest = _path(words, 3)
        if not named or (rest and rest[0].upper != "AT"):
            raise _unexpected(words, len(words) - len(rest))
        path = _schema_path(named, context)
    inside = f"{CATALOG}.{SCHEMA}".startswith(".".join(path))
    names = sorted(head.tables) if inside else []
    return _texts({"TABLE_SCHEMA": [f"{CATALOG}.{SCHEMA}"] * len(names), "TABLE_NAME": names})


def _describe(words: list[Word], context: tuple[str, ...], head: Commit, columns: Columns) -> pa.Table:
    start = 2 if len(words) > 1 and words[1].upper == "TABLE" else 1
    path, rest = _path(words, start)
    if not path or rest:
        raise _unexpected(words, len(words) - len(rest))
    name = table_name(full_path(path, context))
    found = columns(name, head) if name else None
    if found is None:
        raise object_not_found(list(full_path(path, context)), words[start].start)
    rows = [_described(column) for column in found]
    return pa.table(
        {
            "COLUMN_NAME": pa.array([column.name for column in found], pa.string()),
            "DATA_TYPE": pa.array([row[0] for row in rows], pa.string()),
            "IS_NULLABLE": pa.array(["YES"] * len(rows), pa.string()),
            "NUMERIC_PRECISION": pa.array([row[1] for row in rows], pa.int32()),
            "NUMERIC_SCALE": pa.array([row[2] for row in rows], pa.int32()),
            "EXTENDED_PROPERTIES": pa.array(["[]"] * len(rows), pa.string()),
            "MASKING_POLICY": pa.array(["[]"] * len(rows), pa.string()),
            "SORT_ORDER_PRIORITY": pa.array([None] * len(rows), pa.int32()),
        }
    )


_SQL_TYPES: Mapping[str, tuple[str, int | None, int | None]] = {
    "string": ("CHARACTER VARYING", None, None),
    "int": ("INTEGER", 32, 0),
    "long": ("BIGINT", 64, 0),
    "float": ("FLOAT", 24, None),
    "double": ("DOUBLE", 53, None),
    "boolean": ("BOOLEAN", None, None),
    "binary": ("BINARY VARYING", None, None),
    "date": ("DATE", None, None),
    "timestamptz": ("TIMESTAMP", None, None),
    "timestamp": ("TIMESTAMP", None, None),
}


def _described(column: StoredColumn) -> tuple[str, int | None, int | None]:
    """Dremio's name of a column's type, precision and scale."""
    if column.type.startswith("decimal"):
        precision, scale = column.type.removeprefix("decimal(").rstrip(")").split(",")
        return "DECIMAL", int(precision), int(scale)
    return _SQL_TYPES.get(column.type, (column.type.upper(), None, None))


def _used(words: list[Word], context: tuple[str, ...], head: Commit) -> pa.Table:
    path = use(words, context)
    if path is not None:
        return _done(f"Default schema changed to [{'.'.join(path)}]")
    if [word.upper for word in words[1:3]] != ["BRANCH", "MAIN"]:
        raise validation("USE takes a schema or BRANCH main: there are no other branches", words[1].start)
    return _done(f"Current version context set to branch main [{head.id}]")


def _references(rows: list[tuple[str, str, str]]) -> pa.Table:
    kinds, names, hashes = zip(*rows, strict=True) if rows else ((), (), ())
    return _texts({"type": list(kinds), "refName": list(names), "commitHash": list(hashes)})


def _texts(columns: Mapping[str, list[str]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _done(summary: str) -> pa.Table:
    return pa.table({"ok": pa.array([True]), "summary": pa.array([summary], pa.string())})


# ---- INFORMATION_SCHEMA ---------------------------------------------------------------------------------------------


def information(name: str, head: Commit, columns: Columns) -> tuple[tuple[str, ...], str]:
    """A table of INFORMATION_SCHEMA: its columns, and a table expression. Raises Refusal for one that is not there."""
    schema = f"{CATALOG}.{SCHEMA}"
    names: tuple[str, ...]
    rows: list[tuple[Any, ...]] = []
    match name:
        case "SCHEMATA":
            names = ("CATALOG_NAME", "SCHEMA_NAME", "SCHEMA_OWNER", "TYPE", "IS_MUTABLE")
            rows = [
                ("DREMIO", item, "<owner>", kind, "NO")
                for item, kind in (("INFORMATION_SCHEMA", "SYSTEM"), (CATALOG, "SOURCE"), (schema, "SOURCE"))
            ]
        case "TABLES":
            names = ("TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE")
            rows = [("DREMIO", schema, table, "TABLE") for table in sorted(head.tables)]
        case "VIEWS":
            names = ("TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION")
        case "COLUMNS":
            names = (
                "TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "ORDINAL_POSITION", "IS_NULLABLE",
                "DATA_TYPE", "NUMERIC_PRECISION", "NUMERIC_SCALE",
            )  # fmt: skip
            for table in sorted(head.tables):
                for place, column in enumerate(columns(table, head) or (), 1):
                    kind, precision, scale = _described(column)
                    rows.append(("DREMIO", schema, table, column.name, place, "YES", kind, precision, scale))
        case _:
            raise object_not_found(["INFORMATION_SCHEMA", name])
    types = {key: "INTEGER" if key.startswith(("NUMERIC_", "ORDINAL_")) else "VARCHAR" for key in names}
    items = ", ".join(f'CAST(column{index} AS {types[key]}) AS "{key}"' for index, key in enumerate(names))
    values = ", ".join(f"({', '.join(map(_value, row))})" for row in rows)
    nothing = f"({', '.join('NULL' for _ in names)})"
    inner = ", ".join(f"column{index}" for index in range(len(names)))
    where = "" if rows else " WHERE false"
    return names, f"(SELECT {items} FROM (VALUES {values or nothing}) AS known({inner}){where})"


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
