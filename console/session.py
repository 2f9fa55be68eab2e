"""One browser page: what it shows, what it was sent, and its charts. Reachable only from its Document."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import panel as pn
import pyarrow as pa
from bokeh.document import Document
from bokeh.events import ClientReconnected, ConnectionLost, DocumentReady
from bokeh.models import CustomJS

from console import latest, look
from console.assets import lean, look_address
from console.bell import BELL
from console.boards.tab import BoardTab
from console.catalogue import current
from console.drill.tab import Pulse
from console.exports import offer
from console.feed.asker import Got, Want
from console.feed.compared import interest
from console.feed.minutes import starts_of
from console.feed.past import Then
from console.feed.pins import Pin, cadence_s, pin_of
from console.feed.snapshot import FeedSnapshot, now_utc
from console.feed.tiles import ErrorRateLimits
from console.gate import SignIn
from console.live_hour import empty_part, rows_behind
from console.live_page import LivePage
from console.message import PageMessages, before_all, boards_part, commit_part, head_part, text_of, view_part
from console.metrics import TICK_BYTES, TICK_SECONDS, tick_mean_s
from console.on_call.acts import Actor, ActOutcome
from console.on_call.asked import KnownIncidents, asked_of
from console.on_call.parts import banner_part, news_part
from console.on_call.watch import Duty
from console.page import PAGE, declared, in_script
from console.pages import overview
from console.parts import Part
from console.pause import Pause
from console.running import Running, running
from console.straight import Patch
from console.tab import Tab
from console.tabs import CHARTS, HOME
from console.url import CUT, LONGEST_QUERY, fitting, link, moment_text, parse, query, query_of
from console.view import View
from console.wire import Wire
from console.words import TITLE
from lakehouse.oncall import OnCallDetail
from lakehouse.texts import REASON_LETTERS, visible

logger = logging.getLogger(__name__)

NOTHING_YET = FeedSnapshot()
ANSWERS_KEPT = 8
IN_THE_PAST = Duty(error="This is how it was then; go back to now to act on it.")


class PageSession:
    """The view of one Document. The hub knows it weakly and wakes it; each tick sends what it lacks.

    To its drill-down tabs it is the TabPage, to boards their BoardPage.
    """

    def __init__(self, doc: Document, parts: Running, asked: str) -> None:
        self.doc = doc
        self.hub = parts.hub
        self.settings = parts.settings
        self.max_age = parts.alerts_max_age
        self.counting = parts.counting
        self.limits = ErrorRateLimits(self.settings.error_rate_watch, self.settings.error_rate_bad)
        self.view, self.notices = parse(asked, now_utc(), shop_zone=bool(self.settings.zone))
        # A page with a longer address never gets its websocket: the browser is sent to one that has room.
        self.shorter = None
        if len(asked) > LONGEST_QUERY:
            self.shorter = "?" + "&".join(filter(None, (query(fitting(self.view)), f"{CUT}=1")))
        self._asker = parts.asker
        self._pins = parts.pins
        self._watch = parts.watch
        self._acts = parts.acts
        self._histories = parts.histories
        self._gate = parts.gate
        self._asks = parts.asks
        self.figures = parts.figures
        self._statements = parts.statements
        self._past = parts.past
        self.boards = parts.boards.desk(self)
        self._tabs = current()
        self._cookie = pn.state.user
        self._done: dict[str, str | None] = {}
        self._ready = False
        self._visible = True
        self._closed = False
        self._went: Part = {"query": None, "times": 0}
        self._messages = PageMessages()
        self._drawn: tuple[object, ...] | None = None
        self._shown = NOTHING_YET
        self._of_tab: Mapping[str, Part] = {}
        # The moment that is shown, where that is not now.
        self._at = self.view.at
        self._key = secrets.token_urlsafe(16)
        offer(self._key, self)
        self.wire = Wire(name="wire")
        self.live = LivePage(self.figures)
        self.events = self.live.events
        # Set while the page stands still.
        self._pause: Pause | None = None
        self.drills = {kind.name: kind(self) for kind in self._tabs.drill_tabs()}
        self.tick = doc.locked_callback(self._first, policy="latest")
        self.redraw = doc.locked_callback(self._redraw, policy="latest")

    # ---- what the hub asks of it

    @property
    def watches(self) -> str | None:
        """What is looked at; None before the browser is there, and while its page is hidden."""
        return self._interest if self._visible and self.present else None

    @property
    def _interest(self) -> str:
        return interest(self.view.tab, self.view.compare, self.view.last) if self._tab.live else self.view.tab

    @property
    def _tab(self) -> type[Tab]:
        """The tab that is shown. One that is new since the page was made is loaded anew by the browser."""
        return self._tabs.tabs.get(self.view.tab, self._tabs.tabs[HOME])

    @property
    def present(self) -> bool:
        """Whether a browser holds the page open. A session outlives it for a minute, in case it comes back."""
        session = getattr(self.doc.session_context, "session", None)
        return self._ready and not self._closed and (session is None or session.connection_count > 0)

    def wake(self) -> None:
        # A call before the browser came would wait for a session that is not there yet, and hold back all later ones.
        if self._ready and not self._closed and not BELL.ring(self):
            self.tick()

    # ---- what a tab asks of it

    def pin(self, snapshot: FeedSnapshot) -> Pin | None:
        if self._pause is not None:
            return self._pause.pin
        if self._at is None:
            return self._pins.pin(snapshot, self._cadence_s)
        return pin_of(snapshot)

    def answer(self, wanted: Want) -> Got | None:
        return self._asker.get(wanted, self)

    def forget(self, wants: Iterable[Want]) -> None:
        self._asker.forget(wants, self)

    @property
    def duty(self) -> Duty:
        # What people do is of now; the past is looked at, and nobody acts in it.
        return self._watch.duty if self._at is None else IN_THE_PAST

    @property
    def asked(self) -> KnownIncidents:
        return asked_of(self._watch.duty, None if self._at is None else self._shown.as_of, self._asks)

    @property
    def actor(self) -> Actor:
        # Looked at anew each time: whoever is removed from people.yaml is out.
        return self._gate.actor(self._cookie) or Actor(None, may_act=False)

    def pulse(self) -> Pulse:
        snapshot = self.hub.snapshot
        asked_s = snapshot.asked_s if snapshot.commit else None
        return Pulse(snapshot.as_of, asked_s, self._statements.a_minute(), tick_mean_s(), max(1, self.hub.viewers))

    def history(self, incident_id: str) -> OnCallDetail | str | None:
        known = self._watch.duty.incidents.get(incident_id)
        return self._histories.get(incident_id, known.revision if known else 0, self, self._at)

    def exported(self, name: str) -> pa.Table | None:
        """The answer that a list or a chart of the tab is made from."""
        tab = self._tab
        if self._is_out:
            return None
        drill = self.drills.get(tab.name)
        if drill is not None:
            return drill.exported(name)
        if tab.live and name in CHARTS:
            return rows_behind(name, self._shown, self.view.last)
        return latest.exported(self._shown, self.view, name) if tab.live else None

    def select(self, view: View) -> None:
        # Another choice has other rows: the first of them.
        self.view = view = replace(view, page=1)
        self._pause = None
        self._went = {"query": query(view), "times": self._went["times"] + 1}
        self.wake()

    def link(self, view: View) -> str:
        return link(view)

    @property
    def _cadence_s(self) -> float:
        return cadence_s(self.view, self.settings.drill_refresh_s)

    @property
    def frozen(self) -> bool:
        return self._at is not None

    # ---- from the first to the last moment of a page

    def build(self) -> None:
        """Fill the Document: roots, template, theme, and the first message within the page itself."""
        doc = self.doc
        doc.theme = look.bokeh_theme(self.view.theme)
        self.wire.js_on_change("down", CustomJS(code="window.tillwatch.take(cb_obj.down)"))
        doc.js_on_event(ConnectionLost, CustomJS(code="window.tillwatch.lost()"))
        doc.js_on_event(ClientReconnected, CustomJS(code="window.tillwatch.found()"))
        self.wire.on_change("up", lambda _attr, _old, new: self._told(new))
        for chart in self.live.charts:
            doc.add_root(chart.root)
        # A model that draws nothing is no root of its own.
        self.live.charts[0].root.tags = [self.wire]
        for drill in self.drills.values():
            for place, column in drill.places.items():
                # Not get_root: only what Panel served does it let go with the session. What it would add of its own
                # has no place in our page.
                with pn.config.set(browser_info=False, notifications=False):
                    column.server_doc(doc, location=False)
                doc.roots[-1].update(name=place)
            for holder in drill.holders.values():
                doc.add_root(holder)
        doc.title = TITLE.format(title=self._tab.title)
        doc.template = PAGE
        doc.config.update(reconnect_session=True, notify_connection_status=False)
        first = in_script(self._message(full=True))
        self._draw_charts()
        doc.template_variables.update(
            **declared(),
            lean=lean,
            look=look_address(),
            shorter=self.shorter,
            theme=self.view.theme,
            signed_in=self._gate.way is not SignIn.NONE,
            first=first,
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
        self._asker.leave(self)
        self.boards.leave()
        self.drills.clear()

    def _told(self, text: str) -> None:
        """A viewer's choice: {"view": query string}, {"visible": bool}, {"paused": bool} or {"full": true}."""
        try:
            said = json.loads(text)
        except ValueError:
            return
        if "visible" in said:
            self._visible = bool(said["visible"])
        if said.get("full"):
            self._messages.forget()
        if isinstance(said.get("view"), str):
            self.show(said["view"])
        if "paused" in said:
            self._pause = (
                Pause(self._of_tab, self._shown_at, self.view) if said["paused"] and self._at is None else None
            )
        if "act" in said:
            # Who acts sees what comes of it.
            self._pause = None
            self._acts.ask(said["act"], self.actor, self._acted)
        self.hub.on_demand()
        self.wake()

    def _acted(self, done: ActOutcome) -> None:
        """What became of what somebody did here. Called from another thread."""
        if done.detail is not None:
            self._histories.put(done.detail)
        # Several may be done between two messages.
        answers = {**self._done, str(done.number): done.error and visible(done.error, REASON_LETTERS)}
        self._done = dict(list(answers.items())[-ANSWERS_KEPT:])
        self.wake()

    def show(self, asked: str) -> None:
        """Go to another view, as the URL says it."""
        before = self.view
        self.view, self.notices = parse(asked, now_utc(), shop_zone=bool(self.settings.zone))
        # What is chosen anew is shown, and goes on. A board's rows are of now.
        finds = not isinstance(self.drills.get(self.view.tab), BoardTab)
        if self._pause is not None and not self._pause.turn(self.view, finds=finds):
            self._pause = None
        if self.view.theme != before.theme:
            self.doc.theme = look.bokeh_theme(self.view.theme)
        if before.tab != self.view.tab and before.tab in self.drills:
            self.drills[before.tab].drop()

    async def _first(self) -> None:
        BELL.hang()
        await self.drawn()

    async def drawn(self) -> None:
        """Send what is new: one message, which waits for nothing but its own browser."""
        if self._closed or not self._ready:
            return
        started = time.perf_counter()
        text = text_of(self._message())
        TICK_BYTES.inc(len(text))
        # All changes of a tick are one message; tiles first, for they are what people wait for.
        patch = Patch()
        patch.sets(self.wire, "down", json.dumps(text))
        if self._tab.live and self._pause is None and self._drawable != self._drawn:
            with patch.seldom(self.doc):
                self._draw_charts(patch)
        board = self.drills.get(self.view.tab)
        if isinstance(board, BoardTab) and self._pause is None and not self._is_out:
            with patch.seldom(self.doc):
                if board.as_of is not None:
                    self._show_events(starts_of(board.as_of))
                board.draw_live(patch)
        TICK_SECONDS.observe(time.perf_counter() - started)
        session = getattr(self.doc.session_context, "session", None)
        if session is not None:
            await patch.send(session)

    @property
    def _is_out(self) -> bool:
        """Whether whoever sits here is none of the people any more: nothing of the shop is sent."""
        return self._gate.actor(self._cookie) is None

    @property
    def _drawable(self) -> tuple[object, ...]:
        """What the live charts are drawn from."""
        return self._shown, self.view.compare, self.view.last, self._watch.duty.marks, self.asked

    def _draw_charts(self, patch: Patch | None = None) -> None:
        if self._is_out:
            return
        self._drawn = self._drawable
        if starts := self.live.draw(self._shown, self.view.compare, self.view.last, patch):
            self._show_events(starts)

    def _show_events(self, starts: Sequence[datetime]) -> None:
        incidents = overview.all_incidents(self._shown, self.max_age, self.asked)
        self.live.show_events(starts, incidents, self._watch.duty)

    def _redraw(self) -> None:
        drill = self.drills.get(self.view.tab)
        if drill is not None and not self._closed and not self._is_out and not (self._pause and not self._pause.turned):
            # Bokeh looks through all models of the page once for all charts, not once for each.
            with self.doc.models.freeze():
                drill.draw()

    def _tab_parts(self, snapshot: FeedSnapshot) -> dict[str, Part]:
        """What the tab shows of a snapshot."""
        drill = self.drills.get(self.view.tab)
        if drill is not None:
            return dict(drill.parts(self.view, snapshot))
        if not self._tab.live:
            return {}
        found = latest.overview_parts(
            snapshot, self.settings.currency, self.limits, self.max_age, self.duty, self.asked, self.view.compare,
            latest.look_of(self.view),
        )  # fmt: skip
        return {**found, "empty": empty_part(snapshot, self.view.last)}

    @property
    def _shown_at(self) -> Pin | None:
        """The commit that the tab shows; None before it has an answer."""
        drill = self.drills.get(self.view.tab)
        return drill.pin if drill is not None else pin_of(self._shown)

    def _message(self, *, full: bool = False) -> dict[str, Any]:
        if self._is_out:
            return self._messages.next({"out": {"out": True}}, full=full)
        newest = self.hub.snapshot
        then = Then(newest) if self.view.at is None else self._past.at(self.view.at, self._interest, self)
        drill = self.drills.get(self.view.tab)
        heeds_range = self._tab.heeds_range and not isinstance(drill, BoardTab)
        notices = self.notices + (before_all(self.view, newest) if heeds_range else [])
        moment = self.view.at and moment_text(self.view.at)
        if then.error is not None:
            why = visible(then.error, REASON_LETTERS)
            notices.append(f"The moment {moment} cannot be shown: {why}. Shown is now.")
            then = Then(newest)
        duty, asks = self._watch.duty, self._asks
        if overview.known_since(self.view.incident, then.snapshot, newest, self.max_age, duty, asks):
            # A link is made within a second of an alert, and a moment is held up to a minute back.
            notices.append(f"Shown is now: at {moment} nothing was kept yet of this incident.")
            then = Then(newest)
        frozen = then.snapshot is not newest
        self._at = self.view.at if frozen else None
        if self._pause is None:
            self._shown = then.snapshot or NOTHING_YET
        if self._pause is None or self._pause.turned:
            self._of_tab = self._tab_parts(self._shown)
        parts: dict[str, Part] = {**self._of_tab}
        failed = {drill.name: drill.failed} if drill is not None and drill.failed else {}
        # What wakes people is of now, whatever moment is looked at.
        asked = asked_of(self._watch.duty, None, self._asks)
        incidents = overview.all_incidents(newest, self.max_age, asked)
        open_count, worst_beyond = overview.open_counts(newest, incidents)
        parts["head"] = head_part(newest, viewers=self.hub.viewers, open_incidents=open_count, failed=failed)
        if drill is not None:
            # A tab that has no answer yet shows no commit.
            every_s = self._cadence_s if drill.paced and self._pause is None else None
            parts["head"] |= commit_part(drill.pin, every_s)
        if self._pause is not None:
            moving = self._pins.pin(newest, self.settings.drill_refresh_s)
            parts["head"] |= commit_part(self._shown_at, None) | {"paused": self._pause.part(moving, self.answer)}
        if frozen:
            parts["head"] |= commit_part(pin_of(self._shown), None) | {"frozen": True}
        parts["banner"] = banner_part(incidents, self._watch.duty, worst_beyond)
        parts["news"] = news_part(incidents, self._watch.duty, ready="incidents" in newest.answers)
        parts["acted"] = {"answers": self._done}
        parts["view"] = view_part(self.view, notices, self._at)
        parts["go"] = self._went
        parts["export"] = {"key": self._key}
        if self._tabs.editions or current().editions:
            parts["boards"] = boards_part()
        return self._messages.next(parts, full=full)


def open_session(doc: Document) -> PageSession:
    """Fill `doc` with a session of its own; the document holds it, nothing else does."""
    # Typed without it, for a session need not come from a request; ours do.
    request = getattr(doc.session_context, "request", None)
    arguments: Mapping[str, list[bytes]] = request.arguments if request else {}
    session = PageSession(doc, running(), query_of(arguments))
    session.build()
    return session
