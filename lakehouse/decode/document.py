"""The careful reading of JSON: numbers stay as they were written, and whatever is wrong has its reason."""

from __future__ import annotations

import json
import re

from lakehouse.decode.rejected import Reason, Rejected


class JsonNumber(str):
    """A JSON number as it was written: reading it as int or float would lose digits, or fail on a long one."""


class JsonInteger(JsonNumber): ...


class JsonNotFinite(str):
    """A bare NaN, Infinity or -Infinity."""


_any_json = json.JSONDecoder(parse_int=JsonInteger, parse_float=JsonNumber, parse_constant=JsonNotFinite).decode

# In valid JSON each backslash begins one escape, so reading escape by escape tells a pair from a lone half.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def parse_document(payload: bytes | None, of_lists: bool = False) -> object | Rejected:
    """The JSON object in a message (or, `of_lists`, the list), or why there is none."""
    if payload is None or not payload.strip():
        return Rejected(Reason.EMPTY, "tombstone" if payload is None else f"{len(payload)} bytes, none but blanks")
    try:
        text = payload.decode()
        document = _any_json(text)
    except UnicodeDecodeError as error:
        return Rejected(Reason.NOT_JSON, f"byte {error.start} is not UTF-8")
    except RecursionError:
        return Rejected(Reason.NOT_JSON, "nested too deeply")
    except ValueError as error:
        return Rejected(Reason.NOT_JSON, shown(str(error)))
    if document is None:
        return Rejected(Reason.EMPTY, "null")
    if type(document) is not dict and not (of_lists and type(document) is list):
        return Rejected(Reason.NOT_JSON, "not an object")
    if "\\u" in text and any(found["lone"] for found in _ESCAPE.finditer(text)):
        return Rejected(Reason.NOT_JSON, "an unpaired surrogate")
    return document


def shown(value: object) -> str:
    """A value as text for a reason: short, whatever it is."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        text = "a deeply nested value"
    return text if len(text) <= 80 else f"{text[:77]}..."


def json_type(value: object) -> str:
    """What a value is, in words."""
    match value:
        case JsonNotFinite() | JsonNumber():
            return f"the number {shown(str(value))}"
        case bool():
            return "true" if value else "false"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return shown(value)
