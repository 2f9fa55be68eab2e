"""One of the stack's tables, as the driver writes it: data files, and the snapshot that a publish will make visible.

The driver's Python makes manifests, lists and metadata itself and puts those of all tables side by side; what it takes
through Iceberg's Java stands in docs/decisions.md. What Spark's executors write goes through that: see working.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from typing import cast

import pyarrow as pa
from pyiceberg.manifest import ManifestContent

from lakehouse.tables import CATALOG, SCHEMA, Table
from lakehouse.user_error import UserError
from pipeline.iceberg.live import CatalogFile
from pipeline.iceberg.manifests import RESTED
from pipeline.iceberg.metadata_file import metadata_file, read_metadata
from pipeline.iceberg.schema import UnfitTable, evolved, first_metadata
from pipeline.iceberg.table import PREVIOUS_METADATA, IcebergTable, NextState
from pipeline.storage import data_files
from pipeline.storage.files import Change
from pipeline.storage.nessie import TableAt
from pipeline.storage.objects import Objects
from pipeline.storage.reading import ReadOnlyIO

LIVE_SNAPSHOTS = 20
MANIFEST_BYTES = 64 << 10
"""About 1,000 files of a KPI table: 40 to 60 bytes each, compressed, and 8 KB for the schema."""

PROPERTIES = {
    "gc.enabled": "true",
    "write.parquet.compression-codec": "zstd",
    "write.distribution-mode": "hash",
    "write.delete.mode": "copy-on-write",
    "write.update.mode": "copy-on-write",
    "write.merge.mode": "copy-on-write",
    "write.metadata.delete-after-commit.enabled": "false",
    "write.metadata.previous-versions-max": str(PREVIOUS_METADATA),
    # Iceberg's own 8 MB would hold all hours of years in one manifest, to be written anew at each late event.
    "commit.manifest.target-size-bytes": str(MANIFEST_BYTES),
    "commit.manifest.min-count-to-merge": "20",
    "history.expire.min-snapshots-to-keep": str(LIVE_SNAPSHOTS),
}


class StackTable(IcebergTable):
    """The live files of one table, and what is staged for the next publish. `uploads` writes side by side."""

    def __init__(self, table: Table, objects: Objects, uploads: Executor) -> None:
        super().__init__(table, ReadOnlyIO(objects.read), LIVE_SNAPSHOTS)
        self._objects = objects
        self._uploads = uploads
        self._staged: NextState | None = None

    # Start ---------------------------------------------------------------------------------------------------------

    def create(self, warehouse: str) -> None:
        """A new table without a row, which nobody sees yet."""
        # No folder that another catalog's table of this name, or one that was renamed, may have: a sweep lists it.
        location = f"{warehouse}/{SCHEMA}/{self.table.name}_{uuid.uuid4().hex[:8]}"
        metadata = first_metadata(self.table, location, PROPERTIES)
        uri, content = metadata_file(metadata, 0)
        self._objects.write(uri, content)
        self.take_metadata(metadata, uri)

    def open(self, location: str) -> None:
        """Take over what stands at this metadata, with the columns and properties of now.

        Raises UserError for a table that is not one of the contract.
        """
        try:
            metadata = read_metadata(self._io, location)
            more = evolved(self.table, metadata, PROPERTIES)
        except UnfitTable as unfit:
            raise self._unfit(str(unfit)) from None
        self.take_metadata(metadata, location)
        self._take_snapshot()
        if more is not None:
            altered = self.altered(more, metadata.last_sequence_number)
            self._put(altered)
            self.accept(altered)

    def _take_snapshot(self) -> None:
        """Hold the files of the current snapshot; of its manifests those are read that are new."""
        before = {manifest.uri: manifest for manifest in self.manifests}
        manifests = []
        snapshot = self.metadata.current_snapshot()
        for manifest in snapshot.manifests(self._io) if snapshot is not None else ():
            if manifest.content != ManifestContent.DATA:
                raise self._unfit("has delete files, which are not looked at")
            if manifest.partition_spec_id != self.metadata.default_spec_id:
                raise self._unfit("has files of an older partitioning")
            known = before.get(manifest.manifest_path)
            # Of an unknown age: not one that is written anew again and again.
            manifests.append(known or self.manifest(manifest, self.format.read(manifest, self._io), born=-RESTED))
        self.take_manifests(manifests)

    def _unfit(self, what: str) -> UserError:
        return UserError(
            f"Table {CATALOG}.{SCHEMA}.{self.table.name} {what}; rename that table in Nessie (the driver then makes a "
            "new one), or point nessie.uri at another catalog."
        )

    def reload(self, location: str) -> None:
        """Spark has written to the table."""
        self.take_metadata(read_metadata(self._io, location), location)  # Spark does not upgrade a table unasked
        self._take_snapshot()

    # Writing -------------------------------------------------------------------------------------------------------

    def write(self, rows: pa.Table, level: int = 0) -> list[CatalogFile]:
        """Write data files, one an hour; they belong to no snapshot yet. Rows may come in any order."""
        parts = [(part, hour, level) for hour, part in data_files.by_hour(self.table, rows)]
        if len(parts) <= 1:
            return [self._write_file(*part) for part in parts]
        return list(self._uploads.map(lambda part: self._write_file(*part), parts))

    def _write_file(self, rows: pa.Table, hour: int | None, level: int) -> CatalogFile:
        uri = f"{self.metadata.location}/data/{data_files.place_of(self.table, hour, level)}"
        sink = pa.BufferOutputStream()
        data_files.write_parquet(self.table, rows, self.file_schema, sink)
        content = sink.getvalue()
        self._objects.write(uri, content)
        return self.written(uri, hour, rows, content.size)

    def stage(self, change: Change, sequence: int, puts: Executor) -> list[Future[None]]:
        """Put what makes the next snapshot; it is there once all these have come to their ends."""
        # All files that this store gives out are such.
        added, removed = cast(Sequence[CatalogFile], change.added), cast(Iterable[CatalogFile], change.removed)
        self._staged = self.next_snapshot(added, removed, sequence, self.metadata.last_sequence_number + 1)
        return [puts.submit(self._objects.write, uri, content) for uri, content in self._staged.contents.items()]

    def published(self) -> None:
        """What was staged is what main holds."""
        if self._staged is not None:
            self.accept(self._staged)
        self._staged = None

    def _put(self, state: NextState) -> None:
        for uri, content in state.contents.items():
            self._objects.write(uri, content)

    def at(self, number: str) -> TableAt:
        """Where the table stands, what is staged included; `number` is Nessie's own id of it."""
        metadata, location = self.metadata, self.location
        if self._staged is not None:
            metadata, location = self._staged.metadata, self._staged.location
        snapshot = metadata.current_snapshot_id
        return TableAt(
            number,
            location,
            -1 if snapshot is None else snapshot,
            metadata.current_schema_id,
            metadata.default_spec_id,
            metadata.default_sort_order_id,
        )
