"""Kafka, Nessie and S3 of our own, in a directory and on ports of their own; for tests of the stack and for benches."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from lakehouse import ROOT
from lakehouse.settings.base import Shared
from lakehouse.settings.ports import claim_port
from pipeline.storage.nessie import MAIN, Nessie
from tillwatch import jars
from tillwatch.java import java_home
from tillwatch.servers import SERVERS, answers, needed_jars

READY_WITHIN_S = 90
STOP_WITHIN_S = 10
NO_ANCESTOR = "2e1cfa82b035c26cbbbdae632cea070514eb8b773f616aaeaf668e2f0be8f10d"
"""Nessie's commit before the first."""


@dataclass
class Servers:
    """The servers, while in a `with` block. `environment` is for the parts that use them.

    They keep what they hold over `stop` or `kill` and `start`; `clean` empties them. What they say is in NAME.log of
    the data directory.
    """

    data_dir: Path
    offset: int
    settings: Mapping[str, str] = field(default_factory=dict)
    """More settings, TILLWATCH_… by name."""
    names: Sequence[str] = tuple(SERVERS)
    """Which servers these are."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _cleaned: int = 0

    def __post_init__(self) -> None:
        # Once, for a test sees no settings of the machine later.
        self._constant = {
            "TILLWATCH_STACK_JARS": str(jars.cache_dir()),
            "TILLWATCH_SPARK_JARS": str(jars.directory("spark")),
            "JAVA_HOME": str(java_home()),
        }

    @property
    def shared(self) -> Shared:
        return Shared.load(data_dir=self.data_dir, port_offset=self.offset)

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self.shared.port('kafka')}"

    @property
    def nessie_uri(self) -> str:
        return f"http://127.0.0.1:{self.shared.port('nessie')}/api/v2"

    @property
    def s3_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.shared.port('s3')}"

    @property
    def environment(self) -> dict[str, str]:
        """What a part needs to find them: this process's environment, with only these settings of tillwatch."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
        return kept | self.variables

    @property
    def variables(self) -> dict[str, str]:
        """The settings alone."""
        return {
            "TILLWATCH_DATA_DIR": str(self.data_dir),
            "TILLWATCH_PORT_OFFSET": str(self.offset),
            "TILLWATCH_NESSIE_WAREHOUSE": f"s3://shop-{self._cleaned}/wh",
            **self._constant,
            **self.settings,
        }

    def __enter__(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        jars.fetch(needed_jars(self.shared, "connect" in self.names), say=lambda text: print(text, file=sys.stderr))
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._processes):
            self._signal(name, signal.SIGKILL)
        for name in list(self._processes):
            self._processes.pop(name).wait()

    def start(self, *names: str) -> None:
        """Start these servers, all by default, and wait until they answer; those that run already stay."""
        wanted = [name for name in names or self.names if not self.runs(name)]
        for name in wanted:
            # An answer from somebody else's server would be taken for this one's.
            claim_port(self.shared.port(name))
            with self.log(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "tillwatch.servers", name],
                    cwd=ROOT,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._wait(wanted)

    def stop(self, *names: str) -> None:
        """End these servers, all by default, as a supervisor does."""
        ending = [name for name in names or self.names if self.runs(name)]
        for name in ending:
            self._signal(name, signal.SIGTERM)
        for name in ending:
            try:
                self._processes[name].wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def kill(self, name: str) -> None:
        """kill -9."""
        self._signal(name, signal.SIGKILL)
        self._processes[name].wait()

    def freeze(self, name: str, frozen: bool = True) -> None:
        """Make a server hang: connections are taken, no answer comes; or let it go on."""
        self._signal(name, signal.SIGSTOP if frozen else signal.SIGCONT)

    def runs(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def log(self, name: str) -> Path:
        return self.data_dir / f"{name}.log"

    def clean(self) -> None:
        """Empty all three, for the next one who uses them; starts what was stopped.

        Topics are gone, main stands before its first commit, and the warehouse lies in a bucket that does not exist.
        """
        self.start()
        self._remove_topics()
        with contextlib.closing(Nessie(self.nessie_uri)) as nessie:
            for reference in nessie.references():
                if reference.name == MAIN:
                    nessie.assign(MAIN, reference.hash, NO_ANCESTOR)
                else:
                    nessie.delete(reference.name, reference.hash, reference.type)
        self._cleaned += 1

    def _remove_topics(self) -> None:
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        try:
            found = [name for name in admin.list_topics() if not name.startswith("__")]
            if found:
                admin.delete_topics(found)
            end = time.monotonic() + READY_WITHIN_S
            while set(admin.list_topics()) & set(found):
                assert time.monotonic() < end, f"Kafka still has {found}"
                time.sleep(0.05)
        finally:
            admin.close()

    def _wait(self, names: Iterable[str]) -> None:
        left, end = list(names), time.monotonic() + READY_WITHIN_S
        while left := [name for name in left if not answers(name, self.shared)]:
            for name in left:
                if not self.runs(name) or time.monotonic() > end:
                    raise AssertionError(f"{name} did not start:\n{self.log(name).read_text()[-3000:]}")
            time.sleep(0.05)

    def _signal(self, name: str, number: signal.Signals) -> None:
        if self.runs(name):
            # Its own session: a wrapper that it started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._processes[name].pid, number)
