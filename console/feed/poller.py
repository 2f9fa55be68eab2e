"""One thread a process that looks whether main moved, and asks what the open tabs need when it did."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from console.feed.compared import kept_as
from console.feed.hub import Hub
from console.feed.questions import TabQuestions, ask_frame
from console.feed.snapshot import AsksDremio, FeedAnswer, FeedSnapshot, now_utc
from console.metrics import POLL_FAILURES, POLL_SECONDS, STATEMENTS
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.dremio.errors import DremioError, Timeout, Unavailable
from lakehouse.dremio.nearby import FAR_S, NEAR_S
from lakehouse.kpis import Counting

logger = logging.getLogger(__name__)

BEAT_S = 5.0
"""Sessions hear from the console at least this often, so that a browser can tell a quiet shop from a dead console."""

PAUSE_S = 0.05
"""Between two looks that wait for the next commit."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 5.0
"""The least and the most that a failing Dremio makes the poller wait between two tries."""

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
"""A question that was refused will hardly be answered at the same commit: it is asked there again after the first of
these, and after twice as long each time up to the second. At the next commit it is asked at once."""


class Poller:
    """Asks Dremio and gives snapshots to the hub. It never raises: a failure keeps the last good answers.

    refresh_s: seconds between two looks; 0: what whoever answers can bear.
    """

    def __init__(
        self,
        dremio: AsksDremio,
        hub: Hub,
        *,
        tabs: Mapping[str, TabQuestions],
        refresh_s: float,
        idle_refresh_s: float,
        counting: Counting,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = now_utc,
    ) -> None:
        self._dremio = dremio
        self._hub = hub
        self._tabs = tabs
        self._refresh_s = refresh_s
        self._idle_refresh_s = idle_refresh_s
        self._counting = counting
        self._clock = clock
        self._now = now
        self._asked: frozenset[str] = frozenset()
        self._beat_at = float("-inf")
        self._failures = 0
        self._retries = 0
        self._retry_at = float("-inf")
        self._nudge = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        hub.on_demand = self._nudge.set

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._nudge.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def usual_s(self) -> float:
        """Seconds between two looks while all is well: longer while nobody watches."""
        refresh_s = self._refresh_s or (PAUSE_S if self._dremio.near else FAR_S)
        return refresh_s if self._hub.watched() else max(self._idle_refresh_s, refresh_s)

    @property
    def _waits(self) -> bool:
        """Whether a look waits for the next commit, which the gateway of this machine tells of at once."""
        return not self._refresh_s and self._dremio.near and bool(self._hub.watched())

    @property
    def period_s(self) -> float:
        """Seconds until the next look is due: longer also while Dremio fails."""
        usual = self.usual_s
        if self._failures and self._hub.watched():
            # A server that is away is not asked as often as one that answers.
            doubled = (self._refresh_s or FIRST_PAUSE_S) * 2.0 ** min(self._failures - 1, 10)
            return min(doubled, max(LONGEST_PAUSE_S, usual)) * random.uniform(0.8, 1.0)
        return usual

    def _run(self) -> None:
        due = self._clock()
        while not self._stopping.is_set():
            self.poll()
            period = self.period_s
            now = self._clock()
            # Counted from the last due time, so that looks do not drift; missed ones are skipped.
            due = due + period if due + period > now else now + period
            if self._nudge.wait(max(0.0, due - now)):
                self._nudge.clear()
                due = self._clock()

    def poll(self) -> None:
        """One look: a statement when main stands still, and the open tabs' questions when it moved."""
        started = self._clock()
        before = self._hub.snapshot
        try:
            self._look(before, started)
            self._failures = 0
        except DremioError as error:
            self._fail(before, str(error))
        except Exception as error:
            # Whatever it is must not end the only thread that keeps the screens alive.
            logger.exception("the poll failed")
            self._fail(before, f"The console failed to read the answer ({type(error).__name__}); see its log.")
        POLL_SECONDS.observe(self._clock() - started)

    def _look(self, before: FeedSnapshot, started: float) -> None:
        STATEMENTS.inc()
        head = (
            self._dremio.next_head(before.commit or NOTHING_PUBLISHED, NEAR_S) if self._waits else self._dremio.head()
        )
        watched = self._hub.watched()
        if head == NOTHING_PUBLISHED:
            self._hand_over(replace(before, error=None, polled_at=self._now()), news=before.error is not None)
            return
        retry = bool(before.failed) and self._clock() >= self._retry_at
        if head == before.commit and watched <= self._asked and not retry:
            self._hand_over(replace(before, error=None, polled_at=self._now()), news=before.error is not None)
            return
        snapshot = self._ask_all(head, watched, before, started, retry=retry)
        if not snapshot.failed or head != before.commit:
            self._retries = 0
        if snapshot.failed and (retry or head != before.commit or not before.failed):
            self._retry_at = self._clock() + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._retries, 10))
            self._retries += 1
        self._hand_over(snapshot, news=True)
        self._asked = watched

    def _ask_all(
        self, commit: str, watched: frozenset[str], before: FeedSnapshot, started: float, *, retry: bool
    ) -> FeedSnapshot:
        """Ask what is not answered at this commit yet; what failed at it only with `retry`."""
        same = commit == before.commit
        STATEMENTS.inc()
        position = self._dremio.ask("as_of", commit=commit).to_pylist()[0]
        as_of: datetime | None = position["as_of"]
        if as_of is None:
            return replace(before, version=before.version + 1, commit=commit, error=None, polled_at=self._now())
        answers = dict(before.answers)
        failed: dict[str, str] = {}

        def ask(question: str, /, *, then: str = "", **binds: Any) -> pa.Table | None:
            key = kept_as(question, then)
            held = answers.get(key)
            # Asked at this commit before, or in this look by another: equal questions of a commit share one answer, and
            # who looks at fewer minutes that of who looks at more.
            if held is not None and held.commit == commit and held.covers(binds.get("since")):
                return held.table
            if same and key in before.failed and not retry:
                failed[key] = before.failed[key]
                return None
            STATEMENTS.inc()
            try:
                table = self._dremio.ask(question, commit=commit, **binds)
            except (Unavailable, Timeout):
                raise  # the others would fail alike, each after its own wait
            except DremioError as error:
                POLL_FAILURES.inc()
                failed[key] = str(error)
                logger.warning("%s failed at %s: %s", key, commit, error)
                return None
            answers[key] = FeedAnswer(table, commit, as_of, binds.get("since"))
            return table

        # An answer that was due and failed is no measure of what changed since.
        held = {name: answer for name, answer in before.answers.items() if name not in before.failed}
        ask_frame(ask, as_of, held, self._counting)
        for tab, questions in self._tabs.items():
            if tab in watched:
                questions(ask, as_of, held, self._counting)
        return FeedSnapshot(
            version=before.version + 1,
            commit=commit,
            as_of=as_of,
            first_events=MappingProxyType({name: value for name, value in position.items() if name != "as_of"}),
            answers=MappingProxyType(answers),
            failed=MappingProxyType(failed),
            polled_at=self._now(),
            asked_s=self._clock() - started,
        )

    def _fail(self, before: FeedSnapshot, reason: str) -> None:
        self._failures += 1
        POLL_FAILURES.inc()
        if before.error != reason:
            logger.warning("poll failed: %s", reason)
        self._hand_over(replace(before, version=before.version + 1, error=reason), news=before.error != reason)

    def _hand_over(self, snapshot: FeedSnapshot, *, news: bool) -> None:
        now = self._clock()
        wake = news or now - self._beat_at >= BEAT_S
        if wake:
            self._beat_at = now
        self._hub.publish(snapshot, wake=wake)
