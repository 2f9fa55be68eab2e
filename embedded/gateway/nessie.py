"""The history of main in Nessie: each publish is one commit, and the tables' metadata lies in S3.

A commit is kept as long as its own metadata file of ingest_positions is there: every publish writes one, and thinning
deletes it first. Nessie itself knows all commits for ever.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from embedded.gateway.commits import Commit, LoggedCommit, key_of
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.files import Once
from embedded.gateway.s3 import plain_reason, unavailable
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.tables import CATALOG
from pipeline.storage.nessie import MAIN, HistoryCommit, Nessie, NessieDown, NessieError, NessieGone

logger = logging.getLogger(__name__)

POSITIONS = "ingest_positions"
# Thinning may take a commit that was found good so long ago; its files outlive it by retention.sweep_age (2 min).
_GOOD_FOR_S = 10.0
_COMMITS_IN_MEMORY = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = re.compile(r"/(\d+)-[^/]*$")


class ReadsObjects(Protocol):
    """What is asked of S3."""

    def get(self, location: str) -> bytes: ...

    def exists(self, location: str) -> bool: ...

    def folder(self, location: str) -> list[str]: ...


class NessieCommits:
    """Commits of a Nessie server whose tables lie in S3."""

    look_every_s = 0.1

    def __init__(self, nessie: Nessie, s3: ReadsObjects, clock: Callable[[], float] = time.monotonic) -> None:
        self._nessie = nessie
        self._s3 = s3
        self._clock = clock
        self._lock = threading.Lock()
        self._commits = Once[str, Commit](_COMMITS_IN_MEMORY)
        self._good_until: dict[str, float] = {}
        self._branches: list[tuple[str, str]] = []

    def head(self) -> Commit | None:
        # All references cost as little as one, and SHOW BRANCHES wants them next.
        with _answering():
            references = self._nessie.references()
            self._branches = [(item.name, item.hash) for item in references if item.type == "BRANCH"]
            head = dict(self._branches).get(MAIN)
            if head is None:
                return None
            commit = self._commit(head, at_head=True)
        # Nessie and its branch may be older than the first publish.
        return commit if commit.published else None

    def by_id(self, commit_id: str) -> Commit | None:
        if not re.fullmatch(r"[0-9a-f]{64}", commit_id) or commit_id == NOTHING_PUBLISHED:
            return None
        with self._lock:
            good = self._good_until.get(commit_id, 0) > self._clock()
        if good:
            return self._commit(commit_id)
        # Asked again: a Nessie that was set up anew, or from a backup, may not know it any more.
        self._commits.forget(commit_id)
        with _answering():
            try:
                commit = self._commit(commit_id)
            except NessieGone:
                return None
            positions = commit.tables.get(POSITIONS)
            if positions is not None and not self._s3.exists(positions):
                return None
        self._found_good(commit_id)
        return commit

    def by_tag(self, tag: str) -> Commit | None:
        return self._named("TAG", tag)

    def by_branch(self, branch: str) -> Commit | None:
        return self._named("BRANCH", branch)

    def tags(self) -> list[tuple[str, str]]:
        return self._references("TAG")

    def branches(self) -> list[tuple[str, str]]:
        """As they were when the head was asked for."""
        return [(name, commit) for name, commit in self._branches if name != MAIN]

    def at(self, time_us: int, reference: str = MAIN) -> Commit | None:
        """The commit in force at that time, or where that one is not kept, the newest kept one before it."""
        moment = _EPOCH + timedelta(microseconds=time_us)
        # Nessie's own way to say it; a filter in CEL costs its first asker seconds. Nessie counts nanoseconds.
        then = f"{reference}*{moment:%Y-%m-%dT%H:%M:%S.%f}999Z"
        with _answering():
            try:
                in_force = next(self._nessie.history(then, limit=1), None)
            except NessieGone:
                return None
            if in_force is None:
                return None
            found = self.by_id(in_force.hash)
            if found is None:
                found = self._kept_before(_CommitsBack(self._nessie.history("", commit=in_force.hash)))
        return found if found and found.published else None

    def changes(self, commit_id: str) -> Iterator[LoggedCommit]:
        with _answering(), suppress(NessieGone):
            for logged in self._nessie.history("", commit=commit_id):
                us = None if logged.authored_at is None else round(logged.authored_at.timestamp() * 1e6)
                yield LoggedCommit(logged.hash, logged.author, us, logged.message)

    def metadata_locations(self, table: str) -> Iterable[str]:
        """Those in the log of the head's metadata, in that of the oldest of them, and so on; then what tags hold."""
        head = self.head()
        location = head.tables.get(table) if head else None
        with _answering():
            there = set(self._s3.folder(location.rpartition("/")[0])) if location else set()
            while location is not None:
                log = json.loads(self._s3.get(location)).get("metadata-log") or ()
                earlier = [entry["metadata-file"] for entry in reversed(log) if entry["metadata-file"] in there]
                yield from earlier
                there.difference_update(earlier)
                location = earlier[-1] if earlier else None
        for _, commit_id in self.tags():
            commit = self.by_id(commit_id)
            if commit is not None and table in commit.tables:
                yield commit.tables[table]

    # ---- from Nessie ------------------------------------------------------------------------------------------------

    def _commit(self, commit_id: str, at_head: bool = False) -> Commit:
        def read() -> Commit:
            # Asked for by its hash alone, so that a commit of another branch is found too.
            found = self._nessie.contents(commit_id, "")
            tables = {
                key_of(path): str(content["metadataLocation"])
                for path, content in found.items()
                if content["type"] == "ICEBERG_TABLE"
            }
            return Commit(
                commit_id, tables, [path for path, content in found.items() if content["type"] == "NAMESPACE"]
            )

        with _answering():
            commit = self._commits.get(commit_id, read)
        if at_head:
            self._found_good(commit_id)
        return commit

    def _found_good(self, commit_id: str) -> None:
        now = self._clock()
        with self._lock:
            self._good_until[commit_id] = now + _GOOD_FOR_S
            if len(self._good_until) > 2 * _COMMITS_IN_MEMORY:
                self._good_until = {key: until for key, until in self._good_until.items() if until > now}

    def _references(self, kind: str) -> list[tuple[str, str]]:
        with _answering():
            return [(item.name, item.hash) for item in self._nessie.references() if item.type == kind]

    def _named(self, kind: str, name: str) -> Commit | None:
        commit_id = dict(self._references(kind)).get(name)
        return None if commit_id is None else self.by_id(commit_id)

    # ---- the newest kept commit before one that is not ---------------------------------------------------------------

    def _kept_before(self, past: _CommitsBack) -> Commit | None:
        """The first one in `past` that is kept.

        Every publish gives ingest_positions' metadata the next version, and S3 lists the files that are kept: so the
        place of a kept commit is known nearly, however many lie between.
        """
        place = 0
        positions = self._positions(past, place)
        there: dict[int, set[str]] = {}
        for location in self._s3.folder(positions.rpartition("/")[0]):
            if location.endswith(".metadata.json"):
                there.setdefault(_version(location), set()).add(location)
        for wanted in sorted((version for version in there if version < _version(positions)), reverse=True):
            place = self._place(past, place, wanted)
            logged = past[place]
            # Else the file belongs to a publish that never was.
            if logged is not None and self._positions(past, place) in there[wanted]:
                self._found_good(logged.hash)
                return self._commit(logged.hash)
        return None

    def _place(self, past: _CommitsBack, low: int, wanted: int) -> int:
        """A place after `low` with the version `wanted`, or the first one below it."""

        def version(place: int) -> int:
            return _version(self._positions(past, place))

        high = low
        while (found := version(high)) > wanted:
            low, high = high, high + found - wanted
        while high - low > 1 and found != wanted:
            middle = (low + high) // 2
            found = version(middle)
            low, high = (middle, high) if found > wanted else (low, middle)
        return high

    def _positions(self, past: _CommitsBack, place: int) -> str:
        """Where the metadata of ingest_positions lies at a place in the past; "" where there is none."""
        logged = past[place]
        return "" if logged is None else self._commit(logged.hash).tables.get(POSITIONS, "")


