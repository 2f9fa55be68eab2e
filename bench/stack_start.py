"""`make stack` to the first row answered over Flight, and Ctrl-C to the end of all; the jars are there already."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time

from bench.processes import Demo, cpu_seconds, memory_by_part
from bench.report import Report
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from tillwatch import jars, servers

ROW_LIMIT_S, END_LIMIT_S = 30.0, 30.0
GIVE_UP_AFTER = 10
"""Times the limit."""


def first_row(stack: Demo) -> float:
    """Seconds from the start until a question is answered with a row."""
    with Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + stack.offset}")) as dremio:
        while stack.seconds < GIVE_UP_AFTER * ROW_LIMIT_S:
            stack.check()
            with contextlib.suppress(DremioError):
                rows = dremio.ask("demo_rows").to_pylist()[0]
                if rows["orders"] + rows["clicks"] + rows["errors"] > 0:
                    return stack.seconds
            time.sleep(0.1)
    raise SystemExit(f"bench: no row after {stack.seconds:.0f} s:\n{stack.last_words()}")


def interrupt(stack: Demo) -> float:
    """Ctrl-C; seconds until the last process has ended."""
    began, last = time.monotonic(), stack.processes()
    for process in last[:1]:
        os.killpg(process.pid, signal.SIGINT)
    while any(process.is_running() and process.status() != "zombie" for process in stack.processes()):
        if time.monotonic() - began > 4 * END_LIMIT_S:
            break
        time.sleep(0.05)
    return time.monotonic() - began


def main() -> None:
    """`python -m bench stack_start`."""
    parser = argparse.ArgumentParser(prog="bench stack_start", description=__doc__)
    parser.add_argument("--here", action="store_true", help="with this Python, in place of make and .venv")
    parser.add_argument("--runs", type=int, default=1, help="the slowest counts (1)")
    arguments = parser.parse_args()
    runs = arguments.runs
    ours, words = (sys.executable, "-m", "tillwatch", "stack"), ("--no-fill",)
    command = ours if arguments.here else ("make", "stack", f"ARGS={' '.join(words)}")
    jars.fetch(servers.needed_jars(Shared.load()))
    rows, ends, memory, busy = [], [], 0.0, 0.0
    for _ in range(runs):
        with Demo(words if arguments.here else (), command=command, end_within_s=END_LIMIT_S) as stack:
            rows.append(first_row(stack))
            busy = max(busy, sum(cpu_seconds(process) or 0.0 for process in stack.processes()))
            stack.sleep(10)
            memory = max(memory, sum(memory_by_part(stack).values()))
            ends.append(interrupt(stack))
    report = Report("stack_start", f"make stack, installed, jars there, empty data directory, {runs} run(s)")
    report.row("make stack to the first row answered, slowest", max(rows), "s", at_most=ROW_LIMIT_S)
    report.row("Ctrl-C to the end of the last process, slowest", max(ends), "s", at_most=END_LIMIT_S)
    report.row("CPU that all processes have used by the first row", busy, "s")
    report.row("memory of all processes, 10 s after the first row", memory, "MB")
    report.finish()


if __name__ == "__main__":
    main()
