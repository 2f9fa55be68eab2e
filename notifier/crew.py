"""All that works by one configuration: who plans, who sends by each channel, what is due, who acts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from zoneinfo import ZoneInfo

from notifier.announcer import Announcer
from notifier.attempts import Waits
from notifier.channel import Listener
from notifier.channels import CHANNELS
from notifier.clock import Clock, wall_ms
from notifier.config import Config
from notifier.cursor import AlertReader
from notifier.figures import UsualFigures
from notifier.last_look import LastLook
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.ledger.waiting import WaitingBook
from notifier.metrics import Metrics
from notifier.model import AlertRow, MessageKind
from notifier.people import People
from notifier.planner import Planner
from notifier.planning.duties import Duties
from notifier.presses import Presses
from notifier.questions.desk import NOBODY_ASKED, QuestionDesk, QuestionReader
from notifier.reasons import reasons
from notifier.redact import Redact
from notifier.render import Style
from notifier.sender import Sender

logger = logging.getLogger("notifier")

UNMUTE_EVERY_S = 1.0


class Crew:
    """`start`, then `plan` by one thread, then `stop`; a reload makes another. progress: called as a look moves on.

    asker: who answers the questions of rules.
    """

    def __init__(
        self,
        config: Config,
        reader: AlertReader,
        ledger: Ledger,
        metrics: Metrics,
        progress: Callable[[], None] = lambda: None,
        redact: Redact = str,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
        asker: QuestionReader = NOBODY_ASKED,
    ) -> None:
        self.config = config
        self._ledger = ledger
        self._redact = redact
        self._clock = clock
        self._monotonic = monotonic
        settings = config.settings
        style = Style(settings.console_url, ZoneInfo(settings.timezone))
        waits = Waits(settings.give_up, settings.unreadable)
        ledger.manners, ledger.storm_after = config.manners, settings.storm_after
        self.announcer = Announcer(ledger, config.everybody, self.wake, style.zone, clock, redact)
        self._figures = UsualFigures(
            reader,
            config.rules,
            style.zone,
            settings.currency,
            clock=clock,
            monotonic=monotonic,
            late=self._figure_came,
        )
        router = self.router = config.router()
        self.senders = {
            channel.name: Sender(
                channel,
                ledger,
                metrics,
                style,
                waits,
                clock=clock,
                monotonic=monotonic,
                failing_others=partial(self._failing_but, channel.name),
                told=self.announcer.parked,
                died=self.announcer.died,
                took=self.announcer.took,
                with_figure=partial(self._figures.onto, brief=MessageKind.EDIT in channel.manner.wants),
                # Made below, of what is made after those who send.
                last_look=lambda delivery: self._last_look(delivery),
                places=[place.destination for place in config.manners if place.channel == channel.name],
            )
            for channel in config.channels
        }
        self.planner = Planner(
            reader,
            ledger,
            metrics,
            router,
            max_age=config.max_age,
            overlap=settings.overlap,
            sweep_every=settings.sweep_every,
            keep=settings.keep,
            wake=self.wake,
            progress=progress,
            expect=self._figures.expect,
            clock=clock,
            monotonic=monotonic,
        )
        waiting = WaitingBook(ledger.file, lambda: ledger.metrics)
        self._last_look = LastLook(ledger, waiting, router, self.planner.surroundings, clock)
        self._duties = Duties(ledger, router, self.planner.surroundings, clock)
        self.people = People(ledger, self._duties, settings.ack_for, self.wake, clock)
        self.questions = QuestionDesk(
            config.question_rules,
            asker,
            ledger,
            router,
            self.announcer,
            metrics,
            judge_within=settings.judge_within,
            wake=self.wake,
            redact=redact,
            clock=clock,
            monotonic=monotonic,
        )
        presses = Presses(ledger, self.people, config.roster, clock)
        self._listeners = list(_listeners(config, presses, metrics))
        self._unmute_at = float("-inf")
        self._threads: list[threading.Thread] = []

    @property
    def settle_ms(self) -> int:
        """How long the slowest channel waits before it looks for a message without an answer."""
        return int(max((sender.channel.settle_s for sender in self.senders.values()), default=0) * 1000)

    def start(self) -> None:
        """Begin to send."""
        with self._ledger.file.together():
            dropped = self._ledger.outbox.drop_places(self.config.manners, self._clock())
            self.announcer.parked_are(self.config.manners)
        if dropped:
            logger.warning("%d messages waited for places that are set up no more: listed, and not sent", dropped)
        if not self.senders:
            switches = " or ".join(f"notifier.{declared.switch}" for declared in CHANNELS.values())
            logger.warning("no channel is set up: alerts are listed and nobody is told; set %s", switches)
        for name, sender in self.senders.items():
            thread = threading.Thread(target=sender.run, name=f"send-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        for listener in self._listeners:
            listener.start()

    def stop(self, within_s: float) -> None:
        """Begin nothing new, and wait for the messages in hand."""
        deadline = time.monotonic() + within_s
        for listener in self._listeners:
            listener.close()
        for sender in self.senders.values():
            sender.stop()
        self.questions.stop()
        self._figures.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def plan(self, wait_s: float) -> None:
        """One look for new alerts, then, about once a second, for what is muted no more. Raises as they do.

        wait_s: how long a commit may be waited for.
        """
        self.planner.poll(wait_s)
        # After it, for what has ended by now is told to nobody any more. Seldomer where thousands are muted.
        now = self._monotonic()
        if now >= self._unmute_at:
            self.planner.unmute()
            took = self._monotonic() - now
            self._unmute_at = now + max(UNMUTE_EVERY_S, 20 * took)

    def do_due(self) -> None:
        """What time makes due: steps, reminders, acknowledgements that lapse."""
        for channel in self._duties.tick():
            self.wake(channel)
        for reason in reasons(self._duties.decided):
            logger.info("nobody has taken it: %s", reason)

    def wake(self, channel: str) -> None:
        if channel in self.senders:
            self.senders[channel].wake()

    def _figure_came(self, alert: AlertRow) -> None:
        """A root went before what is usual was known: it is edited."""
        try:
            incident = self._ledger.incident(alert.incident_id)
            if incident is not None and incident.resolved_ms is None:
                for channel in self._duties.tell_figure(incident):
                    self.wake(channel)
        except LedgerError:
            pass  # it has told its fault itself; the next edit says it

    def _failing_but(self, name: str) -> list[str]:
        """A sentence for each other channel that fails, for the messages of this one."""
        return [
            self._redact(f"Not told on {other}: {sender.access.trouble}")
            for other, sender in self.senders.items()
            if other != name and sender.access.trouble
        ]


def _listeners(config: Config, presses: Presses, metrics: Metrics) -> Iterator[Listener]:
    for channel in config.channels:
        declared = CHANNELS.get(channel.name)
        listener = declared.listen(config.settings, channel, presses, metrics) if declared and declared.listen else None
        if listener is not None:
            yield listener
