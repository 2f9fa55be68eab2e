"""The driver's tables: what main holds, what is staged, and the one Nessie commit that publishes a batch.

`publish` puts all pointers that moved on the working branch in one commit, and merges it into main. A batch that fails
leaves nothing behind but files that no commit reaches.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from lakehouse.tables import SCHEMA, TABLES
from pipeline.batch.points import reach
from pipeline.batch.times import micros
from pipeline.settings import NessieSettings, RetentionSettings, S3Settings
from pipeline.storage.data_files import read_parquet
from pipeline.storage.files import Change, LiveFile, Swept, row_schema
from pipeline.storage.nessie import MAIN, Nessie, NessieConflict, NessieError, NessieGone, TableAt
from pipeline.storage.nessie_sweep import BackgroundSweep, NessieSweep
from pipeline.storage.objects import Objects
from s3 import ensure_bucket
from session import io_properties
from stack_table import StackTable
from working import Working

READ_WHOLE = 1 << 20
BRANCH = "ingest-"


class NewerDriver(Exception):
    """Another driver was started since and has taken over; the message says so."""


class NessieStore:
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
        self.uploads = ThreadPoolExecutor(4, thread_name_prefix="upload")
        # All that makes a publish, side by side: three files a table.
        self._puts = ThreadPoolExecutor(2 * len(TABLES), thread_name_prefix="put")
        self.branch = f"{BRANCH}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._own = own if own is not None else []
        # Before it is made: an answer of Nessie may be lost, and what it made then must not pass for another driver's.
        self._own.append(self.branch)
        self.sequence = 0
        self.tables = {name: StackTable(table, self.objects, self.uploads) for name, table in TABLES.items()}
        self._at: dict[str, TableAt] = {}
        self.head = ""
        self._branch_head: str | None = None
        try:
            self._working = Working(spark, io_properties(nessie_settings, s3))
            self._open(before)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End, and leave no working branch behind; where Nessie does not answer, the next start deletes it."""
        if self._sweep is not None:
            self._sweep.close()
        self.uploads.shutdown(wait=False, cancel_futures=True)
        self._puts.shutdown(wait=False, cancel_futures=True)
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
        list(self._puts.map(self._open_table, TABLES))

    def _open_table(self, name: str) -> None:
        if name in self._at:
            self.tables[name].open(self._at[name].metadata_location)
        else:
            self.tables[name].create(self._settings.warehouse)

    def _end_branch(self, name: str, commit: str) -> None:
        try:
            self.nessie.delete(name, commit)
        except NessieConflict:
            # Its driver has just written to it.
            self.nessie.delete(name, self.nessie.head(name))

    def share(self, session: Any) -> None:
        """Let another session of this Spark read and write the tables as they stand now."""
        self._working.share(session)
        list(self._puts.map(lambda name: self._working.tell(name, self.tables[name].location), TABLES))

    # Reading -------------------------------------------------------------------------------------------------------

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order."""
        schema = row_schema(TABLES[name])
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])

        def part(file: LiveFile) -> pa.Table:
            # A small file is one request then; of a large one only the columns asked for are fetched.
            whole = file.bytes <= READ_WHOLE
            source = pa.BufferReader(self.objects.read(file.uri)) if whole else self.objects.open(file.uri, file.bytes)
            return read_parquet(source, schema, pre_buffer=not whole)

        parts = list(self.uploads.map(part, files)) if len(files) > 1 else [part(file) for file in files]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""
        return self.read(name, list(self.tables[name].live.values()))

    # Writing -------------------------------------------------------------------------------------------------------

    def stage(self, changes: Mapping[str, Change]) -> None:
        """Put what makes each table's next snapshot, all of it side by side."""
        puts = [
            put
            for name, change in changes.items()
            for put in self.tables[name].stage(change, self.sequence + 1, self._puts)
        ]
        wait(puts)
        for put in puts:
            put.result()

    def reload(self, name: str) -> None:
        """Read a table's live files anew: Spark has written to it."""
        self.tables[name].reload(self._working.location(name))

    def publish(self, changes: Mapping[str, Change], as_of: datetime | None, note: str) -> str:
        """Make all that was staged, and all that Spark has written and was reloaded, visible at once.

        Returns the new commit of main. Raises NewerDriver when another driver has taken over.
        """
        moved = self._moved()
        try:
            assert self._branch_head is not None
            self._branch_head = self.nessie.commit(self.branch, self._branch_head, moved, note)
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
        self._at = self._at | moved
        if "" in {at.id for at in moved.values()}:
            self._at = self.nessie.tables(head)
        for table in self.tables.values():
            table.published()
        return head

    def discard(self, files: Sequence[LiveFile]) -> None:
        """Left to the sweep, which lists folders."""

    def tidy(self, now: datetime, retention: RetentionSettings) -> Swept:
        """What the last sweep in the background has done; the next one begins."""
        if self._sweep is None:
            self._sweep = BackgroundSweep(NessieSweep(self.nessie, self.objects, retention))
        return self._sweep.next(micros(now), self.head)

    def _moved(self) -> dict[str, TableAt]:
        """Tables that stand elsewhere than main knows."""
        at = {name: table.at(self._at[name].id if name in self._at else "") for name, table in self.tables.items()}
        return {
            name: stands
            for name, stands in at.items()
            if name not in self._at or stands.metadata_location != self._at[name].metadata_location
        }

    @property
    def is_new(self) -> bool:
        """Whether something of the start waits to be published: new tables, new columns."""
        return not self.sequence and bool(self._moved())
