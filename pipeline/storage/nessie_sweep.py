"""Past commits in Nessie: thinned by the rule of sweep.py, and the files in S3 that no kept one needs deleted."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from sys import intern

from lakehouse.tables import SCHEMA, TABLES
from pipeline.settings import RetentionSettings
from pipeline.storage.files import Stored, Swept
from pipeline.storage.nessie import MAIN, Nessie, NessieGone, Reference, TableAt
from pipeline.storage.objects import Objects
from pipeline.storage.sweep import Publish, Reach, kept, unreached

logger = logging.getLogger(__name__)

# Branches that a driver works on; each start of one deletes those of others.
WORKING = "ingest-"
# While its metadata of this table exists, a commit is kept: every publish writes it, and thinning deletes it first.
WITNESS = "ingest_positions"
# How long a run reads metadata of past commits (s), and how many files it deletes at least of those found.
READ_FOR_S = 2.0
LEAST_DELETED = 2000
_MINUTE = 60_000_000
_US = timedelta(microseconds=1)


@dataclass(slots=True)
class _Commit:
    """A commit of main. `witness`: its metadata file of WITNESS, None while unknown; `tables`: of all, by name.

    One that was thinned under other settings, before this sweep began, is lost.
    """

    id: str
    at: int
    witness: str | None = None
    tables: dict[str, str] | None = None
    thinned: bool = False
    lost: bool = False


@dataclass(frozen=True)
class _Hold:
    """What a branch or tag of somebody else holds: the commit of main it was made from, and what it shows itself."""

    commit: str | None
    at_commit: Mapping[str, str]
    own: Mapping[str, str]


class NessieSweep:
    """Thins the commits of main in Nessie, and deletes the files in S3 that no kept one needs.

    A run thins at once: it deletes the thinned commit's metadata file of ingest_positions, without which nobody reads
    that commit any more. Its other files go `retention.sweep_age` later. They are found by listing the tables'
    folders, every 10 minutes and never for more than a fiftieth of the time, and deleted over the runs that follow.

    A run may go on beside batches. What main needs now, or at any commit since, was either needed already by the
    newest kept commit older than `retention.every_commit` + `retention.sweep_age`, or written later than `sweep_age`
    before it: such files stay. So files that a writer of another branch has not committed yet are safe for as long.
    """

    def __init__(
        self,
        nessie: Nessie,
        s3: Objects,
        retention: RetentionSettings,
        *,
        list_every: timedelta = timedelta(minutes=10),
        at_once: bool = False,
    ) -> None:
        """`at_once`: every run does all there is to do, however long it takes."""
        self._nessie = nessie
        self._s3 = s3
        self._retention = retention
        self._list_every = list_every.total_seconds()
        self._at_once = at_once
        self._reach = Reach(s3.read)
        self._commits: dict[str, _Commit] = {}
        self._holds: dict[Reference, _Hold] = {}
        self._list_after = 0.0
        self._garbage: deque[Stored] = deque()
        self._a_run = LEAST_DELETED

    def run(self, now: int, head: str) -> Swept:
        """One run. `now` in us since the epoch, `head`: a commit of main, best its newest.

        Raises NessieError and S3Error; what is not done then, the next run does.
        """
        begun = time.monotonic()
        every, first, age = self._retention.every_commit, self._retention.first_of_minute, self._retention.sweep_age
        self._follow(head, now - (every + age) // _US - _MINUTE, now - (first + age) // _US - _MINUTE)
        if not self._commits:
            return Swept()
        newest = next(reversed(self._commits.values()))
        # A clock that runs ahead must not thin what was published just now.
        now = min(now, newest.at + _MINUTE)
        self._look_at_references()
        held = {hold.commit for hold in self._holds.values()}
        publishes = [Publish(commit, commit.at, commit.id in held) for commit in self._commits.values()]
        expired = self._thin({publish.id.id for publish in kept(publishes, now, every, first)})
        # Files outlive the commits that need them by sweep_age, for the statements that still read these.
        late = now - age // _US
        young = late - every // _US
        stay: list[_Commit] = [publish.id for publish in kept(publishes, late, every, first)]
        learned = self._learn([commit for commit in stay if commit.at <= young])
        resting = [commit for commit in stay if commit.at <= young and commit.tables is not None and not commit.lost]
        if learned and resting and not self._garbage and time.monotonic() >= self._list_after:
            self._find_garbage(resting, newest)
        files, size = self._delete_garbage()
        logger.debug(
            "sweep in %.2f s: %d commits known, %d thinned, %d files deleted, %d wait",
            time.monotonic() - begun,
            len(self._commits),
            expired,
            files,
            len(self._garbage),
        )
        staying = {commit.id for commit in stay}
        self._commits = {c.id: c for c in self._commits.values() if c.id in staying or c.at > young}
        return Swept(expired, expired + files, size)

    def _follow(self, head: str, young: int, oldest: int) -> None:
        """Take in the commits of main up to `head`; at first those since `oldest`, in full those since `young`."""
        found: list[_Commit] = []
        met: str | None = None
        older: str | None = None
        for logged in self._nessie.history(commit=head, page=100, changes=True):
            if logged.hash in self._commits:
                met = logged.hash
                break
            found.append(_Commit(logged.hash, _us(logged.committed_at), logged.tables.get(WITNESS)))
            if found[-1].at < young:
                older = logged.hash
                break
        if older is not None:
            for logged in self._nessie.history(commit=older):
                if logged.hash in self._commits:
                    met = logged.hash
                    break
                if logged.hash == older:
                    continue
                if _us(logged.committed_at) < oldest:
                    break
                found.append(_Commit(logged.hash, _us(logged.committed_at)))
        known = list(self._commits.values())
        # What came after the place where the two meet is not in main any more, as after a backup was restored.
        known = known[: 1 + next(n for n, c in enumerate(known) if c.id == met)] if met is not None else []
        self._commits = {commit.id: commit for commit in [*known, *reversed(found)]}

    def _look_at_references(self) -> None:
        """Learn what branches and tags of others hold; forget those that are gone."""
        holds = {}
        for reference in self._nessie.references():
            if reference.name == MAIN or reference.name.startswith(WORKING):
                continue
            try:
                holds[reference] = self._holds.get(reference) or self._hold_of(reference)
            except NessieGone:
                continue  # deleted meanwhile
        self._holds = holds

    def _hold_of(self, reference: Reference) -> _Hold:
        own = self._present(reference.hash, _locations(self._nessie.tables(reference.hash, reference.name)))
        commit = self._nessie.ancestor(reference.name, reference.hash)
        at_commit = self._present(commit, _locations(self._nessie.tables(commit))) if commit else {}
        return _Hold(commit, at_commit, own)

    def _thin(self, stay: Collection[str]) -> int:
        """Make all commits but `stay` unreadable; returns how many became so."""
        going = [commit for commit in self._commits.values() if not commit.thinned and commit.id not in stay]
        kept_ones = {tables.get(WITNESS) for hold in self._holds.values() for tables in (hold.own, hold.at_commit)}
        witness = None
        for commit in self._commits.values():
            # A commit that did not write WITNESS (somebody else's table) has that of the commit before.
            witness = commit.witness = commit.witness or witness
            if commit.id in stay:
                kept_ones.add(witness)
        # Those without one were old when they were first seen: the listing finds them.
        gone = {commit.witness for commit in going if commit.witness is not None} - kept_ones
        if gone:
            # Main may show one under another name: WITNESS was renamed.
            newest = next(reversed(self._commits))
            gone -= {content.get("metadataLocation") for content in self._nessie.contents(newest).values()}
        self._s3.delete(gone)
        for commit in going:
            commit.thinned = True
        return len(gone)

    def _learn(self, commits: Sequence[_Commit]) -> bool:
        """Read what commits need, the newest first; False: there was no time for all of it."""
        until = time.monotonic() + READ_FOR_S
        for commit in reversed(commits):
            if commit.tables is not None:
                continue
            if not self._at_once and time.monotonic() > until:
                return False
            tables = _locations(self._nessie.tables(commit.id))
            commit.tables = self._present(commit.id, tables, commit.thinned)
            commit.lost = bool(tables) and not commit.tables
        return True

    def _present(self, commit: str, tables: Mapping[str, str], thinned: bool = False) -> dict[str, str]:
        """Those of the tables of a kept commit that can be read; none when WITNESS is gone, so that nobody asks."""
        present = {}
        for name in sorted(tables, key=lambda name: name != WITNESS):
            try:
                self._reach.of([tables[name]])
                present[name] = tables[name]
            except FileNotFoundError as error:
                if name == WITNESS and not thinned:
                    return {}
                if name != WITNESS:
                    logger.warning("commit %s of table %s cannot be read any more: %s is gone", commit, name, error)
        return present

    def _find_garbage(self, resting: Sequence[_Commit], newest: _Commit) -> None:
        """List the tables' folders, and note what may go, WITNESS first."""
        begun = time.monotonic()
        base = resting[-1]
        head = _locations(self._nessie.tables(newest.id))
        if WITNESS not in head:
            return
        past = [location for commit in resting for location in (commit.tables or {}).values()]
        past += [location for hold in self._holds.values() for location in hold.at_commit.values()]
        current = [*head.values(), *(location for hold in self._holds.values() for location in hold.own.values())]
        metadata = [self._reach.metadata(location) for location in (*past, *current)]
        folders = {found.location for found in metadata}
        reached = self._reach.of(past) | self._reach.of(current, since=base.at)
        reached |= self._of_others(newest, folders, base.at)
        self._reach.forget_all_but(reached)
        # S3 dates the files: where its clock is behind Nessie's, they look older than they are. It may cut off the
        # fraction of a second.
        behind = max(0, newest.at - self._s3.look(head[WITNESS]).modified)
        before = base.at - self._retention.sweep_age // _US - behind - 1_000_000
        witnesses = {self._reach.metadata(head[WITNESS]).location}
        for folder in sorted(folders, key=lambda folder: folder not in witnesses):
            self._garbage += unreached(self._s3.list(f"{folder}/"), reached, before)
        self._a_run = max(LEAST_DELETED, len(self._garbage) // 5)
        spent = time.monotonic() - begun
        logger.debug("listed in %.2f s: %d files needed, %d to be deleted", spent, len(reached), len(self._garbage))
        self._list_after = begun + (0.0 if self._at_once else max(self._list_every, 50 * spent))

    def _of_others(self, newest: _Commit, folders: Collection[str], since: int) -> set[str]:
        """What tables that are not ours need in these folders, as one has that was renamed."""
        inside = tuple(f"{folder}/" for folder in folders)
        needed: set[str] = set()
        for name, commit in [(MAIN, newest.id), *((held.name, held.hash) for held in self._holds)]:
            try:
                contents = self._nessie.contents(commit, name)
            except NessieGone:
                continue  # deleted meanwhile
            for key, content in contents.items():
                location = str(content.get("metadataLocation", ""))
                if location.startswith(inside) and not (key[:-1] == (SCHEMA,) and key[-1] in TABLES):
                    try:
                        needed |= self._reach.of([location], since=since)
                    except FileNotFoundError as error:
                        logger.warning("table %s cannot be read any more: %s is gone", ".".join(key), error)
        return needed

    def _delete_garbage(self) -> tuple[int, int]:
        """Delete some of what was found, or all; count and bytes."""
        files = size = 0
        while self._garbage and (self._at_once or files < self._a_run):
            some = [self._garbage.popleft() for _ in range(min(250, len(self._garbage)))]
            try:
                self._s3.delete(file.uri for file in some)
            except Exception:
                self._garbage.extendleft(reversed(some))
                raise
            files += len(some)
            size += sum(file.bytes for file in some)
        return files, size


class BackgroundSweep:
    """Runs of a sweep in a thread of their own, one at a time."""

    def __init__(self, sweep: NessieSweep) -> None:
        self._sweep = sweep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sweep")
        self._running: Future[Swept] | None = None

    def next(self, now: int, head: str) -> Swept:
        """What the last run did, if it has ended; then the next one begins. A run that failed is logged."""
        swept = Swept()
        if self._running is not None:
            if not self._running.done():
                return swept
            try:
                swept = self._running.result()
            except Exception as error:
                # Nothing waits for it: what it could not do, the next one does.
                logger.warning("The sweep of past commits did not come to its end: %s", error)
        self._running = self._thread.submit(self._sweep.run, now, head)
        return swept

    def close(self) -> None:
        """Wait for nothing; a run under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _locations(tables: Mapping[str, TableAt]) -> dict[str, str]:
    """Metadata locations of the tables that are ours."""
    return {name: intern(at.metadata_location) for name, at in tables.items() if name in TABLES}
