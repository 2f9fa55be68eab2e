"""The running notifier: a timer that polls, another for what time makes due, a crew that works by the configuration."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from functools import partial
from itertools import product

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.nearby import FAR_S
from lakehouse.oncall import OnCallState
from lakehouse.user_error import UserError
from notifier.clock import Clock, Steps, wall_ms
from notifier.config import Config
from notifier.crew import Crew
from notifier.cursor import AlertReader
from notifier.freshness import Freshness
from notifier.health import EXIT_AFTER_S, Health
from notifier.heartbeat import Heartbeat, untold
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.ledger.outbox import WHOLE, Why
from notifier.metrics import Metrics
from notifier.model import Action
from notifier.people import Doer, People
from notifier.questions.desk import NOBODY_ASKED, QuestionReader
from notifier.reconcile import Untold, overdue
from notifier.redact import Redact
from notifier.sender import Sender
from notifier.settings import NotifierSettings

logger = logging.getLogger("notifier")

DUE_EVERY_S = 1.0
PAUSE_S = 0.02
"""Between two looks of one turn, whatever the other side answers."""
BEFORE_S = 0.05
"""A turn ends so long before the next is due: one that comes before its end is left out."""
BEGUN_S = 0.01
"""A turn's own beginning is at most so long after its time."""
STOP_S = 8.0
"""How long a stop waits for the message in hand; the process is gone within 10 s."""
# A look that is still under way when the next is due is none of them.
_TIMER_EVENTS = {EVENT_JOB_ERROR: "error", EVENT_JOB_MISSED: "missed"}
_AT_START = ("host", "api_token", "poll_s")
"""Settings that a reload does not change."""


