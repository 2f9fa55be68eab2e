"""Statements that DuckDB or the planner cannot be stopped at run in processes of their own, which can.

Texts that grow (REPEAT), aggregates that keep all values (MEDIAN), deep and long statements: DuckDB's memory limit does
not count the first two, and none of them listens to an interrupt at every moment. Each runs in a child of one process
that is started when the first such statement comes, ends when none came for a while, and has DuckDB and the dialect
loaded: a child costs a fork. The kernel bounds a child's memory; when its time is over, or its client gone, it ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pyarrow as pa

from embedded.gateway import frames
from embedded.gateway.apart_process import Task
from embedded.gateway.duck import Room
from embedded.gateway.errors import ErrorKind, Refusal, cancelled, out_of_memory, out_of_time
from lakehouse import ROOT
from lakehouse.memory import give_back

_LOOK_S = 0.1
_START_S = 30.0
_TRIES = 2


class Apart:
    """Runs tasks, `at_once` of them; the others wait for their turn. May be used from many threads."""

    def __init__(self, room: Room, at_once: int, timeout_s: float) -> None:
        self._room = replace(room, spill=room.spill.with_name(f"{room.spill.name}-apart-{os.getpid()}"))
        self._timeout_s = timeout_s
        self._turns = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._started_s = 0.0
        """Seconds spent on starting the process, ever: no statement pays for it with its own time."""
        _sweep(room)

    def value(self, task: Task, gone: Callable[[], bool], within_s: float | None = None) -> Any:
        """What any task but `run` gives. Raises Refusal: its time is that of planning, or what is left of it."""
        with self._child(task, gone, within_s, planning=True) as next_frame:
            _, content = next_frame()
        return frames.unpacked(content)

    def rows(self, task: Task, gone: Callable[[], bool], within_s: float | None = None) -> Iterator[pa.RecordBatch]:
        """The answer to `run` in batches. Raises Refusal."""
        with self._child(task, gone, within_s, planning=False) as next_frame:
            schema = pa.ipc.read_schema(pa.py_buffer(next_frame()[1]))
            while (frame := next_frame())[0] == frames.BATCH:
                yield pa.ipc.read_record_batch(pa.py_buffer(frame[1]), schema)

    def close(self) -> None:
        """End the process, and with it all of its children."""
        with self._lock:
            self._closed = True
            self._hang_up()

    @property
    def _cpu_s(self) -> float:
        return self._timeout_s * (self._room.threads + 1) + 2

    @contextlib.contextmanager
    def _child(
        self, task: Task, gone: Callable[[], bool], within_s: float | None, *, planning: bool
    ) -> Iterator[Callable[[], tuple[bytes, bytearray]]]:
        deadline = time.monotonic() + (self._timeout_s if within_s is None else within_s)
        reason: list[Refusal] = []
        started_s = self._started_s

        def over() -> bool:
            """Whether it has to end now; the reason is noted."""
            if gone():
                reason.append(cancelled("the client is gone"))
            elif self._closed:
                reason.append(Refusal(ErrorKind.UNAVAILABLE, "The server is shutting down."))
            elif time.monotonic() - (self._started_s - started_s) > deadline:
                reason.append(out_of_time(self._timeout_s, planning))
            return bool(reason)

        while not self._turns.acquire(timeout=_LOOK_S):
            if over():
                raise reason[0]
        # Given back once: at the end, or when the time is over and whoever asked reads no more.
        turn = contextlib.ExitStack()
        turn.callback(self._turns.release)
        try:
            with self._called() as wire, self._ending(wire, turn, lambda: deadline + self._started_s - started_s):

                def next_frame() -> tuple[bytes, bytearray]:
                    try:
                        kind, content = _received(wire, over)
                    except (OSError, EOFError):
                        # It ended by itself: killed by the kernel, for memory or for CPU time.
                        raise reason[0] if reason or over() else out_of_memory() from None
                    if kind == frames.REFUSAL:
                        raise Refusal(*frames.unpacked(content))
                    return kind, content

                with contextlib.suppress(OSError):  # the first frame that is not there tells
                    frames.send(wire, frames.TASK, frames.packed((task, self._cpu_s)))
                yield next_frame
        finally:
            turn.close()
            reason.clear()  # an error knows the frame that knows it
            give_back()

    @contextlib.contextmanager
    def _ending(self, wire: socket.socket, turn: contextlib.ExitStack, deadline: Callable[[], float]) -> Iterator[None]:
        """Hang up on a child when its time is over, also while nobody looks at what it sends."""
        done = threading.Event()

        def watch() -> None:
            while (left := deadline() - time.monotonic()) > 0:
                if done.wait(left):
                    return
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            turn.close()

        watching = threading.Thread(target=watch, name="deadline", daemon=True)
        watching.start()
        try:
            yield
        finally:
            done.set()
            watching.join()

    @contextlib.contextmanager
    def _called(self) -> Iterator[socket.socket]:
        """A line to a new child, which ends when it is closed."""
        for _ in range(_TRIES):
            ours, theirs = socket.socketpair()
            with theirs, self._lock:
                control = self._started()
                with contextlib.suppress(OSError):
                    socket.send_fds(control, [b"+"], [theirs.fileno()])
            with ours:
                ours.settimeout(_START_S)
                try:
                    frames.receive(ours)
                except (OSError, EOFError):
                    # The process ended just now, for it was idle.
                    with self._lock:
                        if control is self._control:
                            self._hang_up()
                    continue
                ours.settimeout(None)
                yield ours
            return
        raise _no_process()

    def _started(self) -> socket.socket:
        if self._closed:
            raise Refusal(ErrorKind.UNAVAILABLE, "The server is shutting down.")
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._hang_up()
        begun = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "embedded.gateway.apart_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                # Threads of numpy's would not survive a fork, and another allocator takes a GB of addresses at once.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
        self._control = ours
        try:
            ours.settimeout(_START_S)
            frames.send(ours, frames.TASK, frames.packed(self._room))
            frames.receive(ours)
        except (OSError, EOFError):
            self._hang_up()
            raise _no_process() from None
        finally:
            self._started_s += time.monotonic() - begun
        return ours

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


def _received(wire: socket.socket, over: Callable[[], bool]) -> tuple[bytes, bytearray]:
    """The next frame, once it begins to come. Raises EOFError when nobody will send one, or the time is over."""
    # Not select(): it knows no descriptor beyond 1,023.
    waiting = select.poll()
    waiting.register(wire, select.POLLIN)
    while not waiting.poll(1000 * _LOOK_S):
        if over():
            raise EOFError
    if over():
        raise EOFError
    return frames.receive(wire)


def _no_process() -> Refusal:
    return Refusal(ErrorKind.UNAVAILABLE, "RESOURCE ERROR: there is no process for the statement now; try again.")


def _sweep(room: Room) -> None:
    """Remove what children of gateways that are no more left on disk, of one whose number this process has too."""
    for left in room.spill.parent.glob(f"{room.spill.name}-apart-*"):
        with contextlib.suppress(ValueError):
            pid = int(left.name.rpartition("-")[2])
            if pid == os.getpid() or not psutil.pid_exists(pid):
                shutil.rmtree(left, ignore_errors=True)
