"""Times as the small page says them, in the viewer's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from console.feed.numbers import THIN
from console.feed.snapshot import now_utc


def when(moment: datetime, zone: tzinfo, *, named: bool = False) -> str:
    """A time of day in the viewer's zone, with the day where it is not today's."""
    local = moment.astimezone(zone)
    old = abs(now_utc() - moment) > timedelta(hours=20)
    return f"{local:{'%Y-%m-%d ' if old else ''}%H:%M:%S}{f'{THIN}{local.tzname()}' if named else ''}"


def lasting(seconds: float) -> str:
    """A length of time as the console says it: 1.2 s, 45 s, 3 min, 5 h, 2 d."""
    for limit, scale, unit in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / scale:.{1 if limit == 10 else 0}f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def viewers_zone() -> tzinfo:
    """The browser's time zone; UTC where it does not say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (KeyError, ValueError, OSError):
        return UTC
