"""arrow-go's Flight SQL client, the way of tools in Go, against the gateway; skipped where there is no Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.client_cast import CLIENTS
from tests.test_gateway import Published, start_gateway, stop

GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the client found, by name."""
    if GO is None:
        pytest.skip("there is no Go to build the client with")
    program = tmp_path_factory.mktemp("go") / "client"
    # Go keeps what it built: the packages of others are built once.
    build = [GO, "build", "-trimpath", "-o", str(program), "."]
    done = subprocess.run(build, cwd=CLIENTS / "go", capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    process, port = start_gateway(data_dir)
    try:
        done = subprocess.run([program, str(port)], capture_output=True, text=True, timeout=60, env=os.environ)
        assert done.returncode == 0, done.stderr[-2000:]
        yield dict(line.split("\t") for line in done.stdout.splitlines())
    finally:
        stop(process)


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("select", "o-1,o-2,o-3"),
        ("parameters", "o-3"),
        ("table types", "TABLE,SYSTEM_TABLE,VIEW"),
        ("after all", "1"),
    ],
)
def test_the_client_is_answered(told: dict[str, str], ask: str, answer: str) -> None:
    assert told[ask] == answer


def test_the_client_reads_every_table(told: dict[str, str]) -> None:
    assert f"{CATALOG}.{SCHEMA}" in told["schemas"].split(",")
    counts = dict(item.split("=") for item in told["every table"].split(","))
    assert set(counts) == set(TABLES)
    assert counts["orders_processed"] == "3"


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ("bad SQL", 'encountered "SELEC"'),
        ("bad column", "Column 'nope' not found"),
        ("delete", "acceptPut is not implemented"),
        ("bad password", "Invalid username or password"),
    ],
)
def test_the_client_is_refused_in_dremios_words(told: dict[str, str], ask: str, says: str) -> None:
    assert told[ask].startswith("error: ")
    assert says in told[ask]


def test_the_client_cancels_at_once(told: dict[str, str]) -> None:
    assert 0 <= int(told["cancel"]) < 1000