class Daemon:
    """Wires the parts; `start`, then `watch` now and then, `reload` when asked to, then `stop`.

    clock: that of the machine, which may be set; steady: seconds of one that nobody sets. asker: who answers the
    questions of rules: none of them may hold up a look for alerts, or tell how those who answer these are.
    """

    def __init__(
        self,
        config: Config,
        reader: AlertReader,
        ledger: Ledger,
        redact: Redact = str,
        *,
        clock: Clock = wall_ms,
        steady: Callable[[], float] | None = None,
        asker: QuestionReader = NOBODY_ASKED,
    ) -> None:
        self.ledger = ledger
        self.metrics = Metrics(channel.name for channel in config.channels)
        self._poll_s = config.settings.poll_s or FAR_S
        self.health = Health(self._poll_s)
        ledger.count_in(self.metrics)
        self._steps = Steps(clock, steady)
        self._clock = self._steps.now
        self._monotonic = steady or time.monotonic
        self._freshness = Freshness(reader, config.settings.judge_within, self._clock, self._monotonic)
        self.heartbeat = self._heartbeat_of(config.settings)
        self._reader = reader
        self._asker = asker
        self._redact = redact
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        """Held by who looks for commits, and by a reload."""
        self._crew = self._crew_of(config)
        self._config_error: str | None = None
        self._timer = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1), "due": ThreadPoolExecutor(1), "ask": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._timer.add_listener(self._count, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def _crew_of(self, config: Config) -> Crew:
        return Crew(
            config,
            self._reader,
            self.ledger,
            self.metrics,
            self.health.moved_on,
            self._redact,
            clock=self._clock,
            monotonic=self._monotonic,
            asker=self._asker,
        )

    @property
    def settings(self) -> NotifierSettings:
        return self._crew.config.settings

    @property
    def people(self) -> People:
        return self._crew.people

    @property
    def senders(self) -> dict[str, Sender]:
        return self._crew.senders

    def _heartbeat_of(self, settings: NotifierSettings) -> Heartbeat:
        url = settings.heartbeat_url.get_secret_value()
        return Heartbeat(url, settings.heartbeat_every, self._untold, self.metrics)

    def start(self) -> None:
        """Settle what a former run left, then poll and send."""
        why, now_ms = "The notifier ended before the answer.", self._clock()
        left = self.ledger.outbox.interrupt(why, now_ms, self._crew.settle_ms)
        if left:
            logger.warning("%d messages were sending when the notifier ended: unknown, looking them up", left)
        self._crew.start()
        self.heartbeat.start()
        # APScheduler would begin one whole period after the start.
        now = datetime.now(UTC)
        self._timer.add_job(self.cycle, "interval", seconds=self._poll_s, id="poll", next_run_time=now)
        self._timer.add_job(self.do_due, "interval", seconds=DUE_EVERY_S, id="due", executor="due", next_run_time=now)
        self._timer.add_job(self.do_ask, "interval", seconds=DUE_EVERY_S, id="ask", executor="ask", next_run_time=now)
        self._timer.start()

    def cycle(self) -> None:
        """One turn of the timer. Raises nothing: an error is logged, counted and shown.

        Where the gateway of this machine tells of a new commit at once, it is waited for until the next turn is due.
        """
        due = self._monotonic() + self._poll_s
        wait_s = 0.0
        while self._look(wait_s) and not self.settings.poll_s and self._reader.near:
            if self._stopping.wait(PAUSE_S):
                return
            now = self._monotonic()
            while due <= now + BEGUN_S:
                # The timer leaves that turn out, for this one is not over: nobody would look until the one after it.
                due += self._poll_s
            wait_s = due - now - BEFORE_S
            if wait_s <= 0:
                return

    def _look(self, wait_s: float) -> bool:
        """One look for commits; whether all went well."""
        self.health.began()
        error: str | None = None
        well = False
        try:
            with self._turn:
                self._crew.plan(wait_s)
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
        self._tell(lambda: self._freshness.look(error), "how old the data is")
        return well

    def do_due(self) -> None:
        """What time makes due, whether or not the data answers. Raises nothing."""
        step_ms = self._steps.look()
        if step_ms:
            logger.warning(
                "the clock of this machine was set by %.1f s; what is to come keeps its distance", step_ms / 1000
            )
            self._tell(lambda: self.ledger.shift(step_ms), "the times that are due")
        self._tell(self._crew.do_due, "what is due")
        self._tell(self._judge, "whether alerts can be judged")

    def do_ask(self) -> None:
        """Ask the questions of rules that are due. Raises nothing."""
        self._tell(self._crew.questions.turn, "questions of rules")

    def _judge(self) -> None:
        """Say so when alerts cannot be judged, and when they can again."""
        judges = self._freshness.verdict()
        if judges is not None:
            self.metrics.judges.set(judges)
            self._crew.announcer.judged(judges, self._freshness.since, self._freshness.error or "")

    def _tell(self, do: Callable[[], object], what: str) -> None:
        """Do it; what goes wrong is logged, for other things wait."""
        try:
            do()
        except (DremioError, LedgerError):
            pass  # told by the look for commits, and by the ledger itself
        except Exception:
            self.metrics.errors.inc()
            logger.exception("%s: failed; trying on", what)

    def watch(self) -> bool:
        """False when the timer is beyond help: the process should end and be started again."""
        if self.ledger.file.is_gone():
            self._tell(self.ledger.file.restore, "the ledger")
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
            for job in ("poll", "due", "ask"):
                self._timer.modify_job(job, next_run_time=datetime.now(UTC))
        return True

    def reload(self, load: Callable[[], Config]) -> bool:
        """Work by the configuration as it is now; whether that could be read. If not, by the one before."""
        try:
            config = load()
        except UserError as error:
            self._config_error = f"The configuration was not taken, and the one before holds: {error}"
            self.metrics.reloaded(False)
            logger.error("%s", self._redact(self._config_error))
            return False
        self._config_error = None
        before = self.settings
        later = [name for name in _AT_START if getattr(config.settings, name) != getattr(before, name)]
        if later:
            logger.warning("notifier.%s: taken at the next start", ", notifier.".join(later))
        with self._turn:
            self._crew.stop(STOP_S)
            for channel in config.channels:
                self.metrics.add_channel(channel.name)
            self._crew = self._crew_of(config)
            self._freshness.limit = config.settings.judge_within
            self._crew.start()
        self.heartbeat.stop()
        self.heartbeat = self._heartbeat_of(config.settings)
        self.heartbeat.start()
        self.metrics.reloaded(True)
        logger.info("the configuration is taken anew: %s", config.hash)
        return True

    def stop(self) -> None:
        """Begin nothing new, wait for the messages in hand; what is still in hand then becomes unknown."""
        self._stopping.set()
        self.heartbeat.stop()
        if self._timer.running:
            self._timer.pause()
        self._crew.stop(STOP_S)
        try:
            left = self.ledger.outbox.interrupt(
                "The notifier was ended before the answer.", self._clock(), self._crew.settle_ms
            )
        except LedgerError:
            return  # it has told its fault; the next start settles what is in hand
        if left:
            logger.warning("%d messages are in hand without an answer; the next start looks them up", left)

    def readiness(self) -> dict[str, str | None]:
        """What is wrong, by part; None where all is well."""
        parts = {
            "data": self.health.data_error or self._crew.planner.unstamped_error,
            "ledger": self.ledger.file.error,
            "config": self._config_error,
            "questions": self._crew.questions.trouble,
        }
        parts.update({name: sender.access.error for name, sender in self.senders.items()})
        return {name: error and self._redact(error) for name, error in parts.items()}

    def _untold(self) -> str | None:
        """Why somebody might not be told of an alert now."""
        if not self.senders:
            return "No channel is set up."
        if self.health.stalled_s() > 0:
            return "Looks for commits do not end."
        return untold(self.readiness(), self._freshness.error, self.ledger, self._overdue)

    def _overdue(self) -> list[Untold]:
        with self.ledger.file.read() as db:
            return overdue(db, self._crew.router, self._crew.config.manners, self._clock())

    def state(self) -> OnCallState:
        """How the notifier is, for who reads it."""
        return OnCallState(
            revision=self.ledger.revision(),
            judges=self._freshness.error is None,
            parts=self.readiness(),
            parked=[
                {"channel": place.channel, "destination": place.destination, "reason": place.reason}
                for place in self.ledger.outbox.parked()
                if place.why is Why.BROKEN
            ],
            config=self._crew.config.hash,
            heartbeat=self.heartbeat.error and self._redact(self.heartbeat.error),
        )

    def retry(self, delivery_key: str, doer: Doer) -> bool:
        """Try a delivery again now; False where there is none that could be."""
        revived = self.ledger.outbox.revive(delivery_key, self._clock())
        if revived:
            self.people.did(Action.RETRIED, delivery_key[:12], doer)
            for name in self.senders:
                self.ledger.file.then(partial(self._crew.wake, name))
        return revived

    def refresh_metrics(self) -> None:
        """Set the gauges that are read, not counted."""
        try:
            self.metrics.set_ledger(self.ledger.counts(), *self.ledger.open_counts())
            now_ms = self._clock()
            self.metrics.overdue.set(len(self._overdue()))
            held = {
                (place.channel, place.destination, place.why)
                for place in self.ledger.outbox.parked()
                if place.why is Why.BROKEN or place.until_ms > now_ms
            }
            places = {astuple(place) for place in self._crew.config.manners} | {(name, WHOLE) for name in self.senders}
            self.metrics.set_places(
                {(name, to or "*", why): (name, to, why) in held for (name, to), why in product(places, Why)}
            )
        except LedgerError:
            pass  # the other metrics are wanted all the more
        self.metrics.set_config(self._crew.config.hash)
        self.metrics.ledger_up.set(self.ledger.file.error is None)
        self.metrics.set_data(self._reader.state)
        self.metrics.data_up.set(self.health.data_error is None)
        self.metrics.cycle_age.set(self.health.age_s())
        self.metrics.stalled.set(self.health.stalled_s())

    def _count(self, event: JobEvent) -> None:
        self.metrics.timer.labels(_TIMER_EVENTS.get(event.code, "error")).inc()
