"""A Dremio client meets at the gateway what it would meet at Dremio."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.types import LongType, StringType

from embedded.gateway import duck
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine, Remote
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.sessions import Sessions
from embedded.gateway.statements import Statements
from embedded.gateway.users import Users
from embedded.gateway.waiting import Waiting
from lakehouse.dremio.client import NOTHING_PUBLISHED, Dremio
from lakehouse.dremio.errors import AuthError, NotFound, QueryError
from lakehouse.dremio.nearby import NEXT_HEAD
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG, SCHEMA, TABLES, arrow_schema
from tests.conftest import NOON, Shop

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
REVENUE = f"{CATALOG}.{SCHEMA}.orders_revenue_per_minute"


def start_gateway(data_dir: Path, **environment: str) -> tuple[subprocess.Popen[str], int]:
    """The gateway as people start it, on a port of its own. Returns it when it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The offset is added to 32010; ports a system hands out lie above or below.
    offset = port - 32010 if 0 <= port - 32010 <= 20000 else 10_000 + port % 10_000
    port = 32010 + offset
    process = subprocess.Popen(
        [sys.executable, "-m", "embedded.gateway"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")},
            "TILLWATCH_DATA_DIR": str(data_dir),
            "TILLWATCH_PORT_OFFSET": str(offset),
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return process, port


def stop(process: subprocess.Popen[str]) -> None:
    """End it as a supervisor does."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


class Published:
    """A shop with two publishes: one order at first, then three and a click, an error and a dead letter."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        shop = Shop(data_dir)
        shop.order(NOON - timedelta(minutes=3))
        shop.publish()
        self.first = self._head()
        shop.pass_time(timedelta(seconds=1))
        shop.order(NOON - timedelta(minutes=2), produced_at=None)
        shop.order(NOON, user_id="grace's", order_time="2026-03-02T12:00:00.123999Z")
        shop.click()
        shop.error(severity="FATAL")
        shop.message("orders_topic", b"{")
        shop.publish()
        self.second = self._head()
        shop.close()

    def _head(self) -> str:
        commit = SqliteCommits(self.data_dir / "catalog.db").head()
        assert commit is not None
        return commit.id

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.data_dir / "catalog.db") as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def port(published: Published) -> Iterator[int]:
    process, port = start_gateway(published.data_dir)
    yield port
    stop(process)


@pytest.fixture
def dremio(port: int) -> Iterator[Dremio]:
    with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as client:
        yield client


class Plain:
    """What people write with pyarrow alone: no cookies, a login for every query."""

    def __init__(self, port: int) -> None:
        self.port = port

    def query(self, sql: str) -> pa.Table:
        client = flight.FlightClient(f"grpc+tcp://localhost:{self.port}")
        token = client.authenticate_basic_token("dremio", "dremio123")
        options = flight.FlightCallOptions(headers=[token])
        info = client.get_flight_info(flight.FlightDescriptor.for_command(sql), options)
        return client.do_get(info.endpoints[0].ticket, options).read_all()


# ---- foreign clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_a_plain_client_that_logs_in_for_every_query_reads_every_table(port: int, table: str) -> None:
    answer = Plain(port).query(f"SELECT * FROM {CATALOG}.{SCHEMA}.{table}")
    zoned = pa.timestamp("us", "UTC")
    assert answer.schema == pa.schema(
        [
            pa.field(field.name, pa.timestamp("ms") if field.type == zoned else field.type)
            for field in arrow_schema(TABLES[table])
        ]
    )
    if table in ("orders_processed", "clicks_processed", "errors_processed", "alerts", "dead_letters"):
        assert answer.num_rows > 0


def test_a_plain_client_may_compare_with_a_casted_timestamp(port: int) -> None:
    text = (NOON - timedelta(minutes=2)).strftime("%Y-%m-%d %H:%M:%S")
    answer = Plain(port).query(f"SELECT order_id FROM {ORDERS} WHERE order_ts >= CAST('{text}' AS TIMESTAMP)")
    assert answer.num_rows == 2


def test_times_are_cut_to_milliseconds_for_conditions_too(port: int) -> None:
    answer = Plain(port).query(f"SELECT order_ts FROM {ORDERS} WHERE order_ts <= TIMESTAMP '2026-03-02 12:00:00.123'")
    assert answer.num_rows == 3
    assert max(answer.column(0).to_pylist()) == datetime(2026, 3, 2, 12, 0, 0, 123000)  # noqa: DTZ001


# ---- handshake, bearer, cookie --------------------------------------------------------------------------------------


class Headers(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """Notes the headers of every response."""

    def __init__(self) -> None:
        self.seen: list[dict[str, list[str]]] = []

    def start_call(self, info: flight.CallInfo) -> flight.ClientMiddleware:
        seen = self.seen

        class Call(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
            def received_headers(self, headers: dict[str, list[str]]) -> None:
                seen.append({name.lower(): list(values) for name, values in headers.items()})

        return Call()


def call(port: int, *headers: tuple[str, str], sql: str = "SELECT 1 AS n") -> list[dict[str, list[str]]]:
    """GetFlightInfo and DoGet with these headers; the headers of the responses."""
    noted = Headers()
    client = flight.FlightClient(f"grpc://localhost:{port}", middleware=[noted])
    options = flight.FlightCallOptions(headers=[(name.encode(), value.encode()) for name, value in headers])
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql), options)
    client.do_get(info.endpoints[0].ticket, options).read_all()
    # The trailers come by themselves, and empty.
    return [headers for headers in noted.seen if headers]


def login(port: int) -> str:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    value: bytes = client.authenticate_basic_token("dremio", "dremio123")[1]
    return value.decode()


def test_every_response_carries_the_bearer_and_the_first_sets_the_session(port: int) -> None:
    bearer = login(port)
    responses = call(port, ("authorization", bearer))
    assert [set(response["authorization"]) for response in responses] == [{bearer}, {bearer}]
    cookie = responses[0]["set-cookie"][0]
    assert cookie.startswith("SESSION_ID=")
    again = call(port, ("authorization", bearer), ("cookie", f"other=1; {cookie}"))
    assert len(again) == 2
    assert all("set-cookie" not in response for response in again)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(lambda port: "Basic ZHJlbWlvOmRyZW1pbzEyMw==", id="basic"),
        pytest.param(lambda port: "basic ZHJlbWlvOmRyZW1pbzEyMw", id="unpadded"),
        pytest.param(lambda port: login(port).replace("Bearer", "bearer"), id="lower case"),
    ],
)
def test_an_authorization_header_may_be_written_as_clients_do(port: int, header: Callable[[int], str]) -> None:
    value = header(port)
    responses = call(port, ("authorization", value), ("authorization", value))
    assert responses[0]["authorization"][0].startswith("Bearer ")


