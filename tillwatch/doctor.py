"""`tillwatch doctor`: what would keep the demo from starting here, a line each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from lakehouse.settings import PORTS, Shared, UserError, claim_port, config_path

NEEDED = ("panel", "duckdb", "duckdb-extension-iceberg", "pyiceberg", "pyarrow", "streamlit", "supervisor")
DISK_MB = 1000


def examine(shared: Shared) -> bool:
    """Print each finding; True when all is well."""
    checks: list[Callable[[], str]] = [
        _python,
        _packages,
        _settings_file,
        lambda: _data_dir(shared),
        *(lambda name=name: _port(shared, name) for name in PORTS),
    ]
    well = True
    for check in checks:
        try:
            print(f"  ok    {check()}")
        except UserError as error:
            print(f"  look  {error}")
            well = False
    print("\nAll is well." if well else "\nWhat is marked `look` keeps the demo from starting, or is the demo itself.")
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
