"""Why a message is no event."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import msgspec

MAX_LEAD = timedelta(minutes=5)
"""How far an event may lie after received_at: clocks of producers differ."""


class Reason(StrEnum):
    """Why a message is no event, in the order they are looked for: the first that holds is given."""

    EMPTY = "EMPTY"
    NOT_JSON = "NOT_JSON"
    MISSING_FIELD = "MISSING_FIELD"
    BAD_TYPE = "BAD_TYPE"
    NOT_FINITE = "NOT_FINITE"
    BAD_VALUE = "BAD_VALUE"
    FUTURE_TIME = "FUTURE_TIME"
    STALE_TIME = "STALE_TIME"


REASONS = {
    Reason.EMPTY: "no bytes, only blanks, the JSON text null, or a tombstone",
    Reason.NOT_JSON: "not one JSON object in UTF-8: trailing text, a BOM, an unpaired surrogate, another JSON value",
    Reason.MISSING_FIELD: "a required field is absent, null, or an empty id",
    Reason.BAD_TYPE: "a field of another JSON type; text that is no number; a count that is not whole",
    Reason.NOT_FINITE: "NaN or Infinity, bare or as text",
    Reason.BAD_VALUE: "none of the choices, a number out of range, an unreadable time",
    Reason.FUTURE_TIME: "the event's time is over 5 min after received_at",
    Reason.STALE_TIME: "the event's time is over max_event_age before received_at",
}


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A message, or an element of one, that is no event. `field` is empty where it is at fault as a whole.

    `kept`: what dead_letters keep in place of the message's bytes, where these alone would not say all.
    """

    reason: Reason
    detail: str
    field: str = ""
    kept: bytes | None = None
