"""Past alerts planned again, as by a notifier that began with an empty ledger; each message is sent when it is due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from notifier.clock import from_ms, to_ms
from notifier.last_look import LastLook
from notifier.ledger.rows import planned_delivery
from notifier.manner import Manner
from notifier.model import AlertRow, MessageKind, Target
from notifier.planning import plans
from notifier.planning.duties import Duties
from notifier.planning.order import is_old
from notifier.render import Style, notification
from notifier.replay.memory import MemoryLedger, WaitingDelivery
from notifier.routing.decide import Router, Silence, Surroundings

LOOK_MS = 1000
"""Alerts that were published within one such span of the clock are seen at once, as by a poll a second."""
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Rules:
    """What decides: routes and places, storms, silences that held all the time, and which alerts are news of the past.

    manners: of all places.
    """

    router: Router
    manners: dict[Target, Manner]
    storm_after: int
    max_age: timedelta
    silences: tuple[Silence, ...] = ()


@dataclass(frozen=True)
class SimulatedMessage:
    """What would have been sent. alerts: rows that it tells of. title: empty where no style was given."""

    at: datetime
    target: Target
    kind: MessageKind
    incident_id: str
    alerts: int
    route: str
    title: str = ""


class Simulation:
    """`run` it once; then `messages` are what was sent, in order, and `ledger` holds the incidents and what was muted.

    style: how titles are written; without one there are none.
    """

    def __init__(self, rules: Rules, style: Style | None = None) -> None:
        self.messages: list[SimulatedMessage] = []
        self._rules = rules
        self._style = style
        self._now_ms = 0
        self.ledger = MemoryLedger(rules.manners, rules.storm_after, rules.silences)
        self._duties = Duties(self.ledger, rules.router, self._surroundings, lambda: self._now_ms)
        self._last_look = LastLook(self.ledger, self.ledger, rules.router, self._surroundings, lambda: self._now_ms)
        routing = rules.router.routing
        ends = [*(work.until for work in routing.maintenance), *(silence.until for silence in rules.silences)]
        self._ends_ms = sorted(to_ms(end) for end in ends)
        self._held: tuple[bool, ...] | None = None

    def run(self, alerts: Sequence[AlertRow], until: datetime) -> None:
        """alerts: in order of their publish."""
        for at_ms, some in _looks(alerts):
            self._go_on(at_ms)
            self._now_ms = at_ms
            self._hear(some)
        self._go_on(to_ms(until))

    def _hear(self, alerts: Sequence[AlertRow]) -> None:
        router = self._rules.router
        around = self._surroundings(alerts)
        heard = plans.hearing(router, alerts, around)
        self.ledger.plan(alerts, heard.groups, heard.hear, self._now_ms)
        if not self.ledger.something_muted:
            self._held = None
        elif self._held is None:
            self._held = self._what_holds()
        if router.routing.inhibit and any(alert.status == "RESOLVED" for alert in alerts):
            self._unmute()

    def _surroundings(self, alerts: Sequence[AlertRow] = ()) -> Surroundings:
        now = from_ms(self._now_ms)
        return plans.surroundings(self.ledger, self._rules.router, now, self._old, alerts)

    def _old(self, alert: AlertRow) -> bool:
        return is_old(alert, self._rules.max_age, None)

    def _unmute(self) -> None:
        plans.unmute(self.ledger, self._rules.router, self._surroundings, self._now_ms)

    # ---- time

    def _go_on(self, until_ms: int) -> None:
        """Let time pass, and do what comes due."""
        while True:
            due = [each for each in (self.ledger.next_ms(), self._next_end_ms()) if each is not None]
            if not due or min(due) > until_ms:
                return
            self._now_ms = max(self._now_ms, min(due))
            while (waiting := self.ledger.next_due(self._now_ms)) is not None:
                self._send(waiting)
            self._duties.tick()
            if self._held is not None and (held := self._what_holds()) != self._held:
                self._held = held
                self._unmute()
                if not self.ledger.something_muted:
                    self._held = None

    def _next_end_ms(self) -> int | None:
        """When next something may end that mutes: times of the day do so at whole minutes."""
        if self._held is None:
            return None
        ends = [next((end for end in self._ends_ms if end > self._now_ms), None)]
        if self._rules.router.routing.times:
            ends.append((self._now_ms // MINUTE_MS + 1) * MINUTE_MS)
        return min((end for end in ends if end is not None), default=None)

    def _what_holds(self) -> tuple[bool, ...]:
        now = from_ms(self._now_ms)
        routing = self._rules.router.routing
        muting = [each.holds for each in routing.times]
        muting += [each.holds for each in routing.maintenance]
        muting += [each.holds for each in self._rules.silences]
        return tuple(holds(now) for holds in muting)

    def _send(self, waiting: WaitingDelivery) -> None:
        draft = waiting.draft
        hushed = self._last_look(planned_delivery(draft, waiting.planned_ms))
        if self._held is None and self.ledger.something_muted:
            self._held = self._what_holds()
        if hushed is not None:
            return
        title = ""
        if self._style is not None:
            delivery, alert, view = self.ledger.view(waiting)
            title = notification(delivery, alert, view, self._style, self._now_ms).title
        self.ledger.sent(waiting, self._now_ms)
        at = from_ms(self._now_ms)
        route = draft.route or ""
        self.messages.append(
            SimulatedMessage(at, draft.target, draft.kind, draft.incident_id, draft.alert_count, route, title)
        )


def _looks(alerts: Sequence[AlertRow]) -> Iterator[tuple[int, list[AlertRow]]]:
    """What one poll finds, and when."""
    for _, some in groupby(alerts, key=lambda alert: to_ms(alert.ingested_at) // LOOK_MS):
        found = list(some)
        yield to_ms(found[-1].ingested_at), found
