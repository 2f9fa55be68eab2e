"""How to reach Dremio."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration


class DremioSettings(Section, section="dremio"):
    """How to reach Dremio, or the gateway in its place."""

    uri: str = Field("", description="grpc://HOST:PORT or grpc+tls://HOST:PORT; empty: the gateway on this machine")
    user: str = Field("dremio", description="user name")
    password: SecretStr = Field(SecretStr("dremio123"), description="password; better given as *_FILE")
    token: SecretStr = Field(
        SecretStr(""), description="personal access token in place of user and password; better given as *_FILE"
    )
    token_life: Duration = Field(
        timedelta(hours=30), description="of what a login gives (token.expiration.min); renewed at 80 %"
    )
    protocol: Literal["flight", "flight-sql"] = Field(
        "flight", description="how statements are sent: as text in plain Flight, or as Flight SQL has them"
    )
    routing_queue: str = Field("", description="queue of Dremio's workload management; empty: as its rules say")
    routing_tag: str = Field("", description="tag that those rules may look for")
    tls_roots: Path | None = Field(
        None, description="PEM file of whoever signed its certificate; empty: those that this system trusts"
    )
    tls_verify: bool = Field(True, description="false takes any certificate: whoever is between can read all")
    plan_timeout: Duration = Field(timedelta(seconds=5), description="for planning one question, signing in included")
    fetch_timeout: Duration = Field(timedelta(seconds=15), description="for reading its answer")

    @field_validator("token", "routing_queue", "routing_tag")
    @classmethod
    def _in_headers(cls, value: str | SecretStr) -> str | SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not (text.isascii() and text.isprintable()):
            raise ValueError("it goes into a header: expected letters, digits and signs of ASCII")
        return value

    @field_validator("token_life", "plan_timeout", "fetch_timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("expected more than nothing, like '5 s'")
        return value

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not value:
            return f"grpc://localhost:{Shared.load().port('gateway')}"
        if not re.fullmatch(r"grpc(\+tcp|\+tls)?://[^/:]+:\d+", value):
            raise ValueError("expected grpc://HOST:PORT or grpc+tls://HOST:PORT")
        return value

    def logins(self) -> list[tuple[str, str]]:
        """Every secret of this section, with the user's name that it goes with."""
        pairs = [(self.user, self.password), ("", self.token)]
        return [(user, secret.get_secret_value()) for user, secret in pairs if secret.get_secret_value()]
