"""Past commits: which are kept, which files these need, and the deletion of all others.

A past commit is read through the metadata files that it names, so live metadata may list few snapshots, and no
procedure of Iceberg's own may delete files: it knows today's metadata only. Here is the one rule by which commits are
thinned, and the one by which files go. The embedded catalog knows from its own publishes which file went out of use
when; nessie_sweep.py finds out from Nessie and S3, whoever wrote the files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from sys import intern
from typing import Any

from pyiceberg.manifest import ManifestFile, read_manifest_list

from pipeline.storage.files import Stored, uri_of
from pipeline.storage.reading import ReadOnlyIO

_MINUTE = 60_000_000
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Publish:
    """One commit readers can go back to. `at` in us since the epoch; `held`: by a tag, a backup, another branch."""

    id: Any
    at: int
    held: bool = False


def kept(publishes: Sequence[Publish], now: int, every: timedelta, first_of_minute: timedelta) -> list[Publish]:
    """Those of `publishes` (oldest first) that stay: held ones, the newest, all of the last `every`, and the first of
    each minute of the last `first_of_minute`."""
    young, old = now - every // _US, now - first_of_minute // _US
    stay = []
    minute = None
    for number, publish in enumerate(publishes):
        first = publish.at // _MINUTE != minute
        minute = publish.at // _MINUTE
        newest = number == len(publishes) - 1
        if publish.held or newest or publish.at >= young or (first and publish.at >= old):
            stay.append(publish)
    return stay


def unreached(files: Iterable[Stored], reached: Collection[str], before: int) -> list[Stored]:
    """Those of `files` that nothing in `reached` names and that were written before `before` (us since the epoch)."""
    return [file for file in files if file.modified < before and file.uri not in reached]


def local_files(folder: Path) -> Iterator[Stored]:
    """All files below a folder of this machine."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            found = path.stat()
            yield Stored(uri_of(path), found.st_size, found.st_mtime_ns // 1000)


# ---- what a table's metadata reaches


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a metadata file says: where its table lies, the manifest list of the current snapshot (None: empty), and
    those of the other snapshots it lists, with their times (us since the epoch)."""

    location: str
    current: str | None
    others: tuple[tuple[str, int], ...]


class Reach:
    """Which files a table's metadata needs. Files never change, so each is read once; `read` gives a file's bytes.

    Methods raise FileNotFoundError where a file that they must read is gone.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._io = ReadOnlyIO(read)
        self._metadata: dict[str, Metadata] = {}
        self._lists: dict[str, tuple[ManifestFile, ...]] = {}
        self._manifests: dict[str, tuple[str, ...]] = {}

    def metadata(self, location: str) -> Metadata:
        """What the metadata file at `location` says."""
        known = self._metadata.get(location)
        if known is None:
            content = json.loads(self._read(location))
            current = content.get("current-snapshot-id")
            lists = {
                s["snapshot-id"]: (intern(s["manifest-list"]), s["timestamp-ms"] * 1000)
                for s in content.get("snapshots", ())
            }
            newest = lists.pop(current, (None, 0))[0]
            known = self._metadata[location] = Metadata(content["location"], newest, tuple(lists.values()))
        return known

    def of(self, locations: Iterable[str], since: int | None = None) -> set[str]:
        """The files that the current snapshots of these metadata files need, metadata included.

        With `since` (us since the epoch) also those of the other listed snapshots that were made before; what of
        these is gone already is passed over.
        """
        reached = set(locations)
        lists = set()
        for location in list(reached):
            metadata = self.metadata(location)
            if metadata.current is not None:
                lists.add(metadata.current)
            if since is not None:
                lists.update(other for other, at in metadata.others if at < since and self._readable(other))
        manifests = {m.manifest_path: m for manifest_list in lists for m in self._manifests_of(manifest_list)}
        reached |= lists
        reached |= manifests.keys()
        for manifest in manifests.values():
            reached.update(self._files_of(manifest))
        return reached

    def forget_all_but(self, reached: Collection[str]) -> None:
        """Drop from memory what is not needed any more."""
        for known in (self._metadata, self._lists, self._manifests):
            for uri in known.keys() - reached:
                del known[uri]

    def _readable(self, manifest_list: str) -> bool:
        try:
            for manifest in self._manifests_of(manifest_list):
                self._files_of(manifest)
        except FileNotFoundError:
            return False
        return True

    def _manifests_of(self, manifest_list: str) -> tuple[ManifestFile, ...]:
        known = self._lists.get(manifest_list)
        if known is None:
            known = tuple(read_manifest_list(self._io.new_input(manifest_list)))
            self._lists[manifest_list] = known
        return known

    def _files_of(self, manifest: ManifestFile) -> tuple[str, ...]:
        known = self._manifests.get(manifest.manifest_path)
        if known is None:
            entries = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
            known = tuple(intern(entry.data_file.file_path) for entry in entries)
            self._manifests[intern(manifest.manifest_path)] = known
        return known
