"""Settings: config/tillwatch.yaml < TILLWATCH_* environment < *_FILE secrets; frozen; loud errors.

A part declares its own class with its section's name. The whole file is looked at on every load, so that a misspelt
section or key stops the start of any part, and not only of the one that would have read it.
"""

from __future__ import annotations

import os
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.mistakes import AlreadyTold, noted
from lakehouse.proxies import keep_own_traffic_off
from lakehouse.settings.durations import OptionalDuration, write_duration
from lakehouse.settings.ports import PORTS
from lakehouse.settings.reason import reason
from lakehouse.settings.sources import SECTIONS, FileSource, YamlSource, config_path, where_in_file
from lakehouse.texts import near
from lakehouse.user_error import UserError

PREFIX = "TILLWATCH_"
# Read from the environment by others than a settings class.
_OTHER_ENVIRONMENT = {"TILLWATCH_CONFIG"}


class Section(BaseSettings):
    """Base of every settings class; `load()` reads it once, whole, and raises UserError in one sentence."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, validate_default=True)
    section: ClassVar[str | None] = None
    partial: ClassVar[bool] = False
    """Whether it reads a few settings of a section that another class declares whole."""

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        """A secret with a line end goes into places that know nothing of it: headers, and errors that quote them."""
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if not text.isprintable() or text != text.strip():
                raise ValueError(
                    "it has a line end, a control character or a blank at an end; a secret is one line, also in a file"
                )
        return value

    def __init_subclass__(cls, section: str | None = None, partial: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.section = section
        cls.partial = partial
        if partial:
            cls.model_config["extra"] = "ignore"
        if section is not None:
            if section not in SECTIONS:
                raise TypeError(f"section {section!r} is not listed in lakehouse.settings.sources.SECTIONS")
            cls.model_config["env_prefix"] = f"{PREFIX}{section}_".upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            FileSource(settings_cls),
            env_settings,
            YamlSource(settings_cls, tuple(Shared.model_fields)),
        )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of this section; `overrides` win over every other source.

        Raises UserError naming key, value and what would do.
        """
        # Here, for every part reads settings before it speaks to another.
        keep_own_traffic_off()
        _refuse_unknown_environment(cls)
        try:
            return cls(**overrides)
        except ValidationError as error:
            for each in error.errors():
                with noted(config_path()):
                    raise UserError(_sentence(cls, each)) from None
            raise AlreadyTold(f"{config_path()} is wrong") from None
        except Exception as error:
            # pydantic-settings wraps what a source raises.
            cause = error.__cause__ or error
            if isinstance(cause, UserError):
                raise cause from None
            if type(error).__name__ == "SettingsError":
                raise UserError(f"A setting of section '{cls.section}' cannot be read: {error}.") from None
            raise


def _refuse_unknown_environment(cls: type[Section]) -> None:
    """Refuse TILLWATCH_ variables that no setting answers to: of this section, or of no section at all."""
    prefix = str(cls.model_config.get("env_prefix"))
    own = {f"{prefix}{name}".upper() for name in cls.model_fields}
    shared = {f"{PREFIX}{name}".upper() for name in Shared.model_fields}
    known = own | shared | {f"{name}_FILE" for name in own | shared} | _OTHER_ENVIRONMENT
    sections = tuple(f"{PREFIX}{section}_".upper() for section in SECTIONS)
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable in known:
            continue
        if cls.partial and variable.startswith(prefix):
            continue
        if cls.section is not None and variable.startswith(prefix):
            names = ", ".join(sorted(own))
            raise UserError(f"Unknown setting {variable} in the environment; section '{cls.section}' has {names}.")
        if not variable.startswith(sections):
            raise UserError(
                f"Unknown setting {variable} in the environment; names are {PREFIX}SECTION_NAME "
                "as listed in config/tillwatch.yaml."
            )


def _sentence(cls: type[Section], first: ErrorDetails) -> str:
    name = ".".join(str(part) for part in first["loc"][:1])
    key = f"{cls.section}.{name}" if cls.section else name
    variable = f"{cls.model_config.get('env_prefix')}{name}".upper()
    if first["type"] == "missing":
        return f"Setting '{key}' is missing; set it in {config_path()} or as {variable}."
    place = where_in_file(cls.section, name)
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(cls.model_fields))
        return f"Unknown setting '{key}' in {place}{near(name, cls.model_fields)}; known are {known}."
    field = cls.model_fields.get(name)
    secret = field is not None and "SecretStr" in str(field.annotation)
    given = first["input"]
    shown = write_duration(given) if isinstance(given, timedelta) else str(given)[:200]
    value = "(secret)" if secret else "".join(c if c.isprintable() else "?" for c in shown)
    return f"Setting '{key}' has the value '{value}': {reason(first)}; set it in {place} or as {variable}."


class Shared(Section):
    """What all parts share."""

    data_dir: Path = Field(Path(".tillwatch"), description="where all data of this installation sits")
    port_offset: int = Field(0, ge=0, le=20000, description="added to every port, to run a second one beside the first")
    max_event_age: OptionalDuration = Field(
        timedelta(days=15), description="older events are rejected as STALE_TIME; off for history"
    )

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, value: Path) -> Path:
        if value == Path():
            raise ValueError("expected the path of a directory for the data alone")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(value)):
            raise ValueError("there is a control character in the path, or it is no UTF-8 text")
        return Path(os.path.expanduser(value))  # Path's own raises where there is no such home

    def port(self, name: str) -> int:
        """The port of a part: its base plus port_offset."""
        return PORTS[name] + self.port_offset
