"""Signing in: Panel's own pages, flows and cookies, with our look at who may come in."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import panel.auth
from panel.auth import CODE_COOKIE_NAME, STATE_COOKIE_NAME
from panel.config import config
from panel.io.state import state
from tornado.web import HTTPError, RequestHandler, decode_signed_value

from console.gate import Gate, SignIn
from console.oidc import ClaimError, cookie_from, discover
from console.settings import SIGNED_IN_DAYS, ConsoleSettings

logger = logging.getLogger(__name__)

_CODE = re.compile(r"[a-z_]{1,40}")
"""Of an error, as OAuth names them: all else that somebody puts into the address is not shown."""

_HERE = re.compile(r"/(?![/\\])[^\\\s]*")
"""A page of this console."""

ELSEWHERE = "This sign-in did not begin here, or too long ago."
AWAY = "The provider does not answer; try again."

MOST_AT_ONCE = 2
"""Passwords that are looked at side by side: each takes 0.1 s of a core and 32 MB."""


def set_up(settings: ConsoleSettings, gate: Gate) -> None:
    """Tell Panel. Set here, for a command line may be read by anybody. Raises UserError for a provider that is none."""
    if gate.way is SignIn.NONE:
        return
    key = settings.cookie_secret.get_secret_value() or secrets.token_urlsafe(32)
    # Another password signs everybody out, and so does another way to come in.
    password = settings.password.get_secret_value() if gate.way is SignIn.PASSWORD else ""
    issuer = settings.oidc_issuer if gate.way is SignIn.OIDC else ""
    cookie_secret = hmac.digest(key.encode(), f"{issuer}{password}".encode(), "sha256").hex()
    options: dict[str, Any] = {"cookie_secret": cookie_secret, "oauth_expiry": SIGNED_IN_DAYS}
    if gate.way is SignIn.OIDC:
        options |= _oidc_options(settings)
    else:
        # Any value turns its sign-in on; ours looks at the gate alone. Panel has no place for a look of one's own: its
        # provider takes the class of this name.
        options["basic_auth"] = secrets.token_urlsafe(32)
        _Handler.gate = gate
        panel.auth.BasicLoginHandler = _Handler  # type: ignore[misc]
    for name, value in options.items():
        setattr(config, name, value)


def _oidc_options(settings: ConsoleSettings) -> dict[str, Any]:
    provider = discover(settings)
    secret = settings.oidc_client_secret.get_secret_value()
    _Client.of, _Client.issuer = settings, provider.issuer
    panel.auth.AUTH_PROVIDERS |= {"generic": _SecretClient, "auth_code": _PublicClient}
    return {
        "oauth_provider": "generic" if secret else "auth_code",
        "oauth_key": settings.oidc_client_id,
        "oauth_secret": secret or None,
        "oauth_extra_params": {
            "AUTHORIZE_URL": provider.authorize,
            "TOKEN_URL": provider.token,
            "USER_URL": provider.userinfo,
            "LOGOUT_URL": "",
            # Each has it; which claim is the name, and whether it is there, is looked at here.
            "USER_KEY": "sub",
            "scope": list(settings.oidc_scopes),
        },
    }


def cookie_of(cookies: Mapping[str, str]) -> str | None:
    """What the signed cookie of a request holds; None without one, or with one that is too old or not ours."""
    held = decode_signed_value(config.cookie_secret or "", "user", cookies.get("user"), max_age_days=SIGNED_IN_DAYS)
    return held.decode(errors="replace") if held else None


class _Careful(RequestHandler):
    """Whose cookies and redirects go where they should."""

    def keep_here(self) -> None:
        """Forget a page to go to afterwards that is none of this console; Panel takes `///host` for one."""
        if not _HERE.fullmatch(self.get_argument("next", "/")):
            self.request.arguments.pop("next")

    def set_cookie(self, name: str, value: str | bytes, *given: Any, **options: Any) -> None:
        # What somebody else's page makes a browser send brings no cookie; over TLS none goes in the clear.
        options |= {"samesite": "Lax", "secure": self.request.protocol == "https"}
        super().set_cookie(name, value, *given, **options)


class _Handler(_Careful, panel.auth.BasicLoginHandler):
    """Panel's, which looks at the gate, beside the event loop."""

    gate: Gate
    _threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="sign-in")

    def get(self) -> None:
        self.keep_here()
        super().get()  # type: ignore[no-untyped-call]

    async def post(self) -> None:
        name = self.get_argument("username", "")[:200]
        password = self.get_argument("password", "", strip=False)[:1000]
        address = str(self.request.remote_ip)
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(self._threads, self.gate.lets_in, name, password, address):
            self.set_current_user(self.gate.cookie_of(name))  # type: ignore[no-untyped-call]
            asked = self.get_cookie("next_url", "")
            self.redirect(panel.auth._validate_next_url(asked if asked and _HERE.fullmatch(asked) else state.base_url))
            return
        wait_s = self.gate.wait_s(name, address)
        said = {"error": f"wait {math.ceil(wait_s)}" if wait_s > 0 else "wrong"}
        self.redirect(f"{str(self.request.uri).partition('?')[0]}?{urlencode(said)}")


