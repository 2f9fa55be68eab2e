"""Signing in: Panel's own page and cookies, with our look at who may come in."""

from __future__ import annotations

import asyncio
import hmac
import math
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import panel.auth
from panel.config import config
from panel.io.state import state
from tornado.web import decode_signed_value

from console.gate import Gate, SignIn
from console.settings import ConsoleSettings

SIGNED_IN_DAYS = 7
MOST_AT_ONCE = 2
"""Passwords that are looked at side by side: each takes 0.1 s of a core and 32 MB."""


def set_up(settings: ConsoleSettings, gate: Gate) -> None:
    """Tell Panel. Set here, for a command line may be read by anybody."""
    if gate.way is SignIn.NONE:
        return
    key = settings.cookie_secret.get_secret_value() or secrets.token_urlsafe(32)
    # Another password signs everybody out.
    password = settings.password.get_secret_value() if gate.way is SignIn.PASSWORD else ""
    cookie_secret = hmac.digest(key.encode(), password.encode(), "sha256").hex()
    # Any value turns its sign-in on; ours looks at the gate alone.
    options = {"basic_auth": secrets.token_urlsafe(32), "cookie_secret": cookie_secret, "oauth_expiry": SIGNED_IN_DAYS}
    for name, value in options.items():
        setattr(config, name, value)
    # Panel has no place for a look of one's own: its provider takes the class of this name.
    _Handler.gate = gate
    panel.auth.BasicLoginHandler = _Handler  # type: ignore[misc]


def cookie_of(cookies: Mapping[str, str]) -> str | None:
    """What the signed cookie of a request holds; None without one, or with one that is too old or not ours."""
    held = decode_signed_value(config.cookie_secret or "", "user", cookies.get("user"), max_age_days=SIGNED_IN_DAYS)
    return held.decode(errors="replace") if held else None


class _Handler(panel.auth.BasicLoginHandler):
    """Panel's, which looks at the gate, beside the event loop."""

    gate: Gate
    _threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="sign-in")

    async def post(self) -> None:
        name = self.get_argument("username", "")[:200]
        password = self.get_argument("password", "", strip=False)[:1000]
        address = str(self.request.remote_ip)
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(self._threads, self.gate.lets_in, name, password, address):
            self.set_current_user(self.gate.cookie_of(name))  # type: ignore[no-untyped-call]
            self.redirect(panel.auth._validate_next_url(self.get_cookie("next_url", state.base_url)))
            return
        wait_s = self.gate.wait_s(name, address)
        said = {"error": f"wait {math.ceil(wait_s)}" if wait_s > 0 else "wrong"}
        self.redirect(f"{str(self.request.uri).partition('?')[0]}?{urlencode(said)}")

    def set_cookie(self, name: str, value: str | bytes, *given: Any, **options: Any) -> None:
        # What somebody else's page makes a browser send brings no cookie; over TLS none goes in the clear.
        options |= {"samesite": "Lax", "secure": self.request.protocol == "https"}
        super().set_cookie(name, value, *given, **options)
