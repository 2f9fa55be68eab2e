"""Questions of one session's choice: asked beside the poller, kept for all sessions that choose alike."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from cachetools import LRUCache

from console.feed.hub import Viewer
from console.feed.poller import FIRST_RETRY_S, LONGEST_PAUSE_S, LONGEST_RETRY_S
from console.metrics import POLL_FAILURES, STATEMENTS
from lakehouse.dremio.errors import Cancelled, DremioError, Timeout, Unavailable
from lakehouse.dremio.withdrawal import Withdrawal

logger = logging.getLogger(__name__)

KEPT_ANSWERS = 64
KEPT_BYTES = 48 * 2**20
"""The most answers kept, and their most bytes; one that is larger by itself is kept alone."""


@dataclass(frozen=True)
class Want:
    """A question at a commit with its values; equal wants share one answer."""

    question: str
    commit: str
    binds: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Got:
    """An answer, or in `error` why there is none; then it is asked again from `retry_at` on, after `tries` before."""

    table: pa.Table | None
    error: str | None = None
    retry_at: float = 0.0
    tries: int = 0


@dataclass
class _Waited:
    """Who waits for an answer, and by what its question is withdrawn; None before its turn."""

    viewers: weakref.WeakSet[Viewer]
    asks: Withdrawal | None = None


def want(question: str, commit: str, **binds: Any) -> Want:
    """A Want whose lists became tuples, so that it can be compared and kept."""
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in binds.items()}
    return Want(question, commit, tuple(sorted(frozen.items())))


class FeedClient(Protocol):
    """As much of a client as it takes."""

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table: ...


class Asker:
    """Answers wants from memory, else asks in a thread of its own and wakes who wanted it. Nothing here blocks.

    A failure is an answer too, for a while that doubles with each one: a refused question keeps longer than one that
    nobody could answer.
    """

    def __init__(self, dremio: FeedClient, *, threads: int = 2, clock: Callable[[], float] = time.monotonic) -> None:
        self._dremio = dremio
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="asker")
        self._lock = threading.Lock()
        self._kept: LRUCache[Want, Got] = LRUCache(KEPT_BYTES, _weight)
        # Who withdraws waits for the server; nobody may wait for that.
        self._ends = ThreadPoolExecutor(1, thread_name_prefix="asker-ends")
        self._waiting: dict[Want, _Waited] = {}

    def get(self, wanted: Want, viewer: Viewer) -> Got | None:
        """The answer, or None while it is being asked: then `viewer` is woken when it is there."""
        with self._lock:
            got = self._kept.get(wanted)
            if wanted in self._waiting:
                self._waiting[wanted].viewers.add(viewer)
                return got
            if got is not None and (got.error is None or self._clock() < got.retry_at):
                return got
            self._waiting[wanted] = _Waited(weakref.WeakSet([viewer]))
        self._threads.submit(self._ask, wanted)
        return got

    def forget(self, wants: Iterable[Want], viewer: Viewer) -> None:
        """`viewer` waits for these no longer. What nobody waits for is not asked when its turn comes, or withdrawn
        where it runs."""
        with self._lock:
            for wanted in wants:
                waited = self._waiting.get(wanted)
                if waited is not None and viewer in waited.viewers:
                    waited.viewers.discard(viewer)
                    if waited.asks is not None and not waited.viewers:
                        self._withdraw(waited.asks)

    def _withdraw(self, asks: Withdrawal) -> None:
        with suppress(RuntimeError):  # the console ends, and with it all that runs
            self._ends.submit(asks.withdraw)

    def leave(self, viewer: Viewer) -> None:
        """`viewer` waits for nothing any more."""
        with self._lock:
            wants = list(self._waiting)
        self.forget(wants, viewer)

    def _ask(self, wanted: Want) -> None:
        with self._lock:
            # Its viewer may have brushed on, or gone, before its turn came.
            waited = self._waiting.get(wanted)
            if waited is None or not waited.viewers:
                self._waiting.pop(wanted, None)
                return
            asks = waited.asks = Withdrawal()
        STATEMENTS.inc()
        try:
            with asks:
                got = Got(self._dremio.ask(wanted.question, commit=wanted.commit, **dict(wanted.binds)))
        except Cancelled as error:
            if asks.withdrawn:
                self._withdrawn(wanted)
                return
            got = self._failed(wanted, str(error), nobody=False)
        except DremioError as error:
            POLL_FAILURES.inc()
            logger.warning("%s failed: %s", wanted.question, error)
            got = self._failed(wanted, str(error), nobody=isinstance(error, Unavailable | Timeout))
        except Exception as error:
            logger.exception("%s failed", wanted.question)
            said = f"The console failed to read the answer ({type(error).__name__}); see its log."
            got = self._failed(wanted, said, nobody=False)
        with self._lock:
            self._kept[wanted] = got
            held = self._waiting.pop(wanted, None)
            viewers = list(held.viewers) if held else []
        for viewer in viewers:
            viewer.wake()

    def _withdrawn(self, wanted: Want) -> None:
        """It was ended for want of viewers. Whoever came meanwhile is asked for anew."""
        with self._lock:
            waited = self._waiting.get(wanted)
            if waited is None or not waited.viewers:
                self._waiting.pop(wanted, None)
                return
            waited.asks = None
        self._threads.submit(self._ask, wanted)

    def _failed(self, wanted: Want, error: str, *, nobody: bool) -> Got:
        """`nobody` is whether there was no answer at all, for the server may be back any moment."""
        first, longest = (1.0, LONGEST_PAUSE_S) if nobody else (FIRST_RETRY_S, LONGEST_RETRY_S)
        with self._lock:
            before = self._kept.get(wanted)
        tries = before.tries + 1 if before is not None else 0
        return Got(None, error, self._clock() + min(longest, first * 2.0 ** min(tries, 10)), tries)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._ends.shutdown(wait=False, cancel_futures=True)


def _weight(got: Got) -> int:
    """Bytes of an answer, so that neither bound of the cache is passed."""
    size = got.table.nbytes if got.table is not None else 0
    return min(KEPT_BYTES, max(size, KEPT_BYTES // KEPT_ANSWERS))
