"""The driver's tables: a working copy of what main holds, and the one Nessie commit that publishes a batch.

The working copy is Iceberg's own in-memory catalog inside the driver's Java process: Spark and the driver's small
files both go through it, so Iceberg writes data, manifests and metadata to S3, and only the pointers wait in memory.
`publish` puts all pointers that moved on the working branch in one commit, and merges it into main. A batch that fails
leaves nothing behind but files that no commit reaches.
"""

from __future__ import annotations

import json
import logging
import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import ManifestContent
from pyiceberg.serializers import FromInputFile
from pyspark.sql import SparkSession

from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table, arrow_schema
from lakehouse.user_error import UserError
from pipeline.batch.points import reach
from pipeline.batch.times import micros
from pipeline.settings import NessieSettings, RetentionSettings, S3Settings
from pipeline.storage.files import HOUR_US, Change, LiveFile, Swept, row_schema
from pipeline.storage.nessie import MAIN, Nessie, NessieConflict, NessieError, NessieGone, TableAt
from pipeline.storage.nessie_sweep import BackgroundSweep, NessieSweep
from pipeline.storage.objects import Objects
from s3 import ensure_bucket, iceberg_io
from session import io_properties

logger = logging.getLogger("tillwatch.driver")

LIVE_SNAPSHOTS = 20
ROWS_A_ROW_GROUP = 32_768
READ_WHOLE = 1 << 20
BRANCH = "ingest-"

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
    "commit.manifest.min-count-to-merge": "20",
    "history.expire.min-snapshots-to-keep": str(LIVE_SNAPSHOTS),
}


class NewerDriver(Exception):
    """Another driver was started since and has taken over; the message says so."""


class TableFiles:
    """The live files of one table; see pipeline.storage.files."""

    def __init__(self, store: Store, table: Table) -> None:
        self.table = table
        self._store = store
        self.live: dict[str, LiveFile] = {}
        self.hours: dict[int | None, dict[str, LiveFile]] = {}
        self.location = ""
        self.field_ids: dict[str, int] = {}
        self._columns = [column.name for column in table.columns]
        self.file_schema = pa.schema([])

    def load(self, metadata: Any) -> None:
        """Take over the current snapshot of a table's metadata."""
        self.location = metadata.location
        self.field_ids = {field.name: field.field_id for field in metadata.schema().fields}
        required = {field.name: field.required for field in metadata.schema().fields}
        self.file_schema = pa.schema(
            [
                field.with_nullable(not required[field.name]).with_metadata(
                    {"PARQUET:field_id": str(self.field_ids[field.name])}
                )
                for field in arrow_schema(self.table)
            ]
        )
        self.live, self.hours = {}, {}
        snapshot = metadata.current_snapshot()
        if snapshot is not None:
            io = self._store.io
            for manifest in snapshot.manifests(io):
                if manifest.content != ManifestContent.DATA:
                    raise _unfit(self.table, "has delete files, which are not looked at")
                if manifest.partition_spec_id != metadata.default_spec_id:
                    raise _unfit(self.table, "has files of an older partitioning")
                self.hold(
                    self._live_file(entry.data_file)
                    for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
                )

    def hold(self, files: Iterable[LiveFile]) -> None:
        for file in files:
            self.live[file.uri] = file
            self.hours.setdefault(file.hour, {})[file.uri] = file

    def drop(self, files: Iterable[LiveFile]) -> None:
        for file in files:
            if self.live.pop(file.uri, None) is not None:
                of_hour = self.hours[file.hour]
                del of_hour[file.uri]
                if not of_hour:
                    del self.hours[file.hour]

    def write(self, rows: pa.Table, level: int = 0) -> list[LiveFile]:
        """Write data files, one an hour; they belong to no snapshot yet. Rows may come in any order."""
        if not rows.num_rows:
            return []
        by = self.table.partition_by
        if by is None:
            return [self._write_file(rows, None, level)]
        hours = pc.cast(rows[by], pa.int64()).to_numpy() // HOUR_US
        first = int(hours[0])
        if (hours == first).all():
            return [self._write_file(rows, first, level)]
        order = np.argsort(hours, kind="stable")
        rows, hours = rows.take(pa.array(order)), hours[order]
        starts = [int(start) for start in np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))]
        pieces = [
            (rows.slice(start, end - start), int(hours[start]), level)
            for start, end in zip(starts, [*starts[1:], len(hours)], strict=True)
        ]
        return list(self._store.uploads.map(lambda piece: self._write_file(*piece), pieces))

    def _write_file(self, rows: pa.Table, hour: int | None, level: int) -> LiveFile:
        folder = f"{self.location}/data"
        if hour is not None:
            moment = datetime.fromtimestamp(0, UTC) + timedelta(hours=hour)
            folder += f"/{self.table.partition_by}_hour={moment:%Y-%m-%d-%H}"
        uri = f"{folder}/{level}-{uuid.uuid4()}.parquet"
        if self.table.event_time is not None and rows.num_rows > ROWS_A_ROW_GROUP:
            rows = rows.sort_by(self.table.event_time)
        ordered = rows.select(self._columns).combine_chunks()
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.Table.from_arrays(ordered.columns, schema=self.file_schema),
            sink,
            compression="zstd",
            row_group_size=ROWS_A_ROW_GROUP,
            store_schema=False,
            use_dictionary=rows.num_rows > 64,
        )
        content = sink.getvalue()
        self._store.objects.write(uri, content)

        def span(name: str | None) -> tuple[int | None, int | None]:
            if name is None:
                return None, None
            found = pc.min_max(pc.cast(rows[name], pa.int64()))
            return found["min"].as_py(), found["max"].as_py()

        return LiveFile(
            uri, hour, rows.num_rows, content.size, *span(self.table.event_time), *span(self.table.aged_by), level
        )

    def _live_file(self, data_file: Any) -> LiveFile:
        def bound(name: str | None, bounds: Mapping[int, bytes] | None) -> int | None:
            if name is None or not bounds or self.field_ids[name] not in bounds:
                return None
            return int(struct.unpack("<q", bounds[self.field_ids[name]])[0])

        name = data_file.file_path.rpartition("/")[2]
        return LiveFile(
            data_file.file_path,
            data_file.partition[0] if self.table.partition_by else None,
            data_file.record_count,
            data_file.file_size_in_bytes,
            bound(self.table.event_time, data_file.lower_bounds),
            bound(self.table.event_time, data_file.upper_bounds),
            bound(self.table.aged_by, data_file.lower_bounds),
            bound(self.table.aged_by, data_file.upper_bounds),
            int(name[0]) if name[1:2] == "-" and name[0].isdigit() else 0,
        )


