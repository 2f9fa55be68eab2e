"""The one way to the data: a client of Dremio's Arrow Flight port, or of the gateway in its place.

    dremio = Dremio(DremioSettings.load())
    commit = dremio.head()
    table = dremio.ask("orders_per_minute", commit=commit, start=start, end=end)

It logs in at the first call, keeps token and session cookie, and may be used from many threads at once.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
import pyarrow as pa
from pyarrow import flight

from lakehouse.dremio.budget import Budget
from lakehouse.dremio.columns import Columns, declared
from lakehouse.dremio.connection import Connection, Header
from lakehouse.dremio.errors import AuthError, Cancelled, DremioError, ProtocolError, TooLarge, Unavailable
from lakehouse.dremio.failures import broken_off, failure, is_lost, late, refused, unavailable
from lakehouse.dremio.flight_sql import statement_query
from lakehouse.dremio.nearby import ASKED_HEADER, NEXT_HEAD, WITHDRAW, AskedHead
from lakehouse.dremio.state import ConnectionState, Status
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.dremio.times import in_utc
from lakehouse.dremio.withdrawal import withdrawal
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG

NOTHING_PUBLISHED = "2e1cfa82b035c26cbbbdae632cea070514eb8b773f616aaeaf668e2f0be8f10d"
"""What `head()` answers before the first publish: the hash Nessie gives a branch without commits."""
MAX_ROWS = 1_000_000
MAX_BYTES = 256 * 2**20
_UNHEARD_S = 0.05


class Dremio:
    """A client of one Flight port. Every method raises DremioError, and nothing else, when there is no answer.

    A question is two calls. `plan_timeout` of the settings bounds all planning of a question, with the login where it
    needs one, and `fetch_timeout` all reading, other tries included: it ends within their sum. It is tried again once,
    and at once, where nobody could answer (a connection that is lost there and then: once more, a moment later), and
    once with a new login and session where we were not known; but not after the first rows have come, nor after
    anything else. How long to wait before asking again is the caller's matter; grpc waits from 0.2 to 2 s, longer each
    time, before it connects again.
    """

    def __init__(
        self,
        settings: DremioSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._plan_s = settings.plan_timeout.total_seconds()
        self._fetch_s = settings.fetch_timeout.total_seconds()
        self._command: Callable[[str], bytes] = statement_query if settings.protocol == "flight-sql" else str.encode
        self._connection = Connection(settings, clock)
        self._state = ConnectionState("down")

    @property
    def state(self) -> ConnectionState:
        """The outcome of the newest statement."""
        return self._state

    @property
    def near(self) -> bool:
        """Whether it is the gateway of this machine that answers, which may be looked at often.

        Known from the first answer on; no until then.
        """
        return self._connection.near

    def head(self) -> str:
        """Commit id of the branch main: it moves with every publish. NOTHING_PUBLISHED before the first."""
        rows = self.sql(f"SHOW BRANCHES IN {CATALOG}").to_pylist()
        for row in rows:
            if row.get("refName") == "main" and row.get("commitHash"):
                return str(row["commitHash"])
        raise self._noted(ProtocolError(f"SHOW BRANCHES IN {CATALOG} names no commit of the branch main."))

    def next_head(self, known: str, wait_s: float) -> str:
        """The same once it is another than `known`, or after `wait_s` seconds, from the gateway of this machine.

        Anything else is asked at once, and answers as `head` does.
        """
        if not self.near:
            return self.head()
        action = flight.Action(NEXT_HEAD, msgspec.json.encode(AskedHead(known, wait_s)))
        waiting = Budget(self._plan_s + wait_s, self._clock)

        def wait(token: Header) -> str:
            try:
                with waiting:
                    options = self._connection.options(token, waiting.left_s)
                    [found] = self._connection.client().do_action(action, options)
            except flight.FlightTimedOutError as error:
                raise late(error, self._settings, "told of no commit", "plan_timeout") from None
            return found.body.to_pybytes().decode()  # type: ignore[no-any-return]  # pyarrow has no types

        return self._noting(lambda: self._answer(wait, waiting, NEXT_HEAD), waited=True)

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        """The answer to lakehouse/questions/<question>.sql, at one commit (None: at the head of main).

        Its columns are those that the file declares. Timestamps are timestamp[ms, UTC]. At most MAX_ROWS rows.
        """
        name = f"{question}.sql"
        template = question_sql(question)
        return self._asked(fill(template, commit, binds, name=name), declared(template, name))

    def sql(self, text: str, *, within_s: float | None = None) -> pa.Table:
        """The answer to one statement in Dremio's SQL. within_s: in place of both limits of the settings."""
        return self._asked(text, None, within_s)

    def columns(self, text: str) -> pa.Schema:
        """The columns of a statement's answer, as it is planned: nothing runs."""
        planning = Budget(self._plan_s, self._clock)

        def plan(token: Header) -> pa.Schema:
            with planning:
                return self._plan(text, token, planning, None).schema

        return self._noting(lambda: self._answer(plan, planning, text))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(self, text: str, columns: Columns | None, within_s: float | None = None) -> pa.Table:
        planning, reading = Budget(self._plan_s, self._clock), Budget(self._fetch_s, self._clock)
        if within_s is not None:
            planning = reading = Budget(within_s, self._clock)

        def run(token: Header) -> pa.Table:
            with planning:
                info = self._plan(text, token, planning, columns)
            with reading:
                return self._read(info, token, reading)

        return self._noting(lambda: self._answer(run, planning, text))

    def _noting[T](self, call: Callable[[], T], *, waited: bool = False) -> T:
        """An answer, and what it says of the connection. `waited`: how long it took says nothing."""
        started = self._clock()
        try:
            answer = call()
        except DremioError as error:
            raise self._noted(error) from None
        latency_s = self._state.latency_s if waited else self._clock() - started
        self._state = ConnectionState("up", datetime.now(UTC), latency_s)
        return answer

    def _noted(self, error: DremioError) -> DremioError:
        if isinstance(error, Cancelled) and withdrawal().withdrawn:
            return error  # our own wish says nothing of the connection
        before = self._state
        status: Status = "down" if isinstance(error, Unavailable | AuthError) else "degraded"
        self._state = ConnectionState(status, before.last_ok, before.latency_s, str(error))
        return error

    def _answer[T](self, call: Callable[[Header], T], planning: Budget, text: str) -> T:
        """That of the first try, or of another. Raises DremioError."""
        losses = refusals = 0
        while True:
            try:
                token = self._connection.token(planning)
                try:
                    return call(token)
                except flight.FlightUnauthenticatedError as error:
                    self._connection.forget(token)
                    refusals += 1
                    if refusals > 1:
                        raise refused(error, self._settings) from None
            except flight.FlightUnavailableError as error:
                # Dremio closes connections that were idle for 30 s: the first call after a pause may find it closed.
                losses += 1
                if losses > 2 or (losses == 2 and not is_lost(error)):
                    raise unavailable(error, self._settings) from None
                if losses == 2:
                    # On the same dead connection, of which grpc has not heard yet.
                    with planning:
                        time.sleep(random.uniform(0.5, 1.0) * _UNHEARD_S)
            except (pa.ArrowException, OSError) as error:
                raise failure(error, text, self._settings) from None

    def _plan(self, text: str, token: Header, planning: Budget, columns: Columns | None) -> flight.FlightInfo:
        descriptor = flight.FlightDescriptor.for_command(self._command(text))
        try:
            options = self._connection.options(token, planning.left_s)
            info = self._connection.client().get_flight_info(descriptor, options)
        except flight.FlightTimedOutError as error:
            raise late(error, self._settings, "did not plan the statement", "plan_timeout") from None
        if not info.endpoints:
            raise ProtocolError("Dremio planned the statement, but named no place to read its answer.")
        if columns is not None:
            columns.check(info.schema)
        return info

    def _reader(self, ticket: flight.Ticket, token: Header, reading: Budget) -> flight.FlightStreamReader:
        """Begins to run what was planned; it is there once the first rows are."""
        name, over = secrets.token_hex(16), threading.Event()

        def withdraw() -> None:
            # What was sent a moment ago may not have come yet.
            while self.near and not over.wait(_UNHEARD_S) and not self._withdrew(name, token):
                pass

        named = [(ASKED_HEADER.encode(), name.encode())] if self.near else []
        with withdrawal().ended_by(withdraw):
            try:
                return self._connection.client().do_get(ticket, self._connection.options(token, reading.left_s, *named))
            finally:
                over.set()

    def _withdrew(self, name: str, token: Header) -> bool:
        """Whether the gateway found the call of this name, and ended it. Where nobody answers, nothing runs."""
        try:
            action, options = flight.Action(WITHDRAW, name.encode()), self._connection.options(token, self._plan_s)
            [found] = self._connection.client().do_action(action, options)
        except (pa.ArrowException, OSError, DremioError):
            return True
        return found.body.to_pybytes() == b"1"  # type: ignore[no-any-return]  # pyarrow has no types

    def _read(self, info: flight.FlightInfo, token: Header, reading: Budget) -> pa.Table:
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        try:
            reader = self._reader(info.endpoints[0].ticket, token, reading)
            schema = reader.schema.remove_metadata()
            planned = [(field.name, field.type) for field in info.schema]
            if planned != [(field.name, field.type) for field in schema]:
                reader.cancel()
                raise ProtocolError("The answer's columns are not the ones that Dremio planned.")
            # Not read_all: it takes a stream that the server cancelled for Ctrl-C, and interrupts the main thread
            # whichever thread was reading.
            while (chunk := _chunk(reader)) is not None:
                if chunk.data is None:
                    continue
                rows += chunk.data.num_rows
                size += chunk.data.nbytes
                if rows > self._max_rows or size > self._max_bytes:
                    reader.cancel()
                    raise TooLarge(
                        f"The answer is larger than {self._max_rows:,} rows or {self._max_bytes >> 20} MB: "
                        "ask for less."
                    )
                batches.append(chunk.data)
        except flight.FlightTimedOutError as error:
            raise late(error, self._settings, "did not finish its answer", "fetch_timeout") from None
        except (flight.FlightUnavailableError, flight.FlightUnauthenticatedError) as error:
            if rows:
                raise broken_off(error, self._settings, rows) from None
            raise
        return _in_utc(pa.Table.from_batches(batches, schema=reader.schema))


def _chunk(reader: flight.FlightStreamReader) -> flight.FlightStreamChunk | None:
    """The next one; None at the end."""
    asks = withdrawal()
    if asks.withdrawn:
        reader.cancel()
    with asks.ended_by(reader.cancel):
        try:
            return reader.read_chunk()
        except StopIteration:
            return None


def _in_utc(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            column = in_utc(table.column(index))
            table = table.set_column(index, pa.field(field.name, column.type), column)
    return table.replace_schema_metadata(None)
