"""Settings of the console, section `console`."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, field_validator

from lakehouse.settings.base import Section
from lakehouse.texts import near

SIGNED_IN_DAYS = 7
"""After so long people sign in again."""

ORIGINS = "HOST or HOST:PORT, as it stands in the browser's address bar"


def origin_of(text: str) -> str:
    """The host, with its port where the address bar shows one, of what somebody gave as an origin.

    A scheme is dropped, letters become small, and a port that a browser never shows goes. Raises ValueError.
    """
    given = text.strip().lower()
    scheme, _, rest = given.rpartition("://")
    host = rest.removesuffix("/")
    if scheme not in ("", "http", "https") or not re.fullmatch(r"[^\s:/?#@,\[\]]+(:\d{1,5})?", host):
        raise ValueError(f"expected {ORIGINS}, not '{text}'")
    name, _, port = host.partition(":")
    usual = {"http": ("80",), "https": ("443",), "": ("80", "443")}[scheme]
    return name if port in usual else host


def is_loopback(address: str) -> bool:
    """Whether this machine alone reaches who listens there."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class ConsoleSettings(Section, section="console"):
    """How often the console asks, and what it shows."""

    refresh_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="seconds between two looks at the head of main; 0: told by a gateway on this machine, else 1",
    )
    idle_refresh_s: float = Field(15.0, gt=0, le=3600, description="the same while nobody watches")
    drill_refresh_s: float = Field(5.0, gt=0, le=3600, description="seconds between two refreshes of a drill-down tab")
    rows_shown: int = Field(200, ge=10, le=2000, description="most rows in a table of rows")
    currency: str = Field("$", max_length=4, description="sign before sums of money")
    zone: str = Field("", description="the shop's own zone, an IANA name: pages offer its times too; empty: none")
    error_rate_watch: float = Field(0.02, gt=0, le=1, description="errors per click from which the tile says watch")
    error_rate_bad: float = Field(0.05, gt=0, le=1, description="errors per click from which the tile says bad")
    password: SecretStr = Field(
        SecretStr(""), description='one for all, who are the operator "everyone"; better given as *_FILE; empty: none'
    )
    auth: Literal["", "none", "password", "people", "oidc"] = Field(
        "",
        description="how people sign in: none, password (one for all), people (of people.yaml) or oidc (an OpenID "
        "Connect provider); empty: by what is given, none on this machine alone",
    )
    oidc_issuer: str = Field("", description="address of the OpenID Connect provider, as its tokens name it")
    oidc_client_id: str = Field("", description="what the provider calls the console")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="better given as *_FILE; empty: PKCE, for a client without a secret"
    )
    oidc_redirect: str = Field(
        "", description="where the provider sends people back to, ending with /login; empty: the address they came by"
    )
    oidc_scopes: tuple[str, ...] = Field(
        ("openid", "email", "profile"), description="what the provider is asked for; some tell groups for a scope alone"
    )
    oidc_name_claim: str = Field("email", min_length=1, description="the claim that is somebody's name here")
    oidc_role_claim: str = Field("groups", min_length=1, description="the claim that says who is an operator")
    oidc_operators: tuple[str, ...] = Field(
        ("tillwatch-operators",), description="its values that make an operator; all others are viewers"
    )
    oidc_hours: float = Field(
        8.0,
        gt=0,
        le=720,
        description="h until people go through the provider again, which knows whether they still may",
    )
    cookie_secret: SecretStr = Field(
        SecretStr(""), description="signs who is signed in; empty: another one at each start, so all sign in again"
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="what /metrics asks for as a bearer token where people sign in; better given as *_FILE; empty: "
        "only for whoever is signed in",
    )
    address: str = Field("127.0.0.1", description="address to listen on")
    allowed_origins: tuple[str, ...] = Field(
        (), description="further names that browsers reach it by: HOST or HOST:PORT, as in the address bar"
    )

    root_path: str = Field("", description="what stands before its addresses at a proxy that takes it away, as /ops")

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        # Only what browsers know too: a path or a file of this machine is none.
        if value and value not in available_timezones():
            raise ValueError(f"no zone{near(value, available_timezones())}; expected an IANA name like Europe/Berlin")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(origin_of, values))

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if value and not re.fullmatch(r"(/[\w.~-]+)+", value):
            raise ValueError("expected a path without its last slash, like /ops, or nothing")
        return value

    def origins(self, port: int) -> list[str]:
        """All names that browsers may open the websocket by, where the console listens on `port`."""
        return [f"localhost:{port}", f"127.0.0.1:{port}", *self.allowed_origins]


class LiteSettings(Section, section="lite"):
    """How often the small page asks."""

    refresh_s: float = Field(15.0, ge=5, le=3600, description="seconds between two refreshes of the small page")
    address: str = Field("127.0.0.1", description="address to listen on")
    auth: Literal["", "none"] = Field(
        "", description="none: whoever reaches it may look, also from other machines; empty: this machine alone"
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="names that browsers reach it by, behind a proxy that changes the Host header"
    )

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(origin_of, values))
