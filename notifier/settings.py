"""What the notifier can be told: `notifier:` in config/tillwatch.yaml, and who is told what in config/routes.yaml."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration, write_duration
from lakehouse.settings.sources import config_path
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_yaml
from notifier.policy import HORIZON_MS, SWEEP_BACK

CHANNELS = ("slack", "email")
# Dot-atoms of RFC 5322 and a host name: what every mail server takes, also one that knows no SMTPUTF8.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@.{{1,253}}$){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
_LONGEST_WAIT = timedelta(milliseconds=HORIZON_MS)


class NotifierSettings(Section, section="notifier"):
    """The daemon, Slack and email. A channel without its settings is off."""

    host: str = Field("127.0.0.1", description="address its API listens on")
    api_token: SecretStr = Field(
        SecretStr(""), description="what /api/ asks for as a bearer token; better given as *_FILE; empty: none"
    )
    poll_s: float = Field(1.0, gt=0, le=60, description="how often it looks for a new commit, in seconds")
    overlap: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=SWEEP_BACK,
        description="how far behind the cursor each question looks again, 1 s to 1 d",
    )
    sweep_every: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(seconds=1),
        le=SWEEP_BACK / 2,
        description="how often it looks a day behind the cursor",
    )
    gather: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(milliseconds=100),
        le=_LONGEST_WAIT,
        description="later alerts of an incident: one message in this time, 10 min at most",
    )
    give_up: Duration = Field(
        timedelta(days=1),
        ge=timedelta(minutes=5),
        le=timedelta(days=3650),
        description="a delivery that fails for so long is dead",
    )
    keep: Duration = Field(
        timedelta(days=90),
        ge=2 * SWEEP_BACK,
        le=timedelta(days=3650),
        description="how long the ledger remembers, 2 d at least",
    )
    timezone: str = Field("UTC", description="zone of the times in messages, an IANA name")
    console_url: str = Field("", description="the console as people reach it; empty: the one on this machine")
    routes: Path = Field(Path("routes.yaml"), description="who is told; relative to the settings file")
    slack_base_url: str = Field("https://slack.com/api/", description="Slack's web API, or the sandbox in its place")
    slack_token: SecretStr = Field(SecretStr(""), description="bot token; better given as *_FILE; empty: no Slack")
    slack_channel: str = Field("", description="id of the channel, like C0123456789")
    slack_timeout_s: float = Field(10.0, gt=0, le=60, description="for one call of Slack, in seconds")
    slack_per_s: float = Field(1.0, ge=0.02, le=1000, description="messages a second, after a burst of five")
    settle: Duration = Field(
        timedelta(seconds=20),
        ge=timedelta(milliseconds=100),
        le=_LONGEST_WAIT,
        description="wait before a post without an answer is looked up in Slack's history",
    )
    unreadable: Duration = Field(
        timedelta(minutes=2),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="a history unreadable for so long: sent again as (possible repeat)",
    )
    smtp_host: str = Field("", description="mail server; empty: no email")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls (required, never without), tls from the start, or none (sandbox only)"
    )
    smtp_user: str = Field("", description="user name; empty: no login")
    smtp_password: SecretStr = Field(SecretStr(""), description="password; better given as *_FILE")
    smtp_timeout_s: float = Field(15.0, gt=0, le=120, description="for each step of a mail, in seconds")
    email_from: str = Field("", description="sender's address")
    email_to: Annotated[tuple[str, ...], NoDecode] = Field((), description="recipients, a list or with commas")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected an IANA name like Europe/Berlin or UTC") from None
        return value

    @field_validator("console_url")
    @classmethod
    def _console(cls, value: str) -> str:
        if not value:
            return f"http://localhost:{Shared.load().port('console')}/app"
        if not re.fullmatch(r"https?://[^\s<>|]+", value):
            raise ValueError("expected http://HOST:PORT/app")
        return value

    @field_validator("slack_token", "api_token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
            raise ValueError("a token goes into a header: it has only ASCII and no blank")
        return value

    @field_validator("slack_base_url")
    @classmethod
    def _slack_url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s<>|]+/", value):
            raise ValueError("expected an address that ends in a slash, like https://slack.com/api/")
        return value

    @field_validator("slack_channel")
    @classmethod
    def _slack_id(cls, value: str) -> str:
        if value and not re.fullmatch(r"[CDG][A-Z0-9]{2,}", value):
            raise ValueError("expected a channel's id like C0123456789, not its name")
        return value

    @field_validator("email_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError("expected an address like alerts@shop.example, in ASCII")
        return value

    @field_validator("email_to", mode="before")
    @classmethod
    def _recipients(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [address.strip() for address in value.split(",") if address.strip()]
        wrong = [address for address in value or () if not _ADDRESS.fullmatch(str(address))]
        if wrong:
            raise ValueError(f"'{wrong[0]}' is no address; expected one like oncall@shop.example, in ASCII")
        return tuple(dict.fromkeys(value or ()))

    @property
    def slack_on(self) -> bool:
        return bool(self.slack_token.get_secret_value())

    @property
    def email_on(self) -> bool:
        return bool(self.smtp_host)

    def logins(self) -> list[tuple[str, str]]:
        """Every secret of this section, with the user's name that it goes with."""
        return [
            (self.smtp_user if name == "smtp_password" else "", value.get_secret_value())
            for name, value in self
            if isinstance(value, SecretStr)
        ]

    def check(self) -> None:
        """Raises UserError for a channel that is only half set up, and for spans that do not go together."""
        for shorter, longer in (
            ("give_up", "keep"),
            ("settle", "give_up"),
            ("unreadable", "give_up"),
            ("gather", "give_up"),
        ):
            less, more = getattr(self, shorter), getattr(self, longer)
            if less >= more:
                raise UserError(
                    f"Setting 'notifier.{shorter}' is {write_duration(less)}, which is not shorter than "
                    f"notifier.{longer} ({write_duration(more)}); lower the one or raise the other."
                )
        if self.slack_on and not self.slack_channel:
            raise UserError(_half("slack_token", "slack_channel", "the id of a channel like C0123456789"))
        if self.slack_channel and not self.slack_on:
            raise UserError(_half("slack_channel", "slack_token", "a bot token (better as *_FILE)"))
        if self.email_on and not self.email_from:
            raise UserError(_half("smtp_host", "email_from", "the sender's address"))
        if self.email_on and not self.email_to:
            raise UserError(_half("smtp_host", "email_to", "one or more recipients' addresses"))
        if self.email_to and not self.email_on:
            raise UserError(_half("email_to", "smtp_host", "the mail server's name"))
        if bool(self.smtp_user) != bool(self.smtp_password.get_secret_value()):
            given, missing = ("smtp_user", "smtp_password") if self.smtp_user else ("smtp_password", "smtp_user")
            raise UserError(_half(given, missing, "the other half of the login"))

    def load_routes(self) -> tuple[Route, ...]:
        """The routes of the file. Raises UserError with file, route and what would do."""
        return read_routes(config_path().parent / self.routes)


