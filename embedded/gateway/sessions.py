"""Who asks: tokens for user and password, and the sessions that cookies name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cachetools import FIFOCache, TTLCache

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.paths import Context, parsed
from embedded.gateway.users import Guesses, Users

TOKEN_LIFE_S = 30 * 3600
COOKIE = "SESSION_ID"
_MOST_SESSIONS = 5_000
"""Of one user: those unused for longest make way for its own new ones, and for nobody else's."""
_TOKENS_KNOWN = 1_000


@dataclass
class FlightSession:
    """What a client set with USE or the header `schema`; it is its user's alone."""

    id: str
    context: Context
    user: str = ""


class Caller(NamedTuple):
    """One call: who, with which token to echo, in which session; `fresh` if the cookie is to be set."""

    token: str
    session: FlightSession | None
    fresh: bool = False
    user: str = ""


class Sessions:
    """Logins and sessions of one server.

    Tokens carry their own proof and sessions are few, so that a client which logs in for every query, and keeps no
    cookie, costs no memory that stays.
    """

    def __init__(
        self,
        users: Users,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        guesses: Guesses | None = None,
    ) -> None:
        self.ttl_s = ttl_s
        self._users = users
        self._guesses = guesses or Guesses()
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        # By user, then by id. One that is used is put in anew.
        self._sessions: dict[str, TTLCache[str, FlightSession]] = defaultdict(
            lambda: TTLCache(_MOST_SESSIONS, ttl_s, timer=clock)
        )
        # By their digests, which tell nothing by the time that a look at them takes: user, and until when.
        self._tokens: FIFOCache[bytes, tuple[str, float]] = FIFOCache(_TOKENS_KNOWN)

    def enter(self, headers: Mapping[str, list[str]], handshake: bool) -> Caller:
        """Let a call in; names of headers are in small letters, as HTTP/2 has them.

        Raises Refusal (UNAUTHENTICATED) with Dremio's text.
        """
        user, token = self._signed_in(headers.get("authorization", []))
        if handshake:
            return Caller(token, None, user=user)
        cookie = _cookie(headers.get("cookie", []))
        if cookie is not None:
            return Caller(token, self._known(cookie, user), user=user)
        schema = (headers.get("schema") or [""])[0]
        return Caller(token, self._open(schema, user), fresh=True, user=user)

    def close(self, session: FlightSession) -> None:
        """Forget a session; its cookie is not known from then on."""
        with self._lock:
            self._sessions[session.user].pop(session.id, None)

    def _signed_in(self, values: list[str]) -> tuple[str, str]:
        """User and bearer token of an authorization header; clients repeat it, and write the scheme as they like."""
        for value in values:
            scheme, _, rest = str(value).partition(" ")
            if scheme.lower() == "bearer" and (user := self._user_of(rest.strip())) is not None:
                return user, rest.strip()
        for value in values:
            scheme, _, rest = str(value).partition(" ")
            if scheme.lower() == "basic":
                user, password = _basic(rest)
                with self._guesses.look(user):
                    right = self._users.fits(user, password)
                if right:
                    return user, self._issue(user)
                self._guesses.wrong(user)
                raise Refusal(
                    ErrorKind.UNAUTHENTICATED,
                    f"Unable to authenticate user {user}, exception: Login failed: Invalid username or password",
                )
        raise Refusal(ErrorKind.UNAUTHENTICATED, "")

    def _issue(self, user: str) -> str:
        name = base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
        body = f"{int(self._clock())}.{secrets.token_hex(8)}.{name}"
        return f"{body}.{self._sign(body)}"

    def _user_of(self, token: str) -> str | None:
        """Whose token it is: one that was issued here, or a user's own. Each is looked at once, and then known."""
        digest = hashlib.blake2b(token.encode(), key=self._key, digest_size=32).digest()
        known = self._tokens.get(digest)
        if known is None:
            known = self._looked_at(token)
            if known is None:
                return None
            with self._lock:
                self._tokens[digest] = known
        user, until = known
        return user if self._clock() < until else None

    def _looked_at(self, token: str) -> tuple[str, float] | None:
        """Whose token it is, and until when; None for nobody's."""
        body, _, proof = token.rpartition(".")
        issued, _, name = body.partition(".")
        if not hmac.compare_digest(proof.encode(), self._sign(body).encode()) or not issued.isdigit():
            user = self._users.of_token(token)
            return None if user is None else (user, math.inf)
        name = name.partition(".")[2]
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode(), int(issued) + TOKEN_LIFE_S

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def _open(self, schema: str, user: str) -> FlightSession:
        session = FlightSession(secrets.token_hex(16), Context(parsed(schema)), user)
        with self._lock:
            self._sessions[user][session.id] = session
        return session

    def _known(self, cookie: str, user: str) -> FlightSession:
        with self._lock:
            own = self._sessions[user]
            session = own.get(cookie)
            if session is None:
                raise Refusal(ErrorKind.UNAUTHENTICATED, "UserSession is not available in the cache")
            own[cookie] = session
            return session


def _basic(encoded: str) -> tuple[str, str]:
    """User and password. ADBC leaves the padding out."""
    text = encoded.strip().rstrip("=")
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refusal(
            ErrorKind.UNAUTHENTICATED, "The authorization header is not Basic base64(user:password)"
        ) from None
    user, _, password = plain.partition(":")
    return user, password


def _cookie(values: list[str]) -> str | None:
    for value in values:
        for item in str(value).split(";"):
            name, _, content = item.strip().partition("=")
            if name == COOKIE:
                return content
    return None
