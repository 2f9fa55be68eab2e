"""What table_history, table_snapshot, table_manifests, table_files and table_partitions answer.

All from the metadata file that the commit names, and from the manifests of one snapshot: nothing else is looked at.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cached_property
from itertools import batched
from typing import Any

import pyarrow as pa
from cachetools import LRUCache
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import (
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
)
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.typedef import StructProtocol

from embedded.gateway.avro import Avro
from embedded.gateway.errors import data_read, validation
from embedded.gateway.files import Files
from embedded.gateway.information import table_of
from embedded.gateway.java_text import bounds, java, pairs
from embedded.gateway.patience import Check, each, endless
from embedded.gateway.table_functions import SCHEMAS
from pipeline.storage.reading import BytesFile

type _Row = tuple[Any, ...]
type _Key = tuple[str, str, int]
"""Function, manifest, and the schema whose columns are shown."""

_LISTS: dict[int, Callable[..., StructProtocol]] = {-1: ManifestFile, 508: PartitionFieldSummary}
_ENTRIES: dict[int, Callable[..., StructProtocol]] = {-1: ManifestEntry, 2: DataFile}
_ENUMS: dict[int, Callable[..., Enum]] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}
_SIDE_BY_SIDE = 16  # manifests


class Pieces:
    """Answers by manifest. Manifests never change, so a new commit costs those that it wrote.

    rows: how many are kept, about 250 bytes each. Any thread may call any method.
    """

    def __init__(self, rows: int = 100_000) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[_Key, pa.Table] = LRUCache(rows, getsizeof=lambda piece: piece.num_rows + 1)

    def get(self, key: _Key) -> pa.Table | None:
        with self._lock:
            return self._kept.get(key)

    def put(self, key: _Key, piece: pa.Table) -> None:
        with self._lock:
            if piece.num_rows < self._kept.maxsize:
                self._kept[key] = piece


class TableMetadata:
    """One table's metadata, as it is at one commit. `snapshot_id`: of a past one; None: the current one.

    Every method raises Refusal where a file cannot be read.
    """

    def __init__(
        self, files: Files, location: str, snapshot_id: int | None = None, pieces: Pieces | None = None
    ) -> None:
        self._files = files
        self._location = location
        self._wanted = snapshot_id
        self._pieces = pieces or Pieces()
        with self._readable():
            self._metadata: dict[str, Any] = json.loads(files.read([location])[0])

    def refuse_unpartitioned(self, path: str, start: int) -> None:
        """Dremio has no table_partitions of a table without partitions. Raises Refusal."""
        if not any(field["transform"] != "void" for field in self._fields(self._metadata["default-spec-id"])):
            raise validation(f"Table {path} is not partitioned.", start)

    def rows(self, function: str, check: Check = endless) -> pa.Table:
        """The answer of a function, named in capitals. Raises what `check` does meanwhile."""
        answers: Mapping[str, Callable[[], pa.Table]] = {
            "TABLE_HISTORY": lambda: table_of(SCHEMAS[function], list(self._history())),
            "TABLE_SNAPSHOT": lambda: table_of(SCHEMAS[function], list(self._snapshots())),
            "TABLE_MANIFESTS": lambda: table_of(SCHEMAS[function], list(each(self._listed(), check))),
            "TABLE_FILES": lambda: self._all_files(check),
            "TABLE_PARTITIONS": lambda: self._all_partitions(check),
        }
        with self._readable():
            return answers[function]()

    # ---- the five ---------------------------------------------------------------------------------------------------

    def _history(self) -> Iterator[_Row]:
        parents = {item["snapshot-id"]: item.get("parent-snapshot-id") for item in self._known()}
        ancestors, snapshot = set(), self._metadata.get("current-snapshot-id")
        while snapshot in parents and snapshot not in ancestors:
            ancestors.add(snapshot)
            snapshot = parents[snapshot]
        for entry in self._metadata.get("snapshot-log") or ():
            made = entry["snapshot-id"]
            yield entry["timestamp-ms"], made, parents.get(made), made in ancestors

    def _snapshots(self) -> Iterator[_Row]:
        for item in self._known():
            summary = dict(item.get("summary") or {})
            operation = summary.pop("operation", None)
            yield (
                *(item["timestamp-ms"], item["snapshot-id"], item.get("parent-snapshot-id"), operation),
                *(item.get("manifest-list"), pairs(summary)),
            )

    def _listed(self) -> Iterator[_Row]:
        for manifest in self._manifests():
            counts = (manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count)
            data, none = manifest.content == ManifestContent.DATA, (0, 0, 0)
            yield (
                *(manifest.content, manifest.manifest_path, manifest.manifest_length, manifest.partition_spec_id),
                *(manifest.added_snapshot_id, *(counts if data else none), *(none if data else counts)),
                self._summaries(manifest),
            )

    def _all_files(self, check: Check) -> pa.Table:
        pieces = list(each(self._by_manifest("TABLE_FILES", self._data_files), check))
        return pa.concat_tables(pieces) if pieces else SCHEMAS["TABLE_FILES"].empty_table()

    def _data_files(self, spec_id: int, files: Iterable[DataFile]) -> Iterator[_Row]:
        types = {field.field_id: field.field_type for field in self._schema.fields if field.field_type.is_primitive}
        for file in files:
            yield (
                *(file.content.name, file.file_path, file.file_format.name, self._partition(spec_id, file, "null")),
                *(file.record_count, file.file_size_in_bytes, pairs(file.column_sizes), pairs(file.value_counts)),
                *(pairs(file.null_value_counts), pairs(file.nan_value_counts)),
                *(bounds(file.lower_bounds, types), bounds(file.upper_bounds, types)),
                *(file.split_offsets, file.equality_ids, file.sort_order_id, spec_id),
            )

    def _all_partitions(self, check: Check) -> pa.Table:
        rows, files = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for piece in each(self._by_manifest("TABLE_PARTITIONS", self._partitions), check):
            for row in piece.to_pylist():
                rows[row["partition"], row["spec_id"]] += row["record_count"]
                files[row["partition"], row["spec_id"]] += row["file_count"]
        return table_of(
            SCHEMAS["TABLE_PARTITIONS"],
            [(partition, count, files[partition, spec_id], spec_id) for (partition, spec_id), count in rows.items()],
        )

    def _partitions(self, spec_id: int, files: Iterable[DataFile]) -> Iterator[_Row]:
        rows, counts = Counter[str](), Counter[str]()
        for file in files:
            if file.content == DataFileContent.DATA:
                partition = self._partition(spec_id, file, None)
                rows[partition] += file.record_count
                counts[partition] += 1
        for partition, count in rows.items():
            yield partition, count, counts[partition], spec_id

    # ---- what they are made of --------------------------------------------------------------------------------------

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise data_read(self._location, error) from None

    def _known(self) -> list[dict[str, Any]]:
        return self._metadata.get("snapshots") or []

    def _snapshot(self) -> dict[str, Any] | None:
        wanted = self._metadata.get("current-snapshot-id") if self._wanted is None else self._wanted
        return next((item for item in self._known() if item["snapshot-id"] == wanted), None)

    @cached_property
    def _schema(self) -> Schema:
        schema_id = self._metadata["current-schema-id"]
        if self._wanted is not None and (snapshot := self._snapshot()) is not None:
            schema_id = snapshot.get("schema-id", schema_id)
        found = next(item for item in self._metadata["schemas"] if item["schema-id"] == schema_id)
        return Schema.model_validate(found)

    def _fields(self, spec_id: int) -> list[dict[str, Any]]:
        specs = self._metadata["partition-specs"]
        return next((spec["fields"] for spec in specs if spec["spec-id"] == spec_id), [])

    def _manifests(self) -> list[ManifestFile]:
        snapshot = self._snapshot()
        if snapshot is None:
            return []
        location = snapshot["manifest-list"]
        [content] = self._files.read([location])
        with Avro[ManifestFile](BytesFile(location, content), MANIFEST_LIST_FILE_SCHEMAS[2], _LISTS, {}) as file:
            return list(file)

    def _by_manifest(
        self, function: str, rows: Callable[[int, Iterable[DataFile]], Iterator[_Row]]
    ) -> Iterator[pa.Table]:
        """For each manifest what `rows` makes of its live files; they are given with the id of its partitioning."""
        for manifests in batched(self._manifests(), _SIDE_BY_SIDE):
            keys = [(function, manifest.manifest_path, self._schema.schema_id) for manifest in manifests]
            known = [self._pieces.get(key) for key in keys]
            new = [key[1] for key, piece in zip(keys, known, strict=True) if piece is None]
            contents = iter(self._files.read(new) if new else ())
            for key, manifest, piece in zip(keys, manifests, known, strict=True):
                if piece is None:
                    files = _live(manifest.manifest_path, next(contents))
                    piece = table_of(SCHEMAS[function], list(rows(manifest.partition_spec_id, files)))
                    self._pieces.put(key, piece)
                yield piece

    def _partition(self, spec_id: int, file: DataFile, nothing: str | None) -> str:
        """`{name=value, …}`; `nothing` stands for a value that is not there, None leaves its name out too."""
        values = [(field["name"], file.partition[place]) for place, field in enumerate(self._fields(spec_id))]
        kept = [
            f"{name}={nothing if value is None else java(value)}"
            for name, value in values
            if value is not None or nothing is not None
        ]
        return "{" + ", ".join(kept) + "}"

    def _summaries(self, manifest: ManifestFile) -> list[dict[str, Any]]:
        types = {field["id"]: field["type"] for schema in self._metadata["schemas"] for field in schema["fields"]}
        found = []
        for field, summary in zip(self._fields(manifest.partition_spec_id), manifest.partitions or (), strict=False):
            schema = Schema.model_validate(
                {
                    "type": "struct",
                    "fields": [{"id": 1, "name": "of", "type": types[field["source-id"]], "required": False}],
                }
            )
            transform = parse_transform(field["transform"])
            kind = transform.result_type(schema.fields[0].field_type)

            def human(bound: bytes | None, transform: Any = transform, kind: Any = kind) -> str | None:
                return None if bound is None else str(transform.to_human_string(kind, from_bytes(kind, bound)))

            found.append(
                {
                    "contains_null": summary.contains_null,
                    "contains_nan": summary.contains_nan,
                    "lower_bound": human(summary.lower_bound),
                    "upper_bound": human(summary.upper_bound),
                }
            )
        return found


def _live(location: str, content: bytes) -> Iterator[DataFile]:
    with Avro[ManifestEntry](BytesFile(location, content), MANIFEST_ENTRY_SCHEMAS[2], _ENTRIES, _ENUMS) as file:
        for entry in file:
            if entry.status != ManifestEntryStatus.DELETED:
                yield entry.data_file
