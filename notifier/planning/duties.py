"""What time makes due: steps of escalation, reminders, acknowledgements that lapse, silences that end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from notifier.clock import Clock, span_ms
from notifier.model import AlertRow, Incident, Target
from notifier.planning.board import Board
from notifier.planning.plans import Book
from notifier.reasons import Decided
from notifier.routing.decide import Decision, Router, Silence, Surroundings
from notifier.routing.matchers import all_match

POSTPONED_MS = 60_000
"""An incident that is muted everywhere is looked at again so much later."""


ENDED_MS = 24 * 3_600_000
"""A silence that ended so long before a start may have ended while nobody looked."""


class Duties:
    """Does what is due. Called by the thread that plans; what it does is one transaction an incident or thread.

    surroundings: what decisions of now look at.
    """

    def __init__(self, ledger: Book, router: Router, surroundings: Callable[[], Surroundings], clock: Clock) -> None:
        self._ledger = ledger
        self._router = router
        self._surroundings = surroundings
        self._clock = clock
        self.decided: list[Decided] = []
        """Whom the newest tick told of steps of escalation."""
        self._silences_ms: int | None = None
        """Until when ends of silences were looked at."""

    def tick(self) -> set[str]:
        """Do all that is due now; the channels that have something to send."""
        now_ms = self._clock()
        woken: set[str] = set()
        self.decided = []
        for incident in self._ledger.lapsed(now_ms):
            woken |= self._lapse(incident, now_ms)
        due = self._ledger.due_incidents(now_ms)
        if due:
            around = self._surroundings()
            for incident in due:
                woken |= self._escalate(incident, around, now_ms)
        for thread_id, alert in self._ledger.due_threads(now_ms):
            woken |= self._remind(thread_id, alert, now_ms)
        since_ms = now_ms - ENDED_MS if self._silences_ms is None else self._silences_ms
        for silence in self._ledger.ended_silences(since_ms, now_ms):
            woken |= self.show(silence)
        self._silences_ms = now_ms
        return woken

    def show(self, silence: Silence) -> set[str]:
        """It begins or ends, and the roots of what it mutes are to say so; the channels that edit."""
        muted = [each.incident_id for each in self._ledger.open_alerts() if all_match(silence.matchers, each)]
        if not muted:
            return set()

        def show(board: Board) -> None:
            for incident_id in muted:
                incident = board.incidents.get(incident_id)
                if incident is not None and incident.resolved_ms is None:
                    board.show(self._ledger.alert(incident.newest_alert), incident)

        drafts = self._ledger.plan((), (), show, self._clock(), incident_ids=muted)
        return {draft.target.channel for draft in drafts}

    def escalate_now(self, incident: Incident) -> set[str]:
        """The next step of its route, though it is not due; the channels that have something to send."""
        return self._escalate(incident, self._surroundings(), self._clock(), at_once=True)

    def tell_figure(self, incident: Incident) -> set[str]:
        """What is usual of it is known now, and its roots are to say it; the channels that edit."""
        alert = self._ledger.alert(incident.newest_alert)
        return self._plan(
            incident, (), lambda board: board.said(alert, board.incidents[incident.incident_id]), self._clock()
        )

    def _lapse(self, incident: Incident, now_ms: int) -> set[str]:
        alert = self._ledger.alert(incident.newest_alert)

        def let_go(board: Board) -> None:
            held = board.incidents[incident.incident_id]
            if held.ack is not None and held.ack.until_ms is not None and held.ack.until_ms <= now_ms:
                board.let_go(held, "notifier", "notifier", f"that of {held.ack.by} has lapsed")
                board.said(alert, held)

        return self._plan(incident, (), let_go, now_ms)

    def _escalate(self, incident: Incident, around: Surroundings, now_ms: int, at_once: bool = False) -> set[str]:
        alert = self._ledger.alert(incident.newest_alert)
        muted = all(each.muted for each in self._router.decide(alert, around))
        steps = self._router.stages(alert)
        base_ms = incident.level_ms or incident.told_ms or now_ms
        at_ms = [base_ms + span_ms(step.after) for step in steps]
        level = incident.level
        reached = level
        while not muted and reached < len(steps) and at_ms[reached] <= now_ms:
            reached += 1
        if at_once and reached == level and level < len(steps):
            reached = level + 1
        next_ms = at_ms[reached] if reached < len(steps) else None
        told: dict[Target, Decision] = {}
        for step in steps[level:reached]:
            told.update((each.target, each) for each in step.decisions)

        def escalate(board: Board) -> None:
            held = board.incidents[incident.incident_id]
            if held.resolved_ms is not None or (held.ack is not None and not at_once):
                held.next_ms = None
                board.touch(held)
            elif muted and not at_once:
                held.next_ms = now_ms + POSTPONED_MS
                board.touch(held)
            elif reached > level:
                board.escalate(alert, held, reached, told.values(), next_ms, by_hand=at_once)
                self.decided += [(incident.incident_id, each) for each in told.values()]
            else:
                held.next_ms = next_ms
                board.touch(held)

        return self._plan(incident, {each.group for each in told.values()}, escalate, now_ms)

    def _remind(self, thread_id: str, alert: AlertRow, now_ms: int) -> set[str]:
        drafts = self._ledger.plan(
            (),
            (),
            lambda board: board.remind(alert, board.incidents[alert.incident_id], board.threads[thread_id]),
            now_ms,
            incident_ids=[alert.incident_id],
        )
        return {draft.target.channel for draft in drafts}

    def _plan(
        self, incident: Incident, groups: Iterable[str], change: Callable[[Board], None], now_ms: int
    ) -> set[str]:
        drafts = self._ledger.plan((), groups, change, now_ms, incident_ids=[incident.incident_id])
        return {draft.target.channel for draft in drafts}
