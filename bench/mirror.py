"""The tables of an embedded data directory, copied to S3 and committed to Nessie: the stack's tables without Spark.

Data files are copied as they are, so that both gateways read the same files; manifests and metadata name their new
places. Each publish of ingest becomes one commit, as the driver makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.snapshots import MetadataLogEntry

from embedded.gateway.commits import SqliteCommits
from lakehouse.tables import SCHEMA
from pipeline.iceberg.metadata_file import read_metadata
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import Nessie, TableAt

LIVE_SNAPSHOTS = 20
"""As the driver keeps them."""


@dataclass
class _Mirrored:
    """What of one table is in S3: its metadata, and the manifests of its newest snapshot with the files they name."""

    of: str
    metadata: TableMetadataV2
    location: str
    version: int = 0
    manifests: list[tuple[ManifestFile, set[str]]] = field(default_factory=list)


class Mirror:
    """Copies what is published in a data directory, one publish at a time. Makes bucket and namespace."""

    def __init__(self, data_dir: Path, nessie: NessieSettings, s3: S3Settings) -> None:
        self._data_dir = data_dir.resolve()
        self._commits = SqliteCommits(data_dir / "catalog.db")
        self.nessie = Nessie(nessie.uri)
        self._warehouse = nessie.warehouse
        self._io = PyArrowFileIO(
            {
                "s3.endpoint": s3.endpoint,
                "s3.access-key-id": s3.access_key,
                "s3.secret-access-key": s3.secret_key.get_secret_value(),
                "s3.region": s3.region,
            }
        )
        self.files = pafs.S3FileSystem(
            endpoint_override=s3.endpoint.partition("://")[2],
            scheme=s3.endpoint.partition("://")[0],
            access_key=s3.access_key,
            secret_key=s3.secret_key.get_secret_value(),
            region=s3.region,
            allow_bucket_creation=True,
        )
        self.files.create_dir(nessie.bucket)
        self._tables: dict[str, _Mirrored] = {}
        self._there: set[str] = set()

    def publish(self, branch: str = "main") -> str:
        """Copy what the newest publish brought, and commit it: the commit's hash."""
        commit = self._commits.head()
        assert commit is not None
        moved = [
            self._table(name, location)
            for name, location in commit.tables.items()
            if name not in self._tables or self._tables[name].of != location
        ]
        if not moved:
            return self.nessie.head(branch)
        return self.commit({name: self.at(name) for name in moved}, branch)

    def at(self, name: str) -> TableAt:
        """A table's newest metadata in S3."""
        table = self._tables[name]
        metadata = table.metadata
        return TableAt(
            "",
            table.location,
            metadata.current_snapshot_id or -1,
            metadata.current_schema_id,
            metadata.default_spec_id,
            metadata.default_sort_order_id,
        )

    def commit(self, tables: dict[str, TableAt], branch: str = "main") -> str:
        """Put these tables into the branch."""
        head = self.nessie.head(branch)
        there = self.nessie.tables(head, branch)
        placed = {name: replace(table, id=there[name].id if name in there else "") for name, table in tables.items()}
        return self.nessie.commit(branch, head, placed, "mirrored", () if there else (SCHEMA,))

    def _table(self, name: str, location: str) -> str:
        metadata = read_metadata(self._io, location)
        known = self._tables.get(name)
        mirrored = _Mirrored(location, metadata, "")
        place = f"{self._warehouse}/{SCHEMA}/{name}"
        snapshots = []
        if known is not None:
            mirrored.version = known.version + 1
            snapshots = list(known.metadata.snapshots)
        snapshot = metadata.current_snapshot()
        if snapshot is not None and snapshot.snapshot_id not in {item.snapshot_id for item in snapshots}:
            entries = {
                self._moved(entry.data_file.file_path): entry
                for manifest in snapshot.manifests(self._io)
                for entry in manifest.fetch_manifest_entry(self._io, discard_deleted=True)
            }
            if known is not None:
                mirrored.manifests = [held for held in known.manifests if held[1] <= entries.keys()]
            held = set().union(*(paths for _, paths in mirrored.manifests))
            new = {path: entry for path, entry in entries.items() if path not in held}
            number = metadata.last_sequence_number
            if new:
                output = self._io.new_output(f"{place}/metadata/{uuid4()}-m0.avro")
                spec: PartitionSpec = metadata.spec()
                schema: Schema = metadata.schema()
                with write_manifest(2, spec, schema, output, snapshot.snapshot_id, "deflate") as writer:
                    for path, entry in new.items():
                        writer.add_entry(_entry(entry, path, snapshot.snapshot_id, number))
                mirrored.manifests.append((writer.to_manifest_file(), set(new)))
            listing = f"{place}/metadata/snap-{snapshot.snapshot_id}-1-{uuid4()}.avro"
            output = self._io.new_output(listing)
            with write_manifest_list(2, output, snapshot.snapshot_id, None, number, "deflate") as lists:
                lists.add_manifests([manifest for manifest, _ in mirrored.manifests])
            for manifest, _ in mirrored.manifests:
                if manifest.sequence_number == -1:
                    manifest.sequence_number = manifest.min_sequence_number = number
            snapshots.append(snapshot.model_copy(update={"manifest_list": listing, "parent_snapshot_id": None}))
        mirrored.location = f"{place}/metadata/{mirrored.version:05d}-{uuid4()}.metadata.json"
        log = list(known.metadata.metadata_log) if known is not None else []
        if known is not None:
            log.append(MetadataLogEntry(metadata_file=known.location, timestamp_ms=known.metadata.last_updated_ms))
        mirrored.metadata = metadata.model_copy(
            update={
                "location": place,
                "snapshots": snapshots[-LIVE_SNAPSHOTS:],
                "snapshot_log": [],
                "metadata_log": log[-100:],
            }
        )
        with self._io.new_output(mirrored.location).create() as file:
            file.write(mirrored.metadata.model_dump_json(exclude_none=True).encode())
        self._tables[name] = mirrored
        return name

    def _moved(self, uri: str) -> str:
        """The place in S3 of a data file, which is copied there once."""
        path = Path(uri.removeprefix("file://"))
        moved = f"{self._warehouse}/{path.relative_to(self._data_dir / 'warehouse')}"
        if moved not in self._there:
            with self._io.new_output(moved).create() as file:
                file.write(path.read_bytes())
            self._there.add(moved)
        return moved


def _entry(entry: ManifestEntry, path: str, snapshot_id: int, number: int) -> ManifestEntry:
    old = entry.data_file
    file = DataFile.from_args(
        content=old.content,
        file_path=path,
        file_format=old.file_format,
        partition=old.partition,
        record_count=old.record_count,
        file_size_in_bytes=old.file_size_in_bytes,
        lower_bounds=old.lower_bounds,
        upper_bounds=old.upper_bounds,
    )
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot_id,
        sequence_number=number,
        file_sequence_number=number,
        data_file=file,
    )
