"""Table expressions of the gateway's own tables, whose columns may be lists and structs."""

from __future__ import annotations

import pyarrow as pa

from embedded.gateway.sql.kinds import of_arrow


def empty_sql(schema: pa.Schema) -> str:
    """A table expression with these columns and no row."""
    items = ", ".join(f"CAST(NULL AS {of_arrow(field.type).duckdb}) AS {quoted(field.name)}" for field in schema)
    return f"(SELECT {items} WHERE false)"


def given_sql(schema: pa.Schema, table: str) -> str:
    """A table expression with these columns, out of a table that the engine is given."""
    names = [(quoted(field.name), of_arrow(field.type).duckdb) for field in schema]
    items = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in names)
    return f"(SELECT {items} FROM {table})"


def quoted(name: str) -> str:
    """A name as DuckDB writes it."""
    return '"' + name.replace('"', '""') + '"'
