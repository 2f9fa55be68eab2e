"""How the figures of alerts stand, for messages: asked in threads of their own, for no message waits long for one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from cachetools import TTLCache

from lakehouse.dremio.errors import DremioError
from lakehouse.figures.usual import Comparison, UsualQuestion
from lakehouse.figures.words import NOT_KNOWN, bars, in_all_text, standing_text
from lakehouse.rules import Rule
from lakehouse.rules.figure import AlertFigure
from notifier.clock import Clock, from_ms, wall_ms
from notifier.cursor import AlertReader
from notifier.model import AlertRow, AlertSource, MessageKind
from notifier.render import Notification

logger = logging.getLogger("notifier")

DEADLINE_S = 0.25
"""A message waits for its figure at most so long, counted from when it was asked for."""
KEPT_S = 5.0
"""An answer serves all messages of an incident for so long."""
HELD_S = 600.0
"""An edit says what was last known for so long, rather than wait: nobody else could send meanwhile."""
QUIET_S = 5.0
"""Nothing is asked for so long, once a question got no answer in time."""
_THREADS, _WAITING, _KEPT = 2, 16, 500


@dataclass(frozen=True)
class _AskedFigure:
    answer: Future[Comparison | None]
    due: float


class UsualFigures:
    """Asks what is usual. Any thread may call any method, and none raises: what is not known in time is None.

    zone: of times in messages. currency: the sign before sums of money. late: called, in a thread of its own, with an
    alert whose first message went before its figure was known, once it is.
    """

    def __init__(
        self,
        reader: AlertReader,
        rules: Iterable[Rule],
        zone: tzinfo,
        currency: str,
        *,
        clock: Clock = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
        deadline_s: float = DEADLINE_S,
        late: Callable[[AlertRow], None] = lambda alert: None,
    ) -> None:
        self._reader = reader
        self._zone = zone
        self._currency = currency
        self._clock = clock
        self._monotonic = monotonic
        self._deadline_s = deadline_s
        self._late = late
        self._pool = ThreadPoolExecutor(_THREADS, "figures")
        self._lock = threading.Lock()
        self._asked: TTLCache[tuple[object, ...], _AskedFigure] = TTLCache(_KEPT, KEPT_S, monotonic)
        self._held: TTLCache[tuple[object, ...], Comparison] = TTLCache(_KEPT, HELD_S, monotonic)
        self._open = 0
        self._quiet_until = float("-inf")
        self._told_why = False
        self._figures: dict[str, AlertFigure] = {}
        self.use(rules)

    def use(self, rules: Iterable[Rule]) -> None:
        """These rules, from now on."""
        self._figures = {rule.name: about for rule in rules if (about := rule.about) is not None}
        with self._lock:
            self._asked.clear()
            self._held.clear()

    def close(self) -> None:
        """Ask nothing more; what is being asked is left alone."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def expect(self, alerts: Iterable[AlertRow]) -> None:
        """Messages are about to tell of these: those that begin an incident are asked for already."""
        for alert in alerts:
            if alert.alert_timestamp == alert.starts_at:
                self._ask(alert, None)

    def of(self, alert: AlertRow, ended_at: datetime | None = None, *, brief: bool = False) -> Comparison | None:
        """How the alert's figure stands. ended_at: of its incident's RESOLVED row, None while it is open.

        brief: do not wait. What was last known will do; without that `late` is told when it is known.
        """
        asked = self._ask(alert, ended_at)
        if brief and (asked is None or not asked.answer.done()):
            with self._lock:
                held = self._held.get(_key(alert, ended_at))
            if held is None and asked is not None:
                asked.answer.add_done_callback(lambda answer: self._came(alert, answer))
            return held
        if asked is None:
            return None
        try:
            return asked.answer.result(max(0.0, asked.due - self._monotonic()))
        except TimeoutError:
            self._be_quiet("no answer in time")
            return None

    def _came(self, alert: AlertRow, answer: Future[Comparison | None]) -> None:
        if not answer.cancelled() and answer.result() is not None:
            self._late(alert)

    def onto(self, note: Notification, alert: AlertRow, *, brief: bool = False) -> Notification:
        """The message with what is usual, where it says how its thread stands: a root, an edit of it, its end.

        alert: the one that the message tells of. brief: roots can be edited, so the message that is one waits for
        nothing: it is what wakes somebody.
        """
        tells = note.root is None or note.edits or note.kind is MessageKind.RESOLVED
        if not tells or alert.source is not AlertSource.TABLE or not self._figures:
            return note
        if alert.status == "RESOLVED" and note.status == "FIRING":
            # Others of its thread are open.
            alert = next((told.alert for told in note.told if told.incident.resolved_ms is None), alert)
        ended_ms = next(
            (told.incident.resolved_ms for told in note.told if told.incident.incident_id == alert.incident_id), None
        )
        figure = self._figures.get(alert.rule)
        if figure is None:
            return replace(note, usual=NOT_KNOWN)
        if ended_ms is None:
            compared = self.of(alert, brief=brief and (note.root is None or note.edits))
            usual = standing_text(figure, compared, alert.threshold, self._zone, self._currency)
        else:
            # No edit would bring what comes late.
            compared = self.of(alert, from_ms(ended_ms))
            usual = in_all_text(figure, compared, self._currency)
        return replace(note, usual=usual, bars=bars(compared.bars) if compared else "")

    def _ask(self, alert: AlertRow, ended_at: datetime | None) -> _AskedFigure | None:
        """What was asked already, or is from now on; None where there is nothing to ask, or nobody to answer."""
        figure = self._figures.get(alert.rule)
        if figure is None or alert.source is not AlertSource.TABLE:
            return None
        key = _key(alert, ended_at)
        with self._lock:
            asked = self._asked.get(key)
            now = self._monotonic()
            if asked is not None or now < self._quiet_until or self._open >= _WAITING:
                return asked
            question = UsualQuestion.of(
                figure,
                alert.service_name,
                starts_at=alert.starts_at,
                ended_at=ended_at,
                now=from_ms(self._clock()),
            )
            if question is None:
                return None
            try:
                answer = self._pool.submit(self._answer, question)
            except RuntimeError:
                return None  # closed
            self._open += 1
            asked = self._asked[key] = _AskedFigure(answer, now + self._deadline_s)
        answer.add_done_callback(lambda answer: self._hold(key, answer))
        return asked

    def _hold(self, key: tuple[object, ...], answer: Future[Comparison | None]) -> None:
        compared = None if answer.cancelled() else answer.result()
        if compared is not None:
            with self._lock:
                self._held[key] = compared

    def _answer(self, question: UsualQuestion) -> Comparison | None:
        try:
            compared = question.answer(self._reader.ask("usual", **question.binds))
        except DremioError as error:
            self._be_quiet(str(error))
            return None
        except Exception:
            logger.exception("what is usual of %s cannot be told", question.figure.table)
            return None
        finally:
            with self._lock:
                self._open -= 1
        self._told_why = False
        return compared

    def _be_quiet(self, why: str) -> None:
        with self._lock:
            self._quiet_until = self._monotonic() + QUIET_S
        if not self._told_why:
            self._told_why = True
            logger.warning("messages do not say what is usual: %s", why)


def _key(alert: AlertRow, ended_at: datetime | None) -> tuple[object, ...]:
    return alert.rule, alert.service_name, alert.incident_id, ended_at
