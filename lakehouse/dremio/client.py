"""The one way to the data: a client of Dremio's Arrow Flight port, or of the gateway in its place.

    dremio = Dremio(DremioSettings.load())
    commit = dremio.head()
    table = dremio.ask("orders_per_minute", commit=commit, start=start, end=end)

It logs in at the first call, keeps token and session cookie, and may be used from many threads at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import pyarrow as pa
from pyarrow import flight

from lakehouse.dremio.cookies import Cookies
from lakehouse.dremio.errors import (
    AuthError,
    Cancelled,
    DremioError,
    ProtocolError,
    Timeout,
    TooLarge,
    Unavailable,
    query_error,
    sentence,
)
from lakehouse.dremio.nearby import NEXT_HEAD, AskedHead, Nearby
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.dremio.times import in_utc
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG

NOTHING_PUBLISHED = "2e1cfa82b035c26cbbbdae632cea070514eb8b773f616aaeaf668e2f0be8f10d"
"""What `head()` answers before the first publish: the hash Nessie gives a branch without commits."""
TOKEN_LIFE_S = 30 * 3600
"""Dremio's token.expiration.min is 1800 min; a token is renewed at 80 % of it."""
MAX_ROWS = 1_000_000
MAX_BYTES = 256 * 2**20
# Pages and daemons poll; grpc's own backoff grows to two minutes, which a screen should not wait after a restart.
# No keepalive: Dremio punishes pings under 120 s, and closes idle connections itself.
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


@dataclass(frozen=True)
class ConnectionState:
    """How the connection is: `degraded` answers, but its last statement failed; `down` does not answer or let us in."""

    status: Literal["up", "degraded", "down"]
    last_ok: datetime | None = None
    latency_s: float | None = None
    last_error: str | None = None


