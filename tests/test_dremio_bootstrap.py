"""deploy/dremio/bootstrap.py against a REST port that answers as Dremio's sources do, and the gateway's Flight port."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.server import Gateway
from embedded.gateway.sessions import Sessions
from embedded.gateway.statements import Statements
from embedded.gateway.users import Users
from lakehouse import ROOT
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.tables import CATALOG

SCRIPT = ROOT / "deploy" / "dremio" / "bootstrap.py"
BY_PATH = f"/api/v3/catalog/by-path/{CATALOG}"
SECRETS = {"TILLWATCH_DREMIO_PASSWORD": "tulip-77-red", "TILLWATCH_S3_SECRET_KEY": "s3-not-for-you"}
PLACEHOLDER = "$DREMIO_EXISTING_VALUE$"

_spec = importlib.util.spec_from_file_location("dremio_bootstrap", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
bootstrap = importlib.util.module_from_spec(_spec)
# Its dataclasses look their module up there.
sys.modules[_spec.name] = bootstrap
_spec.loader.exec_module(bootstrap)

# ---- the cast -------------------------------------------------------------------------------------------------------

type Said = tuple[int, object]


class FakeDremio(ThreadingHTTPServer):
    """Dremio's REST port: users, sources and what was asked, in order.

    `starting`: statuses that server_status answers first. `instead`: answers for one call, by "METHOD path", each used
    once: a status with JSON, or with bytes as they are; None cuts the connection. `before`: run as a call comes in.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.users: dict[str, str] = {}
        self.entities: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.starting: list[int] = []
        self.instead: dict[str, list[Said | None]] = {}
        self.before: dict[str, Callable[[], object]] = {}
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def changes(self) -> list[str]:
        """What would have changed something, if it was not refused."""
        return [call for call in self.calls if not call.startswith("GET") and call != "POST /apiv2/login"]

    def answer(self, call: str, body: Any, authorization: str) -> Said | None:
        self.calls.append(call)
        self.bodies[call] = body
        if before := self.before.pop(call, None):
            before()
        if self.instead.get(call):
            return self.instead[call].pop(0)
        match call.split(" "):
            case ["GET", "/apiv2/server_status"]:
                status = self.starting.pop(0) if self.starting else 200
                return status, "OK" if status == 200 else "STARTING"
            case ["PUT", "/apiv2/bootstrap/firstuser"]:
                if self.users:
                    return error(400, "First user can only be created when no user is already registered")
                if not re.fullmatch(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}", body["password"]):
                    return error(
                        400,
                        "Invalid password: must be at least 8 letters long, "
                        "must contain at least one number and one letter",
                    )
                self.users[body["userName"]] = body["password"]
                return 200, {"name": body["userName"]}
            case _ if not self.users:
                return error(403, "No User Available")
            case ["POST", "/apiv2/login"]:
                if self.users.get(body["userName"]) != body["password"]:
                    return error(401, "Login failed: Invalid username or password")
                return 200, {"token": "t0k3n", "userName": body["userName"]}
            case _ if authorization != "_dremiot0k3n":
                return error(401, "HTTP 401 Unauthorized")
            case ["GET", path] if path.startswith("/api/v3/catalog/by-path/"):
                name = path.rpartition("/")[2]
                if name not in self.entities:
                    return error(404, f"Could not find entity with path [[{name}]]")
                return 200, self.entities[name]
            case ["POST", "/api/v3/catalog"]:
                if body["name"] in self.entities:
                    return error(409, "Something went wrong", f"Source [{body['name']}] already exists.")
                self.keep(body)
                return 200, self.entities[body["name"]]
        return 404, b"<html>nothing here</html>"

    def keep(self, source: dict[str, Any]) -> None:
        """Store a source as Dremio shows it: without its secret, with what was not given."""
        config = {**source["config"], "awsAccessSecret": PLACEHOLDER, "asyncEnabled": True, "nessieAccessToken": ""}
        self.entities[source["name"]] = {**source, "id": "1", "state": {"status": "good"}, "config": config}


def error(status: int, message: str, more: str = "") -> Said:
    return status, {"errorMessage": message, "moreInfo": more, "context": [], "stackTrace": None}


