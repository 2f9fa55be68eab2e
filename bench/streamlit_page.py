"""The shop's figures on a page of plain Streamlit, as its documentation builds one: what bench console has beside it.

Each answer is kept for as long as the page waits between two looks, so that viewers share it. bench/streamlit_serve.py
serves it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import streamlit as st

from bench.console_shop import DREMIO
from lakehouse.kinds import distinct_orders
from lakehouse.settings.shop import OrdersSettings

EVERY_S = 5


@st.cache_data(ttl=EVERY_S)
def answer(question: str, **binds: Any) -> pa.Table:
    """Its answer now; at most EVERY_S old."""
    return DREMIO.ask(question, **binds)


@st.cache_data(ttl=EVERY_S)
def newest() -> tuple[str, datetime]:
    """The newest commit, and the moment that it speaks of."""
    return DREMIO.head(), DREMIO.ask("as_of")["as_of"][0].as_py()


@st.fragment(run_every=EVERY_S)
def figures() -> None:
    """Tiles, two charts and two lists of the shop."""
    commit, as_of = newest()
    window = timedelta(minutes=5)
    ranges = {"since": as_of - window, "before": as_of - 2 * window, "as_of": as_of}
    counting = OrdersSettings.load().counting
    counted = {"counted_statuses": counting.statuses, "distinct": distinct_orders(counting)}
    tiles = answer("tiles", **ranges, **counted).to_pylist()[0]
    minutes = answer("minutes", since=as_of - timedelta(hours=1), as_of=as_of).to_pandas()
    st.caption(f"commit {commit}")
    left, right = st.columns(2)
    left.metric("Revenue", str(tiles["revenue"]))
    right.metric("Orders", str(tiles["orders"]))
    for series in ("orders", "errors"):
        st.line_chart(minutes[minutes["series"] == series], x="moment", y="n")
    day = {"since": as_of - timedelta(days=1), "as_of": as_of, "most": 12}
    st.dataframe(answer("latest_orders", **day))
    st.dataframe(answer("latest_errors", **day, severities=("ERROR", "FATAL")))


figures()