class Dremio:
    """A client of one Flight port. Every method raises DremioError, and nothing else, when there is no answer.

    `plan_timeout` and `fetch_timeout` of the settings bound the two calls that a question makes; with the one retry
    after a lost connection or session, a question ends within twice their sum.
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
        self._cookies = Cookies()
        self._nearby = Nearby(settings.uri)
        self._login = threading.Lock()
        self._token: tuple[bytes, bytes] | None = None
        self._token_at = 0.0
        self._state = ConnectionState("down")
        self._client: flight.FlightClient | None = None
        self._closed = False

    @property
    def state(self) -> ConnectionState:
        """The outcome of the newest statement."""
        return self._state

    @property
    def near(self) -> bool:
        """Whether it is the gateway of this machine that answers, which may be looked at often.

        Known from the first answer on; no until then.
        """
        return self._nearby.near

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

        def wait(token: tuple[bytes, bytes]) -> str:
            options = flight.FlightCallOptions(timeout=self._plan_s + wait_s, headers=[token])
            [found] = self._connection().do_action(action, options)
            return found.body.to_pybytes().decode()  # type: ignore[no-any-return]  # pyarrow has no types

        return self._timed(wait, NEXT_HEAD)

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        """The answer to lakehouse/questions/<question>.sql, at one commit (None: at the head of main).

        Timestamps are timestamp[ms, UTC]. At most MAX_ROWS rows.
        """
        return self.sql(fill(question_sql(question), commit, binds, name=f"{question}.sql"))

    def sql(self, text: str) -> pa.Table:
        """The answer to one statement in Dremio's SQL."""
        return self._timed(lambda token: self._run(text, token), text)

    def _timed[T](self, call: Callable[[tuple[bytes, bytes]], T], text: str) -> T:
        """An answer, and what it says of the connection."""
        started = self._clock()
        try:
            answer = self._answer(call, text)
        except DremioError as error:
            raise self._noted(error) from None
        self._state = ConnectionState("up", datetime.now(UTC), self._clock() - started)
        return answer

    def close(self) -> None:
        self._closed = True
        with self._login:
            if self._client is not None:
                self._client.close()
                self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _noted(self, error: DremioError) -> DremioError:
        down = isinstance(error, Unavailable | AuthError)
        self._state = ConnectionState("down" if down else "degraded", self._state.last_ok, None, str(error))
        return error

    def _answer[T](self, call: Callable[[tuple[bytes, bytes]], T], text: str) -> T:
        for last in (False, True):
            token: tuple[bytes, bytes] | None = None
            try:
                token = self._bearer()
                return call(token)
            except flight.FlightUnauthenticatedError as error:
                # An expired token and a session that a restarted Dremio forgot look alike: begin anew, once.
                self._forget(token)
                if last or token is None:
                    raise self._refused(error) from None
            except flight.FlightUnavailableError as error:
                # Dremio closes connections that were idle for 30 s: the first call after a pause may find it closed.
                if last:
                    # Only a server that answers adds a detail: it is there, and something behind it is not.
                    said = (
                        "Dremio at {} cannot answer now: {}"
                        if "Detail:" in str(error)
                        else "Neither Dremio nor a gateway answers at {}: {}"
                    )
                    raise Unavailable(said.format(self._settings.uri, sentence(error))) from None
            except flight.FlightTimedOutError:
                raise Timeout(
                    f"Dremio at {self._settings.uri} gave no answer within "
                    f"{self._plan_s:g} s for planning and {self._fetch_s:g} s for reading."
                ) from None
            except flight.FlightCancelledError as error:
                raise Cancelled(f"Dremio gave up the statement: {sentence(error)}") from None
            except KeyboardInterrupt:
                # pyarrow turns a stream that the server cancelled into this; Ctrl-C reaches the main thread only.
                if threading.current_thread() is threading.main_thread():
                    raise
                raise Cancelled("Dremio gave up the statement while it was read.") from None
            except pa.ArrowNotImplementedError as error:
                raise ProtocolError(f"{self._settings.uri} cannot do this: {sentence(error)}") from None
            except (pa.ArrowInvalid, flight.FlightUnauthorizedError, flight.FlightInternalError) as error:
                raise query_error(error, text) from None
            except (pa.ArrowException, OSError) as error:
                raise ProtocolError(f"{self._settings.uri} does not speak as Dremio does: {sentence(error)}") from None
        raise AssertionError("unreachable")

    def _run(self, text: str, token: tuple[bytes, bytes]) -> pa.Table:
        client = self._connection()
        planning = flight.FlightCallOptions(timeout=self._plan_s, headers=[token])
        info = client.get_flight_info(flight.FlightDescriptor.for_command(text.encode()), planning)
        if not info.endpoints:
            raise ProtocolError("Dremio planned the statement, but named no place to read its answer.")
        fetching = flight.FlightCallOptions(timeout=self._fetch_s, headers=[token])
        reader = client.do_get(info.endpoints[0].ticket, fetching)
        schema = reader.schema.remove_metadata()
        planned = [(field.name, field.type) for field in info.schema]
        if planned != [(field.name, field.type) for field in schema]:
            reader.cancel()
            raise ProtocolError("The answer's columns are not the ones that Dremio planned.")
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        while True:
            try:
                chunk = reader.read_chunk()
            except StopIteration:
                break
            if chunk.data is None:
                continue
            rows += chunk.data.num_rows
            size += chunk.data.nbytes
            if rows > self._max_rows or size > self._max_bytes:
                reader.cancel()
                raise TooLarge(
                    f"The answer is larger than {self._max_rows:,} rows or {self._max_bytes >> 20} MB: ask for less."
                )
            batches.append(chunk.data)
        return _in_utc(pa.Table.from_batches(batches, schema=reader.schema))

    def _connection(self) -> flight.FlightClient:
        client = self._client
        if client is None:
            with self._login:
                if self._closed:
                    raise Unavailable("The connection to Dremio was closed here.")
                if self._client is None:
                    self._client = flight.FlightClient(
                        self._settings.uri,
                        middleware=[self._cookies, self._nearby],
                        generic_options=_CHANNEL,
                        tls_root_certs=_roots(self._settings.tls_roots),
                    )
                client = self._client
        return client

    def _bearer(self) -> tuple[bytes, bytes]:
        client = self._connection()
        with self._login:
            if self._token is None or self._clock() - self._token_at > 0.8 * TOKEN_LIFE_S:
                self._cookies.clear()
                try:
                    header, value = client.authenticate_basic_token(
                        self._settings.user,
                        self._settings.password.get_secret_value(),
                        flight.FlightCallOptions(timeout=self._plan_s),
                    )
                except flight.FlightInternalError as error:
                    # What the handshake says where nobody listens: "Could not finish writing before closing".
                    raise flight.FlightUnavailableError(str(error)) from None
                if not value:
                    raise ProtocolError(f"{self._settings.uri} took the password, but gave no token.")
                self._token = (header, value)
                self._token_at = self._clock()
            return self._token

    def _forget(self, token: tuple[bytes, bytes] | None) -> None:
        with self._login:
            # Another thread may have logged in meanwhile; its token is good.
            if self._token == token:
                self._token = None
                self._cookies.clear()

    def _refused(self, error: Exception) -> AuthError:
        reason = sentence(error)
        told = f" ({reason.rstrip('.')})" if reason else ""
        return AuthError(
            f"Dremio at {self._settings.uri} does not let user '{self._settings.user}' in{told}: "
            "check dremio.user and dremio.password."
        )


def _roots(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ProtocolError(f"dremio.tls_roots names {path}, which cannot be read: {error.strerror}.") from None


def _in_utc(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            column = in_utc(table.column(index))
            table = table.set_column(index, pa.field(field.name, column.type), column)
    return table.replace_schema_metadata(None)
