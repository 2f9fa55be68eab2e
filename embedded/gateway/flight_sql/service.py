"""Which Flight SQL command, ticket or action is answered by whom; what Dremio refuses, in its words."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from google.protobuf.message import Message

from embedded.gateway.columns import described
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.flight_sql import metadata, options, schemas, sql_info
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.messages import expected, make, name_of, packed, read, unpacked
from embedded.gateway.flight_sql.prepared import PreparedStatements
from embedded.gateway.flight_sql.running import RunningStatements
from embedded.gateway.sessions import Sessions
from embedded.gateway.statements import Statements, Streamed

ACTIONS = {
    "CreatePreparedStatement": "Plans a statement for later; its parameters are bound with DoPut.",
    "ClosePreparedStatement": "Forgets what was bound.",
    "CancelFlightInfo": "Cancels what runs by the tickets of a FlightInfo.",
    "CancelQuery": "The older CancelFlightInfo.",
    "SetSessionOptions": "Sets the session's schema.",
    "GetSessionOptions": "The session's schema.",
    "CloseSession": "Ends the session.",
}
# Actions of Flight SQL that Dremio knows and does not have.
_NOT_THERE = frozenset(
    ["BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint", "CreatePreparedSubstraitPlan"]
)
_KEYS = {
    "CommandGetPrimaryKeys": schemas.PRIMARY_KEYS,
    "CommandGetExportedKeys": schemas.FOREIGN_KEYS,
    "CommandGetImportedKeys": schemas.FOREIGN_KEYS,
    "CommandGetCrossReference": schemas.FOREIGN_KEYS,
}
_METADATA = {
    "CommandGetCatalogs": schemas.CATALOGS,
    "CommandGetDbSchemas": schemas.DB_SCHEMAS,
    "CommandGetTables": schemas.TABLES,
    "CommandGetTableTypes": schemas.TABLE_TYPES,
    "CommandGetSqlInfo": schemas.SQL_INFO,
    "CommandGetXdbcTypeInfo": schemas.TYPE_INFO,
}
_CANCELLED, _NOT_CANCELLABLE = 1, 3
_CLOSED = 1
_NONCE_BYTES = 16


class FlightSql:
    """Answers Flight SQL. May be used from many threads."""

    def __init__(self, statements: Statements, sessions: Sessions, running: RunningStatements) -> None:
        self._sessions = sessions
        self._running = running
        self._tickets = statements.seal("statement")
        self._prepared = PreparedStatements(statements, sessions.ttl_s)

    # ---- what will come ---------------------------------------------------------------------------------------------

    def plan(self, command: Any, asking: Asking) -> tuple[pa.Schema, list[bytes], bool]:
        """The schema of a command's rows, the tickets for them (one, or none for keys), and whether they are constant.

        Raises Refusal.
        """
        name = name_of(command)
        match name:
            case "CommandStatementQuery":
                with _About(command.query):
                    planned = asking.plan(command.query, asking.session.context)
                return planned.told, [self._ticket(planned.ticket)], planned.constant
            case "CommandPreparedStatementQuery":
                prepared = self._prepared.opened(command.prepared_statement_handle, "getFlightInfo")
                with _About(prepared.sql):
                    if not self._prepared.is_bound(prepared):
                        return described(self._prepared.schema(prepared, asking)), [packed(command)], False
                    planned = self._prepared.plan(prepared, asking)
                return planned.told, [self._ticket(planned.ticket)], False
            case _ if name in _KEYS:
                return _KEYS[name], [], False
            case _ if name in _METADATA:
                wide = name == "CommandGetTables" and command.include_schema
                return schemas.TABLES_WITH_SCHEMA if wide else _METADATA[name], [packed(command)], False
        raise _unrecognized(name)

    def _ticket(self, planned: bytes) -> bytes:
        # Each its own, so that who cancels by it does not cancel somebody else's run of the same statement.
        handle = self._tickets.sealed(secrets.token_bytes(_NONCE_BYTES) + planned)
        return packed(make("TicketStatementQuery", statement_handle=handle))

    # ---- rows -------------------------------------------------------------------------------------------------------

    def planned(self, ticket: Any) -> bytes | None:
        """The ticket of a planned statement inside this one; None for any other. Raises Refusal."""
        if name_of(ticket) != "TicketStatementQuery":
            return None
        planned = self._tickets.opened(ticket.statement_handle)
        if planned is None:
            raise Refusal(ErrorKind.INTERNAL, "Invalid StatementHandle used in getStream.")
        return planned[_NONCE_BYTES:]

    def stream(self, ticket: Any, asking: Asking) -> Streamed:
        """The rows behind a ticket that is no planned statement's. Raises Refusal."""
        name = name_of(ticket)
        match name:
            case "CommandPreparedStatementQuery":
                prepared = self._prepared.opened(ticket.prepared_statement_handle, "getStream")
                with _About(prepared.sql):
                    return asking.run(self._prepared.plan(prepared, asking).ticket)
            case _ if name in _KEYS:
                raise Refusal(ErrorKind.UNIMPLEMENTED, f"{name} not supported.")
            case _ if name in _METADATA:
                batch = _metadata(name, ticket, asking)
                return Streamed(name, batch.schema, iter([batch]))
        raise Refusal(ErrorKind.ARGUMENT, "The defined request is invalid.")

    # ---- values -----------------------------------------------------------------------------------------------------

    def put(self, command: Any, read_rows: Callable[[], pa.Table]) -> None:
        """Bind a prepared statement's values. Raises Refusal, for every other put too."""
        if name_of(command) != "CommandPreparedStatementQuery":
            raise Refusal(ErrorKind.UNIMPLEMENTED, "acceptPut is not implemented.")
        self._prepared.bind(self._prepared.opened(command.prepared_statement_handle, "acceptPut"), read_rows())

    # ---- actions ----------------------------------------------------------------------------------------------------

    def act(self, kind: str, body: bytes, asking: Asking) -> list[bytes]:
        """The results of an action. Raises Refusal."""
        match kind:
            case "CreatePreparedStatement":
                return [self._create(expected("ActionCreatePreparedStatementRequest", body), asking)]
            case "ClosePreparedStatement":
                request = expected("ActionClosePreparedStatementRequest", body)
                self._prepared.close(self._prepared.opened(request.prepared_statement_handle, "closePreparedStatement"))
                return []
            case "CancelFlightInfo":
                status = self._cancel(read("CancelFlightInfoRequest", body).info)
                return [make("CancelFlightInfoResult", status=status).SerializeToString()]
            case "CancelQuery":
                status = self._cancel(read("FlightInfo", expected("ActionCancelQueryRequest", body).info))
                return [packed(make("ActionCancelQueryResult", result=status))]
            case "SetSessionOptions":
                return _one(options.set_options(read("SetSessionOptionsRequest", body), asking))
            case "GetSessionOptions":
                read("GetSessionOptionsRequest", body)
                return _one(options.get_options(asking.session))
            case "CloseSession":
                read("CloseSessionRequest", body)
                self._sessions.close(asking.session)
                return _one(make("CloseSessionResult", status=_CLOSED))
        what = kind if kind in _NOT_THERE else "doAction"
        raise Refusal(ErrorKind.UNIMPLEMENTED, f"{what} is not implemented.")

    def _create(self, request: Any, asking: Asking) -> bytes:
        with _About(request.query):
            handle, schema, takes = self._prepared.prepare(request.query, asking)
        result = make(
            "ActionCreatePreparedStatementResult",
            prepared_statement_handle=handle,
            dataset_schema=_ipc(described(schema)),
            parameter_schema=b"" if takes is None else _ipc(described(takes)),
        )
        return packed(result)

    def _cancel(self, info: Any) -> int:
        tickets = [endpoint.ticket.ticket for endpoint in info.endpoint]
        # Any other ticket may be that of many.
        own = [ticket for ticket in tickets if _is_a_statements(ticket)]
        found = self._running.cancel(own)
        return _CANCELLED if found else _NOT_CANCELLABLE


def _metadata(name: str, command: Any, asking: Asking) -> pa.RecordBatch:
    match name:
        case "CommandGetDbSchemas":
            return metadata.db_schemas(command, asking.rows)
        case "CommandGetTables":
            return metadata.tables(command, asking.rows)
        case "CommandGetTableTypes":
            return metadata.table_types()
        case "CommandGetSqlInfo":
            return sql_info.sql_info(command.info)
        case "CommandGetXdbcTypeInfo":
            return sql_info.type_info()
    return metadata.catalogs()


def _is_a_statements(ticket: bytes) -> bool:
    message = unpacked(ticket)
    return message is not None and name_of(message) in ("TicketStatementQuery", "CommandPreparedStatementQuery")


class _About:
    """What is refused inside is refused with this statement."""

    __slots__ = ("_sql",)

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Refusal):
            error.sql = self._sql


def _unrecognized(name: str) -> Refusal:
    return Refusal(ErrorKind.ARGUMENT, f"Unrecognized request: {name}")


def _one(message: Message) -> list[bytes]:
    return [message.SerializeToString()]


def _ipc(schema: pa.Schema) -> bytes:
    content: bytes = schema.serialize().to_pybytes()
    return content
