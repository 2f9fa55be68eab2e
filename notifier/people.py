"""What people do with incidents. Each is one transaction of the ledger, with a line of history."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from notifier.clock import Clock, from_ms, span_ms, to_ms, wall_ms
from notifier.ledger.ledger import Ledger
from notifier.ledger.rows import Mark
from notifier.model import Ack, Action, Incident
from notifier.planning.board import Worksheet
from notifier.planning.duties import Duties
from notifier.routing.decide import Silence
from notifier.routing.matchers import Matcher
from notifier.text import line

logger = logging.getLogger("notifier")


@dataclass(frozen=True)
class Doer:
    """Who does it, and by what way."""

    name: str
    via: str


class NoIncident(Exception):
    """There is none of that id, or it is over; the message is a sentence."""


class Stale(Exception):
    """Somebody else has changed it since; the message says who has it."""


class People:
    """Any thread may call any method; each raises LedgerError, and those on an incident NoIncident and Stale.

    ack_for: how long an acknowledgement holds that says nothing else. wake: called with the channels that have
    something to send.
    """

    def __init__(
        self,
        ledger: Ledger,
        duties: Duties,
        ack_for: timedelta,
        wake: Callable[[str], None],
        clock: Clock = wall_ms,
    ) -> None:
        self._ledger = ledger
        self._duties = duties
        self._ack_for_ms = span_ms(ack_for)
        self._wake = wake
        self._clock = clock

    def take(
        self, incident_id: str, doer: Doer, until: datetime | None, note: str, revision: int | None = None
    ) -> None:
        """Acknowledge it: nobody else is called. One that has it already is told nothing new but until and note."""
        self._open(incident_id, revision)
        self._take([incident_id], doer, until, note, revision)

    def take_all(self, incident_ids: Sequence[str], doer: Doer) -> None:
        """Acknowledge those of them that are open, in one transaction."""
        self._take(incident_ids, doer, None, "", None)

    def _take(
        self, incident_ids: Sequence[str], doer: Doer, until: datetime | None, note: str, revision: int | None
    ) -> None:
        now_ms = self._clock()
        until_ms = now_ms + self._ack_for_ms if until is None else to_ms(until)

        def take(board: Worksheet, incident: Incident) -> bool:
            ack = Ack(doer.name, doer.via, now_ms, until_ms, note, incident.severity)
            board.take(self._ledger.alert(incident.newest_alert), incident, ack)
            return True

        for incident_id in self._change(incident_ids, take, revision):
            self.did(Action.ACKNOWLEDGED, incident_id, doer)

    def let_go(self, incident_id: str, doer: Doer, revision: int | None = None) -> None:
        """End the acknowledgement; without one nothing happens."""
        self._open(incident_id, revision)
        self._let_go([incident_id], doer, revision)

    def let_go_all(self, incident_ids: Sequence[str], doer: Doer) -> None:
        """The same of those of them that are open, in one transaction."""
        self._let_go(incident_ids, doer, None)

    def _let_go(self, incident_ids: Sequence[str], doer: Doer, revision: int | None) -> None:
        def let_go(board: Worksheet, incident: Incident) -> bool:
            if incident.ack is None:
                return False
            board.let_go(incident, doer.name, doer.via, "")
            board.said(self._ledger.alert(incident.newest_alert), incident)
            return True

        for incident_id in self._change(incident_ids, let_go, revision):
            self.did(Action.UNACKNOWLEDGED, incident_id, doer)

    def note(self, incident_id: str, doer: Doer, text: str) -> None:
        self._open(incident_id, None, also_over=True)
        self._ledger.people.note(incident_id, doer.name, doer.via, text, self._clock())
        self.did(Action.NOTED, incident_id, doer)

    def escalate(self, incident_id: str, doer: Doer, revision: int | None = None) -> None:
        """Go on to the next step of its route now."""
        with self._ledger.file.together():
            incident = self._open(incident_id, revision)
            self._ledger.people.note(incident_id, doer.name, doer.via, "escalated by hand", self._clock())
            for channel in self._duties.escalate_now(incident):
                self._ledger.file.then(partial(self._wake, channel))
        self.did(Action.ESCALATED, incident_id, doer)

    def silence(self, matchers: Sequence[Matcher], reason: str, until: datetime, doer: Doer) -> Silence:
        now = from_ms(self._clock())
        silence = Silence(uuid.uuid4().hex[:12], tuple(matchers), reason, doer.name, until, now, doer.via)
        with self._ledger.file.together():
            self._ledger.people.silence(silence)
            self._show(silence)
        self.did(Action.SILENCED, silence.silence_id, doer)
        return silence

    def end_silence(self, silence_id: str, doer: Doer) -> bool:
        now_ms = self._clock()
        with self._ledger.file.together():
            held = next((each for each in self._ledger.silences() if each.silence_id == silence_id), None)
            ended = self._ledger.people.end_silence(silence_id, doer.name, now_ms)
            if ended and held is not None:
                self._show(held)
        if ended:
            self.did(Action.SILENCE_ENDED, silence_id, doer)
        return ended

    def _show(self, silence: Silence) -> None:
        """Whoever acts looks at the roots for an answer."""
        for channel in self._duties.show(silence):
            self._ledger.file.then(partial(self._wake, channel))

    def mark(self, text: str, at: datetime | None, doer: Doer) -> Mark:
        mark = self._ledger.people.mark(text, doer.name, doer.via, self._clock() if at is None else to_ms(at))
        self.did(Action.MARKED, text, doer)
        return mark

    def did(self, action: Action, what: str, doer: Doer) -> None:
        """Count it, and say so in the log. what: whom or what it was done to."""

        def tell() -> None:
            self._ledger.metrics.acted(action, doer.via)
            logger.info("%s %s by %s via %s", line(what, 100), action, line(doer.name, 100), line(doer.via, 100))

        self._ledger.file.then(tell)

    def _open(self, incident_id: str, revision: int | None, also_over: bool = False) -> Incident:
        incident = self._ledger.incident(incident_id)
        if incident is None:
            raise NoIncident(f"There is no incident '{incident_id[:80]}'.")
        if not also_over and (incident.resolved_ms is not None or incident.old):
            raise NoIncident(f"The incident '{incident_id[:80]}' is over.")
        _refuse_stale(incident, revision)
        return incident

    def _change(
        self, incident_ids: Sequence[str], change: Callable[[Worksheet, Incident], bool], revision: int | None
    ) -> list[str]:
        """Change those that are open; which were changed. Raises NoIncident where none is open any more."""
        changed: list[str] = []

        def decide(board: Worksheet) -> None:
            still = [board.incidents[each] for each in incident_ids if each in board.incidents]
            still = [incident for incident in still if incident.resolved_ms is None]
            if not still:
                raise NoIncident(f"The incident '{incident_ids[0][:80]}' is over.")
            for incident in still:
                _refuse_stale(incident, revision)
                if change(board, incident):
                    changed.append(incident.incident_id)

        drafts = self._ledger.plan((), (), decide, self._clock(), incident_ids=incident_ids)
        for channel in {draft.target.channel for draft in drafts}:
            self._ledger.file.then(partial(self._wake, channel))
        return changed


def _refuse_stale(incident: Incident, revision: int | None) -> None:
    if revision is not None and incident.revision > revision:
        who = f"{incident.ack.by} has it" if incident.ack else "nobody has it"
        raise Stale(f"It has changed since: {who}. Look again, then decide.")
