"""A whole `tillwatch demo` of our own, and what its processes use: no other process of the machine is touched."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

LIVE_WITHIN_S = 120
END_WITHIN_S = 15
PIECES_APART_S = 6
"""The past is written in pieces, with pauses; a longer one is the end."""
SMAPS = Path("/proc/self/smaps_rollup")
MEMORY = "PSS" if SMAPS.exists() else "RSS"
"""PSS shares common pages out among processes; only Linux tells it. Elsewhere RSS, which counts them anew each time."""


def free_offset() -> int:
    """A port offset at which all ports of tillwatch are free; below 758, where the system hands none out.

    By chance, so that two who ask at the same time seldom get the same one; workers of one test run never do.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    offsets = list(range(100, 700, 10))[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    random.shuffle(offsets)
    for offset in offsets:
        with contextlib.ExitStack() as probes:
            try:
                for port in PORTS.values():
                    probe = probes.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
        return offset
    raise SystemExit("bench: no port offset from 100 to 690 has all its ports free.")


def environment(data_dir: Path, offset: int) -> dict[str, str]:
    """This process's environment without tillwatch's settings, but with a data directory and ports of our own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
    return kept | {
        "TILLWATCH_DATA_DIR": str(data_dir),
        "TILLWATCH_PORT_OFFSET": str(offset),
        # Where one service after the other fails, each message is measured: none may go into a digest.
        "TILLWATCH_NOTIFIER_STORM_AFTER": "0",
    }


@dataclass
class Demo:
    """`tillwatch demo` in a directory and on ports of its own, while in a `with` block; all its processes end with it.

    `command` replaces it by another that starts a demo, run in `cwd` with `variables` as its environment.
    """

    arguments: Sequence[str] = ()
    command: Sequence[str] = (sys.executable, "-m", "tillwatch", "demo")
    cwd: Path = ROOT
    variables: Mapping[str, str] | None = None
    offset: int = field(default_factory=free_offset)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tillwatch-bench-")))
    end_within_s: float = END_WITHIN_S
    started_at: float = 0.0
    ended_s: float = 0.0
    """From Ctrl-C to its end, once it ended."""
    _process: subprocess.Popen[bytes] | None = None
    _seen: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        settings = environment(self.data_dir, self.offset)
        if self.variables is None:
            return settings
        return dict(self.variables) | {name: value for name, value in settings.items() if name.startswith("TILLWATCH_")}

    def url(self, part: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{PORTS[part] + self.offset}{path}"

    def __enter__(self) -> Self:
        self.started_at = time.monotonic()
        with (self.folder / "demo.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self.command, *self.arguments],
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        self.processes()
        asked_at = time.monotonic()
        if process.poll() is None:
            # As Ctrl-C in its terminal: to make and to the demo alike.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.end_within_s)
        self.ended_s = time.monotonic() - asked_at
        for left in [*self._seen.values()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()
        if error is not None and not isinstance(error, KeyboardInterrupt):
            print(f"bench: the demo's last words:\n{self.last_words()}", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self, lines: int = 12) -> str:
        text = (self.folder / "demo.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started_at

    def check(self) -> None:
        """Raises SystemExit when the demo ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise SystemExit(f"bench: the demo ended with code {self._process.returncode}:\n{self.last_words()}")

    def wait_live(self, within_s: float = LIVE_WITHIN_S) -> None:
        """Until the console has its first data."""
        while True:
            self.check()
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url("console", "/readyz"), timeout=2):
                return
            if self.seconds > within_s:
                raise SystemExit(f"bench: the console is not live after {within_s:g} s:\n{self.last_words()}")
            time.sleep(0.1)

    def wait_filled(self, within_s: float = 300) -> float:
        """Until the demo has filled in the past; after how many seconds it had, from its start.

        At most `within_s` from now, for a bench must end.
        """
        until, busy_at = time.monotonic() + within_s, time.monotonic()
        while time.monotonic() - busy_at < PIECES_APART_S and time.monotonic() < until:
            self.check()
            if any("--from" in words_of(process) for process in self.processes()):
                busy_at = time.monotonic()
            time.sleep(0.25)
        return busy_at - self.started_at

    def processes(self) -> list[psutil.Process]:
        """The demo and all that descends from it."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            for process in [root, *root.children(recursive=True)]:
                self._seen.setdefault(process.pid, process)
        # One whose parent died has another parent now, and is still ours. A pid that is used anew is not.
        self._seen = {pid: process for pid, process in self._seen.items() if process.is_running()}
        return list(self._seen.values())

    def sleep(self, seconds: float, cpu: Cpu | None = None) -> None:
        """Wait, looking at the processes every 2 s, so that the CPU of short-lived ones is counted too."""
        until = time.monotonic() + seconds
        while True:
            self.check()
            if cpu is not None:
                cpu.look()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(2.0, left))


class Cpu:
    """CPU that a demo's processes use from now on."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._since = time.monotonic()
        self._last: dict[int, float] = {}
        self._used: dict[str, float] = {}
        for process in demo.processes():
            self._last[process.pid] = cpu_seconds(process) or 0.0

    def look(self) -> None:
        """Add what was used since the last look. What a process used between that and its end is lost."""
        for process in self._demo.processes():
            seconds = cpu_seconds(process)
            if seconds is None:
                continue
            name = part_of(process)
            self._used[name] = self._used.get(name, 0.0) + seconds - self._last.get(process.pid, 0.0)
            self._last[process.pid] = seconds

    def percent(self) -> dict[str, float]:
        """Per cent of one core, by part, since the beginning."""
        self.look()
        seconds = time.monotonic() - self._since
        return {name: 100 * used / seconds for name, used in sorted(self._used.items())}


def cpu_seconds(process: psutil.Process) -> float | None:
    """CPU seconds of a process, without its children; None when it is gone."""
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return float(times.user + times.system)


def memory_mb(process: psutil.Process) -> float | None:
    """Its PSS (or RSS, see MEMORY) in MB of 10^6 bytes; None when it is gone."""
    try:
        if MEMORY == "RSS":
            return float(process.memory_info().rss) / 1e6
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except (OSError, psutil.Error):
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def memory_by_part(demo: Demo) -> dict[str, float]:
    """MB by part."""
    found: dict[str, float] = {}
    for process in demo.processes():
        megabytes = memory_mb(process)
        if megabytes is not None:
            found[part_of(process)] = found.get(part_of(process), 0.0) + megabytes
    return found


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


# The stack's own processes, by what stands on their command lines; the first that fits.
_STACK = {
    "spark.deploy.SparkSubmit": "driver's JVM",
    "spark-apps/stream.py": "driver",
    "kafka.Kafka": "kafka",
    "s3proxy.Main": "s3",
    "minio": "s3",
    "nessie": "nessie",
}


def part_of(process: psutil.Process) -> str:
    """The part's module, as its command line says it: embedded.gateway, console.lite, tillwatch, …"""
    words = words_of(process)
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    for text, name in _STACK.items():
        if any(text in word for word in words):
            return name
    return Path(words[0]).name if words else "gone"


def directory_mb(folder: Path) -> float:
    """Size of all files below a folder, in MB of 10^6 bytes, as the disk holds them."""
    total = 0
    for path in _files(folder):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total / 1e6


def _files(folder: Path) -> Iterator[Path]:
    for at, _, names in folder.walk():
        for name in names:
            yield at / name