def test_a_wrong_password_is_refused_in_dremios_words(port: int) -> None:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    with pytest.raises(flight.FlightUnauthenticatedError) as caught:
        client.authenticate_basic_token("dremio", "guess")
    assert "Unable to authenticate user dremio, exception: Login failed: Invalid username or password" in str(
        caught.value
    )
    settings = DremioSettings.load(uri=f"grpc://localhost:{port}", password="guess")
    with Dremio(settings) as stranger, pytest.raises(AuthError, match=r"dremio\.password"):
        stranger.head()


@pytest.mark.parametrize(
    "headers",
    [[], [("authorization", "Bearer 1.2.3")], [("authorization", "Basic ???")]],
    ids=["none", "bearer", "basic"],
)
def test_nobody_asks_without_a_login(port: int, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(flight.FlightUnauthenticatedError):
        call(port, *headers)


def test_a_session_that_is_not_known_is_told_as_dremio_tells_it(port: int) -> None:
    with pytest.raises(flight.FlightUnauthenticatedError, match="UserSession is not available in the cache"):
        call(port, ("authorization", login(port)), ("cookie", "SESSION_ID=gone"))


def test_a_session_lives_as_long_as_it_is_used() -> None:
    now = 0.0
    sessions = Sessions(Users({"dremio": "dremio123"}), ttl_s=10, clock=lambda: now)
    basic = {"authorization": ["Basic ZHJlbWlvOmRyZW1pbzEyMw=="]}
    opened = sessions.enter(basic, handshake=False).session
    assert opened is not None
    cookie = basic | {"cookie": [f"SESSION_ID={opened.id}"]}
    for _ in range(3):
        now += 8
        assert sessions.enter(cookie, handshake=False).session is opened
    now += 11
    with pytest.raises(Exception, match="UserSession is not available"):
        sessions.enter(cookie, handshake=False)


def test_use_lasts_for_a_client_with_a_cookie_and_the_schema_header_for_any(port: int, dremio: Dremio) -> None:
    with pytest.raises(NotFound):
        dremio.sql("SELECT COUNT(*) AS n FROM orders_processed")
    dremio.sql(f"USE {CATALOG}.{SCHEMA}")
    assert dremio.sql("SELECT COUNT(*) AS n FROM orders_processed").to_pylist() == [{"n": 3}]
    call(
        port,
        ("authorization", login(port)),
        ("schema", f"{CATALOG}.{SCHEMA}"),
        sql="SELECT COUNT(*) AS n FROM orders_processed",
    )


# ---- calls ----------------------------------------------------------------------------------------------------------


def test_planning_gives_the_schema_and_one_place_and_the_ticket_runs_again(port: int) -> None:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
    descriptor = flight.FlightDescriptor.for_command(f"SELECT order_id, COUNT(*) FROM {ORDERS} GROUP BY order_id")
    info = client.get_flight_info(descriptor, options)
    assert (len(info.endpoints), info.endpoints[0].locations) == (1, [])
    assert (info.total_records, info.total_bytes) == (-1, -1)
    assert info.schema == pa.schema([("order_id", pa.string()), ("EXPR$1", pa.int64())])
    assert client.get_schema(descriptor, options).schema == info.schema
    answers = [client.do_get(info.endpoints[0].ticket, options).read_all() for _ in range(2)]
    assert [answer.num_rows for answer in answers] == [3, 3]
    assert all(answer.schema == info.schema for answer in answers)


def batches(port: int, sql: str) -> list[int]:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql), options)
    reader = client.do_get(info.endpoints[0].ticket, options)
    return [chunk.data.num_rows for chunk in reader]