class Store:
    """All tables, opened for writing by one driver: make the missing ones, stage, publish.

    `own` are the names of this driver's working branches, to which the new one is added; `before` is the last that was
    in use. Raises UserError for a table of another type, NewerDriver when another driver has begun since then,
    NessieDown or OSError while Nessie or S3 do not answer.
    """

    def __init__(
        self,
        spark: SparkSession,
        nessie: Nessie,
        nessie_settings: NessieSettings,
        s3: S3Settings,
        before: str | None = None,
        own: list[str] | None = None,
    ) -> None:
        self.nessie = nessie
        self._sweep: BackgroundSweep | None = None
        self._settings = nessie_settings
        self.s3 = s3
        self.objects = Objects(s3)
        self.io = iceberg_io(s3)
        self.uploads = ThreadPoolExecutor(4, thread_name_prefix="upload")
        self._commits = ThreadPoolExecutor(4, thread_name_prefix="commit")
        self.branch = f"{BRANCH}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._own = own if own is not None else []
        # Before it is made: an answer of Nessie may be lost, and what it made then must not pass for another driver's.
        self._own.append(self.branch)
        self.sequence = 0
        self.tables: dict[str, TableFiles] = {}
        self._at: dict[str, TableAt] = {}
        self._staged: dict[str, TableAt] = {}
        self.head = ""
        self._jvm: Any = spark._jvm
        self._gateway: Any = spark.sparkContext._gateway
        manager = spark._jsparkSession.sessionState().catalogManager()
        self._catalog: Any = manager.catalog(CATALOG).icebergCatalog()
        self._branch_head: str | None = None
        try:
            self._into_s3()
            self._open(before)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End, and leave no working branch behind; where Nessie does not answer, the next start deletes it."""
        if self._sweep is not None:
            self._sweep.close()
        self.uploads.shutdown(wait=False, cancel_futures=True)
        # To its end: a commit that came later would land in the working copy of the next Store.
        self._commits.shutdown(cancel_futures=True)
        if self._branch_head is not None:
            with suppress(NessieError):
                self.nessie.delete(self.branch, self._branch_head)

    # Start ---------------------------------------------------------------------------------------------------------

    def _open(self, before: str | None) -> None:
        ensure_bucket(self.objects, self.s3, self._settings.bucket)
        # Other drivers' branches first, then main: what they publish before is seen, after it they cannot.
        others = [
            found for found in self.nessie.references() if found.type == "BRANCH" and found.name.startswith(BRANCH)
        ]
        newer = max((found.name for found in others if found.name not in self._own), default="")
        if before is not None and newer > before:  # a name begins with its time
            raise NewerDriver(f"There is the working branch {newer}: a newer driver has taken over.")
        for found in others:
            self._end_branch(found.name, found.hash)
        self.head = self.nessie.head()
        self._at = self.nessie.tables(self.head)
        if not self._at:
            # Nessie merges no branch into a main that has no commit at all.
            with suppress(NessieConflict):
                self.nessie.commit(MAIN, self.head, {}, f"namespace {SCHEMA}", [SCHEMA])
            self.head = self.nessie.head()
        self.nessie.create(self.branch, self.head)
        self._branch_head = self.head
        namespace = self._jvm.org.apache.iceberg.catalog.Namespace.of(self._strings(SCHEMA))
        if not self._catalog.namespaceExists(namespace):
            self._catalog.createNamespace(namespace, self._jvm.java.util.HashMap())
        list(self._commits.map(self._open_table, TABLES))

    def _open_table(self, name: str) -> None:
        identifier = self._identifier(name)
        if self._catalog.tableExists(identifier):
            self._catalog.dropTable(identifier, False)
        if name in self._at:
            java = self._catalog.registerTable(identifier, self._at[name].metadata_location)
            self._fit(java, TABLES[name])
        else:
            self._create(identifier, TABLES[name])
        self.reload(name)

    def _into_s3(self) -> None:
        """Let the in-memory catalog write to S3: it holds pointers in memory, but files too unless told otherwise.

        There is no setting for it (Iceberg 1.12): the field is set. tests/stack would see files missing at once.
        """
        properties = self._jvm.java.util.HashMap()
        for key, value in io_properties(self._settings, self.s3).items():
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

    def _end_branch(self, name: str, commit: str) -> None:
        try:
            self.nessie.delete(name, commit)
        except NessieConflict:
            # Its driver has just written to it.
            self.nessie.delete(name, self.nessie.head(name))

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
        location = f"{self._settings.warehouse}/{SCHEMA}/{table.name}_{uuid.uuid4().hex[:8]}"
        self._catalog.createTable(identifier, schema, spec.build(), location, properties)

    def _fit(self, java: Any, table: Table) -> None:
        """Add the columns that an older table lacks. Raises UserError where types or partitions are others."""
        found = {
            field["name"]: field["type"]
            for field in json.loads(self._jvm.org.apache.iceberg.SchemaParser.toJson(java.schema()))["fields"]
        }
        missing = []
        for column in table.columns:
            wanted = _iceberg_type(column.type)
            have = found.get(column.name)
            if have is None:
                missing.append(column)
            elif have != wanted:
                raise _unfit(table, f"has column {column.name} as {have}, not {wanted}")
        parts = [
            (str(java.schema().findColumnName(part.sourceId())), str(part.transform())) for part in java.spec().fields()
        ]
        wanted_parts = [(table.partition_by, "hour")] if table.partition_by else []
        if parts != wanted_parts:
            raise _unfit(table, f"is partitioned by {_said(parts)}, not by {_said(wanted_parts)}")
        if missing:
            update = java.updateSchema()
            types = self._jvm.org.apache.iceberg.types.Types
            for column in missing:
                # Rows of before hold nothing in it, whatever the contract wants of new ones.
                update = update.addColumn(column.name, types.fromPrimitiveString(_iceberg_type(column.type)))
            update.commit()
            logger.info("%s: added %s", table.name, ", ".join(column.name for column in missing))

    # Reading -------------------------------------------------------------------------------------------------------

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order."""
        schema = row_schema(TABLES[name])
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])

        def part(file: LiveFile) -> pa.Table:
            # A small file is one request then; of a large one only the columns asked for are fetched.
            whole = file.bytes <= READ_WHOLE
            stored = pq.ParquetFile(
                pa.BufferReader(self.objects.read(file.uri)) if whole else self.objects.open(file.uri, file.bytes),
                pre_buffer=not whole,
            )
            held = set(stored.schema_arrow.names)
            rows = stored.read(columns=[column for column in schema.names if column in held], use_threads=False)
            for field in schema:
                if field.name not in held:  # a column added since
                    rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
            return rows.select(schema.names).cast(schema)

        parts = list(self.uploads.map(part, files)) if len(files) > 1 else [part(file) for file in files]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""
        return self.read(name, list(self.tables[name].live.values()))

    # Writing -------------------------------------------------------------------------------------------------------

    def stage(self, changes: Mapping[str, Change]) -> None:
        """Commit each table's files to the working copy, side by side."""
        commits = [self._commits.submit(self._stage, name, change) for name, change in changes.items()]
        wait(commits)
        for commit in commits:
            commit.result()

    def _stage(self, name: str, change: Change) -> None:
        table = self._catalog.loadTable(self._identifier(name))
        spec = table.spec()
        transaction = table.newTransaction()
        if change.removed:
            update = transaction.newOverwrite()
            for file in change.removed:
                update.deleteFile(self._data_file(spec, name, file))
            for file in change.added:
                update.addFile(self._data_file(spec, name, file))
        else:
            update = transaction.newAppend()
            for file in change.added:
                update.appendFile(self._data_file(spec, name, file))
        update.commit()
        self._expire(table, transaction)
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

    def reload(self, name: str) -> None:
        """Read a table's live files anew: at the start, and after Spark has written to it."""
        location = self._working(name).metadata_location
        table = self.tables.get(name) or TableFiles(self, TABLES[name])
        table.load(FromInputFile.table_metadata(self.io.new_input(location)))
        self.tables[name] = table

    def publish(
        self, changes: Mapping[str, Change], as_of: datetime | None, note: str, written: Iterable[str] = ()
    ) -> str:
        """Make all that the working copy holds of these tables visible at once: the new commit of main.

        `changes` were staged, `written` were by Spark. Raises NewerDriver when another driver has taken over.
        """
        for name in written:
            table = self._catalog.loadTable(self._identifier(name))
            transaction = table.newTransaction()
            if self._expire(table, transaction):
                transaction.commitTransaction()
        working = {name: self._working(name) for name in {*changes, *written} | self._unpublished()}
        try:
            assert self._branch_head is not None
            self._branch_head = self.nessie.commit(self.branch, self._branch_head, working, note)
            reach("before-publish")
            head = self.nessie.merge(self.branch, self._branch_head, self.head, note)
        except NessieGone:
            branches = {reference.name for reference in self.nessie.references()}
            # A name begins with its time; an older one is of a backup of Nessie that was restored.
            if self.branch not in branches and any(n.startswith(BRANCH) and n > self.branch for n in branches):
                raise NewerDriver(f"The working branch {self.branch} is gone: a newer driver has taken over.") from None
            raise  # by maintain.py, or a backup of Nessie: the next attempt makes a new one
        reach("after-publish")
        self.head = head
        self.sequence += 1
        self._at = self._at | working
        if "" in {at.id for at in working.values()}:
            self._at = self.nessie.tables(head)
        for name, change in changes.items():
            table = self.tables[name]
            table.drop(change.removed)
            for file in change.added:
                file.born = self.sequence
            table.hold(change.added)
        return head

    def tidy(self, now: datetime, retention: RetentionSettings) -> Swept:
        """What the last sweep in the background has done; the next one begins."""
        if self._sweep is None:
            self._sweep = BackgroundSweep(NessieSweep(self.nessie, self.objects, retention))
        return self._sweep.next(micros(now), self.head)

    def _unpublished(self) -> set[str]:
        """Tables that were made or changed at the start."""
        if self.sequence:
            return set()
        return {
            name
            for name in TABLES
            if name not in self._at or self._working(name).metadata_location != self._at[name].metadata_location
        }

    @property
    def is_new(self) -> bool:
        """Whether something of the start waits to be published: new tables, new columns."""
        return bool(self._unpublished())

    def _working(self, name: str) -> TableAt:
        """A table's pointers in the working copy."""
        metadata = self._catalog.loadTable(self._identifier(name)).operations().current()
        snapshot = metadata.currentSnapshot()
        known = self._at.get(name)
        return TableAt(
            known.id if known else "",
            str(metadata.metadataFileLocation()),
            int(snapshot.snapshotId()) if snapshot is not None else -1,
            int(metadata.currentSchemaId()),
            int(metadata.defaultSpecId()),
            int(metadata.defaultSortOrderId()),
        )

    def _data_file(self, spec: Any, name: str, file: LiveFile) -> Any:
        table = self.tables[name]
        jvm = self._jvm
        lower, upper = jvm.java.util.HashMap(), jvm.java.util.HashMap()
        spans = {
            table.table.event_time: (file.event_min, file.event_max),
            table.table.aged_by: (file.aged_min, file.aged_max),
        }
        for column, (low, high) in spans.items():
            if column is not None and low is not None and high is not None:
                field = table.field_ids[column]
                lower.put(field, jvm.java.nio.ByteBuffer.wrap(struct.pack("<q", low)))
                upper.put(field, jvm.java.nio.ByteBuffer.wrap(struct.pack("<q", high)))
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
            builder = builder.withPartitionPath(f"{table.table.partition_by}_hour={file.hour}")
        return builder.build()

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


def _unfit(table: Table, what: str) -> UserError:
    return UserError(
        f"Table {CATALOG}.{SCHEMA}.{table.name} {what}; rename that table in Nessie (the driver then makes a new one), "
        "or point nessie.uri at another catalog."
    )


def _said(parts: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{transform}({column})" for column, transform in parts) or "nothing"


def _iceberg_type(name: str) -> str:
    return name.replace(",", ", ") if name.startswith("decimal") else name
