"""The wish that a process end, which a signal handler can state."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Self

_LOOK_S = 0.5


class Stop:
    """Set once, by SIGTERM, Ctrl-C or the program itself; `wait` as that of threading.Event.

    Not an Event: a handler runs in the main thread, and set() would wait for ever for the lock that this very thread
    holds while it enters or leaves wait(). SimpleQueue.put may interrupt anything.

    Nor one long sleep: a signal that comes when the main thread has let Python go and does not sleep yet (other threads
    are busy, so this may last), or that the system gives to another thread, wakes nobody. Its handler runs when the
    main thread looks up.
    """

    def __init__(self) -> None:
        self._set = False
        self._woken: SimpleQueue[None] = SimpleQueue()

    @classmethod
    def on_signals(cls) -> Self:
        """One that SIGTERM and Ctrl-C set from now on; for the main thread."""
        stop = cls()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        return stop

    def set(self) -> None:
        self._set = True
        self._woken.put(None)

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float | None = None) -> bool:
        """Until it is set, at most so many seconds; whether it is."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._set:
            left = _LOOK_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            with suppress(Empty):
                self._woken.get(timeout=min(left, _LOOK_S))
                self._woken.put(None)  # for others who wait
        return self._set