def test_an_empty_answer_still_has_a_batch(port: int) -> None:
    assert batches(port, f"SELECT order_id FROM {ORDERS} WHERE order_id = 'none'") == [0]


def test_a_long_answer_comes_in_batches_of_4095_rows_at_most(port: int) -> None:
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(9))
    found = batches(port, f"SELECT t0.order_id FROM {tables}")
    assert sum(found) == 3**9
    assert max(found) <= 4095


def test_who_waits_for_the_next_commit_hears_of_it_at_once(port: int) -> None:
    """The head of now at once where another is known; and where it stands still, when the wait is over."""
    with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
        head = dremio.head()
        assert dremio.near
        assert dremio.next_head("", 60.0) == head
        began = time.monotonic()
        assert dremio.next_head(head, 0.2) == head
        assert time.monotonic() - began >= 0.2
    client = flight.FlightClient(f"grpc://localhost:{port}")
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
    for body in (b"", b"{}", b'{"known": 3, "wait_s": 1}', b"[]"):
        with pytest.raises(pa.ArrowInvalid, match=r"takes \{known, wait_s\}"):
            list(client.do_action(flight.Action(NEXT_HEAD, body), options))
    with pytest.raises(flight.FlightUnauthenticatedError):
        list(client.do_action(flight.Action(NEXT_HEAD, b'{"known": "", "wait_s": 1}')))


