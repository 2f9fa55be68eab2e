"""The shop as it was at a moment: the commit of then, asked once for all who look at it."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from cachetools import LRUCache

from console.feed.hub import Hub, Viewer
from console.feed.poller import Poller
from console.feed.questions import TabQuestions
from console.feed.snapshot import AsksDremio, FeedSnapshot
from lakehouse.dremio.errors import DremioError, QueryError
from lakehouse.dremio.state import ConnectionState
from lakehouse.kpis import Counting

logger = logging.getLogger(__name__)

KEPT_MOMENTS = 8
RETRY_S = 5.0
NOTHING_KEPT = "nothing of that time is kept: of the last hours there is a commit a minute, of earlier ones none"
MINUTE = timedelta(minutes=1)
MINUTES_BACK = 3
_STEP = timedelta(milliseconds=1)


class Then(NamedTuple):
    """The shop at a moment, or in `error` why it cannot be shown; neither while it is being asked."""

    snapshot: FeedSnapshot | None = None
    error: str | None = None


def reference(moment: datetime) -> str:
    """How a question is asked at the commit that was the newest at a moment: in place of the commit's id."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def kept_moment(dremio: AsksDremio, at: datetime) -> datetime | None:
    """From when on the newest commit that stays readable was there: the first of a minute, as late as can be by `at`.

    Of each minute only the first commit is kept for hours, so that two who ask for the same moment at different times
    would see different rows if they were given the newest one by then. None: nothing of that time is kept. Costs some
    twenty short questions. Raises DremioError while there is no answer.
    """

    def as_of(moment: datetime) -> datetime | None:
        try:
            found: datetime | None = dremio.ask("as_of", commit=reference(moment)).to_pylist()[0]["as_of"]
        except QueryError:
            return None
        return found

    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    minute = at.replace(second=0, microsecond=0)
    if as_of(at) is None:
        return None
    for _ in range(MINUTES_BACK):
        before = as_of(minute)
        last = min(at, minute + MINUTE - _STEP)
        if as_of(last) != before:
            low, high = minute, last  # the commit of `low` is the one before, that of `high` another
            while high - low > _STEP:
                middle = low + (high - low) // _STEP // 2 * _STEP
                low, high = (middle, high) if as_of(middle) == before else (low, middle)
            return high
        minute -= MINUTE
    return at


class _FromThen:
    """A client whose newest commit is that of a moment."""

    near = False

    def __init__(self, dremio: AsksDremio, moment: datetime) -> None:
        self._dremio = dremio
        self._reference = reference(moment)

    @property
    def state(self) -> ConnectionState:
        return self._dremio.state

    def head(self) -> str:
        return self._reference

    def next_head(self, known: str, wait_s: float) -> str:
        return self._reference

    def ask(self, question: str, *, commit: str | None = None, **binds: object) -> pa.Table:
        return self._dremio.ask(question, commit=commit, **binds)


class _Looked:
    """A tab that somebody looks at, to the hub of a moment."""

    present = True

    def __init__(self, tab: str) -> None:
        self.watches = tab

    def wake(self) -> None: ...


@dataclass(eq=False)
class _Moment:
    """What was asked of one moment, and of which tabs."""

    hub: Hub = field(default_factory=Hub)
    poller: Poller | None = None
    tabs: dict[str, _Looked] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    error: str | None = None
    retry_at: float = 0.0
    waiting: weakref.WeakSet[Viewer] = field(default_factory=weakref.WeakSet)
    asking: bool = False


class Past:
    """Snapshots of moments. The answers of the last few are kept; asking is done in a thread of its own."""

    def __init__(
        self,
        dremio: AsksDremio,
        *,
        tabs: Mapping[str, TabQuestions],
        counting: Counting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dremio = dremio
        self._questions = tabs
        self._counting = counting
        self._clock = clock
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="past")
        self._moments: LRUCache[datetime, _Moment] = LRUCache(KEPT_MOMENTS)

    def at(self, moment: datetime, tab: str, viewer: Viewer) -> Then:
        """The shop at a moment, as a tab shows it; `viewer` is woken when what is still being asked is there."""
        with self._lock:
            held = self._moments.get(moment)
            if held is not None and held.error is not None:
                if self._clock() < held.retry_at:
                    return Then(error=held.error)
                held = None
            if held is None:
                held = self._moments[moment] = _Moment()
            if tab in held.answered:
                return Then(held.hub.snapshot)
            if tab not in held.tabs:
                held.tabs[tab] = _Looked(tab)
                held.hub.join(held.tabs[tab])
            held.waiting.add(viewer)
            if not held.asking:
                held.asking = True
                self._threads.submit(self._ask, moment, held)
            # Another tab's answers of the same commit are of use until this one's are there.
            return Then(held.hub.snapshot if held.answered else None)

    def _ask(self, moment: datetime, held: _Moment) -> None:
        with self._lock:
            tabs = set(held.tabs)
        error: str | None = None
        try:
            if held.poller is None:
                held.poller = self._poller(moment, held.hub)
            held.poller.poll()
            error = held.hub.snapshot.error
        except _NothingKept:
            error = NOTHING_KEPT
        except DremioError as failure:
            error = str(failure)
        except Exception:
            logger.exception("the moment %s could not be read", moment)
            error = "The console failed to read the answer; see its log."
        with self._lock:
            held.asking = False
            held.error, held.retry_at = error, self._clock() + RETRY_S
            if error is None:
                held.answered |= tabs
            viewers = list(held.waiting)
            held.waiting.clear()
        # Whoever came meanwhile with another tab asks again when it is woken.
        for viewer in viewers:
            viewer.wake()

    def _poller(self, moment: datetime, hub: Hub) -> Poller:
        kept = kept_moment(self._dremio, moment)
        if kept is None:
            raise _NothingKept
        return Poller(
            _FromThen(self._dremio, kept),
            hub,
            tabs=self._questions,
            refresh_s=1,
            idle_refresh_s=1,
            counting=self._counting,
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _NothingKept(Exception):
    pass
