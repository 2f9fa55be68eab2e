"""The real docker-compose.yml with docker-compose.small.yml and profile demo, on a private engine and built images."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.kafka import KafkaDown, KafkaLog
from lakehouse.settings.dremio import DremioSettings
from tests.images.engine import Engine, check_programs, compose_words, make_base, make_standins, run

FILES = ("docker-compose.yml", "docker-compose.small.yml")
TARGETS = ("setup", "console", "lite", "notifier", "producers", "sandbox", "gateway", "spark")
PORTS = {
    "CONSOLE_PORT": 5006,
    "NOTIFIER_PORT": 5007,
    "SANDBOX_PORT": 5008,
    "LITE_PORT": 8501,
    "S3_PORT": 9000,
    "MINIO_PORT": 9001,
    "DREMIO_PORT": 9047,
    "NESSIE_PORT": 19120,
    "FLIGHT_PORT": 32010,
    "KAFKA1_PORT": 29092,
    "KAFKA2_PORT": 39092,
    "KAFKA3_PORT": 49092,
}
ONCE = ("setup", "bucket", "dremio-setup")
HEALTHY_WITHIN_S = 420
RAW = ("orders_processed", "clicks_processed", "errors_processed", "refunds_processed", "dead_letters")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("images")
            # The first builds all images.
            item.add_marker(pytest.mark.timeout(1800))


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds, taken at once so that they differ."""
    held = []
    for _ in range(count):
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        held.append(probe)
    ports = [probe.getsockname()[1] for probe in held]
    for probe in held:
        probe.close()
    return ports


