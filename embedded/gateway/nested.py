"""Lists and structs of the gateway's own tables: their types as DuckDB writes them."""

from __future__ import annotations

import pyarrow as pa

_PLAIN = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("ms"): "TIMESTAMP",
}


def duckdb_type(kind: pa.DataType) -> str:
    """DuckDB's name of a type of the gateway's own tables."""
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{_name(field.name)} {duckdb_type(field.type)}' for field in kind)})"
    return _PLAIN[kind]


def empty_sql(schema: pa.Schema) -> str:
    """A table expression with these columns and no row."""
    items = ", ".join(f"CAST(NULL AS {duckdb_type(field.type)}) AS {_name(field.name)}" for field in schema)
    return f"(SELECT {items} WHERE false)"


def given_sql(schema: pa.Schema, table: str) -> str:
    """A table expression with these columns, out of a table that the engine is given."""
    items = ", ".join(
        f"CAST({_name(field.name)} AS {duckdb_type(field.type)}) AS {_name(field.name)}" for field in schema
    )
    return f"(SELECT {items} FROM {table})"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