class Handler(BaseHTTPRequestHandler):
    server: FakeDremio

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        said = self.server.answer(f"{self.command} {self.path}", body, self.headers.get("Authorization") or "")
        if said is None:
            return
        data = said[1] if isinstance(said[1], bytes) else json.dumps(said[1]).encode()
        self.send_response(said[0])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = respond

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def a_gateway(folder: Path, port: int = 0, password: str = SECRETS["TILLWATCH_DREMIO_PASSWORD"]) -> Iterator[int]:
    """The gateway over a directory in which nothing was published yet; its port."""
    engine = Engine(folder, folder / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    statements = Statements(SqliteCommits(folder / "catalog.db"), engine)
    server = Gateway(f"grpc://127.0.0.1:{port}", Sessions(Users({"dremio": password}), ttl_s=60), statements)
    yield server.port
    server.shutdown()
    engine.close()


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with a_gateway(tmp_path_factory.mktemp("gateway")) as port:
        yield port


@pytest.fixture
def dremio() -> Iterator[FakeDremio]:
    server = FakeDremio()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, flight: int) -> None:
    environment = {
        **SECRETS,
        "TILLWATCH_DREMIO_URI": f"grpc://127.0.0.1:{flight}",
        "TILLWATCH_NESSIE_URI": "http://nessie:19120/api/v2",
        "TILLWATCH_S3_ENDPOINT": "http://minio:9000",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def once_it_waits(start: Callable[[], object]) -> Iterator[None]:
    """Do `start` when the script first says that it waits."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            bootstrap.logger.removeHandler(self)
            start()

    ear = Ear()
    bootstrap.logger.addHandler(ear)
    yield
    bootstrap.logger.removeHandler(ear)


class Person:
    """Runs the script and reads what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capsys = capsys
        self._caplog = caplog
        caplog.set_level(logging.INFO)

    def runs(self, *arguments: str) -> list[str]:
        """What it logs on its way to success."""
        self._caplog.clear()
        bootstrap.main([*arguments, *self._within(arguments)], pause_s=0.02)
        assert self._capsys.readouterr().err == ""
        return self._logged()

    def fails(self, *arguments: str) -> str:
        """The one sentence that it ends with."""
        self._caplog.clear()
        with pytest.raises(SystemExit) as ended:
            bootstrap.main([*arguments, *self._within(arguments)], pause_s=0.02)
        assert ended.value.code == 2
        said = self._capsys.readouterr().err
        self._logged()
        return one_sentence(said)

    def _within(self, arguments: tuple[str, ...]) -> list[str]:
        return [] if "--within" in arguments else ["--within", "5 s"]

    def _logged(self) -> list[str]:
        lines = [record.getMessage() for record in self._caplog.records]
        assert not any(secret in line for secret in SECRETS.values() for line in lines)
        return lines


def one_sentence(said: str) -> str:
    assert said.startswith("tillwatch: ")
    assert said.endswith(".\n")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert not any(secret in said for secret in SECRETS.values())
    return said.removeprefix("tillwatch: ").rstrip("\n")


@pytest.fixture
def person(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Person:
    return Person(capsys, caplog)


def set_up_by_hand(dremio: FakeDremio, **config: Any) -> None:
    """As somebody does with Dremio's own pages: by our settings, but for `config`."""
    dremio.users["dremio"] = SECRETS["TILLWATCH_DREMIO_PASSWORD"]
    properties = {
        "fs.s3a.path.style.access": "true",
        "fs.s3a.endpoint": config.pop("endpoint", "minio:9000"),
        "dremio.s3.compat": "true",
        "fs.s3a.connection.maximum": "100",
    }
    ours = {
        "nessieEndpoint": "http://nessie:19120/api/v2/",
        "nessieAuthType": "NONE",
        "credentialType": "ACCESS_KEY",
        "awsAccessKey": "admin",
        "awsRootPath": "warehouse/wh",
        "secure": False,
        "propertyList": [{"name": name, "value": value} for name, value in reversed(properties.items())],
    }
    dremio.keep({"entityType": "source", "type": "NESSIE", "name": CATALOG, "config": ours | config})


# ---- what is there, and what is made --------------------------------------------------------------------------------


def test_a_fresh_dremio_gets_its_user_and_source_and_answers(dremio: FakeDremio, person: Person, flight: int) -> None:
    assert person.runs("--rest", dremio.url) == [
        f"Dremio at {dremio.url} is up",
        "made the first user 'dremio'",
        "signed in as 'dremio'",
        f"made the source {CATALOG}: Nessie at http://nessie:19120/api/v2, files at http://minio:9000",
        f"grpc://127.0.0.1:{flight} answers: main of {CATALOG} is at commit {NOTHING_PUBLISHED}",
    ]
    assert dremio.calls == [
        "GET /apiv2/server_status",
        "POST /apiv2/login",
        "PUT /apiv2/bootstrap/firstuser",
        "POST /apiv2/login",
        f"GET {BY_PATH}",
        "POST /api/v3/catalog",
    ]
    user = dremio.bodies["PUT /apiv2/bootstrap/firstuser"]
    assert user.pop("createdAt") > 1_700_000_000_000
    assert user == {
        "userName": "dremio",
        "firstName": "tillwatch",
        "lastName": "tillwatch",
        "email": "tillwatch@localhost",
        "password": "tulip-77-red",
    }
    assert dremio.bodies["POST /apiv2/login"] == {"userName": "dremio", "password": "tulip-77-red"}
    assert dremio.bodies["POST /api/v3/catalog"] == {
        "entityType": "source",
        "type": "NESSIE",
        "name": CATALOG,
        "config": {
            "nessieEndpoint": "http://nessie:19120/api/v2",
            "nessieAuthType": "NONE",
            "credentialType": "ACCESS_KEY",
            "awsAccessKey": "admin",
            "awsAccessSecret": "s3-not-for-you",
            "awsRootPath": "/warehouse/wh",
            "secure": False,
            "propertyList": [
                {"name": "fs.s3a.path.style.access", "value": "true"},
                {"name": "fs.s3a.endpoint", "value": "minio:9000"},
                {"name": "dremio.s3.compat", "value": "true"},
                {"name": "fs.s3a.endpoint.region", "value": "us-east-1"},
                {"name": "dremio.s3.region", "value": "us-east-1"},
            ],
        },
    }


def test_a_second_run_asks_for_no_change(dremio: FakeDremio, person: Person) -> None:
    person.runs("--rest", dremio.url)
    users, entities = dict(dremio.users), json.dumps(dremio.entities)
    dremio.calls.clear()
    said = person.runs("--rest", f"{dremio.url}/")
    assert said[1:3] == ["signed in as 'dremio'", f"the source {CATALOG} is there, with these settings"]
    assert dremio.changes == []
    assert (dremio.users, json.dumps(dremio.entities)) == (users, entities)


def test_one_set_up_by_hand_with_the_same_settings_is_left_alone(dremio: FakeDremio, person: Person) -> None:
    set_up_by_hand(dremio)
    assert f"the source {CATALOG} is there, with these settings" in person.runs("--rest", dremio.url)
    assert dremio.changes == []


def test_what_dremio_leaves_out_is_its_default(dremio: FakeDremio, person: Person) -> None:
    set_up_by_hand(dremio)
    del dremio.entities[CATALOG]["config"]["credentialType"]
    person.runs("--rest", dremio.url)


def test_s3_behind_tls_is_a_secure_source(dremio: FakeDremio, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_S3_ENDPOINT", "https://s3.example.org")
    monkeypatch.setenv("TILLWATCH_S3_REGION", "eu-west-1")
    monkeypatch.setenv("TILLWATCH_NESSIE_WAREHOUSE", "s3://shop")
    person.runs("--rest", dremio.url)
    config = dremio.bodies["POST /api/v3/catalog"]["config"]
    assert (config["secure"], config["awsRootPath"]) == (True, "/shop")
    assert {"name": "fs.s3a.endpoint", "value": "s3.example.org"} in config["propertyList"]
    assert {"name": "dremio.s3.region", "value": "eu-west-1"} in config["propertyList"]
    person.runs("--rest", dremio.url)


def test_a_source_that_another_run_made_meanwhile_will_do(dremio: FakeDremio, person: Person) -> None:
    dremio.before["POST /api/v3/catalog"] = lambda: set_up_by_hand(dremio)
    said = person.runs("--rest", dremio.url)
    assert said[-3:-1] == [
        f"the source {CATALOG} was made meanwhile",
        f"the source {CATALOG} is there, with these settings",
    ]


def test_a_user_that_another_run_made_meanwhile_will_do(dremio: FakeDremio, person: Person) -> None:
    dremio.before["PUT /apiv2/bootstrap/firstuser"] = lambda: dremio.users.update(dremio="tulip-77-red")
    assert "Dremio has a user already; none was made" in person.runs("--rest", dremio.url)


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_a_dremio_that_starts_is_waited_for_and_each_state_is_told_once(person: Person) -> None:
    port = free_port()
    late: list[FakeDremio] = []

    def start() -> None:
        late.append(FakeDremio(port))
        late[0].starting = [503] * 5

    with once_it_waits(start):
        said = person.runs("--rest", f"http://127.0.0.1:{port}")
    assert said[:3] == [
        f"waiting: Dremio at http://127.0.0.1:{port} cannot be reached: connection refused",
        f"waiting: Dremio at http://127.0.0.1:{port} is not up yet: it answers 503",
        f"Dremio at http://127.0.0.1:{port} is up",
    ]
    assert late[0].calls.count("GET /apiv2/server_status") == 6
    assert late[0].changes == ["PUT /apiv2/bootstrap/firstuser", "POST /api/v3/catalog"]
    late[0].shutdown()
    late[0].server_close()


@pytest.mark.parametrize(
    "call",
    ["POST /apiv2/login", "PUT /apiv2/bootstrap/firstuser", f"GET {BY_PATH}", "POST /api/v3/catalog"],
)
@pytest.mark.parametrize("fault", [None, (503, b""), (502, b"<html>")], ids=["cut", "503", "502"])
def test_what_passes_is_tried_again_at_every_step(
    dremio: FakeDremio, person: Person, call: str, fault: Said | None
) -> None:
    dremio.instead[call] = [fault, fault]
    person.runs("--rest", dremio.url)
    assert list(dremio.entities) == [CATALOG]


def test_a_dremio_that_never_gets_up_is_given_up_in_time(dremio: FakeDremio, person: Person) -> None:
    dremio.starting = [503] * 10_000
    assert person.fails("--rest", dremio.url, "--within", "500 ms") == (
        f"Dremio at {dremio.url} is not up yet: it answers 503, still after 500 ms; "
        "see Dremio's log, or allow more with --within."
    )
    assert dremio.changes == []


def test_a_dremio_that_hangs_is_given_up_in_time(person: Person) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        said = person.fails("--rest", f"http://127.0.0.1:{mute.getsockname()[1]}", "--within", "100 ms")
    assert "cannot be reached: no answer in time, still after 100 ms" in said


def test_an_unknown_name_is_told(person: Person) -> None:
    said = person.fails("--rest", "http://dremio.invalid:9047", "--within", "100 ms")
    assert said.startswith("Dremio at http://dremio.invalid:9047 cannot be reached: its name is not known, still")


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_user_with_another_password_is_told_with_the_settings_to_mend(dremio: FakeDremio, person: Person) -> None:
    dremio.users["dremio"] = "set-by-hand-1"
    assert person.fails("--rest", dremio.url) == (
        f"Dremio at {dremio.url} has users and does not let 'dremio' in with the password given; "
        "set TILLWATCH_DREMIO_USER and TILLWATCH_DREMIO_PASSWORD (or TILLWATCH_DREMIO_PASSWORD_FILE) "
        "to those of its administrator."
    )
    assert dremio.users == {"dremio": "set-by-hand-1"}
    assert dremio.entities == {}


def test_a_weak_password_is_refused_in_dremios_words(
    dremio: FakeDremio, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_DREMIO_PASSWORD", "tulips")
    said = person.fails("--rest", dremio.url)
    assert "answers 400 to PUT /apiv2/bootstrap/firstuser: Invalid password: must be at least 8 letters long" in said
    assert "mend TILLWATCH_DREMIO_USER or TILLWATCH_DREMIO_PASSWORD" in said
    assert "tulips" not in said
    assert dremio.users == {}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"nessieEndpoint": "http://old:19120/api/v2"}, "nessieEndpoint is 'http://old:19120/api/v2', not 'http://nes"),
        ({"nessieAuthType": "BEARER"}, "nessieAuthType is 'BEARER', not 'NONE'"),
        ({"awsAccessKey": "root"}, "awsAccessKey is 'root', not 'admin'"),
        ({"awsRootPath": "/lake"}, "awsRootPath is '/lake', not '/warehouse/wh'"),
        ({"secure": True}, "secure is 'true', not 'false'"),
        ({"endpoint": "http://minio:9000"}, "fs.s3a.endpoint is 'http://minio:9000', not 'minio:9000'"),
        ({"propertyList": None}, "dremio.s3.compat is '(not set)', not 'true'"),
        ({"propertyList": [7, {"name": ["x"]}]}, "dremio.s3.compat is '(not set)', not 'true'"),
        (
            {"secure": True, "credentialType": "EC2_METADATA"},
            "credentialType is 'EC2_METADATA', not 'ACCESS_KEY', secure is 'true', not 'false'",
        ),
    ],
)
def test_a_source_that_leads_elsewhere_is_told_and_left_alone(
    dremio: FakeDremio, person: Person, config: dict[str, Any], says: str
) -> None:
    set_up_by_hand(dremio, **config)
    before = json.dumps(dremio.entities)
    said = person.fails("--rest", dremio.url)
    assert says in said
    assert said.startswith(f"'{CATALOG}' in Dremio at {dremio.url} has other settings than tillwatch: ")
    assert said.endswith("nothing was changed: change it in Dremio, or remove it there and run this again.")
    assert PLACEHOLDER not in said
    assert dremio.changes == []
    assert json.dumps(dremio.entities) == before


