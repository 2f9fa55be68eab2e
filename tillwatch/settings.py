"""What the command itself is set by, beside the demo."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from lakehouse.settings import Section


class StackSettings(Section, section="stack"):
    """The servers that `tillwatch stack` brings."""

    s3: Literal["auto", "s3proxy", "minio"] = Field(
        "auto", description="which S3 server; auto: MinIO where one is on the PATH, else S3Proxy"
    )
    jars: str = Field("", description="directory that keeps the jars; empty: tillwatch/jars in the user's cache")
    maven: str = Field("", description="Maven repository to fetch jars from, http(s)://…; empty: Maven Central")

    @field_validator("maven")
    @classmethod
    def _maven(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://\S+", value):
            raise ValueError("expected http://… or https://…")
        return value.rstrip("/")
