"""DuckDB, as the gateway runs it: in memory, offline, in UTC.

A statement is planned by a DuckDB that has no files, no network and nothing of this machine to give, over tables
without rows. Only what passes there is run, by another one that reads the folder of the tables' files and nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa

from embedded.gateway.errors import Kind, Refusal
from embedded.gateway.wording import planning_refusal, running_refusal

MAX_BATCH_ROWS = 4095
"""Dremio's exec.batch.records.max."""

_WATCH_S = 0.1
_EXTENSIONS = ("avro", "iceberg", "httpfs")
_ONE_MACHINE = "another program has changed it, and the tables of one machine are ingest's alone to write."
_NO_PACKAGES = "reading it takes the packages of requirements/spark.lock: run `sh deploy/bootstrap spark`."

_CLOSED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # DuckDB takes a name that it does not know for a variable of the Python code around it.
    "python_enable_replacements": "false",
}


@dataclass(frozen=True)
class Remote:
    """A bucket that DuckDB itself reads: only tables that need its own Iceberg reader (with delete files, say)."""

    location: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str


class Engine:
    """Runs DuckDB's SQL, many statements at once, each with a deadline and cancelled when its client is gone."""

    def __init__(
        self,
        readable: Path,
        spill: Path,
        threads: int,
        memory_limit_mb: int,
        timeout_s: float,
        remote: Remote | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._planner = duckdb.connect(config={"threads": 1, "memory_limit": "64MB", **_CLOSED})
        for setting in ("TimeZone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
            self._planner.execute(f"SET GLOBAL {setting}")
        spill.parent.mkdir(parents=True, exist_ok=True)  # DuckDB makes the folder itself, at the first spill
        self._database = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": f"{memory_limit_mb}MB",
                "temp_directory": str(spill),
                **_CLOSED,
            }
        )
        readables = [f"{readable}/", f"file://{readable}/"]
        self.no_iceberg_scan = _ONE_MACHINE if remote is None else "" if all(map(_spec, _EXTENSIONS)) else _NO_PACKAGES
        """Why DuckDB's own Iceberg reader is not there; nothing where it is."""
        if remote is not None and not self.no_iceberg_scan:
            for name in _EXTENSIONS:
                self._database.execute(f"LOAD {_text(str(_extension(name)))}")
            self._database.execute(_secret(remote))
            readables.append(remote.location)
        for setting in (
            "TimeZone = 'UTC'",
            # Both keep 30 KB of each file ever read, new ones come with every publish, and they save a tenth of a read.
            "parquet_metadata_cache = false",
            "enable_external_file_cache = false",
            f"allowed_directories = [{', '.join(map(_text, readables))}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._database.execute(f"SET GLOBAL {setting}")
        self._idle: queue.LifoQueue[duckdb.DuckDBPyConnection] = queue.LifoQueue()
        self._watch = _Watch()

    def describe(self, sql: str, original: str) -> list[tuple[str, str]]:
        """Name and DuckDB type of each column of the answer. Raises Refusal, in Dremio's words, for what cannot be."""
        try:
            with self._planner.cursor() as cursor:
                return [(str(row[0]), str(row[1])) for row in cursor.execute(f"DESCRIBE {sql}").fetchall()]
        except duckdb.Error as error:
            raise planning_refusal(error, original) from None

    def execute(self, sql: str) -> None:
        """Run a statement of the gateway's own."""
        cursor = self._take()
        try:
            cursor.execute(sql)
        except duckdb.Error as error:
            raise running_refusal(error, None, self._timeout_s) from None
        finally:
            self._idle.put(cursor)

    def run(
        self, sql: str, gone: Callable[[], bool], given: Mapping[str, pa.Table] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The answer in batches of at most MAX_BATCH_ROWS rows; none when it is empty.

        The statement has run when the first batch comes. `gone` says that nobody waits any more. given: tables that
        this statement alone reads, by name.
        """
        cursor = self._take()
        watched = self._watch.add(cursor, gone, self._timeout_s)
        try:
            for name, table in (given or {}).items():
                cursor.register(name, table)
            reader = cursor.execute(sql).to_arrow_reader(MAX_BATCH_ROWS)
            yield from reader
        except (duckdb.Error, pa.ArrowException) as error:
            raise running_refusal(error, watched.reason, self._timeout_s) from None
        finally:
            # An interrupt meant for this statement must not reach the next one on this cursor.
            if self._watch.remove(watched):
                cursor.close()
            else:
                for name in given or ():
                    cursor.unregister(name)
                self._idle.put(cursor)

    def close(self) -> None:
        """Interrupt what runs, and end."""
        self._watch.close()

    def _take(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._database.cursor()


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
                raise Refusal(Kind.UNAVAILABLE, "The server is shutting down.")
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


def _spec(name: str) -> ModuleSpec | None:
    return find_spec(f"duckdb_extension_{name}")


def _extension(name: str) -> Path:
    spec = _spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"duckdb-extension-{name} is not installed")
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise RuntimeError(f"{path} is missing: duckdb and duckdb-extension-{name} must have the same version")
    return path


def _secret(remote: Remote) -> str:
    scheme, _, host = remote.endpoint.partition("://")
    return (
        f"CREATE SECRET (TYPE s3, KEY_ID {_text(remote.access_key)}, SECRET {_text(remote.secret_key)}, "
        f"REGION {_text(remote.region)}, ENDPOINT {_text(host)}, URL_STYLE 'path', "
        f"USE_SSL {'true' if scheme == 'https' else 'false'}, SCOPE {_text(remote.location)})"
    )


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
