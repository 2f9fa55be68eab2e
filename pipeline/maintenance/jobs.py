"""Files that are made from others: small ones merged, old ones written anew without the rows past their retention.

A job takes seconds, so it is done beside the batches. Its files belong to no snapshot before a publish swaps them in;
where a source changed meanwhile they are left to the sweep.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.maintenance.run import Run
from pipeline.storage.files import LiveFile, Store

logger = logging.getLogger("tillwatch.ingest")

ENDS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Job:
    """`sources` of table `name` become what `keep` leaves of their rows, at `level`; `run` is told what came of it."""

    name: str
    sources: Sequence[LiveFile]
    level: int
    run: Run | None = None
    keep: Callable[[pa.Table], pa.Table] | None = None


@dataclass(frozen=True)
class Done:
    """A job and the files that may take the place of its sources; `expired` rows are in none of them."""

    job: Job
    files: Sequence[LiveFile]
    expired: int

    def fits(self, live: Mapping[str, LiveFile], removed: Sequence[LiveFile]) -> bool:
        """Whether it changes something, and every source is live and stays so in a publish that removes `removed`."""
        gone = {file.uri for file in removed}
        if self.job.keep is not None and not self.expired:
            return False
        return all(file.uri in live and file.uri not in gone for file in self.job.sources)

    def tell(self, run: Run) -> None:
        """Count it: it is swapped in."""
        run.files_written += len(self.files)
        run.rows_expired += self.expired
        run.files_merged += len(self.job.sources) if self.job.keep is None else 0


def work(job: Job, store: Store) -> Done:
    """Do a job, in the thread that calls."""
    # One after the other: read side by side they would keep the threads that a batch writes with.
    rows = pa.concat_tables([store.read(job.name, [source]) for source in job.sources])
    kept = job.keep(rows) if job.keep is not None else rows
    expired = rows.num_rows - kept.num_rows
    if job.keep is not None and not expired:
        return Done(job, [], 0)
    return Done(job, store.tables[job.name].write(kept, job.level), expired)


@dataclass
class Workshop:
    """Does jobs one after the other in a thread of its own."""

    store: Store
    _waiting: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    _done: queue.SimpleQueue[Done] = field(default_factory=queue.SimpleQueue)
    _busy: dict[str, int] = field(default_factory=dict)
    _sources: set[str] = field(default_factory=set)
    _idle: threading.Condition = field(default_factory=threading.Condition)
    _jobs: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="merge", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the job under way: cut off in the middle of it, the interpreter's own end would be none."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join(ENDS_WITHIN_S)

    def submit(self, job: Job) -> bool:
        """Begin a job, unless one with such a source is under way."""
        uris = {file.uri for file in job.sources}
        with self._idle:
            if uris & self._sources:
                return False
            self._sources |= uris
            self._busy[job.name] = self._busy.get(job.name, 0) + 1
            self._jobs += 1
            if job.run is not None:
                job.run.waiting += 1
        self._waiting.put(job)
        return True

    def busy_with(self, name: str) -> bool:
        """Whether a job of this table is under way or waits to be taken."""
        with self._idle:
            return self._busy.get(name, 0) > 0

    def wait(self) -> None:
        """Until every job is done: for tests and for who has time."""
        with self._idle:
            self._idle.wait_for(lambda: self._jobs == 0)

    @property
    def rests(self) -> bool:
        """Whether no job is under way; some may wait to be taken."""
        with self._idle:
            return self._jobs == 0

    def take(self, at_most: int) -> list[Done]:
        """Jobs that are done, each once."""
        taken: list[Done] = []
        while len(taken) < at_most:
            try:
                taken.append(self._done.get_nowait())
            except queue.Empty:
                break
        for done in taken:
            self._free(done.job)
        return taken

    def _free(self, job: Job) -> None:
        with self._idle:
            self._sources -= {file.uri for file in job.sources}
            self._busy[job.name] -= 1
            if job.run is not None:
                job.run.waiting -= 1

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None and not self._closed:
            try:
                self._done.put(work(job, self.store))
            except Exception as error:
                # Nothing waits for it: what it could not do, a later run does.
                if not self._closed:
                    logger.warning("%s: files could not be merged: %s: %s", job.name, type(error).__name__, error)
                self._free(job)
            finally:
                with self._idle:
                    self._jobs -= 1
                    self._idle.notify_all()
