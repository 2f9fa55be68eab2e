"""Buttons on messages: who pressed one, whether they may, and what it does to the thread's open incidents."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from lakehouse.roster import Role, Roster
from notifier.clock import Clock, from_ms, wall_ms
from notifier.ledger.ledger import Ledger
from notifier.ledger.people import StoredAnswer
from notifier.model import Incident, Target
from notifier.people import Doer, NoIncident, People
from notifier.routing.matchers import Matcher, one_of
from notifier.text import line

logger = logging.getLogger("notifier")

SILENCED_FOR = timedelta(hours=1)
MOST_SERVICES = 10


class Button(StrEnum):
    """What the buttons of a root do."""

    ACK = "ack"
    UNACK = "unack"
    SILENCE = "silence_1h"


@dataclass(frozen=True)
class Press:
    """A button was pressed. press_id: the same when it is told again. team, user: ids, for names are no identity.

    receipt: of the message it stands on; thread_id: what the button holds.
    """

    press_id: str
    channel: str
    destination: str
    receipt: str
    thread_id: str
    button: str
    team: str
    user: str


class Presses:
    """`do` may be called by any thread. Raises LedgerError."""

    def __init__(self, ledger: Ledger, people: People, roster: Roster, clock: Clock = wall_ms) -> None:
        self._ledger = ledger
        self._people = people
        self._roster = roster
        self._clock = clock

    def do(self, press: Press) -> str | None:
        """Do it, once however often it is told; a sentence for who pressed where it was refused."""
        digest = hashlib.sha256(repr(press).encode()).hexdigest()
        key = f"press {hashlib.sha256(press.press_id.encode()).hexdigest()}"

        def act() -> StoredAnswer:
            refusal = self._do(press)
            if refusal:
                logger.warning("%s %s by %s is refused: %s", press.channel, line(press.button, 40), press.user, refusal)
            return StoredAnswer(digest, 200, refusal or "")

        return self._ledger.once(key, act, self._clock()).answer or None

    def _do(self, press: Press) -> str | None:
        person = self._roster.in_slack(press.team, press.user)
        if person is None or person.role is not Role.OPERATOR:
            return f"Nothing was done: {press.team}/{press.user} is no operator in people.yaml."
        thread = self._ledger.thread_at(Target(press.channel, press.destination), press.receipt)
        if thread is None or thread.thread_id != press.thread_id:
            return "Nothing was done: this message is none of the ledger's."
        incidents = self._ledger.open_in(thread.thread_id)
        if not incidents:
            return "Nothing was done: all of it is over."
        doer = Doer(person.person, press.channel)
        acts: dict[str, Callable[[], object]] = {
            Button.ACK: lambda: self._people.take_all([each.incident_id for each in incidents], doer),
            Button.UNACK: lambda: self._people.let_go_all([each.incident_id for each in incidents], doer),
            Button.SILENCE: lambda: self._people.silence(
                _matchers(incidents),
                f"1 h, by a button of {press.channel}",
                from_ms(self._clock()) + SILENCED_FOR,
                doer,
            ),
        }
        if press.button not in acts:
            return f"Nothing was done: there is no button '{line(press.button, 40)}'."
        try:
            acts[press.button]()
        except NoIncident:
            return "Nothing was done: all of it is over."
        return None


def _matchers(incidents: Sequence[Incident]) -> list[Matcher]:
    """What the thread is about: its rules, at its services. Another rule, and another service, go on to wake."""
    rules = sorted({each.rule for each in incidents})
    services = sorted({each.service_name or "" for each in incidents})
    # A storm is of whatever services.
    return [one_of("rule", rules), *([one_of("service_name", services)] if len(services) <= MOST_SERVICES else [])]
