"""Whatever comes in as Flight SQL, the gateway answers with one of Dremio's statuses, and goes on.

500 mutated commands; FUZZED_STATEMENTS=20000 makes them 5,000.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from pyarrow import flight

from embedded.gateway.flight_sql.messages import make, packed
from lakehouse.tables import CATALOG, SCHEMA
from tests.flight_sql_cast import SqlClient
from tests.test_gateway import Published, start_gateway, stop
from tests.test_gateway_closed import CANARY, TELLTALE, WAYS
from tests.test_gateway_fuzz import MANY

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
SELECT = make("CommandStatementQuery", query="SELECT 1 AS n")
URL = "type.googleapis.com/arrow.flight.protocol.sql."

COMMANDS = MANY // 4
MOST_GROWN_MB = 40

# INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, INTERNAL, UNIMPLEMENTED
STATUSES = (
    pa.ArrowInvalid,
    flight.FlightUnauthenticatedError,
    flight.FlightUnauthorizedError,
    flight.FlightInternalError,
    pa.ArrowNotImplementedError,
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    return data_dir


@pytest.fixture(scope="module")
def port(data_dir: Path) -> Iterator[int]:
    process, port = start_gateway(data_dir)
    yield port
    stop(process)


@pytest.fixture
def client(port: int) -> SqlClient:
    return SqlClient(port)


# ---- bad protobuf ---------------------------------------------------------------------------------------------------


def any_of(type_url: str, value: bytes) -> bytes:
    content: bytes = make("Any", type_url=type_url, value=value).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (any_of(f"{URL}CommandStatementQuery", b"\x0a\x7fSELECT"), "CommandStatementQuery cannot be read"),
        (any_of(f"{URL}CommandStatementQuery", b"\x0a\x02\xff\xfe"), "CommandStatementQuery cannot be read"),
        (any_of(f"{URL}CommandGetTables", b"\x0f"), "CommandGetTables cannot be read"),
        (any_of(f"{URL}CommandStatementNothing", b""), "Unrecognized request: CommandStatementNothing"),
        (any_of(f"{URL}CommandStatementSubstraitPlan", b""), "Unrecognized request: CommandStatementSubstraitPlan"),
        (any_of(f"{URL}CommandStatementUpdate", b""), "Unrecognized request: CommandStatementUpdate"),
        (any_of(f"{URL}TicketStatementQuery", b""), "Unrecognized request: TicketStatementQuery"),
        (any_of(f"{URL}Any", b""), "Unrecognized request: Any"),
        # What is no Flight SQL is a statement's text, and none of these is one.
        (any_of("type.googleapis.com/google.protobuf.Empty", b""), "Failure parsing the query"),
        (packed(SELECT)[:-3], "Failure parsing the query"),
        (packed(SELECT)[:20], "Failure parsing the query"),
        (b"\xff" * 50, "Failure parsing the query: it is not UTF-8"),
        (URL.encode(), "Failure parsing the query"),
    ],
)
def test_what_is_no_command_is_refused_with_a_sentence(client: SqlClient, command: bytes, says: str) -> None:
    with pytest.raises(pa.ArrowInvalid, match=says):
        client.info(command)
    assert client.query("SELECT 1 AS n") == [{"n": 1}]


def test_fields_that_are_not_known_and_another_host_of_the_type_do_not_matter(client: SqlClient) -> None:
    """Newer clients send more fields; Dremio looks at what follows the slash of a type only."""
    value = SELECT.SerializeToString() + b"\x12\x03abc\xc2\x3e\x02hi"  # a transaction, and field 1000
    for url in (URL, "example.com/arrow.flight.protocol.sql.", "arrow.flight.protocol.sql."):
        assert client.rows(any_of(f"{url}CommandStatementQuery", value)).to_pylist() == [{"n": 1}]


def test_a_huge_command_is_refused(client: SqlClient) -> None:
    for command in (
        make("CommandStatementQuery", query="SELECT '" + "x" * 3_000_000 + "' AS n"),
        make("CommandPreparedStatementQuery", prepared_statement_handle=b"\0" * 20_000_000),
    ):
        with pytest.raises(STATUSES):
            client.info(command)
    pattern = "%a" * 200_000 + "b"
    assert client.rows(make("CommandGetTables", table_name_filter_pattern=pattern)).num_rows == 0
    assert client.rows(make("CommandGetSqlInfo", info=[*range(3000), 4_000_000_000])).num_rows > 60


@pytest.mark.parametrize(
    ("action", "body", "error", "says"),
    [
        ("CreatePreparedStatement", b"", pa.ArrowInvalid, "takes ActionCreatePreparedStatementRequest inside an Any"),
        ("CreatePreparedStatement", packed(SELECT), pa.ArrowInvalid, "takes ActionCreatePreparedStatementRequest"),
        ("CreatePreparedStatement", b"\xff", pa.ArrowInvalid, "takes ActionCreatePreparedStatementRequest"),
        ("ClosePreparedStatement", b"SELECT 1", pa.ArrowInvalid, "takes ActionClosePreparedStatementRequest"),
        ("CancelQuery", b"", pa.ArrowInvalid, "takes ActionCancelQueryRequest"),
        ("CancelFlightInfo", b"\xff", pa.ArrowInvalid, "CancelFlightInfoRequest cannot be read"),
        ("SetSessionOptions", b"\x0a\xff", pa.ArrowInvalid, "SetSessionOptionsRequest cannot be read"),
        ("CloseSession", b"\xff", pa.ArrowInvalid, "CloseSessionRequest cannot be read"),
        ("BeginTransaction", b"", pa.ArrowNotImplementedError, "BeginTransaction is not implemented"),
        ("EndSavepoint", b"", pa.ArrowNotImplementedError, "EndSavepoint is not implemented"),
        ("Nothing", b"", pa.ArrowNotImplementedError, "doAction is not implemented"),
    ],
)
def test_actions_take_their_own_messages(
    client: SqlClient, action: str, body: bytes, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        client.act(action, body)


# ---- what is closed -------------------------------------------------------------------------------------------------


def cancel(info: bytes) -> bytes:
    return packed(make("ActionCancelQueryRequest", info=info))


def test_nobody_asks_without_a_login(port: int) -> None:
    stranger = flight.FlightClient(f"grpc://localhost:{port}")
    client = SqlClient(port)
    ticket = client.info(SELECT).endpoints[0].ticket
    prepared = client.prepare("SELECT 1 AS n WHERE 1 = ?")
    for header in ([], [(b"authorization", b"Bearer 1.2.3")], [(b"authorization", b"Basic ZHJlbWlvOng=")]):
        options = flight.FlightCallOptions(headers=header)
        for call in (
            lambda options: stranger.get_flight_info(flight.FlightDescriptor.for_command(packed(SELECT)), options),
            lambda options: stranger.do_get(ticket, options).read_all(),
            lambda options: list(stranger.do_action(flight.Action("CloseSession", b""), options)),
            lambda options: put(stranger, packed(prepared.command), options),
        ):
            with pytest.raises(flight.FlightUnauthenticatedError):
                call(options)


def put(client: flight.FlightClient, command: bytes, options: flight.FlightCallOptions) -> None:
    table = pa.table({"0": [1]})
    writer, reader = client.do_put(flight.FlightDescriptor.for_command(command), table.schema, options)
    with writer:
        writer.write(table)
        writer.done_writing()
        reader.read()


def test_a_session_that_is_not_known_is_told_as_dremio_tells_it(client: SqlClient) -> None:
    client._cookies.cookie = "SESSION_ID=gone"
    with pytest.raises(flight.FlightUnauthenticatedError, match="UserSession is not available in the cache"):
        client.info(SELECT)


def test_a_handle_that_was_not_made_here_is_refused_in_each_call(client: SqlClient) -> None:
    good = client.prepare("SELECT 1 AS n")
    statement = client.info(SELECT).endpoints[0].ticket.ticket
    for handle in (b"", b"x" * 100, good.handle[:-1], good.handle[32:], good.handle + b" ", statement):
        good.handle, kept = handle, good.handle
        invalid = "Invalid PreparedStatementHandle used in"
        with pytest.raises(pa.ArrowInvalid, match=f"{invalid} getFlightInfo"):
            client.info(good.command)
        with pytest.raises(pa.ArrowInvalid, match=f"{invalid} getStream"):
            client.get(good.command)
        with pytest.raises(pa.ArrowInvalid, match=f"{invalid} acceptPut"):
            client.put(good.command, pa.table({"0": [1]}))
        with pytest.raises(pa.ArrowInvalid, match=f"{invalid} closePreparedStatement"):
            good.close()
        good.handle = kept
    assert good.rows() == [{"n": 1}]


def test_a_handle_may_be_closed_twice(client: SqlClient) -> None:
    prepared = client.prepare("SELECT 1 AS n")
    prepared.close()
    prepared.close()
    assert prepared.rows() == [{"n": 1}]  # as in Dremio, closing only says that it is not needed


def test_tickets_of_one_protocol_are_none_of_the_other(client: SqlClient) -> None:
    legacy = client.info(b"SELECT 1 AS n").endpoints[0].ticket.ticket
    ticket = client.info(SELECT).endpoints[0].ticket.ticket
    prepared = client.prepare("SELECT 1 AS n")
    for statement in (legacy, prepared.handle, b"", ticket):
        with pytest.raises(flight.FlightInternalError, match="Invalid StatementHandle used in getStream"):
            client.get(make("TicketStatementQuery", statement_handle=statement))
    for raw in (prepared.handle, ticket[20:], b"", b"SELECT 1 AS n"):
        with pytest.raises(flight.FlightInternalError, match="The ticket is not one of this server"):
            client.get(raw)
    with pytest.raises(pa.ArrowInvalid, match="The defined request is invalid"):
        client.get(SELECT)
    assert client.get(legacy) == client.get(ticket)


def test_every_way_out_stays_closed(client: SqlClient, data_dir: Path) -> None:
    """Those of test_gateway_closed, by statement, by prepared statement, and by one with a parameter."""
    for name in ("F", "secret.csv", "notes.txt"):
        (data_dir / name).write_text(f"a,b\n{CANARY},2\n")
    for way in WAYS:
        for ask in (client.query, client.prepare, lambda sql: client.prepare(f"{sql} WHERE 1 = ?")):
            with pytest.raises(STATUSES) as caught:
                ask(way)
            # Without the statement that is sent back, and what the client adds.
            said = re.split(r"startLine|\. Detail: |gRPC client debug", str(caught.value))[0].replace("SELECT ", "")
            for own in re.findall(r'"([^"]*)"|\'([^\']*)\'', way):
                said = said.replace("".join(own), "")
            assert not TELLTALE.search(said), (way, said)


# ---- mutated --------------------------------------------------------------------------------------------------------


def commands(client: SqlClient) -> list[bytes]:
    handle = client.prepare(f"SELECT order_id FROM {ORDERS} WHERE user_id = ?").handle
    known = [
        SELECT,
        make("CommandStatementQuery", query=f"SELECT user_id, price FROM {ORDERS} WHERE quantity > 1"),
        make("CommandPreparedStatementQuery", prepared_statement_handle=handle),
        make("CommandGetDbSchemas", catalog="DREMIO", db_schema_filter_pattern="%"),
        make("CommandGetTables", table_name_filter_pattern="o%", table_types=["TABLE"], include_schema=True),
        make("CommandGetSqlInfo", info=[0, 1, 508]),
        make("CommandGetXdbcTypeInfo", data_type=12),
        make("CommandGetPrimaryKeys", table="orders_processed"),
    ]
    return [packed(message) for message in known] + [client.info(SELECT).endpoints[0].ticket.ticket]


def mutated(dice: random.Random, command: bytes) -> bytes:
    content = bytearray(command)
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(content) + 1)
        match dice.randrange(5):
            case 0 if place < len(content):
                content[place] = dice.randrange(256)
            case 1:
                del content[place : place + dice.randrange(1, 9)]
            case 2:
                content[place:place] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 9)))
            case 3:
                content[place:place] = content[: dice.randrange(len(content) + 1)]
            case _:
                del content[place:]
        content = content[:4000] or bytearray(b"\0")
    return bytes(content)


def test_mutated_commands_get_one_of_dremios_statuses_and_leave_nothing_in_memory(data_dir: Path) -> None:
    process, port = start_gateway(data_dir)
    client = SqlClient(port)
    dice = random.Random(24)
    known = commands(client)
    calls: list[Callable[[bytes], Any]] = [
        client.info,
        client.get,
        lambda body: client.act("CreatePreparedStatement", body),
        lambda body: client.act("CancelFlightInfo", body),
        lambda body: client.act("SetSessionOptions", body),
        lambda body: client.put(body, pa.table({"0": ["a"]})),
    ]
    refused = []
    gateway, before_mb = psutil.Process(process.pid), 0.0
    for number in range(COMMANDS):
        if number == COMMANDS // 4:
            before_mb = gateway.memory_info().rss / 1e6  # with whatever it keeps for the next ones
        body = mutated(dice, known[number % len(known)])
        try:
            calls[number % len(calls)](body)
        except STATUSES as error:
            refused.append(str(error))
    assert 0.6 * COMMANDS < len(refused) < COMMANDS
    grown_mb = gateway.memory_info().rss / 1e6 - before_mb
    assert grown_mb < MOST_GROWN_MB, f"{COMMANDS:,} commands took {grown_mb:.1f} MB"
    assert [said for said in refused if "SYSTEM ERROR" in said] == []
    assert client.query("SELECT 1 AS n") == [{"n": 1}]
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    assert "failed:" not in said
