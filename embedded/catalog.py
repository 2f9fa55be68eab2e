"""The one writer's way into the Iceberg tables: files first, then one SQLite transaction for all tables of a publish.

Stock pyiceberg commits table by table and rereads its own manifests at every commit, so that a commit grows dearer the
longer it runs (docs/decisions.md has the figures). Here the writer remembers which files are live, writes one manifest,
one manifest list and one metadata file a table, and moves every pointer of the catalog together. Plain pyiceberg reads
the result as it reads any other catalog.

A past commit is reached through its own metadata files, so live metadata lists only the newest snapshots. What a
publish stops referring to goes into `retired` with the span of publishes that could reach it; `sweep` deletes a file
once no kept publication lies in that span.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.avro.file import MAGIC, META_SCHEMA, AvroFileHeader, AvroOutputFile
from pyiceberg.avro.resolver import construct_writer
from pyiceberg.avro.writer import Writer
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO, schema_to_pyarrow
from pyiceberg.manifest import (
    DEFAULT_READ_VERSION,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestListWriter,
    ManifestListWriterV2,
    ManifestWriterV2,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import MetadataLogEntry, Operation, Snapshot, SnapshotLogEntry, Summary
from pyiceberg.transforms import HourTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)
from pyiceberg.utils.schema_conversion import AvroSchemaConversion
from sqlalchemy import URL

from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table, arrow_type
from lakehouse.user_error import UserError
from pipeline.storage.files import HOUR_US, LiveFile, path_of, row_schema, uri_of
from pipeline.storage.sweep import Publish, kept, local_files, unreached

LIVE_SNAPSHOTS = 3
MANIFESTS_BEFORE_MERGE = 24
ROWS_A_ROW_GROUP = 32_768
_HEADER_WRITER = construct_writer(META_SCHEMA)
# Kept: new threads for every publish would leave their memory behind.
_SYNCERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sync")

_PUBLICATIONS = """
CREATE TABLE IF NOT EXISTS publications (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  commit_id TEXT UNIQUE NOT NULL,
  published_at INTEGER NOT NULL,
  as_of INTEGER,
  tables TEXT NOT NULL,
  tag TEXT
);
CREATE TABLE IF NOT EXISTS retired (
  path TEXT PRIMARY KEY,
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  retired_at INTEGER NOT NULL
) WITHOUT ROWID;
"""


def _iceberg_type(name: str) -> PrimitiveType:
    if name.startswith("decimal"):
        arrow = arrow_type(name)
        return DecimalType(arrow.precision, arrow.scale)
    return {
        "string": StringType(),
        "int": IntegerType(),
        "long": LongType(),
        "double": DoubleType(),
        "boolean": BooleanType(),
        "binary": BinaryType(),
        "timestamptz": TimestamptzType(),
    }[name]


def iceberg_schema(table: Table) -> Schema:
    """The table's Iceberg schema; field ids are the columns' positions from 1."""
    return Schema(
        *(
            NestedField(
                number, column.name, _iceberg_type(column.type), required=column.required, doc=column.doc or None
            )
            for number, column in enumerate(table.columns, start=1)
        )
    )


def partition_spec(table: Table) -> PartitionSpec:
    """By hour of the table's partition column, or unpartitioned."""
    if table.partition_by is None:
        return PartitionSpec()
    source = next(n for n, column in enumerate(table.columns, start=1) if column.name == table.partition_by)
    return PartitionSpec(PartitionField(source, 1000, HourTransform(), f"{table.partition_by}_hour"))


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass(eq=False, kw_only=True)
class CatalogFile(LiveFile):
    """A live data file with what its manifest says of it."""

    data_file: DataFile
    snapshot_id: int = 0
    sequence_number: int = 0

    @property
    def path(self) -> Path:
        return path_of(self.uri)


@dataclass(eq=False)
class LiveManifest:
    """A manifest of the current snapshot, and the live files it names."""

    manifest: ManifestFile
    files: list[CatalogFile]
    born: int = 0


@dataclass
class Staged:
    """What one table brings to the next publish; nothing of it is visible before."""

    table: Table
    metadata: TableMetadataV2
    location: str
    manifests: list[LiveManifest]
    added: Sequence[CatalogFile]
    removed: Sequence[CatalogFile]
    retired: list[tuple[str, int]]
    written: list[Path]


