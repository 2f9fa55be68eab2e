"""A shop's database, captured: what becomes of its changes, who keeps the connector, who runs. No database here."""

from __future__ import annotations

import configparser
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lakehouse.decode import Event, Message
from lakehouse.settings.base import Shared
from lakehouse.sources import load_sources
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from lakehouse.yaml_file import read_yaml
from producers.connector import Connect, keep, read_connector
from tillwatch import capture, servers, stack, supervisor
from tillwatch.settings import DemoSettings

ROW = {
    "order_id": 17,
    "customer_id": 3,
    "status": "new",
    "total": "12.50",
    "note": None,
    "created_at": "2026-11-29T09:14:00.123456Z",
}
CHANGED_AT = datetime(2026, 11, 29, 10, 0, 0, 5000, UTC)


def events(op: str, before: dict[str, Any] | None, after: dict[str, Any] | None, lsn: int = 500) -> list[Event]:
    """What becomes of a change, as Debezium sends it."""
    source = {"ts_ms": int(CHANGED_AT.timestamp() * 1000), "lsn": lsn, "schema": "public", "table": "orders"}
    change = {"before": before, "after": after, "source": source, "op": op, "ts_ms": 0}
    decoder = load_sources(capture.EXAMPLE / "sources.yaml").decoder("shop.public.orders", None)
    found = decoder(Message(json.dumps(change).encode(), datetime.now(UTC)))
    assert all(isinstance(event, Event) for event in found), found
    return [event for event in found if isinstance(event, Event)]


# ---- what becomes of a change


def test_an_insert_is_an_order_and_a_row_of_a_snapshot_the_same_one() -> None:
    [order] = events("c", None, ROW)
    assert order.event_key == "orders:17"
    assert (order.order_id, order.user_id, str(order.order_total), order.status) == ("17", "3", "12.50", "CREATED")
    assert order.order_ts == datetime(2026, 11, 29, 9, 14, 0, 123456, UTC)
    # However far it has come since: same key and same time make it a duplicate.
    assert events("r", None, ROW | {"status": "shipped"}, lsn=900) == [order]


@pytest.mark.parametrize(
    ("status", "told"),
    [("paid", "PROCESSING"), ("shipped", "SHIPPED"), ("delivered", "DELIVERED"), ("cancelled", "CANCELLED")],
)
def test_a_change_of_the_status_is_an_event_named_by_its_place_in_the_log(status: str, told: str) -> None:
    [change] = events("u", ROW, ROW | {"status": status}, lsn=501)
    assert (change.event_key, change.status, change.order_ts) == ("orders:17:501", told, CHANGED_AT)


def test_other_updates_are_left_out_and_an_order_that_is_reopened_is_no_second_one() -> None:
    assert events("u", ROW, ROW | {"note": "ring twice"}) == []
    [reopened] = events("u", ROW | {"status": "cancelled"}, ROW)
    assert reopened.status == "PROCESSING"


@pytest.mark.parametrize("status", ["new", "paid", "shipped"])
def test_an_order_removed_before_it_was_delivered_was_cancelled(status: str) -> None:
    [removed] = events("d", ROW | {"status": status}, None)
    assert (removed.event_key, removed.status, str(removed.order_total)) == ("orders:17:500", "CANCELLED", "12.50")


@pytest.mark.parametrize("status", ["delivered", "cancelled"])
def test_any_other_removal_is_left_out(status: str) -> None:
    assert events("d", ROW | {"status": status}, None) == []


# ---- who keeps the connector


class FakeConnect(BaseHTTPRequestHandler):
    """A worker that holds one connector, whose task fails once."""

    config: dict[str, str] | None = None
    restarts = 0
    refuses = ""

    def do_GET(self) -> None:
        if self.config is None:
            self._answer(404, {"error_code": 404, "message": "Connector shop not found"})
        elif self.path.endswith("/config"):
            self._answer(200, self.config)
        else:
            trace = (
                "org.apache.kafka.connect.errors.ConnectException: no\n\tat a.b\nCaused by: away: refused\n\tat c.d\n"
            )
            failed = {"state": "FAILED", "trace": trace}
            tasks = [{"state": "RUNNING"} if type(self).restarts else failed]
            self._answer(200, {"name": "shop", "connector": {"state": "RUNNING"}, "tasks": tasks})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refuses:
            self._answer(400, {"error_code": 400, "message": self.refuses})
            return
        type(self).config = {**body, "name": "shop"}
        self._answer(201, {})

    def do_POST(self) -> None:
        assert self.path == "/connectors/shop/restart?includeTasks=true&onlyFailed=true"
        type(self).restarts += 1
        self._answer(202, {})

    def _answer(self, code: int, body: object) -> None:
        payload = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def a_connect(**held: object) -> Iterator[tuple[Connect, type[FakeConnect]]]:
    kind = type("OneConnect", (FakeConnect,), held)
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Connect(f"http://127.0.0.1:{server.server_port}"), kind
        finally:
            server.shutdown()
            thread.join()