class Moving:
    """A head that is asked for, and moves."""

    def __init__(self) -> None:
        self.now: str = "a"
        self.raises: Exception | None = None
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.raises is not None:
            raise self.raises
        return self.now


def test_all_who_wait_are_told_by_one_look() -> None:
    head = Moving()
    waiting = Waiting(head, 0.05)
    with ThreadPoolExecutor(20) as pool:
        waits = [pool.submit(waiting.head, "a", 5.0) for _ in range(20)]
        time.sleep(0.4)
        asked = head.asked
        head.now = "b"
        assert [wait.result() for wait in waits] == ["b"] * 20
        # One look for each who came, then some eight for all of them.
        assert asked < 20 + 20
        head.raises = Refusal(ErrorKind.UNAVAILABLE, "Nessie does not answer.")
        with pytest.raises(Refusal, match="Nessie does not answer"):
            waiting.head("b", 1.0)
        head.raises = None
        wait = pool.submit(waiting.head, "b", 5.0)
        time.sleep(0.1)
        head.raises = Refusal(ErrorKind.UNAVAILABLE, "Nessie does not answer.")
        with pytest.raises(Refusal, match="Nessie does not answer"):
            wait.result()
        head.raises = None
    # Nobody waits: nobody looks.
    time.sleep(0.2)
    asked = head.asked
    time.sleep(0.3)
    assert head.asked == asked


def test_who_comes_late_takes_nobodys_news_and_an_error_ends_no_look() -> None:
    head = Moving()
    waiting = Waiting(head, 0.2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(waiting.head, "a", 5.0)
        time.sleep(0.05)
        head.now = "b"
        # This one has seen b already, and waits for the next, before the look for the first has come.
        second = pool.submit(waiting.head, "b", 5.0)
        began = time.monotonic()
        assert first.result() == "b"
        assert time.monotonic() - began < 2.0
        head.now = "c"
        assert second.result() == "c"
        waits = pool.submit(waiting.head, "c", 5.0)
        time.sleep(0.05)
        head.raises = OSError("disk I/O error")
        with pytest.raises(OSError, match="disk I/O"):
            waits.result()
        head.raises = None
        again = pool.submit(waiting.head, "c", 5.0)
        time.sleep(0.05)
        head.now = "d"
        assert again.result() == "d"


def test_what_is_not_there_is_unimplemented_and_a_path_is_an_internal_error(port: int) -> None:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
    with pytest.raises(pa.ArrowNotImplementedError, match="doAction is not implemented"):
        list(client.do_action(flight.Action("RenewFlightEndpoint", b""), options))
    with pytest.raises(pa.ArrowNotImplementedError):
        list(client.list_flights(options=options))
    with pytest.raises(flight.FlightInternalError, match="There was an error servicing your request"):
        client.get_flight_info(flight.FlightDescriptor.for_path("orders"), options)


@pytest.mark.parametrize(
    ("sql", "error", "says"),
    [
        ("SELECT 1 FROM", pa.ArrowInvalid, r"Failure parsing[^\n]*\nstartLine 1\nstartColumn \d+\nendLine 1\nend"),
        (f"SELECT nope FROM {ORDERS}", pa.ArrowInvalid, "Column 'nope' not found in any table\nstartLine 1\n"),
        (
            f"SELECT *\nFROM {CATALOG}.{SCHEMA}.nope",
            pa.ArrowInvalid,
            rf"Object 'nope' not found within '{CATALOG}\.{SCHEMA}'\. "
            r"Please check that it exists in the selected context\."
            r"\nstartLine 2\nstartColumn 40\nendLine 2\nendColumn 43\nSQL Query SELECT \*\nFROM",
        ),
        ("SELECT ?", flight.FlightInternalError, "Cannot convert RexNode"),
        (f"DELETE FROM {ORDERS}", flight.FlightUnauthorizedError, "read-only"),
        (f"INSERT INTO {ORDERS} VALUES (1)", flight.FlightUnauthorizedError, "read-only"),
        (f"UPDATE {ORDERS} SET quantity = 1", flight.FlightUnauthorizedError, "read-only"),
        (f"DROP TABLE {ORDERS}", flight.FlightUnauthorizedError, "read-only"),
        (f"CREATE VIEW {CATALOG}.v AS SELECT 1 AS n", flight.FlightUnauthorizedError, "read-only"),
        ("SELECT 1 / 0", flight.FlightInternalError, "divide by zero"),
    ],
)
def test_an_error_has_dremios_status_and_text_and_no_traceback(
    port: int, sql: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        Plain(port).query(sql)
    assert "Traceback" not in str(caught.value)
    assert ".py" not in str(caught.value)


def test_a_client_that_gives_up_frees_the_server(port: int, dremio: Dremio) -> None:
    client = flight.FlightClient(f"grpc://localhost:{port}")
    login = client.authenticate_basic_token("dremio", "dremio123")
    # 3^20 rows: tens of seconds of work anywhere, and little memory.
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(20))
    sql = f"SELECT SUM(t0.quantity * t19.quantity) AS n FROM {tables}"
    options = flight.FlightCallOptions(headers=[login], timeout=5)
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql), options)
    hasty = flight.FlightCallOptions(headers=[login], timeout=0.3)
    with pytest.raises(flight.FlightTimedOutError):
        client.do_get(info.endpoints[0].ticket, hasty).read_chunk()
    assert dremio.sql("SELECT 1 AS n").to_pylist() == [{"n": 1}]