class _AvroFile(AvroOutputFile[Any]):
    """pyiceberg's own Avro file; what depends only on the schema is computed once a shape, not once a file.

    A shape is the name of what is written: "manifest_list", or a table's name for its manifests. It saves half of the
    CPU of a manifest.
    """

    _shapes: ClassVar[dict[str, tuple[Writer, str, Schema]]] = {}

    def __init__(
        self,
        shape: str,
        output_file: OutputFile,
        schema_name: str,
        schemas: Callable[[], tuple[Schema, Schema]],
        metadata: dict[str, str],
    ) -> None:
        if shape not in self._shapes:
            record_schema, file_schema = schemas()
            super().__init__(output_file, file_schema, schema_name, record_schema, metadata)
            text = json.dumps(AvroSchemaConversion().iceberg_to_avro(file_schema, schema_name=schema_name))
            self._shapes[shape] = (self.writer, text, file_schema)
        self.output_file = output_file
        self.schema_name = schema_name
        self.writer, self._schema_text, self.file_schema = self._shapes[shape]
        self.sync_bytes = os.urandom(len(MAGIC) * 4)
        self.metadata = metadata

    def _write_header(self) -> None:
        meta = {**self.metadata, "avro.schema": self._schema_text}
        _HEADER_WRITER.write(self.encoder, AvroFileHeader(MAGIC, meta, self.sync_bytes))


class _ManifestWriter(ManifestWriterV2):
    def __init__(
        self,
        table: str,
        meta: dict[str, str],
        spec: PartitionSpec,
        schema: Schema,
        output: OutputFile,
        snapshot_id: int,
    ) -> None:
        super().__init__(spec, schema, output, snapshot_id, "null")
        self._table = table
        self._file_meta = meta

    @staticmethod
    def meta_of(spec: PartitionSpec, schema: Schema) -> dict[str, str]:
        """What the header of every manifest of a table says."""
        return {
            "schema": schema.model_dump_json(),
            "partition-spec": json.dumps([field.model_dump(by_alias=True, mode="json") for field in spec.fields]),
            "partition-spec-id": str(spec.spec_id),
            "format-version": "2",
            "content": "data",
            "avro.codec": "null",
        }

    def new_writer(self) -> AvroOutputFile[ManifestEntry]:
        return _AvroFile(
            self._table,
            self._output_file,
            "manifest_entry",
            lambda: (self._with_partition(DEFAULT_READ_VERSION), self._with_partition(2)),
            self._file_meta,
        )


class _ManifestListWriter(ManifestListWriterV2):
    def __enter__(self) -> ManifestListWriter:
        self._writer = _AvroFile(
            "manifest_list",
            self._output_file,
            "manifest_file",
            lambda: (MANIFEST_LIST_FILE_SCHEMAS[DEFAULT_READ_VERSION], MANIFEST_LIST_FILE_SCHEMAS[2]),
            self._meta,
        )
        self._writer.__enter__()
        return self


@dataclass
class _Pending:
    """Files that only snapshots older than the newest still reach: retired when the metadata drops that snapshot."""

    snapshot_id: int
    files: list[tuple[str, int]] = field(default_factory=list)