def test_a_connector_is_registered_once_and_a_task_that_gave_up_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.connector.LOOKS_EVERY_S", 0.01)
    stop, said = Stop(), []

    def say(text: str) -> None:
        said.append(text)
        stop.set()

    with a_connect() as (connect, held):
        keep(connect, "shop", read_connector(capture.EXAMPLE / "connector.json"), stop, say)
        assert held.restarts == 1
        assert held.config is not None
        assert held.config["database.password"] == "${env:SHOP_DB_PASSWORD}"
    assert said == ["Connector shop runs: changes of public.orders are sent."]
    assert "connector shop has given up and is started again: away: refused" in caplog.text


def test_what_connect_refuses_is_one_sentence() -> None:
    refuses = "Connector configuration is invalid\nThe 'topic.prefix' value is invalid"
    sentence = r"refuses the connector: Connector configuration is invalid The 'topic"
    with a_connect(refuses=refuses) as (connect, _), pytest.raises(UserError, match=sentence):
        keep(connect, "shop", {"connector.class": "x"}, Stop(), print)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON"),
        ('{"tasks.max": 1}', "has to be an object of texts"),
        ('{"tasks.max": "1"}', "has no 'connector.class'"),
    ],
)
def test_a_wrong_connector_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "connector.json"
    file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_connector(file)


# ---- who runs


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared.load(data_dir=tmp_path / "data", port_offset=14000 + os.getpid() % 1000)


def test_with_cdc_the_database_is_a_server_and_shoppers_leave_orders_to_it(shared: Shared) -> None:
    config = configparser.RawConfigParser(comment_prefixes=(";",))
    config.read_string(supervisor.configuration(stack.programs(DemoSettings.load(), shared, cdc=True)))
    assert {"postgres", "connect"} <= set(config["group:servers"]["programs"].split(","))
    assert {"connector", "database"} <= set(config["group:tillwatch"]["programs"].split(","))
    assert config["program:postgres"]["stopsignal"] == "INT"
    assert config["program:producers"]["command"].endswith("--topics clicks_topic,errors_topic")


def test_an_order_counts_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in capture.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert load_sources().fed_by("orders_topic") == ("orders_topic", "shop.public.orders")
    assert (tmp_path / "run" / "config" / "alerts.yaml").exists()


def test_sources_of_ones_own_go_on_beside_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    (mine / "boards").mkdir(parents=True)
    (mine / "tillwatch.yaml").touch()
    (mine / "sources.yaml").write_text("tills:\n  reads: tills\n  topic: orders_topic\n  map: {order_id: number}\n")
    (mine / "boards" / "day.yaml").write_text("title: Day\n")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(mine / "tillwatch.yaml"))
    config = Path(capture.environment(tmp_path / "data")["TILLWATCH_CONFIG"]).parent
    assert {"tills", "orders_made"} <= read_yaml(config / "sources.yaml").keys()
    (mine / "boards" / "day.yaml").write_text("title: Night\n")
    assert read_yaml(config / "boards" / "day.yaml") == {"title": "Night"}, "an edit is seen while it runs"
    (mine / "boards" / "day.yaml").unlink()
    assert not (Path(capture.environment(tmp_path / "data")["TILLWATCH_CONFIG"]).parent / "boards").exists()


def test_connect_is_told_of_the_database_in_its_environment_alone(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_DATABASE_PASSWORD", "kettle-otter-52")
    server = servers.OF_CDC["connect"](shared)
    assert server.environment["SHOP_DB_PASSWORD"] == "kettle-otter-52"
    written = (shared.data_dir / "connect" / "connect.properties").read_text()
    assert f"listeners=http://127.0.0.1:{shared.port('connect')}\n" in written
    assert "kettle-otter-52" not in written + " ".join(server.argv)


def test_without_postgresql_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(capture, "_DEBIAN", tmp_path)
    with pytest.raises(UserError, match=r"needs PostgreSQL, and there is none on the PATH .* apt install postgresql"):
        capture.find_postgres()
