"""An engine and a gateway of our own, as processes: the embedded one, or the driver of the stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Self

from bench.mixture import MixedMessage
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import NotFound, Timeout, Unavailable
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.settings.ports import PORTS
from lakehouse.sinks import EventLogSink, KafkaSink, Sink
from lakehouse.tables import CATALOG, SCHEMA
from lakehouse.topics import TOPICS

type Offsets = dict[tuple[str, int], int]
"""(topic, partition) -> next offset."""

_END_WITHIN_S = 40.0


class Pipeline(ABC):
    """An engine and a gateway as processes on a data directory, while in a `with` block.

    Settings are names without TILLWATCH_. What the processes say is in NAME.log of the data directory.
    """

    ENGINE: ClassVar[tuple[str, ...]]
    READS_WITHIN_S: ClassVar[float]
    GATEWAY: ClassVar[Mapping[str, str]] = {}

    def __init__(self, data_dir: Path, port_offset: int, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.data_dir = data_dir
        self.port_offset = port_offset
        ours = {"DATA_DIR": str(data_dir), "PORT_OFFSET": str(port_offset), **settings}
        self.variables = {f"TILLWATCH_{name}": value for name, value in ours.items()}
        data_dir.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._began_at = 0
        self._kept = False
        self.uri = f"grpc://localhost:{PORTS['gateway'] + port_offset}"
        self.dremio = patient(self.uri)

    def __enter__(self) -> Self:
        self.start("gateway", [sys.executable, "-m", "embedded.gateway"], self.GATEWAY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dremio.close()
        for name in list(self._processes):
            self.stop(name)
        if error is not None:
            print(f"The engine's last words:\n{self.last_words()}", file=sys.stderr)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes get: of tillwatch's settings only its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
        return kept | self.variables

    def url(self, part: str, path: str = "/") -> str:
        """Where a part listens."""
        return f"http://127.0.0.1:{PORTS[part] + self.port_offset}{path}"

    # Processes -----------------------------------------------------------------------------------------------------

    def start(self, name: str, command: Iterable[str], variables: Mapping[str, str] | None = None) -> None:
        """Start a process that ends with the pipeline."""
        with self.log_of(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=self.environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_of(self, name: str) -> Path:
        """What a process says."""
        return self.data_dir / f"{name}.log"

    def runs(self, name: str) -> bool:
        """Whether a process was started and has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def stop(self, name: str) -> int:
        """SIGTERM, after 40 s SIGKILL; the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            return process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._kill(process)
            return process.returncode
        finally:
            _end_group(process.pid)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        _end_group(process.pid)

    # The engine ----------------------------------------------------------------------------------------------------

    def start_engine(self, **variables: str) -> None:
        """Start it; variables are added to its environment as they are."""
        log = self.data_dir / "engine.log"
        self._began_at = log.stat().st_size if log.exists() else 0
        self.start("engine", [sys.executable, *self.ENGINE], variables)

    @property
    def engine(self) -> subprocess.Popen[bytes]:
        return self._processes["engine"]

    def log(self) -> str:
        """What the engine said since its last start."""
        path = self.data_dir / "engine.log"
        return path.read_bytes()[self._began_at :].decode(errors="replace") if path.exists() else ""

    def last_words(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def failures(self) -> list[str]:
        """What the engine said of each batch that failed and was begun again, in all its starts."""
        path = self.data_dir / "engine.log"
        said = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return [line for line in said if "failed, again" in line]

    def wait_reading(self) -> None:
        """Until it reads the log. Raises RuntimeError when it ends before, TimeoutError when it takes too long."""
        deadline = time.monotonic() + self.READS_WITHIN_S
        while " reading " not in self.log():
            if self.engine.poll() is not None:
                raise RuntimeError(f"the engine ended with {self.engine.returncode}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the engine did not read within {self.READS_WITHIN_S:g} s:\n{self.last_words()}")
            time.sleep(0.05)

    def kill_engine(self) -> None:
        """kill -9, whatever it is about."""
        self._kill(self._processes.pop("engine"))

    def wait_killed(self, seconds: float) -> None:
        """Until the engine killed itself at the point it was told to. Raises RuntimeError when it ended otherwise."""
        try:
            code = self.engine.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the engine lives after {seconds:g} s:\n{self.last_words()}") from None
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the engine ended with {code}:\n{self.last_words()}")
        _end_group(self._processes.pop("engine").pid)

    def stop_engine(self) -> int:
        """SIGTERM; the exit code."""
        return self.stop("engine")

    @contextmanager
    def kept_running(self, pause_s: float = 1.0) -> Iterator[list[int]]:
        """Start the engine, and again whenever it ends with an error, as a supervisor does; the exit codes so far."""
        codes: list[int] = []
        ended = threading.Event()
        self.start_engine()

        def keep() -> None:
            while not ended.wait(pause_s):
                code = self.engine.poll()
                if code:
                    codes.append(code)
                    _end_group(self.engine.pid)
                    self.start_engine()

        keeper = threading.Thread(target=keep, name="keeper", daemon=True)
        self._kept = True
        keeper.start()
        try:
            yield codes
        finally:
            ended.set()
            keeper.join()
            self._kept = False

    # What goes in and what comes out -------------------------------------------------------------------------------

    @abstractmethod
    def sink(self) -> Sink:
        """Where this engine reads from; close it."""

    @property
    @abstractmethod
    def sink_words(self) -> tuple[str, ...]:
        """The same as options of `python -m producers`."""

    @abstractmethod
    def log_ends(self) -> Offsets:
        """The offset that the next message of each topic and partition will get."""

    def send(self, messages: Iterable[MixedMessage]) -> None:
        """Deliver messages, in order."""
        sink = self.sink()
        try:
            for number, message in enumerate(messages):
                sink.send(message.topic, message.key, message.value)
                if number % 5000 == 4999:
                    sink.flush()
        finally:
            sink.close()

    def positions(self, commit: str | None = None) -> Offsets:
        """What is in, at one commit (None: the head); empty before the first publish, or while nobody answers.

        Raises DremioError where the gateway answers and cannot read it.
        """
        at = f' AT COMMIT "{commit}"' if commit else ""
        try:
            rows = self.dremio.sql(
                f"SELECT topic, source_partition, next_offset FROM {CATALOG}.{SCHEMA}.ingest_positions{at}"
            ).to_pylist()
        except (NotFound, Unavailable, Timeout):
            return {}
        return {(row["topic"], row["source_partition"]): row["next_offset"] for row in rows}

    def behind(self) -> Offsets:
        """How many messages of each topic and partition are not in; none where all are."""
        positions = self.positions()
        return {
            place: end - positions.get(place, 0)
            for place, end in self.log_ends().items()
            if end > positions.get(place, 0) and place[0] in TOPICS
        }

    def wait_until_read(self, seconds: float = 600) -> None:
        """Until all that is in the log is in the tables. Raises TimeoutError, or RuntimeError when the engine ended."""
        deadline = time.monotonic() + seconds
        while behind := self.behind():
            engine = self._processes.get("engine")
            if engine is not None and engine.poll() is not None and not self._kept:
                raise RuntimeError(f"the engine ended with {engine.returncode}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:g} s not in: {behind}\n{self.last_words()}")
            time.sleep(0.2)


class Embedded(Pipeline):
    """Event log -> ingest -> files on the disk."""

    ENGINE = ("-m", "embedded.ingest")
    READS_WITHIN_S = 30

    def sink(self) -> Sink:
        return EventLogSink(self.data_dir / "events.db")

    @property
    def sink_words(self) -> tuple[str, ...]:
        return ()

    def log_ends(self) -> Offsets:
        # Imported here: the stack's benches run where nothing of the embedded engine is needed.
        from embedded.log import EventLog

        with EventLog(self.data_dir / "events.db") as log:
            return {(topic, 0): log.bounds(topic)[1] for topic in TOPICS}


class Stack(Pipeline):
    """Kafka -> Spark driver -> Nessie and S3, on servers that run elsewhere."""

    ENGINE = ("spark-apps/stream.py", "--verbose")
    READS_WITHIN_S = 300
    GATEWAY: ClassVar[Mapping[str, str]] = {"TILLWATCH_GATEWAY_CATALOG": "nessie"}

    def __init__(
        self,
        servers: Servers,
        data_dir: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        port_offset: int | None = None,
    ) -> None:
        """With a port offset of its own where another one's is taken already."""
        super().__init__(data_dir, servers.offset if port_offset is None else port_offset, settings)
        self.servers = servers
        where = {
            "TILLWATCH_KAFKA_BROKERS": servers.brokers,
            "TILLWATCH_NESSIE_URI": servers.nessie_uri,
            "TILLWATCH_S3_ENDPOINT": servers.s3_endpoint,
        }
        self.variables = servers.variables | where | self.variables
        self.brokers = servers.brokers

    def batch_sizes(self) -> list[int]:
        """Messages of each batch that was published since the last start; a heartbeat has none."""
        return [int(size) for size in re.findall(r" publish \d+ \w+: (\d+) events in ", self.log())]

    def sink(self) -> Sink:
        from lakehouse.kafka import ensure_topics

        partitions = int(self.variables.get("TILLWATCH_KAFKA_PARTITIONS", 1))
        settings = KafkaSettings.load(brokers=self.brokers, partitions=partitions)
        _once_kafka_answers(lambda: ensure_topics(settings))
        return KafkaSink(self.brokers)

    @property
    def sink_words(self) -> tuple[str, ...]:
        return ("--sink", f"kafka://{self.brokers}")

    def log_ends(self) -> Offsets:
        from lakehouse.kafka import log_ends

        ends = _once_kafka_answers(lambda: log_ends(self.brokers))
        return {place: end for place, (_, end) in ends.items() if place[0] in TOPICS}


