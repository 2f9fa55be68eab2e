"""How readers reach the notifier, and who may act: settings of its section that others read too."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.sources import config_path


class OnCallFields(BaseModel):
    """For readers; the notifier's own class has them too, for its section is declared once."""

    url: str = Field("", description="the notifier as consoles reach it, http://HOST:5007; empty: of this machine")
    token: SecretStr = Field(
        SecretStr(""),
        description="what consoles act with; better given to both as *_FILE; empty: `console` of tokens.json",
    )

    people: Path = Field(
        Path("people.yaml"), description="who may act, and sign in to the console; relative to the settings file"
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", value):
            raise ValueError("expected an address like http://HOST:5007")
        return value.rstrip("/").removesuffix("/api")


class OnCallSettings(OnCallFields, Section, section="notifier", partial=True):
    """Where the notifier is, for those who read it."""

    @property
    def address(self) -> str:
        """Of its API."""
        here = f"http://127.0.0.1:{Shared.load().port('notifier')}"
        return f"{self.url or here}/api"

    @property
    def people_file(self) -> Path:
        return config_path().parent / self.people
