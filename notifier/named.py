"""Settings that hold several secrets, as NAME=SECRET, NAME=SECRET: the name is shown everywhere, the secret nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import SecretStr

_NAMED = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9_.-]{0,39})=)?(.*)")


def read_named(
    value: SecretStr, fits: Callable[[str], object], expected: str, unnamed: Callable[[str], str]
) -> dict[str, str]:
    """Each secret by its name. fits: whether one can be such a secret, `expected` in words; unnamed: the name of one
    that is given none. Raises ValueError, with no secret in it."""
    found: dict[str, str] = {}
    entries = filter(None, map(str.strip, value.get_secret_value().split(",")))
    for number, entry in enumerate(entries, 1):
        match = _NAMED.fullmatch(entry)
        name, secret = match.groups() if match else (None, entry)
        if not fits(secret):
            raise ValueError(f"entry {number} is not {expected}, alone or as NAME=… in a list with commas")
        name = name or unnamed(secret)
        if name in found:
            raise ValueError(f"entry {number} is a second '{name}'; write another NAME= before it")
        found[name] = secret
    return found
