"""The real stack for tests: Kafka, Nessie and S3 once a session, emptied for each test; the driver and the gateway.

    def test_…(stack: Stack) -> None:
        with stack.driver() as driver, stack.gateway() as dremio:
            …
            driver.kill()
            stack.servers.kill("kafka")

The settings that lead to the servers are in the environment of the test too: KafkaSettings.load() and the rest work.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest

from bench.processes import free_offset
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from lakehouse.user_error import UserError
from pipeline.settings import S3Settings
from tillwatch.java import NESSIE_JAVA, java
from tillwatch.stack import check_packages

READS_WITHIN_S = 120
ANSWERS_WITHIN_S = 60
ENDS_WITHIN_S = 40

QUICK_START = {
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -Djava.net.preferIPv4Stack=true -XX:TieredStopAtLevel=1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Most drivers here live for seconds: compiling costs them more than it brings. test_one_order and test_stack_run have
the product's own settings."""


LONG = ("test_kills", "test_stack_run", "test_rules", "test_again")
"""Begun first: what is left at the end is short, and no worker waits long for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("stack")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def java_is_there() -> None:
    """Without Java, or the packages of the stack, a test is skipped; with CI=true it fails."""
    try:
        check_packages()
        java()
        java(NESSIE_JAVA)
    except UserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def servers(java_is_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The three servers, on ports of their own."""
    # All workers of one run share it.
    run = tmp_path_factory.getbasetemp()
    archive = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "classes.jsa"
    settings = {"TILLWATCH_SPARK_CONF": quick_start(f"-XX:SharedArchiveFile={archive}")}
    with Servers(tmp_path_factory.mktemp("stack") / "data", free_offset(), settings) as running:
        share_classes(running, archive)
        yield running


def quick_start(*options: str, **conf: str) -> str:
    """spark.conf with QUICK_START, more options of Java, and more settings of Spark's."""
    java_options = " ".join([QUICK_START["spark.driver.extraJavaOptions"], *options])
    return json.dumps({**QUICK_START, "spark.driver.extraJavaOptions": java_options, **conf})


def share_classes(servers: Servers, archive: Path) -> None:
    """Make the archive of Java classes that drivers start from, where this run has none yet."""
    with archive.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another worker makes it; until then drivers start without
        if archive.exists():
            return
        new = archive.with_suffix(".new")
        settings = servers.environment | {"TILLWATCH_SPARK_CONF": quick_start(f"-XX:ArchiveClassesAtExit={new}")}
        done = subprocess.run(
            [sys.executable, "tests/stack/classes.py"], cwd=ROOT, env=settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-6000:]
        new.rename(archive)