# ---- commits --------------------------------------------------------------------------------------------------------


def test_the_head_of_main_is_the_newest_publish(dremio: Dremio, published: Published) -> None:
    assert dremio.head() == published.second
    assert dremio.near
    assert dremio.sql(f"SHOW BRANCHES IN {CATALOG}").to_pylist() == [
        {"type": "Branch", "refName": "main", "commitHash": published.second}
    ]
    with pytest.raises(QueryError, match="Source other does not exist"):
        dremio.sql("SHOW BRANCHES IN other")


def test_a_past_commit_gives_its_rows(dremio: Dremio, published: Published) -> None:
    def orders(at: str) -> int:
        count: int = dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS} {at} o").to_pylist()[0]["n"]
        return count

    [(when,)] = published.query(f"SELECT published_at FROM publications WHERE commit_id = '{published.first}'")
    moment = (datetime.fromtimestamp(when / 1e6, UTC) + timedelta(milliseconds=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert orders("") == 3
    assert orders("AT BRANCH main") == 3
    assert orders(f'AT COMMIT "{published.second}"') == 3
    assert orders(f'AT COMMIT "{published.first}"') == 1
    assert orders(f'AT REF "{published.first}"') == 1
    assert orders(f"AT TIMESTAMP '{moment[:23]}'") == 1
    assert dremio.sql(
        f'SELECT a.n, b.n AS m FROM (SELECT COUNT(*) AS n FROM {ORDERS} AT COMMIT "{published.first}") AS a, '
        f"(SELECT COUNT(*) AS n FROM {ORDERS}) AS b"
    ).to_pylist() == [{"n": 1, "m": 3}]


def test_a_past_snapshot_gives_its_rows(dremio: Dremio, published: Published) -> None:
    [(location,)] = published.query(
        f"SELECT json_extract(tables, '$.orders_processed') FROM publications WHERE commit_id = '{published.first}'"
    )
    snapshot = StaticTable.from_metadata(location).current_snapshot()
    assert snapshot is not None
    answer = dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS} AT SNAPSHOT '{snapshot.snapshot_id}'")
    assert answer.to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ('AT COMMIT "abc123"', "Commit 'abc123' not found in source .*: it never was, or is kept no longer"),
        ("AT BRANCH dev", "Branch 'dev' not found"),
        ("AT TAG v1", "Tag 'v1' not found"),
        ("AT SNAPSHOT '17'", "Snapshot '17' not found"),
        ("AT TIMESTAMP '1997-01-01 00:00:00'", "No commit of branch main was in force"),
        ("AT COMMIT 'abc'", "double quotes"),
    ],
)
def test_a_commit_that_is_not_there_is_refused_with_a_sentence(dremio: Dremio, at: str, says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS} {at}")
    assert (caught.value.line, caught.value.column) != (None, None)


