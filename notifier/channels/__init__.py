"""Ways to reach people: one file each, found by looking into this folder; a file's name is the channel's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from notifier.channel import Declared


def _scan() -> Mapping[str, Declared[Any]]:
    found: dict[str, Declared[Any]] = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        declared = getattr(importlib.import_module(f"{__name__}.{file.name}"), "CHANNEL", None)
        where = f"notifier/channels/{file.name}.py"
        if not isinstance(declared, Declared):
            raise TypeError(f"{where} declares no channel; give it CHANNEL = Declared(settings, switch, half, open).")
        if declared.switch not in declared.settings.model_fields:
            raise TypeError(f"{where} names the switch '{declared.switch}', which is none of its settings; name one.")
        found[file.name] = declared
    return found


CHANNELS: Mapping[str, Declared[Any]] = _scan()
"""Every channel by name, in the order of names."""
