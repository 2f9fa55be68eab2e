"""The working copy of the stack's tables: Iceberg's own in-memory catalog inside the driver's Java process.

Spark and the driver's small files both go through it, so Iceberg writes data, manifests and metadata to S3, and only
the pointers wait in memory.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.tables import CATALOG, SCHEMA, Table
from pipeline.storage.data_files import bound
from pipeline.storage.files import Change, LiveFile
from pipeline.storage.nessie import TableAt
from table_files import NessieTableFiles, unfit

logger = logging.getLogger("tillwatch.driver")

LIVE_SNAPSHOTS = 20
MANIFEST_BYTES = 64 << 10
"""About 1,000 files of a KPI table: 40 to 60 bytes each, compressed, and 8 KB for the schema."""

PROPERTIES = {
    "format-version": "2",
    "gc.enabled": "true",
    "write.parquet.compression-codec": "zstd",
    "write.distribution-mode": "hash",
    "write.delete.mode": "copy-on-write",
    "write.update.mode": "copy-on-write",
    "write.merge.mode": "copy-on-write",
    "write.metadata.delete-after-commit.enabled": "false",
    "write.metadata.previous-versions-max": "2",
    # Iceberg's own 8 MB would hold all hours of years in one manifest, to be written anew at each late event.
    "commit.manifest.target-size-bytes": str(MANIFEST_BYTES),
    "commit.manifest.min-count-to-merge": "20",
    "history.expire.min-snapshots-to-keep": str(LIVE_SNAPSHOTS),
}


class Working:
    """Tables by name. `properties` are those of the file access to S3, `warehouse` is where new tables go."""

    def __init__(self, spark: SparkSession, properties: Mapping[str, str], warehouse: str) -> None:
        self._warehouse = warehouse
        self._tables: dict[str, Any] = {}
        self._jvm: Any = spark._jvm
        self._gateway: Any = spark.sparkContext._gateway
        manager = spark._jsparkSession.sessionState().catalogManager()
        self._catalog: Any = manager.catalog(CATALOG).icebergCatalog()
        self._into_s3(properties)

    def _into_s3(self, io_properties: Mapping[str, str]) -> None:
        """Let the in-memory catalog write to S3: it holds pointers in memory, but files too unless told otherwise.

        There is no setting for it (Iceberg 1.12): the field is set. tests/stack would see files missing at once.
        """
        properties = self._jvm.java.util.HashMap()
        for key, value in io_properties.items():
            properties.put(key, value)
        io = self._jvm.org.apache.iceberg.CatalogUtil.loadFileIO(properties["io-impl"], properties, None)
        held = self._catalog.getClass().getDeclaredField("io")
        held.setAccessible(True)
        held.set(self._catalog, io)

    def share(self, session: Any) -> None:
        """Let another session of this Spark use the same working copy; each makes a catalog of its own otherwise."""
        theirs = session._jsparkSession.sessionState().catalogManager().catalog(CATALOG)
        if not self._catalog.equals(theirs.icebergCatalog()):
            held = theirs.getClass().getDeclaredField("icebergCatalog")
            held.setAccessible(True)
            held.set(theirs, self._catalog)

    def open(self, table: Table, metadata_location: str | None) -> None:
        """Take a table over as this metadata has it, with the columns and settings of now; None: make it.

        Raises UserError where types or partitions are others.
        """
        identifier = self._identifier(table.name)
        self._tables.pop(table.name, None)
        if self._catalog.tableExists(identifier):
            self._catalog.dropTable(identifier, False)
        if metadata_location is None:
            self._create(identifier, table)
        else:
            self._fit(self._catalog.registerTable(identifier, metadata_location), table)

    def open_schema(self) -> None:
        namespace = self._jvm.org.apache.iceberg.catalog.Namespace.of(self._strings(SCHEMA))
        if not self._catalog.namespaceExists(namespace):
            self._catalog.createNamespace(namespace, self._jvm.java.util.HashMap())

    def _create(self, identifier: Any, table: Table) -> None:
        jvm = self._jvm.org.apache.iceberg
        schema = jvm.SchemaParser.fromJson(json.dumps(_schema_json(table)))
        spec = jvm.PartitionSpec.builderFor(schema)
        if table.partition_by is not None:
            spec = spec.hour(table.partition_by)
        properties = self._jvm.java.util.HashMap()
        for key, value in {**PROPERTIES, "comment": table.doc}.items():
            properties.put(key, value)
        # No folder that another catalog's table of this name, or one that was renamed, may have: a sweep lists it.
        location = f"{self._warehouse}/{SCHEMA}/{table.name}_{uuid.uuid4().hex[:8]}"
        self._catalog.createTable(identifier, schema, spec.build(), location, properties)

    def _fit(self, java: Any, table: Table) -> None:
        """Give an older table the columns that it lacks, and the settings of now."""
        schema = json.loads(self._jvm.org.apache.iceberg.SchemaParser.toJson(java.schema()))
        fields = {field["name"]: field for field in schema["fields"]}
        wanted_names = {column.name for column in table.columns}
        surplus = [name for name, field in fields.items() if field["required"] and name not in wanted_names]
        missing = []
        for column in table.columns:
            wanted = _iceberg_type(column.type)
            if column.name not in fields:
                missing.append(column)
            elif (have := fields[column.name]["type"]) != wanted:
                raise unfit(table, f"has column {column.name} as {have}, not {wanted}")
        parts = [
            (str(java.schema().findColumnName(part.sourceId())), str(part.transform())) for part in java.spec().fields()
        ]
        wanted_parts = [(table.partition_by, "hour")] if table.partition_by else []
        if parts != wanted_parts:
            raise unfit(table, f"is partitioned by {_said(parts)}, not by {_said(wanted_parts)}")
        if missing or surplus:
            update = java.updateSchema()
            for name in surplus:
                # New rows hold nothing in it.
                update = update.makeColumnOptional(name)
            types = self._jvm.org.apache.iceberg.types.Types
            for column in missing:
                # Rows of before hold nothing in it, whatever the contract wants of new ones.
                update = update.addColumn(column.name, types.fromPrimitiveString(_iceberg_type(column.type)))
            update.commit()
            logger.info("%s: added %s", table.name, ", ".join(column.name for column in missing) or "nothing")
        # The format's version stands elsewhere.
        settings = {key: value for key, value in PROPERTIES.items() if key != "format-version"}
        other = {key: value for key, value in settings.items() if java.properties().get(key) != value}
        if other:
            changes = java.updateProperties()
            for key, value in other.items():
                changes = changes.set(key, value)
            changes.commit()

    def pointers(self, name: str) -> TableAt:
        """Where a table stands; its id is Nessie's, and not known here."""
        metadata = self._table(name).operations().current()
        snapshot = metadata.currentSnapshot()
        return TableAt(
            "",
            str(metadata.metadataFileLocation()),
            int(snapshot.snapshotId()) if snapshot is not None else -1,
            int(metadata.currentSchemaId()),
            int(metadata.defaultSpecId()),
            int(metadata.defaultSortOrderId()),
        )

    def stage(self, files: NessieTableFiles, change: Change) -> None:
        """Commit files that a table gains and loses."""
        table = self._table(files.table.name)
        spec = table.spec()
        transaction = table.newTransaction()
        if change.removed:
            update = transaction.newOverwrite()
            for file in change.removed:
                update.deleteFile(self._data_file(spec, files, file))
            for file in change.added:
                update.addFile(self._data_file(spec, files, file))
        else:
            update = transaction.newAppend()
            for file in change.added:
                update.appendFile(self._data_file(spec, files, file))
        update.commit()
        self._expire(table, transaction)
        transaction.commitTransaction()
        table.refresh()  # here, beside the other tables: it reads from S3 what was written just now

    def expire(self, name: str) -> None:
        """The same of a table that Spark has written to."""
        table = self._table(name)
        transaction = table.newTransaction()
        if self._expire(table, transaction):
            transaction.commitTransaction()

    def _expire(self, table: Any, transaction: Any) -> bool:
        """Live metadata keeps few snapshots, for every commit writes them all; no file is deleted by it."""
        if table.operations().current().snapshots().size() < 2 * LIVE_SNAPSHOTS:
            return False
        (
            transaction.expireSnapshots()
            .expireOlderThan(self._jvm.java.lang.System.currentTimeMillis())
            .retainLast(LIVE_SNAPSHOTS)
            .cleanExpiredFiles(False)
            .commit()
        )
        return True

    def _data_file(self, spec: Any, files: NessieTableFiles, file: LiveFile) -> Any:
        jvm, table = self._jvm, files.table
        lower, upper = jvm.java.util.HashMap(), jvm.java.util.HashMap()
        spans = {
            table.event_time: (file.event_min, file.event_max),
            table.aged_by: (file.aged_min, file.aged_max),
        }
        for column, (low, high) in spans.items():
            if column is not None and low is not None and high is not None:
                field = files.field_ids[column]
                lower.put(field, jvm.java.nio.ByteBuffer.wrap(bound(low)))
                upper.put(field, jvm.java.nio.ByteBuffer.wrap(bound(high)))
        metrics = jvm.org.apache.iceberg.Metrics(jvm.java.lang.Long(file.rows), None, None, None, None, lower, upper)
        builder = (
            jvm.org.apache.iceberg.DataFiles.builder(spec)
            .withPath(file.uri)
            .withFormat("PARQUET")
            .withFileSizeInBytes(file.bytes)
            .withRecordCount(file.rows)
            .withMetrics(metrics)
        )
        if file.hour is not None:
            builder = builder.withPartitionPath(f"{table.partition_by}_hour={file.hour}")
        return builder.build()

    def _table(self, name: str) -> Any:
        """A table as it stands now. One that is held reads its metadata only where another has written to it."""
        held = self._tables.get(name)
        if held is None:
            held = self._tables[name] = self._catalog.loadTable(self._identifier(name))
        else:
            held.refresh()
        return held

    def _identifier(self, name: str) -> Any:
        return self._jvm.org.apache.iceberg.catalog.TableIdentifier.of(self._strings(SCHEMA, name))

    def _strings(self, *texts: str) -> Any:
        array = self._gateway.new_array(self._jvm.java.lang.String, len(texts))
        for index, text in enumerate(texts):
            array[index] = text
        return array


def _schema_json(table: Table) -> dict[str, Any]:
    return {
        "type": "struct",
        "schema-id": 0,
        "fields": [
            {
                "id": number,
                "name": column.name,
                "required": column.required,
                "type": _iceberg_type(column.type),
                "doc": column.doc,
            }
            for number, column in enumerate(table.columns, start=1)
        ],
    }


def _said(parts: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{transform}({column})" for column, transform in parts) or "nothing"


def _iceberg_type(name: str) -> str:
    return name.replace(",", ", ") if name.startswith("decimal") else name
