"""Arrow's Flight SQL JDBC driver, the way of DBeaver and of every tool in Java, against the gateway."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse import ROOT
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.client_cast import CLIENTS
from tests.test_gateway import Published, start_gateway, stop
from tillwatch import jars
from tillwatch.java import java


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the driver found, by name."""
    compiler = java().with_name("javac")
    if not compiler.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"the client is a source file, and {java()} has no compiler beside it")
    [driver] = jars.fetch(["jdbc"])["jdbc"].glob("*.jar")
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    process, port = start_gateway(data_dir)
    try:
        yield _run(driver, port)
    finally:
        stop(process)


def _run(driver: Path, port: int) -> dict[str, str]:
    program = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "-Duser.timezone=UTC", "-cp", driver]
    # As the docs have it.
    [url] = re.findall(r"jdbc:arrow-flight-sql:\S+", (ROOT / "docs" / "clients.md").read_text(encoding="utf-8"))
    command = [java(), *program, CLIENTS / "JdbcClient.java", url.replace("32010", str(port))]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split("\t") for line in done.stdout.splitlines() if "\t" in line)


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("product", "Dremio Server"),
        ("catalogs", "[]"),
        ("table types", "[TABLE, SYSTEM_TABLE, VIEW]"),
        ("columns", f"[{', '.join(column.name for column in TABLES['orders_processed'].columns)}]"),
        ("keys", "[]"),
        ("converts", "true"),
        ("quote", '"'),
        ("result columns", "VARCHAR 18 4 TIMESTAMP"),
        ("parameters", "[o-3, ;, ;]"),
        ("dates", "[2026-01-02, ;]"),
        ("null and count", "[o-1, o-2, ;]"),
        ("after use", "[3]"),
        ("schema", "[3]"),
        ("after all", "[1]"),
    ],
)
def test_the_driver_is_answered(told: dict[str, str], ask: str, answer: str) -> None:
    assert told[ask] == answer


def test_the_driver_reads_every_table(told: dict[str, str]) -> None:
    assert f"{CATALOG}.{SCHEMA}" in told["schemas"]
    counts = dict(item.split("=") for item in told["every table"].split(","))
    assert set(counts) == set(TABLES)
    assert counts["orders_processed"] == "3"


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ("bad SQL", 'encountered "SELEC"'),
        ("insert", "source nessie_minio_catalog is read-only"),
        ("bad password", "Login failed: Invalid username or password"),
    ],
)
def test_the_driver_is_refused_in_dremios_words(told: dict[str, str], ask: str, says: str) -> None:
    assert told[ask].startswith("error: ")
    assert says in told[ask]


def test_the_driver_cancels_at_once(told: dict[str, str]) -> None:
    assert 0 <= int(told["cancel"]) < 1000
