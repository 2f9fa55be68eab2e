"""Statements that run now, by their tickets, so that an action can end them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet

from embedded.gateway.errors import Kind, Refusal


class Run:
    """One DoGet; who streams its rows holds it."""

    def __init__(self, digest: bytes, gone: Callable[[], bool]) -> None:
        self._digest = digest
        self._client_is_gone = gone
        self.cancelled = False

    def is_of(self, digest: bytes) -> bool:
        return self._digest == digest

    def gone(self) -> bool:
        """Whether nobody wants its rows any more."""
        return self.cancelled or bool(self._client_is_gone())

    def check(self) -> None:
        """Raises Refusal once it was cancelled."""
        if self.cancelled:
            raise Refusal(Kind.CANCELLED, "Query cancelled by user")


class Running:
    """May be used from many threads. A run that ended, or whose stream nobody began to read, is forgotten by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: WeakSet[Run] = WeakSet()

    def begin(self, ticket: bytes, gone: Callable[[], bool]) -> Run:
        run = Run(_digest(ticket), gone)
        with self._lock:
            self._runs.add(run)
        return run

    def end(self, run: Run) -> None:
        with self._lock:
            self._runs.discard(run)

    def cancel(self, tickets: Iterable[bytes]) -> bool:
        """Cancel what runs by these tickets; whether anything did."""
        digests = [_digest(ticket) for ticket in tickets]
        with self._lock:
            found = [run for run in self._runs if any(map(run.is_of, digests))]
            for run in found:
                run.cancelled = True
        return bool(found)


def _digest(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
