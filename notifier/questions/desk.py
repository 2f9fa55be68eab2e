"""Asks the questions of rules when they are due, judges the answers and plans what is told of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from lakehouse.dremio.errors import AuthError, DremioError, Timeout, TooLarge, Unavailable
from lakehouse.rules.kinds.question import QuestionRule
from lakehouse.rules.reading import Entity
from lakehouse.settings.durations import write_duration
from notifier import cursor
from notifier.announcer import Announcer
from notifier.clock import Clock, from_ms, span_ms, to_ms, wall_ms
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.metrics import Metrics
from notifier.model import AlertRow
from notifier.planning import plans
from notifier.questions.answer import CannotJudge, Finding, findings
from notifier.questions.judging import judge, taken_out
from notifier.reasons import reasons
from notifier.routing.decide import Router

logger = logging.getLogger("notifier")

AT_ONCE = 2
"""Questions that are asked beside each other: a slow one holds up the others only a little."""
AGAIN_S = 60.0
"""A question that failed is asked again after so long, or sooner where it is due."""
TELL_AFTER_S = 300.0
"""A rule that cannot be judged for so long is told of."""
MAX_ROWS, MAX_BYTES = 10_000, 16 * 2**20
"""An answer with more says nothing that people could act on."""
_NO_COMMIT = "none"


class QuestionReader(cursor.AlertsClient, Protocol):
    """The part of lakehouse.dremio.client.Dremio that is used here."""

    def head(self) -> str: ...

    def sql(self, text: str, *, within_s: float | None = None) -> pa.Table: ...


class _Nobody:
    """Who answers where nobody was set up to."""

    def head(self) -> str:
        raise Unavailable("Nobody is set up to answer questions of rules.")

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        raise Unavailable("Nobody is set up to answer questions of rules.")

    def sql(self, text: str, *, within_s: float | None = None) -> pa.Table:
        raise Unavailable("Nobody is set up to answer questions of rules.")


NOBODY_ASKED: QuestionReader = _Nobody()


class NoData(Exception):
    """Nobody answers, or what there is is too old to be judged: the data's own trouble, not the rule's."""


@dataclass
class _Turn:
    """Where the asking of a rule stands; times of the steady clock, since of the wall's.

    said: in the log, why it is not judged. error, fails_since, since: of the rule's own trouble. told: whether people
    were told of that, None while it is not known.
    """

    due: float = 0.0
    asking: Future[None] | None = None
    said: str | None = None
    error: str | None = None
    fails_since: float | None = None
    since: datetime | None = None
    told: bool | None = None
    left_out: int = 0


class QuestionDesk:
    """`start`, then `turn` about once a second, then `stop`; any thread may call `errors`. A reload makes another.

    judge_within: from which age on our data cannot be judged. redact: what errors go through before they are shown.
    """

    def __init__(
        self,
        rules: Sequence[QuestionRule],
        reader: QuestionReader,
        ledger: Ledger,
        router: Router,
        announcer: Announcer,
        metrics: Metrics,
        *,
        judge_within: timedelta,
        wake: Callable[[str], None] = lambda channel: None,
        redact: Callable[[str], str] = str,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
        tell_after_s: float = TELL_AFTER_S,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._reader = reader
        self._ledger = ledger
        self._router = router
        self._announcer = announcer
        self._metrics = metrics
        self._judge_within = judge_within
        self._wake = wake
        self._redact = redact
        self._clock = clock
        self._monotonic = monotonic
        self._tell_after_s = tell_after_s
        self._turns = {name: _Turn(due=monotonic()) for name in self._rules}
        self._pool = ThreadPoolExecutor(AT_ONCE, "questions")
        self._judging = threading.Lock()
        """Held while an answer is judged, so that none is after `stop`."""
        self._stopped = False
        self._as_of: tuple[str, datetime | None] = ("", None)
        self._cleared = False

    # ---- what the daemon asks of it

    def turn(self) -> None:
        """Begin to ask what is due. Raises nothing but LedgerError."""
        with self._judging:
            if self._stopped:
                return
            if not self._cleared:
                self._clear()
            now = self._monotonic()
            for name, turn in self._turns.items():
                asking = turn.asking is not None and not turn.asking.done()
                if not asking and now >= turn.due:
                    turn.asking = self._pool.submit(self.ask, self._rules[name])

    def stop(self) -> None:
        """Ask and judge nothing more; what is being asked is left alone."""
        with self._judging:
            self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def errors(self) -> Mapping[str, str]:
        """Why rules are not judged, by their names; what nobody can be asked is the data's trouble, told elsewhere."""
        return {name: turn.error for name, turn in self._turns.items() if turn.error}

    @property
    def trouble(self) -> str | None:
        """The same in a sentence."""
        errors = self.errors
        if not errors:
            return None
        name, error = next(iter(errors.items()))
        more = f" {len(errors) - 1} more are not judged either." if len(errors) > 1 else ""
        return f"The rule {name} is not judged: {error}{more}"

    # ---- one question

    def ask(self, rule: QuestionRule) -> None:
        """Ask and judge once. Raises nothing."""
        turn, began = self._turns[rule.name], self._monotonic()
        try:
            commit, answer = self._answer(rule)
            found = findings(rule, answer)
            self._metrics.question_latency.labels(rule.name).set(self._monotonic() - began)
            self._judge(rule, turn, found, commit)
            self._went_well(rule, turn)
            outcome = "judged"
        except NoData as caught:
            # Everybody is told of the data itself; of the rule's own trouble nothing new is known.
            self._say(rule, turn, self._redact(str(caught)))
            outcome = "no_data"
        except CannotJudge as caught:
            self._failed(rule, turn, str(caught))
            outcome = "failed"
        except LedgerError:
            outcome = "failed"  # it has told its fault itself; the next turn judges anew
        except Exception as caught:
            logger.exception("the rule %s: unexpected error", rule.name)
            self._metrics.errors.inc()
            self._failed(rule, turn, f"Unexpected error: {caught}.")
            outcome = "failed"
        self._metrics.questions.labels(outcome).inc()
        wait_s = rule.every.total_seconds()
        wait_s = wait_s if outcome == "judged" else min(wait_s, AGAIN_S)
        now = self._monotonic()
        # One that takes longer than its pause leaves others as much time as it took.
        turn.due = max(began + wait_s, now + (now - began))

    def _answer(self, rule: QuestionRule) -> tuple[str, pa.Table]:
        """The commit that our tables were read at, and the answer. Raises NoData and CannotJudge."""
        limit = write_duration(rule.time_limit)
        try:
            commit, as_of = self._moment() if rule.reads_ours else (None, None)
        except DremioError as caught:
            raise NoData(str(caught)) from None
        try:
            text = rule.statement(commit, as_of)
            return commit or _NO_COMMIT, self._reader.sql(text, within_s=rule.time_limit.total_seconds())
        except (Unavailable, AuthError) as caught:
            raise NoData(str(caught)) from None
        except Timeout:
            raise CannotJudge(f"It got no answer within {limit}, its time_limit; ask for less, or raise it.") from None
        except TooLarge:
            raise CannotJudge(
                f"Its answer is larger than {MAX_ROWS:,} rows or {MAX_BYTES >> 20} MB; let the statement choose the "
                "rows that matter."
            ) from None
        except DremioError as caught:
            raise CannotJudge(str(caught)) from None

    def _moment(self) -> tuple[str, datetime]:
        """The newest commit and its moment. Raises NoData where that is too old, and DremioError."""
        commit = self._reader.head()
        if not cursor.something_published(commit):
            raise NoData("Nothing is published yet.")
        known, as_of = self._as_of
        if commit != known:
            as_of = cursor.as_of(self._reader, commit)
            self._as_of = commit, as_of
        if as_of is None:
            raise NoData("The data does not say what moment it speaks of: a partition was not read yet.")
        if self._clock() - to_ms(as_of) > span_ms(self._judge_within):
            raise NoData(f"The data is older than {write_duration(self._judge_within)} (notifier.judge_within).")
        return commit, as_of

    def _judge(self, rule: QuestionRule, turn: _Turn, found: Mapping[Entity, Finding], commit: str) -> None:
        """State and alerts in one transaction: a kill loses neither, and doubles neither."""
        with self._judging:
            if self._stopped:
                return
            with self._ledger.file.together():
                book, now_ms = self._ledger.questions, self._clock()
                held, judged_ms = book.states(rule.name), book.judged_ms(rule.name)
                verdict = judge(rule, held, judged_ms, found, now_ms, commit)
                book.put(rule.name, now_ms, verdict.states.values())
                self._plan(verdict.alerts, now_ms)
        self._metrics.question_left_out.labels(rule.name).set(verdict.left_out)
        if verdict.left_out and not turn.left_out:
            logger.warning(
                "the rule %s: %d entities are outside beyond the %d that it may have; raise its `most` or choose fewer",
                rule.name,
                verdict.left_out,
                rule.most,
            )
        turn.left_out = verdict.left_out

    def _plan(self, alerts: Sequence[AlertRow], now_ms: int) -> None:
        if not alerts:
            return

        def old(alert: AlertRow) -> bool:
            return False  # judged now

        around = plans.surroundings(self._ledger, self._router, from_ms(now_ms), old, alerts)
        heard = plans.hearing(self._router, alerts, around)
        drafts = self._ledger.plan(alerts, heard.groups, heard.hear, now_ms)
        for channel in dict.fromkeys(draft.target.channel for draft in drafts):
            self._ledger.file.then(partial(self._wake, channel))
        for alert in alerts:
            self._ledger.file.then(partial(logger.info, "%s %s: %s", alert.rule, alert.status, alert.incident_id))
        for reason in reasons(heard.decided):
            self._ledger.file.then(partial(logger.info, "%s", reason))

    # ---- how rules fare

    def _went_well(self, rule: QuestionRule, turn: _Turn) -> None:
        if self._stopped:
            return  # the rule may be no more
        if turn.said is not None:
            logger.info("the rule %s is judged again", rule.name)
        turn.said = turn.error = turn.fails_since = turn.since = None
        self._count_failing()
        if turn.told is not False:
            self._announcer.question(rule.name, rule.severity, from_ms(self._clock()), None)
            turn.told = False

    def _say(self, rule: QuestionRule, turn: _Turn, why: str) -> None:
        if turn.said != why:
            logger.warning("the rule %s is not judged: %s", rule.name, why)
        turn.said = why

    def _failed(self, rule: QuestionRule, turn: _Turn, why: str) -> None:
        if self._stopped:
            return
        turn.error = self._redact(why)
        self._say(rule, turn, turn.error)
        now = self._monotonic()
        if turn.fails_since is None or turn.since is None:
            turn.fails_since, turn.since = now, from_ms(self._clock())
        self._count_failing()
        if now - turn.fails_since >= self._tell_after_s and not turn.told:
            try:
                self._announcer.question(rule.name, rule.severity, turn.since, turn.error)
                turn.told = True
            except LedgerError:
                pass  # it has told its fault itself; told at the next failure

    def _count_failing(self) -> None:
        self._metrics.questions_failing.set(len(self.errors))

    def _clear(self) -> None:
        """End what rules have left that are no more. Raises LedgerError."""
        with self._ledger.file.together():
            for name in self._ledger.questions.rules() - self._rules.keys():
                now_ms = self._clock()
                ends = [taken_out(state, now_ms) for state in self._ledger.questions.states(name)]
                self._plan([alert for alert in ends if alert is not None], now_ms)
                self._ledger.questions.forget(name)
            self._announcer.no_questions_but(self._rules.keys())
        self._cleared = True
