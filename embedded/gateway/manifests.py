"""Manifest lists and manifests: which data files there are, and between which times their rows lie."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from cachetools import LRUCache
from pyiceberg.avro.decoder import new_decoder
from pyiceberg.manifest import (
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
)
from pyiceberg.manifest import DataFile as ManifestDataFile
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record, StructProtocol
from pyiceberg.types import ListType, StructType

from embedded.gateway.avro import Avro
from embedded.gateway.files import local_path
from pipeline.storage.reading import BytesFile

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


class Listed(NamedTuple):
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


type Specs = Mapping[int, Sequence[tuple[str, str]]]
"""Partitionings by id: the transforms, and the columns they are of."""


@dataclass(frozen=True, slots=True)
class _ReadList:
    """The records of a manifest list by the path that each begins with, as they stand there and as they are read.

    None is of a manifest without a live file.
    """

    schema: str
    specs: Specs
    records: dict[bytes, tuple[bytes, Listed | None]]


class Lists:
    """Manifest lists, the newest of each folder remembered: a record that stood there too is not read again.

    So it costs what is new, wherever that stands.
    """

    def __init__(self, folders: int = 64) -> None:
        self._lock = threading.Lock()
        self._newest: LRUCache[str, _ReadList] = LRUCache(folders)

    def read(self, location: str, content: bytes, specs: Specs) -> list[Listed]:
        """The manifests with a live file."""
        folder = location.rpartition("/")[0]
        types: dict[int, Callable[..., StructProtocol]] = {-1: _ListEntry, 508: _ListEntry}
        with Avro[_ListEntry](BytesFile(location, content), _LIST_SCHEMA, types, {}) as file:
            schema, (records, count) = file.header.meta["avro.schema"], file.records()
            with self._lock:
                known = self._newest.get(folder)
            alike = known is not None and known.schema == schema and known.specs == specs
            before = known.records if known is not None and alike else {}
            found: dict[bytes, tuple[bytes, Listed | None]] = {}
            start = 0
            for _ in range(count):
                path = _first_text(records, start)
                record, listed = before.get(path, (b"", None))
                if not record or not records.startswith(record, start):
                    decoder = new_decoder(records[start:])
                    listed = _listed(file.reader.read(decoder), specs)
                    record = records[start : start + decoder.tell()]
                found[path] = record, listed
                start += len(record)
        with self._lock:
            self._newest[folder] = _ReadList(schema, specs, found)
        return [listed for _, listed in found.values() if listed is not None]


def _first_text(records: bytes, start: int) -> bytes:
    """The text that a record begins with: its length, as Avro writes a long, and its bytes."""
    length = shift = 0
    at = start
    while True:
        byte = records[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return records[start : at + (length >> 1)]


def _listed(entry: _ListEntry, specs: Specs) -> Listed | None:
    path, spec_id, kind, added, existing, summaries = entry
    if added == 0 and existing == 0:  # None: it is not said
        return None
    return Listed(path, kind == ManifestContent.DATA, _listed_ranges(summaries, specs.get(spec_id, ())))


class _ListEntry(Record):
    """What is asked of an entry of a manifest list; to read all of it takes twice the time."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._data)


_LISTED = ("manifest_path", "partition_spec_id", "content", "added_files_count", "existing_files_count", "partitions")
_BOUNDS = ("lower_bound", "upper_bound")


def _asked_of_lists() -> Schema:
    fields = [MANIFEST_LIST_FILE_SCHEMAS[2].find_field(name) for name in _LISTED]
    summaries = fields[-1].field_type
    assert isinstance(summaries, ListType)
    assert isinstance(summaries.element_type, StructType)
    bounds = StructType(*(field for field in summaries.element_type.fields if field.name in _BOUNDS))
    of_bounds = summaries.model_copy(update={"element_type": bounds})
    return Schema(*fields[:-1], fields[-1].model_copy(update={"field_type": of_bounds}))


_LIST_SCHEMA = _asked_of_lists()


def _listed_ranges(summaries: Sequence[_ListEntry] | None, spec: Sequence[tuple[str, str]]) -> Ranges:
    ranges = {}
    for (transform, column), (low, high) in zip(spec, summaries or (), strict=False):
        unit = _UNITS.get(transform)
        if unit is not None and low is not None and high is not None:
            ranges[column] = _PART.unpack(low)[0] * unit, (_PART.unpack(high)[0] + 1) * unit - 1
    return ranges


def read_manifest(location: str, content: bytes, times: Mapping[int, str]) -> Manifest:
    """What pyiceberg's ManifestFile.fetch_manifest_entry reads of live files; `times` are the time columns by id."""
    types: dict[int, Callable[..., StructProtocol]] = {-1: ManifestEntry, 2: ManifestDataFile}
    enums: dict[int, Callable[..., Enum]] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}
    with Avro[ManifestEntry](BytesFile(location, content), MANIFEST_ENTRY_SCHEMAS[2], types, enums) as found:
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