class TableWriter:
    """Writes one table: data files, then a staged snapshot. Only the ingest process may hold one."""

    def __init__(self, table: Table, metadata: TableMetadataV2, location: str, io: FileIO) -> None:
        self.table = table
        self.metadata = metadata
        self.location = location
        self.live: dict[str, CatalogFile] = {}
        self.hours: dict[int | None, dict[str, CatalogFile]] = {}
        self.manifests: list[LiveManifest] = []
        self._io = io
        self._spec = metadata.spec()
        self._schema = metadata.schema()
        self._field_ids = {f.name: f.field_id for f in self._schema.fields}
        self._columns = [column.name for column in table.columns]
        self._manifest_meta = _ManifestWriter.meta_of(self._spec, self._schema)
        self._pending: list[_Pending] = []
        self._metadata_born = 0
        self._root = path_of(metadata.location)
        self._made: set[Path] = set()
        self._unsynced: list[Path] = []
        self._load()
        self.row_count = sum(file.rows for file in self.live.values())

    @cached_property
    def file_schema(self) -> pa.Schema:
        """Arrow schema of a data file, with the field ids that Iceberg asks for."""
        return schema_to_pyarrow(self._schema)

    def _load(self) -> None:
        """Read the current snapshot's files, and what only the two snapshots before it still reach."""
        snapshots = sorted(self.metadata.snapshots, key=lambda s: s.sequence_number or 0)
        if not snapshots:
            return
        reach: list[set[str]] = []
        for snapshot in snapshots:
            paths = {snapshot.manifest_list}
            newest = snapshot is snapshots[-1]
            for manifest in snapshot.manifests(self._io):
                paths.add(manifest.manifest_path)
                files = []
                for entry in manifest.fetch_manifest_entry(self._io, discard_deleted=True):
                    paths.add(entry.data_file.file_path)
                    if newest:
                        files.append(self._live_file(entry))
                if newest:
                    self.manifests.append(LiveManifest(manifest, files))
            reach.append(paths)
        self._hold(file for manifest in self.manifests for file in manifest.files)
        for index, snapshot in enumerate(snapshots[:-1]):
            later: set[str] = set().union(*reach[index + 1 :])
            self._pending.append(_Pending(snapshot.snapshot_id, [(uri, 0) for uri in reach[index] - later]))

    def _hold(self, files: Iterable[CatalogFile]) -> None:
        for file in files:
            self.live[file.uri] = file
            self.hours.setdefault(file.hour, {})[file.uri] = file

    def _live_file(self, entry: ManifestEntry) -> CatalogFile:
        data_file = entry.data_file

        def bound(name: str | None, bounds: Mapping[int, bytes] | None) -> int | None:
            if name is None or not bounds or self._field_ids[name] not in bounds:
                return None
            return int(struct.unpack("<q", bounds[self._field_ids[name]])[0])

        data_file.spec_id = self._spec.spec_id
        return CatalogFile(
            data_file=data_file,
            uri=data_file.file_path,
            hour=data_file.partition[0] if self.table.partition_by else None,
            rows=data_file.record_count,
            bytes=data_file.file_size_in_bytes,
            event_min=bound(self.table.event_time, data_file.lower_bounds),
            event_max=bound(self.table.event_time, data_file.upper_bounds),
            aged_min=bound(self.table.aged_by, data_file.lower_bounds),
            aged_max=bound(self.table.aged_by, data_file.upper_bounds),
            level=_level_of(data_file.file_path),
            snapshot_id=entry.snapshot_id or 0,
            sequence_number=entry.sequence_number or 0,
        )

    def write(self, rows: pa.Table, level: int = 0) -> list[CatalogFile]:
        """Write data files, one a partition hour; they belong to no snapshot yet. Rows may come in any order."""
        if not rows.num_rows:
            return []
        by = self.table.partition_by
        if by is None:
            return [self._write_file(rows, None, level)]
        hours = pc.cast(rows[by], pa.int64()).to_numpy() // HOUR_US
        first = int(hours[0])
        if (hours == first).all():
            return [self._write_file(rows, first, level)]
        order = np.argsort(hours, kind="stable")
        rows, hours = rows.take(pa.array(order)), hours[order]
        starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
        return [
            self._write_file(rows.slice(start, end - start), int(hours[start]), level)
            for start, end in zip(starts, [*starts[1:], len(hours)], strict=True)
        ]

    def _write_file(self, rows: pa.Table, hour: int | None, level: int) -> CatalogFile:
        folder = self._root / "data"
        partition = Record()
        if hour is not None:
            moment = datetime.fromtimestamp(0, UTC) + timedelta(hours=hour)
            folder = folder / f"{self._spec.fields[0].name}={moment:%Y-%m-%d-%H}"
            partition = Record(hour)
        self._make(folder)
        path = folder / f"{level}-{uuid.uuid4()}.parquet"
        # Within a file rows lie by event time, so that a reader's range skips row groups.
        if self.table.event_time is not None and rows.num_rows > ROWS_A_ROW_GROUP:
            rows = rows.sort_by(self.table.event_time)
        ordered = rows.select(self._columns).combine_chunks()
        ordered = pa.Table.from_arrays(ordered.columns, schema=self.file_schema)
        pq.write_table(
            ordered,
            path,
            compression="zstd",
            row_group_size=ROWS_A_ROW_GROUP,
            store_schema=False,
            use_dictionary=rows.num_rows > 64,
        )
        self._unsynced.append(path)
        lower: dict[int, bytes] = {}
        upper: dict[int, bytes] = {}
        bounds: dict[str, tuple[int, int]] = {}
        for name in {self.table.event_time, self.table.aged_by, self.table.partition_by} - {None}:
            assert name is not None
            span = pc.min_max(pc.cast(rows[name], pa.int64()))
            bounds[name] = (span["min"].as_py(), span["max"].as_py())
            lower[self._field_ids[name]] = struct.pack("<q", bounds[name][0])
            upper[self._field_ids[name]] = struct.pack("<q", bounds[name][1])
        size = path.stat().st_size
        data_file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=uri_of(path),
            file_format=FileFormat.PARQUET,
            partition=partition,
            record_count=rows.num_rows,
            file_size_in_bytes=size,
            column_sizes=None,
            value_counts=None,
            null_value_counts=None,
            nan_value_counts=None,
            lower_bounds=lower or None,
            upper_bounds=upper or None,
            key_metadata=None,
            split_offsets=None,
            equality_ids=None,
            sort_order_id=None,
            spec_id=self._spec.spec_id,
        )
        event_min, event_max = bounds.get(self.table.event_time or "", (None, None))
        aged_min, aged_max = bounds.get(self.table.aged_by or "", (None, None))
        return CatalogFile(
            data_file=data_file,
            uri=uri_of(path),
            hour=hour,
            rows=rows.num_rows,
            bytes=size,
            event_min=event_min,
            event_max=event_max,
            aged_min=aged_min,
            aged_max=aged_max,
            level=level,
        )

    def stage(self, added: Sequence[CatalogFile], removed: Iterable[CatalogFile], sequence: int) -> Staged:
        """Write manifest, manifest list and metadata of a snapshot with `added` in and `removed` out.

        `sequence` is the publish it is meant for. Nothing changes here until `accept`.
        """
        gone = {file.uri for file in removed}
        metadata = self.metadata
        snapshot_id = metadata.new_snapshot_id()
        sequence_number = metadata.last_sequence_number + 1
        kept: list[LiveManifest] = []
        rewritten: list[LiveManifest] = []
        for manifest in self.manifests:
            (rewritten if any(file.uri in gone for file in manifest.files) else kept).append(manifest)
        if len(kept) > MANIFESTS_BEFORE_MERGE:
            small = sorted(kept, key=lambda m: len(m.files))[: len(kept) - 4]
            rewritten += small
            kept = [manifest for manifest in kept if manifest not in small]
        survivors = [file for manifest in rewritten for file in manifest.files if file.uri not in gone]
        dead = [file for manifest in rewritten for file in manifest.files if file.uri in gone]
        written: list[Path] = []
        manifests = list(kept)
        if added or survivors or dead:
            manifests.append(self._write_manifest(added, survivors, dead, snapshot_id, sequence_number, sequence))
            written.append(path_of(manifests[-1].manifest.manifest_path))
        parent = metadata.current_snapshot_id
        list_location = f"{metadata.location}/metadata/snap-{snapshot_id}-0-{uuid.uuid4()}.avro"
        output = self._io.new_output(list_location)
        with _ManifestListWriter(output, snapshot_id, parent, sequence_number, "null") as writer:
            writer.add_manifests([manifest.manifest for manifest in manifests])
        written.append(path_of(list_location))
        new = manifests[-1].manifest if manifests else None
        if new is not None and new.sequence_number == -1:
            # The list carries the number already; the object in memory is not the one that was written.
            new.sequence_number = sequence_number
            if new.min_sequence_number == -1:
                new.min_sequence_number = sequence_number
        stamp = max(time.time_ns() // 1_000_000, metadata.last_updated_ms)
        snapshot = Snapshot(
            snapshot_id=snapshot_id,
            parent_snapshot_id=parent,
            sequence_number=sequence_number,
            timestamp_ms=stamp,
            manifest_list=list_location,
            summary=Summary(
                Operation.OVERWRITE if gone else Operation.APPEND,
                **{
                    "added-data-files": str(len(added)),
                    "added-records": str(sum(file.rows for file in added)),
                    "deleted-data-files": str(len(dead)),
                    "deleted-records": str(sum(file.rows for file in dead)),
                    "total-data-files": str(len(self.live) + len(added) - len(dead)),
                    "total-records": str(self.row_count + sum(f.rows for f in added) - sum(f.rows for f in dead)),
                    "total-delete-files": "0",
                },
            ),
            schema_id=metadata.current_schema_id,
        )
        snapshots = [*metadata.snapshots, snapshot][-LIVE_SNAPSHOTS:]
        listed = {s.snapshot_id for s in snapshots}
        location = f"{metadata.location}/metadata/{sequence:08d}-{uuid.uuid4()}.metadata.json"
        new_metadata = metadata.model_copy(
            update={
                "snapshots": snapshots,
                "current_snapshot_id": snapshot_id,
                "last_sequence_number": sequence_number,
                "last_updated_ms": stamp,
                "refs": {"main": _main(snapshot_id)},
                "snapshot_log": [
                    *(entry for entry in metadata.snapshot_log if entry.snapshot_id in listed),
                    SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=stamp),
                ],
                "metadata_log": [
                    *metadata.metadata_log,
                    MetadataLogEntry(metadata_file=self.location, timestamp_ms=metadata.last_updated_ms),
                ][-2:],
            }
        )
        metadata_path = path_of(location)
        metadata_path.write_text(new_metadata.model_dump_json(exclude_none=True), encoding="utf-8")
        written.append(metadata_path)

        retired = [(self.location, self._metadata_born)]
        dropped = [p for p in self._pending if p.snapshot_id not in listed]
        retired += [file for pending in dropped for file in pending.files]
        leaving = _Pending(parent, []) if parent is not None else None
        if leaving is not None:
            old_list = next(s.manifest_list for s in metadata.snapshots if s.snapshot_id == parent)
            leaving.files.append((old_list, self._metadata_born))
            leaving.files += [(m.manifest.manifest_path, m.born) for m in rewritten]
            leaving.files += [(file.uri, file.born) for file in dead]
        staged = Staged(self.table, new_metadata, location, manifests, added, dead, retired, written + self._unsynced)
        self._staged = (staged, [p for p in self._pending if p not in dropped] + ([leaving] if leaving else []))
        return staged

    def _write_manifest(
        self,
        added: Sequence[CatalogFile],
        survivors: Sequence[CatalogFile],
        dead: Sequence[CatalogFile],
        snapshot_id: int,
        sequence_number: int,
        sequence: int,
    ) -> LiveManifest:
        location = f"{self.metadata.location}/metadata/{uuid.uuid4()}-m0.avro"
        output = self._io.new_output(location)
        with _ManifestWriter(
            self.table.name, self._manifest_meta, self._spec, self._schema, output, snapshot_id
        ) as writer:
            for file in added:
                file.snapshot_id, file.sequence_number, file.born = snapshot_id, sequence_number, sequence
                writer.add(_entry(ManifestEntryStatus.ADDED, snapshot_id, None, file))
            for file in survivors:
                writer.add_entry(_entry(ManifestEntryStatus.EXISTING, file.snapshot_id, file.sequence_number, file))
            for file in dead:
                writer.add_entry(_entry(ManifestEntryStatus.DELETED, snapshot_id, file.sequence_number, file))
        return LiveManifest(writer.to_manifest_file(), [*survivors, *added], sequence)

    def accept(self, staged: Staged, sequence: int) -> None:
        """The publish went through: the staged state is the current one."""
        self._pending = self._staged[1]
        self.metadata, self.location = staged.metadata, staged.location
        self.manifests = staged.manifests
        for file in staged.removed:
            del self.live[file.uri]
            del self.hours[file.hour][file.uri]
            if not self.hours[file.hour]:
                del self.hours[file.hour]
        self._hold(staged.added)
        self.row_count += sum(f.rows for f in staged.added) - sum(f.rows for f in staged.removed)
        self._metadata_born = sequence
        self._unsynced = []

    def _make(self, folder: Path) -> None:
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            if len(self._made) > 10_000:
                self._made.clear()
            self._made.add(folder)


