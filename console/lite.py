"""The same figures on one small page, in Streamlit: `python -m console.lite`.

Streamlit runs this file anew for every page that is opened, and `page` again every `lite.refresh_s`. What is asked, and
how figures are said, is the console's own code.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Annotated

import streamlit as st
import typer
from streamlit.runtime.scriptrunner import get_script_run_ctx

from console.feed.snapshot import FeedSnapshot, now_utc
from console.feed.tiles import TILES, ErrorRateLimits
from console.feed.visited import Visited
from console.latest import overview_parts
from console.on_call.asked import KnownIncidents
from console.on_call.watch import NOT_ASKED
from console.pages.overview import INCIDENTS, LATEST_ERRORS, LATEST_ORDERS, Overview
from console.parts import Part
from console.settings import ConsoleSettings, LiteSettings, is_loopback
from console.small.figures import metric, trend
from console.small.server import serve_arguments
from console.small.status import freshness, sentence, status_line
from console.small.tables import table
from console.small.times import viewers_zone
from lakehouse.dremio.client import Dremio
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.texts import visible
from lakehouse.user_error import UserError, exit_on_user_error

logger = logging.getLogger(__name__)

STYLE = Path(__file__).with_name("static") / "lite.css"
STATUS_PX = 56
"""Two lines, as on a phone."""
SCRIPT = Path(__file__).with_name("static") / "lite.js"


def serve() -> None:
    """Serve until a signal. Raises UserError for a wrong setting or a busy port."""
    settings = LiteSettings.load()
    for section in (AlertsSettings, ConsoleSettings, DremioSettings, OrdersSettings):
        section.load()
    port = Shared.load().port("lite")
    if not (settings.auth or is_loopback(settings.address)):
        raise UserError(
            f"The small page would listen on {settings.address}, and nobody signs in to it: leave out lite.address, or "
            "write lite.auth: none where a proxy before it asks who it is."
        )
    claim_port(port, host=settings.address)
    print(f"lite: http://localhost:{port}/", flush=True)
    from streamlit import net_util
    from streamlit.web.cli import main

    # A websocket from a name that it does not know would let it ask the internet for this machine's address.
    net_util.get_external_ip = lambda: None
    # Streamlit asks the process's own arguments how it was started.
    sys.argv = ["streamlit", *serve_arguments(port, settings.address, settings.allowed_origins)]
    main(prog_name="streamlit")


@st.cache_resource(show_spinner=False)
def feed() -> Visited:
    """The one feed of this process. Raises UserError for a wrong setting."""
    refresh_s, counting = LiteSettings.load().refresh_s, OrdersSettings.load().counting
    return Visited(
        Dremio(DremioSettings.load()),
        tab=Overview.name,
        questions=Overview.ask,
        refresh_s=refresh_s,
        counting=counting,
    )


def show() -> None:
    """The page, as Streamlit runs it for every viewer."""
    st.set_page_config("tillwatch", layout="wide")
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    try:
        settings = ConsoleSettings.load()
        refresh = timedelta(seconds=LiteSettings.load().refresh_s)
        max_age = AlertsSettings.load().max_age
        feed()
    except UserError as error:
        st.error(str(error))
        return
    st.fragment(page, run_every=refresh)(settings, max_age, refresh.total_seconds())
    # Streamlit's server would renew the age only when it draws, and not at all once it is lost. Below all else: what
    # stands in for it until Streamlit can show it would push the page down, and let it up again.
    st.html(f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)


def page(settings: ConsoleSettings, max_age: timedelta, refresh_s: float) -> None:
    """What changes. A failure to draw is one sentence; the next turn tries again."""
    try:
        snapshot = feed().snapshot()
        limits = ErrorRateLimits(settings.error_rate_watch, settings.error_rate_bad)
        parts = overview_parts(snapshot, settings.currency, limits, max_age, NOT_ASKED, KnownIncidents(), "before")
        draw(snapshot, parts, settings.currency, viewers_zone(), refresh_s)
    except Exception as error:
        logger.exception("the page could not be drawn")
        st.error(f"This page could not be drawn ({type(error).__name__}); see its log. It tries again by itself.")


def draw(snapshot: FeedSnapshot, parts: Mapping[str, Part], currency: str, zone: tzinfo, refresh_s: float) -> None:
    age = snapshot.age_s(now_utc())
    words, health = freshness(snapshot, age)
    late = health == "stale"
    st.markdown("#### tillwatch")
    # Streamlit loads what draws an element once the first of its kind comes: what stands in for it until then takes the
    # room that it will take, here and below.
    with st.container(height=STATUS_PX, border=False):
        st.html(status_line(snapshot, age, words, zone, refresh_s))
    if health in ("stale", "late"):
        st.warning(sentence(words) + ("" if age is None else " What you see is the last good data."))
    if snapshot.as_of is None:
        if health == "waiting":
            st.info(sentence(words))
        return
    if snapshot.clock_ahead:
        st.warning(sentence(snapshot.clock_ahead))
    if snapshot.kpis_left_out:
        st.warning(sentence(visible(snapshot.kpis_left_out)))
    # Not columns: a phone would show them one under the other.
    with st.container(horizontal=True):
        for key, name in TILES.items():
            metric(name, parts.get(f"tile.{key}"), late)
    st.markdown("##### Revenue per minute")
    trend(snapshot, currency, late)
    st.caption("The last hour; the open minute is paler.")
    st.markdown("##### Alerts, 24 h")
    st.html(table(INCIDENTS, parts.get("list.incidents"), late, zone))
    left, right = st.columns(2)
    with left:
        st.markdown("##### Latest orders")
        st.html(table(LATEST_ORDERS, parts.get("list.latest_orders"), late, zone))
    with right:
        st.markdown("##### Latest errors")
        st.html(table(LATEST_ERRORS, parts.get("list.latest_errors"), late, zone))


cli = typer.Typer(add_completion=False)


@cli.command()
def run(
    port_offset: Annotated[int | None, typer.Option(help="Added to port 8501; as TILLWATCH_PORT_OFFSET.")] = None,
) -> None:
    """Show the figures on one small page, on port 8501."""
    with exit_on_user_error():
        if port_offset is not None:
            os.environ["TILLWATCH_PORT_OFFSET"] = str(port_offset)
        serve()


if __name__ == "__main__":
    if get_script_run_ctx(suppress_warning=True) is None:
        sys.exit(cli(prog_name="python -m console.lite"))
    show()
