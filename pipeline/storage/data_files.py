"""Data files as both engines write them: Parquet, one an hour of the table's partition, and what is known of each."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema

from lakehouse.tables import Table, arrow_schema
from pipeline.storage.files import HOUR_US

ROWS_A_ROW_GROUP = 32_768
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

type Spans = Mapping[str, tuple[int, int]]
"""Lowest and highest value of a file's time columns by name, us since the epoch."""


class Known(TypedDict):
    """What a LiveFile says of a data file."""

    uri: str
    hour: int | None
    rows: int
    bytes: int
    level: int
    event_min: int | None
    event_max: int | None
    aged_min: int | None
    aged_max: int | None


def by_hour(table: Table, rows: pa.Table) -> list[tuple[int | None, pa.Table]]:
    """Rows in the order of their partitions (hours since the epoch); None: the table has none."""
    if not rows.num_rows:
        return []
    if table.partition_by is None:
        return [(None, rows)]
    hours = pc.cast(rows[table.partition_by], pa.int64()).to_numpy() // HOUR_US
    first = int(hours[0])
    if (hours == first).all():
        return [(first, rows)]
    order = np.argsort(hours, kind="stable")
    rows, hours = rows.take(pa.array(order)), hours[order]
    starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    ends = [*starts[1:], len(hours)]
    return [(int(hours[a]), rows.slice(a, b - a)) for a, b in zip(starts, ends, strict=True)]


def place_of(table: Table, hour: int | None, level: int) -> str:
    """A place for a new file below the table's folder `data`; its name tells its level."""
    name = f"{level}-{uuid.uuid4()}.parquet"
    if hour is None:
        return name
    return f"{table.partition_by}_hour={_EPOCH + timedelta(hours=hour):%Y-%m-%d-%H}/{name}"


def level_of(uri: str) -> int:
    """The level that a file's name tells; 0 where others gave the name."""
    head, dash, _ = uri.rpartition("/")[2].partition("-")
    return int(head) if dash and len(head) == 1 and head.isdigit() else 0


def file_schema(table: Table, schema: Schema) -> pa.Schema:
    """Arrow schema of a data file, with the ids that the table's columns have by its Iceberg `schema`."""
    columns = []
    for column in arrow_schema(table):
        field = schema.find_field(column.name)
        marked = column.with_nullable(not field.required)
        columns.append(marked.with_metadata({"PARQUET:field_id": str(field.field_id)}))
    return pa.schema(columns)


def write_parquet(table: Table, rows: pa.Table, schema: pa.Schema, sink: Path | pa.BufferOutputStream) -> None:
    """Write rows as a data file of this schema."""
    # Within a file rows lie by event time, so that a reader's range skips row groups.
    if table.event_time is not None and rows.num_rows > ROWS_A_ROW_GROUP:
        rows = rows.sort_by(table.event_time)
    ordered = rows.select(schema.names).combine_chunks()
    pq.write_table(
        pa.Table.from_arrays(ordered.columns, schema=schema),
        sink,
        compression="zstd",
        row_group_size=ROWS_A_ROW_GROUP,
        store_schema=False,
        use_dictionary=rows.num_rows > 64,
    )


def read_parquet(source: Path | IO[bytes] | pa.NativeFile, schema: pa.Schema, *, pre_buffer: bool = False) -> pa.Table:
    """Rows of a data file; a column that was added to the table since is empty."""
    stored = pq.ParquetFile(source, pre_buffer=pre_buffer)
    held = set(stored.schema_arrow.names)
    rows = stored.read(columns=[name for name in schema.names if name in held], use_threads=False)
    for field in schema:
        if field.name not in held:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)


def spans_of(table: Table, rows: pa.Table) -> Spans:
    """The spans of the columns by which readers, duplicates and retention find files."""
    spans = {}
    for name in {table.event_time, table.aged_by, table.partition_by} - {None}:
        assert name is not None
        found = pc.min_max(pc.cast(rows[name], pa.int64()))
        if found["min"].is_valid:
            spans[name] = (found["min"].as_py(), found["max"].as_py())
    return spans


def known(table: Table, uri: str, hour: int | None, rows: int, size: int, spans: Spans) -> Known:
    """A data file as a LiveFile tells it."""
    event_min, event_max = spans.get(table.event_time or "", (None, None))
    aged_min, aged_max = spans.get(table.aged_by or "", (None, None))
    return Known(
        uri=uri,
        hour=hour,
        rows=rows,
        bytes=size,
        level=level_of(uri),
        event_min=event_min,
        event_max=event_max,
        aged_min=aged_min,
        aged_max=aged_max,
    )


def known_from(table: Table, ids: Mapping[str, int], file: DataFile) -> Known:
    """The same of a manifest's entry; `ids` are the table's column ids by name."""
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    spans = {
        name: (struct.unpack("<q", lower[ids[name]])[0], struct.unpack("<q", upper[ids[name]])[0])
        for name in (table.event_time, table.aged_by)
        if name is not None and ids[name] in lower and ids[name] in upper
    }
    hour = file.partition[0] if table.partition_by else None
    return known(table, file.file_path, hour, file.record_count, file.file_size_in_bytes, spans)


def bound(value: int) -> bytes:
    """A time as Iceberg's bounds hold it."""
    return struct.pack("<q", value)
