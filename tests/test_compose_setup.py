"""What makes the secrets of docker-compose.yml, and what tells Docker that a container is well."""

from __future__ import annotations

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse import ROOT

SETUP = ROOT / "deploy" / "compose" / "setup.py"
HEALTHY = ROOT / "deploy" / "compose" / "healthy.py"
MADE = {
    "console_cookie_secret",
    "console_password",
    "database_password",
    "dremio_password",
    "format",
    "nessie.properties",
    "notifier_api_token",
    "notifier_token",
    "s3_secret_key",
}


def setup(into: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
    ours = {"TILLWATCH_S3_ENDPOINT": "http://minio:9000", "TILLWATCH_S3_ACCESS_KEY": "tillwatch", **variables}
    # As in its container: nothing but Python itself.
    command = [sys.executable, "-I", "-S", str(SETUP), "--into", str(into), *words]
    return subprocess.run(command, env=clean | ours, capture_output=True, text=True, timeout=60)


def held(into: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in into.iterdir()}


def test_the_first_start_makes_all_secrets_and_shows_the_consoles_password_once(tmp_path: Path) -> None:
    ran = setup(tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = held(tmp_path)
    assert set(found) == MADE
    assert ran.stdout.count(found["console_password"]) == 1
    for name in MADE - {"format", "nessie.properties", "console_password"}:
        assert found[name] not in ran.stdout, name
    assert re.fullmatch(r"([a-z]{3}\d-){3}[a-z]{3}\d", found["dremio_password"])
    assert f"s3creds.secret={found['s3_secret_key']}\n" in found["nessie.properties"]
    assert "default-options.endpoint=http://minio:9000\n" in found["nessie.properties"]
    assert "warehouse.location=s3://warehouse/wh\n" in found["nessie.properties"]
    # Read by the users of other images, changed by nobody.
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o444}


def test_nessie_is_told_of_an_s3_of_your_own(tmp_path: Path) -> None:
    own = {"TILLWATCH_NESSIE_WAREHOUSE": "s3://otters/wh", "TILLWATCH_S3_REGION": "eu-central-1"}
    assert setup(tmp_path, **own).returncode == 0
    properties = held(tmp_path)["nessie.properties"]
    assert "warehouses.warehouse.location=s3://otters/wh\n" in properties
    assert "default-options.region=eu-central-1\n" in properties


def test_two_installations_share_no_secret(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert setup(tmp_path / name).returncode == 0
    a, b = held(tmp_path / "a"), held(tmp_path / "b")
    assert not {a[name] for name in MADE - {"format"}} & set(b.values())


def test_a_second_start_changes_nothing_and_shows_nothing(tmp_path: Path) -> None:
    setup(tmp_path)
    before = held(tmp_path)
    again = setup(tmp_path)
    assert again.returncode == 0
    assert held(tmp_path) == before
    assert before["console_password"] not in again.stdout


def test_a_first_start_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    setup(tmp_path)
    before = held(tmp_path)
    for name in ("format", "console_password", "nessie.properties"):
        (tmp_path / name).unlink()
    (tmp_path / ".console_password.new").write_text("half", encoding="utf-8")
    assert setup(tmp_path).returncode == 0
    after = held(tmp_path)
    assert set(after) == MADE
    assert after["s3_secret_key"] == before["s3_secret_key"]
    assert after["console_password"] not in ("", "half", before["console_password"])


def test_a_secret_of_your_own_takes_the_place_of_the_one_made(tmp_path: Path) -> None:
    volume, own = tmp_path / "volume", tmp_path / "slackers"
    volume.mkdir()
    own.write_text("kettle-otter-52\n", encoding="utf-8")
    setup(volume)
    made = held(volume)["console_password"]
    ran = setup(volume, TILLWATCH_CONSOLE_PASSWORD_FILE=str(own), TILLWATCH_NOTIFIER_API_TOKEN="otter-kettle")
    assert ran.returncode == 0
    assert held(volume)["console_password"] == "kettle-otter-52"
    assert held(volume)["console_password.before"] == made
    assert held(volume)["notifier_api_token"] == "otter-kettle"
    assert "kettle-otter" not in ran.stdout
    # And stays when it is no longer named.
    setup(volume)
    assert held(volume)["console_password"] == "kettle-otter-52"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"TILLWATCH_DREMIO_PASSWORD": "otterotter"}, "TILLWATCH_DREMIO_PASSWORD needs a letter and a digit"),
        ({"TILLWATCH_S3_SECRET_KEY": "short"}, "TILLWATCH_S3_SECRET_KEY has to have at least 8 characters"),
        ({"TILLWATCH_CONSOLE_PASSWORD": "otter in kettle"}, "at least 8 characters and no blank"),
        (
            {"TILLWATCH_CONSOLE_PASSWORD_FILE": "/run/own/nothing"},
            "TILLWATCH_CONSOLE_PASSWORD_FILE names /run/own/nothing, which cannot be read: No such file or directory; "
            "put the file into deploy/secrets",
        ),
        ({"TILLWATCH_NOTIFIER_API_TOKEN_FILE": os.devnull}, "TILLWATCH_NOTIFIER_API_TOKEN_FILE has to have at least"),
    ],
)
def test_a_wrong_secret_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    ran = setup(tmp_path, **variables)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_is_too_small_is_told_what_would_do(tmp_path: Path) -> None:
    ran = setup(tmp_path, "--memory-gib", "5000")
    assert ran.returncode == 2
    assert re.search(r"has [\d.]+ GiB of memory and the containers need 5000: use docker-compose.small.yml", ran.stderr)
    ran = setup(tmp_path, "--disk-gib", "9999999")
    assert ran.returncode == 2
    assert re.search(r"disk has [\d.]+ GiB left and the containers need 1e\+07: make room", ran.stderr)
    assert list(tmp_path.iterdir()) == []
    assert setup(tmp_path, "--memory-gib", "0", "--disk-gib", "0").returncode == 0


