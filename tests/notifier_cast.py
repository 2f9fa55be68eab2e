"""The notifier's cast: a Flight door over the fake Dremio, the sandbox and the daemon as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import pyarrow as pa
from pyarrow import flight

from bench.processes import free_offset
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS
from lakehouse.tables import CATALOG, SCHEMA
from tests.fake_dremio import FakeDremio, whole_sums

DRAIN_S = 20.0
_direct = build_opener(ProxyHandler({}))


class Door(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow.flight has no types
    """The fake Dremio behind a Flight port: any password, SHOW BRANCHES and SELECT."""

    def __init__(self, dremio: FakeDremio, port: int = 0) -> None:
        super().__init__(f"grpc://127.0.0.1:{port}", auth_handler=_Anyone(), middleware={"login": _Login()})
        self._dremio = dremio

    def get_flight_info(self, _context: Any, descriptor: Any) -> Any:
        table = self._answer(descriptor.command.decode())
        endpoint = flight.FlightEndpoint(descriptor.command, [])
        return flight.FlightInfo(table.schema, descriptor, [endpoint], table.num_rows, -1)

    def do_get(self, _context: Any, ticket: Any) -> Any:
        return flight.RecordBatchStream(self._answer(ticket.ticket.decode()))

    def _answer(self, sql: str) -> pa.Table:
        if sql.startswith("SHOW BRANCHES"):
            return pa.table({"type": ["BRANCH"], "refName": ["main"], "commitHash": [self._dremio.head()]})
        text = re.sub(r' AT COMMIT "\w+"', "", sql).replace(f"{CATALOG}.{SCHEMA}.", "")
        with self._dremio._lock:
            return whole_sums(self._dremio._connection.execute(text).to_arrow_table())


class _Anyone(flight.ServerAuthHandler):  # type: ignore[misc]
    def authenticate(self, _outgoing: Any, _incoming: Any) -> None: ...

    def is_valid(self, _token: Any) -> bytes:
        return b"anyone"


class _Login(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    def start_call(self, _info: Any, _headers: Any) -> Any:
        return _Bearer()


class _Bearer(flight.ServerMiddleware):  # type: ignore[misc]
    def sending_headers(self) -> dict[str, str]:
        return {"authorization": "Bearer x"}


class Cast:
    """A sandbox and a notifier as processes over one data directory, and a table to put alerts into."""

    def __init__(self, data_dir: Path, dremio: FakeDremio) -> None:
        self.data_dir = data_dir
        self.tree = ROOT
        """Whose code the processes run."""
        self.dremio = dremio
        self.offset = free_offset()
        self.door: Door | None = Door(dremio, PORTS["gateway"] + self.offset)
        self.settings: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self) -> dict[str, str]:
        sandbox, smtp = (str(PORTS[name] + self.offset) for name in ("sandbox", "smtp"))
        ours = {
            "DATA_DIR": str(self.data_dir),
            "PORT_OFFSET": str(self.offset),
            "NOTIFIER_POLL_S": "0.1",
            "NOTIFIER_SLACK_BASE_URL": f"http://127.0.0.1:{sandbox}/api/",
            "NOTIFIER_SLACK_TOKEN": "xoxb-test",
            "NOTIFIER_SLACK_CHANNEL": "C0SANDBOX",
            "NOTIFIER_SLACK_TIMEOUT_S": "1",
            "NOTIFIER_SLACK_PER_S": "100",
            "NOTIFIER_SETTLE": "300 ms",
            # A test of many incidents is no storm.
            "NOTIFIER_STORM_AFTER": "0",
            "NOTIFIER_SMTP_HOST": "127.0.0.1",
            "NOTIFIER_SMTP_PORT": smtp,
            "NOTIFIER_SMTP_SECURITY": "none",
            "NOTIFIER_EMAIL_FROM": "tillwatch@shop.example",
            "NOTIFIER_EMAIL_TO": "alice@shop.example",
            **self.settings,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
        given = {f"TILLWATCH_{name}": value for name, value in ours.items() if value}
        return clean | given | {"PYTHONPATH": str(self.tree)}

    def start(self, part: str) -> subprocess.Popen[bytes]:
        """Start `notifier`, `embedded.sandbox` or `embedded.gateway`, and wait until it answers."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log = (self.data_dir / f"{part}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", part], env=self.environment(), stdout=log, stderr=log, cwd=self.tree
        )
        log.close()
        self.processes[part] = process
        port = part.removeprefix("embedded.")
        wait_for(lambda: self._answers(port) or process.poll() is not None, 30)
        return process

    def kill(self, part: str) -> None:
        """kill -9."""
        process = self.processes.pop(part)
        process.kill()
        process.wait()

    def stop(self, part: str) -> int:
        """SIGTERM, and the exit code. Fails when it waits for a Slack that is held up for longer."""
        process = self.processes.pop(part)
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def close(self) -> None:
        for part in list(self.processes):
            self.kill(part)
        if self.door is not None:
            self.door.shutdown()

    def token(self, name: str = "operator") -> str:
        """One of the notifier's, which it made at its start."""
        tokens = json.loads((self.data_dir / "tokens.json").read_text(encoding="utf-8"))
        return str(next(token["token"] for token in tokens if token["name"] == name))

    def get(self, port: str, path: str) -> tuple[int, Any]:
        """Status and body (JSON where it is); (0, None) when nobody answers."""
        return self._call(port, path, None, "GET")

    def post(
        self, port: str, path: str, body: Any = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, Any]:
        """The same of a request that does something."""
        return self._call(port, path, body, "POST", headers)

    def fault(self, service: str, kind: str, **options: Any) -> None:
        body = {"service": service, "kind": kind, **options}
        status, _ = self._call("sandbox", "/faults", body, "POST")
        assert status == 200

    def clear_faults(self) -> None:
        self._call("sandbox", "/faults", None, "DELETE")

    def slack(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.get("sandbox", "/messages")[1]["slack"])

    def email(self) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.get("sandbox", "/messages")[1]["email"])

    def calls(self, method: str = "chat.postMessage") -> int:
        """How often one of Slack's methods was called since the sandbox started."""
        return int(self.get("sandbox", "/messages")[1]["calls"].get(method, 0))

    def deliveries(self, **query: str) -> list[dict[str, Any]]:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return cast(list[dict[str, Any]], self.get("notifier", f"/api/deliveries?{asked}")[1]["deliveries"])

    def messages(self, **query: str) -> list[dict[str, Any]]:
        """Deliveries but for edits: a root begun before its figure was known gets one, and on a slow machine that is
        any of them."""
        return [row for row in self.deliveries(**query) if row["kind"] != "edit"]

    def metric(self, line: str) -> float:
        text = str(self.get("notifier", "/metrics")[1])
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        assert found, f"no metric {line}"
        return float(found[1])

    def log(self, part: str = "notifier") -> str:
        return (self.data_dir / f"{part}.log").read_text(encoding="utf-8")

    def _answers(self, port: str) -> bool:
        if port == "gateway":
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", PORTS["gateway"] + self.offset)) == 0
        return self.get(port, "/-/healthy")[0] == 200

    def _call(
        self, port: str, path: str, body: Any, method: str, given: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, Any]:
        headers = {"content-type": "application/json", **given}
        if port == "notifier" and path.startswith(("/api/", "/openapi.json")):
            headers["authorization"] = f"Bearer {self.token()}"
        request = Request(
            f"http://127.0.0.1:{PORTS[port] + self.offset}{path}",
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )
        try:
            with _direct.open(request, timeout=5) as answer:
                status, text = answer.status, answer.read().decode()
        except HTTPError as error:
            status, text = error.code, error.read().decode()
        except (URLError, OSError):
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text


def wait_for[T](look: Callable[[], T], seconds: float = DRAIN_S) -> T:
    """What `look` gives once it is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"nothing after {seconds:g} s"
        time.sleep(0.03)


@contextmanager
def cast_of(data_dir: Path, **settings: str) -> Iterator[Cast]:
    """A cast that is gone at the end; settings are names without TILLWATCH_."""
    dremio = FakeDremio()
    players = Cast(data_dir, dremio)
    players.settings = settings
    try:
        yield players
    finally:
        players.close()
        dremio.close()
