"""The stack as a person runs it: one command, rows, a driver that dies, and the end of all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from bench.processes import Demo, free_offset
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from tillwatch import leftovers, supervisor


def until(stack: Demo, what: Callable[[], object], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not what():
        stack.check()
        assert time.monotonic() < end, stack.last_words() + logs(stack)
        time.sleep(0.2)


def logs(stack: Demo) -> str:
    files = sorted((stack.data_dir / "logs").glob("*.log"))
    return "".join(f"\n--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in files)


def said(stack: Demo) -> str:
    return stack.last_words(1000)


def clicks(dremio: Dremio) -> int:
    try:
        return int(dremio.ask("demo_rows").to_pylist()[0]["clicks"])
    except DremioError:
        return 0


def tillwatch(stack: Demo, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tillwatch", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=stack.environment)


def left(data_dir: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(leftovers.MARK) == str(data_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.usefixtures("java_is_there")
@pytest.mark.timeout(420)
def test_one_command_to_rows_and_stack_down_ends_all() -> None:
    command = (sys.executable, "-m", "tillwatch", "stack", "--no-lite", "--no-fill", "--no-incident", "--rate", "10")
    uri = "grpc://localhost:{}"
    with Demo(command=command, offset=free_offset(), end_within_s=40) as stack:
        data_dir = stack.data_dir.resolve()
        with Dremio(DremioSettings.load(uri=uri.format(PORTS["gateway"] + stack.offset))) as dremio:
            until(stack, lambda: clicks(dremio) > 0, 180)
            until(stack, lambda: "live after" in said(stack), 60)
            assert tillwatch(stack, "status").returncode in (0, 1)
            assert "A stack already runs on" in tillwatch(stack, "stack").stderr

            # A driver that dies is started again, and goes on where the last publish stands.
            with closing(supervisor.Control(data_dir)) as control:
                driver = next(process.pid for process in control.processes() if process.name == "driver")
            os.kill(driver, signal.SIGKILL)
            until(stack, lambda: "driver failed and is started again in 2 s" in said(stack), 30)
            before = clicks(dremio)
            until(stack, lambda: clicks(dremio) > before, 180)

        done = tillwatch(stack, "stack-down")
        assert done.stdout == f"Ended the stack on {data_dir}; the data stays.\n", done.stderr
        assert left(data_dir) == []
        assert "Traceback" not in said(stack)
        ended = (data_dir / "logs" / "supervisor.log").read_text()
        assert ended.index("stopped: driver") < ended.index("stopped: kafka")
