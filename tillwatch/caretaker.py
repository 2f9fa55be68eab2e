"""Which parts have ended and come back, while demo or stack run."""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from pathlib import Path

from tillwatch import supervisor
from tillwatch.terminal import note, shown

# What is not supervisord's to start again: the pause doubles from the first to the longest while it keeps failing.
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
WELL_AFTER_S = 60


class Caretaker:
    """Says when a part ended and came back, and starts again what the supervisor has given up.

    What the supervisor does not start again (Program.restarts) is started when it failed, after a pause that grows as
    long as it keeps failing; when it ended because that was right, it stays ended.
    """

    def __init__(
        self,
        control: supervisor.Control,
        data_dir: Path,
        programs: Sequence[supervisor.Program],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._clock = clock
        self._data_dir = data_dir
        self._ours = {program.name for program in programs if not program.restarts}
        self._groups = {program.name: program.group for program in programs}
        self._pauses: dict[str, float] = {}
        self._ended: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._again_at: dict[str, float] = {}
        self._next_look = 0.0

    def look(self) -> None:
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + 2
        try:
            for process in self._control.processes():
                self._one(process)
        except (OSError, xmlrpc.client.Error):
            return  # on its way up or down; _watch sees when it has ended

    def _one(self, process: supervisor.Process) -> None:
        log = shown(self._data_dir / "logs" / f"{process.name}.log")
        if process.state == "FATAL":
            again_at = self._again_at.get(process.name)
            if again_at is None:
                note(f"{process.name} does not stay up; it is tried again every 30 s. {_last_line(log)} ({log})")
            if again_at is None or self._clock() >= again_at:
                self._again_at[process.name] = self._clock() + 30
                if again_at is not None:
                    self._start(process.name)
        elif process.state == "EXITED" and process.name in self._ours:
            self._one_of_ours(process, log)
        elif process.state == "RUNNING":
            before = self._started.get(process.name)
            if before is not None and before != process.started:
                note(f"{process.name} had ended and runs again ({log})")
            self._started[process.name] = process.started
            self._again_at.pop(process.name, None)

    def _one_of_ours(self, process: supervisor.Process, log: str) -> None:
        name = process.name
        if self._ended.get(name) != process.ended:
            self._ended[name] = process.ended
            if process.exit_code == 0:
                note(f"{name} has ended and stays ended. {_last_line(log)} ({log})")
                return
            ran_well = process.ended - process.started >= WELL_AFTER_S
            before = FIRST_PAUSE_S / 2 if ran_well else self._pauses.get(name, FIRST_PAUSE_S / 2)
            pause = min(2 * before, LONGEST_PAUSE_S)
            self._pauses[name] = pause
            self._again_at[name] = self._clock() + pause
            note(f"{name} failed and is started again in {pause:.0f} s. {_last_line(log)} ({log})")
        elif process.exit_code != 0 and self._clock() >= self._again_at.get(name, 0.0):
            self._start(name)

    def _start(self, name: str) -> None:
        self._control.start(name, self._groups[name])


def _last_line(path: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""
