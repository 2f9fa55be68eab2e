"""One table as its only writer holds it, and its next snapshot, composed in memory.

Stock pyiceberg commits table by table and rereads its own manifests at every commit, so that a commit grows dearer the
longer it runs (docs/decisions.md has the figures). Here the writer remembers which files are live, and makes the
manifests that change, one manifest list and one metadata file; who holds the table puts them where it lies. Plain
pyiceberg, and Iceberg's own Java, read the result as they read any other table.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry

from lakehouse.tables import Table
from pipeline.iceberg.formats import LiveEntry, ManifestFormat, list_file, listed
from pipeline.iceberg.live import CatalogFile, LiveManifest, hour_of
from pipeline.iceberg.manifests import arrange
from pipeline.iceberg.metadata_file import metadata_file
from pipeline.iceberg.snapshots import described_file, main_branch, summary_of
from pipeline.storage import data_files
from pipeline.storage.live import LiveFiles

_ALTERED = ("schemas", "current_schema_id", "last_column_id", "properties")
PREVIOUS_METADATA = 2
"""Older metadata files that the metadata names: `write.metadata.previous-versions-max`."""


@dataclass
class NextState:
    """What a table is to become; nothing of it is visible before a catalog points at `location`.

    `contents` are the files that make it, by address: to be on storage before that. `left` are manifests that are part
    of it no more, `dead` the live files that go.
    """

    metadata: TableMetadataV2
    location: str
    manifests: list[LiveManifest]
    contents: dict[str, bytes]
    new_manifests: Sequence[LiveManifest] = ()
    left: Sequence[LiveManifest] = ()
    added: Sequence[CatalogFile] = ()
    dead: Sequence[CatalogFile] = ()


class IcebergTable(LiveFiles[CatalogFile]):
    """A table's metadata, and the manifests and live files of its current snapshot.

    `snapshots` is how many the metadata keeps. Reads by `io`, writes nothing.
    """

    def __init__(self, table: Table, io: FileIO, snapshots: int) -> None:
        super().__init__()
        self.table = table
        self.location = ""
        self.metadata: TableMetadataV2
        self.manifests: list[LiveManifest] = []
        self.file_schema = pa.schema([])
        self.format: ManifestFormat
        self._field_ids: dict[str, int] = {}
        self._io = io
        self._snapshots = snapshots

    def take_metadata(self, metadata: TableMetadataV2, location: str) -> None:
        """This is the table's metadata from now on; its files are not looked at."""
        self.metadata, self.location = metadata, location
        schema = metadata.schema()
        self.format = ManifestFormat(metadata.spec(), schema)
        self._field_ids = {column.name: column.field_id for column in schema.fields}
        known = {column.name for column in self.table.columns} <= self._field_ids.keys()
        # Without all columns the table is about to get them; see `altered`.
        self.file_schema = data_files.file_schema(self.table, schema) if known else pa.schema([])

    def take_manifests(self, manifests: Sequence[LiveManifest]) -> None:
        """The current snapshot has these manifests, and their files are the live ones."""
        self.drop(list(self.live.values()))
        self.manifests = list(manifests)
        for manifest in manifests:
            _own(manifest)
            self.hold(manifest.files)

    def manifest(self, manifest: ManifestFile, entries: Iterable[LiveEntry], born: int = 0) -> LiveManifest:
        """A manifest of the current snapshot, as it was read."""
        files = [
            CatalogFile(
                described=entry.described,
                snapshot_id=entry.snapshot_id,
                sequence_number=entry.sequence_number,
                existing=entry.existing,
                **data_files.known_from(self.table, self._field_ids, entry.file),
            )
            for entry in entries
        ]
        return LiveManifest(manifest.manifest_path, sorted(files, key=hour_of), listed(manifest), born)

    def written(self, uri: str, hour: int | None, rows: pa.Table, size: int) -> CatalogFile:
        """A data file that was just written, of `size` bytes; it belongs to no snapshot yet."""
        spans = data_files.spans_of(self.table, rows)
        described = described_file(uri, hour, rows.num_rows, size, spans, self._field_ids)
        known = data_files.known(self.table, uri, hour, rows.num_rows, size, spans)
        return CatalogFile(described=self.format.described(described), **known)

    def next_snapshot(
        self, added: Sequence[CatalogFile], removed: Iterable[CatalogFile], sequence: int, version: int
    ) -> NextState:
        """The table with `added` files in and `removed` ones out.

        `sequence` is the publish it is meant for, `version` the number in the metadata file's name. Nothing changes
        here until `accept`.
        """
        # As they are held now: who removes them may have seen them in a manifest that was written anew since.
        dead = list({file.uri: self.live[file.uri] for file in removed if file.uri in self.live}.values())
        metadata = self.metadata
        folder = f"{metadata.location}/metadata"
        snapshot_id = metadata.new_snapshot_id()
        number = metadata.last_sequence_number + 1
        for file in added:
            file.snapshot_id, file.sequence_number, file.born = snapshot_id, number, sequence
        plan = arrange(self.manifests, added, dead, sequence)
        pieces = plan.written or ([[]] if dead else [])
        # In the smallest, for that is the one to be written anew soon, without them.
        with_dead = min(pieces, key=len, default=None)
        new, contents = [], {}
        for files in pieces:
            uri = f"{folder}/{uuid.uuid4()}-m0.avro"
            gone = dead if files is with_dead else ()
            manifest, contents[uri] = self.format.write(uri, files, gone, snapshot_id, number, sequence)
            new.append(manifest)
        manifests = [*plan.kept, *new]
        parent = metadata.current_snapshot_id
        list_location = f"{folder}/snap-{snapshot_id}-0-{uuid.uuid4()}.avro"
        contents[list_location] = list_file(manifests, snapshot_id, parent, number)
        stamp = self._stamp()
        snapshot = Snapshot(
            snapshot_id=snapshot_id,
            parent_snapshot_id=parent,
            sequence_number=number,
            timestamp_ms=stamp,
            manifest_list=list_location,
            summary=summary_of(added, dead, len(self.live), self.row_count),
            schema_id=metadata.current_schema_id,
        )
        # What somebody has tagged stays.
        tagged = {ref.snapshot_id for name, ref in metadata.refs.items() if name != "main"}
        before = metadata.snapshots
        newest = {each.snapshot_id for each in before[max(0, len(before) + 1 - self._snapshots) :]}
        snapshots = [*(each for each in before if each.snapshot_id in newest | tagged), snapshot]
        ids = {each.snapshot_id for each in snapshots}
        changed = {
            "snapshots": snapshots,
            "current_snapshot_id": snapshot_id,
            "last_sequence_number": number,
            "last_updated_ms": stamp,
            "refs": {**metadata.refs, "main": main_branch(snapshot_id)},
            "snapshot_log": [
                *(entry for entry in metadata.snapshot_log if entry.snapshot_id in ids),
                SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=stamp),
            ],
        }
        state = self._state(changed, version)
        state.contents |= contents
        state.manifests, state.new_manifests, state.left = manifests, new, plan.left
        state.added, state.dead = added, dead
        return state

    def altered(self, metadata: TableMetadataV2, version: int) -> NextState:
        """Other metadata of the same snapshot: with more columns, or other properties. In use from `accept` on."""
        changed = {name: getattr(metadata, name) for name in _ALTERED}
        return self._state({**changed, "last_updated_ms": self._stamp()}, version)

    def _state(self, changed: Mapping[str, Any], version: int) -> NextState:
        metadata = self.metadata
        log = [
            *metadata.metadata_log,
            MetadataLogEntry(metadata_file=self.location, timestamp_ms=metadata.last_updated_ms),
        ]
        new = metadata.model_copy(update={**changed, "metadata_log": log[-PREVIOUS_METADATA:]})
        location, content = metadata_file(new, version)
        return NextState(new, location, self.manifests, {location: content})

    def _stamp(self) -> int:
        return max(time.time_ns() // 1_000_000, self.metadata.last_updated_ms)

    def accept(self, state: NextState) -> None:
        """The publish went through: this state is the current one."""
        if state.metadata.current_schema_id != self.metadata.current_schema_id:
            self.take_metadata(state.metadata, state.location)
        self.metadata, self.location = state.metadata, state.location
        self.manifests = state.manifests
        for manifest in state.new_manifests:
            _own(manifest)
        self.drop(state.dead)
        self.hold(state.added)


def _own(manifest: LiveManifest) -> None:
    for file in manifest.files:
        file.manifest = manifest
