"""What a new commit brings is read from S3 when its head is first seen, before it is asked for.

A console looks at the head and then asks a dozen questions at that commit: read one after the other, each table costs
four requests that wait for each other, and the first question of every publish would pay for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from embedded.gateway.commits import Commit
from embedded.gateway.errors import Refusal
from embedded.gateway.files import Files
from embedded.gateway.manifests import Listed
from embedded.gateway.snapshots import Snapshots

logger = logging.getLogger(__name__)

_ASKED_WITHIN_S = 60.0
_MOST_ROWS = 50_000


class Ahead:
    """Reads ahead the tables that were asked for in the last minute: metadata, and small files that are new."""

    def __init__(self, snapshots: Snapshots, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        self._snapshots = snapshots
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._head = ""
        self._asked: dict[str, float] = {}
        self._known: dict[str, dict[str, Listed]] = {}
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="ahead")

    def asked(self, table: str) -> None:
        """A statement reads this table."""
        with self._lock:
            self._asked[table] = self._clock()

    def head(self, commit: Commit) -> None:
        """The head of main is this commit."""
        with self._lock:
            if commit.id == self._head:
                return
            self._head = commit.id
            since = self._clock() - _ASKED_WITHIN_S
            tables = [table for table, at in self._asked.items() if at > since and table in commit.tables]
        for table in tables:
            self._pool.submit(self._read, table, commit.tables[table])

    def _read(self, table: str, location: str) -> None:
        try:
            snapshot = self._snapshots.at(location)
            manifests = {manifest.path: manifest for manifest in snapshot.manifests or ()}
            before, self._known[table] = self._known.get(table), manifests
            if before is not None:
                # A manifest that was written anew names files that were there before, in one that is no more.
                gone = [manifest for path, manifest in before.items() if path not in manifests]
                came = [manifest for path, manifest in manifests.items() if path not in before]
                known = {file.path for file in self._snapshots.files_of(snapshot, gone, {}) or ()}
                found = self._snapshots.files_of(snapshot, came, {}) or ()
                with self._files.holding([f.path for f in found if f.path not in known and f.rows <= _MOST_ROWS]):
                    pass
        except (Refusal, OSError) as error:
            # Whoever asks for it hears it.
            logger.debug("not read ahead: %s", error)
        except Exception:
            logger.exception("reading %s ahead failed", location)
