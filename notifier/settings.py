"""What the notifier can be told: `notifier:` in config/tillwatch.yaml, which every channel brings its fields to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from lakehouse.roster import Roster, load_roster
from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration, write_duration
from lakehouse.settings.on_call import OnCallFields
from lakehouse.settings.sources import config_path, where_in_file
from lakehouse.user_error import UserError, exit_on_user_error
from notifier.channel import Channel, ChannelSettings
from notifier.channels import CHANNELS
from notifier.clock import HORIZON_MS, SWEEP_BACK
from notifier.heartbeat import heartbeat_address
from notifier.http import header_token
from notifier.routing.load import load_routing
from notifier.routing.tree import Routing

_LONGEST_WAIT = timedelta(milliseconds=HORIZON_MS)


def _names_given(value: Any) -> Any:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


class DaemonSettings(OnCallFields):
    """The daemon's own fields, whatever the channels."""

    host: str = Field("127.0.0.1", description="address its API listens on")
    api_token: SecretStr = Field(
        SecretStr(""),
        description="bearer token of yours, which may act, beside those of tokens.json; better given as *_FILE",
    )
    poll_s: float = Field(
        0.0,
        ge=0,
        le=60,
        description="seconds between two looks for a new commit; 0: told by a gateway on this machine, else 1",
    )
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
        description="later alerts of an incident: one message in this time where no route says, 10 min at most",
    )
    storm_after: int = Field(
        10,
        ge=0,
        le=1000,
        description="new threads a minute at one destination, beyond which one digest tells of all; 0: never a digest",
    )
    judge_within: Duration = Field(
        timedelta(seconds=75),
        ge=timedelta(seconds=20),
        le=timedelta(hours=1),
        description="data older than this judges no alert, and everybody is told so: three heartbeats and 30 s",
    )
    silence_longest: Duration = Field(
        timedelta(days=7),
        ge=timedelta(minutes=1),
        le=timedelta(days=90),
        description="how long a silence may last at most",
    )
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names_given)] = Field(
        (), description="names its API is called by, beside those of this machine"
    )
    ack_for: Duration = Field(
        timedelta(hours=4),
        ge=timedelta(minutes=1),
        le=timedelta(days=7),
        description="how long an acknowledgement holds where who gives it says nothing else",
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
    heartbeat_url: SecretStr = Field(
        SecretStr(""),
        description="a dead-man's switch: asked while people can be told; better given as *_FILE; empty: none",
    )
    heartbeat_every: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="how often it is asked",
    )
    timezone: str = Field("UTC", description="zone of the times in messages, an IANA name")
    currency: str = Field("$", max_length=4, description="sign before sums of money in messages")
    console_url: str = Field("", description="the console as people reach it; empty: the one on this machine")
    routes: Path = Field(Path("routes.yaml"), description="who is told; relative to the settings file")

    _api_token = field_validator("api_token")(header_token)
    _heartbeat_url = field_validator("heartbeat_url")(heartbeat_address)

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


def destinations_of(channels: Sequence[Channel]) -> dict[str, tuple[str, ...]]:
    """The destinations of every channel that there is, by its name: none where it is not set up."""
    return {**dict.fromkeys(CHANNELS, ()), **{channel.name: channel.destinations for channel in channels}}


def _joined(own: type[BaseModel], channels: Sequence[type[ChannelSettings]]) -> tuple[type[BaseModel], ...]:
    """The bases of section `notifier`. Raises UserError where two bring a field, or a validator, of one name."""
    owners: dict[str, type[BaseModel]] = {}
    added: list[tuple[type[BaseModel], set[str]]] = [(own, _names(own)), (ChannelSettings, _names(ChannelSettings))]
    added += [(model, _names(model) - _names(ChannelSettings)) for model in channels]
    for model, names in added:
        for name in names:
            if name in owners:
                first = owners[name]
                raise UserError(
                    f"'{name}' of {model.__module__}.{model.__name__} stands in {first.__module__}.{first.__name__} "
                    "too, and section notifier can hold it once; give it another name."
                )
            owners[name] = model
    # pydantic lists the fields of the last base first.
    return (*reversed(channels), ChannelSettings, own)


def _names(model: type[BaseModel]) -> set[str]:
    validators = model.__pydantic_decorators__
    return {*model.model_fields, *validators.field_validators, *validators.model_validators}


if TYPE_CHECKING:

    class _Joined(ChannelSettings, DaemonSettings):
        """What a type checker can know: what is there whatever the channels."""

else:
    with exit_on_user_error():
        _BASES = _joined(DaemonSettings, [declared.settings for declared in CHANNELS.values()])

    class _Joined(*_BASES):
        pass


class NotifierSettings(_Joined, Section, section="notifier"):
    """The daemon and its channels. A channel without its settings is off."""

    def logins(self) -> list[tuple[str, str]]:
        """Every secret of this section, with the user's name that it goes with."""
        fields = [
            (str(getattr(self, f"{name.removesuffix('_password')}_user", "")), value.get_secret_value())
            for name, value in self
            if isinstance(value, SecretStr) and value.get_secret_value()
        ]
        parts = [("", secret) for declared in CHANNELS.values() for secret in declared.secrets(self)]
        return [(user, secret) for user, secret in (*fields, *parts) if secret]

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
                    f"notifier.{longer} ({write_duration(more)}); lower the one or raise the other in "
                    f"{where_in_file('notifier', shorter)}."
                )
        for declared in CHANNELS.values():
            sentence = declared.half(self)
            if sentence:
                raise UserError(sentence)

    def open_channels(self) -> list[Channel]:
        """The channels that are set up."""
        channels = []
        for name, declared in CHANNELS.items():
            if declared.is_on(self):
                channel = declared.open(self)
                if channel.name != name:
                    raise UserError(
                        f"notifier/channels/{name}.py opens a channel named '{channel.name}'; name it as the file."
                    )
                channels.append(channel)
        return channels

    def load_people(self) -> Roster:
        """The people of the file. Raises UserError with file, line and name."""
        return load_roster(config_path().parent / self.people)

    def load_routes(self, channels: Sequence[Channel]) -> Routing:
        """The routes of the file, to the destinations of these channels. Raises UserError with file, line and name."""
        return load_routing(config_path().parent / self.routes, destinations_of(channels), self.load_people())
