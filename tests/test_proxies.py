"""A proxy that the environment names is for the world outside: it sees nothing of what stays on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
from pyarrow.fs import S3FileSystem

from embedded.gateway.duck import _extension
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.proxies import keep_own_traffic_off, own_names
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.sinks import EventLogSink
from notifier.channels.pagerduty import PagerDuty
from notifier.channels.slack import Slack
from notifier.channels.webhook import Webhook
from pipeline.settings import S3Settings
from pipeline.storage.nessie import Nessie, NessieError
from pipeline.storage.objects import Objects, S3Down
from producers.shop import ERRORS_TOPIC
from tests.channel_cast import KEY, NOTE
from tests.test_demo_run import OFFSET, running

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


class Recorder:
    """Takes connections on a port of this machine, counts them, and answers none."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.calls += 1
                connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A proxy that this process's environment names in every way there is."""
    recorder = Recorder()
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies that it saw first
    for name in PROXIES:
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, f"http://127.0.0.1:{recorder.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # whatever is set below is taken back afterwards
        monkeypatch.delenv(name)
    yield recorder
    recorder.close()


class _Answer(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b'{"ok": true, "ts": "1.1"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = do_PUT = _answer  # the names are http.server's

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def by_urllib(port: int) -> None:
    urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=5).close()


def by_slack(port: int) -> None:
    slack = Slack("xoxb-1", ("C1",), base_url=f"http://127.0.0.1:{port}/api/", timeout_s=5, settle_s=0)
    slack.send("C1", NOTE)


def by_pagerduty(port: int) -> None:
    PagerDuty({"events": KEY}, url=f"http://127.0.0.1:{port}/", timeout_s=5).send("events", NOTE)


def by_webhook(port: int) -> None:
    Webhook({"ops": f"http://localhost:{port}/"}, timeout_s=5).send("ops", NOTE)


def by_nessie(port: int) -> None:
    with (
        contextlib.closing(Nessie(f"http://127.0.0.1:{port}/api/v2")) as nessie,
        contextlib.suppress(NessieError, KeyError),
    ):
        nessie.references()


def by_pyarrow(port: int) -> None:
    s3 = S3FileSystem(access_key="a", secret_key="b", scheme="http", endpoint_override=f"127.0.0.1:{port}")
    with contextlib.suppress(OSError):
        s3.get_file_info("bucket/key")


def by_objects(port: int) -> None:
    with contextlib.suppress(OSError):
        Objects(S3Settings.load(endpoint=f"http://127.0.0.1:{port}"), timeout_s=5).read("s3://bucket/key")


def by_objects_that_make_a_bucket(port: int) -> None:
    Objects(S3Settings.load(endpoint=f"http://localhost:{port}"), timeout_s=5).make_bucket("bucket")


def by_duckdb(port: int) -> None:
    with duckdb.connect() as database:
        database.execute(f"LOAD '{_extension('httpfs')}'")
        with contextlib.suppress(duckdb.Error):
            database.execute(f"SELECT * FROM read_text('http://127.0.0.1:{port}/file')").fetchall()


@pytest.mark.parametrize(
    "ask",
    [
        *(by_urllib, by_slack, by_pagerduty, by_webhook),
        *(by_nessie, by_objects, by_objects_that_make_a_bucket, by_pyarrow, by_duckdb),
    ],
)
def test_every_client_asks_this_machine_itself(
    proxy: Recorder, target: ThreadingHTTPServer, ask: Callable[[int], None]
) -> None:
    Shared.load()
    ask(target.server_port)
    assert target.asked  # type: ignore[attr-defined]
    assert proxy.calls == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", socket.gethostname()])
def test_a_question_to_a_gateway_of_this_machine_takes_no_proxy(proxy: Recorder, host: str) -> None:
    gateway = Recorder()
    with Dremio(DremioSettings.load(uri=f"grpc://{host}:{gateway.port}")) as dremio, pytest.raises(DremioError):
        dremio.head()
    gateway.close()
    assert proxy.calls == 0


