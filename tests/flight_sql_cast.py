"""A Flight SQL client written by hand, so that tests say which call they make."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import flight

from embedded.gateway.flight_sql.messages import make, packed, read, unpacked


class SqlClient:
    """Signed in once; with a cookie as soon as it has one, unless `keeps_cookie` is False."""

    def __init__(self, port: int, keeps_cookie: bool = True) -> None:
        self._cookies = _Cookies(keeps_cookie)
        self.flight = flight.FlightClient(f"grpc://localhost:{port}", middleware=[self._cookies])
        self._token = self.flight.authenticate_basic_token("dremio", "dremio123")

    @property
    def options(self) -> flight.FlightCallOptions:
        cookie = [(b"cookie", self._cookies.cookie.encode())] if self._cookies.cookie else []
        return flight.FlightCallOptions(headers=[self._token, *cookie], timeout=30)

    def info(self, command: bytes | Any) -> flight.FlightInfo:
        """GetFlightInfo of a command: a message, or bytes as they are."""
        return self.flight.get_flight_info(_descriptor(command), self.options)

    def schema(self, command: bytes | Any) -> pa.Schema:
        return self.flight.get_schema(_descriptor(command), self.options).schema

    def get(self, ticket: bytes | Any) -> pa.Table:
        """DoGet of a ticket: a message, or bytes as they are."""
        return self.flight.do_get(flight.Ticket(_bytes(ticket)), self.options).read_all()

    def rows(self, command: bytes | Any) -> pa.Table:
        """All of a command's rows; their schema is the one that was told before."""
        info = self.info(command)
        [endpoint] = info.endpoints
        table = self.get(endpoint.ticket.ticket)
        assert table.schema == info.schema
        return table

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.rows(make("CommandStatementQuery", query=sql)).to_pylist()
        return rows

    def act(self, kind: str, body: bytes | Any) -> list[bytes]:
        action = flight.Action(kind, body if isinstance(body, bytes) else body.SerializeToString())
        return [result.body.to_pybytes() for result in self.flight.do_action(action, self.options)]

    def prepare(self, sql: str) -> Handle:
        request = packed(make("ActionCreatePreparedStatementRequest", query=sql))
        [result] = self.act("CreatePreparedStatement", request)
        return Handle(self, unpacked(result))

    def set_option(self, name: str, **value: object) -> int | None:
        """Set a session option; the error of the result, if any."""
        option = make("SessionOption", key=name, value=make("SessionOptionValue", **value))
        [result] = self.act("SetSessionOptions", make("SetSessionOptionsRequest", session_options=[option]))
        errors = {error.key: error.value.value for error in read("SetSessionOptionsResult", result).errors}
        assert set(errors) <= {name}
        return errors.get(name)

    def put(self, command: bytes | Any, table: pa.RecordBatch | pa.Table) -> None:
        writer, reader = self.flight.do_put(_descriptor(command), table.schema, self.options)
        with writer:
            writer.write(table)
            writer.done_writing()
            reader.read()


class Handle:
    """A prepared statement."""

    def __init__(self, client: SqlClient, result: Any) -> None:
        self._client = client
        self.handle: bytes = result.prepared_statement_handle
        self.dataset_schema = _schema(result.dataset_schema)
        self.parameter_schema = _schema(result.parameter_schema)

    @property
    def command(self) -> Any:
        return make("CommandPreparedStatementQuery", prepared_statement_handle=self.handle)

    def bind(self, *values: object) -> Handle:
        """Bind one set of values: scalars of Python, or of pyarrow where the type matters."""
        columns = [value if isinstance(value, pa.Array) else pa.array([value]) for value in values]
        self._client.put(self.command, pa.record_batch(columns, [str(place) for place in range(len(columns))]))
        return self

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.rows(self.command).to_pylist()
        return rows

    def close(self) -> None:
        request = packed(make("ActionClosePreparedStatementRequest", prepared_statement_handle=self.handle))
        self._client.act("ClosePreparedStatement", request)


def _schema(content: bytes) -> pa.Schema | None:
    return pa.ipc.read_schema(pa.py_buffer(content)) if content else None


def _bytes(message: bytes | Any) -> bytes:
    return message if isinstance(message, bytes) else packed(message)


def _descriptor(command: bytes | Any) -> flight.FlightDescriptor:
    return flight.FlightDescriptor.for_command(_bytes(command))


class _Cookies(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, keeps: bool) -> None:
        self._keeps = keeps
        self.cookie = ""

    def start_call(self, info: flight.CallInfo) -> flight.ClientMiddleware:
        return _Call(self)

    def received(self, headers: dict[str, list[str]]) -> None:
        for name, values in headers.items():
            if name.lower() == "set-cookie" and self._keeps:
                self.cookie = values[0]


class _Call(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, cookies: _Cookies) -> None:
        self._cookies = cookies

    def received_headers(self, headers: dict[str, list[str]]) -> None:
        self._cookies.received(headers)