def test_another_thing_of_that_name_is_told(dremio: FakeDremio, person: Person) -> None:
    set_up_by_hand(dremio)
    dremio.entities[CATALOG] = {"entityType": "space", "id": "1", "name": CATALOG}
    assert "tillwatch: entityType is 'space', not 'source', type is '(not set)', not 'NESSIE'; nothing" in person.fails(
        "--rest", dremio.url
    )


@pytest.mark.parametrize(
    ("call", "answer", "says"),
    [
        ("GET /apiv2/server_status", (404, b"<html>"), "answers 404 to GET /apiv2/server_status; name Dremio's REST"),
        ("GET /apiv2/server_status", (302, b""), "answers 302 to GET /apiv2/server_status; name Dremio's REST"),
        ("POST /apiv2/login", (200, b"<html>"), "without a token, which no Dremio does; name Dremio's REST port"),
        ("POST /apiv2/login", (200, {"token": "a\nb"}), "without a token, which no Dremio does"),
        ("POST /apiv2/login", (200, b"[" * 100_000), "without a token, which no Dremio does"),
        ("POST /apiv2/login", (500, b"\xff\xfe"), "answers 500 to POST /apiv2/login; see Dremio's log."),
        ("PUT /apiv2/bootstrap/firstuser", (500, {"errorMessage": 7}), "PUT /apiv2/bootstrap/firstuser: 7; the first"),
        (f"GET {BY_PATH}", (200, b"OK"), f"answers GET {BY_PATH} without what is called so, which no Dremio does"),
        (f"GET {BY_PATH}", error(403, "Permission denied."), f"answers 403 to GET {BY_PATH}: Permission denied; "),
        ("POST /api/v3/catalog", (200, b"OK"), "answers POST /api/v3/catalog without the source, which no Dremio does"),
        (
            "POST /api/v3/catalog",
            error(400, "Something went wrong", "Could not connect to\n [nessie_minio_catalog]. Connection refused."),
            "answers 400 to POST /api/v3/catalog: Could not connect to [nessie_minio_catalog]. Connection refused; "
            "Dremio itself must reach Nessie at http://nessie:19120/api/v2 and S3 at http://minio:9000",
        ),
        (
            "POST /api/v3/catalog",
            error(500, "cannot read {'awsAccessSecret': 's3-not-for-you'}"),
            "answers 500 to POST /api/v3/catalog: cannot read {'awsAccessSecret': '***'}; ",
        ),
    ],
)
def test_an_answer_that_was_not_to_come_is_one_sentence(
    dremio: FakeDremio, person: Person, call: str, answer: Said, says: str
) -> None:
    dremio.instead[call] = [answer]
    assert says in person.fails("--rest", dremio.url)
    assert dremio.entities == {}