def test_what_lies_elsewhere_still_goes_through_the_proxy(proxy: Recorder) -> None:
    Shared.load()
    with pytest.raises(OSError, match=r".*"):
        urllib.request.urlopen("http://shop.example/", timeout=5)
    assert proxy.calls == 1
    with Dremio(DremioSettings.load(uri="grpc://dremio.example:32010")) as dremio, pytest.raises(DremioError):
        dremio.head()
    assert proxy.calls > 1
    before = proxy.calls
    with pytest.raises(S3Down):
        Objects(S3Settings.load(endpoint="http://s3.example:9000"), timeout_s=5).read("s3://bucket/key")
    assert proxy.calls > before


def test_slack_itself_is_asked_through_the_proxy(proxy: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name)
        if name != "http_proxy":
            monkeypatch.delenv(name.upper())
    Shared.load()
    slack = Slack("xoxb-1", ("C1",), base_url="https://slack.example/api/", timeout_s=5, settle_s=0)
    slack.send("C1", NOTE)
    assert proxy.calls == 1


@pytest.mark.parametrize("url", ["http://hooks.example/x", "https://hooks.example/x"])
def test_a_webhook_elsewhere_is_asked_through_the_proxy_unless_it_is_an_exception(
    proxy: Recorder, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    Webhook({"ops": url}, timeout_s=5).send("ops", NOTE)
    assert proxy.calls == 1
    monkeypatch.setenv("no_proxy", "hooks.example")
    Webhook({"ops": url}, timeout_s=5).send("ops", NOTE)
    assert proxy.calls == 1


def test_exceptions_that_are_there_stay_in_either_spelling() -> None:
    one = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "nessie, .shop.example"}
    keep_own_traffic_off(one)
    for name in ("no_proxy", "NO_PROXY"):
        assert one[name].split(",")[:2] == ["nessie", ".shop.example"]
        assert {"localhost", "127.0.0.1", "::1"} <= set(one[name].split(","))
    before = dict(one)
    keep_own_traffic_off(one)
    assert one == before

    both = {"http_proxy": "http://proxy:3128", "no_proxy": "a", "NO_PROXY": "b", "no_grpc_proxy": "c"}
    keep_own_traffic_off(both)
    assert [both[name].split(",")[0] for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy")] == ["a", "b", "c"]
    assert "localhost" in both["no_grpc_proxy"].split(",")

    everything = {"http_proxy": "http://proxy:3128", "no_proxy": "*"}
    keep_own_traffic_off(everything)
    assert everything["no_proxy"] == "*"


def test_without_a_proxy_the_environment_stays_as_it_is() -> None:
    environment = {"no_proxy": "a", "http_proxy": ""}
    keep_own_traffic_off(environment)
    assert environment == {"no_proxy": "a", "http_proxy": ""}
    assert all("," not in name and "%" not in name for name in own_names())


@pytest.mark.timeout(180)
def test_the_demo_lives_and_tells_slack_behind_a_proxy(proxy: Recorder, tmp_path: Path) -> None:
    data_dir = (tmp_path / "data").resolve()
    with running(data_dir, "--no-fill", "--no-incident") as terminal:
        terminal.until(lambda: "live after" in terminal.said(), 60)
        with EventLogSink(data_dir / "events.db") as log:
            error = {
                "error_id": "e-1",
                "service_name": "payments",
                "error_message": "the door is shut",
                "severity": "FATAL",
                "error_time": datetime.now(UTC).isoformat(),
            }
            log.send(ERRORS_TOPIC, None, json.dumps(error).encode())
        Shared.load()

        def told() -> bool:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://localhost:{5008 + OFFSET}/messages", timeout=2) as answer,
            ):
                return "the door is shut" in answer.read().decode()
            return False

        terminal.until(told, 60)
        terminal.tillwatch("status")
        assert proxy.calls == 0
