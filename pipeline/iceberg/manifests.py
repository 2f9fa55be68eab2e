"""Which manifests a publish writes, so that it costs what it changes, however many files are live.

Manifests are in the order of their files' hours. A publish writes those anew whose files it replaces, in their place,
and puts other new files into one of their own. Small ones come of that; when there are many, neighbours among them
become one, and with it larger neighbours that are not too large, up to CLOSED files. A larger one whose file is
replaced (a late event) is written anew as a whole; and when that comes again soon, it is cut, so that the next late
event of those hours finds a small one. What has come to rest is put together again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.iceberg.live import SMALL, CatalogFile, LiveManifest, hour_of

CLOSED = 700
"""Files of any manifest, at most."""
MOST_SMALL = 8
NEWEST_SMALL = 3
"""So many of the small ones, the newest by their hours, are left alone: their files are replaced soon again."""
MOST_CUTS = 5
GROWTH = 4
"""A neighbour is taken along that has at most so many times the files of those that become one."""
AGAIN = 16
"""A larger manifest is cut where a file of it is replaced that was written so few publishes before."""
RESTED = 100
"""Publishes without a change after which neighbours become one, whatever their sizes."""


@dataclass
class Arrangement:
    """`kept` manifests stay as they are; `written` are the files of new ones; `left` manifests are part of no more."""

    kept: list[LiveManifest]
    written: list[list[CatalogFile]] = field(default_factory=list)
    left: list[LiveManifest] = field(default_factory=list)


def arrange(
    manifests: Sequence[LiveManifest],
    added: Iterable[CatalogFile],
    removed: Iterable[CatalogFile],
    sequence: int,
) -> Arrangement:
    """The manifests of the snapshot that publish number `sequence` makes."""
    gone = {file.uri for file in removed}
    touched = {id(file.manifest) for file in removed}
    result = Arrangement(
        kept=[manifest for manifest in manifests if manifest.files and id(manifest) not in touched],
        left=[manifest for manifest in manifests if not manifest.files or id(manifest) in touched],
    )
    changed = {hour_of(file) for file in removed}
    pools: dict[tuple[int, int], list[CatalogFile]] = {}
    written: dict[tuple[int, int], int] = {}
    for manifest in result.left:
        if manifest.files:
            span = manifest.low, manifest.high
            pools.setdefault(span, []).extend(file for file in manifest.files if file.uri not in gone)
            written[span] = max(written.get(span, 0), manifest.born)
    rest: list[CatalogFile] = []
    ranges = sorted(pools, key=lambda span: span[1] - span[0])
    for file in added:
        hour = hour_of(file)
        home = next((span for span in ranges if span[0] <= hour <= span[1]), None)
        (rest if home is None else pools[home]).append(file)
        changed.add(hour)
    for span, pool in pools.items():
        pool.sort(key=hour_of)
        result.written += _cut(pool, changed) if sequence - written[span] <= AGAIN else _closed(pool)
    result.written += _closed(sorted(rest, key=hour_of))
    for group in _to_merge(result.kept, sequence):
        result.written += _closed(sorted((file for manifest in group for file in manifest.files), key=hour_of))
        result.left += group
        result.kept = [manifest for manifest in result.kept if manifest not in group]
    return result


def _cut(files: list[CatalogFile], changed: set[int]) -> list[list[CatalogFile]]:
    """Files in the order of their hours, as manifests: those about the hours that changed apart from the rest."""
    if len(files) <= SMALL:
        return [files] if files else []
    pieces: list[list[CatalogFile]] = []
    after_change = True
    for start in range(0, len(files), SMALL):
        chunk = files[start : start + SMALL]
        change = any(hour_of(file) in changed for file in chunk)
        if change or after_change or len(pieces[-1]) + len(chunk) > CLOSED:
            pieces.append(chunk)
        else:
            pieces[-1] += chunk
        after_change = change
    if len(pieces) > MOST_CUTS + 2 * (len(files) // CLOSED):
        return _closed(files)
    return pieces


def _closed(files: list[CatalogFile]) -> list[list[CatalogFile]]:
    """Files in as few manifests as may be."""
    return [files[start : start + CLOSED] for start in range(0, len(files), CLOSED)]


def _to_merge(kept: Sequence[LiveManifest], sequence: int) -> list[list[LiveManifest]]:
    """Groups of neighbours that become one manifest each."""
    row = sorted(kept, key=lambda manifest: (manifest.low, manifest.high))
    small = [place for place, manifest in enumerate(row) if len(manifest.files) <= SMALL]
    newest = set(small[-NEWEST_SMALL:])
    groups: list[list[LiveManifest]] = []
    end = -1  # of the last group
    for first in small[:-NEWEST_SMALL] if len(small) > MOST_SMALL else ():
        if first <= end:
            continue
        last = first
        while last + 1 in small and last + 1 not in newest:
            last += 1
        if last > first:
            first, last = _widened(row, first, last, end, newest)
            groups.append(row[first : last + 1])
            end = last
    if groups:
        return groups
    rest = [
        (len(row[place].files) + len(row[place + 1].files), place)
        for place in range(len(row) - 1)
        if not {place, place + 1} & newest and sequence - max(row[place].born, row[place + 1].born) >= RESTED
    ]
    count, place = min(rest, default=(CLOSED + 1, 0))
    return [row[place : place + 2]] if count <= CLOSED else []


def _widened(row: Sequence[LiveManifest], first: int, last: int, end: int, newest: set[int]) -> tuple[int, int]:
    """The places `first` to `last` and the neighbours that are taken along."""
    count = sum(len(manifest.files) for manifest in row[first : last + 1])
    while True:
        sides = [
            (len(row[place].files), place)
            for place in (first - 1, last + 1)
            if end < place < len(row) and place not in newest
        ]
        size, place = min(sides, default=(CLOSED, -1))
        if size > GROWTH * count or count + size > CLOSED:
            return first, last
        first, last, count = min(first, place), max(last, place), count + size
