"""The short form of a shop's own KPI table: topic, grain and units; columns and types are what its query gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from lakehouse.declared import Declaration
from lakehouse.kpis.check import types_given
from lakehouse.kpis.kpi import Kpi
from lakehouse.schema import UPDATED, WINDOW_COLUMNS, Table
from lakehouse.texts import near
from lakehouse.topics import Topic

_WINDOW = tuple(column.name for column in WINDOW_COLUMNS)
_TYPES = {
    "VARCHAR": "string",
    "TINYINT": "int",
    "SMALLINT": "int",
    "INTEGER": "int",
    "UTINYINT": "int",
    "USMALLINT": "int",
    "UINTEGER": "long",
    "BIGINT": "long",
    "UBIGINT": "long",
    "HUGEINT": "long",
    "UHUGEINT": "long",
    "FLOAT": "double",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "BLOB": "binary",
    "TIMESTAMP": "timestamptz",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


class _ShortKeys(msgspec.Struct, forbid_unknown_fields=True):
    """What the short form may hold; what the shipped form has too is looked at as there."""

    topic: str
    order: int = 0
    table: str = ""
    doc: str = ""
    grain: str = ""
    units: dict[str, str] = {}
    window: int = 1
    keep_first: Any = None


def completed(declaration: Declaration, topics: Mapping[str, Topic]) -> Declaration:
    """The same with what its file leaves out. Raises UserError, also where DuckDB refuses the query."""
    if "columns" in declaration.content:
        return replace(declaration, content={"order": 0, **declaration.content})
    keys = declaration.read(_ShortKeys)
    if keys.table not in ("", declaration.name):
        raise declaration.wrong(
            f"'table' is '{keys.table}', but a table is called as its file; leave it out or rename one", "table"
        )
    said = {key: given for key, given in declaration.content.items() if key not in ("table", "units")}
    topic = topics.get(keys.topic)
    columns = {} if topic is None or not declaration.rest.strip() else _columns(declaration, keys, topic)
    texts = [name for name, given in columns.items() if given is None or given["type"] == "string"]
    grain = f"one row a minute{''.join(f', {name}' for name in texts)}"
    filled = {"order": 0, "grain": grain, "doc": _comment(declaration.rest) or keys.grain or grain, "columns": columns}
    return replace(declaration, content=filled | said)


def _columns(declaration: Declaration, keys: _ShortKeys, topic: Topic) -> dict[str, dict[str, Any] | None]:
    """The query's columns as a header would declare them."""
    nothing = Table(declaration.name, "", "", "", WINDOW_COLUMNS, declared_in=declaration.where)
    types = types_given(Kpi(topic, nothing, declaration.rest, keys.window))
    for name in keys.units:
        if name not in types:
            raise declaration.wrong(
                f"'units' names '{name}', which is no column of the query{near(name, types)}; correct it",
                *("units", name),
            )
    columns: dict[str, dict[str, Any] | None] = {}
    for name, given in types.items():
        if name in _WINDOW or name in {column.name for column in UPDATED}:
            continue
        kind = _type(given)
        if kind is None:
            raise declaration.wrong_rest(
                f"the query gives '{name}' as {given}, which no table holds; use CAST, as to VARCHAR"
            )
        words = {"type": kind, "doc": name.replace("_", " "), "unit": keys.units.get(name, ""), "required": False}
        columns[name] = None if _is_raw(declaration.rest, name, kind, topic.table) and name not in keys.units else words
    return columns


def _type(given: str) -> str | None:
    decimal = _DECIMAL.fullmatch(given)
    if decimal:
        return f"decimal({decimal[1]},{decimal[2]})" if int(decimal[2]) else "long"
    return _TYPES.get(given)


def _is_raw(query: str, name: str, kind: str, raw: Table) -> bool:
    """Whether a column is the raw table's own: of its name and type, and nothing else is called so in the query."""
    renamed = re.search(rf"(?:\bAS\s+|\bEND\s+|\)\s*)\"?{name}\b", query, re.IGNORECASE)
    return renamed is None and any(column.name == name and column.type == kind for column in raw.columns)


def _comment(query: str) -> str:
    """The comment that the query begins with."""
    lines = query.lstrip("\n").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("--"):
            break
        comment.append(line.removeprefix("--").strip())
    return " ".join(comment)
