"""One Flight channel to Dremio: who we are there, and the session that its cookie names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import flight

from lakehouse.dremio.budget import Budget
from lakehouse.dremio.cookies import Cookies
from lakehouse.dremio.errors import ProtocolError, Unavailable
from lakehouse.dremio.failures import late, refused
from lakehouse.dremio.headers import Headers
from lakehouse.dremio.nearby import Nearby
from lakehouse.settings.dremio import DremioSettings

type Header = tuple[bytes, bytes]

# Pages and daemons poll; grpc's own backoff grows to two minutes, which a screen should not wait after a restart.
# No keepalive: Dremio punishes pings under 120 s, and closes idle connections itself.
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Connection:
    """The channel, opened at its first use; from any thread."""

    def __init__(self, settings: DremioSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._renew_after_s = 0.8 * settings.token_life.total_seconds()
        self._nearby = Nearby(settings.uri)
        self._heard = Headers(Cookies(), self._nearby)
        # What a session is begun with. Dremio reads them when it begins one, which any call may do.
        named = {b"routing_tag": settings.routing_tag, b"routing_queue": settings.routing_queue}
        self._headers = [(name, value.encode()) for name, value in named.items() if value]
        self._lock = threading.Lock()
        self._client: flight.FlightClient | None = None
        self._closed = False
        self._login = threading.Lock()
        given = settings.token.get_secret_value()
        self._given: Header | None = (b"authorization", f"Bearer {given}".encode()) if given else None
        self._token: tuple[Header, float] | None = None

    @property
    def near(self) -> bool:
        """Whether it is the gateway of this machine that answered."""
        self._heard.hear()
        return self._nearby.near

    def client(self) -> flight.FlightClient:
        """Raises Unavailable once it was closed, ProtocolError where the certificates cannot be read."""
        client = self._client
        if client is None:
            with self._lock:
                if self._closed:
                    raise Unavailable("The connection to Dremio was closed here.")
                if self._client is None:
                    self._client = flight.FlightClient(
                        self._settings.uri,
                        middleware=[self._heard],
                        generic_options=_CHANNEL,
                        tls_root_certs=_roots(self._settings.tls_roots),
                        disable_server_verification=not self._settings.tls_verify,
                    )
                client = self._client
        return client

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()
                self._client = None

    def options(self, token: Header, timeout_s: float, *more: Header) -> flight.FlightCallOptions:
        return flight.FlightCallOptions(timeout=timeout_s, headers=[token, *self._headers, *more])

    def token(self, planning: Budget) -> Header:
        """What proves who we are: as given, or from a login, which is made anew before its token ends.

        Raises AuthError, Timeout, and FlightUnavailableError where nobody answers.
        """
        if self._given is not None:
            return self._given
        if (held := self._fresh()) is not None:
            return held
        with planning:
            try:
                if not self._login.acquire(timeout=planning.left_s):
                    raise flight.FlightTimedOutError("Deadline Exceeded")
                try:
                    return self._fresh() or self._log_in(planning)
                finally:
                    self._login.release()
            except flight.FlightTimedOutError as error:
                raise late(error, self._settings, "let nobody in", "plan_timeout") from None

    def forget(self, token: Header) -> None:
        """A call with this token was refused. An expired token and a session that a restarted Dremio forgot look alike:
        begin anew."""
        with self._login:
            # Another thread may have logged in meanwhile; its token is good.
            if token == self._given or (self._token is not None and self._token[0] == token):
                self._token = None
                self._heard.forget_cookies()

    def _fresh(self) -> Header | None:
        held = self._token
        return held[0] if held is not None and self._clock() - held[1] <= self._renew_after_s else None

    def _log_in(self, planning: Budget) -> Header:
        client = self.client()
        self._heard.forget_cookies()
        try:
            header: Header = client.authenticate_basic_token(
                self._settings.user,
                self._settings.password.get_secret_value(),
                flight.FlightCallOptions(timeout=planning.left_s),
            )
        except (flight.FlightUnauthenticatedError, flight.FlightUnauthorizedError) as error:
            raise refused(error, self._settings) from None
        except flight.FlightInternalError as error:
            # "Could not finish writing before closing": all that a handshake tells where nobody takes it.
            raise self._reason(client, planning, error) from None
        if not header[1]:
            raise ProtocolError(f"{self._settings.uri} took the password, but gave no token.")
        self._token = (header, self._clock())
        return header

    def _reason(self, client: flight.FlightClient, planning: Budget, said: Exception) -> Exception:
        """Why a handshake found nobody: any other call tells."""
        options = flight.FlightCallOptions(timeout=planning.left_s)
        try:
            client.get_flight_info(flight.FlightDescriptor.for_command(b""), options)
        except (flight.FlightUnavailableError, flight.FlightTimedOutError) as error:
            return error  # type: ignore[no-any-return]  # pyarrow has no types
        except pa.ArrowException:
            pass  # somebody is there again, and wants to know who we are
        return flight.FlightUnavailableError(str(said))  # type: ignore[no-any-return]


def _roots(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        roots = path.read_bytes()
    except OSError as error:
        raise ProtocolError(f"dremio.tls_roots names {path}, which cannot be read: {error.strerror}.") from None
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise ProtocolError(f"dremio.tls_roots names {path}, which holds no certificate: expected a PEM file.")
    return roots
