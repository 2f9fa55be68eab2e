"""The demo as a person runs it: all parts, one terminal, Ctrl-C."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from tests.own_cast import EXAMPLE
from tillwatch import leftovers, status, supervisor

OFFSET = 16500 + os.getpid() % 400


class Terminal:
    """One `tillwatch demo` and what it has said."""

    def __init__(self, data_dir: Path, *words: str) -> None:
        self.data_dir = data_dir
        self.environment = {
            **os.environ,
            "TILLWATCH_DATA_DIR": str(data_dir),
            "TILLWATCH_PORT_OFFSET": str(OFFSET),
        }
        self._out = data_dir.with_suffix(".out")
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tillwatch", "demo", "--no-lite", "--rate", "5", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
                # Where the tests run under nohup, a demo would be right to ignore that its terminal closes.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )

    def said(self) -> str:
        return self._out.read_text()

    def tillwatch(self, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tillwatch", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=30, env=self.environment)

    def until(self, what: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said() + logs(self.data_dir)
            time.sleep(0.1)


def logs(data_dir: Path) -> str:
    return "".join(f"\n--- {path.name}\n{path.read_text()[-1500:]}" for path in (data_dir / "logs").glob("*.log"))


def of_demo(data_dir: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(leftovers.MARK) == str(data_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


@contextmanager
def running(data_dir: Path, *words: str) -> Iterator[Terminal]:
    terminal = Terminal(data_dir, *words)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait()
        leftovers.end_leftovers(data_dir)


def count(sql: str) -> int:
    with Dremio(DremioSettings.load(uri=f"grpc://localhost:{32010 + OFFSET}")) as dremio:
        try:
            return int(dremio.sql(sql).column(0)[0].as_py())
        except DremioError:
            return 0


PAID = "SELECT COALESCE(SUM(payments), 0) AS n FROM nessie_minio_catalog.ecommerce_db.payments_per_minute"
CLICKS = "SELECT COUNT(*) AS n FROM nessie_minio_catalog.ecommerce_db.clicks_processed"


@pytest.mark.timeout(180)
def test_one_command_to_a_live_screen_and_ctrl_c_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = (tmp_path / "data").resolve()
    hour = datetime.now(UTC).hour
    with running(data_dir, "--with", str(EXAMPLE)) as terminal:
        terminal.until(lambda: "live after" in terminal.said(), 60)
        for port in (5006, 5008):
            assert f"http://localhost:{port + OFFSET}" in terminal.said()

        # Live: the last hour is in, and rows keep coming.
        terminal.until(lambda: count(CLICKS) > 1000, 30)
        before = count(CLICKS)
        terminal.until(lambda: count(CLICKS) > before, 15)

        # So are the events of the example's own topic, and its KPI table.
        terminal.until(lambda: count(PAID) > 10, 30)

        # One demo a data directory.
        second = terminal.tillwatch("demo")
        assert second.returncode == 2
        assert re.fullmatch(r"tillwatch: A demo already runs on .* \(process \d+\): .*\n", second.stderr)
        assert terminal.tillwatch("clean-data").returncode == 2

        # What dies is started again.
        with closing(supervisor.Control(data_dir)) as control:
            ingest = next(process.pid for process in control.processes() if process.name == "ingest")
            os.kill(ingest, signal.SIGKILL)
            terminal.until(lambda: "ingest had ended and runs again" in terminal.said(), 30)

        # Status, given more time than a person would, for other tests may run beside this one.
        monkeypatch.setenv("TILLWATCH_DATA_DIR", str(data_dir))
        monkeypatch.setenv("TILLWATCH_PORT_OFFSET", str(OFFSET))
        terminal.until(lambda: status.show(Shared.load(), Console(file=io.StringIO()), 10), 30)
        screen = Console(file=io.StringIO(), width=100)
        assert status.show(Shared.load(), screen, 10)
        assert isinstance(screen.file, io.StringIO)
        text = screen.file.getvalue()
        assert re.search(r"^data +\d+\.\d s old .* commit [0-9a-f]{12}$", text, re.MULTILINE), text
        assert re.search(r"^lag +[\d,]+ events", text, re.MULTILINE), text
        assert re.search(r"^rows +orders [\d,]+", text, re.MULTILINE), text
        assert len(text.splitlines()) <= 24

        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(30) == 0
        assert of_demo(data_dir) == []
        assert "Traceback" not in terminal.said()

    # The data stays: the next start fills nothing of the hours that have rows.
    filled = (data_dir / "logs" / "fill.log").read_text().count("events from")
    with running(data_dir, "--no-incident") as terminal:
        terminal.until(lambda: "live after" in terminal.said(), 60)
        assert count(CLICKS) >= before
        assert "the last start had --with, this one has not" in terminal.said()
        assert count(PAID) > 10  # what is its own stays
        time.sleep(3)
        os.kill(terminal.process.pid, signal.SIGHUP)  # its terminal was closed
        assert terminal.process.wait(15) == 0
        assert of_demo(data_dir) == []
    if datetime.now(UTC).hour == hour:  # a new hour has none yet, and may be filled
        again = (data_dir / "logs" / "fill.log").read_text().splitlines()[filled:]
        assert not [line for line in again if "events from" in line and _minutes_ago(line) < 61], again


def test_a_demo_that_never_became_live_says_so_and_fails(tmp_path: Path) -> None:
    with running((tmp_path / "data").resolve(), "--no-fill", "--for", "0.1 s") as terminal:
        assert terminal.process.wait(60) == 1
        assert re.search(r"It never became live: why is in .*logs\.", terminal.said())


def _minutes_ago(line: str) -> float:
    found = re.search(r"from (\S+) to", line)
    assert found is not None, line
    return (datetime.now(UTC) - datetime.fromisoformat(found[1])).total_seconds() / 60
