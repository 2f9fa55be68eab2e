"""A KPI's SQL file read into a Kpi, or one sentence that says what is wrong in which line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lakehouse.declared import Declaration
from lakehouse.kpis.kpi import Kpi
from lakehouse.kpis.short import completed
from lakehouse.mistakes import AlreadyTold, is_wrong, noted
from lakehouse.schema import UPDATED, WINDOW_COLUMNS, Column, Table, arrow_type
from lakehouse.texts import near
from lakehouse.topics import Topic

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 60  # minutes
_TAKEN = [column.name for column in (*WINDOW_COLUMNS, *UPDATED)]


class _KpiKeys(msgspec.Struct, forbid_unknown_fields=True):
    order: int
    topic: str
    doc: str
    grain: str
    columns: dict[str, Any]
    window: int = 1
    keep_first: dict[str, list[str]] = {}


class _ColumnKeys(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    doc: str
    unit: str = ""
    required: bool = True


def load_kpis(files: Iterable[Path], topics: Mapping[str, Topic], own: Iterable[Path] = ()) -> dict[str, Kpi]:
    """The KPI tables of SQL files, each named like its file, in their `order`; the shop's own ones, which may say less,
    after all others.

    Raises UserError in one sentence that names file, line, name and what would do. Queries are not run: see check.py.
    """
    found: list[tuple[bool, int, Kpi, Declaration]] = []
    for is_own, path in [*((False, path) for path in files), *((True, path) for path in own)]:
        with noted(path):
            declaration = Declaration.of_sql(path)
            declaration = completed(declaration, topics) if is_own else declaration
            keys = declaration.read(_KpiKeys)
            found.append((is_own, keys.order, _kpi(declaration, keys, topics, is_own), declaration))
    kpis: dict[str, Kpi] = {}
    for _, _, kpi, declaration in sorted(found, key=lambda each: (each[0], each[1], each[2].name)):
        with noted(declaration.path):
            if kpi.name in kpis:
                raise declaration.wrong(f"there is another KPI table '{kpi.name}'; give its file another name")
            kpis[kpi.name] = kpi
    return kpis


def _kpi(declaration: Declaration, keys: _KpiKeys, topics: Mapping[str, Topic], own: bool) -> Kpi:
    name = declaration.name
    if not _NAME.fullmatch(name):
        raise declaration.wrong(f"'{name}' is no name of a table; use small letters, digits and _")
    if keys.topic not in topics:
        if is_wrong(keys.topic):
            raise AlreadyTold(f"{keys.topic} is left out")
        raise declaration.wrong(
            f"'topic' is '{keys.topic}', which is no topic{near(keys.topic, topics)}; expected one of "
            f"{', '.join(topics)}",
            "topic",
        )
    for other in topics.values():
        if other.table.name == name:
            raise declaration.wrong(f"'{name}' is the table of {other.name}; give the file another name")
    if not 1 <= keys.window <= _LONGEST:
        raise declaration.wrong(f"'window' is {keys.window}; expected 1 to {_LONGEST} minutes", "window")
    if keys.window > 1 and "window_ends" not in declaration.rest:
        raise declaration.wrong("'window' is over 1, but the query does not join window_ends; join it", "window")
    if not declaration.rest.strip():
        raise declaration.wrong("there is no query after the comment; add it")
    topic, by = topics[keys.topic], "window_start" if keys.window == 1 else "window_end"
    columns = tuple(_column(declaration, each, topic.table) for each in keys.columns)
    table = Table(
        name,
        keys.doc,
        keys.grain,
        "the next publish" if keys.window == 1 else "the publish after the minute's end",
        (*WINDOW_COLUMNS, *columns, *UPDATED),
        event_time=by,
        partition_by=by,
        aged_by="updated_at",
        retention="kpis",
        declared_in=declaration.where,
        own=own,
        lines=_lines(declaration, keys.columns) if own else {},
    )
    for column in keys.keep_first:
        if column not in keys.columns:
            raise declaration.wrong(f"'keep_first' names '{column}', which is no column here; correct it", "keep_first")
    first = {column: tuple(values) for column, values in keys.keep_first.items()}
    return Kpi(topic, table, declaration.rest, keys.window, first)


def _lines(declaration: Declaration, columns: Iterable[str]) -> dict[str, int]:
    """Where the file says what of the table: of a column that its header does not name, where the query begins."""
    named = re.search(r"(?m)^\s*columns:", declaration.yaml) is not None
    return {"": 1} | {name: declaration.line("columns", name) if named else declaration.rest_line for name in columns}


def _column(declaration: Declaration, name: str, raw: Table) -> Column:
    """A column; one without anything said of it is the raw table's of the same name."""
    place = ("columns", name)
    if not _NAME.fullmatch(name):
        raise declaration.wrong(f"'{name}' is no name of a column; use small letters, digits and _", *place)
    if name in _TAKEN:
        raise declaration.wrong(f"every KPI table has the column '{name}' already; leave it out", *place)
    if declaration.content["columns"][name] is None:
        for column in raw.columns:
            if column.name == name:
                return column
        raise declaration.wrong(f"{raw.name} has no column '{name}' to be like; say type and doc", *place)
    keys = declaration.read(_ColumnKeys, *place)
    try:
        arrow_type(keys.type)
    except (KeyError, ValueError):  # of a decimal, also digits that no type has
        known = "string, int, long, double, boolean, timestamptz, binary or decimal(P,S)"
        raise declaration.wrong(f"'type' is '{keys.type}'; expected {known}", *place, "type") from None
    return Column(name, keys.type, keys.doc, keys.unit, keys.required)
