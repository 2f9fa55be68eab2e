"""How many statements a user has running at a time, and how many other calls waiting."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from embedded.gateway.errors import ErrorKind, Refusal


class Turns:
    """Counts by user. May be used from many threads.

    what: is counted, in the words of who is told that it is too many.
    """

    def __init__(self, most: int, what: str = "statements running") -> None:
        self._most = most
        self._what = what
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    @contextmanager
    def one(self, user: str) -> Iterator[None]:
        """For as long as it goes on: a statement is planned, say, or streams. Raises Refusal for one too many."""
        with self._lock:
            if self._running[user] >= self._most:
                raise Refusal(
                    ErrorKind.UNAVAILABLE,
                    f"RESOURCE ERROR: user {user} has {self._most:,} {self._what}, as many as one user may have: "
                    "try again when one has ended.",
                )
            self._running[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[user] -= 1
                if not self._running[user]:
                    del self._running[user]
