"""What time makes due: steps of escalation, reminders, acknowledgements that lapse."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from notifier.clock import Clock, span_ms
from notifier.model import AlertRow, Incident, Target, Thread
from notifier.planning.board import Board
from notifier.planning.plans import Book
from notifier.routing.decide import Decision, Router, Surroundings

POSTPONED_MS = 60_000
"""What is muted is looked at again so much later."""


class Duties:
    """Does what is due. Called by the thread that plans; what it does is one transaction an incident or thread.

    surroundings: what decisions of now look at.
    """

    def __init__(self, ledger: Book, router: Router, surroundings: Callable[[], Surroundings], clock: Clock) -> None:
        self._ledger = ledger
        self._router = router
        self._surroundings = surroundings
        self._clock = clock

    def tick(self) -> set[str]:
        """Do all that is due now and not muted; the channels that have something to send."""
        now_ms = self._clock()
        woken: set[str] = set()
        for incident in self._ledger.lapsed(now_ms):
            woken |= self._lapse(incident, now_ms)
        incidents, threads = self._ledger.due_incidents(now_ms), self._ledger.due_threads(now_ms)
        if not incidents and not threads:
            return woken
        around = self._surroundings()
        muted: list[str] = []
        for incident in incidents:
            newest = self._ledger.alert(incident.newest_alert)
            way = self._router.escalating(newest, around)
            if way.muted and way.policy.escalate:
                muted.append(incident.incident_id)
            else:
                woken |= self._escalate(incident, newest, way, now_ms)
        quiet: list[str] = []
        for thread, alerts in threads:
            alert = next((each for each in alerts if not self._is_muted(each, thread.target, around)), None)
            if alert is None:
                quiet.append(thread.thread_id)
            else:
                woken |= self._remind(alert, thread, now_ms)
        if muted or quiet:
            self._ledger.put_off(muted, quiet, now_ms + POSTPONED_MS)
        return woken

    def escalate_now(self, incident: Incident) -> set[str]:
        """The next step of its route, though it is not due; the channels that have something to send."""
        alert = self._ledger.alert(incident.newest_alert)
        way = self._router.escalating(alert, self._surroundings())
        return self._escalate(incident, alert, way, self._clock(), at_once=True)

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

    def _escalate(
        self, incident: Incident, alert: AlertRow, way: Decision, now_ms: int, at_once: bool = False
    ) -> set[str]:
        steps = way.policy.escalate
        base_ms = incident.level_ms or incident.told_ms or now_ms
        at_ms = [base_ms + span_ms(step.after) for step in steps]
        level = incident.level
        reached = level
        while not way.muted and reached < len(steps) and at_ms[reached] <= now_ms:
            reached += 1
        if at_once and reached == level and level < len(steps):
            reached = level + 1
        next_ms = at_ms[reached] if reached < len(steps) else None
        names = [name for step in steps[level:reached] for name in step.to]
        told = [
            Decision(target, (*way.route, f"step {reached}"), way.policy, way.group)
            for target in self._router.targets(names)
        ]

        def escalate(board: Board) -> None:
            held = board.incidents[incident.incident_id]
            if held.resolved_ms is not None or (held.ack is not None and not at_once):
                held.next_ms = None
                board.touch(held)
            elif reached > level:
                board.escalate(alert, held, reached, told, next_ms)
            else:
                held.next_ms = next_ms
                board.touch(held)

        return self._plan(incident, {way.group}, escalate, now_ms)

    def _remind(self, alert: AlertRow, thread: Thread, now_ms: int) -> set[str]:
        def remind(board: Board) -> None:
            held = board.threads.get(thread.thread_id)
            if held is not None and held.resolved_ms is None:
                board.remind(alert, held)

        drafts = self._ledger.plan((), (), remind, now_ms, incident_ids=[alert.incident_id])
        return {draft.target.channel for draft in drafts}

    def _is_muted(self, alert: AlertRow, target: Target, around: Surroundings) -> bool:
        """A place that only a step tells is as quiet as the others are."""
        decisions = self._router.decide(alert, around)
        here = [each for each in decisions if each.target == target]
        return all(each.muted for each in here or decisions)

    def _plan(
        self, incident: Incident, groups: Iterable[str], change: Callable[[Board], None], now_ms: int
    ) -> set[str]:
        drafts = self._ledger.plan((), groups, change, now_ms, incident_ids=[incident.incident_id])
        return {draft.target.channel for draft in drafts}
