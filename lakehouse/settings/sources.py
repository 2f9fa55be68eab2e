"""Where settings come from: the settings file, and *_FILE secrets; the environment is pydantic-settings' own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from lakehouse.mistakes import noted
from lakehouse.own import config_path as config_path
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, parse_yaml, read_text, read_yaml

# All of them, so that any part can tell a misspelt one.
SECTIONS = (
    "dremio",
    "orders",
    "alerts",
    "rules",
    "ingest",
    "kpis",
    "retention",
    "gateway",
    "console",
    "lite",
    "notifier",
    "sandbox",
    "demo",
    "kafka",
    "nessie",
    "s3",
    "spark",
    "stack",
    "database",
)


@cache
def _read_yaml(path: Path, _changed: int, shared: tuple[str, ...]) -> Mapping[str, Any]:
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The settings file {path} cannot be read: {error}. Mend it or set TILLWATCH_CONFIG.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The settings file {path} holds no `section:` lines. Compare it with config/tillwatch.yaml.")
    top = {*SECTIONS, *shared}
    found = {}
    for key, value in content.items():
        with noted(path):
            if key not in top:
                known = f"{near(str(key), top)}; known are {', '.join(sorted(top))}"
                raise UserError(f"Unknown setting '{key}' in {where_in_file(None, str(key))}{known}.")
            if key in SECTIONS and value is not None and not isinstance(value, dict):
                raise UserError(
                    f"Section '{key}' in {where_in_file(None, key)} has the value '{value}'; expected `name: value` "
                    "lines below it."
                )
            found[key] = value
    return found


def where_in_file(section: str | None, name: str) -> str:
    """The settings file, with the line of a setting that stands in it."""
    path = config_path()
    keys = (section, name) if section else (name,)
    try:
        text = read_text(path)
        found = parse_yaml(text)
        for key in keys:
            found = {str(name): value for name, value in found.items()}[key]
    except (NotYaml, LookupError, AttributeError):
        return str(path)  # it is of the environment, or a default
    return f"{path}, line {line_of(text, *keys)}"


class YamlSource(PydanticBaseSettingsSource):
    """The part of the settings file that belongs to one class; `shared` are the names that stand in no section."""

    def __init__(self, settings_cls: type[BaseSettings], shared: tuple[str, ...]) -> None:
        super().__init__(settings_cls)
        self._shared = shared

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = config_path()
        try:
            changed = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            if "TILLWATCH_CONFIG" in os.environ:
                raise UserError(
                    f"TILLWATCH_CONFIG names {path}, which does not exist. Correct it or unset it."
                ) from None
            return {}
        except OSError as error:
            raise UserError(
                f"The settings file {path} cannot be read: {error.strerror}. Mend it or set TILLWATCH_CONFIG."
            ) from None
        content = _read_yaml(path, changed, self._shared)
        section = self.settings_cls.section  # type: ignore[attr-defined]  # the sources are typed for BaseSettings
        if section is None:
            return {name: value for name, value in content.items() if name not in SECTIONS}
        # YAML takes a name like 3 for a number.
        return {str(name): value for name, value in (content.get(section) or {}).items()}


class FileSource(PydanticBaseSettingsSource):
    """TILLWATCH_SECTION_NAME_FILE: the value is what the named file holds, without its last line end."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        prefix = self.config.get("env_prefix", "")
        for name in self.settings_cls.model_fields:
            variable = f"{prefix}{name}_FILE".upper()
            path = os.environ.get(variable)
            if path:
                try:
                    values[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "it is no text"
                    raise UserError(f"{variable} names {path}, which cannot be read: {reason}.") from None
        return values
