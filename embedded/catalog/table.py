"""One table's writer: data files first, then a staged snapshot.

Stock pyiceberg commits table by table and rereads its own manifests at every commit, so that a commit grows dearer the
longer it runs (docs/decisions.md has the figures). Here the writer remembers which files are live, writes the manifests
that change, one manifest list and one metadata file. Plain pyiceberg reads the result as it reads any other catalog.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry

from embedded.catalog.disk import sync_files
from embedded.catalog.formats import LiveEntry, ManifestFormat, listed, write_list
from embedded.catalog.live import CatalogFile, LiveManifest, hour_of
from embedded.catalog.manifests import arrange
from embedded.catalog.staged import Pending, Staged, described_file, main_branch, summary_of
from lakehouse.tables import Table
from pipeline.storage import data_files
from pipeline.storage.files import path_of, uri_of
from pipeline.storage.live import LiveFiles

LIVE_SNAPSHOTS = 3
_FOLDERS_KNOWN = 10_000


class TableWriter(LiveFiles[CatalogFile]):
    """Writes one table: data files, then a staged snapshot. Only the ingest process may hold one."""

    def __init__(self, table: Table, metadata: TableMetadataV2, location: str, io: FileIO) -> None:
        super().__init__()
        self.table = table
        self.metadata = metadata
        self.location = location
        self.manifests: list[LiveManifest] = []
        self._io = io
        self._pending: list[Pending] = []
        self._metadata_born = 0
        self._root = path_of(metadata.location)
        self._made: set[Path] = set()
        self._take_schema()
        self._load()

    def _take_schema(self) -> None:
        schema = self.metadata.schema()
        self._spec = self.metadata.spec()
        self._format = ManifestFormat(self._spec, schema)
        self._field_ids = {column.name: column.field_id for column in schema.fields}
        known = {column.name for column in self.table.columns} <= self._field_ids.keys()
        # Without all columns the table is about to get them; see `alter`.
        self.file_schema = data_files.file_schema(self.table, schema) if known else pa.schema([])

    def _load(self) -> None:
        """Read the current snapshot's files, and what only the snapshots before it still reach."""
        later: set[str] = set()
        for snapshot in sorted(self.metadata.snapshots, key=lambda s: s.sequence_number or 0, reverse=True):
            newest = not later
            paths = {snapshot.manifest_list}
            for manifest in snapshot.manifests(self._io):
                if manifest.manifest_path in later:
                    continue  # and so are its files
                paths.add(manifest.manifest_path)
                entries = self._format.read(manifest, self._io)
                paths.update(entry.file.file_path for entry in entries)
                if newest:
                    files = sorted(map(self._live_file, entries), key=hour_of)
                    live = LiveManifest(manifest.manifest_path, files, listed(manifest))
                    self._own(live)
                    self.manifests.append(live)
                    self.hold(files)
            if not newest:
                self._pending.insert(0, Pending(snapshot.snapshot_id, [(uri, 0) for uri in paths - later]))
            later |= paths

    @staticmethod
    def _own(manifest: LiveManifest) -> None:
        for file in manifest.files:
            file.manifest = manifest

    def _live_file(self, entry: LiveEntry) -> CatalogFile:
        return CatalogFile(
            described=entry.described,
            snapshot_id=entry.snapshot_id,
            sequence_number=entry.sequence_number,
            existing=entry.existing,
            **data_files.known_from(self.table, self._field_ids, entry.file),
        )

    def write(self, rows: pa.Table, level: int = 0) -> list[CatalogFile]:
        """Write data files, one a partition hour; they belong to no snapshot yet. Rows may come in any order."""
        files = [self._write_file(part, hour, level) for hour, part in data_files.by_hour(self.table, rows)]
        if level:
            # Large, and made beside the publishes: the one that takes it in is not to wait for the disk.
            sync_files(file.path for file in files)
        return files

    def _write_file(self, rows: pa.Table, hour: int | None, level: int) -> CatalogFile:
        path = self._root / "data" / data_files.place_of(self.table, hour, level)
        self._make(path.parent)
        data_files.write_parquet(self.table, rows, self.file_schema, path)
        spans = data_files.spans_of(self.table, rows)
        size = path.stat().st_size
        described = described_file(uri_of(path), hour, rows.num_rows, size, spans, self._field_ids)
        known = data_files.known(self.table, uri_of(path), hour, rows.num_rows, size, spans)
        return CatalogFile(described=self._format.described(described), **known)

    def stage(self, added: Sequence[CatalogFile], removed: Iterable[CatalogFile], sequence: int) -> Staged:
        """Write manifests, manifest list and metadata of a snapshot with `added` in and `removed` out.

        `sequence` is the publish it is meant for. Nothing changes here until `accept`.
        """
        dead = list({file.uri: file for file in removed if file.uri in self.live}.values())
        metadata = self.metadata
        snapshot_id = metadata.new_snapshot_id()
        number = metadata.last_sequence_number + 1
        for file in added:
            file.snapshot_id, file.sequence_number, file.born = snapshot_id, number, sequence
        plan = arrange(self.manifests, added, dead, sequence)
        new = self._write_manifests(plan.written, dead, snapshot_id, number, sequence)
        manifests = [*plan.kept, *new]
        parent = metadata.current_snapshot_id
        list_location = f"{metadata.location}/metadata/snap-{snapshot_id}-0-{uuid.uuid4()}.avro"
        write_list(list_location, manifests, snapshot_id, parent, number)
        stamp = max(time.time_ns() // 1_000_000, metadata.last_updated_ms)
        snapshot = Snapshot(
            snapshot_id=snapshot_id,
            parent_snapshot_id=parent,
            sequence_number=number,
            timestamp_ms=stamp,
            manifest_list=list_location,
            summary=summary_of(added, dead, len(self.live), self.row_count),
            schema_id=metadata.current_schema_id,
        )
        snapshots = [*metadata.snapshots, snapshot][-LIVE_SNAPSHOTS:]
        ids = {s.snapshot_id for s in snapshots}
        staged = self._staged(
            sequence,
            {
                "snapshots": snapshots,
                "current_snapshot_id": snapshot_id,
                "last_sequence_number": number,
                "last_updated_ms": stamp,
                "refs": {"main": main_branch(snapshot_id)},
                "snapshot_log": [
                    *(entry for entry in metadata.snapshot_log if entry.snapshot_id in ids),
                    SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=stamp),
                ],
            },
        )
        staged.manifests, staged.new_manifests, staged.added, staged.removed = manifests, new, added, dead
        staged.written += [path_of(list_location), *(path_of(manifest.uri) for manifest in new)]
        staged.written += [file.path for file in added]
        staged.pending = []
        for pending in self._pending:
            if pending.snapshot_id in ids:
                staged.pending.append(pending)
            else:
                staged.retired += pending.files
        if parent is not None:
            old_list = next(s.manifest_list for s in metadata.snapshots if s.snapshot_id == parent)
            leaving = [(old_list, self._metadata_born)]
            leaving += [(manifest.uri, manifest.born) for manifest in plan.left]
            leaving += [(file.uri, file.born) for file in dead]
            staged.pending.append(Pending(parent, leaving))
        return staged

    def alter(self, metadata: TableMetadataV2, sequence: int) -> Staged:
        """Stage other metadata of the same snapshot: one with more columns. To be written with from `accept` on."""
        stamp = max(time.time_ns() // 1_000_000, self.metadata.last_updated_ms)
        changed = {name: getattr(metadata, name) for name in ("schemas", "current_schema_id", "last_column_id")}
        return self._staged(sequence, {**changed, "last_updated_ms": stamp})

    def _staged(self, sequence: int, changed: dict[str, Any]) -> Staged:
        """Write the metadata file with what has changed."""
        metadata = self.metadata
        log = [
            *metadata.metadata_log,
            MetadataLogEntry(metadata_file=self.location, timestamp_ms=metadata.last_updated_ms),
        ]
        new = metadata.model_copy(update={**changed, "metadata_log": log[-2:]})
        location = f"{metadata.location}/metadata/{sequence:08d}-{uuid.uuid4()}.metadata.json"
        path = path_of(location)
        path.write_text(new.model_dump_json(exclude_none=True), encoding="utf-8")
        return Staged(
            self.table,
            new,
            location,
            self.manifests,
            retired=[(self.location, self._metadata_born)],
            written=[path],
            pending=self._pending,
        )

    def _write_manifests(
        self,
        pieces: list[list[CatalogFile]],
        dead: list[CatalogFile],
        snapshot_id: int,
        number: int,
        sequence: int,
    ) -> list[LiveManifest]:
        if dead and not pieces:
            pieces = [[]]
        # In the smallest, for that is the one to be written anew soon, without them.
        with_dead = min(pieces, key=len, default=None)
        return [
            self._format.write(
                f"{self.metadata.location}/metadata/{uuid.uuid4()}-m0.avro",
                files,
                dead if files is with_dead else (),
                snapshot_id,
                number,
                sequence,
            )
            for files in pieces
        ]

    def accept(self, staged: Staged, sequence: int) -> None:
        """The publish went through: the staged state is the current one."""
        altered = staged.metadata.current_schema_id != self.metadata.current_schema_id
        self._pending = staged.pending
        self.metadata, self.location = staged.metadata, staged.location
        self.manifests = staged.manifests
        for manifest in staged.new_manifests:
            self._own(manifest)
        self.drop(staged.removed)
        self.hold(staged.added)
        self._metadata_born = sequence
        if altered:
            self._take_schema()

    def reached(self) -> Iterator[str]:
        """Every file that the table's metadata reaches, by its address."""
        yield self.location
        yield from (entry.metadata_file for entry in self.metadata.metadata_log)
        yield from (snapshot.manifest_list for snapshot in self.metadata.snapshots)
        yield from (manifest.uri for manifest in self.manifests)
        yield from self.live
        yield from (uri for pending in self._pending for uri, _ in pending.files)

    def _make(self, folder: Path) -> None:
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            if len(self._made) > _FOLDERS_KNOWN:
                self._made.clear()
            self._made.add(folder)
