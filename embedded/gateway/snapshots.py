"""What a metadata location names: columns, and data files with the range of each time column.

Metadata files, manifest lists and manifests never change, so each is read once; a new publish costs its new manifests.
"""

from __future__ import annotations

import io
import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Self

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.file import META_SCHEMA, AvroFile, AvroFileHeader
from pyiceberg.avro.resolver import construct_reader, resolve_reader
from pyiceberg.io import InputFile
from pyiceberg.manifest import (
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
)
from pyiceberg.manifest import DataFile as ManifestDataFile
from pyiceberg.typedef import Record, StructProtocol

from embedded.gateway.errors import data_read
from embedded.gateway.files import Files, LocalFiles, Once, local_path

_US = struct.Struct("<q")
_TIMES = ("timestamptz", "timestamp")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the table stores it; `type` is Iceberg's name of a plain type."""

    id: int
    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file, by its local path or its location in S3.

    `ranges` gives lowest and highest value of time columns by name, in us since the epoch.
    """

    path: str
    rows: int
    ranges: Mapping[str, tuple[int, int]]

    def overlaps(self, column: str, low: int | None, high: int | None) -> bool:
        """Whether a value in [low, high) may be in it."""
        held = self.ranges.get(column)
        if held is None:
            return True
        return (low is None or held[1] >= low) and (high is None or held[0] < high)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at a commit. `files` is None where only DuckDB's own Iceberg reader does it justice.

    That is so with delete files, other formats than Parquet, and columns whose type changed. Where columns were added
    or renamed under files already written, `by_id` says that files are read by the columns' ids.
    `past_id` is the snapshot's id, if it is not the metadata's current one that was asked for.
    """

    metadata_location: str
    past_id: int | None
    schema_key: str
    columns: tuple[Column, ...]
    files: tuple[DataFile, ...] | None
    by_id: bool = False

    def files_in(self, bounds: Mapping[str, tuple[int | None, int | None]]) -> list[DataFile]:
        """The files that may hold a row inside all bounds."""
        assert self.files is not None
        files = list(self.files)
        for column, (low, high) in bounds.items():
            files = [file for file in files if file.overlaps(column, low, high)]
        return files


class Snapshots:
    """Snapshots by metadata location, the newest used kept in memory: about 1 KB a data file."""

    def __init__(self, files: Files | None = None, snapshots: int = 256, manifests: int = 2048) -> None:
        self._source = files or LocalFiles()
        self._lock = threading.Lock()
        self._snapshots = Once[tuple[str, int | None], Snapshot](snapshots)
        self._manifests = _Newest[str, tuple[DataFile, ...] | None](manifests)

    def at(self, metadata_location: str, snapshot_id: int | None = None) -> Snapshot:
        """The table as this metadata's current snapshot has it, or another that it still lists.

        Raises KeyError for a snapshot that the metadata does not list, Refusal when a file cannot be read.
        """

        def read() -> Snapshot:
            try:
                return self._read(metadata_location, snapshot_id)
            except (OSError, ValueError) as error:
                raise data_read(metadata_location, error) from None

        return self._snapshots.get((metadata_location, snapshot_id), read)

    def holds(self, metadata_location: str, snapshot_id: int) -> bool:
        """Whether a metadata file lists the snapshot."""
        try:
            snapshots = self._load(metadata_location).get("snapshots", ())
        except (OSError, ValueError):
            return False
        return any(item["snapshot-id"] == snapshot_id for item in snapshots)

    def _load(self, location: str) -> dict[str, Any]:
        [text] = self._source.read([location])
        content: dict[str, Any] = json.loads(text)
        return content

    def _read(self, location: str, snapshot_id: int | None) -> Snapshot:
        metadata = self._load(location)
        wanted = metadata.get("current-snapshot-id") if snapshot_id is None else snapshot_id
        schema_id = metadata["current-schema-id"]
        snapshot: dict[str, Any] | None = None
        if wanted is not None and wanted != -1:
            snapshot = next((item for item in metadata["snapshots"] if item["snapshot-id"] == wanted), None)
            if snapshot is None:
                raise KeyError(wanted)
            if snapshot_id is not None:
                schema_id = snapshot.get("schema-id", schema_id)
        schema = next(item for item in metadata["schemas"] if item["schema-id"] == schema_id)
        columns = tuple(
            Column(field["id"], field["name"], field["type"], field["required"])
            for field in schema["fields"]
            # Dremio would give lists and structs; no table of ours has one.
            if isinstance(field["type"], str)
        )
        files: tuple[DataFile, ...] | None = ()
        if snapshot is not None:
            files = self._files(snapshot, {column.id: column.name for column in columns if column.type in _TIMES})
            if metadata["format-version"] > 2 or not _same_types(columns, metadata["schemas"]):
                files = None
        key = f"{metadata['table-uuid']}/{schema_id}"
        return Snapshot(location, snapshot_id, key, columns, files, by_id=len(metadata["schemas"]) > 1)

    def _files(self, snapshot: Mapping[str, Any], times: Mapping[int, str]) -> tuple[DataFile, ...] | None:
        [content] = self._source.read([snapshot["manifest-list"]])
        manifests = [
            manifest
            for manifest in _manifests(snapshot["manifest-list"], content)
            if manifest.has_added_files() or manifest.has_existing_files()
        ]
        found: list[DataFile] = []
        read = self._manifest_files([manifest.manifest_path for manifest in manifests], times)
        for manifest, files in zip(manifests, read, strict=True):
            # A manifest of deletes that names none is no reason to give up.
            if files is None or (manifest.content != ManifestContent.DATA and files):
                return None
            found.extend(files)
        return tuple(found)

    def _manifest_files(self, paths: list[str], times: Mapping[int, str]) -> list[tuple[DataFile, ...] | None]:
        """The live files of each manifest; those not known yet are read side by side."""
        with self._lock:
            known = {path: self._manifests.get(path, _MISSING) for path in paths}
        new = [path for path in paths if known[path] is _MISSING]
        for path, content in zip(new, self._source.read(new) if new else (), strict=True):
            live = [entry.data_file for entry in _entries(path, content) if entry.status != ManifestEntryStatus.DELETED]
            plain = all(file.file_format == FileFormat.PARQUET for file in live)
            known[path] = tuple(_data_file(file, times) for file in live) if plain else None
        with self._lock:
            for path in new:
                self._manifests.put(path, known[path])
        return [known[path] for path in paths]


