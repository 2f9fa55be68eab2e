"""What table_history, table_snapshot, table_manifests, table_files and table_partitions answer.

All from the metadata file that the commit names, and from the manifests of one snapshot: nothing else is looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from enum import Enum
from typing import Any

import pyarrow as pa
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
from pyiceberg.types import IcebergType

from embedded.gateway.avro import Avro
from embedded.gateway.errors import data_read, validation
from embedded.gateway.files import Files
from embedded.gateway.information import table_of
from embedded.gateway.table_functions import SCHEMAS
from pipeline.storage.reading import Content

type _Row = tuple[Any, ...]

_LISTS: dict[int, Callable[..., StructProtocol]] = {-1: ManifestFile, 508: PartitionFieldSummary}
_ENTRIES: dict[int, Callable[..., StructProtocol]] = {-1: ManifestEntry, 2: DataFile}
_ENUMS: dict[int, Callable[..., Enum]] = {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent}


class TableMetadata:
    """One table's metadata, as it is at one commit. `snapshot_id`: of a past one; None: the current one.

    Every method raises Refusal where a file cannot be read.
    """

    def __init__(self, files: Files, location: str, snapshot_id: int | None = None) -> None:
        self._files = files
        self._location = location
        self._wanted = snapshot_id
        with self._readable():
            self._metadata: dict[str, Any] = json.loads(files.read([location])[0])

    def refuse_unpartitioned(self, path: str, start: int) -> None:
        """Dremio has no table_partitions of a table without partitions. Raises Refusal."""
        if not any(field["transform"] != "void" for field in self._fields(self._metadata["default-spec-id"])):
            raise validation(f"Table {path} is not partitioned.", start)

    def rows(self, function: str) -> pa.Table:
        """The answer of a function, named in capitals."""
        answers: Mapping[str, Callable[[], Iterator[_Row]]] = {
            "TABLE_HISTORY": self._history,
            "TABLE_SNAPSHOT": self._snapshots,
            "TABLE_MANIFESTS": self._listed,
            "TABLE_FILES": self._data_files,
            "TABLE_PARTITIONS": self._partitions,
        }
        with self._readable():
            return table_of(SCHEMAS[function], list(answers[function]()))

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
                *(item.get("manifest-list"), _pairs(summary)),
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

    def _data_files(self) -> Iterator[_Row]:
        schema = self._schema()
        types = {field.field_id: field.field_type for field in schema.fields if field.field_type.is_primitive}
        for spec_id, file in self._entries():
            yield (
                *(file.content.name, file.file_path, file.file_format.name, self._partition(spec_id, file, "null")),
                *(file.record_count, file.file_size_in_bytes, _pairs(file.column_sizes), _pairs(file.value_counts)),
                *(_pairs(file.null_value_counts), _pairs(file.nan_value_counts)),
                *(_bounds(file.lower_bounds, types), _bounds(file.upper_bounds, types)),
                *(file.split_offsets, file.equality_ids, file.sort_order_id, spec_id),
            )

    def _partitions(self) -> Iterator[_Row]:
        rows, files = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
        for spec_id, file in self._entries():
            if file.content == DataFileContent.DATA:
                key = (self._partition(spec_id, file, None), spec_id)
                rows[key] += file.record_count
                files[key] += 1
        for partition, spec_id in rows:
            yield partition, rows[partition, spec_id], files[partition, spec_id], spec_id

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
        with Avro[ManifestFile](Content(location, content), MANIFEST_LIST_FILE_SCHEMAS[2], _LISTS, {}) as file:
            return list(file)

    def _entries(self) -> Iterator[tuple[int, DataFile]]:
        """Live files, each with the id of its manifest's partitioning."""
        manifests = self._manifests()
        contents = self._files.read([manifest.manifest_path for manifest in manifests]) if manifests else []
        for manifest, content in zip(manifests, contents, strict=True):
            source = Content(manifest.manifest_path, content)
            with Avro[ManifestEntry](source, MANIFEST_ENTRY_SCHEMAS[2], _ENTRIES, _ENUMS) as file:
                for entry in file:
                    if entry.status != ManifestEntryStatus.DELETED:
                        yield manifest.partition_spec_id, entry.data_file

    def _partition(self, spec_id: int, file: DataFile, nothing: str | None) -> str:
        """`{name=value, …}`; `nothing` stands for a value that is not there, None leaves its name out too."""
        values = [(field["name"], file.partition[place]) for place, field in enumerate(self._fields(spec_id))]
        kept = [
            f"{name}={nothing if value is None else _java(value)}"
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


def _pairs(values: Mapping[Any, Any] | None) -> list[dict[str, str]] | None:
    """A map as Dremio shows it, which has no maps here: a list of keys and values in text."""
    if values is None:
        return None
    return [{"key": str(key), "value": str(value)} for key, value in values.items()]


def _bounds(bounds: Mapping[int, bytes] | None, types: Mapping[int, IcebergType]) -> list[dict[str, str]] | None:
    """Bounds by column id, of the columns that are still there."""
    if bounds is None:
        return None
    return [{"key": str(key), "value": _bound(value, types[key])} for key, value in bounds.items() if key in types]


def _bound(value: bytes, kind: IcebergType) -> str:
    # Bytes are shown as Java shows a buffer of them.
    if str(kind) in ("binary", "uuid") or str(kind).startswith("fixed"):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return _java(from_bytes(kind, value))  # type: ignore[arg-type]  # a primitive type, as bounds are


def _java(value: Any) -> str:
    """A value as Java's toString writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _java_double(value)
    return str(value)


def _java_double(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    digits = Decimal(repr(value))
    if value and not 1e-3 <= abs(value) < 1e7:
        sign, numbers, exponent = digits.normalize().as_tuple()
        assert isinstance(exponent, int)
        text = "".join(map(str, numbers))
        return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(text) - 1}"
    text = format(digits, "f")
    return text if "." in text else f"{text}.0"