class _Client(_Careful):
    """What Panel's clients of a provider lack: a role, claims that are looked at, one small cookie, and errors that are
    a sentence.

    Panel keeps the tokens in cookies too; nothing here uses them, and a header of 10 KB is refused by many proxies. Its
    errors show and log what the provider answered, tokens and all.
    """

    of: ConsoleSettings
    issuer: str

    @property
    def _redirect_uri(self) -> str:
        return self.of.oidc_redirect or f"{self.request.protocol}://{self.request.host}{state.base_url}login"

    def set_secure_cookie(self, name: str, value: str | bytes, *given: Any, **options: Any) -> None:
        if name == "id_token":
            held = cookie_from(_claims(value), self.of, self.issuer, time.time())
            super().set_secure_cookie("user", held, *given, **options)
        elif name not in ("user", "access_token", "refresh_token", "oauth_expiry"):
            super().set_secure_cookie(name, value, *given, **options)

    async def get(self) -> None:
        # Panel's public client asks the provider again and again instead.
        if error := self.get_argument("error", ""):
            raise ClaimError(f"The provider did not let you in ({error if _CODE.fullmatch(error) else 'no reason'}).")
        coded = "code" in self.request.arguments or "code=" in self.get_argument("next", "")
        # To Panel no state is like no cookie: anybody could have somebody else signed in as themselves.
        if coded and not self.get_state_cookie():  # type: ignore[attr-defined]  # Panel's, which keeps what it read
            raise ClaimError(ELSEWHERE)
        self.keep_here()
        await super().get()  # type: ignore[misc]  # Panel's, of the class that this is mixed into

    def _raise_error(self, response: Any, body: Any = None, status: int = 400) -> None:
        raise ClaimError("The provider did not confirm who you are; try again.")

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        logger.warning("sign-in refused to %s: %s", self.request.remote_ip, error)

    def write_error(self, status_code: int, **given: Any) -> None:
        error = given["exc_info"][1]
        # Only those of this try: other pages of the same browser may be signed in, or trying.
        for name in (STATE_COOKIE_NAME, CODE_COOKIE_NAME):
            self.clear_cookie(name)
        self.set_status(401)
        said = str(error) if isinstance(error, ClaimError) else ELSEWHERE if isinstance(error, HTTPError) else AWAY
        self.write(self._error_template.render(error=said))  # type: ignore[attr-defined]


class _SecretClient(_Client, panel.auth.GenericLoginHandler):
    """A client that has a secret."""


class _PublicClient(_Client, panel.auth.CodeChallengeLoginHandler):
    """A client without, by PKCE."""


def _claims(value: str | bytes) -> dict[str, Any]:
    """The claims of an ID token; those of a userinfo endpoint Panel gives as one part without a signature."""
    text = value.decode() if isinstance(value, bytes) else value
    payload = text.split(".")[1] if text.count(".") == 2 else text
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        raise ClaimError("The sign-in cannot be read.") from None
    if not isinstance(claims, dict):
        raise ClaimError("The sign-in cannot be read.")
    return claims
