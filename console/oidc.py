"""Signing in by an OpenID Connect provider: what it says of itself, and who its claims make of somebody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3

from console.on_call.acts import Actor
from console.settings import ConsoleSettings, is_loopback
from lakehouse.roster import Role
from lakehouse.user_error import UserError

WELL_KNOWN = "/.well-known/openid-configuration"
USERINFO = "userinfo_endpoint"
DOORS = ("authorization_endpoint", "token_endpoint", USERINFO)
PATIENCE_S = 10.0
NAME_LETTERS = 200


class Provider(NamedTuple):
    """Addresses of a provider; `userinfo` is empty where it has none."""

    issuer: str
    authorize: str
    token: str
    userinfo: str


class ClaimError(Exception):
    """Why claims let nobody in, in a sentence."""


def discover(settings: ConsoleSettings) -> Provider:
    """Ask the issuer. Raises UserError where the settings lack something, or the answer cannot be trusted or used."""
    issuer = settings.oidc_issuer.rstrip("/")
    for name, value in (("oidc_issuer", issuer), ("oidc_client_id", settings.oidc_client_id)):
        if not value:
            raise UserError(f"console.auth is oidc, and console.{name} is empty; set it.")
    _check_address("console.oidc_issuer", issuer)
    address = f"{issuer}{WELL_KNOWN}"
    try:
        answer = urllib3.request("GET", address, timeout=PATIENCE_S, redirect=False, retries=False)
        told = json.loads(answer.data) if answer.status == 200 else None
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise UserError(f"{address} does not answer as OpenID Connect does: {error}; is it up?") from error
    if not isinstance(told, dict):
        raise UserError(f"{address} answers {answer.status}, not its addresses; is console.oidc_issuer right?")
    if str(told.get("issuer", "")).rstrip("/") != issuer:
        raise UserError(f"{address} is of another issuer, '{told.get('issuer')}'; write that in console.oidc_issuer.")
    doors = {name: str(told.get(name) or "") for name in DOORS}
    for name, value in doors.items():
        if value or name != USERINFO:
            _check_address(f"{name} of {address}", value)
    return Provider(issuer, *doors.values())


def cookie_from(claims: Mapping[str, Any], settings: ConsoleSettings, issuer: str, now_s: float) -> str:
    """What a signed cookie holds of somebody: name, role, and until when (s since the epoch). Raises ClaimError.

    Claims of an ID token say whose they are and for whom, those of the userinfo endpoint do not. The token came from
    the provider itself over TLS, so its signature need not be looked at (OpenID Connect Core 3.1.3.7, 6).
    """
    if "iss" in claims and str(claims["iss"]).rstrip("/") != issuer:
        raise ClaimError("The sign-in is of another issuer than this console's.")
    audience = claims.get("aud", settings.oidc_client_id)
    if settings.oidc_client_id not in ([audience] if isinstance(audience, str) else audience):
        raise ClaimError("The sign-in was made for another application.")
    if "exp" in claims and float(claims["exp"]) < now_s:
        raise ClaimError("The sign-in is too old; sign in again.")
    name = str(claims.get(settings.oidc_name_claim) or "")[:NAME_LETTERS]
    if not name:
        raise ClaimError(f"The sign-in has no claim '{settings.oidc_name_claim}', which would be your name.")
    if settings.oidc_name_claim == "email" and claims.get("email_verified") is False:
        raise ClaimError("The provider has not verified your address, which would be your name.")
    said = claims.get(settings.oidc_role_claim) or ()
    roles = {said} if isinstance(said, str) else {str(one) for one in said}
    role = Role.OPERATOR if roles & set(settings.oidc_operators) else Role.VIEWER
    return f"{name}~{role.value}~{int(now_s + settings.oidc_hours * 3600)}"


def actor_of(cookie: str, now_s: float) -> Actor | None:
    """Who a cookie of `cookie_from` is; None for another, or once its time is over."""
    name, _, rest = cookie.rpartition("~")
    name, _, role = name.rpartition("~")
    if not name or not rest.isascii() or not rest.isdigit() or int(rest) <= now_s:
        return None
    return Actor(name, may_act=role == Role.OPERATOR.value)


def _check_address(what: str, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise UserError(f"{what} is '{address}'; it must begin with https://, or be of this machine.")
