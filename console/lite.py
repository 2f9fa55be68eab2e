"""The same figures on one small page, in Streamlit: `python -m console.lite`.

Streamlit runs this file anew for every page that is opened, and `page` again every `lite.refresh_s`. What is asked, and
how figures are said, is the console's own code.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import streamlit as st
import typer
from streamlit.runtime.scriptrunner import get_script_run_ctx

from console.feed.snapshot import Snapshot, now_utc
from console.feed.tiles import THIN, Limits
from console.feed.visited import Visited
from console.look import FONT, tokens
from console.pages.overview import minutes, overview_parts
from console.pages.parts import Parts, iso_ms
from console.settings import ConsoleSettings, LiteSettings
from lakehouse.dremio.client import Dremio
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.texts import REASON_LETTERS, visible
from lakehouse.user_error import UserError, exit_on_user_error

logger = logging.getLogger(__name__)

TILES = {
    "revenue": "Revenue 5 min",
    "orders": "Orders 5 min",
    "average": "Average order",
    "users": "Active users",
    "conversion": "Conversion",
    "error_rate": "Error rate",
}
TILE_PX = 160
"""Six beside each other on a screen, two on a phone."""

STALE_S = 45
"""Ingest publishes at least every heartbeat, which is 15 s: three of them."""

EMPTY = {
    "latest_orders": "No order in the last day. They appear here when they are placed.",
    "latest_errors": "No error in the last day. They appear here when a service reports one.",
    "incidents": "Nothing fired in the last 24 hours. An incident opens when a service reports a FATAL error or a rule "
    "fires.",
}
NOTHING_NEW = "ingest is down or cannot read: it has published nothing for three heartbeats"
STYLE = Path(__file__).with_name("static") / "lite.css"
SCRIPT = Path(__file__).with_name("static") / "lite.js"
STATES = {"open": "open", "resolved": "resolved", "old": "too old to wake"}


def serve_arguments(port: int, address: str, origins: Sequence[str] = ()) -> list[str]:
    """The command line of `streamlit run`: nothing of it that develops, deploys or reports."""
    options: dict[str, object] = {
        "server.port": port,
        "server.address": address,
        "server.headless": "true",
        "server.showEmailPrompt": "false",
        # It would ask a server on the internet for this machine's address.
        "logger.hideWelcomeMessage": "true",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.showSidebarNavigation": "false",
        "runner.magicEnabled": "false",
        "theme.font": FONT,
        "theme.paddingTop": "1.5rem",
    }
    for theme in ("dark", "light"):
        look = tokens(theme)
        options |= {
            f"theme.{theme}.primaryColor": look["accent"],
            f"theme.{theme}.backgroundColor": look["page"],
            f"theme.{theme}.secondaryBackgroundColor": look["card"],
            f"theme.{theme}.textColor": look["text"],
            f"theme.{theme}.orangeTextColor": look["state-bad"],
            f"theme.{theme}.grayTextColor": look["text-quiet"],
        }
    arguments = ["run", __file__, *(f"--{name}={value}" for name, value in options.items())]
    return arguments + [f"--server.corsAllowedOrigins=http://{origin}" for origin in origins]


def serve() -> None:
    """Serve until a signal. Raises UserError for a wrong setting or a busy port."""
    settings = LiteSettings.load()
    for section in (AlertsSettings, ConsoleSettings, DremioSettings, OrdersSettings):
        section.load()
    port = Shared.load().port("lite")
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
    refresh_s, counted = LiteSettings.load().refresh_s, OrdersSettings.load().counted_statuses
    return Visited(Dremio(DremioSettings.load()), refresh_s=refresh_s, counted_statuses=counted)


def show() -> None:
    """The page, as Streamlit runs it for every viewer."""
    st.set_page_config("tillwatch", layout="wide")
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
    try:
        settings = ConsoleSettings.load()
        refresh = timedelta(seconds=LiteSettings.load().refresh_s)
        max_age = AlertsSettings.load().max_age
        feed()
        # Streamlit's server would renew the age only when it draws, and not at all once it is lost.
        st.html(f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)
    except UserError as error:
        st.error(str(error))
        return
    st.fragment(page, run_every=refresh)(settings, max_age, refresh.total_seconds())


def page(settings: ConsoleSettings, max_age: timedelta, refresh_s: float) -> None:
    """What changes. A failure to draw is one sentence; the next turn tries again."""
    try:
        snapshot = feed().snapshot()
        limits = Limits(settings.error_rate_watch, settings.error_rate_bad)
        parts = overview_parts(snapshot, settings.currency, limits, max_age)
        draw(snapshot, parts, settings.currency, viewers_zone(), refresh_s)
    except Exception as error:
        logger.exception("the page could not be drawn")
        st.error(f"This page could not be drawn ({type(error).__name__}); see its log. It tries again by itself.")


def draw(snapshot: Snapshot, parts: Mapping[str, Parts], currency: str, zone: tzinfo, refresh_s: float) -> None:
    age = snapshot.age_s(now_utc())
    words, health = freshness(snapshot, age)
    late = health == "stale"
    st.markdown("#### tillwatch")
    st.html(status_line(snapshot, age, words, zone, refresh_s))
    if health in ("stale", "late"):
        st.warning(sentence(words) + ("" if age is None else " What you see is the last good data."))
    if snapshot.as_of is None:
        if health == "waiting":
            st.info(sentence(words))
        return
    if snapshot.clock_ahead:
        st.warning(sentence(snapshot.clock_ahead))
    # Not columns: a phone would show them one under the other.
    with st.container(horizontal=True):
        for key, name in TILES.items():
            metric(name, parts.get(f"tile.{key}"), late)
    st.markdown("##### Revenue per minute")
    trend(snapshot, currency, late)
    st.caption("The last hour; the open minute is paler.")
    st.markdown("##### Alerts, 24 h")
    st.html(incidents(parts.get("list.incidents"), late, zone))
    left, right = st.columns(2)
    with left:
        st.markdown("##### Latest orders")
        st.html(orders(parts.get("list.latest_orders"), late, zone))
    with right:
        st.markdown("##### Latest errors")
        st.html(errors(parts.get("list.latest_errors"), late, zone))


def freshness(snapshot: Snapshot, age_s: float | None) -> tuple[str, Literal["ok", "waiting", "late", "stale"]]:
    """How the data is, in the console's words."""
    if snapshot.error:
        return visible(snapshot.error, REASON_LETTERS), "stale"
    if age_s is not None and age_s > STALE_S:
        return NOTHING_NEW, "stale"
    if snapshot.failed:
        names = ", ".join(name.replace("_", " ") for name in snapshot.failed)
        return f"{names} failed: {visible(next(iter(snapshot.failed.values())), REASON_LETTERS)}", "late"
    if age_s is None:
        unpublished = "nothing is published yet: look whether the producers and ingest (or the Spark driver) run"
        return unpublished if snapshot.polled_at else "waiting for the first data", "waiting"
    return "all feeds ok", "ok"


