"""The process that statements are run apart in: it waits, and forks one child for each statement.

A child is bounded by the kernel: in memory, in CPU time, and in how long its gateway keeps the line open. It ends when
the gateway hangs up, whatever it is at.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from embedded.gateway import duck, frames
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.errors import ErrorKind, Refusal, TooDeep, out_of_memory
from embedded.gateway.sql.queries import Column
from embedded.gateway.translation import Shape, parameter_kinds, write
from embedded.gateway.wording import planning_refusal, running_refusal
from lakehouse.logs import log_to_stderr

IDLE_S = 40.0
"""The process ends when nothing was asked of it for so long: the next statement starts another."""
MOST_ROW_MB = 16
"""Dremio's limit for a row."""

_BATCH_BYTES = 1 << 20
"""Dremio's exec.batch.size-bytes."""
_STACK_BYTES = 512 << 20
_FRAMES = 30_000
_NICE = 5
# The rest of a statement's memory is that of its text and its batches in the gateway.
_OWN = 0.75
# What does not fit goes to disk before it meets the kernel's limit.
_SPILLS_AT = 0.8


@dataclass(frozen=True)
class Task:
    """What is to be done with a statement: read, write (and plan), parameters, or run, whose `sql` is DuckDB's.

    `shape` is what was read of it, without a tree, `relations` their columns; `empty` and `times` fill what is written;
    `mark` is that of parameters; `given` are tables that `run` reads, as frames packs them.
    """

    what: str
    sql: str
    shape: Shape | None = None
    relations: Sequence[Sequence[Column]] = ()
    empty: Sequence[str] = ()
    times: tuple[str, ...] = ()
    mark: str = ""
    given: Mapping[str, bytes] = field(default_factory=dict)


def main() -> None:
    log_to_stderr()
    control = socket.socket(fileno=int(sys.argv[1]))
    _, content = frames.receive(control)
    room: duck.Room = frames.unpacked(content)
    os.nice(_NICE)
    # The other threads are the allocators' own, which know of forks.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which then hangs up
    signal.signal(signal.SIGCHLD, lambda *_: _tidy(room.spill))
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    # With one thread, so that a fork takes all of it along.
    planner, reader = duck.planner(), duck.reader(replace(room, threads=1, memory_mb=int(room.memory_mb * _SPILLS_AT)))
    gc.freeze()
    control.settimeout(IDLE_S)
    frames.send(control, frames.VALUE)
    while True:
        try:
            said, handed, _, _ = socket.recv_fds(control, 1, 1)
        except TimeoutError:
            return
        if not said:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            _child(socket.socket(fileno=handed[0]), room, planner, reader, room.spill / str(os.getpid()))
        for one in handed:
            os.close(one)