def _half(given: str, missing: str, what: str) -> str:
    return (
        f"Setting 'notifier.{given}' is given but 'notifier.{missing}' is not; "
        f"set TILLWATCH_NOTIFIER_{missing.upper()} to {what}, or remove {given}."
    )


class Route(BaseModel):
    """Alerts of these severities go to these channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    severity: tuple[Literal["FATAL"], ...] = Field(min_length=1)
    channels: tuple[Literal["slack", "email"], ...] = Field(min_length=1)


def read_routes(path: Path) -> tuple[Route, ...]:
    """Routes from a YAML file: `routes:`, each with name, severity and channels."""
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The routes file {path} cannot be read: {error}; mend it or set notifier.routes.") from None
    entries = content.get("routes") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or set(content) != {"routes"}:
        raise UserError(f"The routes file {path} must hold one list, `routes:`, with at least one route.")
    routes = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("name", f"number {number}") if isinstance(entry, dict) else f"number {number}"
        try:
            routes.append(Route.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else "route"
            what = {
                "severity": "severity is a list of FATAL",
                "channels": f"channels is a list of {' and '.join(CHANNELS)}",
                "name": "name is a text",
            }.get(key, f"'{key}' is none of name, severity, channels")
            raise UserError(f"Route {name} in {path} has a wrong or missing value at '{key}': {what}.") from None
    names = [route.name for route in routes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"The routes file {path} has two routes named '{twice}'; rename one.")
    return tuple(routes)
