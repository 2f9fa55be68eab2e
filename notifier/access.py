"""What is known of a channel: whether the other side lets us in, and which of its destinations fail."""

from __future__ import annotations

import logging
from collections.abc import Callable

from notifier.channel import Absent, Broken, Channel, Outcome, Retry, Sent, Unknown
from notifier.metrics import Metrics
from notifier.text import line

logger = logging.getLogger("notifier")

CHECK_AGAIN_S = 5.0
CHECK_EVERY_S = 300.0
"""How often one that lets us in is asked, give or take a fifth: nobody tells us that a token was revoked, or an app put
out of a conversation. Slack bears 50 of these calls a minute, and this is one a conversation."""


class Access:
    """Kept by one channel's sender, read by other threads."""

    def __init__(
        self, channel: Channel, metrics: Metrics, monotonic: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self.failing: dict[str, str] = {}
        """Why, for each destination whose newest attempt failed."""
        self._channel = channel
        self._metrics = metrics
        self._monotonic = monotonic
        self._chance = chance
        self._error: str | None = "not asked yet"
        self._refused: str | None = None
        self._check_at = 0.0

    @property
    def error(self) -> str | None:
        """What is wrong: with one of the destinations, else with the channel."""
        return next(iter(self.failing.values()), self._error)

    @property
    def trouble(self) -> str | None:
        """Why nobody is told by it, where that is known: a message failed, or the other side does not let us in."""
        return next(iter(self.failing.values()), self._refused)

    def pause_s(self) -> float | None:
        """Seconds until the other side is asked again; None while it lets us in."""
        return None if self._error is None else max(0.1, self._check_at - self._monotonic())

    def check(self, idle: bool = False) -> None:
        """Ask now and then whether the other side lets us in; where it does, seldom, and only while nothing is to be
        sent."""
        if (self._error is None and not idle) or self._monotonic() < self._check_at:
            return
        name = self._channel.name
        try:
            answer = self._channel.check()
        except Exception as error:
            # A check that breaks says nothing about sending, and must not keep from it.
            self._metrics.errors.inc()
            logger.exception("%s: the check failed", name)
            answer = f"{name} could not be checked: {line(str(error), 200)}."
        else:
            self._refused = answer
        if answer != self._error:
            logger.log(logging.WARNING if answer else logging.INFO, "%s: %s", name, answer or "ready")
        self._note(answer)

    def note_outcome(self, destination: str, outcome: Outcome | Absent, gave_up: bool = False) -> None:
        """A destination fails until it takes a message; one that does not exist is dead, not failing.

        Nor is one that was given up: nothing is sent there that could tell that it is mended, so the check has to.
        """
        # A new dict each time: other threads look at it.
        others = {name: error for name, error in self.failing.items() if name != destination}
        if isinstance(outcome, Retry | Unknown | Broken) and not gave_up:
            others = {destination: outcome.error, **others}
        self.failing = others
        if isinstance(outcome, Sent):
            self._refused = None
            if self._error is not None:
                # One that takes it says nothing of the others.
                soon = len(self._channel.destinations) > 1
                self._note(None, CHECK_AGAIN_S if soon else None)
        elif gave_up:
            self._note("a message was given up; asking anew")

    def _note(self, error: str | None, again_s: float | None = None) -> None:
        self._error = error
        if again_s is None:
            again_s = CHECK_AGAIN_S if error else CHECK_EVERY_S * (0.8 + 0.4 * self._chance())
        self._check_at = self._monotonic() + again_s
