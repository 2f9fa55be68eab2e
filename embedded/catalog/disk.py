"""Files that are on the disk for good."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Kept: new threads for every publish would leave their memory behind.
_SYNCERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sync")


def sync_files(paths: Iterable[Path]) -> None:
    """fsync files, then the folders that name them. Side by side: the file system then commits many at once."""
    files = set(paths)
    folders = {path.parent for path in files}
    list(_SYNCERS.map(_sync, files))
    list(_SYNCERS.map(_sync, folders))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