class Program:
    """A process of ours and what it has said."""

    def __init__(self, argv: list[str], environment: dict[str, str], log: Path, cwd: Path = ROOT) -> None:
        self.log = log
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """All its output so far."""
        with self.log.open("rb") as out:
            out.seek(self._from)
            return out.read().decode("utf-8", "replace")

    def until(self, what: Callable[[], object], within_s: float) -> None:
        """Wait for something while the process runs. Raises AssertionError with what it said."""
        end = time.monotonic() + within_s
        while not what():
            assert self.process.poll() is None, f"ended with code {self.process.returncode}:\n{self.said()[-6000:]}"
            assert time.monotonic() < end, f"not within {within_s} s:\n{self.said()[-6000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9, with all that it started (Spark's JVM ends with its Python in any case)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ends(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Wait for its end by itself: the exit code. What it started and left is killed."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"runs on after {within_s} s:\n{self.said()[-6000:]}") from None
        finally:
            self.kill()

    def stop(self, within_s: float = ENDS_WITHIN_S) -> int:
        """SIGTERM, to it alone as supervisord does for a driver: the exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        return self.ends(within_s)


@dataclass
class Stack:
    """The servers, empty, and a way to start the parts that use them; `tmp` is this test's directory."""

    servers: Servers
    tmp: Path
    _count: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a part gets: the settings of the servers, and a data directory of this test."""
        return self.servers.environment | {"TILLWATCH_DATA_DIR": str(self.tmp / "data")}

    def start(self, name: str, argv: list[str], **variables: str) -> Program:
        """Start a part; `variables` are settings without TILLWATCH_, or names of the environment with a leading _."""
        given = {name if name.startswith("_") else f"TILLWATCH_{name}": value for name, value in variables.items()}
        self.tmp.mkdir(exist_ok=True)
        return Program([sys.executable, *argv], self.environment | given, self.tmp / f"{name}.log")

    @contextlib.contextmanager
    def driver(self, wait: bool = True, **variables: str) -> Iterator[Program]:
        """A driver that reads (with wait=False: just started); killed at the end if it still runs.

        `variables`: SPARK_COLLECT_ROWS="0", _TILLWATCH_KILL_AT="kpis-written:3", …
        """
        program = self.start("driver", ["spark-apps/stream.py"], **variables)
        try:
            if wait:
                program.until(lambda: "reading from" in program.said(), READS_WITHIN_S)
            yield program
        finally:
            program.kill()

    @contextlib.contextmanager
    def gateway(self, **variables: str) -> Iterator[Dremio]:
        """A gateway on Nessie's tables, and a client that asks it."""
        program = self.start("gateway", ["-m", "embedded.gateway"], **({"GATEWAY_CATALOG": "nessie"} | variables))
        uri = f"grpc://localhost:{PORTS['gateway'] + self.servers.offset}"
        dremio = Dremio(DremioSettings.load(uri=uri))
        try:
            program.until(lambda: _answers(dremio), ANSWERS_WITHIN_S)
            yield dremio
        finally:
            dremio.close()
            program.kill()

    def url(self, part: str) -> str:
        """Where a part of this test answers over HTTP."""
        return f"http://127.0.0.1:{PORTS[part] + self.servers.offset}"

    @contextlib.contextmanager
    def oncall(self, **variables: str) -> Iterator[Program]:
        """A sandbox, a notifier that tells its Slack, and a console, all three up; the notifier."""
        slack = {
            "NOTIFIER_SLACK_BASE_URL": f"{self.url('sandbox')}/api/",
            "NOTIFIER_SLACK_TOKEN": "xoxb-test",
            "NOTIFIER_SLACK_CHANNEL": "C0SANDBOX",
        }
        with contextlib.ExitStack() as running:
            programs = {}
            for module, path in (("embedded.sandbox", "messages"), ("notifier", "-/healthy"), ("console", "readyz")):
                part = module.removeprefix("embedded.")
                programs[part] = self.start(part, ["-m", module], **slack | variables)
                running.callback(programs[part].kill)
                url = f"{self.url(part)}/{path}"
                programs[part].until(lambda url=url: _is_up(url), ANSWERS_WITHIN_S)  # type: ignore[misc]  # its default
            yield programs["notifier"]

    def slack(self) -> list[str]:
        """The texts that the sandbox's Slack got."""
        with urllib.request.urlopen(f"{self.url('sandbox')}/messages", timeout=30) as answer:
            return [message["text"] for message in json.load(answer)["slack"]]


def stock_s3() -> dict[str, str]:
    """What plain pyiceberg takes to read and write the stack's S3."""
    s3 = S3Settings.load()
    return {
        "s3.endpoint": s3.endpoint,
        "s3.access-key-id": s3.access_key,
        "s3.secret-access-key": s3.secret_key.get_secret_value(),
        "s3.region": s3.region,
    }


def _is_up(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except HTTPError:
        return True  # that it is not ready, say: the orders are of another year
    except OSError:
        return False
    return True


def _answers(dremio: Dremio) -> bool:
    try:
        dremio.sql("SELECT 1 AS n")
    except DremioError:
        return False
    return True


@pytest.fixture
def stack(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """All servers up and empty: no topic, no commit, no bucket."""
    servers.clean()
    for name, value in servers.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "data"))
    return Stack(servers, tmp_path)
