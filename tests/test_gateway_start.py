"""`tillwatch gateway` alone: on a data directory or a Nessie, said on the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import AuthError, Unavailable
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG, SCHEMA
from tests.test_gateway import Published

TILLWATCH = str(Path(sys.executable).with_name("tillwatch"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}


@contextmanager
def gateway(folder: Path, *words: str) -> Iterator[int]:
    """The gateway that these words start in a folder: the port that it listens on."""
    port = free_port()
    process = subprocess.Popen(
        [TILLWATCH, "gateway", "--port", str(port), *words], cwd=folder, env=environment(), stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def client(port: int, user: str = "dremio") -> Dremio:
    return Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}", user=user))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "data"
    folder.mkdir()
    (folder / "profile").write_text("embedded\n")
    Published(folder)
    return folder


def test_it_serves_the_tables_of_the_directory_that_is_named_to_the_user_that_is_named(
    data_dir: Path, tmp_path: Path
) -> None:
    with gateway(tmp_path, "--data-dir", str(data_dir), "--user", "grace", "--host", "127.0.0.1") as port:
        with client(port, "grace") as grace:
            asked = f"SELECT COUNT(*) AS n FROM {CATALOG}.{SCHEMA}.orders_processed"
            assert grace.sql(asked).to_pylist() == [{"n": 3}]
        with client(port) as stranger, pytest.raises(AuthError):
            stranger.head()
    assert not list(tmp_path.iterdir()), "nothing is made where it was started"


def test_two_serve_one_directory_on_two_ports(data_dir: Path, tmp_path: Path) -> None:
    with (
        gateway(tmp_path, "--data-dir", str(data_dir)) as first,
        gateway(tmp_path, "--data-dir", str(data_dir)) as second,
        client(first) as one,
        client(second) as other,
    ):
        assert one.head() == other.head()


def test_a_nessie_that_does_not_answer_yet_is_waited_for(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}/api/v2"
    with gateway(tmp_path, "--nessie", uri) as port, client(port) as reader:
        assert reader.sql("SELECT 1 AS n").to_pylist() == [{"n": 1}]
        with pytest.raises(Unavailable, match="source nessie_minio_catalog is not available now"):
            reader.head()
    assert [path.name for path in tmp_path.iterdir()] == [".tillwatch-gateway"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data-dir", "nowhere"], "--data-dir nowhere is no data directory of tillwatch; name one that "),
        (["--nessie", "nessie:19120"], "Setting 'nessie.uri' has the value 'nessie:19120': expected http://HOST:PORT"),
        (["--port", "http"], "--port has the value 'http'; expected a number from 1 to 65535."),
        (["--port", "65536"], "--port has the value '65536'; expected a number from 1 to 65535."),
        (["--host", "no.such.host"], "--host has the value 'no.such.host'; expected an address of this machine."),
        (["--host", "0.0.0.0"], "The gateway on 0.0.0.0 can be reached from other machines and takes the default"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path, words: list[str], says: str) -> None:
    ran = subprocess.run(
        [TILLWATCH, "gateway", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"tillwatch: {says}")
    assert len(ran.stderr.splitlines()) == 1


def test_a_directory_of_the_stack_is_not_read_as_embedded_ingests(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "profile").write_text("stack\n")
    ran = subprocess.run(
        [TILLWATCH, "gateway", "--data-dir", "data"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "belongs to the profile 'stack', not 'embedded'" in ran.stderr
