"""Lists and structs: their types as DuckDB writes them, and as Arrow has them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

_PLAIN = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("ms"): "TIMESTAMP",
}
_FIELD = re.compile(r'("(?:[^"]|"")*"|\w+) ')


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


def nested_type(text: str, plain: Callable[[str], pa.DataType | None]) -> pa.DataType | None:
    """Arrow's type of a list or struct that DuckDB names so; None for any other. `plain` knows what is in them."""
    if text.endswith("[]"):
        inner = nested_type(text[:-2], plain) or plain(text[:-2])
        return None if inner is None else pa.list_(pa.field("$data$", inner))
    if not text.startswith("STRUCT("):
        return None
    fields = []
    for item in _items(text.removeprefix("STRUCT(").removesuffix(")")):
        match = _FIELD.match(item)
        inner = (nested_type(item[match.end() :], plain) or plain(item[match.end() :])) if match else None
        if match is None or inner is None:
            return None
        fields.append((match[1].strip('"').replace('""', '"'), inner))
    return pa.struct(fields)


def _items(text: str) -> list[str]:
    """What stands between the commas outside brackets and quotes."""
    items, depth, quoted, done = [], 0, False, 0
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if letter == "," and not depth:
                items.append(text[done:place].strip())
                done = place + 1
    return [*items, text[done:].strip()]


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
