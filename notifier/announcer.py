"""What keeps people from being told is told to them too, by every other way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from notifier import own
from notifier.clock import Clock, from_ms, to_ms, wall_ms
from notifier.ledger.ledger import Ledger
from notifier.ledger.outbox import WHOLE, Why
from notifier.ledger.rows import Delivery
from notifier.model import AlertRow, AlertSource, DeadReason, MessageKind, Muted, Target
from notifier.planning.board import Worksheet
from notifier.redact import Redact
from notifier.routing.decide import Decision, Policy

logger = logging.getLogger("notifier")

_WAY = ("notifier",)
GIVEN_UP_MS = 3_600_000
"""Of a place that is not told of something others hear no more often."""
LOST_FOR_MS = 300_000
"""And no shorter."""


class Announcer:
    """Makes incidents of the notifier's own, and ends them, each in one transaction. Any thread may call it.

    targets: everybody who may be told of an alert. redact: what reasons go through, for others are told of them.
    """

    def __init__(
        self,
        ledger: Ledger,
        targets: Sequence[Target],
        wake: Callable[[str], None],
        zone: ZoneInfo,
        clock: Clock = wall_ms,
        redact: Redact = str,
    ) -> None:
        self._ledger = ledger
        self._targets = targets
        self._wake = wake
        self._zone = zone
        self._clock = clock
        self._redact = redact
        self._judges: bool | None = None
        self._lacking: dict[str, int] | None = None

    def judged(self, judges: bool, since: datetime, why: str) -> None:
        """Whether alerts can be judged now; told where that has changed."""
        if judges == self._judges:
            return
        with self._ledger.file.together():
            before = self._ledger.own_alert(own.DATA, "alerts")
            now = from_ms(self._clock())
            if judges and before is not None:
                self._tell(own.ends(before, "Resolved: alerts are judged again.", now), self._targets)
            elif not judges and before is None:
                at = f"{since.astimezone(self._zone):%H:%M}"
                text = f"No alerts can be judged since {at}. {self._redact(why)}"
                self._tell(own.fires(own.DATA, "alerts", text, now), self._targets)
            self._judges = judges

    def parked(self, channel: str, destination: str, why: str | None) -> None:
        """A place is parked, or (why None) mended: by all other channels, or other places of it."""
        here = [
            target
            for target in self._targets
            if target.channel == channel and destination in (WHOLE, target.destination)
        ]
        others = self._all_but(here)
        whose = _name(channel, destination)
        with self._ledger.file.together():
            before = self._ledger.own_alert(own.CHANNEL, whose)
            now = from_ms(self._clock())
            if why is None:
                if before is not None:
                    self._tell(own.ends(before, f"Resolved: {whose} takes messages again.", now), others)
                    self._tell_ended(before, here, now)
            elif before is None:
                text = f"Nobody is told on {whose}: {self._redact(why)}"
                self._tell(own.fires(own.CHANNEL, whose, text, now), others)

    def died(self, delivery: Delivery, reason: DeadReason, error: str) -> None:
        """A message is dead: told as a parked place is, until the place takes messages again; once in GIVEN_UP_MS.

        Not of an edit, whose thread goes on; nor of such news itself, or it would go round for ever.
        """
        whose = _name(delivery.channel, delivery.destination)
        with self._ledger.file.together():
            alert, now_ms = self._ledger.alert(delivery.alert_id), self._clock()
            is_news = alert.source is AlertSource.OWN and alert.rule == own.GIVEN_UP
            if is_news or delivery.kind is MessageKind.EDIT or whose in self._lacks():
                return
            if self._ledger.own_since(own.GIVEN_UP, whose, now_ms - GIVEN_UP_MS):
                return
            what = f"{alert.rule} in {alert.service_name}" if alert.service_name else alert.rule
            how = {DeadReason.REFUSED: "it is refused", DeadReason.GAVE_UP: "it was tried for too long"}[reason]
            text = f"{whose} is not told of {what}, and will not be: {how}. {self._redact(error)}"
            self._tell(
                own.fires(own.GIVEN_UP, whose, text, from_ms(now_ms)),
                self._all_but([Target(delivery.channel, delivery.destination)]),
            )
            self._ledger.file.then(lambda: self._lacks().update({whose: now_ms}))

    def took(self, channel: str, destination: str) -> None:
        """A place has taken a message."""
        whose = _name(channel, destination)
        # Not the next moment: the others are to hear first of what is lost.
        if self._clock() - self._lacks().get(whose, self._clock()) >= LOST_FOR_MS:
            text = f"Resolved: {whose} takes messages again. What was given up stays so, until somebody tries it again."
            self._no_longer(own.GIVEN_UP, whose, text)

    def _lacks(self) -> dict[str, int]:
        """Since when each place lacks a message, while that is told."""
        if self._lacking is None:
            held = self._ledger.own_alerts(own.GIVEN_UP)
            self._lacking = {alert.service_name or "": to_ms(alert.starts_at) for alert in held}
        return self._lacking

    def _no_longer(self, rule: str, whose: str, text: str) -> None:
        with self._ledger.file.together():
            before = self._ledger.own_alert(rule, whose)
            if before is not None:
                self._tell(own.ends(before, text, from_ms(self._clock())), self._targets)
            if rule == own.GIVEN_UP:
                self._ledger.file.then(lambda: self._lacks().pop(whose, None))

    def _all_but(self, here: Sequence[Target]) -> list[Target]:
        """All other channels; where there is none, the other places."""
        channels = {target.channel for target in here}
        others = [target for target in self._targets if target.channel not in channels]
        return others or [target for target in self._targets if target not in here]

    def parked_are(self, known: Collection[Target]) -> None:
        """Places are these now: nobody waits for others to be mended, nor for any that is not left alone."""
        names = {name for target in known for name in (_name(*astuple(target)), target.channel)}
        with self._ledger.file.together():
            broken = {
                _name(place.channel, place.destination)
                for place in self._ledger.outbox.parked()
                if place.why is Why.BROKEN
            }
            for before in self._ledger.own_alerts(own.CHANNEL):
                whose = before.service_name or ""
                if whose not in broken:
                    text = f"Resolved: {whose} {'is tried again' if whose in names else 'was taken out'}."
                    self._no_longer(own.CHANNEL, whose, text)
            for whose in self._lacks().keys() - names:
                self._no_longer(own.GIVEN_UP, whose, f"Resolved: {whose} was taken out.")

    def question(self, rule: str, severity: str, since: datetime, why: str | None) -> None:
        """A rule that asks cannot be judged, or (why None) it can again; told where that has changed."""
        with self._ledger.file.together():
            before = self._ledger.own_alert(own.QUESTION, rule)
            now = from_ms(self._clock())
            if why is None:
                if before is not None:
                    self._tell(own.ends(before, f"Resolved: the rule {rule} is judged again.", now), self._targets)
            elif before is None:
                at = f"{since.astimezone(self._zone):%H:%M}"
                text = f"The rule {rule} is not judged since {at}. {self._redact(why)}"
                self._tell(own.fires(own.QUESTION, rule, text, now, severity), self._targets)

    def no_questions_but(self, rules: Collection[str]) -> None:
        """Rules that ask are these now: nobody waits for others to be judged."""
        with self._ledger.file.together():
            for before in self._ledger.own_alerts(own.QUESTION):
                if before.service_name not in rules:
                    text = f"Resolved: the rule {before.service_name} was taken out."
                    self._tell(own.ends(before, text, from_ms(self._clock())), self._targets)

    def _tell_ended(self, before: AlertRow, here: Sequence[Target], now: datetime) -> None:
        """What began and ended while a place was parked, in one message there."""
        for target in here:
            ended = self._ledger.end_parked(target, self._clock())
            if ended:
                shown = ", ".join(f"{name} ({count})" for name, count in ended.most_common(10))
                count = ended.total()
                start, end = (f"{moment.astimezone(self._zone):%H:%M}" for moment in (before.starts_at, now))
                logger.info("%s %s: %d incidents muted %s while parked", *astuple(target), count, Muted.ENDED)
                incidents = f"{count} incident{'' if count == 1 else 's'} ended: {shown}."
                text = f"From {start} to {end} nothing could be told here. {incidents}"
                past = own.fires(own.MISSED, f"{target.channel} {target.destination}", text, now)
                self._tell(past, [target], over=True)

    def _tell(self, alert: AlertRow, targets: Sequence[Target], over: bool = False) -> None:
        """over: of what has ended, and will not be told of again."""
        group = f"incident_id={alert.incident_id}"

        def hear(board: Worksheet) -> None:
            if alert.status == "RESOLVED":
                board.resolve(alert)
            else:
                board.hear(alert, [Decision(target, _WAY, Policy(), group) for target in targets], old=False)
                if over:
                    board.close(alert)

        self._ledger.plan([alert], [group], hear, self._clock())
        for channel in {target.channel for target in self._targets}:
            self._ledger.file.then(partial(self._wake, channel))


def _name(channel: str, destination: str) -> str:
    """Of a place; of a channel where it is WHOLE."""
    return f"{channel} {destination}".strip()
