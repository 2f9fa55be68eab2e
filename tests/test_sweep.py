"""Which past commits stay, and which files they need."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from embedded.catalog import Catalog
from pipeline.storage.files import path_of
from pipeline.storage.sweep import Publish, Reach, kept, local_files, unreached
from tests.test_catalog import publish

MINUTE = 60_000_000
NOON = 1_772_452_800_000_000  # 2026-03-02 12:00 UTC
FIVE, SIX = timedelta(minutes=5), timedelta(hours=6)


def ids(publishes: list[Publish], now: int, every: timedelta = FIVE, first: timedelta = SIX) -> list[int]:
    return [publish.id for publish in kept(publishes, now, every, first)]


def test_every_publish_of_the_last_minutes_stays_and_before_it_the_first_of_each_minute() -> None:
    publishes = [Publish(n, NOON + n * MINUTE // 4) for n in range(40)]  # four a minute, for ten minutes
    assert ids(publishes, NOON + 10 * MINUTE) == [0, 4, 8, 12, 16, *range(20, 40)]


def test_after_hours_only_the_newest_stays_and_what_is_held() -> None:
    publishes = [Publish(n, NOON + n * MINUTE, held=n == 2) for n in range(5)]
    assert ids(publishes, NOON + 7 * 60 * MINUTE) == [2, 4]


def test_a_held_publish_takes_nobodys_place() -> None:
    publishes = [Publish(0, NOON), Publish(1, NOON + 1, held=True), Publish(2, NOON + 2), Publish(3, NOON + MINUTE)]
    assert ids(publishes, NOON + 10 * MINUTE) == [0, 1, 3]


def test_a_publish_that_went_never_comes_back_and_what_stays_stays_the_same_however_often_one_looks() -> None:
    chance = random.Random(7)
    at, publishes = NOON, []
    for n in range(3000):
        at += chance.choice([300_000, 1_000_000, 15_000_000])
        publishes.append(Publish(n, at))
    every, first = timedelta(minutes=5), timedelta(minutes=40)
    left: list[Publish] = []
    for n, one in enumerate(publishes):
        left.append(one)
        if n % 50 == 0:
            left = kept(left, one.at, every, first)
            assert left == kept(publishes[: n + 1], one.at, every, first)


def test_nothing_is_left_of_nothing() -> None:
    assert kept([], NOON, FIVE, SIX) == []


def test_a_commit_reaches_its_metadata_manifests_and_data_and_a_file_is_read_once(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for value in range(5):
        publish(catalog, float(value))
    reads: list[str] = []

    def read(uri: str) -> bytes:
        reads.append(uri)
        return path_of(uri).read_bytes()

    reach = Reach(read)
    writer = catalog.tables["pipeline_metrics"]
    reached = reach.of([writer.location])
    snapshot = writer.metadata.current_snapshot()
    assert snapshot is not None
    manifests = {manifest.uri for manifest in writer.manifests}
    assert reached == {writer.location, snapshot.manifest_list, *manifests, *writer.live}
    assert len(writer.live) == 5
    assert len(reads) == len(set(reads))
    seen = len(reads)
    publish(catalog, 5.0)
    more = reach.of([writer.location]) - reached
    assert len(more) == 4  # metadata, manifest list, manifest, data
    assert len(reads) == seen + 3


def test_earlier_snapshots_that_metadata_lists_are_reached_where_asked_for(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for value in range(6):
        publish(catalog, float(value))
    writer = catalog.tables["errors_per_minute"]
    reach = Reach(lambda uri: path_of(uri).read_bytes())
    lists = {snapshot.manifest_list for snapshot in writer.metadata.snapshots}
    assert len(lists & reach.of([writer.location])) == 1
    assert lists <= reach.of([writer.location], since=2 * NOON)
    assert len(lists & reach.of([writer.location], since=0)) == 1
    path_of(writer.metadata.snapshots[0].manifest_list).unlink()
    later = Reach(lambda uri: path_of(uri).read_bytes())
    assert len(lists & later.of([writer.location], since=2 * NOON)) == len(lists) - 1


def test_what_is_forgotten_is_read_again_and_what_is_gone_is_an_error(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    publish(catalog, 1.0)
    old = catalog.tables["pipeline_metrics"].location
    publish(catalog, 2.0)
    new = catalog.tables["pipeline_metrics"].location
    reach = Reach(lambda uri: path_of(uri).read_bytes())
    reach.of([old])
    reach.forget_all_but(reach.of([new]))
    path_of(old).unlink()
    with pytest.raises(FileNotFoundError):
        reach.of([old])
    assert new in reach.of([new])


def test_a_file_goes_when_nothing_reaches_it_and_it_is_old_enough(tmp_path: Path) -> None:
    for name in ("used", "young", "left"):
        (tmp_path / name).write_text(name)
    files = sorted(local_files(tmp_path), key=lambda file: file.uri)
    newest = max(file.modified for file in files)
    used = f"file://{tmp_path}/used"
    assert [file.uri.rpartition("/")[2] for file in unreached(files, {used}, newest + 1)] == ["left", "young"]
    assert unreached(files, {used}, min(file.modified for file in files)) == []
