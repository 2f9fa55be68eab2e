"""A Flight server that behaves as it is told: Dremio's handshake, tokens and cookies, and any fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from google.protobuf import any_pb2, wrappers_pb2
from pyarrow import flight

ANSWER = pa.table({"n": pa.array([1], pa.int64()), "at": pa.array([0], pa.timestamp("ms"))})
TYPE = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"


class Stand(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow.flight has no types
    """Answers ANSWER, and notes what came; set `on_plan` and `on_read` to misbehave.

    `calls` are those that reached the door, by method; `asked` the statements, as (protocol, text).
    """

    def __init__(self, port: int = 0, tls: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """`tls` is certificate and key, PEM."""
        self.logins = 0
        self.plans = 0
        self.reads = 0
        self.calls: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, list[str]]] = []
        self.cookies: list[list[str]] = []
        self.valid: set[str] = set()
        self.session = "s1"
        self.release = threading.Event()
        """What hangs goes on once it is set."""
        self.on_login: Callable[[], None] = lambda: None
        self.on_plan: Callable[[], None] = lambda: None
        self.on_read: Callable[[], Iterator[pa.RecordBatch]] = lambda: iter(ANSWER.to_batches())
        self.schema = ANSWER.schema
        location = f"grpc{'+tls' if tls else ''}://127.0.0.1:{port}"
        door = {"door": Door(self)}
        super().__init__(location, auth_handler=NoPayload(), middleware=door, tls_certificates=list(tls) or None)

    def get_flight_info(self, context: Any, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        self.plans += 1
        self.asked.append(statement_of(descriptor.command))
        self.on_plan()
        return flight.FlightInfo(self.schema, descriptor, [flight.FlightEndpoint(b"t", [])], -1, -1)

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.GeneratorStream:
        self.reads += 1
        return flight.GeneratorStream(ANSWER.schema, self.on_read())

    def hang(self) -> None:
        self.release.wait(20)

    def behave(self) -> None:
        """From now on."""
        self.release.set()
        self.on_plan = lambda: None
        self.on_read = lambda: iter(ANSWER.to_batches())
        self.schema = ANSWER.schema

    def forget_all(self) -> None:
        """Tokens and sessions, as a restart does."""
        self.valid.clear()
        self.session += "'"

    def end(self) -> None:
        self.release.set()
        self.shutdown()


def statement_of(command: bytes) -> tuple[str, str]:
    """Protocol and text of a command, read with protobuf's own library."""
    if TYPE.encode() not in command:
        return "flight", command.decode()
    packed = any_pb2.Any.FromString(command)
    assert packed.type_url == TYPE
    # A message with one text in field 1, as CommandStatementQuery is.
    return "flight-sql", wrappers_pb2.StringValue.FromString(packed.value).value


class NoPayload(flight.ServerAuthHandler):  # type: ignore[misc]  # pyarrow.flight has no types
    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


class Door(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> flight.ServerMiddleware:
        stand = self.stand
        stand.calls.append(info.method.name)
        [authorization] = headers["authorization"]
        if info.method == flight.FlightMethod.HANDSHAKE:
            stand.on_login()
            if authorization != "Basic ZHJlbWlvOmRyZW1pbzEyMw==":
                raise flight.FlightUnauthenticatedError("Login failed: Invalid username or password")
            stand.logins += 1
            token = f"Bearer t{stand.logins}"
            stand.valid.add(token)
            return Sends({"authorization": token})
        if authorization not in stand.valid:
            raise flight.FlightUnauthenticatedError("")
        stand.headers.append(headers)
        cookies = headers.get("cookie", [])
        stand.cookies.append(cookies)
        if not cookies:
            return Sends({"authorization": authorization, "set-cookie": f"SESSION_ID={stand.session}"})
        if cookies != [f"SESSION_ID={stand.session}"]:
            raise flight.FlightUnauthenticatedError("UserSession is not available in the cache")
        return Sends({"authorization": authorization})


class Sends(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers

    def sending_headers(self) -> dict[str, str]:
        return self.headers


def fail(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


def unreadable(error: BaseException) -> Callable[[], Iterator[pa.RecordBatch]]:
    """Fails before the first row."""

    def raises() -> Iterator[pa.RecordBatch]:
        raise error

    return raises