def status_line(snapshot: Snapshot, age_s: float | None, words: str, zone: tzinfo, refresh_s: float) -> str:
    """The line under the title. Its script (static/lite.js) keeps the age growing, and takes back that all is well."""
    said = [f'<span class="age">{"no data yet" if age_s is None else f"data {lasting(age_s)} old"}</span>']
    if snapshot.as_of is not None:
        said.append(f"as of {when(snapshot.as_of, zone, named=True)}")
    if snapshot.commit is not None:
        said.append(f'<span title="{escape(snapshot.commit)}">commit {escape(snapshot.commit[:8])}…</span>')
    ok = words if words == "all feeds ok" else ""
    told = {
        "commit": snapshot.commit or "",
        "as-of": iso_ms(snapshot.as_of) or "",
        "sent": iso_ms(now_utc()) or "",
        "refresh-s": f"{refresh_s:g}",
        "stale-s": str(STALE_S),
        "stale": NOTHING_NEW,
        "words": ok,
    }
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in told.items())
    return f'<p class="tw" id="status" {data}>{" · ".join(said)}<span class="health">{ok}</span></p>'


def metric(name: str, tile: Parts | None, late: bool) -> None:
    """A tile: value, change, and a word where the figure is out of the ordinary."""
    if tile is None:
        st.metric(name, "…", help="This has not been answered yet.", width=TILE_PX)
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
        help=plain(tile["why"] or f"{tile['exact']}; the change is against the 5 minutes before"),
    )