def test_a_planned_statement_keeps_its_commit_through_later_publishes(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.order()
    shop.publish()
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    statements = Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    sql = f"SELECT (SELECT COUNT(*) FROM {ORDERS}) AS raw, (SELECT SUM(orders_count) FROM {REVENUE}) AS kpi"
    before = statements.plan(sql)
    shop.order()
    shop.publish()
    after = statements.plan(sql)
    rows = [
        pa.Table.from_batches(list(statements.run(planned.ticket, lambda: False).batches)).to_pylist()
        for planned in (before, after, before)
    ]
    assert rows == [[{"raw": 1, "kpi": 1}], [{"raw": 2, "kpi": 2}], [{"raw": 1, "kpi": 1}]]
    engine.close()
    shop.close()


def test_before_the_first_publish_tables_are_missing_and_then_they_appear(tmp_path: Path) -> None:
    process, port = start_gateway(tmp_path)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            assert dremio.head() == NOTHING_PUBLISHED
            with pytest.raises(NotFound, match="Object 'orders_processed' not found within"):
                dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS}")
            with pytest.raises(NotFound):
                dremio.sql(f'SELECT COUNT(*) AS n FROM {ORDERS} AT COMMIT "{NOTHING_PUBLISHED}"')
            assert dremio.sql("SELECT 1 AS n").num_rows == 1
            shop = Shop(tmp_path)
            shop.order()
            shop.publish()
            assert dremio.head() != NOTHING_PUBLISHED
            assert dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS}").to_pylist() == [{"n": 1}]
            shop.close()
    finally:
        stop(process)


# ---- commands -------------------------------------------------------------------------------------------------------


def test_the_catalog_can_be_looked_through(dremio: Dremio) -> None:
    assert f"{CATALOG}.{SCHEMA}" in dremio.sql("SHOW SCHEMAS").column("SCHEMA_NAME").to_pylist()
    shown = dremio.sql(f"SHOW TABLES IN {CATALOG}.{SCHEMA}").column("TABLE_NAME").to_pylist()
    assert shown == sorted(TABLES)
    listed = dremio.sql(
        """SELECT TABLE_NAME FROM INFORMATION_SCHEMA."TABLES" WHERE TABLE_TYPE = 'TABLE' ORDER BY TABLE_NAME"""
    )
    assert listed.column(0).to_pylist() == sorted(TABLES)
    columns = dremio.sql("SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'alerts'")
    assert columns.column(0).to_pylist() == [column.name for column in TABLES["alerts"].columns]
    described = dremio.sql(f"DESCRIBE {ORDERS}").to_pylist()
    price = next(row for row in described if row["COLUMN_NAME"] == "price")
    assert (price["DATA_TYPE"], price["NUMERIC_PRECISION"], price["NUMERIC_SCALE"]) == ("DECIMAL", 18, 4)
    assert dremio.sql(f"ALTER TABLE {ORDERS} REFRESH METADATA").column("ok").to_pylist() == [True]


# ---- cheapness ------------------------------------------------------------------------------------------------------


class Watched(Engine):
    """An engine that notes what it runs."""

    ran: list[str]

    def run(
        self,
        sql: str,
        gone: Callable[[], bool],
        given: Mapping[str, pa.Table] | None = None,
        within_s: float | None = None,
    ) -> Iterator[pa.RecordBatch]:
        self.ran.append(sql)
        return super().run(sql, gone, given, within_s)


