"""Manifests and manifest lists, written by pyiceberg's own Avro writers.

An entry costs these writers 50 us, and most entries were written before: their bytes are kept and put in again, as are
the headers. So a manifest costs what is new in it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.file import MAGIC, META_SCHEMA, AvroFileHeader
from pyiceberg.avro.resolver import construct_writer, resolve_writer
from pyiceberg.avro.writer import StructWriter, Writer
from pyiceberg.manifest import (
    DEFAULT_READ_VERSION,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    ManifestContent,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
    data_file_with_partition,
    manifest_entry_schema_with_data_file,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

from pipeline.storage.files import LiveFile, path_of

_HEADER = construct_writer(META_SCHEMA)


@dataclass(eq=False, kw_only=True)
class CatalogFile(LiveFile):
    """A live data file; `described` is what manifests say of it: as read, or as bytes once they were written.

    `manifest` names the one that it stands in.
    """

    described: DataFile | bytes
    snapshot_id: int = 0
    sequence_number: int = 0
    manifest: LiveManifest | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        return path_of(self.uri)


@dataclass(eq=False)
class LiveManifest:
    """A manifest of the current snapshot, and the live files it names, in the order of their hours.

    `low` and `high` are the first and the last of these hours, `listed` is its entry in manifest lists.
    """

    uri: str
    files: list[CatalogFile]
    listed: bytes
    born: int = 0

    @property
    def low(self) -> int:
        return hour_of(self.files[0]) if self.files else 0

    @property
    def high(self) -> int:
        return hour_of(self.files[-1]) if self.files else 0


def hour_of(file: LiveFile) -> int:
    """The hour by which manifests are in order; 0 in a table without partition."""
    return file.hour or 0


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
    def _header(self) -> bytes:
        meta = {
            "schema": self._schema.model_dump_json(),
            "partition-spec": json.dumps([each.model_dump(by_alias=True, mode="json") for each in self._spec.fields]),
            "partition-spec-id": str(self._spec.spec_id),
            "format-version": "2",
            "content": "data",
        }
        return _header_of(_text_of(self._schemas[1], "manifest_entry"), meta)

    def described(self, file: DataFile) -> bytes:
        """What manifests say of a file, as bytes."""
        out = io.BytesIO()
        self._writers[4].write(BinaryEncoder(out), file)
        return out.getvalue()

    def write(
        self,
        uri: str,
        files: Sequence[CatalogFile],
        dead: Sequence[CatalogFile],
        snapshot_id: int,
        sequence_number: int,
        born: int,
    ) -> LiveManifest:
        """Write a manifest of live files, those that are new with this snapshot among them, and of `dead` ones."""
        out = io.BytesIO()
        encoder = BinaryEncoder(out)
        counts = {status: [0, 0] for status in ManifestEntryStatus}

        def put(status: ManifestEntryStatus, file: CatalogFile, snapshot: int, number: int | None) -> None:
            if isinstance(file.described, DataFile):
                file.described = self.described(file.described)
            for writer, value in zip(self._writers, (status, snapshot, number, number), strict=False):
                writer.write(encoder, value)
            out.write(file.described)
            counts[status][0] += 1
            counts[status][1] += file.rows

        for file in files:
            if file.snapshot_id == snapshot_id:
                # Its sequence number is that of the manifest.
                put(ManifestEntryStatus.ADDED, file, snapshot_id, None)
            else:
                put(ManifestEntryStatus.EXISTING, file, file.snapshot_id, file.sequence_number)
        for file in dead:
            put(ManifestEntryStatus.DELETED, file, snapshot_id, file.sequence_number)
        size = _write(path_of(uri), self._header, len(files) + len(dead), out.getvalue())
        hours = [file.hour for file in (*files, *dead) if file.hour is not None]
        manifest = ManifestFile.from_args(
            manifest_path=uri,
            manifest_length=size,
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
        return LiveManifest(uri, list(files), listed(manifest), born)


def _summary(low: int, high: int) -> PartitionFieldSummary:
    """Between which hours the files of a manifest lie: readers look into no manifest outside theirs."""
    return PartitionFieldSummary(False, False, _bytes(low), _bytes(high))


def _bytes(hour: int) -> bytes:
    return hour.to_bytes(4, "little", signed=True)


_LIST_SCHEMA = MANIFEST_LIST_FILE_SCHEMAS[2]
_LIST_WRITER = resolve_writer(MANIFEST_LIST_FILE_SCHEMAS[DEFAULT_READ_VERSION], _LIST_SCHEMA)


def listed(manifest: ManifestFile) -> bytes:
    """A manifest's entry in manifest lists."""
    out = io.BytesIO()
    _LIST_WRITER.write(BinaryEncoder(out), manifest)
    return out.getvalue()


def write_list(
    uri: str, manifests: Sequence[LiveManifest], snapshot_id: int, parent: int | None, sequence_number: int
) -> None:
    """Write the manifest list of a snapshot."""
    meta = {
        "snapshot-id": str(snapshot_id),
        "parent-snapshot-id": "null" if parent is None else str(parent),
        "sequence-number": str(sequence_number),
        "format-version": "2",
    }
    header = _header_of(_LIST_TEXT, meta)
    _write(path_of(uri), header, len(manifests), b"".join(manifest.listed for manifest in manifests))


def _text_of(schema: Schema, name: str) -> str:
    return json.dumps(AvroSchemaConversion().iceberg_to_avro(schema, schema_name=name))


_LIST_TEXT = _text_of(_LIST_SCHEMA, "manifest_file")
_SYNC = os.urandom(16)


def _header_of(schema: str, meta: dict[str, str]) -> bytes:
    out = io.BytesIO()
    content = {**meta, "avro.schema": schema, "avro.codec": "null"}
    _HEADER.write(BinaryEncoder(out), AvroFileHeader(MAGIC, content, _SYNC))
    return out.getvalue()


def _write(path: Path, header: bytes, count: int, content: bytes) -> int:
    """An Avro file of one block, or of none; returns its size."""
    out = io.BytesIO()
    out.write(header)
    if count:
        encoder = BinaryEncoder(out)
        encoder.write_int(count)
        encoder.write_int(len(content))
        encoder.write(content)
        encoder.write(_SYNC)
    path.write_bytes(out.getbuffer())
    return out.tell()
