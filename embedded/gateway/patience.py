"""How long a statement may go on with what the gateway does itself: metadata read from S3, rows of its own.

DuckDB and the processes apart have watches of their own; these look between two steps, each of which is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from embedded.gateway.errors import cancelled, out_of_time

type Check = Callable[[], None]
"""Raises Refusal once a statement is to end."""


def endless() -> None:
    """The check of what nobody waits for."""


class Patience:
    """That with one statement, from now on: until its time is over, or nobody waits for it."""

    def __init__(
        self,
        timeout_s: float,
        gone: Callable[[], bool],
        *,
        planning: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gone = gone
        self._timeout_s = timeout_s
        self._planning = planning
        self._clock = clock
        self._until = clock() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left of its time."""
        return max(0.0, self._until - self._clock())

    def check(self) -> None:
        """Raises Refusal once its time is over, or nobody waits."""
        if self.gone():
            raise cancelled("the client is gone")
        if self._clock() >= self._until:
            raise out_of_time(self._timeout_s, self._planning)


def each[T](items: Iterable[T], check: Check) -> Iterator[T]:
    """The items, with a check before each."""
    for item in items:
        check()
        yield item