@dataclass
class Compose:
    """One project of Compose."""

    engine: Engine
    folder: Path
    ports: dict[str, int]
    project: str = "tillwatch"
    environment: dict[str, str] = field(default_factory=dict)
    healthy_s: dict[str, float] = field(default_factory=dict)
    """Service -> seconds from `up` until it was healthy, or ended with 0, at the first start."""

    def __post_init__(self) -> None:
        console = self.ports["CONSOLE_PORT"]
        ours = {name: str(port) for name, port in self.ports.items()} | {
            "CONSOLE_ORIGINS": json.dumps([f"localhost:{console}", f"127.0.0.1:{console}"]),
            "CONSOLE_URL": f"http://localhost:{console}/app",
            "DEMO_RATE": "40",
        }
        self.environment = self.engine.environment | ours | self.environment

    def command(self, *words: str, more: Path | None = None, project: str | None = None) -> list[str]:
        """Compose with our files; `more` is a further one."""
        names = [ROOT / name for name in FILES] + ([more] if more else [])
        files = [word for name in names for word in ("-f", str(name))]
        return [*compose_words(), "-p", project or self.project, *files, "--profile", "demo", *words]

    def __call__(self, *words: str, within_s: float = 900, more: Path | None = None) -> str:
        """One command that works: what it prints."""
        return run(self.command(*words, more=more), self.environment, within_s)

    def attempt(self, *words: str, project: str | None = None, **variables: str) -> tuple[int, str]:
        """One command that may fail: its exit code, and what it printed."""
        done = subprocess.run(
            self.command(*words, project=project),
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    # Containers ----------------------------------------------------------------------------------------------------

    def services(self) -> list[str]:
        """Those that are started here; Compose 1 names them all, whatever their profile."""
        declared = yaml.safe_load((ROOT / FILES[0]).read_text(encoding="utf-8"))["services"]
        named: list[str] = self("config", "--services").split()
        return [name for name in named if "cdc" not in declared.get(name, {}).get("profiles", ())]

    def up(self, *services: str) -> float:
        """Start, wait until all is healthy; how long that took (s)."""
        began = time.monotonic()
        self("up", "-d", "--no-build", *services)
        return self.wait_healthy(began)

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def state(self, service: str) -> dict[str, Any]:
        return dict(self.engine.inspect(self.container(service))["State"])

    def send(self, service: str, what: signal.Signals) -> None:
        """A signal from outside: `docker kill` would count as a stop by hand, and nothing would start it again."""
        pid = int(self.state(service)["Pid"])
        # 0 would mean this process and those beside it.
        assert pid > 0, f"{service} does not run"
        os.kill(pid, what)

    def is_well(self, service: str) -> bool:
        state = self.state(service)
        if service in ONCE:
            assert state["Status"] != "exited" or state["ExitCode"] == 0, self.said(service)
            return bool(state["Status"] == "exited")
        health = state.get("Health")
        return bool(state["Running"]) and (health is None or health["Status"] == "healthy")

    def wait_healthy(self, began: float) -> float:
        services = [name for name in self.services() if not name.startswith("spark-")]
        left = set(services)
        while left:
            for service in sorted(left):
                if self.is_well(service):
                    left.discard(service)
                    self.healthy_s.setdefault(service, time.monotonic() - began)
            if time.monotonic() - began > HEALTHY_WITHIN_S:
                raise AssertionError(
                    f"not well after {HEALTHY_WITHIN_S} s: {', '.join(sorted(left))}\n"
                    + "\n".join(f"{name}: {self.said(name)[-1500:]}" for name in sorted(left))
                )
            time.sleep(0.5)
        return time.monotonic() - began

    def said(self, service: str) -> str:
        """What a service has logged."""
        return run(["sh", "-c", f"docker logs {self.container(service)} 2>&1"], self.engine.environment, within_s=60)

    def secret(self, name: str) -> str:
        """As the services read it."""
        return self.engine.docker("exec", self.container("notifier"), "cat", f"/secrets/{name}")

    def url(self, port: str, path: str = "/") -> str:
        return f"http://localhost:{self.ports[port]}{path}"

    def get(self, port: str, path: str, **headers: str) -> tuple[int, Any]:
        """Status and answer, of JSON where it is; 0 where nobody answers."""
        try:
            asked = urllib.request.Request(self.url(port, path), headers=headers)
            with urllib.request.urlopen(asked, timeout=10) as got:
                status, body = got.status, got.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError:
            return 0, None
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode("utf-8", "replace")

    def break_next(self, service: str, kind: str) -> None:
        """Switch a fault of the sandbox on, for one message."""
        fault = json.dumps({"service": service, "kind": kind}).encode()
        asked = urllib.request.Request(self.url("SANDBOX_PORT", "/faults"), fault, {"Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=10).close()

    # What went in and what came out --------------------------------------------------------------------------------

    def dremio(self) -> Dremio:
        return Dremio(
            DremioSettings.load(
                uri=f"grpc://localhost:{self.ports['FLIGHT_PORT']}",
                password=self.secret("dremio_password"),
                plan_timeout="60 s",
                fetch_timeout="60 s",
            )
        )

    def brokers(self) -> str:
        return ",".join(f"localhost:{self.ports[f'KAFKA{number}_PORT']}" for number in (1, 2, 3))

    def log_ends(self) -> Counter[str]:
        """How many messages each topic has had."""
        ends = Counter[str]()
        end = time.monotonic() + 60
        while True:
            try:
                with KafkaLog(self.brokers()) as log:
                    for (topic, _), reach in log.ends().items():
                        ends[topic] += reach.end
                    return ends
            except KafkaDown:
                assert time.monotonic() < end, "no broker answers"
                time.sleep(1)

    def start_producers(self) -> None:
        """And wait for their first messages."""
        before = self.log_ends()
        self("start", "producers")
        eventually(lambda: self.log_ends() != before, 60, "messages of producers that were started")

    def delivered(self) -> Counter[str]:
        """What the newest run of the producers says that it has delivered; their log has every run."""
        report = re.findall(r"Delivered to kafka: (.*)", self.said("producers"))[-1]
        return Counter({topic: int(n.replace(",", "")) for topic, n in re.findall(r"(\w+) ([\d,]*\d)", report)})

    def rows(self, dremio: Dremio) -> int:
        """Raw rows and dead letters: one a message, for shoppers send none twice."""
        return sum(number(dremio, f"SELECT COUNT(*) AS n FROM {{{table}}}") for table in RAW)

    def wait_all_in(self, within_s: float = 180) -> int:
        """Until each message is a row, with producers stopped; how many there are."""
        sent = sum(self.log_ends().values())
        end = time.monotonic() + within_s
        rows = -1
        with self.dremio() as dremio:
            while rows != sent:
                assert time.monotonic() < end, f"{sent} messages are in the log, {rows} rows in the tables"
                assert rows <= sent, f"{sent} messages are in the log, {rows} rows in the tables: some came twice"
                with contextlib.suppress(DremioError):
                    rows = self.rows(dremio)
                time.sleep(0.5)
        return rows


def number(dremio: Dremio, question: str) -> int:
    """The one number `n` that a question answers."""
    found: int = dremio.sql(fill(question, None, {}))["n"][0].as_py()
    return found


def eventually(holds: Callable[[], object], within_s: float, what: str) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    check_programs()
    with Engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Our images, built from deploy/Dockerfile, and stand-ins for the rest; image -> seconds."""
    folder = tmp_path_factory.mktemp("images")
    seconds: dict[str, float] = {}
    began = time.monotonic()
    make_base(engine, folder)
    seconds["base"] = time.monotonic() - began
    services = yaml.safe_load((ROOT / FILES[0]).read_text(encoding="utf-8"))["services"]
    names = {name: services[f"{name}1" if name == "kafka" else name]["image"] for name in ("kafka", "nessie", "minio")}
    began = time.monotonic()
    make_standins(engine, folder, names)
    seconds["stand-ins"] = time.monotonic() - began
    for target in TARGETS:
        began = time.monotonic()
        tag = f"tillwatch/{target}:0.1.0"
        engine.docker("build", "--network", "host", "-f", "deploy/Dockerfile", "--target", target, "-t", tag, ".")
        seconds[target] = time.monotonic() - began
    shutil.rmtree(folder, ignore_errors=True)
    return seconds


@pytest.fixture(scope="session")
def compose(engine: Engine, images: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """All services up and healthy; their logs are shown where a test fails to start them."""
    project = Compose(engine, tmp_path_factory.mktemp("compose"), dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    try:
        project.up()
        yield project
    finally:
        keep = os.environ.get("IMAGES_LOGS")
        if keep:
            for service in project.services():
                Path(keep, f"{service}.log").write_text(project.said(service), encoding="utf-8")
        project("down", "-v", "-t", "5")


def moment(text: str) -> datetime:
    """A time as Docker writes it: RFC 3339, ns."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).astimezone(UTC)
