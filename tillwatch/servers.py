"""The stack's servers on this machine: Kafka, Nessie and S3, and for --cdc PostgreSQL and Kafka Connect.

`python -m tillwatch.servers kafka|nessie|s3|postgres|connect` runs one.

It writes the server's configuration into the data directory and becomes the server's own process, so that a signal
reaches the server, and a restart prepares all anew.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings
from tillwatch import capture, jars
from tillwatch.java import NESSIE_JAVA, java
from tillwatch.s3_server import s3, s3_kind
from tillwatch.server import Server, home_of, write_properties

PROFILE = "stack"
# One compiler of Java's two, the quick one: Nessie is up with half of the CPU, and what it does later is little.
QUICK_COMPILER = ("-XX:TieredStopAtLevel=1",)


def kafka(shared: Shared) -> Server:
    """One broker that is its own controller; formats its directory at the first start."""
    home = home_of(shared, "kafka")
    config = home / "server.properties"
    broker, controller = f"127.0.0.1:{shared.port('kafka')}", f"127.0.0.1:{shared.port('kafka_controller')}"
    listeners = f"PLAINTEXT://{broker},CONTROLLER://{controller}"
    write_properties(
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
        quick = [line[0], *QUICK_COMPILER, *line[1:]]
        done = subprocess.run([*quick, "kafka.tools.StorageTool", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise UserError(f"Kafka cannot format {home / 'log'}: {' '.join((done.stdout + done.stderr).split())}")
    heap = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]
    return Server(
        [line[0], *heap, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *line[1:], "kafka.Kafka", str(config)]
    )


def nessie(shared: Shared) -> Server:
    """Nessie with its store in RocksDB."""
    home = home_of(shared, "nessie")
    config = home / "nessie.properties"
    warehouse, s3 = NessieSettings.load(), S3Settings.load()
    options = "nessie.catalog.service.s3.default-options"
    write_properties(
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
            *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", *QUICK_COMPILER),
            f"-Dsmallrye.config.locations={config.as_uri()}",
            *("-jar", str(jars.directory("nessie") / jar.filename)),
        ]
    )


SERVERS: dict[str, Callable[[Shared], Server]] = {"kafka": kafka, "nessie": nessie, "s3": s3}
OF_CDC: dict[str, Callable[[Shared], Server]] = {"postgres": capture.postgres, "connect": capture.connect}
"""Those of `stack --cdc` alone."""
PORTS_OF: dict[str, tuple[str, ...]] = {
    "kafka": ("kafka", "kafka_controller"),
    "nessie": ("nessie", "nessie_management"),
    "s3": ("s3",),
    "postgres": ("postgres",),
    "connect": ("connect",),
}


def become(name: str, shared: Shared) -> None:
    """Replace this process by the server. Raises UserError when it cannot be."""
    open_data_dir(shared.data_dir, PROFILE)
    for port in PORTS_OF[name]:
        claim_port(shared.port(port))
    jars.fetch(jars_of(name, shared))
    server = (SERVERS | OF_CDC)[name](shared)
    os.execve(server.argv[0], list(server.argv), {**os.environ, **server.environment})


def main() -> None:
    with exit_on_user_error():
        known = SERVERS | OF_CDC
        if len(sys.argv) != 2 or sys.argv[1] not in known:
            raise UserError(f"Name one server: `python -m tillwatch.servers {'|'.join(known)}`.")
        become(sys.argv[1], Shared.load())


def jars_of(name: str, shared: Shared) -> list[str]:
    """The sets of jars that a server needs."""
    if name == "s3":
        return ["s3proxy"] if s3_kind(shared) == "s3proxy" else []
    if name in OF_CDC:
        return list(jars.OF_CDC) if name == "connect" else []
    return [name]


def needed_jars(shared: Shared, cdc: bool = False) -> list[str]:
    """All sets that the servers and the driver need; with `cdc` those of Kafka Connect too."""
    running = [*SERVERS, *(OF_CDC if cdc else ())]
    return [*(name for server in running for name in jars_of(server, shared)), "spark"]


def answers(name: str, shared: Shared, within_s: float = 1) -> bool:
    """Whether one of the servers on this machine is ready."""
    port = shared.port(name)
    match name:
        case "kafka" | "postgres":
            # Kafka opens its port when it is ready; PostgreSQL a moment before, and refuses until then.
            return _listens(port, within_s)
        case "nessie":
            return _http(port, "/api/v2/config", within_s) == 200
        case _:
            # S3: without a signature a good server refuses.
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


if __name__ == "__main__":
    main()
