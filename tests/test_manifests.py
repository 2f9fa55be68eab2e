"""What a publish writes and a reader reads hangs on what changes, not on how many hours are stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import StaticTable
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType

from embedded.catalog import Catalog, TableWriter, now_us
from embedded.gateway.files import LocalFiles
from embedded.gateway.snapshots import Snapshots
from lakehouse.tables import TABLES, arrow_schema
from pipeline.iceberg.live import SMALL, CatalogFile, LiveManifest
from pipeline.iceberg.manifests import CLOSED, MOST_SMALL, RESTED, arrange
from pipeline.storage.data_files import known
from pipeline.storage.files import path_of
from pipeline.storage.reading import ReadOnlyIO
from pipeline.storage.sweep import Reach

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 300
NAME = "errors_per_minute"
AGES = ("min_snapshots_to_keep", "max_snapshot_age_ms", "max_ref_age_ms")


def errors(at: datetime, count: int = 1) -> pa.Table:
    row = {
        "window_start": at,
        "window_end": at + timedelta(minutes=1),
        "service_name": "payments",
        "severity": "ERROR",
        "error_count": count,
        "updated_at": at,
    }
    return pa.Table.from_pylist([row], schema=arrow_schema(TABLES[NAME]))


@dataclass
class Book:
    """A catalog and what was written by each publish: manifests, and bytes of all that is no data."""

    catalog: Catalog
    manifests: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    counts: dict[datetime, int] = field(default_factory=dict)

    @property
    def writer(self) -> TableWriter:
        return self.catalog.tables[NAME]

    def replace(self, *hours: datetime) -> None:
        """A publish that brings new rows of these hours in place of those they had."""
        for at in hours:
            self.counts[at] = self.counts.get(at, 0) + 1
        added = self.writer.write(pa.concat_tables([errors(at, self.counts[at]) for at in hours]))
        removed = [file for new in added for file in self.writer.hours.get(new.hour, {}).values()]
        staged = self.writer.stage(added, removed, self.catalog.sequence + 1)
        self.manifests.append(len(staged.state.new_manifests))
        self.bytes.append(sum(path.stat().st_size for path in staged.written if path.suffix != ".parquet"))
        self.catalog.publish([staged], None)

    def stored(self) -> dict[datetime, int]:
        """What plain pyiceberg reads."""
        rows = StaticTable.from_metadata(self.writer.location).scan().to_arrow()
        return dict(zip(rows["window_start"].to_pylist(), rows["error_count"].to_pylist(), strict=True))


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A catalog with HOURS hours up to noon, each a file, that was opened anew."""
    before = Book(Catalog(tmp_path / "full"))
    before.replace(*(NOON - number * HOUR for number in range(HOURS)))
    before.catalog.close()
    return Book(Catalog(tmp_path / "full"), counts=before.counts)


