"""What pydantic finds wrong with a value, in words of ours."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic_core import ErrorDetails

from lakehouse.settings.durations import write_duration
from lakehouse.texts import near


def reason(error: ErrorDetails) -> str:
    """The rest of a sentence, without a full stop: "input should be greater than or equal to 5 s"."""
    said = error["msg"].removeprefix("Value error, ").rstrip(".")
    for limit in error.get("ctx", {}).values():
        if isinstance(limit, timedelta):
            said = said.replace(repr(limit), write_duration(limit))
    if error["type"] == "literal_error":
        said += near(str(error["input"]), re.findall(r"'([^']*)'", said))
    return f"{said[:1].lower()}{said[1:]}"