def trend(snapshot: Snapshot, currency: str, late: bool) -> None:
    """Revenue of each of the last sixty minutes. A minute that nobody knows has no bar."""
    hour = minutes(snapshot)
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
            "height": 200,
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


# ---- lists: text from outside is escaped, for a list is HTML


def orders(part: Parts | None, late: bool, zone: tzinfo) -> str:
    heads = ("Time", "Order", "Product", "#Pieces", "#Total", "Status")
    return _table(
        "latest_orders",
        part,
        late,
        heads,
        lambda row: (
            _time(row["at"], zone),
            escape(row["order"]),
            escape(row["product"]),
            str(row["quantity"]),
            escape(row["total"]),
            _dot("status", row["status"]),
        ),
    )


def errors(part: Parts | None, late: bool, zone: tzinfo) -> str:
    return _table(
        "latest_errors",
        part,
        late,
        ("Time", "Severity", "Service", "Message"),
        lambda row: (
            _time(row["at"], zone),
            _dot("severity", row["severity"]),
            escape(row["service"]),
            escape(row["message"]),
        ),
    )


def incidents(part: Parts | None, late: bool, zone: tzinfo) -> str:
    return _table(
        "incidents",
        part,
        late,
        ("State", "Severity", "Service", "What", "#Alerts", "First", "Newest"),
        lambda row: (
            STATES[row["state"]],
            _dot("severity", row["severity"] or "INFO"),
            escape(row["service"] or row["rule"]),
            escape(row["description"]),
            str(row["firings"]),
            _time(row["starts_at"], zone),
            _time(row["newest_at"], zone),
        ),
    )


def _table(
    name: str, part: Parts | None, late: bool, heads: Sequence[str], cells: Callable[[Mapping[str, Any]], Iterable[str]]
) -> str:
    """A list as a table; a head that begins with # stands over numbers. `cells` are HTML."""
    if part is None:
        return '<p class="tw">Not answered yet.</p>'
    if not part["rows"]:
        return f'<p class="tw" data-list="{name}">{escape(EMPTY[name])}</p>'
    numbers = [head.startswith("#") for head in heads]

    def line(tag: str, texts: Iterable[str]) -> str:
        return "".join(
            f"<{tag}{' class=num' if number else ''}>{text}</{tag}>"
            for number, text in zip(numbers, texts, strict=True)
        )

    head = line("th", (head.removeprefix("#") for head in heads))
    body = "".join(f'<tr data-key="{escape(row["key"])}">{line("td", cells(row))}</tr>' for row in part["rows"])
    more = f"<p>{part['more']} more in the console.</p>" if part.get("more") else ""
    kind = "tw late" if late or part["stale"] else "tw"
    table = f'<table data-list="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="{kind}"><div class="scroll">{table}</div>{more}</div>'


def _dot(kind: str, word: str) -> str:
    colour = tokens("dark").get(f"{kind}-{word.lower()}", "gray")
    fatal = " fatal" if word == "FATAL" else ""
    return f'<span class="dot{fatal}" style="--dot: {colour}">{escape(word)}</span>'


def _time(iso: str, zone: tzinfo) -> str:
    moment = datetime.fromisoformat(iso)
    return f'<time datetime="{iso}" title="{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}">{when(moment, zone)}</time>'


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


def sentence(words: str) -> str:
    return plain(f"{words[0].upper()}{words[1:].rstrip('.')}.")


def plain(text: str) -> str:
    """`text` with what Markdown would take for its own made harmless."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!$~|:@^" else letter for letter in text)


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
