"""Waiting for the next publish: one look for all who wait, in place of each one's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from embedded.gateway.turns import Turns

LONGEST_S = 5.0
"""No call is held longer: whoever waits has other things to do, and its connection may be gone."""
MOST_OF_A_USER = 32
"""Each holds a thread of the server. Console, notifier and small page have one or a few."""


class Waiting:
    """Answers when the head of main moves. A thread looks while somebody waits, and only then.

    head: asks for the commit id; what it raises, who waits is told. every_s: between two looks.
    """

    def __init__(self, head: Callable[[], str], every_s: float) -> None:
        self._head = head
        self._every_s = every_s
        self._moved = threading.Condition()
        self._waiters = 0
        self._looks = False
        self._heard = 0
        self._newest: str | Exception = ""
        self._turns = Turns(MOST_OF_A_USER, "calls waiting for the next publish")

    def head(self, known: str, within_s: float, user: str = "") -> str:
        """The head, once it is not `known`, or when `within_s` is over; `user` is who asks.

        Raises what the look for it raised, and Refusal when the user has too many calls waiting.
        """
        with self._turns.one(user):
            return self._next(known, within_s)

    def _next(self, known: str, within_s: float) -> str:
        with self._moved:
            heard = self._heard
        head = self._head()
        if head != known:
            return head
        deadline = time.monotonic() + min(within_s, LONGEST_S)
        with self._moved:
            # Another may have looked later than we did, and seen more.
            if self._heard == heard:
                self._hear(head)
            self._waiters += 1
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look, name="waiting", daemon=True).start()
            try:
                self._moved.wait_for(lambda: self._newest != known, max(0.0, deadline - time.monotonic()))
                newest = self._newest
            finally:
                self._waiters -= 1
        if isinstance(newest, Exception):
            raise newest
        return newest

    def _hear(self, newest: str | Exception) -> None:
        """What a look has found; the lock is held."""
        if newest != self._newest:
            self._newest = newest
            self._heard += 1
            self._moved.notify_all()

    def _look(self) -> None:
        while True:
            time.sleep(self._every_s)
            newest: str | Exception
            try:
                newest = self._head()
            except Exception as error:
                newest = error
            with self._moved:
                self._hear(newest)
                if not self._waiters:
                    self._looks = False
                    return
