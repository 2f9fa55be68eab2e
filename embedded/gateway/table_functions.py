"""TABLE(table_files('a.b.c')) and its like: how they are written, and which columns they have.

In the text that is translated each stands as a table with a name of ours, which holds what was asked for; metadata.py
answers it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from embedded.gateway.errors import Refusal, no_function, validation
from embedded.gateway.paths import Path
from embedded.gateway.tokens import Word
from embedded.gateway.versions import At


def _list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("$data$", kind))


_TIME, _LONG, _INT, _TEXT, _BOOL = pa.timestamp("ms"), pa.int64(), pa.int32(), pa.string(), pa.bool_()
_PAIRS = _list(pa.struct([("key", _TEXT), ("value", _TEXT)]))

SCHEMAS: Mapping[str, pa.Schema] = {
    "TABLE_HISTORY": pa.schema(
        [
            ("made_current_at", _TIME),
            ("snapshot_id", _LONG),
            ("parent_id", _LONG),
            ("is_current_ancestor", _BOOL),
        ]
    ),
    "TABLE_SNAPSHOT": pa.schema(
        [
            ("committed_at", _TIME),
            ("snapshot_id", _LONG),
            ("parent_id", _LONG),
            ("operation", _TEXT),
            ("manifest_list", _TEXT),
            ("summary", _PAIRS),
        ]
    ),
    "TABLE_MANIFESTS": pa.schema(
        [
            ("content", _INT),
            ("path", _TEXT),
            ("length", _LONG),
            ("partition_spec_id", _INT),
            ("added_snapshot_id", _LONG),
            ("added_data_files_count", _INT),
            ("existing_data_files_count", _INT),
            ("deleted_data_files_count", _INT),
            ("added_delete_files_count", _INT),
            ("existing_delete_files_count", _INT),
            ("deleted_delete_files_count", _INT),
            (
                "partition_summaries",
                _list(
                    pa.struct(
                        [
                            ("contains_null", _BOOL),
                            ("contains_nan", _BOOL),
                            ("lower_bound", _TEXT),
                            ("upper_bound", _TEXT),
                        ]
                    )
                ),
            ),
        ]
    ),
    "TABLE_FILES": pa.schema(
        [
            ("content", _TEXT),
            ("file_path", _TEXT),
            ("file_format", _TEXT),
            ("partition", _TEXT),
            ("record_count", _LONG),
            ("file_size_in_bytes", _LONG),
            ("column_sizes", _PAIRS),
            ("value_counts", _PAIRS),
            ("null_value_counts", _PAIRS),
            ("nan_value_counts", _PAIRS),
            ("lower_bounds", _PAIRS),
            ("upper_bounds", _PAIRS),
            ("split_offsets", _list(_LONG)),
            ("equality_ids", _list(_INT)),
            ("sort_order_id", _INT),
            ("spec_id", _INT),
        ]
    ),
    "TABLE_PARTITIONS": pa.schema(
        [("partition", _TEXT), ("record_count", _LONG), ("file_count", _INT), ("spec_id", _INT)]
    ),
}
"""Columns of each, as they stand in Dremio 25.2's source; its documentation calls ids and lists VARCHAR."""

_NOT_YET = ("CLUSTERING_INFORMATION", "COPY_ERRORS")
# Names with or without double quotes, with dots between them; a doubled quote inside quotes is one.
_NAME = re.compile(r'("(?:[^\r\n"]|"")+"|[^."]+)(?:\.|$)')


class TableFunction(NamedTuple):
    """A call, and what it is asked for: the path of a table as it was written."""

    name: str
    table: str


def table_function(words: list[Word], index: int) -> tuple[TableFunction, int] | None:
    """The call that begins with the TABLE at `index`, and the index of the word after it; None for anything else.

    Raises Refusal for a function that Dremio does not have, and for arguments that it would not take.
    """
    texts = [word.text for word in words[index + 1 : index + 7]]
    if texts[0:1] != ["("] or texts[2:3] != ["("] or words[index + 2].kind not in ("word", "name"):
        return None
    called = words[index + 2]
    name = called.plain.upper()
    if name in _NOT_YET:
        raise validation(f"Not supported by the gateway yet: {name}", called.start, len(called.text))
    if name not in SCHEMAS:
        raise no_function(name, called.start, len(called.text))
    if texts[4:6] != [")", ")"] or words[index + 4].kind != "text":
        raise validation(f"{name} takes the path of a table in single quotes", called.start, len(called.text))
    return TableFunction(name, words[index + 4].plain), index + 7


def without_table_functions(words: list[Word]) -> list[Word]:
    """The words of a statement but for those of table functions: what is left is to be looked through."""
    left: list[Word] = []
    index = 0
    while index < len(words):
        found = table_function(words, index) if words[index].upper == "TABLE" else None
        if found is None:
            left.append(words[index])
            index += 1
        else:
            index = found[1]
    return left


def path_of(function: TableFunction, start: int) -> Path:
    """The path that a call names. Raises Refusal for what is none."""
    parts: list[str] = []
    done = 0
    while match := _NAME.match(function.table, done):
        part = match[1]
        parts.append(part[1:-1].replace('""', '"') if part[0] == '"' else part)
        done = match.end()
        if done == len(function.table):
            break
    if done != len(function.table) or not parts:
        raise validation("Invalid table identifier", start)
    return tuple(parts)


def refuse_time_travel(name: str, at: At) -> None:
    """Of these Dremio shows the files of a past snapshot, and nothing else. Raises Refusal."""
    if name != "TABLE_FILES" and at.kind in ("SNAPSHOT", "TIMESTAMP", "EXPRESSION"):
        raise validation(f"Time Travel is not supported on metadata function: '{name}' ", at.start)


def not_found(path: str, start: int) -> Refusal:
    return validation(f"Table '{path}' not found", start)