@pytest.mark.parametrize(
    ("server", "other", "sentence"),
    [
        ("s3proxy", "minio", "written by MinIO, whose files S3Proxy does not read: start without"),
        ("minio", "s3proxy", "written by S3Proxy, whose files MinIO does not read: start with"),
    ],
)
def test_no_s3_server_starts_on_what_another_one_wrote(tmp_path: Path, server: str, other: str, sentence: str) -> None:
    secrets, data = tmp_path / "secrets", tmp_path / "data"
    secrets.mkdir()
    (data / "lost+found").mkdir(parents=True)
    for name in (server, other):
        assert setup(secrets, SETUP_S3_DATA=str(data), SETUP_S3_SERVER=name).returncode == 0
    (data / (".minio.sys" if other == "minio" else "warehouse")).mkdir()
    assert setup(secrets, SETUP_S3_DATA=str(data), SETUP_S3_SERVER=other).returncode == 0
    before = held(secrets)
    own = {"TILLWATCH_CONSOLE_PASSWORD": "kettle-otter-52"}
    ran = setup(secrets, SETUP_S3_DATA=str(data), SETUP_S3_SERVER=server, **own)
    assert ran.returncode == 2
    assert f"The volume minio-data was {sentence}" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert held(secrets) == before


@pytest.mark.parametrize("text", ["2", "half", ""])
def test_a_volume_of_another_version_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    setup(tmp_path)
    (tmp_path / "format").chmod(0o644)
    (tmp_path / "format").write_text(text, encoding="utf-8")
    (tmp_path / "console_password").unlink()
    before = held(tmp_path)
    ran = setup(tmp_path)
    assert ran.returncode == 2
    assert f"has the format '{text}', and this version of tillwatch knows 1" in ran.stderr
    assert held(tmp_path) == before


def test_a_volume_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    ran = setup(tmp_path / "none")
    assert ran.returncode == 2
    assert "cannot be used: No such file or directory" in ran.stderr
    assert "Traceback" not in ran.stderr


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/readyz", "/metrics") else 503)
        self.end_headers()
        self.wfile.write(f"# HELP at when\nat {time.time() - 30}\nat_last 1.7e9\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def healthy(*words: str) -> int:
    return subprocess.run([sys.executable, "-IS", str(HEALTHY), *words], timeout=30).returncode


def test_a_container_is_well_where_its_page_says_so(page: str) -> None:
    assert healthy(f"http://{page}/readyz") == 0
    assert healthy(f"http://{page}/else") == 1
    assert healthy(f"tcp://{page}") == 0
    assert healthy(f"http://{page}/metrics", "at", "60") == 0
    assert healthy(f"http://{page}/metrics", "at", "10") == 1
    assert healthy(f"http://{page}/metrics", "none", "60") == 1
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert healthy(f"tcp://127.0.0.1:{free}") == 1
    assert healthy(f"http://127.0.0.1:{free}/readyz") == 1


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({}, 3),
        ({"TILLWATCH_NOTIFIER_EMAIL_TO": "oncall@shop.example"}, 0),
        ({"TILLWATCH_NOTIFIER_SLACK_CHANNEL": "C0123456789"}, 0),
        ({"TILLWATCH_NOTIFIER_KEEP": "soon"}, 2),
    ],
)
def test_the_sandbox_gets_the_messages_where_no_channel_is_set(variables: dict[str, str], code: int) -> None:
    script = (ROOT / "deploy" / "compose" / "start-notifier").read_text(encoding="utf-8")
    lines = re.search(r"own='\n(.*?)'\n", script, re.DOTALL)
    assert lines is not None
    done = subprocess.run(
        [sys.executable, "-c", lines[1]], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
