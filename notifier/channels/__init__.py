"""Ways to reach people: one file each, found by looking into this folder; a file's name is the channel's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from lakehouse.user_error import UserError, exit_on_user_error
from notifier.channel import DeclaredChannel


def _scan() -> Mapping[str, DeclaredChannel[Any]]:
    found: dict[str, DeclaredChannel[Any]] = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        declared = getattr(importlib.import_module(f"{__name__}.{file.name}"), "CHANNEL", None)
        where = f"notifier/channels/{file.name}.py"
        if not isinstance(declared, DeclaredChannel):
            raise UserError(
                f"{where} declares no channel; give it CHANNEL = DeclaredChannel(settings, switch, half, open)."
            )
        switch = declared.settings.model_fields.get(declared.switch)
        if switch is None or switch.default not in ("", SecretStr("")):
            raise UserError(
                f"{where} names the switch '{declared.switch}', which is none of its settings that are empty texts "
                "until given; name one."
            )
        found[file.name] = declared
    return found


with exit_on_user_error():
    CHANNELS: Mapping[str, DeclaredChannel[Any]] = _scan()
"""Every channel by name, in the order of names."""


def fields_given() -> list[str]:
    """Names of the settings that are empty until somebody gives them: without any of them, every channel is off."""
    return [
        name
        for declared in CHANNELS.values()
        for name, field in declared.settings.model_fields.items()
        if field.default in ("", (), SecretStr(""))
    ]
