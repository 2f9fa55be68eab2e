"""Tiles and the one chart of the small page, in Streamlit's own."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import streamlit as st

from console.feed.minutes import minutes_of
from console.feed.snapshot import FeedSnapshot
from console.look import tokens
from console.parts import Part
from console.small.status import plain

TILE_PX = 160
"""Six beside each other on a screen, two on a phone."""
TILE_HIGH_PX = 88
TREND_PX = 200


def metric(name: str, tile: Part | None, late: bool) -> None:
    """A tile: value, change, and a word where the figure is out of the ordinary."""
    if tile is None:
        st.metric(name, "…", help="This has not been answered yet.", width=TILE_PX, height=TILE_HIGH_PX)
        return
    unusual = tile["state"] in ("watch", "bad")
    st.metric(
        name,
        tile["text"],
        tile["change"] or None,
        delta_color="orange" if unusual and not late else "off",
        delta_description=tile["word"] if unusual else None,
        delta_arrow="off",
        width=TILE_PX,
        height=TILE_HIGH_PX,
        help=plain(tile["why"] or f"{tile['exact']}; the change is against the 5 minutes before"),
    )


def trend(snapshot: FeedSnapshot, currency: str, late: bool) -> None:
    """Revenue of each of the last sixty minutes. A minute that nobody knows has no bar."""
    hour = minutes_of(snapshot)
    if hour is None:
        return
    known = [(start, amount) for start, amount in zip(hour.starts, hour.revenue, strict=True) if amount is not None]
    table = pa.table(
        {
            "minute": pa.array([start for start, _ in known], pa.timestamp("ms", "UTC")),
            "end": pa.array([start + timedelta(seconds=55) for start, _ in known], pa.timestamp("ms", "UTC")),
            "revenue": pa.array([amount for _, amount in known], pa.float64()),
            "open": pa.array([start == hour.starts[-1] for start, _ in known], pa.bool_()),
        }
    )
    first, last = hour.starts[0], hour.starts[-1] + timedelta(minutes=1)
    st.vega_lite_chart(
        table,
        {
            "height": TREND_PX,
            "mark": {"type": "bar", "color": "gray" if late else tokens("dark")["blue"]},
            "encoding": {
                "x": {
                    "field": "minute",
                    "type": "temporal",
                    "title": None,
                    "scale": {"domain": [_vega(first), _vega(last)]},
                    "axis": {"format": "%H:%M", "grid": False},
                },
                "x2": {"field": "end"},
                "y": {"field": "revenue", "type": "quantitative", "title": currency, "scale": {"zero": True}},
                "y2": {"datum": 0},
                "opacity": {"condition": {"test": "datum.open", "value": 0.45}, "value": 1},
                "tooltip": [
                    {"field": "minute", "type": "temporal", "title": "minute", "format": "%H:%M"},
                    {"field": "revenue", "type": "quantitative", "title": f"revenue ({currency})", "format": ",.2f"},
                ],
            },
        },
        width="stretch",
        height=TREND_PX,
    )


def _vega(moment: datetime) -> dict[str, int | bool]:
    return {
        "year": moment.year,
        "month": moment.month,
        "date": moment.day,
        "hours": moment.hour,
        "minutes": moment.minute,
        "utc": True,
    }
