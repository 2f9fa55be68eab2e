"""One browser page: what it shows, what it was sent, and its charts. Reachable only from its Document."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import panel as pn
from bokeh.document import Document
from bokeh.events import ClientReconnected, ConnectionLost, DocumentReady
from bokeh.models import CustomJS
from panel.io import hold

from console import live, look
from console.feed.asker import Asker
from console.feed.hub import Hub
from console.feed.pins import Pins, cadence_s
from console.feed.snapshot import Snapshot, now_utc
from console.feed.tiles import Limits
from console.live.chart import last_hour, move
from console.metrics import TICK_BYTES, TICK_SECONDS
from console.page import PAGE
from console.pages import overview
from console.pages.alerts import AlertsTab
from console.pages.drill import DrillTab
from console.pages.errors import ErrorsTab
from console.pages.orders import OrdersTab
from console.pages.parts import Parts, iso_ms
from console.running import Running, running
from console.url import CUT, LONGEST_QUERY, View, parse, query_of
from console.wire import Wire
from lakehouse.texts import REASON_LETTERS, visible

logger = logging.getLogger(__name__)


class Session:
    """The view of one Document. The hub knows it weakly and wakes it; each tick sends what it lacks."""

    def __init__(self, doc: Document, parts: Running, query: str) -> None:
        self.doc = doc
        self.hub: Hub = parts.hub
        self.asker: Asker = parts.asker
        self.pins: Pins = parts.pins
        self.settings = parts.settings
        self.max_age = parts.alerts_max_age
        self.limits = Limits(self.settings.error_rate_watch, self.settings.error_rate_bad)
        self.view, self.notices = parse(query)
        # A page with a longer address never gets its websocket: the browser is sent to one that has room.
        self.shorter = None
        if len(query) > LONGEST_QUERY:
            self.shorter = "?" + "&".join(filter(None, (self.view.fitting().query(), f"{CUT}=1")))
        self._ready = False
        self._visible = True
        self._closed = False
        self._number = 0
        self._went: Parts = {"query": None, "times": 0}
        self._sent: dict[str, Any] = {}
        self._drawn: Snapshot | None = None
        self.wire = Wire(name="wire")
        self.hour = last_hour()
        colours = look.tokens("dark")
        self.charts = [chart(colours, self.hour) for chart in live.CHARTS]
        self.drills: dict[str, DrillTab] = {kind.tab: kind(self) for kind in (OrdersTab, ErrorsTab, AlertsTab)}
        self.tick = doc.locked_callback(self._tick, policy="latest")
        self.redraw = doc.locked_callback(self._redraw, policy="latest")

    @property
    def watches(self) -> str | None:
        """The tab that is looked at; None before the browser is there, and while its page is hidden."""
        return self.view.tab if self._visible and self.present else None

    @property
    def present(self) -> bool:
        """Whether a browser holds the page open. A session outlives it for a minute, in case it comes back."""
        session = getattr(self.doc.session_context, "session", None)
        return self._ready and not self._closed and (session is None or session.connection_count > 0)

    def wake(self) -> None:
        # A call before the browser came would wait for a session that is not there yet, and hold back all later ones.
        if self._ready and not self._closed:
            self.tick()

    def build(self) -> None:
        """Fill the Document: roots, template, theme, and the first message within the page itself."""
        doc = self.doc
        doc.theme = look.bokeh_theme(self.view.theme)
        self.wire.js_on_change("down", CustomJS(code="window.tillwatch.take(cb_obj.down)"))
        doc.js_on_event(ConnectionLost, CustomJS(code="window.tillwatch.lost()"))
        doc.js_on_event(ClientReconnected, CustomJS(code="window.tillwatch.found()"))
        self.wire.on_change("up", lambda _attr, _old, new: self._told(new))
        for chart in self.charts:
            doc.add_root(chart.root)
        # A model that draws nothing is no root of its own.
        self.charts[0].root.tags = [self.wire]
        for drill in self.drills.values():
            for place, column in drill.places.items():
                # Not get_root: only what Panel served does it let go with the session. What it would add of its own
                # has no place in our page.
                with pn.config.set(browser_info=False, notifications=False):
                    column.server_doc(doc, location=False)
                doc.roots[-1].update(name=place)
        doc.title = "tillwatch"
        doc.template = PAGE
        doc.config.update(reconnect_session=True, notify_connection_status=False)
        self._draw_charts()
        doc.template_variables.update(
            shorter=self.shorter,
            theme=self.view.theme,
            signed_in=bool(pn.config.basic_auth),
            first=json.dumps(self._message(full=True)).replace("<", "\\u003c"),
        )
        doc.on_event(DocumentReady, lambda _event: self._arrived())
        doc.on_session_destroyed(lambda _context: self._gone())

    def _arrived(self) -> None:
        # Before this, a change would be lost: the browser has no document yet.
        self._ready = True
        self.hub.join(self)
        self.wake()

    def _gone(self) -> None:
        self._closed = True
        self.hub.leave(self)
        self.drills.clear()

    def _told(self, text: str) -> None:
        """A viewer's choice: {"view": query string}, {"visible": bool} or {"full": true}."""
        try:
            said = json.loads(text)
        except ValueError:
            return
        if "visible" in said:
            self._visible = bool(said["visible"])
        if said.get("full"):
            self._sent.clear()
        if isinstance(said.get("view"), str):
            self.show(said["view"])
        self.hub.on_demand()
        self.wake()

    def show(self, query: str) -> None:
        """Go to another view, as the URL says it."""
        before = self.view
        self.view, self.notices = parse(query)
        if self.view.theme != before.theme:
            self.doc.theme = look.bokeh_theme(self.view.theme)
        for tab, drill in self.drills.items():
            if self.view.theme != before.theme or (tab == before.tab != self.view.tab):
                drill.drop()

    def choose(self, **changes: Any) -> None:
        """Change the view by a choice made on a chart; the browser's URL follows."""
        self.view = replace(self.view, **changes)
        self._went = {"query": self.view.query(), "times": self._went["times"] + 1}
        self.wake()

    async def _tick(self) -> None:
        """Send what is new: one message, no waiting, no I/O."""
        if self._closed or not self._ready:
            return
        started = time.perf_counter()
        text = json.dumps(self._message(), separators=(",", ":"))
        TICK_BYTES.inc(len(text))
        # Held, all changes of a tick go out as one message; tiles first, for they are what people wait for.
        with hold(self.doc):
            self.wire.update(down=text)
            if self.view.tab == "overview" and self.hub.snapshot is not self._drawn:
                self._draw_charts()
        TICK_SECONDS.observe(time.perf_counter() - started)

    def _draw_charts(self) -> None:
        self._drawn = self.hub.snapshot
        minutes = overview.charts(self._drawn)
        if minutes is None:
            return
        move(self.hour, minutes)
        for chart in self.charts:
            try:
                chart.update(minutes)
            except Exception:
                # One broken chart must not keep the others from their news.
                logger.exception("%s could not be drawn", chart.name)

    def _redraw(self) -> None:
        drill = self.drills.get(self.view.tab)
        if drill is not None and not self._closed:
            drill.draw()

    def _message(self, *, full: bool = False) -> dict[str, Any]:
        """The parts that differ from what was sent, under a number by which the browser sees a gap."""
        snapshot = self.hub.snapshot
        parts: dict[str, Any] = {}
        commit, as_of = snapshot.commit, snapshot.as_of
        failed, every_s = dict(snapshot.failed), None
        drill = self.drills.get(self.view.tab)
        if self.view.tab == "overview":
            parts.update(overview.overview_parts(snapshot, self.settings.currency, self.limits, self.max_age))
        elif drill is not None:
            parts.update(drill.parts(self.view, snapshot))
            # A tab that has no answer yet shows no commit.
            commit, as_of = (drill.pin.commit, drill.pin.as_of) if drill.pin else (None, None)
            every_s = cadence_s(self.view, self.settings.drill_refresh_s)
            if drill.error:
                failed[drill.tab] = drill.error
        open_incidents = sum(1 for incident in overview.incidents(snapshot, self.max_age) if incident.state == "open")
        parts["head"] = {
            "commit": commit,
            "as_of": iso_ms(as_of),
            "fed_as_of": iso_ms(snapshot.as_of),
            "viewers": max(1, self.hub.viewers),
            "error": snapshot.error and visible(snapshot.error, REASON_LETTERS),
            "clock": snapshot.clock_ahead,
            "every_s": every_s,
            "failed": {name: visible(why, REASON_LETTERS) for name, why in failed.items()},
            "open": open_incidents,
            "polled": snapshot.polled_at is not None,
        }
        parts["view"] = {"query": self.view.query(), "notices": self.notices, **_controls(self.view)}
        parts["go"] = self._went
        news = {place: part for place, part in parts.items() if full or self._sent.get(place) != part}
        told = {place: self._thin(place, part, full) for place, part in news.items()}
        self._sent.update(news)
        self._number += 1
        return {"n": self._number, "now": iso_ms(now_utc()), "parts": told}

    def _thin(self, place: str, part: Parts, full: bool) -> Parts:
        """A list names rows that the browser has by their key alone."""
        before = self._sent.get(place)
        if full or before is None or not place.startswith("list."):
            return part
        held = {row["key"]: row for row in before["rows"]}
        return {**part, "rows": [row["key"] if held.get(row["key"]) == row else row for row in part["rows"]]}


def _controls(view: View) -> Parts:
    return {
        "tab": view.tab,
        "range": view.range,
        "span": [iso_ms(moment) for moment in view.span] if view.span else None,
        "theme": view.theme,
        "zone": view.zone,
        "without_effect": view.without_effect(),
        "status": list(view.statuses),
        "product": list(view.products),
        "severity": list(view.severities),
        "service": list(view.services),
        "brush": [iso_ms(moment) for moment in view.brush] if view.brush else None,
        "incident": view.incident,
    }


def open_session(doc: Document) -> Session:
    """Fill `doc` with a session of its own; the document holds it, nothing else does."""
    # Typed without it, for a session need not come from a request; ours do.
    request = getattr(doc.session_context, "request", None)
    arguments: Mapping[str, list[bytes]] = request.arguments if request else {}
    session = Session(doc, running(), query_of(arguments))
    session.build()
    return session
