"""How many statements a user has running at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from embedded.gateway.errors import Kind, Refusal


class Turns:
    """Counts statements by user. May be used from many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    @contextmanager
    def one(self, user: str) -> Iterator[None]:
        """For as long as a statement is planned, or its answer streams. Raises Refusal when the user has too many."""
        with self._lock:
            if self._running[user] >= self._most:
                raise Refusal(
                    Kind.UNAVAILABLE,
                    f"RESOURCE ERROR: user {user} has {self._most:,} statements running, as many as one user may have: "
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
