"""Manifest lists and manifests, as pyiceberg's Avro readers read them from bytes that are here already."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    PartitionFieldSummary,
)
from pyiceberg.manifest import DataFile as ManifestDataFile
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record, StructProtocol

from embedded.gateway.files import local_path

_US = struct.Struct("<q")
_PART = struct.Struct("<i")
_UNITS = {"hour": 3_600_000_000, "day": 86_400_000_000}
"""Transforms of time columns whose values say between which times (us) a file's rows lie."""

type Ranges = Mapping[str, tuple[int, int]]
"""Lowest and highest value of time columns by name, in us since the epoch."""
type Bounds = Mapping[str, tuple[int | None, int | None]]
"""What is asked of time columns by name: from (included) and to (excluded), us since the epoch."""


def overlap(ranges: Ranges, bounds: Bounds) -> bool:
    """Whether a row inside all bounds may be where these ranges hold."""
    for column, (low, high) in bounds.items():
        held = ranges.get(column)
        if held is not None and ((low is not None and held[1] < low) or (high is not None and held[0] >= high)):
            return False
    return True


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file, by its local path or its location in S3."""

    path: str
    rows: int
    ranges: Ranges


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A manifest as a manifest list names it. `ranges` are of its partitions: what is looked for outside is not in it.

    `data` is false where it names deletes.
    """

    path: str
    data: bool
    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Manifest:
    """The live files of a manifest, and the ranges of all of them. `files` is None where one is no Parquet."""

    files: tuple[DataFile, ...] | None
    ranges: Ranges

    def __len__(self) -> int:
        return len(self.files or ()) + 1


def read_list(location: str, content: bytes, specs: Mapping[int, Sequence[tuple[str, str]]]) -> list[Listed]:
    """The manifests with a live file. `specs`: by id, the transforms of a partitioning and the columns they are of."""
    types: dict[int, Callable[..., StructProtocol]] = {-1: _ListEntry, 508: PartitionFieldSummary}
    with _Avro[_ListEntry](_Content(location, content), _LIST_SCHEMA, types, {}) as found:
        return [
            Listed(path, kind == ManifestContent.DATA, _listed_ranges(summaries, specs.get(spec_id, ())))
            for path, spec_id, kind, added, existing, summaries in found
            # None: it is not said.
            if added != 0 or existing != 0
        ]


class _ListEntry(Record):
    """What is asked of an entry of a manifest list: a third of its fields, in half of the time."""

    fields = (
        "manifest_path",
        "partition_spec_id",
        "content",
        "added_files_count",
        "existing_files_count",
        "partitions",
    )

    def __iter__(self) -> Iterator[Any]:
        return iter(self._data)


_LIST_SCHEMA = Schema(*(MANIFEST_LIST_FILE_SCHEMAS[2].find_field(name) for name in _ListEntry.fields))


def _listed_ranges(summaries: Sequence[PartitionFieldSummary] | None, spec: Sequence[tuple[str, str]]) -> Ranges:
    ranges = {}
    for (transform, column), summary in zip(spec, summaries or (), strict=False):
        unit = _UNITS.get(transform)
        low, high = summary.lower_bound, summary.upper_bound
        if unit is not None and low is not None and high is not None:
            ranges[column] = _PART.unpack(low)[0] * unit, (_PART.unpack(high)[0] + 1) * unit - 1
    return ranges


def read_manifest(location: str, content: bytes, times: Mapping[int, str]) -> Manifest:
    """What pyiceberg's ManifestFile.fetch_manifest_entry reads of live files; `times` are the time columns by id."""
    types: dict[int, Callable[..., StructProtocol]] = {-1: ManifestEntry, 2: ManifestDataFile}
    enums: dict[int, Callable[..., Enum]] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}
    with _Avro[ManifestEntry](_Content(location, content), MANIFEST_ENTRY_SCHEMAS[2], types, enums) as found:
        live = [entry.data_file for entry in found if entry.status != ManifestEntryStatus.DELETED]
    if any(file.file_format != FileFormat.PARQUET for file in live):
        return Manifest(None, {})
    files = tuple(_data_file(file, times) for file in live)
    ranges = {}
    for name in times.values():
        held = [file.ranges[name] for file in files if name in file.ranges]
        if held and len(held) == len(files):
            ranges[name] = min(low for low, _ in held), max(high for _, high in held)
    return Manifest(files, ranges)


def _data_file(file: ManifestDataFile, times: Mapping[int, str]) -> DataFile:
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    ranges = {
        name: (_US.unpack(lower[field_id])[0], _US.unpack(upper[field_id])[0])
        for field_id, name in times.items()
        if field_id in lower and field_id in upper
    }
    return DataFile(local_path(file.file_path), file.record_count, ranges)


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
