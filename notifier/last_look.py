"""What waited is looked at once more when it is about to be sent: who was silenced meanwhile is not woken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from notifier.clock import Clock
from notifier.ledger.rows import Delivery
from notifier.model import BY_HAND, AlertRow, AlertSource, Held, MessageKind, Target, Thread, ThreadKind
from notifier.planning import leaving
from notifier.planning.board import Worksheet
from notifier.planning.plans import Book
from notifier.routing.decide import MuteReason, Router, Surroundings

logger = logging.getLogger("notifier")

LATER_MS = 1_000
"""What goes so soon was judged just now, when it was planned."""
_JUDGED = (
    MessageKind.FIRST,
    MessageKind.JOINED,
    MessageKind.MORE,
    MessageKind.ESCALATED,
    MessageKind.REMINDER,
)
"""What wakes somebody. Edits say what is, silences too; an end is told to those that were told of it."""


class WaitingMessages(Protocol):
    """What a ledger tells of messages that wait, and how they end. together: one transaction of all that is done."""

    def together(self) -> AbstractContextManager[None]: ...

    def in_thread(self, thread_id: str) -> tuple[Thread, list[Held]]: ...

    def told_ms(self, thread_id: str) -> int | None:
        """When a message of it was last taken, edits left out."""
        ...

    def hush(self, delivery: Delivery, reason: MuteReason, now_ms: int, *, all_of_it: bool) -> bool:
        """It is listed as muted and not sent; all_of_it: whatever else waits in its thread says nothing by itself.
        False where it waits no more."""
        ...

    def pass_on(self, delivery: Delivery, gone: Mapping[str, int], heir: AlertRow | None, now_ms: int) -> None:
        """Incidents, with how many alerts each has, have left the delivery's thread: what waits there tells of others,
        of `heir` first."""
        ...


class LastLook:
    """Called with a delivery that is about to be sent: why it is not, or None. Raises LedgerError.

    As Alertmanager does it, what mutes is looked at when it is due, not only when it was planned: messages wait for
    their route, for what goes before them, for a pause that the other side asks for, and for a place to be mended.
    surroundings: what decisions of now look at.
    """

    def __init__(
        self,
        book: Book,
        waiting: WaitingMessages,
        router: Router,
        surroundings: Callable[[], Surroundings],
        clock: Clock,
    ) -> None:
        self._book = book
        self._waiting = waiting
        self._router = router
        self._surroundings = surroundings
        self._clock = clock

    def __call__(self, delivery: Delivery) -> MuteReason | None:
        """1. Which incidents of its thread something mutes now that comes to an end.
        2. Those of them that it would be the first to tell of leave the thread. They are listed, and told when nothing
           mutes them any more, as if they had been muted from the first.
        3. Where it has nothing else to tell, it is muted. A step or a reminder is due again then.
        """
        now_ms = self._clock()
        if (
            delivery.kind not in _JUDGED
            or delivery.thread_id is None
            or delivery.detail == BY_HAND
            # It may have been taken.
            or delivery.possible_repeat
            or now_ms - delivery.planned_ms < LATER_MS
        ):
            return None
        around = self._surroundings()
        # As nearly always; a thread may have thousands of incidents.
        if not self._router.may_pass(around):
            return None
        if not self._muted(delivery, self._waiting.in_thread(delivery.thread_id)[1], around):
            return None
        with self._waiting.together():
            # Once more, for others may join and leave until we hold the file.
            thread, held = self._waiting.in_thread(delivery.thread_id)
            muted = self._muted(delivery, held, around)
            return self._leave(delivery, thread, held, muted, now_ms) if muted else None

    def _muted(self, delivery: Delivery, held: Sequence[Held], around: Surroundings) -> dict[str, MuteReason]:
        """What mutes each incident of a thread now."""
        target = Target(delivery.channel, delivery.destination)
        step = step_of(delivery) is not None
        found = {
            each.key: self._router.hushed(each.alert, target, around, step=step)
            for each in held
            if each.alert.source is not AlertSource.OWN
        }
        return {key: reason for key, reason in found.items() if reason is not None}

    def _leave(
        self, delivery: Delivery, thread: Thread, held: Sequence[Held], muted: Mapping[str, MuteReason], now_ms: int
    ) -> MuteReason | None:
        gone = [each for each in self._untold(delivery, thread, held) if each.key in muted]
        rest = [each for each in held if each not in gone]
        quiet = self._is_quiet(delivery, held, muted, {each.key for each in gone}, rest)
        if not gone and not quiet:
            return None
        first = delivery.kind is MessageKind.FIRST
        own = next((each for each in held if each.key == delivery.incident_id and each.key in muted), None)
        named = own or next(each for each in held if each.key in muted)
        reason = muted[named.key]
        if quiet and not self._waiting.hush(delivery, reason, now_ms, all_of_it=first):
            return None
        ended = next((each.alert for each in rest if each.over), None)
        number = step_of(delivery)

        def leave(board: Worksheet) -> None:
            for each in gone:
                listed = delivery.delivery_key if quiet and each is own else None
                leaving.hush(board, each.alert, board.incidents[each.key], thread.target, muted[each.key], listed)
            leaving.left(board, thread.thread_id, None if quiet and first else ended)
            if quiet and delivery.kind is MessageKind.REMINDER:
                leaving.remind_later(board, thread.thread_id)
            if number is not None:
                for each in held if quiet else gone:
                    if each.key in muted:
                        leaving.step_back(board, board.incidents[each.key], number)

        self._book.plan((), (), leave, now_ms, incident_ids=[each.key for each in held])
        if gone and not (quiet and first):
            heir = next((each.alert for each in rest if not each.over), ended)
            self._waiting.pass_on(delivery, {each.key: each.incident.alerts for each in gone}, heir, now_ms)
        if not quiet:
            text = "%.12s to %s: goes without %d incidents, muted %s"
            logger.info(text, delivery.delivery_key, delivery.channel, len(gone), reason)
        return reason if quiet else None

    def _untold(self, delivery: Delivery, thread: Thread, held: Sequence[Held]) -> list[Held]:
        """The incidents that the message would be the first to tell of."""
        match delivery.kind:
            case MessageKind.FIRST:
                return list(held)
            case MessageKind.MORE if thread.kind is ThreadKind.STORM:
                told_ms = self._waiting.told_ms(thread.thread_id)
                return [each for each in held if told_ms is None or each.since_ms > told_ms]
            case MessageKind.JOINED:
                return [each for each in held if each.key == delivery.incident_id]
            case MessageKind.ESCALATED if delivery.route:
                # A step that tells a place of it which was not told before.
                return [each for each in held if each.key == delivery.incident_id]
        return []

    def _is_quiet(
        self,
        delivery: Delivery,
        held: Sequence[Held],
        muted: Mapping[str, MuteReason],
        gone: set[str],
        rest: Sequence[Held],
    ) -> bool:
        """Whether it has nothing to tell that nothing mutes."""
        if delivery.kind is MessageKind.FIRST:
            return not rest
        if delivery.kind is MessageKind.JOINED or (delivery.kind is MessageKind.ESCALATED and delivery.route):
            return delivery.incident_id in gone
        still = [each for each in held if not each.over]
        if delivery.kind is not MessageKind.MORE:
            # Of what somebody has nobody is reminded.
            still = [each for each in still if each.incident.ack is None]
        return bool(still) and all(each.key in muted for each in still)


def step_of(delivery: Delivery) -> int | None:
    """The step of escalation that a message is sent by."""
    word, _, number = (delivery.detail or "").partition(" ")
    return int(number) if word == "step" and number.isdigit() else None