def _same_types(columns: tuple[Column, ...], schemas: list[dict[str, Any]]) -> bool:
    """Whether every column has had its type in all schemas that know it."""
    types = {column.id: column.type for column in columns}
    return all(types.get(field["id"], field["type"]) == field["type"] for item in schemas for field in item["fields"])


def _data_file(file: ManifestDataFile, times: Mapping[int, str]) -> DataFile:
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    ranges = {
        name: (_US.unpack(lower[field_id])[0], _US.unpack(upper[field_id])[0])
        for field_id, name in times.items()
        if field_id in lower and field_id in upper
    }
    return DataFile(local_path(file.file_path), file.record_count, ranges)


# ---- manifests ------------------------------------------------------------------------------------------------------


def _manifests(location: str, content: bytes) -> list[ManifestFile]:
    """What pyiceberg's read_manifest_list reads."""
    types: dict[int, Callable[..., StructProtocol]] = {-1: ManifestFile, 508: PartitionFieldSummary}
    file = _Content(location, content)
    with _Avro[ManifestFile](file, MANIFEST_LIST_FILE_SCHEMAS[2], types, {517: ManifestContent}) as found:
        return list(found)


def _entries(location: str, content: bytes) -> list[ManifestEntry]:
    """What pyiceberg's ManifestFile.fetch_manifest_entry reads, without the sequence numbers that it fills in."""
    types: dict[int, Callable[..., StructProtocol]] = {-1: ManifestEntry, 2: ManifestDataFile}
    enums: dict[int, Callable[..., Enum]] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}
    with _Avro[ManifestEntry](_Content(location, content), MANIFEST_ENTRY_SCHEMAS[2], types, enums) as found:
        return list(found)


class _Avro[T: Record](AvroFile[T]):
    """An Avro file whose reader is built once for each schema: building it costs ten times what reading does."""

    __slots__ = ()
    _header_reader: ClassVar[Any] = construct_reader(META_SCHEMA, {-1: AvroFileHeader})
    _readers: ClassVar[dict[tuple[str, int], Any]] = {}

    def __enter__(self) -> Self:
        with self.input_file.open() as file:
            self.decoder = new_decoder(file.read())
        self.header = self._header_reader.read(self.decoder)
        assert self.read_schema is not None
        key = (self.header.meta["avro.schema"], id(self.read_schema))
        if key not in self._readers:
            if len(self._readers) > 200:
                self._readers.clear()
            self._readers[key] = resolve_reader(
                self.header.get_schema(), self.read_schema, self.read_types, self.read_enums
            )
        self.reader = self._readers[key]
        return self


class _Content(InputFile):
    """A file that was read already, as pyiceberg's readers want it."""

    def __init__(self, location: str, content: bytes) -> None:
        super().__init__(location)
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> Any:
        return io.BytesIO(self._content)


_MISSING: Any = object()


class _Newest[K, V]:
    """A dictionary that keeps the entries used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, default: V | None = None) -> V | None:
        if key not in self._items:
            return default
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self._size:
            self._items.popitem(last=False)
