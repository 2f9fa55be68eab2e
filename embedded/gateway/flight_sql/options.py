"""Session options of Flight SQL: the schema that names are looked up in, and the one catalog there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from embedded.gateway.errors import Refusal
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.messages import make
from embedded.gateway.sessions import FlightSession

_INVALID_NAME, _INVALID_VALUE = 1, 2
_CATALOG = "DREMIO"


def set_options(request: Any, asking: Asking) -> Message:
    """Set what can be set; the result names the others, with why: no such option, or no such value for it."""
    wrong = {}
    for option in request.session_options:
        error = _set(option.key, option.value, asking)
        if error is not None:
            wrong[option.key] = error
    result: Message = make(
        "SetSessionOptionsResult",
        errors=[make("OptionErrorOf", key=key, value=make("OptionError", value=error)) for key, error in wrong.items()],
    )
    return result


def _set(name: str, value: Any, asking: Asking) -> int | None:
    session = asking.session
    kind = value.WhichOneof("option_value")
    text = value.string_value if kind == "string_value" else None
    match name:
        case "catalog":
            return None if kind is None or text in ("", _CATALOG) else _INVALID_VALUE
        case "schema":
            if kind is None or text == "":
                session.context = replace(session.context, schema=())
                return None
            if text is None:
                return _INVALID_VALUE
            try:
                used = asking.used(f"USE {text}", replace(session.context, schema=()))
            except Refusal:
                used = None
            if used is None:
                return _INVALID_VALUE
            session.context = used
            return None
    return _INVALID_NAME


def get_options(session: FlightSession) -> Message:
    """What is set."""
    value = make("SessionOptionValue", string_value=".".join(session.context.schema))
    options = [make("SessionOption", key="schema", value=value)] if session.context.schema else []
    result: Message = make("GetSessionOptionsResult", session_options=options)
    return result
