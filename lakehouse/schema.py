"""What a table is: columns, types, units, grain, partition, freshness and retention.

Types are Iceberg's; readers get a timestamptz as timestamp[ms] without zone, in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

CATALOG = "nessie_minio_catalog"
SCHEMA = "ecommerce_db"


@dataclass(frozen=True)
class Column:
    """One column. `unit` is empty where the type says all; `required` columns are never null."""

    name: str
    type: str
    doc: str
    unit: str = ""
    required: bool = True


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    `partition_by` is the column whose hour partitions the table (None: unpartitioned). `aged_by` is the column that
    retention looks at, `retention` names the setting in section `retention` that holds its length (None: kept).
    `own`: of the shop's own files; such a table lost and changed no column since it was made. `lines`: where its file
    says what of it, by column; '' is the table's own.
    """

    name: str
    doc: str
    grain: str
    freshness: str
    columns: tuple[Column, ...]
    event_time: str | None = None
    partition_by: str | None = None
    aged_by: str | None = None
    retention: str | None = None
    declared_in: str = field(default="lakehouse/tables.py", compare=False)
    own: bool = field(default=False, compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def place(self, column: str = "") -> str:
        """File and line in which a column is declared, or else the table."""
        line = self.lines.get(column, self.lines.get(""))
        return self.declared_in if line is None else f"{self.declared_in}, line {line}"

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


LINEAGE = (
    Column("event_key", "string", "event_id, else a hash of topic and contract fields"),
    Column("produced_at", "timestamptz", "when the producer sent it", required=False),
    Column("ingested_at", "timestamptz", "when its publish was made; never goes back"),
    Column("source_partition", "int", "partition of the log it was read from"),
    Column("source_offset", "long", "offset in that partition"),
)
WINDOW_COLUMNS = (
    Column("window_start", "timestamptz", "start of the window, included"),
    Column("window_end", "timestamptz", "end of the window, excluded"),
)
UPDATED = (Column("updated_at", "timestamptz", "when its publish was made"),)


_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def arrow_type(name: str) -> pa.DataType:
    """Arrow type of a column as stored; decimals as decimal128."""
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    return _ARROW[name]


@cache
def arrow_schema(table: Table) -> pa.Schema:
    """Arrow schema of a table as stored: timestamptz is timestamp[us, UTC], required columns are not nullable."""
    return pa.schema(
        [pa.field(column.name, arrow_type(column.type), nullable=not column.required) for column in table.columns]
    )


def full_name(table: Table) -> str:
    """The name readers use: catalog, schema and table, dotted."""
    return f"{CATALOG}.{SCHEMA}.{table.name}"
