"""How a table's manifests and manifest lists are written and read.

An entry costs pyiceberg's Avro writers 50 us, and most entries were written before: their bytes are kept and put in
again, as are the headers. So a manifest costs what is new in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.resolver import resolve_writer
from pyiceberg.avro.writer import StructWriter, Writer
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DEFAULT_READ_VERSION,
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
    data_file_with_partition,
    manifest_entry_schema_with_data_file,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema

from pipeline.iceberg.avro import Blocks, avro_file, header_of, text_of
from pipeline.iceberg.live import SMALL, CatalogFile, LiveManifest


class LiveEntry(NamedTuple):
    """An entry of a manifest: the file as pyiceberg reads it, and as manifests are to describe it; see CatalogFile."""

    file: DataFile
    described: DataFile | bytes
    snapshot_id: int
    sequence_number: int
    existing: bytes


class ManifestFormat:
    """How the manifests of one table are written."""

    def __init__(self, spec: PartitionSpec, schema: Schema) -> None:
        self._spec = spec
        self._schema = schema

    @cached_property
    def _schemas(self) -> tuple[Schema, Schema]:
        partition = self._spec.partition_type(self._schema)

        def of(version: Any) -> Schema:
            return manifest_entry_schema_with_data_file(version, data_file_with_partition(partition, version))

        return of(DEFAULT_READ_VERSION), of(2)

    @cached_property
    def _writers(self) -> list[Writer]:
        """Of an entry's status, snapshot, two sequence numbers, and data file."""
        writer = resolve_writer(*self._schemas)
        assert isinstance(writer, StructWriter)
        return [each for _, each in writer.field_writers]

    @cached_property
    def _text(self) -> str:
        return text_of(self._schemas[1], "manifest_entry")

    @cached_property
    def _headers(self) -> dict[bool, bytes]:
        meta = {
            "schema": self._schema.model_dump_json(),
            "partition-spec": json.dumps([each.model_dump(by_alias=True, mode="json") for each in self._spec.fields]),
            "partition-spec-id": str(self._spec.spec_id),
            "format-version": "2",
            "content": "data",
        }
        return {compressed: header_of(self._text, meta, compressed) for compressed in (False, True)}

    def described(self, file: DataFile) -> bytes:
        """What manifests say of a file, as bytes."""
        out = BytesIO()
        self._writers[4].write(BinaryEncoder(out), file)
        return out.getvalue()

    def read(self, manifest: ManifestFile, io: FileIO) -> list[LiveEntry]:
        """The live entries of a manifest."""
        types: dict[int, Any] = {-1: ManifestEntry, 2: DataFile}
        enums: dict[int, Any] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}
        found = []
        source = io.new_input(manifest.manifest_path)
        with Blocks[ManifestEntry](source, MANIFEST_ENTRY_SCHEMAS[DEFAULT_READ_VERSION], types, enums) as blocks:
            # Else another writer made it, and described files in its own way.
            ours = blocks.text == self._text
            for entry, content in blocks.records():
                if entry.status == ManifestEntryStatus.DELETED:
                    continue
                begin = self._begin(entry.status, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number)
                described = content[len(begin) :] if ours else entry.data_file
                number = entry.sequence_number if entry.sequence_number is not None else manifest.sequence_number
                existing = begin if entry.status == ManifestEntryStatus.EXISTING else b""
                found.append(LiveEntry(entry.data_file, described, entry.snapshot_id or 0, number, existing))
        return found

    def _begin(self, *values: int | None) -> bytes:
        """An entry up to its data file: status, snapshot, sequence numbers."""
        out = BytesIO()
        encoder = BinaryEncoder(out)
        for writer, value in zip(self._writers, values, strict=False):
            writer.write(encoder, value)
        return out.getvalue()

    def write(
        self,
        uri: str,
        files: Sequence[CatalogFile],
        dead: Sequence[CatalogFile],
        snapshot_id: int,
        sequence_number: int,
        born: int,
    ) -> tuple[LiveManifest, bytes]:
        """A manifest and its file: of live files, those that are new with this snapshot among them, and `dead` ones."""
        out = BytesIO()
        counts = {status: [0, 0] for status in ManifestEntryStatus}

        def put(status: ManifestEntryStatus, file: CatalogFile, begin: bytes) -> None:
            if isinstance(file.described, DataFile):
                file.described = self.described(file.described)
            out.write(begin)
            out.write(file.described)
            counts[status][0] += 1
            counts[status][1] += file.rows

        for file in files:
            if file.snapshot_id == snapshot_id:
                # Its sequence number is that of the manifest.
                put(ManifestEntryStatus.ADDED, file, self._begin(ManifestEntryStatus.ADDED, snapshot_id, None, None))
                continue
            if not file.existing:
                number = file.sequence_number
                file.existing = self._begin(ManifestEntryStatus.EXISTING, file.snapshot_id, number, number)
            put(ManifestEntryStatus.EXISTING, file, file.existing)
        for file in dead:
            number = file.sequence_number
            put(
                ManifestEntryStatus.DELETED, file, self._begin(ManifestEntryStatus.DELETED, snapshot_id, number, number)
            )
        # A larger one stays for long, and is written anew where a late event comes: a fifth of the bytes then.
        compressed = len(files) > SMALL
        header = self._headers[compressed]
        content = avro_file(header, len(files) + len(dead), out.getvalue(), compressed)
        hours = [file.hour for file in (*files, *dead) if file.hour is not None]
        manifest = ManifestFile.from_args(
            manifest_path=uri,
            manifest_length=len(content),
            partition_spec_id=self._spec.spec_id,
            content=ManifestContent.DATA,
            sequence_number=sequence_number,
            min_sequence_number=min((file.sequence_number for file in files), default=sequence_number),
            added_snapshot_id=snapshot_id,
            added_files_count=counts[ManifestEntryStatus.ADDED][0],
            existing_files_count=counts[ManifestEntryStatus.EXISTING][0],
            deleted_files_count=counts[ManifestEntryStatus.DELETED][0],
            added_rows_count=counts[ManifestEntryStatus.ADDED][1],
            existing_rows_count=counts[ManifestEntryStatus.EXISTING][1],
            deleted_rows_count=counts[ManifestEntryStatus.DELETED][1],
            partitions=[_summary(min(hours), max(hours))] if hours else [],
            key_metadata=None,
        )
        return LiveManifest(uri, list(files), listed(manifest), born), content


