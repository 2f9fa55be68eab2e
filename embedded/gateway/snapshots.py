"""What a metadata location names: columns, and manifests of data files.

Metadata files, manifest lists and manifests never change, so each is read once; and a manifest only when somebody asks
for a time inside its partitions. So a new publish costs the manifests it wrote, and a question those it looks into,
however many files are stored.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from cachetools import LRUCache

from embedded.gateway.errors import data_read
from embedded.gateway.files import Files, LocalFiles, Once
from embedded.gateway.manifests import Bounds, DataFile, Listed, Lists, Manifest, overlap, read_manifest
from embedded.gateway.patience import Check, each, endless

__all__ = ["DataFile", "Snapshot", "Snapshots", "StoredColumn"]

_SIDE_BY_SIDE = 16  # manifests
_TIMES = ("timestamptz", "timestamp")


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column as the table stores it; `type` is Iceberg's name of a plain type."""

    id: int
    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at a commit. `manifests` is None where only DuckDB's own Iceberg reader does it justice.

    That is so with delete files, and columns whose type changed. Where columns were added or renamed under files
    already written, `by_id` says that files are read by the columns' ids.
    `past_id` is the snapshot's id, if it is not the metadata's current one that was asked for.
    """

    metadata_location: str
    past_id: int | None
    schema_key: str
    columns: tuple[StoredColumn, ...]
    manifests: tuple[Listed, ...] | None
    by_id: bool = False

    @property
    def times(self) -> dict[int, str]:
        """Its time columns by id."""
        return {column.id: column.name for column in self.columns if column.type in _TIMES}


class Snapshots:
    """Snapshots by metadata location, and manifests, the newest used kept in memory: about 1 KB a data file.

    `files_held`: data files of the manifests kept (count).
    """

    def __init__(self, files: Files | None = None, snapshots: int = 256, files_held: int = 100_000) -> None:
        self._source = files or LocalFiles()
        self._lock = threading.Lock()
        self._snapshots = Once[tuple[str, int | None], Snapshot](snapshots)
        self._lists = Lists()
        self._manifests: LRUCache[str, Manifest] = LRUCache(files_held, getsizeof=len)

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

    def files_in(self, snapshot: Snapshot, bounds: Bounds, check: Check = endless) -> list[DataFile] | None:
        """The files that may hold a row inside all bounds; None where DuckDB's own Iceberg reader is to find them.

        Raises Refusal when a manifest cannot be read, and what `check` raises meanwhile.
        """
        if snapshot.manifests is None:
            return None
        listed = [manifest for manifest in snapshot.manifests if overlap(manifest.ranges, bounds)]
        return self.files_of(snapshot, listed, bounds, check)

    def files_of(
        self, snapshot: Snapshot, listed: Iterable[Listed], bounds: Bounds, check: Check = endless
    ) -> list[DataFile] | None:
        """The same of some of its manifests."""
        try:
            manifests = self._read_manifests([manifest.path for manifest in listed], snapshot.times, check)
        except (OSError, ValueError) as error:
            raise data_read(snapshot.metadata_location, error) from None
        found: list[DataFile] = []
        for manifest in manifests:
            if manifest.files is None:
                return None
            if overlap(manifest.ranges, bounds):
                found += [file for file in manifest.files if overlap(file.ranges, bounds)]
        return found

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
            StoredColumn(field["id"], field["name"], field["type"], field["required"])
            for field in schema["fields"]
            # Dremio would give lists and structs; no table of ours has one.
            if isinstance(field["type"], str)
        )
        manifests: tuple[Listed, ...] | None = ()
        if snapshot is not None:
            [content] = self._source.read([snapshot["manifest-list"]])
            manifests = tuple(self._lists.read(snapshot["manifest-list"], content, _specs(columns, metadata)))
            if (
                metadata["format-version"] > 2
                or not _same_types(columns, metadata["schemas"])
                or not all(manifest.data for manifest in manifests)
            ):
                manifests = None
        key = f"{metadata['table-uuid']}/{schema_id}"
        return Snapshot(location, snapshot_id, key, columns, manifests, by_id=len(metadata["schemas"]) > 1)

    def _read_manifests(self, paths: Sequence[str], times: Mapping[int, str], check: Check) -> list[Manifest]:
        """Those not known yet are read side by side."""
        with self._lock:
            known = {path: manifest for path in paths if (manifest := self._manifests.get(path)) is not None}
        new = [path for path in paths if path not in known]
        for some in each(batched(new, _SIDE_BY_SIDE), check):
            for path, content in zip(some, self._source.read(some), strict=True):
                known[path] = read_manifest(path, content, times)
        with self._lock:
            for path in new:
                if len(known[path]) <= self._manifests.maxsize:
                    self._manifests[path] = known[path]
        return [known[path] for path in paths]


def _specs(columns: tuple[StoredColumn, ...], metadata: Mapping[str, Any]) -> dict[int, list[tuple[str, str]]]:
    """Transform and column of the fields of each partitioning; no column where it is not one of a time."""
    times = {column.id: column.name for column in columns if column.type in _TIMES}
    return {
        spec["spec-id"]: [
            (field["transform"] if field["source-id"] in times else "", times.get(field["source-id"], ""))
            for field in spec["fields"]
        ]
        for spec in metadata["partition-specs"]
    }


def _same_types(columns: tuple[StoredColumn, ...], schemas: list[dict[str, Any]]) -> bool:
    """Whether every column has had its type in all schemas that know it."""
    types = {column.id: column.type for column in columns}
    return all(types.get(field["id"], field["type"]) == field["type"] for item in schemas for field in item["fields"])
