"""The files and manifests of a table's current snapshot, as its writer remembers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pyiceberg.manifest import DataFile

from pipeline.storage.files import LiveFile, path_of

SMALL = 16
"""Files of a recent manifest, at most."""


@dataclass(eq=False, kw_only=True)
class CatalogFile(LiveFile):
    """A live data file; `described` is what manifests say of it, as bytes; as read where other writers wrote it.

    `existing` is what stands before that in manifests of later snapshots, once it was needed; `manifest` is the one
    that the file stands in.
    """

    described: DataFile | bytes
    snapshot_id: int = 0
    sequence_number: int = 0
    existing: bytes = b""
    manifest: LiveManifest | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        return path_of(self.uri)


@dataclass(eq=False)
class LiveManifest:
    """A manifest of the current snapshot, and the live files it names, in the order of their hours.

    `low` and `high` are the first and the last of these hours, `listed` is its entry in manifest lists.
    """

    uri: str
    files: list[CatalogFile]
    listed: bytes
    born: int = 0

    @property
    def low(self) -> int:
        return hour_of(self.files[0]) if self.files else 0

    @property
    def high(self) -> int:
        return hour_of(self.files[-1]) if self.files else 0


def hour_of(file: LiveFile) -> int:
    """The hour by which manifests are in order; 0 in a table without partition."""
    return file.hour or 0