class _CommitsBack:
    """Commits from a moment back, read from Nessie as far as they are looked at."""

    def __init__(self, history: Iterator[HistoryCommit]) -> None:
        self._history = history
        self._read: list[HistoryCommit] = []

    def __getitem__(self, place: int) -> HistoryCommit | None:
        self._read += islice(self._history, max(0, place + 1 - len(self._read)))
        return self._read[place] if place < len(self._read) else None


def _version(location: str) -> int:
    """The number that Iceberg puts before a metadata file's name; -1 for other names."""
    match = _VERSION.search(location)
    return int(match[1]) if match else -1


@contextmanager
def _answering() -> Iterator[None]:
    """Tell Nessie's errors, and S3's, as Dremio tells those of a source."""
    try:
        yield
    except NessieGone:
        raise
    except NessieDown as error:
        reason = str(error)
        if "cannot be reached" in reason:
            reason = f"{reason.partition(' cannot be reached')[0]} does not answer: {plain_reason(error)}"
        raise unavailable(reason) from None
    except (NessieError, OSError) as error:
        logger.warning("source %s cannot be read: %s: %s", CATALOG, type(error).__name__, error)
        raise Refusal(
            ErrorKind.INTERNAL, f"SOURCE_BAD_STATE ERROR: source {CATALOG} cannot be read; the gateway's log says why"
        ) from None