def test_a_question_over_minutes_reads_only_the_files_that_overlap(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for minute in range(4):
        shop.order(NOON + timedelta(minutes=minute))
        shop.pass_time(timedelta(minutes=1))
        shop.publish()
    shop.close()
    engine = Watched(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    engine.ran = []
    statements = Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    start = (NOON + timedelta(minutes=2)).strftime("%Y-%m-%d %H:%M:%S")
    for condition in (f"order_ts >= TIMESTAMP '{start}'", f"CAST('{start}' AS TIMESTAMP) <= o.order_ts"):
        planned = statements.plan(f"SELECT COUNT(*) AS n FROM {ORDERS} o WHERE {condition}")
        answer = pa.Table.from_batches(list(statements.run(planned.ticket, lambda: False).batches))
        assert answer.to_pylist() == [{"n": 2}]
        assert engine.ran[-1].count(".parquet") == 2
    engine.close()


def test_asking_for_the_head_costs_next_to_nothing(published: Published) -> None:
    commits = SqliteCommits(published.data_dir / "catalog.db")
    first = commits.head()
    calls = Counter[str]()
    sys.setprofile(lambda _, event, __: calls.update([event]))
    try:
        again = commits.head()
    finally:
        sys.setprofile(None)
    assert again is first
    assert calls["call"] + calls["c_call"] < 30, calls


@contextmanager
def altered(tmp_path: Path, change: Callable[[UpdateSchema], object]) -> Iterator[Statements]:
    """A gateway's statements over one order, in a table whose schema was then changed by somebody else."""
    shop = Shop(tmp_path)
    shop.order()
    shop.publish()
    shop.close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
        table = catalog.load_table(f"{SCHEMA}.orders_processed")
        with table.update_schema() as update:
            change(update)
        [(tables,)] = connection.execute("SELECT tables FROM publications ORDER BY sequence DESC LIMIT 1").fetchall()
        old = tables.split('"orders_processed": "')[1].split('"')[0]
        connection.execute(
            "INSERT INTO publications (commit_id, published_at, tables) VALUES ('aa', 1, ?)",
            (tables.replace(old, table.metadata_location),),
        )
        connection.commit()
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
    yield Statements(SqliteCommits(tmp_path / "catalog.db"), engine)
    engine.close()


def test_a_table_whose_columns_changed_is_still_read_right(tmp_path: Path) -> None:
    def change(update: UpdateSchema) -> None:
        update.rename_column("status", "state")
        update.add_column("coupon", StringType())

    with altered(tmp_path, change) as statements:
        planned = statements.plan(f"SELECT state, coupon, order_ts FROM {ORDERS}")
        [row] = pa.Table.from_batches(list(statements.run(planned.ticket, lambda: False).batches)).to_pylist()
    assert (row["state"], row["coupon"], row["order_ts"]) == ("CREATED", None, NOON.replace(tzinfo=None))


def test_a_table_that_takes_duckdbs_own_reader_is_refused_on_one_machine(tmp_path: Path) -> None:
    with altered(tmp_path, lambda update: update.update_column("quantity", LongType())) as statements:
        planned = statements.plan(f"SELECT quantity FROM {ORDERS}")
        with pytest.raises(Refusal, match=r"a column whose type changed: another program has changed it"):
            list(statements.run(planned.ticket, lambda: False).batches)


def test_without_the_stacks_packages_it_is_said_what_reads_such_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote("s3://b/", "http://127.0.0.1:1", "k", "s", "r")
    monkeypatch.setattr(duck, "_spec", lambda name: None)
    engine = Engine(tmp_path, tmp_path / "spill", threads=1, memory_limit_mb=64, timeout_s=5, remote=remote)
    assert "sh deploy/bootstrap spark" in engine.no_iceberg_scan
    engine.close()


# ---- the process ----------------------------------------------------------------------------------------------------


def test_a_busy_port_is_refused_with_a_sentence(port: int, tmp_path: Path) -> None:
    process, _ = start_gateway(tmp_path, TILLWATCH_PORT_OFFSET=str(port - 32010))
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said.startswith(f"tillwatch: Port {port} is held by")
    assert said.count("\n") == 1
