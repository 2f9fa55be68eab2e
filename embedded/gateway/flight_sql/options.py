"""Session options of Flight SQL: the schema that names are looked up in, and the one catalog there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from embedded.gateway.errors import Refusal
from embedded.gateway.flight_sql.messages import make
from embedded.gateway.paths import Context
from embedded.gateway.sessions import FlightSession

_INVALID_NAME, _INVALID_VALUE = 1, 2
_CATALOG = "DREMIO"

type Use = Callable[[str, Context], Context | None]
"""What a session has after a USE."""


def set_options(request: Any, session: FlightSession, use: Use) -> Message:
    """Set what can be set; the result names the others, with why: no such option, or no such value for it."""
    wrong = {}
    for option in request.session_options:
        error = _set(option.key, option.value, session, use)
        if error is not None:
            wrong[option.key] = error
    result: Message = make(
        "SetSessionOptionsResult",
        errors=[make("OptionErrorOf", key=key, value=make("OptionError", value=error)) for key, error in wrong.items()],
    )
    return result


def _set(name: str, value: Any, session: FlightSession, use: Use) -> int | None:
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
                used = use(f"USE {text}", replace(session.context, schema=()))
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
