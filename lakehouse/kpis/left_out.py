"""What KPI tables lack, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def left_out_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the answer to `kpis_left_out` says, for people; nothing where all tables are what their queries give."""
    return "; ".join(_words(row) for row in sorted(rows, key=lambda row: str(row["kpi"])))


def _words(row: Mapping[str, Any]) -> str:
    if row["hours"]:
        hours = "1 hour" if row["hours"] == 1 else f"{row['hours']:,} hours"
        return (
            f"{row['kpi']} lacks rows of {hours}, the newest from {row['newest_hour']:%d %b %H:%M} UTC: {row['reason']}"
        )
    return f"{row['kpi']} is being filled in, back from {row['filled_to']:%d %b %H:%M} UTC"
