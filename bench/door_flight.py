"""The bare Flight server of bench door: sign-in and calls as the gateway's, for one constant or DuckDB's rows."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

import pyarrow as pa
from pyarrow import flight

from bench.door_shop import connected

ROWS = b"rows "
"""Before DuckDB's SQL in a command; any other command is answered with the constant."""
_LOGIN = base64.b64encode(b"dremio:dremio123").decode()
_ONE = pa.table({"n": pa.array([1], pa.int32())})


def serve(port: int, views: str, batch_rows: int) -> None:
    """Until it is ended."""
    Bare(f"grpc://127.0.0.1:{port}", views, batch_rows).serve()


class Bare(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow.flight has no types
    """`views` are the statements that give DuckDB the tables; its rows come in batches of `batch_rows`."""

    def __init__(self, location: str, views: str, batch_rows: int) -> None:
        self._database = connected(views)
        self._batch_rows = batch_rows
        super().__init__(location, auth_handler=_NoPayload(), middleware={"signed in": _SignIn()})

    def get_flight_info(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> flight.FlightInfo:
        command: bytes = descriptor.command
        schema = _ONE.schema
        if command.startswith(ROWS):
            sql = f"SELECT * FROM ({command.removeprefix(ROWS).decode()}) LIMIT 0"
            schema = self._database.cursor().execute(sql).to_arrow_reader().schema
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(flight.Ticket(command), [])], -1, -1)

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        if not ticket.ticket.startswith(ROWS):
            return flight.RecordBatchStream(_ONE)
        cursor = self._database.cursor().execute(ticket.ticket.removeprefix(ROWS).decode())
        return flight.RecordBatchStream(cursor.to_arrow_reader(self._batch_rows))


class _NoPayload(flight.ServerAuthHandler):  # type: ignore[misc]  # pyarrow.flight has no types
    """Logging in is a matter of headers; without a handler pyarrow refuses the handshake."""

    def authenticate(self, outgoing: object, incoming: object) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


class _SignIn(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """A token for user and password; every other call is to bring it."""

    def __init__(self) -> None:
        self._token = f"Bearer {secrets.token_hex(16)}"

    def start_call(self, info: flight.CallInfo, headers: Mapping[str, list[str]]) -> _Token | None:
        [given] = headers.get("authorization", [""])
        if info.method == flight.FlightMethod.HANDSHAKE and given == f"Basic {_LOGIN}":
            return _Token(self._token)
        if given != self._token:
            raise flight.FlightUnauthenticatedError("")
        return None


class _Token(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, token: str) -> None:
        self._token = token

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": self._token}
