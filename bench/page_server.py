"""A server of pages, as benches start it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from bench.processes import memory_mb
from lakehouse import ROOT


class PageServer(AbstractContextManager["PageServer"]):
    """A server of pages in a process of its own, while in a `with` block."""

    def __init__(
        self,
        name: str,
        page: str,
        command: Sequence[str],
        port: int,
        variables: dict[str, str],
        state_port: int | None = None,
    ) -> None:
        self.page = f"http://127.0.0.1:{port}/{page}"
        self._bench = f"http://127.0.0.1:{state_port or port}/bench/"
        self._command = command
        self._variables = variables
        self._log = Path(tempfile.mkdtemp(prefix=f"tillwatch-bench-{name}-")) / "server.log"
        self.process: psutil.Popen | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = psutil.Popen(
                self._command, cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while True:
            try:
                if self.state()["published"]:
                    return self
            except OSError:
                pass
            if time.monotonic() > end or not self.process.is_running():
                raise SystemExit(f"bench: the server did not start; {self._log} says why.")
            time.sleep(0.2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except psutil.TimeoutExpired:
                self.process.kill()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._got("state")
        return found

    def documents(self) -> int:
        return int(self._got("documents"))

    def _got(self, what: str) -> Any:
        with urllib.request.urlopen(self._bench + what, timeout=30) as answer:
            return json.loads(answer.read())

    def memory_mb(self) -> float:
        assert self.process is not None
        return memory_mb(psutil.Process(self.process.pid)) or 0.0

    def cpu_s(self) -> float:
        assert self.process is not None
        times = self.process.cpu_times()
        return float(times.user + times.system)
