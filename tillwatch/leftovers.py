"""One demo on a data directory at a time, and what an earlier one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import profile_of
from lakehouse.user_error import UserError

# Everything that is started here carries its data directory in this variable, so that what a kill -9 left can be found.
# Without the prefix of a setting, for unknown settings are refused.
MARK = "_TILLWATCH_DEMO"


@contextlib.contextmanager
def only_demo(data_dir: Path) -> Iterator[int]:
    """Hold the demo's lock on a data directory: its file descriptor. Raises UserError naming who else holds it."""
    try:
        (data_dir / "run").mkdir(exist_ok=True)
        (data_dir / "logs").mkdir(exist_ok=True)
        held = (data_dir / "run" / "demo.lock").open("a+")
    except OSError as error:
        raise UserError(
            f"The data directory {data_dir} cannot be used: {error.filename}: {error.strerror}. "
            "Free it or set TILLWATCH_DATA_DIR."
        ) from None
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"A {_called(data_dir)} already runs on {data_dir} (process {lock.read().strip() or 'unknown'}): "
                "end it with Ctrl-C in its terminal, or set TILLWATCH_DATA_DIR and TILLWATCH_PORT_OFFSET to run "
                "another beside it."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock.fileno()
        lock.truncate(0)


def _called(data_dir: Path) -> str:
    return "stack" if profile_of(data_dir) == "stack" else "demo"


def remove_data(shared: Shared) -> str:
    """Remove the data directory; the sentence to show. Raises UserError while a demo runs on it, or if it is none."""
    data_dir = shared.data_dir.resolve()
    if not data_dir.exists():
        return f"There is no data directory {data_dir}: nothing to remove."
    if not (data_dir / "profile").exists():
        raise UserError(f"{data_dir} is no data directory of tillwatch, so it stays; correct TILLWATCH_DATA_DIR.")
    with only_demo(data_dir):
        end_leftovers(data_dir)
        shutil.rmtree(data_dir)
    return f"Removed {data_dir}."


def end_leftovers(data_dir: Path) -> int:
    """Kill what an earlier demo on this data directory left behind; how many processes that were."""
    ended: set[psutil.Process] = set()
    # Again until nothing new is found: a process may have forked after it was listed and before it was killed.
    while left := _leftovers(data_dir) - ended:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=2)
        ended |= left
    return len(ended)


def _leftovers(data_dir: Path) -> set[psutil.Process]:
    left = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(data_dir):
                left.add(process)
    return left
