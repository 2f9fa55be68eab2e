"""One writer a data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.user_error import UserError


@contextmanager
def only_writer(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's writer lock. Raises UserError naming the process that holds it."""
    path = data_dir / "ingest.lock"
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"Another ingest (process {holder}) writes to {data_dir}; end it or set TILLWATCH_DATA_DIR."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
