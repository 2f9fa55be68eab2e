"""What a metadata location names: columns, and data files with the range of each time column.

Metadata files, manifest lists and manifests never change, so each is read once; a new publish costs its new manifests.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
from pyiceberg.io import FileIO, InputFile, OutputFile, load_file_io
from pyiceberg.manifest import FileFormat, ManifestContent, ManifestFile, read_manifest_list

from embedded.gateway.errors import Kind, Refusal

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
    """A Parquet file; `ranges` gives lowest and highest value of time columns by name, in us since the epoch."""

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

    That is so with delete files, other formats than Parquet, and columns that changed under files already written.
    `past_id` is the snapshot's id, if it is not the metadata's current one that was asked for.
    """

    metadata_location: str
    past_id: int | None
    schema_key: str
    columns: tuple[Column, ...]
    files: tuple[DataFile, ...] | None

    def files_in(self, bounds: Mapping[str, tuple[int | None, int | None]]) -> list[DataFile]:
        """The files that may hold a row inside all bounds."""
        assert self.files is not None
        files = list(self.files)
        for column, (low, high) in bounds.items():
            files = [file for file in files if file.overlaps(column, low, high)]
        return files


class Snapshots:
    """Snapshots by metadata location, the newest used kept in memory: about 1 KB a data file."""

    def __init__(self, snapshots: int = 256, manifests: int = 2048) -> None:
        self._io = _Local()
        self._lock = threading.Lock()
        self._snapshots = _Newest[tuple[str, int | None], Snapshot](snapshots)
        self._manifests = _Newest[str, tuple[DataFile, ...] | None](manifests)

    def at(self, metadata_location: str, snapshot_id: int | None = None) -> Snapshot:
        """The table as this metadata's current snapshot has it, or another that it still lists.

        Raises KeyError for a snapshot that the metadata does not list, Refusal when a file cannot be read.
        """
        key = (metadata_location, snapshot_id)
        with self._lock:
            known = self._snapshots.get(key)
        if known is not None:
            return known
        try:
            found = self._read(metadata_location, snapshot_id)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise Refusal(Kind.INTERNAL, f"DATA_READ ERROR: {metadata_location} cannot be read: {reason}") from None
        with self._lock:
            self._snapshots.put(key, found)
        return found

    def holds(self, metadata_location: str, snapshot_id: int) -> bool:
        """Whether a metadata file lists the snapshot."""
        try:
            return any(item["snapshot-id"] == snapshot_id for item in _load(metadata_location).get("snapshots", ()))
        except (OSError, ValueError):
            return False

    def _read(self, location: str, snapshot_id: int | None) -> Snapshot:
        metadata = _load(location)
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
            if len(metadata["schemas"]) > 1 or metadata["format-version"] > 2:
                files = None
        key = f"{metadata['table-uuid']}/{schema_id}"
        return Snapshot(location, snapshot_id, key, columns, files)

    def _files(self, snapshot: Mapping[str, Any], times: Mapping[int, str]) -> tuple[DataFile, ...] | None:
        found: list[DataFile] = []
        for manifest in read_manifest_list(self._io.new_input(snapshot["manifest-list"])):
            files = self._manifest(manifest, times)
            if files is None:
                return None
            found.extend(files)
        return tuple(found)

    def _manifest(self, manifest: ManifestFile, times: Mapping[int, str]) -> tuple[DataFile, ...] | None:
        path = manifest.manifest_path
        with self._lock:
            known = self._manifests.get(path, _MISSING)
        if known is not _MISSING:
            return known
        files: tuple[DataFile, ...] | None = ()
        if manifest.has_added_files() or manifest.has_existing_files():
            entries = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
            plain = manifest.content == ManifestContent.DATA and all(
                entry.data_file.file_format == FileFormat.PARQUET for entry in entries
            )
            files = tuple(_data_file(entry.data_file, times) for entry in entries) if plain or not entries else None
        with self._lock:
            self._manifests.put(path, files)
        return files


def _data_file(file: Any, times: Mapping[int, str]) -> DataFile:
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    ranges = {
        name: (_US.unpack(lower[field_id])[0], _US.unpack(upper[field_id])[0])
        for field_id, name in times.items()
        if field_id in lower and field_id in upper
    }
    return DataFile(local_path(file.file_path), file.record_count, ranges)


def local_path(location: str) -> str:
    """A location as the engine reads it: the path of file:///…, anything else unchanged."""
    parsed = urlparse(location)
    return unquote(parsed.path) if parsed.scheme == "file" else location


class _Local(FileIO):
    """Files of this machine, opened plainly: pyiceberg's own way loads pandas, half of the gateway's start."""

    def new_input(self, location: str) -> InputFile:
        if "://" in location and not location.startswith("file:"):
            return load_file_io(location=location).new_input(location)
        return _LocalInput(location)

    def new_output(self, location: str) -> OutputFile:
        raise NotImplementedError("the gateway only reads")

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise NotImplementedError("the gateway only reads")


class _LocalInput(InputFile):
    def __len__(self) -> int:
        return os.path.getsize(local_path(self.location))

    def exists(self) -> bool:
        return os.path.exists(local_path(self.location))

    def open(self, seekable: bool = True) -> Any:
        return open(local_path(self.location), "rb")


def _load(location: str) -> dict[str, Any]:
    with open(local_path(location), "rb") as file:
        content: dict[str, Any] = json.load(file)
    return content


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
