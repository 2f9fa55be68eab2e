"""Who asks: tokens for user and password, and the sessions that cookies name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetools import TTLCache

from embedded.gateway.errors import Kind, Refusal
from embedded.gateway.paths import Context, parsed

TOKEN_LIFE_S = 30 * 3600
COOKIE = "SESSION_ID"
_MOST_SESSIONS = 10_000


@dataclass
class FlightSession:
    """What a client set with USE or the header `schema`."""

    id: str
    context: Context


@dataclass(frozen=True)
class Caller:
    """One call: who, with which token to echo, in which session; `fresh` if the cookie is to be set."""

    token: str
    session: FlightSession | None
    fresh: bool = False


class Sessions:
    """Logins and sessions of one server.

    Tokens carry their own proof and sessions are few, so that a client which logs in for every query, and keeps no
    cookie, costs no memory that stays.
    """

    def __init__(self, user: str, password: str, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl_s = ttl_s
        self._user = user
        self._password = password
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._sessions: TTLCache[str, FlightSession] = TTLCache(_MOST_SESSIONS, ttl_s, clock)

    def enter(self, headers: Mapping[str, list[str]], handshake: bool) -> Caller:
        """Let a call in. Raises Refusal (UNAUTHENTICATED) with Dremio's text."""
        lower = {name.lower(): values for name, values in headers.items()}
        token = self._token(lower.get("authorization", []))
        if handshake:
            return Caller(token, None)
        cookie = _cookie(lower.get("cookie", []))
        if cookie is not None:
            return Caller(token, self._known(cookie))
        schema = (lower.get("schema") or [""])[0]
        return Caller(token, self._open(schema), fresh=True)

    def close(self, session: FlightSession) -> None:
        """Forget a session; its cookie is not known from then on."""
        with self._lock:
            self._sessions.pop(session.id, None)

    def _token(self, values: list[str]) -> str:
        """A bearer token from an authorization header; clients repeat the header, and write the scheme as they like."""
        for value in values:
            scheme, _, rest = str(value).partition(" ")
            if scheme.lower() == "bearer" and self._is_ours(rest.strip()):
                return rest.strip()
        for value in values:
            scheme, _, rest = str(value).partition(" ")
            if scheme.lower() == "basic":
                user, password = _basic(rest)
                if self._matches(user, password):
                    return self._issue()
                raise Refusal(
                    Kind.UNAUTHENTICATED,
                    f"Unable to authenticate user {user}, exception: Login failed: Invalid username or password",
                )
        raise Refusal(Kind.UNAUTHENTICATED, "")

    def _matches(self, user: str, password: str) -> bool:
        same_user = hmac.compare_digest(user.encode(), self._user.encode())
        return hmac.compare_digest(password.encode(), self._password.encode()) and same_user

    def _issue(self) -> str:
        body = f"{int(self._clock())}.{secrets.token_hex(8)}"
        return f"{body}.{self._sign(body)}"

    def _is_ours(self, token: str) -> bool:
        body, _, proof = token.rpartition(".")
        issued = body.partition(".")[0]
        if not hmac.compare_digest(proof.encode(), self._sign(body).encode()) or not issued.isdigit():
            return False
        return self._clock() - int(issued) < TOKEN_LIFE_S

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def _open(self, schema: str) -> FlightSession:
        session = FlightSession(secrets.token_hex(16), Context(parsed(schema)))
        with self._lock:
            self._sessions[session.id] = session
        return session

    def _known(self, cookie: str) -> FlightSession:
        with self._lock:
            session = self._sessions.get(cookie)
            if session is None:
                raise Refusal(Kind.UNAUTHENTICATED, "UserSession is not available in the cache")
            self._sessions[cookie] = session  # its time begins anew
            return session


def _basic(encoded: str) -> tuple[str, str]:
    """User and password. ADBC leaves the padding out."""
    text = encoded.strip().rstrip("=")
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refusal(Kind.UNAUTHENTICATED, "The authorization header is not Basic base64(user:password)") from None
    user, _, password = plain.partition(":")
    return user, password


def _cookie(values: list[str]) -> str | None:
    for value in values:
        for item in str(value).split(";"):
            name, _, content = item.strip().partition("=")
            if name == COOKIE:
                return content
    return None
