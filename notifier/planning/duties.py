"""What time makes due: steps of escalation, reminders, acknowledgements that lapse, silences that end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from notifier.clock import Clock, span_ms
from notifier.model import AlertRow, Incident, Target, Thread
from notifier.planning.board import Worksheet
from notifier.planning.plans import Book
from notifier.reasons import Decided
from notifier.routing.decide import Router, Silence, Stage, Surroundings
from notifier.routing.matchers import all_match

POSTPONED_MS = 60_000
"""What is muted is looked at again so much later."""


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
        """Do all that is due now and not muted; the channels that have something to send."""
        now_ms = self._clock()
        woken: set[str] = set()
        self.decided = []
        for incident in self._ledger.lapsed(now_ms):
            woken |= self._lapse(incident, now_ms)
        due, threads = self._ledger.due_incidents(now_ms), self._ledger.due_threads(now_ms)
        if due or threads:
            woken |= self._tell(due, threads, self._surroundings(), now_ms)
        since_ms = now_ms - ENDED_MS if self._silences_ms is None else self._silences_ms
        for silence in self._ledger.ended_silences(since_ms, now_ms):
            woken |= self.show(silence)
        self._silences_ms = now_ms
        return woken

    def _tell(
        self,
        due: Iterable[Incident],
        threads: Iterable[tuple[Thread, Sequence[AlertRow]]],
        around: Surroundings,
        now_ms: int,
    ) -> set[str]:
        """Steps and reminders; what is muted is put off."""
        woken: set[str] = set()
        muted: list[str] = []
        for incident in due:
            newest = self._ledger.alert(incident.newest_alert)
            told = self._escalate(incident, newest, self._router.stages(newest, around), now_ms)
            if told is None:
                muted.append(incident.incident_id)
            else:
                woken |= told
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

    def show(self, silence: Silence) -> set[str]:
        """It begins or ends, and the roots of what it mutes are to say so; the channels that edit."""
        muted = [each.incident_id for each in self._ledger.open_alerts() if all_match(silence.matchers, each)]
        if not muted:
            return set()

        def show(board: Worksheet) -> None:
            for incident_id in muted:
                incident = board.incidents.get(incident_id)
                if incident is not None and incident.resolved_ms is None:
                    board.show(self._ledger.alert(incident.newest_alert), incident)

        drafts = self._ledger.plan((), (), show, self._clock(), incident_ids=muted)
        return {draft.target.channel for draft in drafts}

    def escalate_now(self, incident: Incident) -> set[str]:
        """The next step of its route, though it is not due; the channels that have something to send."""
        alert = self._ledger.alert(incident.newest_alert)
        stages = self._router.stages(alert, self._surroundings())
        return self._escalate(incident, alert, stages, self._clock(), at_once=True) or set()

    def tell_figure(self, incident: Incident) -> set[str]:
        """What is usual of it is known now, and its roots are to say it; the channels that edit."""
        alert = self._ledger.alert(incident.newest_alert)
        return self._plan(
            incident, (), lambda board: board.said(alert, board.incidents[incident.incident_id]), self._clock()
        )

    def _lapse(self, incident: Incident, now_ms: int) -> set[str]:
        alert = self._ledger.alert(incident.newest_alert)

        def let_go(board: Worksheet) -> None:
            held = board.incidents[incident.incident_id]
            if held.ack is not None and held.ack.until_ms is not None and held.ack.until_ms <= now_ms:
                board.let_go(held, "notifier", "notifier", f"that of {held.ack.by} has lapsed")
                board.said(alert, held)

        return self._plan(incident, (), let_go, now_ms)

    def _escalate(
        self, incident: Incident, alert: AlertRow, stages: Sequence[Stage], now_ms: int, at_once: bool = False
    ) -> set[str] | None:
        """The channels that have something to send; None where all that is due is muted. at_once: the next step, though
        it is not due or is muted."""
        base_ms = incident.level_ms or incident.told_ms or now_ms
        at_ms = [base_ms + span_ms(stage.after) for stage in stages]
        level = incident.level
        due = [place for place in range(level, len(stages)) if at_ms[place] <= now_ms]
        if at_once and not due and level < len(stages):
            due = [level]
        # One that is muted waits, unless a later one that is not has its turn.
        loud = [place for place in due if at_once or not _is_quiet(stages[place])]
        if due and not loud:
            return None
        reached = loud[-1] + 1 if loud else level
        next_ms = at_ms[reached] if reached < len(stages) else None
        decisions = [each for stage in stages[level:reached] for each in stage.decisions]
        told = {each.target: each for each in decisions if at_once or not each.muted}

        def escalate(board: Worksheet) -> None:
            held = board.incidents[incident.incident_id]
            if held.resolved_ms is not None or (held.ack is not None and not at_once):
                held.next_ms = None
                board.touch(held)
            elif reached > level:
                board.escalate(alert, held, reached, told.values(), next_ms, by_hand=at_once)
                self.decided += [(incident.incident_id, each) for each in told.values()]
            else:
                held.next_ms = next_ms
                board.touch(held)

        return self._plan(incident, {each.group for each in told.values()}, escalate, now_ms)

    def _remind(self, alert: AlertRow, thread: Thread, now_ms: int) -> set[str]:
        def remind(board: Worksheet) -> None:
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
        self, incident: Incident, groups: Iterable[str], change: Callable[[Worksheet], None], now_ms: int
    ) -> set[str]:
        drafts = self._ledger.plan((), groups, change, now_ms, incident_ids=[incident.incident_id])
        return {draft.target.channel for draft in drafts}


def _is_quiet(stage: Stage) -> bool:
    """Whether all that it would tell is muted."""
    return bool(stage.decisions) and all(each.muted for each in stage.decisions)
