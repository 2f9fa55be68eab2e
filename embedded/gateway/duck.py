"""DuckDB's connections, closed as far as they go: one plans, and one reads the folder of the tables' files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import duckdb

MAX_BATCH_ROWS = 4095
"""Dremio's exec.batch.records.max."""

_EXTENSIONS = ("avro", "iceberg", "httpfs")
_ONE_MACHINE = "another program has changed it, and the tables of one machine are ingest's alone to write."
_NO_PACKAGES = "reading it takes the packages of requirements/spark.lock: run `sh deploy/bootstrap spark`."
_PLANNER_MB = 64
# DuckDB counts its blocks and not all that it allocates besides; the limit holds for the whole.
_COUNTED = 0.75

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


@dataclass(frozen=True)
class Room:
    """What a DuckDB that reads is given: files, cores, memory and disk (MB)."""

    readable: Path
    spill: Path
    threads: int
    memory_mb: int
    spill_mb: int
    remote: Remote | None = None

    @property
    def no_iceberg_scan(self) -> str:
        """Why DuckDB's own Iceberg reader is not there; nothing where it is."""
        return _ONE_MACHINE if self.remote is None else "" if all(map(_spec, _EXTENSIONS)) else _NO_PACKAGES


def planner() -> duckdb.DuckDBPyConnection:
    """A DuckDB that has no files, no network and nothing of this machine to give."""
    connection = duckdb.connect(config={"threads": 1, "memory_limit": f"{_PLANNER_MB}MB", **_CLOSED})
    for setting in ("TimeZone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET GLOBAL {setting}")
    return connection


def reader(room: Room) -> duckdb.DuckDBPyConnection:
    """A DuckDB with its extensions; `shut` closes it, and nobody's SQL runs before."""
    connection = duckdb.connect(
        config={"threads": room.threads, "memory_limit": f"{int(room.memory_mb * _COUNTED)}MB", **_CLOSED}
    )
    if room.remote is not None and not room.no_iceberg_scan:
        for name in _EXTENSIONS:
            connection.execute(f"LOAD {_text(str(_extension(name)))}")
        connection.execute(_secret(room.remote))
    return connection


def shut(connection: duckdb.DuckDBPyConnection, room: Room) -> None:
    """Leave it the folder of the tables' files (and the bucket), and so much disk at `room.spill`."""
    readables = [f"{room.readable}/", f"file://{room.readable}/"]
    if room.remote is not None and not room.no_iceberg_scan:
        readables.append(room.remote.location)
    room.spill.parent.mkdir(parents=True, exist_ok=True)  # DuckDB makes the folder itself, at the first spill
    for setting in (
        "TimeZone = 'UTC'",
        # Both keep 30 KB of each file ever read, new ones come with every publish, and they save a tenth of a read.
        "parquet_metadata_cache = false",
        "enable_external_file_cache = false",
        # Or its allocator keeps for good what a large statement once had.
        "allocator_background_threads = true",
        f"temp_directory = {_text(str(room.spill))}",
        f"max_temp_directory_size = '{room.spill_mb}MB'",
        f"allowed_directories = [{', '.join(map(_text, readables))}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET GLOBAL {setting}")


def described(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, str]]:
    """Name and DuckDB type of each column of the answer; nothing runs. Raises duckdb.Error."""
    return [(str(row[0]), str(row[1])) for row in connection.execute(f"DESCRIBE {sql}").fetchall()]


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
