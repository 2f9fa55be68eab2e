"""Statements that run now, by their tickets, so that an action can end them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet

from embedded.gateway.errors import ErrorKind, Refusal


class RunningStatement:
    """One DoGet, by its ticket, and by the name that its caller gave it, if any; who streams its rows holds it."""

    def __init__(self, ticket: bytes, gone: Callable[[], bool], name: str) -> None:
        self.ticket = ticket
        self.name = name
        self._client_is_gone = gone
        self.cancelled = False

    def gone(self) -> bool:
        """Whether nobody wants its rows any more."""
        return self.cancelled or bool(self._client_is_gone())

    def check(self) -> None:
        """Raises Refusal once it was cancelled."""
        if self.cancelled:
            raise Refusal(ErrorKind.CANCELLED, "Query cancelled by user")


class RunningStatements:
    """May be used from many threads. A run whose stream nobody began to read is forgotten by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: WeakSet[RunningStatement] = WeakSet()

    def begin(self, ticket: bytes, gone: Callable[[], bool], name: str = "") -> RunningStatement:
        run = RunningStatement(ticket, gone, name)
        with self._lock:
            self._runs.add(run)
        return run

    def end(self, run: RunningStatement) -> None:
        with self._lock:
            self._runs.discard(run)

    def cancel(self, tickets: Iterable[bytes]) -> bool:
        """Cancel what runs by these tickets; whether anything did."""
        ended = frozenset(tickets)
        return self._cancel(lambda run: run.ticket in ended)

    def withdraw(self, name: str) -> bool:
        """Cancel what runs by this name; whether anything did."""
        return self._cancel(lambda run: bool(name) and run.name == name)

    def _cancel(self, ends: Callable[[RunningStatement], bool]) -> bool:
        with self._lock:
            found = [run for run in self._runs if ends(run)]
            for run in found:
                run.cancelled = True
        return bool(found)