def test_a_source_that_is_there_and_not_there_ends_too(dremio: FakeDremio, person: Person) -> None:
    dremio.instead["POST /api/v3/catalog"] = [error(409, "Something went wrong", "exists already")] * 2
    assert "answers 409 to POST /api/v3/catalog: exists already; " in person.fails("--rest", dremio.url)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rest", "dremio:9047"], "--rest has the value 'dremio:9047'; expected http://HOST:PORT."),
        (["--rest", "http://dremio:99999"], "http://dremio:99999 cannot be asked: "),
        (["--within", "soon"], "--within has the value 'soon': expected a number with a unit, like '30 s'"),
        (["--within", "9999999999999 d"], "--within has the value '9999999999999 d': "),
    ],
)
def test_an_option_that_cannot_be_is_told(person: Person, arguments: list[str], says: str) -> None:
    assert person.fails(*arguments).startswith(says)


def test_rest_over_tls_on_a_port_without_is_told_at_once(dremio: FakeDremio, person: Person) -> None:
    address = dremio.url.replace("http:", "https:")
    assert person.fails("--rest", address).startswith(f"{address} cannot be asked: ")


# ---- the question ---------------------------------------------------------------------------------------------------


def test_only_the_question_leaves_rest_alone(person: Person, flight: int) -> None:
    assert person.runs("--only-question", "--rest", "http://127.0.0.1:9") == [
        f"grpc://127.0.0.1:{flight} answers: main of {CATALOG} is at commit {NOTHING_PUBLISHED}"
    ]