def _tidy(spill: Path) -> None:
    """Forget children that ended, and remove what one left on disk that the kernel ended."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            shutil.rmtree(spill / str(pid), ignore_errors=True)


def _child(
    wire: socket.socket,
    room: duck.Room,
    planner: duckdb.DuckDBPyConnection,
    reader: duckdb.DuckDBPyConnection,
    spill: Path,
) -> None:
    """Does one task and ends the process: it never returns."""
    try:
        wire.settimeout(None)
        frames.send(wire, frames.VALUE)
        task, cpu_s = frames.unpacked(frames.receive(wire)[1])
    except (OSError, EOFError):
        os._exit(0)
    sys.setrecursionlimit(_FRAMES)
    threading.stack_size(_STACK_BYTES)
    seconds = max(1, int(cpu_s))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))

    def work() -> None:
        try:
            _give(reader, task.given)
            _limit_memory(room.memory_mb * _OWN)
            with contextlib.suppress(OSError, MemoryError):
                _do(task, wire, replace(room, spill=spill), planner, reader)
        finally:
            # Without an answer, if there was no memory even for a refusal: the gateway knows what that means.
            _end(spill)

    threading.Thread(target=work, daemon=True).start()
    # Nothing more comes: this is the gateway hanging up.
    with contextlib.suppress(OSError):
        wire.recv(1)
    _end(spill)


def _give(reader: duckdb.DuckDBPyConnection, tables: Mapping[str, bytes]) -> None:
    """Register the tables, and read each once: the threads that Arrow takes for it are there before memory is bounded.

    One that cannot be made later is waited for in vain.
    """
    for name, stream in tables.items():
        reader.register(name, frames.unpacked_table(stream))
        reader.execute(f"SELECT COUNT(COLUMNS(*)) FROM {name}").fetchall()


def _end(spill: Path) -> None:
    shutil.rmtree(spill, ignore_errors=True)
    os._exit(0)


def _limit_memory(megabytes: float) -> None:
    """So much beyond what the process has now. Where the kernel does not count it, DuckDB's own limit is left."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        has_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
        most = (has_kb << 10) + int(megabytes * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _do(
    task: Task,
    wire: socket.socket,
    room: duck.Room,
    planner: duckdb.DuckDBPyConnection,
    reader: duckdb.DuckDBPyConnection,
) -> None:
    try:
        if task.what == "run":
            duck.shut(reader, room)
            if room.threads > 1:
                reader.execute(f"SET threads = {room.threads}")
            _rows(reader, task.sql, wire)
        else:
            frames.send(wire, frames.VALUE, frames.packed(_planned(task, planner)))
    except ConnectionError:
        raise
    except Exception as error:
        frames.send(wire, frames.REFUSAL, frames.packed(_refusal(error, task)))


def _planned(task: Task, planner: duckdb.DuckDBPyConnection) -> object:
    if task.shape is None:
        statement = Dialect().read(task.sql)
        if isinstance(statement, Statement):
            # Trees may be too deep for the gateway, and it does not write what it cannot read.
            statement.shape.tree, statement.shape.heavy = None, True
        return statement
    if task.what == "parameters":
        return parameter_kinds(task.shape, task.sql, task.relations, task.mark)
    written = write(task.shape, task.sql, task.relations)
    duck.described(planner, written.filled(list(task.empty), task.times))
    return replace(written, heavy=True)


def _refusal(error: Exception, task: Task) -> tuple[ErrorKind, str, int | None, int]:
    refusal = error
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "malloc" in str(error):
        refusal = out_of_memory()
    elif isinstance(error, RecursionError):
        refusal = TooDeep()
    elif isinstance(error, duckdb.Error):
        refusal = running_refusal(error, None, 0) if task.what == "run" else planning_refusal(error, task.sql)
    elif isinstance(error, pa.ArrowException | OSError):
        refusal = running_refusal(error, None, 0)
    if not isinstance(refusal, Refusal):
        logging.getLogger(__name__).error("failed apart: %s: %s", type(error).__name__, str(error)[:1000])
        refusal = Refusal(ErrorKind.INTERNAL, "SYSTEM ERROR: There was an error servicing your request.")
    return refusal.kind, str(refusal), refusal.start, refusal.length


def _rows(reader: duckdb.DuckDBPyConnection, sql: str, wire: socket.socket) -> None:
    batches = reader.execute(sql).to_arrow_reader(duck.MAX_BATCH_ROWS)
    frames.send(wire, frames.SCHEMA, batches.schema.serialize())
    for batch in batches:
        for piece in _pieces(batch):
            frames.send(wire, frames.BATCH, memoryview(piece.serialize()))
    frames.send(wire, frames.END)


def _pieces(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """The batch in pieces of about 1 MB. Raises Refusal for a row that is wider than Dremio's widest."""
    size = batch.nbytes
    if size <= _BATCH_BYTES or not batch.num_rows:
        return [batch]
    if batch.num_rows == 1:
        if size > MOST_ROW_MB << 20:
            raise Refusal(
                ErrorKind.UNAVAILABLE,
                f"RESOURCE ERROR: a row of the answer has {size >> 20:,} MB, and {MOST_ROW_MB} MB are the limit",
            )
        return [batch]
    half = batch.num_rows // 2
    return _pieces(batch.slice(0, half)) + _pieces(batch.slice(half))


if __name__ == "__main__":
    main()