def _summary(low: int, high: int) -> PartitionFieldSummary:
    """Between which hours the files of a manifest lie: readers look into no manifest outside theirs."""
    return PartitionFieldSummary(False, False, _bytes(low), _bytes(high))


def _bytes(hour: int) -> bytes:
    return hour.to_bytes(4, "little", signed=True)


_LIST_SCHEMA = MANIFEST_LIST_FILE_SCHEMAS[2]
_LIST_TEXT = text_of(_LIST_SCHEMA, "manifest_file")
_LIST_WRITER = resolve_writer(MANIFEST_LIST_FILE_SCHEMAS[DEFAULT_READ_VERSION], _LIST_SCHEMA)


def listed(manifest: ManifestFile) -> bytes:
    """A manifest's entry in manifest lists."""
    out = BytesIO()
    _LIST_WRITER.write(BinaryEncoder(out), manifest)
    return out.getvalue()


def list_file(manifests: Sequence[LiveManifest], snapshot_id: int, parent: int | None, sequence_number: int) -> bytes:
    """The manifest list of a snapshot."""
    meta = {
        "snapshot-id": str(snapshot_id),
        "parent-snapshot-id": "null" if parent is None else str(parent),
        "sequence-number": str(sequence_number),
        "format-version": "2",
    }
    header = header_of(_LIST_TEXT, meta)
    return avro_file(header, len(manifests), b"".join(manifest.listed for manifest in manifests))
