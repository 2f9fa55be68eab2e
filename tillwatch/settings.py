"""What the command itself is set by."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration, OptionalDuration


class DemoSettings(Section, section="demo"):
    """How much the demo does."""

    shoppers: bool = Field(True, description="simulate shoppers; false: what you send yourself is all there is")
    rate: float = Field(20, gt=0, le=5000, description="simulated events/s, the day's mean")
    fill_rate: float = Field(0, ge=0, le=5000, description="the same for the past that is filled in; 0: as rate")
    flat: bool = Field(True, description="every hour alike, so that the screen lives by night too; false: a day curve")
    fill: bool = Field(True, description="fill in the last hour, and the same hour of yesterday and of a week ago")
    fill_piece: Duration = Field(timedelta(minutes=10), description="the older past is written in pieces this long")
    fill_pause: Duration = Field(
        timedelta(seconds=2), description="pause between them, so that live events come through"
    )
    lite: bool = Field(True, description="start the small page too")
    incident: bool = Field(True, description="let payments fail 60 s after the start, for 90 s")
    run_for: OptionalDuration = Field(None, description="end by itself after so long; off: until Ctrl-C")

    @property
    def fills(self) -> bool:
        return self.fill and self.shoppers

    @property
    def breaks(self) -> bool:
        return self.incident and self.shoppers


class StackSettings(Section, section="stack"):
    """The servers that `tillwatch stack` brings."""

    s3: Literal["auto", "s3proxy", "minio"] = Field(
        "auto", description="which S3 server; auto: MinIO where one is on the PATH, else S3Proxy"
    )
    cdc: bool = Field(False, description="orders come from a PostgreSQL database, by change data capture")
    jars: str = Field("", description="directory that keeps the jars; empty: tillwatch/jars in the user's cache")
    maven: str = Field("", description="Maven repository to fetch jars from, http(s)://…; empty: Maven Central")

    @field_validator("maven")
    @classmethod
    def _maven(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://\S+", value):
            raise ValueError("expected http://… or https://…")
        return value.rstrip("/")


def stack_shared() -> Shared:
    """The shared settings, with the stack's own data directory unless they name one."""
    shared = Shared.load()
    if "data_dir" in shared.model_fields_set:
        return shared
    return shared.model_copy(update={"data_dir": Path(".tillwatch-stack")})
