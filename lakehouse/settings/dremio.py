"""How to reach Dremio."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration


class DremioSettings(Section, section="dremio"):
    """How to reach Dremio, or the gateway in its place."""

    uri: str = Field("", description="grpc://HOST:PORT or grpc+tls://HOST:PORT; empty: the gateway on this machine")
    user: str = Field("dremio", description="user name")
    password: SecretStr = Field(SecretStr("dremio123"), description="password; better given as *_FILE")
    tls_roots: Path | None = Field(
        None, description="PEM file of whoever signed its certificate; empty: those that this system trusts"
    )
    plan_timeout: Duration = Field(timedelta(seconds=5), description="for planning one question")
    fetch_timeout: Duration = Field(timedelta(seconds=15), description="for reading its answer")

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not value:
            return f"grpc://localhost:{Shared.load().port('gateway')}"
        if not re.fullmatch(r"grpc(\+tcp|\+tls)?://[^/:]+:\d+", value):
            raise ValueError("expected grpc://HOST:PORT or grpc+tls://HOST:PORT")
        return value