def _main(snapshot_id: int) -> SnapshotRef:
    return SnapshotRef(
        snapshot_id=snapshot_id,
        snapshot_ref_type=SnapshotRefType.BRANCH,
        min_snapshots_to_keep=None,
        max_snapshot_age_ms=None,
        max_ref_age_ms=None,
    )


def _entry(status: ManifestEntryStatus, snapshot_id: int, number: int | None, file: CatalogFile) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=number,
        file_sequence_number=number,
        data_file=file.data_file,
    )


def _level_of(uri: str) -> int:
    head = uri.rsplit("/", 1)[-1].split("-", 1)[0]
    return int(head) if head.isdigit() and len(head) == 1 else 0


@contextmanager
def only_writer(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's writer lock. Raises UserError naming the process that holds it."""
    path = data_dir / "ingest.lock"
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"Another ingest (process {holder}) writes to {data_dir}; end it or set TILLWATCH_DATA_DIR."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class Catalog:
    """All tables of a data directory, opened for writing: make the missing ones, stage, publish, thin, sweep."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.path = self.data_dir / "catalog.db"
        self.warehouse = self.data_dir / "warehouse"
        self.warehouse.mkdir(parents=True, exist_ok=True)
        self._io = PyArrowFileIO()
        self._db = sqlite3.connect(self.path, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_PUBLICATIONS)
        self._refuse_when_moved()
        self._create_missing()
        self.tables: dict[str, TableWriter] = {}
        for name, location in self._pointers().items():
            metadata = _read_metadata(location, self._io)
            self.tables[name] = TableWriter(TABLES[name], metadata, location, self._io)
            _check_columns(TABLES[name], metadata)
        row = self._db.execute("SELECT MAX(sequence) FROM publications").fetchone()
        # AUTOINCREMENT: numbers of thinned rows never come back.
        self.sequence = int(row[0] or 0)
        if not self.sequence or self._published() != self._pointers():
            self.publish([], as_of=None)

    def close(self) -> None:
        self._db.close()

    def _refuse_when_moved(self) -> None:
        """Tables name their files by absolute path: all that lies elsewhere would pass for what nothing refers to."""
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'iceberg_tables'").fetchone() is None:
            return
        for location in self._pointers().values():
            if not path_of(location).is_relative_to(self.warehouse):
                made_in = location.removeprefix("file://").partition("/warehouse/")[0]
                raise UserError(
                    f"The tables of {self.data_dir} were made in {made_in} and name their files there: move the "
                    "directory back (a link in its old place does not do), or set TILLWATCH_DATA_DIR to another one."
                )

    def _create_missing(self) -> None:
        stock = SqlCatalog(
            CATALOG,
            # Written out by hand, a ? or % in the path would be read as more than the path.
            uri=URL.create("sqlite", database=str(self.path)).render_as_string(),
            warehouse=uri_of(self.warehouse),
        )
        try:
            stock.create_namespace_if_not_exists(SCHEMA)
            known = {name for _, name in stock.list_tables(SCHEMA)}
            for name, table in TABLES.items():
                if name not in known:
                    stock.create_table(
                        f"{SCHEMA}.{name}",
                        schema=iceberg_schema(table),
                        partition_spec=partition_spec(table),
                        location=f"{uri_of(self.warehouse)}/{SCHEMA}/{name}",
                        properties={
                            "format-version": "2",
                            "write.metadata.previous-versions-max": "2",
                            "comment": table.doc,
                        },
                    )
        finally:
            stock.engine.dispose()

    def _pointers(self) -> dict[str, str]:
        rows = self._db.execute(
            "SELECT table_name, metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ?",
            (CATALOG, SCHEMA),
        )
        return {name: location for name, location in rows if name in TABLES}

    def _published(self) -> dict[str, str]:
        row = self._db.execute("SELECT tables FROM publications ORDER BY sequence DESC LIMIT 1").fetchone()
        return dict(json.loads(row[0])) if row else {}

    def publish(self, staged: Sequence[Staged], as_of: int | None) -> str:
        """Make all staged tables visible at once. Returns the commit id (64 hex digits).

        Every file is synced first, so that after a power cut the tables are those of a publish. Raises RuntimeError
        when another process moved a pointer meanwhile, OSError when the disk refuses; then nothing is visible.
        """
        sync_files([path for table in staged for path in table.written])
        sequence = self.sequence + 1
        locations = {name: writer.location for name, writer in self.tables.items()}
        published_at = now_us()
        retired = [(path, born, sequence - 1, published_at) for table in staged for path, born in table.retired]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for table in staged:
                moved = self._db.execute(
                    "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
                    "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
                    (
                        table.location,
                        locations[table.table.name],
                        CATALOG,
                        SCHEMA,
                        table.table.name,
                        locations[table.table.name],
                    ),
                )
                if moved.rowcount != 1:
                    raise RuntimeError(f"table {table.table.name} was changed by another process")
                locations[table.table.name] = table.location
            commit_id = hashlib.sha256(
                json.dumps([sequence, published_at, locations], sort_keys=True).encode()
            ).hexdigest()
            self._db.execute(
                "INSERT INTO publications (sequence, commit_id, published_at, as_of, tables) VALUES (?, ?, ?, ?, ?)",
                (sequence, commit_id, published_at, as_of, json.dumps(locations, sort_keys=True)),
            )
            self._db.executemany("INSERT OR REPLACE INTO retired VALUES (?, ?, ?, ?)", retired)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        for table in staged:
            self.tables[table.table.name].accept(table, sequence)
        self.sequence = sequence
        return commit_id

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order."""
        table = TABLES[name]
        schema = row_schema(table)
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        parts = [
            pq.read_table(path_of(file.uri), columns=schema.names, partitioning=None, use_threads=False).cast(schema)
            for file in files
        ]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""
        return self.read(name, list(self.tables[name].live.values()))

    def thin(self, now: int, every: timedelta, first_of_minute: timedelta) -> int:
        """Drop past commits: kept are all of the last `every`, the first of each minute of the last `first_of_minute`,
        tagged ones and the head. Returns how many went."""
        rows = self._db.execute("SELECT sequence, published_at, tag FROM publications ORDER BY sequence").fetchall()
        publishes = [Publish(sequence, at, held=tag is not None) for sequence, at, tag in rows]
        stay = {publish.id for publish in kept(publishes, now, every, first_of_minute)}
        going = [(publish.id,) for publish in publishes if publish.id not in stay]
        self._db.execute("BEGIN")
        self._db.executemany("DELETE FROM publications WHERE sequence = ?", going)
        self._db.execute("COMMIT")
        return len(going)

    def sweep(self, now: int, age_guard: timedelta) -> tuple[int, int]:
        """Delete files that no kept commit reaches and that were retired over `age_guard` ago. Returns count, bytes."""
        rows = self._db.execute(
            """
            SELECT path FROM retired r WHERE retired_at < ? AND NOT EXISTS (
              SELECT 1 FROM publications p WHERE p.sequence BETWEEN r.first_sequence AND r.last_sequence)
            """,
            (now - _us(age_guard),),
        ).fetchall()
        size = 0
        for (uri,) in rows:
            path = path_of(uri)
            try:
                size += path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                pass  # deleted by a sweep that was killed before it could say so
        self._db.execute("BEGIN")
        self._db.executemany("DELETE FROM retired WHERE path = ?", rows)
        self._db.execute("COMMIT")
        return len(rows), size

    def sweep_orphans(self, age_guard: timedelta) -> int:
        """Delete files of the warehouse that nothing refers to: what a killed publish left. Returns how many.

        Files younger than `age_guard` stay: at a start there can be none in use, but a clock may have moved.
        """
        held = {row[0] for row in self._db.execute("SELECT path FROM retired")}
        for (tables,) in self._db.execute("SELECT tables FROM publications"):
            held.update(json.loads(tables).values())
        for writer in self.tables.values():
            held.add(writer.location)
            held.update(entry.metadata_file for entry in writer.metadata.metadata_log)
            held.update(writer.live)
            held.update(manifest.manifest.manifest_path for manifest in writer.manifests)
            held.update(snapshot.manifest_list for snapshot in writer.metadata.snapshots)
            held.update(uri for pending in writer._pending for uri, _ in pending.files)
        going = unreached(local_files(self.warehouse), held, now_us() - _us(age_guard))
        for file in going:
            path_of(file.uri).unlink()
        return len(going)


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _read_metadata(location: str, io: FileIO) -> TableMetadataV2:
    metadata: TableMetadata = FromInputFile.table_metadata(io.new_input(location))
    if not isinstance(metadata, TableMetadataV2):
        raise UserError(f"The table of {location} has Iceberg format v{metadata.format_version}; tillwatch writes v2.")
    return metadata


def _check_columns(table: Table, metadata: TableMetadataV2) -> None:
    """Refuse a table whose columns are not the contract's."""
    found = {column.name: str(column.field_type) for column in metadata.schema().fields}
    for column in table.columns:
        wanted = str(_iceberg_type(column.type))
        if found.get(column.name) != wanted:
            raise UserError(
                f"Column {column.name} of table {table.name} is {found.get(column.name, 'missing')}, not {wanted}; "
                "the data directory is of another version: move it away or set TILLWATCH_DATA_DIR."
            )


def sync_files(paths: Iterable[Path]) -> None:
    """fsync files, then the folders that name them. Side by side: the file system then commits many at once."""
    files = set(paths)
    folders = {path.parent for path in files}
    list(_SYNCERS.map(_sync, files))
    list(_SYNCERS.map(_sync, folders))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