def _once_kafka_answers[T](ask: Callable[[], T]) -> T:
    """The answer, asked again for half a minute: after a restart of Kafka the connection that is held is a dead one."""
    from lakehouse.kafka import KafkaDown

    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except KafkaDown:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def rule(name: str, kind: str, **more: object) -> dict[str, object]:
    """A rule as config/alerts.yaml has it; `more` are its other keys, or other words than these."""
    words = {"description": name, "owner": "bench", "summary": name, "runbook_url": "https://runbooks.example.com"}
    return {"name": name, "kind": kind, "severity": "ERROR", **words, **more}


HASTY: Mapping[str, Any] = {"for": "1 min", "keep_firing_for": "1 min"}
"""The shortest times that a rule on minutes may have."""


def with_rules(folder: Path, *rules: Mapping[str, object]) -> dict[str, str]:
    """The settings of a pipeline that judges by these rules in place of config/alerts.yaml."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "config" / "tillwatch.yaml", folder)
    (folder / "alerts.yaml").write_text(json.dumps({"rules": rules}), encoding="utf-8")  # JSON is YAML too
    return {"CONFIG": str(folder / "tillwatch.yaml")}


def patient(uri: str) -> Dremio:
    """A client that waits as long as a loaded machine may take: what is looked at is what is answered, not when."""
    return Dremio(DremioSettings.load(uri=uri, plan_timeout="60 s", fetch_timeout="60 s"))


def _end_group(pid: int) -> None:
    """End what a killed engine left: Spark's own processes. The group is named for the process that we started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
