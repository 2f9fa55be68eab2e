"""Times of one zone as those of another."""

from __future__ import annotations

import re

from embedded.gateway.errors import validation
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import quoted
from embedded.gateway.sql.rows import TypedCall

_OFFSETS = {
    "UTC": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
}  # fmt: skip


def _zone(call: TypedCall, index: int) -> int | str:
    """A zone as minutes before UTC, or as its name."""
    text = call.text(index) or ""
    if text in _OFFSETS:
        return _OFFSETS[text]
    if match := re.fullmatch(r"([+-])(\d\d):(\d\d)", text):
        minutes = int(match[2]) * 60 + int(match[3])
        if minutes <= 18 * 60:
            return minutes if match[1] == "+" else -minutes
    if re.fullmatch(r"(Africa|America|Asia|Atlantic|Australia|Europe|Indian|Pacific)/[A-Za-z_/-]+", text):
        return text
    raise validation(f"The gateway does not answer the time zone '{text}' yet")


def converted(call: TypedCall) -> str:
    """From the clock of one zone to UTC, and to the clock of another."""
    last = f"{{{len(call.types) - 1}}}"
    wall = f"CAST({last} AS TIMESTAMP)"
    source = _zone(call, 0) if len(call.types) == 3 else 0
    target = _zone(call, len(call.types) - 2)
    if isinstance(source, int):
        utc = f"({wall} - to_minutes({source}))"
    else:
        zone = quoted(source)
        instant = f"timezone({zone}, {wall})"
        # Where a clock is put forward or back, its time is none or two.
        sure = f"timezone({zone}, {instant}) = {wall} AND timezone({zone}, {instant} - to_hours(1)) <> {wall} " \
               f"AND timezone({zone}, {instant} + to_hours(1)) <> {wall}"  # fmt: skip
        unsure = not_yet("a time at which clocks are changed")
        utc = f"CASE WHEN {sure} THEN timezone('UTC', {instant}) WHEN {wall} IS NULL THEN NULL ELSE {unsure} END"
    if isinstance(target, int):
        return f"({utc} + to_minutes({target}))"
    return f"timezone({quoted(target)}, timezone('UTC', {utc}))"
