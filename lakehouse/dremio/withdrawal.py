"""A question that nobody waits for any more is ended where it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from lakehouse.dremio.errors import Cancelled

_current: ContextVar[Withdrawal | None] = ContextVar("withdrawal", default=None)


class Withdrawal:
    """What a thread asks of Dremio within `with withdrawal:` ends with Cancelled once another thread withdraws it.

    A question that is not yet run is not run. One that runs is ended at once by the gateway of this machine, and by
    anybody from its first rows on: before them pyarrow can take no call back, and Dremio works on until its limit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._token: Token[Withdrawal | None] | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        """End it. May take as long as one call to the gateway."""
        with self._lock:
            self.withdrawn = True
            end = self._end
        if end is not None:
            end()

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _current.reset(self._token)

    @contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """What is called inside ends by `end`, which another thread calls. Raises Cancelled where it is late."""
        self.check()
        with self._lock:
            self._end = end
        try:
            # Withdrawn between the look and the line above, nobody would have called it.
            self.check()
            yield
        finally:
            with self._lock:
                self._end = None

    def check(self) -> None:
        """Raises Cancelled once it is withdrawn."""
        if self.withdrawn:
            raise Cancelled("Nobody waits for the answer any more.")


def withdrawal() -> Withdrawal:
    """That of this thread; outside of any, one that nobody withdraws."""
    return _current.get() or Withdrawal()
