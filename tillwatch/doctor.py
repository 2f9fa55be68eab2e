"""`tillwatch doctor`: what would keep the demo, or the stack, from starting here, a line each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import profile_of
from lakehouse.settings.ports import PORTS, claim_port
from lakehouse.settings.sources import config_path
from lakehouse.user_error import UserError
from tillwatch import capture, jars, java, s3_server, servers
from tillwatch.settings import StackSettings

NEEDED = ("panel", "duckdb", "pyiceberg", "pyarrow", "streamlit", "supervisor")
DISK_MB = 1000


def examine(shared: Shared, stack: bool = False) -> bool:
    """Print each finding; True when all is well. A data directory of the stack is looked at as such."""
    stack = stack or profile_of(shared.data_dir) == servers.PROFILE
    cdc = stack and StackSettings.load().cdc
    not_running = [*(servers.SERVERS if not stack else ()), *(servers.OF_CDC if not cdc else ())]
    unused = {name for server in not_running for name in servers.PORTS_OF[server]}
    checks: list[Callable[[], str]] = [
        _python,
        _packages,
        *((_stack_packages, _java, lambda: _jars(shared, cdc), lambda: _s3(shared)) if stack else ()),
        *((_postgres,) if cdc else ()),
        _settings_file,
        lambda: _data_dir(shared),
        *(lambda name=name: _port(shared, name) for name in PORTS if name not in unused),
    ]
    well = True
    for check in checks:
        try:
            print(f"  ok    {check()}")
        except UserError as error:
            print(f"  look  {error}")
            well = False
    print("\nAll is well." if well else "\nWhat is marked `look` keeps it from starting, or is what runs already.")
    return well


def _python() -> str:
    if sys.version_info[:2] != (3, 12):
        raise UserError(f"This is Python {sys.version.split()[0]}, and the locks are for 3.12: run `make demo` once.")
    return f"Python {sys.version.split()[0]} at {sys.prefix}"


def _packages() -> str:
    found = []
    for name in NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise UserError(f"The package {name} is not installed: run `make demo` once.") from None
    return ", ".join(found)


def _stack_packages() -> str:
    from tillwatch.stack import PACKAGES, check_packages

    check_packages()
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def _java() -> str:
    return f"Java {java.java()}, for Nessie {java.java(java.NESSIE_JAVA)}"


def _jars(shared: Shared, cdc: bool) -> str:
    names = servers.needed_jars(shared, cdc)
    if missing := jars.missing_mb(names):
        return f"jars: {missing} MB to download at the first start, into {jars.cache_dir()}"
    jars.verify(names)
    return f"jars of {', '.join(names)} in {jars.cache_dir()}, by their checksums"


def _s3(shared: Shared) -> str:
    return f"S3 server: {s3_server.s3_kind(shared)}"


def _postgres() -> str:
    return f"PostgreSQL in {capture.find_postgres()}"


def _settings_file() -> str:
    path = config_path()
    return f"settings from {path}" if path.exists() else "no settings file: defaults and environment"


def _data_dir(shared: Shared) -> str:
    path = shared.data_dir.absolute()
    base = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(base, os.W_OK):
        raise UserError(f"{base} cannot be written to: set TILLWATCH_DATA_DIR to another directory.")
    free = shutil.disk_usage(base).free // 10**6
    if free < DISK_MB:
        raise UserError(f"Only {free} MB are free at {base}; the demo wants {DISK_MB}: set TILLWATCH_DATA_DIR.")
    return f"data directory {path}, {free:,} MB free"


def _port(shared: Shared, name: str) -> str:
    claim_port(shared.port(name))
    return f"port {shared.port(name)} ({name}) is free"
