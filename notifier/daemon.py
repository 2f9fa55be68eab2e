"""The running notifier: a timer that polls, a thread for each channel that sends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.nearby import FAR_S
from notifier.attempts import Waits
from notifier.channel import Channel
from notifier.channels import CHANNELS
from notifier.clock import wall_ms
from notifier.cursor import AlertReader
from notifier.health import EXIT_AFTER_S, Health
from notifier.ledger import Ledger
from notifier.ledger_file import LedgerError
from notifier.metrics import Metrics
from notifier.planner import Planner
from notifier.redact import Redact
from notifier.render import Style
from notifier.routing.decide import Router
from notifier.routing.tree import Routing
from notifier.sender import Sender
from notifier.settings import NotifierSettings, destinations_of

logger = logging.getLogger("notifier")

UNMUTE_EVERY_S = 1.0
PAUSE_S = 0.02
"""Between two looks of one turn, whatever the other side answers."""
BEFORE_S = 0.05
"""A turn ends so long before the next is due: one that is late is left out."""
STOP_S = 8.0
"""How long a stop waits for the message in hand; the process is gone within 10 s."""
# A look that is still under way when the next is due is none of them.
_TIMER_EVENTS = {EVENT_JOB_ERROR: "error", EVENT_JOB_MISSED: "missed"}


class Daemon:
    """Wires the parts; `start`, then `watch` now and then, then `stop`."""

    def __init__(
        self,
        settings: NotifierSettings,
        max_age: timedelta,
        reader: AlertReader,
        ledger: Ledger,
        channels: Sequence[Channel],
        routing: Routing,
        redact: Redact = str,
    ) -> None:
        self.ledger = ledger
        self.metrics = Metrics(channel.name for channel in channels)
        self._poll_s = settings.poll_s or FAR_S
        self.health = Health(self._poll_s)
        style = Style(settings.console_url, ZoneInfo(settings.timezone))
        waits = Waits(settings.gather, settings.give_up, settings.unreadable)
        self.senders = {
            channel.name: Sender(
                channel,
                ledger,
                self.metrics,
                style,
                waits,
                failing_others=partial(self._failing_but, channel.name),
            )
            for channel in channels
        }
        self.router = Router(routing, destinations_of(channels), settings.gather)
        self._settings = settings
        self._reader = reader
        self._stopping = threading.Event()
        self._redact = redact
        self._planner = Planner(
            reader,
            ledger,
            self.metrics,
            self.router,
            max_age=max_age,
            overlap=settings.overlap,
            sweep_every=settings.sweep_every,
            keep=settings.keep,
            wake=self._wake,
            progress=self.health.moved_on,
        )
        self._unmute_at = float("-inf")
        self._threads: list[threading.Thread] = []
        self._timer = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._timer.add_listener(self._count, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def start(self) -> None:
        """Settle what a former run left, then poll and send."""
        settle_ms = int(max((sender.channel.settle_s for sender in self.senders.values()), default=0) * 1000)
        left = self.ledger.outbox.interrupt("The notifier ended before the answer.", wall_ms(), settle_ms)
        if left:
            logger.warning("%d messages were in hand when the notifier ended; looking them up", left)
        if not self.senders:
            switches = " or ".join(f"notifier.{declared.switch}" for declared in CHANNELS.values())
            logger.warning("no channel is set up: alerts are listed and nobody is told; set %s", switches)
        for name, sender in self.senders.items():
            thread = threading.Thread(target=sender.run, name=f"send-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        # APScheduler would begin one whole period after the start.
        self._timer.add_job(self.cycle, "interval", seconds=self._poll_s, id="poll", next_run_time=datetime.now(UTC))
        self._timer.start()

    def cycle(self) -> None:
        """One turn of the timer. Raises nothing: an error is logged, counted and shown.

        Where the gateway of this machine tells of a new commit at once, it is waited for until the next turn is due.
        """
        due = time.monotonic() + self._poll_s
        wait_s = 0.0
        while self._look(wait_s) and not self._settings.poll_s and self._reader.near:
            if self._stopping.wait(PAUSE_S):
                return
            wait_s = due - time.monotonic() - BEFORE_S
            if wait_s <= 0:
                return

    def _look(self, wait_s: float) -> bool:
        """One look for commits; whether all went well."""
        self.health.began()
        error: str | None = None
        well = False
        try:
            self._planner.poll(wait_s)
            # After it, for what has ended by now is told to nobody any more.
            self._unmute()
            well = True
        except DremioError as caught:
            error = str(caught)
            self.metrics.polls.labels("failed").inc()
        except LedgerError:
            # It has told its fault itself, and readiness tells it: the data answered.
            self.metrics.polls.labels("failed").inc()
        except Exception as caught:
            error = f"Unexpected error: {caught}."
            self.metrics.polls.labels("failed").inc()
            self.metrics.errors.inc()
            logger.exception("a look for commits failed; trying on")
        self.health.ended(error)
        return well

    def _unmute(self) -> None:
        """Once a second: planned work and times of day end by the clock. Seldomer where thousands are muted."""
        now = time.monotonic()
        if now >= self._unmute_at:
            self._unmute_at = now + UNMUTE_EVERY_S
            self._planner.unmute()
            took = time.monotonic() - now
            self._unmute_at = now + max(UNMUTE_EVERY_S, 20 * took)

    def watch(self) -> bool:
        """False when the timer is beyond help: the process should end and be started again."""
        if self.ledger.file.damaged:
            # Trying on would write into a broken file, and what was sent might be sent again at each try. Nothing is
            # lost by an end: the alerts stay in the table, and the next start says what to do. A disk that is full or
            # a file that is locked is another matter: that may be mended while we run, so we try on.
            logger.critical("the ledger is damaged; ending")
            return False
        stalled_s = self.health.stalled_s()
        if stalled_s > EXIT_AFTER_S:
            logger.critical("no look for commits has ended for %.0f s; ending", self.health.age_s())
            return False
        if stalled_s > 0 and self._timer.get_job("poll"):
            # A clock that was set back would leave the timer waiting for as long as the step.
            self._timer.modify_job("poll", next_run_time=datetime.now(UTC))
        return True

    def stop(self) -> None:
        """Begin nothing new, wait for the messages in hand; what is still in hand then becomes unknown."""
        deadline = time.monotonic() + STOP_S
        self._stopping.set()
        if self._timer.running:
            self._timer.pause()
        for sender in self.senders.values():
            sender.stop()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        settle_ms = int(max((sender.channel.settle_s for sender in self.senders.values()), default=0) * 1000)
        try:
            left = self.ledger.outbox.interrupt("The notifier was ended before the answer.", wall_ms(), settle_ms)
        except LedgerError:
            return  # it has told its fault; the next start settles what is in hand
        if left:
            logger.warning("%d messages are in hand without an answer; the next start looks them up", left)

    def readiness(self) -> dict[str, str | None]:
        """What is wrong, by part; None where all is well."""
        parts = {"data": self.health.data_error or self._planner.unstamped_error, "ledger": self.ledger.file.error}
        parts.update({name: sender.access.error for name, sender in self.senders.items()})
        return {name: error and self._redact(error) for name, error in parts.items()}

    def _failing_but(self, name: str) -> list[str]:
        """A sentence for each other channel that fails, for the messages of this one."""
        return [
            self._redact(f"Not told on {other}: {sender.access.trouble}")
            for other, sender in self.senders.items()
            if other != name and sender.access.trouble
        ]

    def refresh_metrics(self) -> None:
        """Set the gauges that are read, not counted."""
        try:
            counts = self.ledger.counts()
            for name in self.senders:
                states = ("planned", "sending", "unknown", "retry")
                self.metrics.open.labels(name).set(sum(counts.get((name, state), 0) for state in states))
        except LedgerError:
            pass  # the other metrics are wanted all the more
        self.metrics.ledger_up.set(self.ledger.file.error is None)
        self.metrics.data_up.set(self.health.data_error is None)
        self.metrics.cycle_age.set(self.health.age_s())

    def _wake(self, channel: str) -> None:
        if channel in self.senders:
            self.senders[channel].wake()

    def _count(self, event: JobEvent) -> None:
        self.metrics.timer.labels(_TIMER_EVENTS.get(event.code, "error")).inc()
