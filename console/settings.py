"""Settings of the console, section `console`."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lakehouse.settings import Section


class ConsoleSettings(Section, section="console"):
    """How often the console asks, and what it shows."""

    refresh_s: float = Field(1.0, gt=0, le=3600, description="seconds between two looks at the head of main")
    idle_refresh_s: float = Field(15.0, gt=0, le=3600, description="the same while nobody watches")
    drill_refresh_s: float = Field(5.0, gt=0, le=3600, description="seconds between two refreshes of a drill-down tab")
    rows_shown: int = Field(200, ge=10, le=2000, description="most rows in a table of rows")
    currency: str = Field("$", max_length=4, description="sign before sums of money")
    error_rate_watch: float = Field(0.02, gt=0, le=1, description="errors per click from which the tile says watch")
    error_rate_bad: float = Field(0.05, gt=0, le=1, description="errors per click from which the tile says bad")
    password: SecretStr = Field(
        SecretStr(""), description="to sign in with, under any name; better given as *_FILE; empty: no sign-in"
    )
    cookie_secret: SecretStr = Field(
        SecretStr(""), description="signs who is signed in; empty: another one at each start, so all sign in again"
    )
    address: str = Field("127.0.0.1", description="address to listen on")
    allowed_origins: tuple[str, ...] = Field(
        (), description="further HOST:PORT names that browsers reach it by, behind a proxy"
    )


class LiteSettings(Section, section="lite"):
    """How often the small page asks."""

    refresh_s: float = Field(15.0, ge=5, le=3600, description="seconds between two refreshes of the small page")
    address: str = Field("127.0.0.1", description="address to listen on")
