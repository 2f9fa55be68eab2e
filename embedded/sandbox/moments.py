"""Moments as HTML: in UTC, until the page's script writes them in the zone of whoever reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape


def moment(seconds: float, form: str, fallback: str = "") -> str:
    """A time element. form: Slack's tokens like {date_num} and {time}. fallback: HTML; where it is empty, UTC."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return fallback
    utc = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}" title="{utc}" data-form="{escape(form)}">{fallback or utc}</time>'


def clock(ms: int) -> str:
    """When something happened here: the time of day, with the date where it is not today's."""
    return moment(ms / 1000, "{clock}")