def test_a_flight_port_that_comes_up_later_is_waited_for(
    person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = free_port()
    monkeypatch.setenv("TILLWATCH_DREMIO_URI", f"grpc://127.0.0.1:{port}")
    with ExitStack() as later, once_it_waits(lambda: later.enter_context(a_gateway(tmp_path, port))):
        said = person.runs("--only-question", "--within", "20 s")
    assert said[0].startswith(f"waiting: Neither Dremio nor a gateway answers at grpc://127.0.0.1:{port}: ")
    assert said[1:] == [f"grpc://127.0.0.1:{port} answers: main of {CATALOG} is at commit {NOTHING_PUBLISHED}"]


def test_a_flight_port_that_never_comes_up_is_given_up(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("TILLWATCH_DREMIO_URI", f"grpc://127.0.0.1:{port}")
    said = person.fails("--only-question", "--within", "200 ms")
    assert said.startswith(f"Neither Dremio nor a gateway answers at grpc://127.0.0.1:{port}: ")
    assert said.endswith(", still after 200 ms; see Dremio's log, or allow more with --within.")


def test_flight_with_another_password_fails_at_once(
    dremio: FakeDremio, person: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with a_gateway(tmp_path, password="another-1") as port:
        monkeypatch.setenv("TILLWATCH_DREMIO_URI", f"grpc://127.0.0.1:{port}")
        said = person.fails("--rest", dremio.url)
    assert said.startswith(f"Dremio at grpc://127.0.0.1:{port} does not let user 'dremio' in")
    assert said.endswith("check dremio.user and dremio.password.")


def test_a_source_that_cannot_be_asked_is_told(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.dremio.client.CATALOG", "elsewhere")
    said = person.fails("--only-question")
    assert f"cannot answer SHOW BRANCHES IN {CATALOG}: " in said
    assert said.endswith("; look at that source in Dremio.")


# ---- the process ----------------------------------------------------------------------------------------------------


def test_people_start_it_as_a_file(dremio: FakeDremio, tmp_path: Path) -> None:
    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            env=os.environ.copy(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = start("--rest", dremio.url, "--within", "30 s")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO tillwatch\.dremio: ", line) for line in lines)
    assert not any(secret in done.stderr for secret in SECRETS.values())

    dremio.users["dremio"] = "changed-since-1"
    refused = start("--rest", dremio.url)
    assert refused.returncode == 2
    *logged, said = refused.stderr.splitlines()
    assert "does not let 'dremio' in" in one_sentence(f"{said}\n")
    assert all(" INFO tillwatch.dremio: " in line for line in logged)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bootstrap.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--rest", "--within", "--only-question"))
