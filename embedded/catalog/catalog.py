"""All tables of a data directory: files first, then one SQLite transaction for all tables of a publish."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from embedded.catalog.disk import sync_files
from embedded.catalog.publications import Publications, now_us
from embedded.catalog.table import Staged, TableWriter
from lakehouse.tables import SCHEMA, TABLES
from lakehouse.user_error import UserError
from pipeline.iceberg.metadata_file import metadata_file, read_metadata
from pipeline.iceberg.schema import UnfitTable, evolved, first_metadata
from pipeline.iceberg.table import PREVIOUS_METADATA
from pipeline.storage.data_files import read_parquet
from pipeline.storage.files import LiveFile, path_of, row_schema, uri_of
from pipeline.storage.reading import ReadOnlyIO
from pipeline.storage.sweep import Reach, local_files, unreached

logger = logging.getLogger("tillwatch.ingest")

PROPERTIES = {"write.metadata.previous-versions-max": str(PREVIOUS_METADATA)}
_US = timedelta(microseconds=1)


class Catalog:
    """All tables of a data directory, opened for writing: make the missing ones, stage, publish, thin, sweep.

    A table that lacks columns of the contract gets them. Raises UserError where a column is of another type. A table
    that nothing declares any more (a shop took its file away) stays as it is, and readers still see it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.path = self.data_dir / "catalog.db"
        self.warehouse = self.data_dir / "warehouse"
        self.warehouse.mkdir(parents=True, exist_ok=True)
        self._io = ReadOnlyIO(_read)
        self._publications = Publications(self.path)
        self._refuse_when_moved()
        self._create_missing()
        self.tables: dict[str, TableWriter] = {}
        # Numbers of thinned publications never come back: the newest is always kept.
        self.sequence, published = self._publications.newest()
        pointers = self._publications.pointers()
        self._undeclared = {name: location for name, location in pointers.items() if name not in TABLES}
        altered = []
        for name in self._undeclared:
            logger.warning("%s.%s stays as it is: no file declares it any more", SCHEMA, name)
        for name in TABLES:  # raw tables first: what is wrong in one makes its KPI's wrong too
            location = pointers[name]
            try:
                metadata = read_metadata(self._io, location)
                more = evolved(TABLES[name], metadata, PROPERTIES)
            except UnfitTable as unfit:
                raise UserError(
                    f"Table {SCHEMA}.{name} of {self.data_dir} {unfit}; the data directory is of another version: move "
                    "it away or set TILLWATCH_DATA_DIR."
                ) from None
            writer = self.tables[name] = TableWriter(TABLES[name], metadata, location, self._io)
            if more is not None:
                altered.append(writer.alter(more, self.sequence + 1))
        if altered or published != pointers:
            self.publish(altered, as_of=None)

    def close(self) -> None:
        self._publications.close()

    def _refuse_when_moved(self) -> None:
        """Tables name their files by absolute path: all that lies elsewhere would pass for what nothing refers to."""
        for location in self._publications.pointers().values():
            if not path_of(location).is_relative_to(self.warehouse):
                made_in = location.removeprefix("file://").partition("/warehouse/")[0]
                raise UserError(
                    f"The tables of {self.data_dir} were made in {made_in} and name their files there: move the "
                    "directory back (a link in its old place does not do), or set TILLWATCH_DATA_DIR to another one."
                )

    def _create_missing(self) -> None:
        known = self._publications.pointers()
        made: dict[str, str] = {}
        for name, table in TABLES.items():
            if name not in known:
                metadata = first_metadata(table, f"{uri_of(self.warehouse)}/{SCHEMA}/{name}", PROPERTIES)
                made[name], content = metadata_file(metadata, 0)
                path = path_of(made[name])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        if made:
            sync_files(map(path_of, made.values()))
            self._publications.create(made)

    def publish(self, staged: Sequence[Staged], as_of: int | None) -> str:
        """Make all staged tables visible at once. Returns the commit id (64 hex digits).

        Every file is synced first, so that after a power cut the tables are those of a publish. Raises RuntimeError
        when another process moved a pointer meanwhile, OSError when the disk refuses; then nothing is visible.
        """
        sync_files([path for table in staged for path in table.written])
        sequence = self.sequence + 1
        commit_id = self._publications.add(
            sequence,
            as_of,
            before=self._undeclared | {name: writer.location for name, writer in self.tables.items()},
            moved={each.table.name: each.state.location for each in staged},
            retired=[file for table in staged for file in table.retired],
        )
        for table in staged:
            self.tables[table.table.name].publish(table, sequence)
        self.sequence = sequence
        return commit_id

    def read(self, name: str, files: Sequence[LiveFile], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the given live files, all columns or some, in the files' order."""
        schema = row_schema(TABLES[name])
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        parts = [read_parquet(path_of(file.uri), schema) for file in files]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def rows(self, name: str) -> pa.Table:
        """All rows of a small table."""
        return self.read(name, list(self.tables[name].live.values()))

    def thin(self, now: int, every: timedelta, first_of_minute: timedelta) -> int:
        """Drop past commits: kept are all of the last `every`, the first of each minute of the last `first_of_minute`,
        tagged ones and the head. Returns how many went."""
        return self._publications.thin(now, every, first_of_minute)

    def sweep(self, now: int, age_guard: timedelta) -> tuple[int, int]:
        """Delete files that no kept commit reaches and that were retired over `age_guard` ago. Returns count, bytes."""
        uris = self._publications.unreached(now - age_guard // _US)
        size = 0
        for uri in uris:
            path = path_of(uri)
            try:
                size += path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                pass  # deleted by a sweep that was killed before it could say so
        self._publications.forget(uris)
        return len(uris), size

    def sweep_orphans(self, age_guard: timedelta) -> int:
        """Delete files of the warehouse that nothing refers to: what a killed publish left. Returns how many.

        Files younger than `age_guard` stay: at a start there can be none in use, but a clock may have moved.
        """
        held = set(self._publications.held())
        for writer in self.tables.values():
            held.update(writer.reached())
        held |= Reach(_read).of(self._undeclared.values())
        going = unreached(local_files(self.warehouse), held, now_us() - age_guard // _US)
        for file in going:
            path_of(file.uri).unlink()
        return len(going)


def _read(location: str) -> bytes:
    return path_of(location).read_bytes()
