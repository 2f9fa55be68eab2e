"""DuckDB, as the gateway runs it: in memory, offline, in UTC.

A statement is planned by a DuckDB that has no files, no network and nothing of this machine to give, over tables
without rows. Only what passes there is run, by another one that reads the folder of the tables' files and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from embedded.gateway import duck, frames
from embedded.gateway.apart import Apart
from embedded.gateway.apart_process import Task
from embedded.gateway.dialect import Statement
from embedded.gateway.duck import MAX_BATCH_ROWS, Remote
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.queries import Column
from embedded.gateway.tokens import Word
from embedded.gateway.translation import Shape, WrittenShape
from embedded.gateway.wording import planning_refusal, running_refusal

__all__ = ["MAX_BATCH_ROWS", "Engine", "Remote", "nobody_left"]

_WATCH_S = 0.1


def nobody_left() -> bool:
    """For statements that somebody waits for to their end."""
    return False


class Engine:
    """Runs DuckDB's SQL, many statements at once, each with a deadline and cancelled when its client is gone.

    What is heavy runs apart, in a process of its own, `heavy_at_once` of them.
    """

    def __init__(
        self,
        readable: Path,
        spill: Path,
        threads: int,
        memory_limit_mb: int,
        timeout_s: float,
        remote: Remote | None = None,
        spill_limit_mb: int = 1024,
        heavy_at_once: int = 2,
    ) -> None:
        self.timeout_s = timeout_s
        room = duck.Room(readable, spill, threads, memory_limit_mb, spill_limit_mb, remote)
        self.no_iceberg_scan = room.no_iceberg_scan
        """Why DuckDB's own Iceberg reader is not there; nothing where it is."""
        self._planner = duck.planner()
        self._database = duck.reader(room)
        duck.shut(self._database, room)
        self._apart = Apart(room, heavy_at_once, timeout_s)
        self._idle: _Cursors = deque()
        self._planning: _Cursors = deque()
        self._watch = _Watch()

    def read_apart(self, sql: str, gone: Callable[[], bool]) -> Statement | list[Word]:
        """What Dialect.read says of a long or deep statement. Raises Refusal."""
        statement: Statement | list[Word] = self._apart.value(Task("read", sql), gone)
        return statement

    def write_apart(
        self,
        statement: Statement,
        sql: str,
        relations: Sequence[Sequence[Column]],
        empty: Sequence[str],
        gone: Callable[[], bool],
        within_s: float | None = None,
    ) -> WrittenShape:
        """A heavy statement for DuckDB, which has planned it over the empty relations. Raises Refusal."""
        task = Task("write", sql, statement.shape, relations, empty, statement.times)
        written: WrittenShape = self._apart.value(task, gone, within_s)
        return written

    def parameters_apart(
        self, shape: Shape, sql: str, relations: Sequence[Sequence[Column]], mark: str, gone: Callable[[], bool]
    ) -> dict[int, Kind]:
        """As translation.parameter_kinds, of a heavy statement. Raises Refusal."""
        task = Task("parameters", sql, shape, relations, mark=mark)
        found: dict[int, Kind] = self._apart.value(task, gone)
        return found

    def describe(self, sql: str, original: str) -> list[tuple[str, str]]:
        """Name and DuckDB type of each column of the answer. Raises Refusal, in Dremio's words, for what cannot be."""
        cursor = _taken(self._planning, self._planner)
        try:
            return duck.described(cursor, sql)
        except duckdb.Error as error:
            raise planning_refusal(error, original) from None
        finally:
            self._planning.append(cursor)

    def execute(self, sql: str) -> None:
        """Run a statement of the gateway's own."""
        cursor = _taken(self._idle, self._database)
        try:
            cursor.execute(sql)
        except duckdb.Error as error:
            raise running_refusal(error, None, self.timeout_s) from None
        finally:
            self._idle.append(cursor)

    def run_apart(
        self, sql: str, given: Mapping[str, pa.Table], gone: Callable[[], bool], within_s: float | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As `run`, for a heavy statement: it sees files and what it is given, and no table in memory."""
        return self._apart.rows(Task("run", sql, given=frames.packed_tables(given)), gone, within_s)

    def run(
        self,
        sql: str,
        gone: Callable[[], bool],
        given: Mapping[str, pa.Table] | None = None,
        within_s: float | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The answer in batches of at most MAX_BATCH_ROWS rows; none when it is empty.

        The statement has run when the first batch comes. `gone` says that nobody waits any more. given: tables that
        this statement alone reads, by name. within_s: what is left of its time; None: all.
        """
        cursor = _taken(self._idle, self._database)
        watched = self._watch.add(cursor, gone, self.timeout_s if within_s is None else within_s)
        try:
            for name, table in (given or {}).items():
                cursor.register(name, table)
            reader = cursor.execute(sql).to_arrow_reader(MAX_BATCH_ROWS)
            yield from reader
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise running_refusal(error, watched.reason, self.timeout_s) from None
        finally:
            # An interrupt meant for this statement must not reach the next one on this cursor.
            if self._watch.remove(watched):
                cursor.close()
            else:
                for name in given or ():
                    cursor.unregister(name)
                self._idle.append(cursor)

    def close(self) -> None:
        """Interrupt what runs, and end."""
        self._watch.close()
        self._apart.close()


type _Cursors = deque[duckdb.DuckDBPyConnection]
"""Those that nobody uses now."""


def _taken(idle: _Cursors, database: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    try:
        return idle.pop()  # the one used last, which has most of what it needs at hand
    except IndexError:
        return database.cursor()


class _Watched:
    def __init__(self, cursor: duckdb.DuckDBPyConnection, gone: Callable[[], bool], deadline: float) -> None:
        self.cursor = cursor
        self.gone = gone
        self.deadline = deadline
        self.reason: str | None = None


class _Watch:
    """One thread that looks after running statements, and sleeps while there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[_Watched] = set()
        self._some = threading.Event()
        self._closed = False
        threading.Thread(target=self._look, name="statement watch", daemon=True).start()

    def add(self, cursor: duckdb.DuckDBPyConnection, gone: Callable[[], bool], timeout_s: float) -> _Watched:
        watched = _Watched(cursor, gone, time.monotonic() + timeout_s)
        with self._lock:
            if self._closed:
                raise Refusal(ErrorKind.UNAVAILABLE, "The server is shutting down.")
            self._running.add(watched)
        if not self._some.is_set():
            self._some.set()
        return watched

    def remove(self, watched: _Watched) -> bool:
        """Forget a statement that ended; whether it was interrupted."""
        with self._lock:
            self._running.discard(watched)
            return watched.reason is not None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for watched in self._running:
                watched.reason = "the server is shutting down"
                watched.cursor.interrupt()

    def _look(self) -> None:
        while True:
            self._some.wait()
            time.sleep(_WATCH_S)
            now = time.monotonic()
            with self._lock:
                for watched in self._running:
                    if now > watched.deadline:
                        watched.reason = "timeout"
                    elif watched.gone():
                        watched.reason = "the client is gone"
                    if watched.reason:
                        watched.cursor.interrupt()
                if not self._running:
                    self._some.clear()
