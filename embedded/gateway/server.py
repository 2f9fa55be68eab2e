"""The Arrow Flight port: Dremio's handshake, headers, calls and statuses.

A command of legacy Flight is the statement's text, one of Flight SQL a message inside an Any: `flight_sql` has those.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import pyarrow as pa
from google.protobuf.message import Message
from pyarrow import flight

from embedded.gateway import wire
from embedded.gateway.constants import Constants, Planned
from embedded.gateway.errors import ErrorKind, Refusal, TooDeep
from embedded.gateway.flight_sql import messages
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.running import RunningStatement, RunningStatements
from embedded.gateway.flight_sql.service import ACTIONS, FlightSql
from embedded.gateway.sessions import COOKIE, Caller, FlightSession, Sessions
from embedded.gateway.statements import Statements, Streamed
from lakehouse.dremio.nearby import ASKED_HEADER, GATEWAY_HEADER, NEXT_HEAD, WITHDRAW, AskedHead

logger = logging.getLogger(__name__)

_SLOW_S = 1.0
_MOST_BATCHES = 100
"""That are put for one row: empty ones could come without end."""


class Gateway(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow.flight has no types
    """Serves from its construction on; `shutdown()` ends it."""

    def __init__(
        self, location: str, sessions: Sessions, statements: Statements, tls: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """`tls` is certificate and key, PEM; the location then begins with grpc+tls."""
        self._statements = statements
        self._running = RunningStatements()
        # By what comes and goes on the wire: who asks whether anybody is there waits for no more than a look.
        self._constants = Constants()
        self._flight_sql = FlightSql(statements, sessions, self._running)
        door = {"caller": _Door(sessions)}
        super().__init__(location, auth_handler=_NoPayload(), middleware=door, tls_certificates=list(tls) or None)

    def get_flight_info(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> flight.FlightInfo:
        schema, tickets = self._planned(context, descriptor)
        endpoints = [flight.FlightEndpoint(flight.Ticket(ticket), []) for ticket in tickets]
        return flight.FlightInfo(schema, descriptor, endpoints, -1, -1)

    def get_schema(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> flight.SchemaResult:
        return flight.SchemaResult(self._planned(context, descriptor)[0])

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        started = time.monotonic()
        session = _session(context)
        sql, body = "", ticket.ticket
        if (known := self._constants.answer(body)) is not None:
            return flight.RecordBatchStream(known.rows)
        command, planned = _told(lambda: self._opened(body), "")
        if planned is not None and (known := self._statements.known(planned)) is not None:
            self._constants.answered(body, known)
            return flight.RecordBatchStream(known.rows)
        running = self._running.begin(body, context.is_cancelled, context.get_middleware("caller").asked)

        def run() -> tuple[Streamed, list[pa.RecordBatch]]:
            nonlocal sql
            if planned is not None:
                answer = self._statements.run(planned, running.gone, session.user)
            else:
                answer = self._flight_sql.stream(command, Asking(self._statements, session, running.gone))
            sql = answer.sql
            # The first two here: what fails, fails as a call and not in mid-stream; most answers end with the first.
            return answer, list(itertools.islice(answer.batches, 2))

        try:
            answer, first = _told(run, lambda: sql, running)
        except Exception:
            self._running.end(running)
            raise
        if answer.uses is not None:
            session.context = answer.uses
        seconds = time.monotonic() - started
        if seconds > _SLOW_S:
            logger.info("ran in %.1f s: %s", seconds, " ".join(answer.sql[:1000].split())[:300])
        if len(first) < 2:
            batches = first or [wire.empty(answer.schema)]
            self._running.end(running)
            return flight.RecordBatchStream(pa.RecordBatchReader.from_batches(answer.schema, batches))
        return flight.GeneratorStream(answer.schema, self._stream(answer, first, running))

    def _opened(self, ticket: bytes) -> tuple[Message | None, bytes | None]:
        """The command of Flight SQL that a ticket is, None in legacy Flight; and the planned statement's own ticket."""
        command = messages.unpacked(ticket)
        return command, ticket if command is None else self._flight_sql.planned(command)

    def _stream(
        self, answer: Streamed, first: list[pa.RecordBatch], running: RunningStatement
    ) -> Iterator[pa.RecordBatch]:
        try:
            for batch in itertools.chain(first, answer.batches):
                running.check()
                yield batch
        except Exception as error:
            told = _outgoing(error, answer.sql, running)
        else:
            return
        finally:
            self._running.end(running)
        try:
            raise told from None
        finally:
            del told

    def list_flights(self, context: flight.ServerCallContext, criteria: bytes) -> Iterator[flight.FlightInfo]:
        raise _flight_error(Refusal(ErrorKind.UNIMPLEMENTED, "listFlights is not implemented."), "") from None

    def do_put(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
    ) -> None:
        """Binds the values of a prepared statement; there is nothing else to put."""

        def put() -> None:
            command = messages.unpacked(descriptor.command or b"")
            if command is None:
                raise Refusal(ErrorKind.UNIMPLEMENTED, "acceptPut is not implemented.")
            self._flight_sql.put(command, lambda: _one_row(reader))

        _told(put, "")

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        return list(ACTIONS.items())

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[flight.Result]:
        """Flight SQL's, and two that Dremio has not: the head of main once it is not the one that the caller knows, and
        the end of a call for rows by its name."""
        session, body = _session(context), action.body.to_pybytes()
        if action.type == NEXT_HEAD:
            head = _told(lambda: self._statements.next_head(*_known(action), session.user), "")
            return iter([flight.Result(pa.py_buffer(head.encode()))])
        if action.type == WITHDRAW:
            found = self._running.withdraw(body.decode(errors="replace"))
            return iter([flight.Result(pa.py_buffer(b"1" if found else b"0"))])
        asking = Asking(self._statements, session, context.is_cancelled)
        results = _told(lambda: self._flight_sql.act(action.type, body, asking), "")
        return iter([flight.Result(pa.py_buffer(result)) for result in results])

    def do_exchange(self, context: flight.ServerCallContext, *_: object) -> None:
        raise _flight_error(Refusal(ErrorKind.UNIMPLEMENTED, "doExchange is not implemented."), "") from None

    def _planned(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> tuple[pa.Schema, list[bytes]]:
        """The schema of what a command asks for, and the tickets for it."""
        session, body = _session(context), descriptor.command or b""
        if (known := self._constants.plan(body)) is not None:
            return known.told, [known.ticket]
        command = _told(lambda: messages.unpacked(body), "")
        if command is not None:
            asking = Asking(self._statements, session, context.is_cancelled)
            told, tickets, constant = _told(lambda: self._flight_sql.plan(command, asking), "")
        else:
            sql = _told(lambda: _sql_of(descriptor), "")
            planned = _told(
                lambda: self._statements.plan(sql, session.context, context.is_cancelled, session.user), sql
            )
            told, tickets, constant = planned.told, [planned.ticket], planned.constant
        if constant:
            self._constants.planned(body, Planned(told, told, tickets[0], constant=True))
        return told, tickets


def _sql_of(descriptor: flight.FlightDescriptor) -> str:
    """The statement in a descriptor. Raises Refusal for what legacy Flight does not carry."""
    command = descriptor.command
    if command is None:
        raise Refusal(ErrorKind.INTERNAL, "There was an error servicing your request.")
    try:
        text: str = command.decode()
    except UnicodeDecodeError:
        raise Refusal(ErrorKind.PARSE, "Failure parsing the query: it is not UTF-8.") from None
    return text


def _known(action: flight.Action) -> tuple[str, float]:
    """The head that the caller knows, and how many seconds it waits for another. Raises Refusal."""
    try:
        asked = msgspec.json.decode(action.body.to_pybytes(), type=AskedHead)
    except msgspec.MsgspecError as error:
        raise Refusal(ErrorKind.PARSE, f"The action {NEXT_HEAD} takes {{known, wait_s}}: {error}.") from None
    return asked.known, asked.wait_s


def _one_row(reader: flight.MetadataRecordBatchReader) -> pa.Table:
    """What a client puts, no further than its second row: there is only one to be bound."""
    batches: list[pa.RecordBatch] = []
    rows = 0
    for chunk in reader:
        batches.append(chunk.data)
        rows += chunk.data.num_rows
        if rows > 1 or len(batches) >= _MOST_BATCHES:
            break
    return pa.Table.from_batches(batches, reader.schema)


def _session(context: flight.ServerCallContext) -> FlightSession:
    session: FlightSession | None = context.get_middleware("caller").caller.session
    assert session is not None  # only the handshake has none
    return session


# ---- the door -------------------------------------------------------------------------------------------------------


class _NoPayload(flight.ServerAuthHandler):  # type: ignore[misc]  # pyarrow.flight has no types
    """Logging in is a matter of headers; without a handler pyarrow refuses the handshake."""

    def authenticate(self, outgoing: object, incoming: object) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


class _Door(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def start_call(self, info: flight.CallInfo, headers: Mapping[str, list[str]]) -> _Let:
        handshake = info.method == flight.FlightMethod.HANDSHAKE
        asked = headers.get(ASKED_HEADER) or [""]
        return _Let(_told(lambda: self._sessions.enter(headers, handshake), ""), asked[0])


class _Let(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, caller: Caller, asked: str) -> None:
        self.caller = caller
        self.asked = asked

    def sending_headers(self) -> dict[str, str]:
        # dremio-arrow raises when a response lacks the token, so each has it, as Dremio's do.
        headers = {"authorization": f"Bearer {self.caller.token}", GATEWAY_HEADER: "1"}
        if self.caller.fresh and self.caller.session is not None:
            headers["set-cookie"] = f"{COOKIE}={self.caller.session.id}"
        return headers


# ---- errors ---------------------------------------------------------------------------------------------------------


def hide_tracebacks() -> None:
    """Keep tracebacks out of clients' messages, for the whole process.

    pyarrow appends that of any exception which is no FlightError, and for INVALID_ARGUMENT there is no FlightError.
    """
    sys.tracebacklimit = 0


def _told[T](work: Callable[[], T], sql: str | Callable[[], str], running: RunningStatement | None = None) -> T:
    """The work's result; what goes wrong leaves as pyarrow's exception with Dremio's status and text."""
    try:
        return work()
    except Exception as error:
        told = _outgoing(error, sql if isinstance(sql, str) else sql(), running)
    try:
        raise told from None
    finally:
        # An error knows this frame: did the frame know the error, both would keep the statement's text for long.
        del told


def _outgoing(error: Exception, sql: str, running: RunningStatement | None) -> Exception:
    if running is not None and running.cancelled:
        error = Refusal(ErrorKind.CANCELLED, "Query cancelled by user")
    if isinstance(error, RecursionError):
        error = TooDeep()
    if isinstance(error, Refusal):
        return _flight_error(error, sql)
    logger.error("failed: %s: %s", type(error).__name__, error)
    internal: Exception = flight.FlightInternalError("SYSTEM ERROR: There was an error servicing your request.")
    return internal


def _flight_error(refusal: Refusal, sql: str) -> Exception:
    text = refusal.text(sql)
    match refusal.kind:
        case ErrorKind.PARSE | ErrorKind.VALIDATION | ErrorKind.ARGUMENT:
            return pa.ArrowInvalid(text)  # type: ignore[no-any-return]  # pyarrow has no types
        case ErrorKind.PERMISSION:
            return flight.FlightUnauthorizedError(text)  # type: ignore[no-any-return]
        case ErrorKind.UNAUTHENTICATED:
            return flight.FlightUnauthenticatedError(text)  # type: ignore[no-any-return]
        case ErrorKind.UNAVAILABLE:
            return flight.FlightUnavailableError(text)  # type: ignore[no-any-return]
        case ErrorKind.CANCELLED:
            return flight.FlightCancelledError(text)  # type: ignore[no-any-return]
        case ErrorKind.UNIMPLEMENTED:
            return pa.ArrowNotImplementedError(text)  # type: ignore[no-any-return]
        case ErrorKind.INTERNAL:
            return flight.FlightInternalError(text)  # type: ignore[no-any-return]
