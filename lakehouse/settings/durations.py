"""Spans of time as they stand in settings: "15 d", "10 min", "0.5 s"."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*")
_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """A timedelta from "15 d", "10 min", "0.5 s" or "250 ms"; other values are left to the validator."""
    if not isinstance(value, str):
        if isinstance(value, timedelta):
            return value
        raise ValueError("expected a number with a unit, like '30 s', '15 min', '1 h' or '15 d'")
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("expected a number with a unit, like '30 s', '15 min', '1 h' or '15 d'")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError("it is longer than can be counted") from None


def write_duration(value: timedelta) -> str:
    """What parse_duration reads, in the largest unit that has no fraction: "15 d", "90 s", "250 ms"."""
    for unit, seconds in reversed(_UNITS.items()):
        size = timedelta(seconds=seconds)
        if value >= size and not value % size:
            return f"{value // size} {unit}"
    return f"{value / timedelta(milliseconds=1):g} ms"


def _off_or_duration(value: object) -> object:
    # YAML reads a bare `off` as False.
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    return parse_duration(value)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
OptionalDuration = Annotated[timedelta | None, BeforeValidator(_off_or_duration)]
