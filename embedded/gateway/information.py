"""What stands in INFORMATION_SCHEMA, and how Dremio describes a column."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embedded.gateway.commits import Commit, key_of
from embedded.gateway.errors import Refusal
from embedded.gateway.paths import INFORMATION_SCHEMA
from embedded.gateway.patience import Check, each
from embedded.gateway.snapshots import StoredColumn
from lakehouse.tables import CATALOG, SCHEMA

logger = logging.getLogger(__name__)

type Columns = Callable[[str, Commit], Sequence[StoredColumn] | None]
"""The columns of a table at a commit; None when it is not there."""

DREMIO = "DREMIO"
"""The catalogue that Dremio names in INFORMATION_SCHEMA, and nowhere else."""


def schemata(commit: Commit) -> list[str]:
    """Every source and folder at a commit."""
    return [INFORMATION_SCHEMA, CATALOG, *(_within(folder) for folder in commit.folders())]


def _within(folder: Sequence[str]) -> str:
    return ".".join((CATALOG, *folder))


_TEXT, _INT = pa.string(), pa.int32()
_LONGEST = 65536
"""Characters of a VARCHAR, bytes of a VARBINARY: Dremio's own bound, for it keeps none of a column's."""


def _schema(columns: str) -> pa.Schema:
    """Names; those with a star are numbers."""
    return pa.schema([(name.strip("*"), _INT if name.endswith("*") else _TEXT) for name in columns.split()])


TABLES: Mapping[str, pa.Schema] = {
    "CATALOGS": _schema("CATALOG_NAME CATALOG_DESCRIPTION CATALOG_CONNECT"),
    "SCHEMATA": _schema("CATALOG_NAME SCHEMA_NAME SCHEMA_OWNER TYPE IS_MUTABLE"),
    "TABLES": _schema("TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE"),
    "VIEWS": _schema("TABLE_CATALOG TABLE_SCHEMA TABLE_NAME VIEW_DEFINITION"),
    "COLUMNS": _schema(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION* COLUMN_DEFAULT IS_NULLABLE DATA_TYPE "
        "COLUMN_SIZE* CHARACTER_MAXIMUM_LENGTH* CHARACTER_OCTET_LENGTH* NUMERIC_PRECISION* NUMERIC_PRECISION_RADIX* "
        "NUMERIC_SCALE* DATETIME_PRECISION* INTERVAL_TYPE INTERVAL_PRECISION*"
    ),
}


def rows(name: str, commit: Commit, columns: Columns, check: Check) -> pa.Table:
    """The rows of a table of INFORMATION_SCHEMA at a commit. Raises what `check` does meanwhile."""
    found: list[tuple[Any, ...]]
    match name:
        case "CATALOGS":
            found = [(DREMIO, "The internal metadata used by Dremio", "")]
        case "SCHEMATA":
            found = [(DREMIO, schema, "<owner>", "SIMPLE", "NO") for schema in schemata(commit)]
        case "TABLES":
            found = [(DREMIO, INFORMATION_SCHEMA, table, "SYSTEM_TABLE") for table in sorted(TABLES)]
            found += [(DREMIO, _within(folder), table, "TABLE") for *folder, table in commit.paths()]
        case "COLUMNS":
            found = list(_all_columns(commit, columns, check))
        case _:
            found = []  # the pipeline makes no views
    return table_of(TABLES[name], found)


def table_of(schema: pa.Schema, found: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows as a table."""
    values = zip(*found, strict=True) if found else ((),) * len(schema)
    return pa.table([pa.array(column, field.type) for column, field in zip(values, schema, strict=True)], schema=schema)


def own_columns(name: str) -> list[StoredColumn]:
    """The columns of a table of INFORMATION_SCHEMA itself."""
    return [
        StoredColumn(place, field.name, "int" if field.type == _INT else "string", required=False)
        for place, field in enumerate(TABLES[name], 1)
    ]


def _all_columns(commit: Commit, columns: Columns, check: Check) -> Iterator[tuple[Any, ...]]:
    for table in sorted(TABLES):
        yield from _described(INFORMATION_SCHEMA, table, own_columns(table))
    for *folder, table in each(commit.paths(), check):
        try:
            found = columns(key_of((*folder, table)), commit) or ()
        except Refusal as refusal:
            if folder == [SCHEMA]:
                raise
            # One table of others that cannot be read must not keep a client from all the rest.
            logger.warning("columns of %s.%s are left out: %s", _within(folder), table, refusal)
            continue
        yield from _described(_within(folder), table, found)


def _described(schema: str, table: str, columns: Sequence[StoredColumn]) -> Iterator[tuple[Any, ...]]:
    for place, column in enumerate(columns, 1):
        kind = described(column)
        octets = kind.length and (kind.length * 4 if kind.name == "CHARACTER VARYING" else kind.length)
        yield (
            *(DREMIO, schema, table, column.name, place, None, "YES", kind.name, kind.size, kind.length, octets),
            *(kind.precision, kind.radix, kind.scale, kind.time_precision, None, None),
        )


@dataclass(frozen=True, slots=True)
class DescribedType:
    """A column's type as Dremio describes it; `length` is in characters, or in bytes where it holds bytes."""

    name: str
    size: int | None = None
    length: int | None = None
    precision: int | None = None
    radix: int | None = None
    scale: int | None = None
    time_precision: int | None = None


_KINDS: Mapping[str, DescribedType] = {
    "string": DescribedType("CHARACTER VARYING", _LONGEST, length=_LONGEST),
    "uuid": DescribedType("CHARACTER VARYING", _LONGEST, length=_LONGEST),
    "binary": DescribedType("BINARY VARYING", _LONGEST, length=_LONGEST),
    "int": DescribedType("INTEGER", 32, precision=32, radix=2, scale=0),
    "long": DescribedType("BIGINT", 64, precision=64, radix=2, scale=0),
    "float": DescribedType("FLOAT", 24, precision=24, radix=2),
    "double": DescribedType("DOUBLE", 53, precision=53, radix=2),
    "boolean": DescribedType("BOOLEAN", 1),
    "date": DescribedType("DATE", 10, time_precision=0),
    "time": DescribedType("TIME", 12, time_precision=3),
    "timestamp": DescribedType("TIMESTAMP", 23, time_precision=3),
    "timestamptz": DescribedType("TIMESTAMP", 23, time_precision=3),
}


def described(column: StoredColumn) -> DescribedType:
    """How Dremio describes a column."""
    if column.type.startswith("decimal"):
        precision, scale = map(int, column.type.removeprefix("decimal(").rstrip(")").split(","))
        return DescribedType("DECIMAL", precision, precision=precision, radix=10, scale=scale)
    return _KINDS.get(column.type) or DescribedType(column.type.upper())
