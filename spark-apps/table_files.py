"""The live files of the stack's tables, as the driver knows them without asking anybody."""

from __future__ import annotations

from concurrent.futures import Executor

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent
from pyiceberg.table.metadata import TableMetadata

from lakehouse.tables import CATALOG, SCHEMA, Table
from lakehouse.user_error import UserError
from pipeline.storage import data_files
from pipeline.storage.files import LiveFile
from pipeline.storage.live import LiveFiles
from pipeline.storage.objects import Objects


def unfit(table: Table, what: str) -> UserError:
    return UserError(
        f"Table {CATALOG}.{SCHEMA}.{table.name} {what}; rename that table in Nessie (the driver then makes a new one), "
        "or point nessie.uri at another catalog."
    )


class NessieTableFiles(LiveFiles[LiveFile]):
    """The live files of one table; see pipeline.storage.files. `uploads` writes side by side."""

    def __init__(self, table: Table, io: FileIO, objects: Objects, uploads: Executor) -> None:
        super().__init__()
        self.table = table
        self.location = ""
        self.field_ids: dict[str, int] = {}
        self.file_schema = pa.schema([])
        self._io = io
        self._objects = objects
        self._uploads = uploads
        self._read: dict[str, list[LiveFile]] = {}

    def load(self, metadata: TableMetadata) -> None:
        """Take over the current snapshot of a table's metadata; of its manifests those are read that are new."""
        self.location = metadata.location
        schema = metadata.schema()
        self.field_ids = {field.name: field.field_id for field in schema.fields}
        self.file_schema = data_files.file_schema(self.table, schema)
        self.drop(list(self.live.values()))
        before, self._read = self._read, {}
        snapshot = metadata.current_snapshot()
        for manifest in snapshot.manifests(self._io) if snapshot is not None else ():
            if manifest.content != ManifestContent.DATA:
                raise unfit(self.table, "has delete files, which are not looked at")
            if manifest.partition_spec_id != metadata.default_spec_id:
                raise unfit(self.table, "has files of an older partitioning")
            files = before.get(manifest.manifest_path)
            if files is None:
                entries = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
                files = [LiveFile(**data_files.known_from(self.table, self.field_ids, e.data_file)) for e in entries]
            self._read[manifest.manifest_path] = files
            self.hold(files)

    def write(self, rows: pa.Table, level: int = 0) -> list[LiveFile]:
        """Write data files, one an hour; they belong to no snapshot yet. Rows may come in any order."""
        parts = [(part, hour, level) for hour, part in data_files.by_hour(self.table, rows)]
        if len(parts) <= 1:
            return [self._write_file(*part) for part in parts]
        return list(self._uploads.map(lambda part: self._write_file(*part), parts))

    def _write_file(self, rows: pa.Table, hour: int | None, level: int) -> LiveFile:
        uri = f"{self.location}/data/{data_files.place_of(self.table, hour, level)}"
        sink = pa.BufferOutputStream()
        data_files.write_parquet(self.table, rows, self.file_schema, sink)
        content = sink.getvalue()
        self._objects.write(uri, content)
        spans = data_files.spans_of(self.table, rows)
        return LiveFile(**data_files.known(self.table, uri, hour, rows.num_rows, content.size, spans))
