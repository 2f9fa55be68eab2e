"""One table's writer on this disk: data files first, then a staged snapshot; and what no later publish reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadataV2

from embedded.catalog.disk import sync_files
from lakehouse.tables import Table
from pipeline.iceberg.live import CatalogFile
from pipeline.iceberg.table import IcebergTable, NextState
from pipeline.storage import data_files
from pipeline.storage.files import path_of, uri_of

LIVE_SNAPSHOTS = 3
_FOLDERS_KNOWN = 10_000


@dataclass
class Pending:
    """Files that only snapshots older than the newest still reach: retired when the metadata drops that snapshot."""

    snapshot_id: int
    files: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Staged:
    """What one table brings to the next publish; nothing of it is visible before.

    `retired` files are reached by no later publish: each with the number of the publish that brought it. `written` are
    to be on the disk before the publish.
    """

    table: Table
    state: NextState
    retired: list[tuple[str, int]]
    written: list[Path]
    pending: list[Pending]


class TableWriter(IcebergTable):
    """Writes one table: data files, then a staged snapshot. Only the ingest process may hold one."""

    def __init__(self, table: Table, metadata: TableMetadataV2, location: str, io: FileIO) -> None:
        super().__init__(table, io, LIVE_SNAPSHOTS)
        self._pending: list[Pending] = []
        self._metadata_born = 0
        self._root = path_of(metadata.location)
        self._made: set[Path] = set()
        self.take_metadata(metadata, location)
        self._load()

    def _load(self) -> None:
        """Read the current snapshot's files, and what only the snapshots before it still reach."""
        later: set[str] = set()
        current = []
        for snapshot in sorted(self.metadata.snapshots, key=lambda s: s.sequence_number or 0, reverse=True):
            newest = not later
            paths = {snapshot.manifest_list}
            for manifest in snapshot.manifests(self._io):
                if manifest.manifest_path in later:
                    continue  # and so are its files
                paths.add(manifest.manifest_path)
                entries = self.format.read(manifest, self._io)
                paths.update(entry.file.file_path for entry in entries)
                if newest:
                    current.append(self.manifest(manifest, entries))
            if not newest:
                self._pending.insert(0, Pending(snapshot.snapshot_id, [(uri, 0) for uri in paths - later]))
            later |= paths
        self.take_manifests(current)

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
        return self.written(uri_of(path), hour, rows, path.stat().st_size)

    def stage(self, added: Sequence[CatalogFile], removed: Iterable[CatalogFile], sequence: int) -> Staged:
        """Write manifests, manifest list and metadata of a snapshot with `added` in and `removed` out.

        `sequence` is the publish it is meant for. Nothing changes here until `publish`.
        """
        parent, before = self.metadata.current_snapshot_id, self.metadata.snapshots
        staged = self._written(self.next_snapshot(added, removed, sequence, sequence))
        staged.written += [file.path for file in added]
        ids = {snapshot.snapshot_id for snapshot in staged.state.metadata.snapshots}
        staged.pending = [pending for pending in self._pending if pending.snapshot_id in ids]
        staged.retired += [file for one in self._pending if one.snapshot_id not in ids for file in one.files]
        if parent is not None:
            old_list = next(s.manifest_list for s in before if s.snapshot_id == parent)
            leaving = [(old_list, self._metadata_born)]
            leaving += [(manifest.uri, manifest.born) for manifest in staged.state.left]
            leaving += [(file.uri, file.born) for file in staged.state.dead]
            staged.pending.append(Pending(parent, leaving))
        return staged

    def alter(self, metadata: TableMetadataV2, sequence: int) -> Staged:
        """Stage other metadata of the same snapshot: one with more columns. To be written with from `publish` on."""
        return self._written(self.altered(metadata, sequence))

    def _written(self, state: NextState) -> Staged:
        paths = []
        for uri, content in state.contents.items():
            paths.append(path_of(uri))
            paths[-1].write_bytes(content)
        return Staged(self.table, state, [(self.location, self._metadata_born)], paths, self._pending)

    def publish(self, staged: Staged, sequence: int) -> None:
        """The publish went through: the staged state is the current one."""
        self.accept(staged.state)
        self._pending = staged.pending
        self._metadata_born = sequence

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