def test_a_publish_writes_one_small_manifest_however_many_hours_are_stored(book: Book, tmp_path: Path) -> None:
    fresh = Book(Catalog(tmp_path / "fresh"))
    for each in (fresh, book):
        for number in range(40):
            each.replace(NOON + number // 10 * HOUR)
    late = slice(20, None)
    assert max(book.manifests[late]) <= 2
    assert sum(book.manifests[late]) <= sum(fresh.manifests[late]) + 2
    assert sum(book.bytes[late]) <= 1.25 * sum(fresh.bytes[late])
    assert book.stored() == book.counts
    # It stands in the list next to a few others.
    assert len(book.writer.manifests) <= MOST_SMALL + 4


def test_late_events_of_the_same_hours_soon_find_a_small_manifest(book: Book) -> None:
    for _ in range(4):
        book.replace(NOON - 100 * HOUR)
    hit = next(file.manifest for file in book.writer.hours[int((NOON - 100 * HOUR).timestamp()) // 3600].values())
    assert hit is not None
    assert len(hit.files) <= SMALL
    assert book.bytes[3] < book.bytes[0]
    assert book.stored() == book.counts


def test_hours_that_nobody_writes_to_end_in_manifests_that_stay(tmp_path: Path) -> None:
    book = Book(Catalog(tmp_path))
    for number in range(120):
        book.replace(NOON + number * HOUR)
    closed = {manifest.uri for manifest in book.writer.manifests if len(manifest.files) > SMALL}
    assert closed
    for _ in range(10):
        book.replace(NOON + 119 * HOUR)
    assert closed <= {manifest.uri for manifest in book.writer.manifests}
    assert len(book.writer.manifests) <= MOST_SMALL + 5


def test_whatever_is_written_the_tables_hold_it_and_a_sweep_leaves_what_is_reached(tmp_path: Path) -> None:
    book = Book(Catalog(tmp_path))
    snapshots = Snapshots()
    pick = random.Random(3)
    for number in range(80):
        now = NOON + number // 4 * HOUR
        hours = {now, *(now - pick.randrange(1, 40) * HOUR for _ in range(pick.choice((0, 0, 1, 3))))}
        book.replace(*hours)
        asked = int((now - 2 * HOUR).timestamp()) * 1_000_000
        snapshot = snapshots.at(book.writer.location)
        for bounds, first in (({}, 0), ({"window_start": (asked, None)}, asked // 3_600_000_000)):
            read = snapshots.files_in(snapshot, bounds)
            assert read is not None
            live = {
                str(file.path) for file in book.writer.live.values() if file.hour is not None and file.hour >= first
            }
            assert {file.path for file in read} == live
        if number % 20 == 19:
            assert book.stored() == book.counts
            book.catalog.close()
            book.catalog = Catalog(tmp_path)
    book.catalog.thin(now_us() + 1, timedelta(0), timedelta(0))
    book.catalog.sweep(now_us() + 1, timedelta(0))
    assert book.catalog.sweep_orphans(timedelta(0)) == 0
    reach = Reach(lambda uri: path_of(uri).read_bytes())
    reached = {path_of(uri) for uri in reach.of([book.writer.location], since=0)}
    folder = path_of(book.writer.metadata.location)
    there = {path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".json")}
    kept = {path_of(uri) for uri in book.writer.reached()}
    assert {path for path in reached if path.suffix != ".json"} <= there <= kept
    assert book.stored() == book.counts


def files(hours: Sequence[int]) -> list[CatalogFile]:
    return [
        CatalogFile(described=b"", **known(TABLES[NAME], f"{n}", hour, rows=1, size=1, spans={}))
        for n, hour in enumerate(hours)
    ]


class TestArrange:
    """A plan alone, without a catalog."""

    def live(self, *manifests: Sequence[int], born: int = 0) -> list[LiveManifest]:
        found = [LiveManifest(str(number), files(hours), b"", born) for number, hours in enumerate(manifests)]
        for manifest in found:
            for file in manifest.files:
                file.manifest = manifest
        return found

    def test_no_manifest_holds_more_than_may_be(self) -> None:
        plan = arrange([], files(range(2 * CLOSED + 500)), [], 1)
        assert [len(piece) for piece in plan.written] == [CLOSED, CLOSED, 500]

    def test_a_manifest_of_too_many_files_is_divided_when_it_is_touched(self) -> None:
        live = self.live(range(9_600))
        gone = live[0].files[-1]
        plan = arrange(live, files([9_599]), [gone], 10_000)
        assert max(len(piece) for piece in plan.written) <= CLOSED
        assert sum(len(piece) for piece in plan.written) == 9_600

    def test_a_late_event_alone_does_not_cut_a_manifest(self) -> None:
        live = self.live(range(500))
        plan = arrange(live, files([250]), [live[0].files[250]], 1_000)
        assert [len(piece) for piece in plan.written] == [500]

    def test_neighbours_at_rest_become_one(self) -> None:
        live = self.live(range(400), range(400, 410), range(410, 800), [900], [901], [902])
        assert arrange(live, [], [], RESTED - 1).written == []
        plan = arrange(live, [], [], RESTED)
        assert [len(piece) for piece in plan.written] == [400]
        assert [file.hour for file in plan.written[0]] == list(range(400, 800))


class Counting(LocalFiles):
    """Files of this machine, and which were read."""

    def __init__(self) -> None:
        self.read_ones: list[str] = []

    def read(self, locations: Sequence[str]) -> list[bytes]:
        self.read_ones += locations
        return super().read(locations)


def test_a_reader_reads_of_a_new_commit_what_lies_in_the_time_asked_for(book: Book) -> None:
    source = Counting()
    snapshots = Snapshots(source)
    since = int((NOON + 5 * HOUR).timestamp()) * 1_000_000
    book.replace(NOON + 6 * HOUR)
    for _ in range(3):
        book.replace(NOON + 6 * HOUR)
        source.read_ones.clear()
        snapshot = snapshots.at(book.writer.location)
        found = snapshots.files_in(snapshot, {"window_start": (since, None)})
        assert found is not None
        assert len(found) == 1
        assert len(source.read_ones) == 3  # metadata, manifest list, the manifest of the current hour
    everything = snapshots.files_in(snapshot, {})
    assert everything is not None
    assert {file.path for file in everything} == {str(path_of(uri)) for uri in book.writer.live}


def test_files_seen_before_others_wrote_their_manifest_anew_go_all_the_same(book: Book) -> None:
    """As a merge that was under way while Spark wrote: it names files by what they were when it began."""
    writer = book.writer
    seen = list(writer.hours[max(hour for hour in writer.hours if hour is not None)].values())
    snapshot = writer.metadata.current_snapshot()
    assert snapshot is not None
    io = ReadOnlyIO(lambda uri: path_of(uri).read_bytes())
    writer.take_manifests([writer.manifest(each, writer.format.read(each, io)) for each in snapshot.manifests(io)])
    staged = writer.stage(writer.write(errors(NOON, 7)), seen, book.catalog.sequence + 1)
    book.catalog.publish([staged], None)
    stored = book.stored()
    assert (len(stored), stored[NOON]) == (HOURS, 7)
    assert len(writer.live) == HOURS
    assert StaticTable.from_metadata(writer.location).scan().to_arrow().num_rows == HOURS


def test_what_somebody_has_tagged_stays(book: Book) -> None:
    writer = book.writer
    tagged = writer.metadata.current_snapshot_id
    assert tagged is not None
    tag = SnapshotRef(snapshot_id=tagged, snapshot_ref_type=SnapshotRefType.TAG, **dict.fromkeys(AGES))
    writer.metadata = writer.metadata.model_copy(update={"refs": {**writer.metadata.refs, "kept": tag}})
    for _ in range(6):
        book.replace(NOON)
    table = StaticTable.from_metadata(writer.location)
    assert table.metadata.refs["kept"].snapshot_id == tagged
    before = table.scan(snapshot_id=tagged).to_arrow()
    assert dict(zip(before["window_start"].to_pylist(), before["error_count"].to_pylist(), strict=True))[NOON] == 1
    assert len(table.metadata.snapshots) <= 4
